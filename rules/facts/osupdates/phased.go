package osupdates

import "strings"

// phasing says which phased updates wait on this host.
type phasing struct {
	machine       string
	always, never bool
}

func (h *host) phasing(conf *aptConf) phasing {
	ph := phasing{
		always: conf.yes("APT::Get::Always-Include-Phased-Updates", conf.yes("Update-Manager::Always-Include-Phased-Updates", false)),
		never:  conf.yes("APT::Get::Never-Include-Phased-Updates", conf.yes("Update-Manager::Never-Include-Phased-Updates", false)),
	}
	if s, ok := conf.find("APT::Machine-ID"); ok {
		ph.machine = s.Value
	} else if b, ok := h.read("/etc/machine-id", 4096); ok {
		ph.machine, _, _ = strings.Cut(string(b), "\n")
	}
	return ph
}

// waits reports whether this host is not yet among those that get a version of
// which a percentage of all hosts shall have it: the choice that apt makes, from
// the source package, its version and the id of the machine, so that all hosts
// spread evenly and each has the same answer every time.
func (ph phasing) waits(source, version string, percentage int) bool {
	switch {
	case percentage >= 100 || ph.always:
		return false
	case ph.never:
		return true
	case ph.machine == "":
		return false
	}
	return draw(source+"-"+version+"-"+ph.machine) > uint32(percentage)
}

// draw returns the number from 0 to 100 that a seed stands for: the first of
// std::uniform_int_distribution over std::minstd_rand with std::seed_seq.
func draw(seed string) uint32 {
	const (
		modulus, factor = 1<<31 - 1, 48271
		span            = 101                  // 0 to 100
		scale           = (modulus - 2) / span // of the generator's 1 … modulus-1
		past            = span * scale         // drawn again from here on
	)
	x := uint64(seedWord(seed)) % modulus
	if x == 0 {
		x = 1
	}
	for {
		x = x * factor % modulus
		if r := x - 1; r < past {
			return uint32(r / scale)
		}
	}
}

// seedWord is the fourth word of four that std::seed_seq makes of bytes, which
// minstd_rand takes, [rand.util.seedseq] of the C++ standard.
func seedWord(seed string) uint32 {
	const n, t, p, q = 4, 1, 1, 2 // n words: t = (n-1)/2, p = (n-t)/2, q = p+t
	b := [n]uint32{0x8b8b8b8b, 0x8b8b8b8b, 0x8b8b8b8b, 0x8b8b8b8b}
	mix := func(x uint32) uint32 { return x ^ x>>27 }
	s := len(seed)
	m := max(s+1, n)
	for k := range m {
		r := 1664525 * mix(b[k%n]^b[(k+p)%n]^b[(k+n-1)%n])
		b[(k+p)%n] += r
		switch {
		case k == 0:
			r += uint32(s)
		case k <= s:
			r += uint32(k%n) + uint32(int32(int8(seed[k-1])))
		default:
			r += uint32(k % n)
		}
		b[(k+q)%n] += r
		b[k%n] = r
	}
	for k := m; k < m+n; k++ {
		r := 1566083941 * mix(b[k%n]+b[(k+p)%n]+b[(k+n-1)%n])
		b[(k+p)%n] ^= r
		r -= uint32(k % n)
		b[(k+q)%n] ^= r
		b[k%n] = r
	}
	return b[3]
}
