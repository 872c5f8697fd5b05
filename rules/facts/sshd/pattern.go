package sshd

import (
	"net/netip"
	"strconv"
	"strings"
)

// tri is an answer that may be open.
type tri uint8

const (
	no tri = iota
	maybe
	yes
)

func truth(b bool) tri {
	if b {
		return yes
	}
	return no
}

// maxPattern is how long a part of a pattern list may be: sshd takes a list
// with a longer one for one that does not match.
const maxPattern = 1023

// like matches s against a pattern with * and ?, in linear space and without
// recursion.
func like(s, pattern string) bool {
	i, j, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// inList matches s against a comma list of patterns: 1 if it matches, -1 if a
// negated one does, which wins wherever it stands, 0 otherwise.
func inList(s, list string) int {
	got := 0
	for part := range strings.SplitSeq(list, ",") {
		part, not := strings.CutPrefix(part, "!")
		if len(part) > maxPattern {
			return 0
		}
		if like(s, part) {
			if not {
				return -1
			}
			got = 1
		}
	}
	return got
}

// inNetworks matches an address against a comma list of networks and patterns.
// ok is false where sshd refuses the list: a mask that does not fit, or bits of
// the host behind it.
func inNetworks(addr, list string) (got int, ok bool) {
	a, err := netip.ParseAddr(addr)
	known := err == nil
	for part := range strings.SplitSeq(list, ",") {
		part, not := strings.CutPrefix(part, "!")
		if part == "" {
			return 0, false
		}
		hit := false
		net, isNet, good := network(part)
		switch {
		case !good:
			return 0, false
		case isNet:
			hit = known && net.Contains(a.Unmap())
		default:
			hit = addr != "" && like(addr, part)
		}
		if hit && got != -1 {
			got = 1
			if not {
				got = -1 // sshd reads on, for what is malformed
			}
		}
	}
	return got, true
}

// network reads an address with or without a mask. isNet is false for what is a
// pattern, good for what is a network that sshd takes, or no network at all.
func network(s string) (p netip.Prefix, isNet, good bool) {
	host, bits, masked := strings.Cut(s, "/")
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return p, false, !masked || err != nil && strings.ContainsAny(host, "*?")
	}
	if !masked {
		return netip.PrefixFrom(a, a.BitLen()), true, true
	}
	n, err := strconv.ParseUint(bits, 10, 8)
	if err != nil || int(n) > a.BitLen() {
		return p, true, false
	}
	p = netip.PrefixFrom(a, int(n))
	return p, true, p.Masked().Addr() == a
}
