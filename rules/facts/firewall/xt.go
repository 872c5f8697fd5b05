package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What iptables writes into nf_tables are matches and targets of x_tables, as the
// structures of linux/netfilter/xt_*.h: numbers in the order of the host, ports
// and addresses of targets in that of the network.

func u16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

func (d *decoder) match(name string, revision uint32, b []byte) bool {
	switch {
	case name == "comment":
		return true // for people
	case name == "tcp" && revision == 0 && len(b) >= 12:
		if b[10]|b[9]|b[8] != 0 || b[11]&^3 != 0 { // flags and options
			return false
		}
		d.xtPorts("tcp", b, b[11])
	case name == "udp" && revision == 0 && len(b) >= 9:
		if b[8]&^3 != 0 {
			return false
		}
		d.xtPorts("udp", b, b[8])
	case name == "multiport" && revision == 1 && len(b) >= 48:
		return d.multiport(b)
	case name == "icmp" && revision == 0 && len(b) >= 4, name == "icmp6" && revision == 0 && len(b) >= 4:
		d.xtICMP(map[string]string{"icmp": "icmp", "icmp6": "icmpv6"}[name], b)
	case name == "addrtype" && revision == 1 && len(b) >= 8:
		return d.addrtype(u16(b), u16(b[2:]), u32(b[4:]))
	case name == "conntrack" && revision >= 1 && revision <= 3 && len(b) >= 152:
		if u16(b[146:])&^(1<<13) != 1 { // XT_CONNTRACK_STATE, and that -m state wrote it
			return false
		}
		d.state(uint32(u16(b[150:])), u16(b[148:])&1 != 0)
	case name == "state" && revision == 0 && len(b) >= 4:
		d.state(u32(b), false)
	case name == "mark" && revision == 1 && len(b) >= 9:
		sign := map[bool]string{true: " != ", false: " == "}[b[8] != 0]
		d.add(term{text: fmt.Sprintf("meta mark & 0x%x%s0x%x", u32(b[4:]), sign, u32(b)), conditional: true})
	default:
		return false
	}
	return true
}

// xtICMP is struct ipt_icmp and ip6t_icmp: a type, codes from and to.
func (d *decoder) xtICMP(name string, b []byte) {
	t := term{text: name + " type ", conditional: true, negated: b[3]&1 != 0}
	if t.negated {
		t.text += "!= "
	}
	if t.text += strconv.Itoa(int(b[0])); b[0] == 255 && name == "icmp" {
		t.text = name + " type any"
	}
	if b[1] != 0 || b[2] != 255 {
		t.text += " " + name + " code " + portRange(int64(b[1]), int64(b[2]))
	}
	d.use(source{name: name})
	d.add(t)
}

// xtPorts is what struct xt_tcp and xt_udp begin with.
func (d *decoder) xtPorts(proto string, b []byte, invert byte) {
	for i, f := range fieldsAt("ports", 0, 4) {
		lo, hi := u16(b[4*i:]), u16(b[4*i+2:])
		no := invert&(1<<i) != 0
		if lo == 0 && hi == 0xffff && !no {
			continue
		}
		f.name = proto + " " + f.name
		d.demand(f, map[bool]uint32{false: unix.NFT_CMP_EQ, true: unix.NFT_CMP_NEQ}[no], ports(lo, hi), "")
	}
}

func ports(lo, hi uint16) span {
	return span{binary.BigEndian.AppendUint16(nil, lo), binary.BigEndian.AppendUint16(nil, hi)}
}

// multiport is struct xt_multiport_v1.
func (d *decoder) multiport(b []byte) bool {
	kind, count := b[0], int(b[1])
	if kind > 1 || count > 15 {
		return false
	}
	f := fieldsAt("ports", int(kind)*2, 2)[0]
	proto := d.l4
	if proto == "" {
		proto = "th"
	}
	f.name = proto + " " + f.name
	t := term{conditional: true, negated: b[47] != 0, fields: []source{f}}
	var words []string
	for i := 0; i < count; i++ {
		lo := u16(b[2+2*i:])
		hi := lo
		if b[32+i] != 0 && i+1 < count { // the next one is the end of a range
			i++
			hi = u16(b[2+2*i:])
		}
		c := choice{spans: []span{ports(lo, hi)}}
		c.text = f.spell(c.spans[0])
		words, t.choices = append(words, c.text), append(t.choices, c)
	}
	d.use(f)
	t.text = f.name + map[bool]string{true: " !="}[t.negated] + " " + spell(words)
	if len(words) == 1 {
		t.text = strings.TrimSuffix(t.text, spell(words)) + words[0]
	}
	d.add(t)
	return true
}

