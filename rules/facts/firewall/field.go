package firewall

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// role is what a field means to whoever asks what is published.
type role uint8

const (
	roleOther    role = iota
	roleHarmless      // does not narrow who is served: a state of the connection, a local address
	roleL3            // meta nfproto and the like
	roleL4            // meta l4proto
	roleSport
	roleDport
	roleSaddr
	roleDaddr
	roleIn // the interface that it came in by
)

// form is how a value is written.
type form uint8

const (
	formHex form = iota
	formNumber
	formHost // a number in the order of the host, in hexadecimal
	formHostNumber
	formAddr
	formName  // an interface's, by its bytes
	formIndex // an interface's, by its number
	formL3
	formL4
	formEther
	formState
	formStatus
	formType // of an address
	formFlag
)

// source is what a register holds: a field of the packet, or of what the kernel
// knows of it, perhaps masked; or a constant; or what a map gives.
type source struct {
	name   string // "tcp dport"; "" of a constant
	role   role
	form   form
	size   int    // bytes
	full   int    // bytes of the whole field: an address may be loaded in part
	mask   []byte // of the bits that count, nil for all
	turned bool   // byte order was changed, so that it can be compared
	parts  []source
	data   []byte // of a constant
	mapped *mapping
	at     int // where in the data of the map it begins
	ifname func(uint32) string
}

// mapping is a look-up in a map.
type mapping struct {
	text    string
	fields  []source
	choices []choice // nil where the map is too large
}

// span is from one value to another, both among it.
type span struct{ lo, hi []byte }

func (s span) single() bool { return string(s.lo) == string(s.hi) }

// spell writes a value or a span of them.
func (s source) spell(sp span) string {
	if s.form == formAddr {
		if t, ok := s.prefix(sp); ok {
			return t
		}
	}
	if sp.single() {
		return s.value(sp.lo)
	}
	return s.value(sp.lo) + "-" + s.value(sp.hi)
}

// prefix writes a span of addresses that is a network.
func (s source) prefix(sp span) (string, bool) {
	lo, ok1 := netip.AddrFromSlice(sp.lo)
	hi, ok2 := netip.AddrFromSlice(sp.hi)
	if !ok1 || !ok2 || lo == hi || len(sp.lo) != len(sp.hi) {
		return "", false
	}
	bits := 0
	for i := range sp.lo {
		x := sp.lo[i] ^ sp.hi[i]
		for b := 7; b >= 0 && x>>b == 0; b-- {
			bits++
		}
		if x != 0 {
			break
		}
	}
	p := netip.PrefixFrom(lo, bits)
	if p.Masked().Addr() != lo || string(filled(sp.lo, bits)) != string(sp.hi) {
		return "", false
	}
	return p.String(), true
}

// filled is the last address of a network.
func filled(b []byte, bits int) []byte {
	out := append([]byte{}, b...)
	for i := bits; i < len(out)*8; i++ {
		out[i/8] |= 0x80 >> (i % 8)
	}
	return out
}

func (s source) native(b []byte) uint32 {
	if len(b) != 4 || s.turned {
		return number(b)
	}
	return binary.NativeEndian.Uint32(b)
}

// value writes one value. What does not have the size of its kind is written in
// hexadecimal.
func (s source) value(b []byte) string {
	raw := "0x" + hex.EncodeToString(b)
	switch s.form {
	case formNumber:
		if len(b) <= 8 {
			return strconv.FormatUint(number64(b), 10)
		}
	case formHost:
		if len(b) == 4 {
			return fmt.Sprintf("0x%x", s.native(b))
		}
	case formHostNumber:
		if len(b) == 4 {
			return strconv.FormatUint(uint64(s.native(b)), 10)
		}
	case formAddr:
		if a, ok := netip.AddrFromSlice(b); ok {
			return a.String()
		}
	case formName:
		n, rest, whole := strings.Cut(string(b), "\x00")
		if strings.Trim(rest, "\x00") != "" {
			return raw
		}
		if !whole && len(b) < unix.IFNAMSIZ {
			n += "*"
		}
		return strconv.Quote(n)
	case formIndex:
		if len(b) == 4 {
			return strconv.Quote(s.ifname(s.native(b)))
		}
	case formL3, formL4, formEther:
		if n, ok := names[s.form][number(b)]; ok {
			return n
		}
		return strconv.FormatUint(uint64(number(b)), 10)
	case formState, formStatus, formType:
		return bits(s.form, s.native(b))
	case formFlag:
		return map[bool]string{true: "exists", false: "missing"}[strings.Trim(string(b), "\x00") != ""]
	}
	return raw
}

