package firewall

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// nat says where a rule sends packets.
type nat struct {
	kind      string // dnat, snat, masquerade, redirect
	addr      string // "" leaves it; an address, A-B, or with mapped what the map has
	port      string // "" leaves it; a number, or N-M
	mapped    *mapping
	mapFamily uint32
}

// flags of nf_nat.h, without those that say which values are there.
var natFlags = [...]struct {
	bit  uint32
	name string
}{{4, "random"}, {8, "persistent"}, {16, "fully-random"}, {32, "port-offset"}, {64, "netmap"}}

func (n nat) spell(family string, flags uint32) string {
	out := n.kind
	to := n.addr
	switch {
	case n.mapped != nil:
		to = n.mapped.text
	case strings.Contains(n.addr, ":") && n.port != "":
		to = "[" + n.addr + "]"
	}
	if n.port != "" {
		to += ":" + n.port
	}
	if to != "" {
		out += family + " to " + to
	}
	for _, f := range natFlags {
		if flags&f.bit != 0 {
			out += " " + f.name
			flags &^= f.bit
		}
	}
	if flags &^= 3; flags != 0 {
		out += fmt.Sprintf(" flags 0x%x", flags)
	}
	return out
}

func (d *decoder) nat(a attrs) bool {
	kind, family := number(a[unix.NFTA_NAT_TYPE]), number(a[unix.NFTA_NAT_FAMILY])
	if kind > unix.NFT_NAT_DNAT {
		return false
	}
	n := nat{kind: [...]string{"snat", "dnat"}[kind]}
	if reg := a[unix.NFTA_NAT_REG_ADDR_MIN]; reg != nil {
		s := d.from(reg)
		switch {
		case s == nil || s.data == nil && s.mapped == nil:
			return false
		case s.mapped != nil:
			n.mapped, n.mapFamily = s.mapped, family
		default:
			lo, ok := netip.AddrFromSlice(s.data)
			if !ok {
				return false
			}
			n.addr = lo.String()
			if reg := a[unix.NFTA_NAT_REG_ADDR_MAX]; reg != nil && string(reg) != string(a[unix.NFTA_NAT_REG_ADDR_MIN]) {
				s := d.from(reg)
				if s == nil {
					return false
				}
				hi, ok := netip.AddrFromSlice(s.data)
				if !ok {
					return false
				}
				if hi != lo {
					n.addr += "-" + hi.String()
				}
			}
		}
	}
	var ok bool
	if n.port, ok = d.ports(a[unix.NFTA_NAT_REG_PROTO_MIN], a[unix.NFTA_NAT_REG_PROTO_MAX], n.mapped); !ok {
		return false
	}
	word := ""
	if d.chain.family == unix.NFPROTO_INET {
		word = map[uint32]string{unix.NFPROTO_IPV4: " ip", unix.NFPROTO_IPV6: " ip6"}[family]
	}
	d.add(term{text: n.spell(word, number(a[unix.NFTA_NAT_FLAGS])), nat: &n})
	return true
}

// ports reads the registers of the ports of a translation.
func (d *decoder) ports(min, max []byte, mapped *mapping) (string, bool) {
	if min == nil {
		return "", true
	}
	lo := d.from(min)
	if lo == nil {
		return "", false
	}
	if lo.mapped != nil && lo.mapped == mapped {
		return "", true // the map has address and port
	}
	if len(lo.data) < 2 {
		return "", false
	}
	hi := lo
	if max != nil {
		if hi = d.from(max); hi == nil || len(hi.data) < 2 {
			return "", false
		}
	}
	return portRange(int64(number(lo.data[:2])), int64(number(hi.data[:2]))), true
}

func portRange(lo, hi int64) string {
	if lo == hi {
		return strconv.FormatInt(lo, 10)
	}
	return fmt.Sprintf("%d-%d", lo, hi)
}

// statement is an expression that asks nothing of the packet, or only how many
// there were.
func (d *decoder) statement(name string, a attrs) bool {
	switch name {
	case "nat":
		return d.nat(a)
	case "masq":
		port, ok := d.ports(a[unix.NFTA_MASQ_REG_PROTO_MIN], a[unix.NFTA_MASQ_REG_PROTO_MAX], nil)
		n := nat{kind: "masquerade", port: port}
		d.add(term{text: n.spell("", number(a[unix.NFTA_MASQ_FLAGS])), nat: &n})
		return ok
	case "redir":
		port, ok := d.ports(a[unix.NFTA_REDIR_REG_PROTO_MIN], a[unix.NFTA_REDIR_REG_PROTO_MAX], nil)
		n := nat{kind: "redirect", port: port}
		d.add(term{text: n.spell("", number(a[unix.NFTA_REDIR_FLAGS])), nat: &n})
		return ok
	case "reject":
		d.add(term{text: d.reject(number(a[unix.NFTA_REJECT_TYPE]), number(a[unix.NFTA_REJECT_ICMP_CODE])), reject: true})
	case "log":
		d.add(term{text: logText(a)})
	case "limit":
		d.add(term{text: limitText(a), conditional: true})
	case "quota":
		d.add(term{text: fmt.Sprintf("quota %s%d bytes", over(a[unix.NFTA_QUOTA_FLAGS]), number64(a[unix.NFTA_QUOTA_BYTES])), conditional: true})
	case "connlimit":
		d.add(term{text: fmt.Sprintf("ct count %s%d", over(a[connlimitFlags]), number(a[connlimitCount])), conditional: true})
	case "notrack":
		d.add(term{text: "notrack"})
	case "objref":
		return d.object(a)
	case "dynset":
		return d.dynset(a)
	default:
		return false
	}
	return true
}

