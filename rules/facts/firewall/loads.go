package firewall

import (
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// label is the name of a source with its mask.
func (s source) label() string {
	n := s.name
	if s.mask != nil {
		n += " & " + s.value(s.mask)
		if s.form == formAddr || s.form == formName || s.form == formNumber {
			n = s.name + " & 0x" + hex.EncodeToString(s.mask)
		}
	}
	return n
}

// payload loads a part of a header.
func (d *decoder) payload(a attrs) bool {
	if a[unix.NFTA_PAYLOAD_DREG] == nil {
		return false // it writes into the packet
	}
	base, at, size := number(a[unix.NFTA_PAYLOAD_BASE]), int(number(a[unix.NFTA_PAYLOAD_OFFSET])), int(number(a[unix.NFTA_PAYLOAD_LEN]))
	if size > 64 {
		return false
	}
	var parts []source
	var kind string
	switch base {
	case unix.NFT_PAYLOAD_LL_HEADER:
		kind, parts = "ll", fieldsAt("ether", at, size)
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		kind, parts = "nh", fieldsAt(d.l3, at, size)
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		kind, parts = "th", d.transport(at, size)
	default:
		kind = fmt.Sprintf("base%d", base)
	}
	s := source{name: fmt.Sprintf("@%s,%d,%d", kind, at*8, size*8), size: size}
	switch len(parts) {
	case 0:
	case 1:
		s = parts[0]
	default:
		s.parts = parts
	}
	return d.load(a[unix.NFTA_PAYLOAD_DREG], s)
}

// transport are the fields of the header that the protocol above IP has.
func (d *decoder) transport(at, size int) []source {
	var out []source
	prefix := d.l4 + " "
	switch d.l4 {
	case "tcp":
		if out = fieldsAt("tcp", at, size); out != nil {
			return out
		}
		out = fieldsAt("ports", at, size)
	case "icmp":
		out = fieldsAt("icmp", at, size)
	case "ipv6-icmp":
		prefix, out = "icmpv6 ", fieldsAt("icmp", at, size)
	case "udp", "sctp", "dccp", "udplite":
		out = fieldsAt("ports", at, size)
	default:
		prefix, out = "th ", fieldsAt("ports", at, size)
	}
	for i := range out {
		out[i].name = prefix + out[i].name
	}
	return out
}

func (d *decoder) meta(a attrs) bool {
	key := number(a[unix.NFTA_META_KEY])
	s, ok := metaFields[key]
	if !ok {
		s = source{name: fmt.Sprintf("meta %d", key), size: 4}
	}
	if a[unix.NFTA_META_SREG] != nil {
		return d.put(s, d.from(a[unix.NFTA_META_SREG]))
	}
	s.full, s.ifname = s.size, d.ifname
	return d.load(a[unix.NFTA_META_DREG], s)
}

func (d *decoder) ct(a attrs) bool {
	key := number(a[unix.NFTA_CT_KEY])
	s, ok := ctFields[key]
	if !ok {
		s = source{name: fmt.Sprint(key), size: 16}
	}
	if dir := a[unix.NFTA_CT_DIRECTION]; len(dir) == 1 {
		s.name = map[byte]string{0: "original ", 1: "reply "}[dir[0]] + s.name
	}
	s.name, s.full = "ct "+s.name, s.size
	if a[unix.NFTA_CT_SREG] != nil {
		return d.put(s, d.from(a[unix.NFTA_CT_SREG]))
	}
	return d.load(a[unix.NFTA_CT_DREG], s)
}

// put is a statement that sets what can be loaded too.
func (d *decoder) put(s source, from *source) bool {
	if from == nil {
		return false
	}
	what := from.label()
	switch {
	case from.data != nil:
		what = s.value(from.data)
	case from.mapped != nil:
		what = from.mapped.text
	}
	d.add(term{text: s.name + " set " + what})
	return true
}

// fib asks the routing table about an address.
func (d *decoder) fib(a attrs) bool {
	result, flags := number(a[unix.NFTA_FIB_RESULT]), number(a[unix.NFTA_FIB_FLAGS])
	var of []string
	for i, n := range [...]string{"saddr", "daddr", "mark", "iif", "oif"} {
		if flags&(1<<i) != 0 {
			of = append(of, n)
		}
	}
	s := source{size: 4}
	switch result {
	case unix.NFT_FIB_RESULT_OIF:
		s.name, s.form = "oif", formIndex
	case unix.NFT_FIB_RESULT_OIFNAME:
		s.name, s.form, s.size = "oifname", formName, 16
	case unix.NFT_FIB_RESULT_ADDRTYPE:
		s.name, s.form = "type", formType
	default:
		return false
	}
	if flags&unix.NFTA_FIB_F_PRESENT != 0 {
		s.form, s.size = formFlag, 1
	}
	if result == unix.NFT_FIB_RESULT_ADDRTYPE && flags&1 == 0 {
		s.role = roleHarmless // the destination is one of the host's own
	}
	s.name, s.full, s.ifname = "fib "+strings.Join(of, " . ")+" "+s.name, s.size, d.ifname
	return d.load(a[unix.NFTA_FIB_DREG], s)
}

func (d *decoder) bitwise(a attrs) bool {
	s := d.from(a[unix.NFTA_BITWISE_SREG])
	mask, _ := value(a[unix.NFTA_BITWISE_MASK])
	xor, _ := value(a[unix.NFTA_BITWISE_XOR])
	if s == nil || number(a[bitwiseOp]) != 0 || a[bitwiseSource2] != nil || s.data != nil || len(mask) == 0 || len(xor) != len(mask) {
		return false
	}
	masked := *s
	if s.mapped != nil || s.mask != nil || strings.Trim(string(xor), "\x00") != "" {
		masked = source{name: fmt.Sprintf("(%s & 0x%x ^ 0x%x)", s.label(), mask, xor), size: len(mask)}
	} else {
		masked.mask = mask
	}
	return d.load(a[unix.NFTA_BITWISE_DREG], masked)
}

// NFTA_BITWISE_OP and NFTA_BITWISE_SREG2 of nf_tables.h.
const (
	bitwiseOp      = 6
	bitwiseSource2 = 8
)

func (d *decoder) byteorder(a attrs) bool {
	s := d.from(a[unix.NFTA_BYTEORDER_SREG])
	if s == nil || s.name == "" {
		return false
	}
	turned := *s
	turned.turned = !turned.turned
	return d.load(a[unix.NFTA_BYTEORDER_DREG], turned)
}

// lookup asks whether fields are in a set, or what a map has for them.
func (d *decoder) lookup(a attrs) bool {
	at := place{d.chain.family, d.chain.table, text(a[unix.NFTA_LOOKUP_SET])}
	s := d.sets[at]
	if s == nil {
		return false
	}
	fields, labels := d.gather(slot(a[unix.NFTA_LOOKUP_SREG]), s.keySize)
	if fields == nil {
		return false
	}
	for _, f := range fields {
		d.use(f)
	}
	t := term{conditional: true, negated: number(a[unix.NFTA_LOOKUP_FLAGS])&1 != 0, fields: fields}
	var list []choice
	if !s.dynamic() && !s.many {
		list = s.choices(fields)
		for i, c := range list {
			if c.verdict != nil {
				list[i].verdict = &verdict{c.verdict.code, d.alias(at, c.verdict.chain)}
			}
		}
	}
	dreg := a[unix.NFTA_LOOKUP_DREG]
	verdicts := dreg != nil && number(dreg) == unix.NFT_REG_VERDICT
	name, content := s.spelled(list, dreg != nil)
	joined := strings.Join(labels, " . ")
	switch {
	case verdicts:
		t.text, t.leads = joined+" vmap "+content, true
	case dreg != nil:
		m := &mapping{text: joined + " map " + content, fields: fields, choices: list}
		for at := 0; at < s.dataSize; at += 4 {
			if i := slot(dreg) + at/4; slot(dreg) >= 0 && i < len(d.regs) {
				d.regs[i] = &source{mapped: m, at: at, size: s.dataSize - at}
			}
		}
		t.fields, t.negated, list = nil, false, nil
	default:
		sign := map[bool]string{true: "!= "}[t.negated]
		t.text, t.long = joined+" "+sign+name, joined+" "+sign+content
	}
	t.choices = list
	if len(labels) == 1 && dreg == nil && !t.negated && fields[0].role == roleL4 {
		d.l4, d.l4at = "th", -1
	}
	d.add(t)
	return true
}

// gather takes registers until they fill a key.
func (d *decoder) gather(i, size int) (fields []source, labels []string) {
	for n := 0; n < size; {
		if i < 0 || i >= len(d.regs) || d.regs[i] == nil || d.regs[i].name == "" {
			return nil, nil
		}
		s := *d.regs[i]
		parts := s.parts
		if len(parts) == 0 || s.mask != nil {
			parts = []source{s}
		}
		for _, p := range parts {
			labels = append(labels, p.label())
			if p.mask != nil {
				p.role = roleOther
			}
			fields = append(fields, p)
		}
		n += (s.size + 3) &^ 3
		i += (s.size + 3) / 4
	}
	return fields, labels
}

// spelled writes a set: as it is named, and with what is in it.
func (s *set) spelled(list []choice, isMap bool) (name, content string) {
	name = "@" + word(s.name)
	switch {
	case s.dynamic():
		return name, name
	case s.many:
		content = fmt.Sprintf("{ over %d elements }", maxElements)
	default:
		var words []string
		for _, c := range list {
			w := c.text
			switch {
			case c.verdict != nil:
				w += " : " + c.verdict.String()
			case isMap && c.data != nil:
				w += " : " + spellData(s.dataType, c.data)
			case isMap:
				w += " : " + word(c.object)
			}
			words = append(words, w)
		}
		content = spell(words)
	}
	if s.flags&setAnonymous != 0 {
		return content, content
	}
	return name, name + " " + content
}