// names of numbers. The states of connections and types of addresses are in
// bitNames.
var names = map[form]map[uint32]string{
	formL3: {unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"},
	formL4: {unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_ICMPV6: "ipv6-icmp", unix.IPPROTO_SCTP: "sctp",
		unix.IPPROTO_DCCP: "dccp", unix.IPPROTO_UDPLITE: "udplite", unix.IPPROTO_ESP: "esp", unix.IPPROTO_AH: "ah", unix.IPPROTO_GRE: "gre"},
	formEther: {unix.ETH_P_IP: "ip", unix.ETH_P_IPV6: "ip6", unix.ETH_P_ARP: "arp"},
}

// bitNames are those of values that are masks, lowest bit first; types of
// addresses are numbers.
var bitNames = map[form][]string{
	formState:  {"invalid", "established", "related", "new", "", "", "untracked"},
	formStatus: {"expected", "seen-reply", "assured", "confirmed", "snat", "dnat"},
	formType:   {"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"},
}

// bits writes a mask by the names of its bits.
func bits(f form, n uint32) string {
	list := bitNames[f]
	if f == formType {
		if int64(n) < int64(len(list)) {
			return list[n]
		}
		return strconv.FormatUint(uint64(n), 10)
	}
	var words []string
	for i, name := range list {
		if n&(1<<i) != 0 && name != "" {
			words = append(words, name)
			n &^= 1 << i
		}
	}
	if n != 0 || len(words) == 0 {
		words = append(words, fmt.Sprintf("0x%x", n))
	}
	return strings.Join(words, ",")
}

// metaFields are the keys of meta, by their numbers in nf_tables.h.
var metaFields = map[uint32]source{
	0: {name: "meta length", form: formHostNumber, size: 4}, 1: {name: "meta protocol", role: roleL3, form: formEther, size: 2}, 2: {name: "meta priority", form: formHost, size: 4},
	3: {name: "meta mark", form: formHost, size: 4}, 4: {name: "iif", role: roleIn, form: formIndex, size: 4}, 5: {name: "oif", form: formIndex, size: 4},
	6: {name: "iifname", role: roleIn, form: formName, size: 16}, 7: {name: "oifname", form: formName, size: 16},
	8: {name: "iiftype", form: formNumber, size: 2}, 9: {name: "oiftype", form: formNumber, size: 2},
	10: {name: "meta skuid", form: formHostNumber, size: 4}, 11: {name: "meta skgid", form: formHostNumber, size: 4}, 12: {name: "meta nftrace", form: formNumber, size: 1},
	15: {name: "meta nfproto", role: roleL3, form: formL3, size: 1}, 16: {name: "meta l4proto", role: roleL4, form: formL4, size: 1},
	17: {name: "meta ibrname", form: formName, size: 16}, 18: {name: "meta obrname", form: formName, size: 16}, 19: {name: "meta pkttype", form: formNumber, size: 1},
	20: {name: "meta cpu", form: formHostNumber, size: 4}, 21: {name: "iifgroup", form: formHostNumber, size: 4}, 22: {name: "oifgroup", form: formHostNumber, size: 4},
	23: {name: "meta cgroup", form: formHostNumber, size: 4}, 26: {name: "meta iifkind", form: formName, size: 16}, 27: {name: "meta oifkind", form: formName, size: 16},
}

// ctFields are the keys of ct.
var ctFields = map[uint32]source{
	0: {name: "state", role: roleHarmless, form: formState, size: 4}, 1: {name: "direction", form: formNumber, size: 1}, 2: {name: "status", form: formStatus, size: 4},
	3: {name: "mark", form: formHost, size: 4}, 5: {name: "expiration", form: formHostNumber, size: 4}, 7: {name: "l3proto", form: formL3, size: 1},
	10: {name: "protocol", form: formL4, size: 1}, 11: {name: "proto-src", form: formNumber, size: 2}, 12: {name: "proto-dst", form: formNumber, size: 2},
	17: {name: "zone", form: formHex, size: 2}, 19: {name: "ip saddr", form: formAddr, size: 4}, 20: {name: "ip daddr", form: formAddr, size: 4},
	21: {name: "ip6 saddr", form: formAddr, size: 16}, 22: {name: "ip6 daddr", form: formAddr, size: 16},
}

// headerField is a field of a header, by where it lies.
type headerField struct {
	at, size int
	source
}

var headers = map[string][]headerField{
	"ip": {{2, 2, source{name: "ip length", form: formNumber}}, {4, 2, source{name: "ip id", form: formNumber}}, {6, 2, source{name: "ip frag-off"}}, {8, 1, source{name: "ip ttl", form: formNumber}},
		{9, 1, source{name: "ip protocol", role: roleL4, form: formL4}}, {12, 4, source{name: "ip saddr", role: roleSaddr, form: formAddr}}, {16, 4, source{name: "ip daddr", role: roleDaddr, form: formAddr}}},
	"ip6": {{4, 2, source{name: "ip6 length", form: formNumber}}, {6, 1, source{name: "ip6 nexthdr", role: roleL4, form: formL4}}, {7, 1, source{name: "ip6 hoplimit", form: formNumber}},
		{8, 16, source{name: "ip6 saddr", role: roleSaddr, form: formAddr}}, {24, 16, source{name: "ip6 daddr", role: roleDaddr, form: formAddr}}},
	"ports": {{0, 2, source{name: "sport", role: roleSport, form: formNumber}}, {2, 2, source{name: "dport", role: roleDport, form: formNumber}}},
	"tcp":   {{13, 1, source{name: "tcp flags"}}},
	"icmp":  {{0, 1, source{name: "type", form: formNumber}}, {1, 1, source{name: "code", form: formNumber}}},
	"ether": {{0, 6, source{name: "ether daddr"}}, {6, 6, source{name: "ether saddr"}}, {12, 2, source{name: "ether type", role: roleL3, form: formEther}}},
}

// fieldsAt are the fields of a header that exactly fill size bytes from at; an
// address may be there in part.
func fieldsAt(header string, at, size int) (out []source) {
	for _, f := range headers[header] {
		if f.at != at || size <= 0 {
			continue
		}
		s := f.source
		s.size, s.full = min(size, f.size), f.size
		if s.size < f.size && s.form != formAddr {
			return nil
		}
		out = append(out, s)
		at, size = at+s.size, size-s.size
	}
	if size != 0 {
		return nil
	}
	return out
}