// addrtype is struct xt_addrtype_info_v1: masks of types, and whether they are
// what must not be.
func (d *decoder) addrtype(source, dest uint16, flags uint32) bool {
	if flags&^3 != 0 {
		return false
	}
	for i, mask := range [...]uint16{source, dest} {
		if mask == 0 {
			continue
		}
		t := term{text: "fib " + [...]string{"saddr", "daddr"}[i] + " type ", conditional: true, negated: flags&(1<<i) != 0}
		if t.negated {
			t.text += "!= "
		}
		var words []string
		for n := range 16 {
			if mask&(1<<n) != 0 {
				words = append(words, bits(formType, uint32(n)))
			}
		}
		if t.text += words[0]; len(words) > 1 {
			t.text = strings.TrimSuffix(t.text, words[0]) + spell(words)
		}
		if i == 1 {
			t.fields, t.choices = harmless, []choice{{}}
		}
		d.add(t)
	}
	return true
}

// harmless is a field that narrows nothing.
var harmless = []source{{role: roleHarmless}}

// state is a mask of states of connections, whose bits are those of ct state but
// for untracked ones.
func (d *decoder) state(mask uint32, not bool) {
	if mask&(1<<8) != 0 { // XT_CONNTRACK_STATE_UNTRACKED
		mask = mask&^(1<<8) | 1<<6
	} else if mask&(1<<6) != 0 {
		mask |= 1 << 9 // XT_CONNTRACK_STATE_SNAT, which ct state has not
		mask &^= 1 << 6
	}
	t := term{text: "ct state " + bits(formState, mask), conditional: true, fields: harmless, choices: []choice{{}}}
	if not {
		t.text = "ct state != " + bits(formState, mask)
	}
	d.add(t)
}

func (d *decoder) target(name string, revision uint32, b []byte) bool {
	switch name {
	case "DNAT", "SNAT", "REDIRECT", "MASQUERADE":
		return d.xtNAT(name, b)
	case "REJECT":
		return d.xtReject(b)
	case "LOG":
		if len(b) < 32 {
			return false
		}
		t := "log prefix " + strconv.Quote(text(b[2:32]))
		if b[2] == 0 {
			t = "log"
		}
		if b[0] != 4 {
			t += fmt.Sprintf(" level %d", b[0])
		}
		if b[1] != 0 {
			t += fmt.Sprintf(" flags 0x%x", b[1])
		}
		d.add(term{text: t})
		return true
	}
	return false
}

// xtNAT reads struct nf_nat_ipv4_multi_range_compat with one range, nf_nat_range
// or nf_nat_range2: they are told apart by their size, 20, 40 and 44 bytes.
func (d *decoder) xtNAT(name string, b []byte) bool {
	n := nat{kind: map[string]string{"DNAT": "dnat", "SNAT": "snat", "REDIRECT": "redirect", "MASQUERADE": "masquerade"}[name]}
	var flags uint32
	var lo, hi netip.Addr
	var protos []byte
	switch {
	case len(b) >= 20 && len(b) < 40:
		if u32(b) != 1 {
			return false
		}
		flags, protos = u32(b[4:]), b[16:20]
		lo, hi = netip.AddrFrom4([4]byte(b[8:])), netip.AddrFrom4([4]byte(b[12:]))
	case len(b) >= 40:
		flags, protos = u32(b), b[36:40]
		if d.chain.family == unix.NFPROTO_IPV4 {
			lo, hi = netip.AddrFrom4([4]byte(b[4:])), netip.AddrFrom4([4]byte(b[20:]))
		} else {
			lo, hi = netip.AddrFrom16([16]byte(b[4:])), netip.AddrFrom16([16]byte(b[20:]))
		}
	default:
		return false
	}
	if flags&1 != 0 { // NF_NAT_RANGE_MAP_IPS
		n.addr = lo.String()
		if hi != lo {
			n.addr += "-" + hi.String()
		}
	}
	if flags&2 != 0 { // NF_NAT_RANGE_PROTO_SPECIFIED
		n.port = portRange(int64(number(protos[:2])), int64(number(protos[2:])))
	}
	if flags&32 != 0 && len(b) >= 42 { // NF_NAT_RANGE_PROTO_OFFSET
		n.port += fmt.Sprintf("/%d", number(b[40:42]))
	}
	d.add(term{text: n.spell("", flags), nat: &n})
	return true
}

// xtReject is struct ipt_reject_info or ip6t_reject_info: a number of an answer.
func (d *decoder) xtReject(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	codes := []uint32{0, 1, 2, 3, 99, 9, 10, 98, 13}
	reset := uint32(7)
	if d.chain.family == unix.NFPROTO_IPV6 {
		codes, reset = []uint32{0, 1, 2, 3, 4, 99, 98, 5, 6}, 6
	}
	switch with := u32(b); {
	case with == reset:
		d.add(term{text: "reject with tcp reset", reject: true})
	case int(with) < len(codes):
		d.add(term{text: d.reject(unix.NFT_REJECT_ICMP_UNREACH, codes[with]), reject: true})
	default:
		return false
	}
	return true
}