// Attributes of connlimit, nf_tables.h.
const (
	connlimitCount = 1
	connlimitFlags = 2
)

func over(flags []byte) string {
	return map[bool]string{true: "over "}[number(flags)&1 != 0]
}

// reject spells a rejection; the usual answer of a family is left out.
func (d *decoder) reject(kind, code uint32) string {
	switch kind {
	case unix.NFT_REJECT_TCP_RST:
		return "reject with tcp reset"
	case unix.NFT_REJECT_ICMPX_UNREACH:
		names := [...]string{"no-route", "port-unreachable", "host-unreachable", "admin-prohibited"}
		if code == unix.NFT_REJECT_ICMPX_PORT_UNREACH {
			return "reject"
		}
		if int(code) < len(names) {
			return "reject with icmpx " + names[code]
		}
		return fmt.Sprintf("reject with icmpx %d", code)
	}
	list := []string{"net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "", "", "", "", "", "net-prohibited", "host-prohibited", "", "", "admin-prohibited"}
	icmp := "icmp"
	if d.l3 == "ip6" {
		icmp, list = "icmpv6", []string{"no-route", "admin-prohibited", "", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route"}
	}
	if int(code) >= len(list) || list[code] == "" {
		return fmt.Sprintf("reject with %s %d", icmp, code)
	}
	if list[code] == "port-unreachable" && d.chain.family != unix.NFPROTO_INET {
		return "reject"
	}
	return "reject with " + icmp + " " + list[code]
}

func logText(a attrs) string {
	out := "log"
	if p := text(a[unix.NFTA_LOG_PREFIX]); p != "" {
		out += " prefix " + strconv.Quote(p)
	}
	if v := a[unix.NFTA_LOG_GROUP]; v != nil {
		out += fmt.Sprintf(" group %d", number(v))
	}
	if v := a[unix.NFTA_LOG_LEVEL]; v != nil && number(v) != 4 {
		out += fmt.Sprintf(" level %d", number(v))
	}
	if v := a[unix.NFTA_LOG_FLAGS]; v != nil && number(v) != 0 {
		out += fmt.Sprintf(" flags 0x%x", number(v))
	}
	return out
}

func limitText(a attrs) string {
	unit := map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}[number64(a[unix.NFTA_LIMIT_UNIT])]
	if unit == "" {
		unit = fmt.Sprintf("%d seconds", number64(a[unix.NFTA_LIMIT_UNIT]))
	}
	of, bytes := "packets", ""
	if number(a[unix.NFTA_LIMIT_TYPE]) == 1 {
		of, bytes = "bytes", " bytes"
	}
	return fmt.Sprintf("limit rate %s%d%s/%s burst %d %s", over(a[unix.NFTA_LIMIT_FLAGS]), number64(a[unix.NFTA_LIMIT_RATE]), bytes, unit, number(a[unix.NFTA_LIMIT_BURST]), of)
}

// object is a reference to a named counter, limit, helper and so on.
func (d *decoder) object(a attrs) bool {
	kinds := map[uint32]string{1: "counter", 2: "quota", 3: "ct helper", 4: "limit", 5: "ct count", 8: "synproxy", 9: "ct expectation"}
	if a[unix.NFTA_OBJREF_IMM_NAME] == nil {
		return false
	}
	kind := number(a[unix.NFTA_OBJREF_IMM_TYPE])
	switch name := text(a[unix.NFTA_OBJREF_IMM_NAME]); {
	case kind == 1:
		d.add(term{text: "counter name " + word(name)})
	case kinds[kind] != "":
		d.add(term{text: kinds[kind] + " name " + word(name), conditional: kind != 3})
	default:
		return false
	}
	return true
}

// dynset puts what a packet has into a set.
func (d *decoder) dynset(a attrs) bool {
	s := d.from(a[unix.NFTA_DYNSET_SREG_KEY])
	if s == nil || s.name == "" || a[unix.NFTA_DYNSET_SREG_DATA] != nil || a[unix.NFTA_DYNSET_EXPR] != nil || a[dynsetExpressions] != nil {
		return false
	}
	d.use(*s)
	op := map[uint32]string{0: "add", 1: "update", 2: "delete"}[number(a[unix.NFTA_DYNSET_OP])]
	out := op + " @" + word(text(a[unix.NFTA_DYNSET_SET_NAME])) + " { " + s.label()
	if t := number64(a[unix.NFTA_DYNSET_TIMEOUT]); t != 0 {
		out += fmt.Sprintf(" timeout %dms", t)
	}
	d.add(term{text: out + " }", conditional: true})
	return true
}

// dynsetExpressions is NFTA_DYNSET_EXPRESSIONS of nf_tables.h.
const dynsetExpressions = 10

// dataWidths are those of the types of nft(8) that maps have, by their numbers.
var dataWidths = map[uint32]struct {
	size int
	form form
}{7: {4, formAddr}, 8: {16, formAddr}, 12: {1, formL4}, 13: {2, formNumber}, 19: {4, formHost}}

// spellData writes what a map has for a key, by its type: a concatenation has 6
// bits for each of its types. What is not known is hexadecimal.
func spellData(kind uint32, data []byte) string {
	var words []string
	var kinds []uint32
	for ; kind != 0; kind >>= 6 {
		kinds = append([]uint32{kind & 0x3f}, kinds...)
	}
	for _, k := range kinds {
		w, ok := dataWidths[k]
		if !ok || len(data) < w.size {
			words = nil
			break
		}
		words = append(words, source{form: w.form}.value(data[:w.size]))
		data = data[min((w.size+3)&^3, len(data)):]
	}
	if words == nil {
		return "0x" + hex.EncodeToString(data)
	}
	return strings.Join(words, " . ")
}
