package firewall

import (
	"bytes"
	"encoding/hex"
	"strings"

	"golang.org/x/sys/unix"

	"intact/rules/facts/netlink"
)

// term is a part of a rule: what it asks of a packet, or does with it.
type term struct {
	text string // "" where another term says it too
	long string // with what is in a named set, "" if it names none

	conditional bool     // a packet may fail here
	negated     bool     // it must be none of the choices
	least       bool     // it must be the choice or more
	fields      []source // that are compared with the choices
	choices     []choice // nil: what is asked is not understood

	verdict *verdict
	leads   bool // the verdicts of the choices are followed
	reject  bool
	nat     *nat
	complex bool
}

// decoder follows the registers of nf_tables through the expressions of a rule.
type decoder struct {
	*ruleset
	chain      place
	l3, l4     string // what is known of the packet: ip, ip6; tcp, …, th for one of several
	l3at, l4at int    // the terms that said so, -1 if none did
	regs       [16]*source
	terms      []term
}

// decode reads the expressions of a rule.
func (r *ruleset) decode(chain place, expressions []byte) []term {
	d := &decoder{ruleset: r, chain: chain, l3at: -1, l4at: -1}
	switch chain.family {
	case unix.NFPROTO_IPV4:
		d.l3 = "ip"
	case unix.NFPROTO_IPV6:
		d.l3 = "ip6"
	}
	n := 0
	err := netlink.Attributes(expressions, func(_ uint16, v []byte) error {
		if n++; n > maxNested {
			return errMany
		}
		var name string
		var data []byte
		err := netlink.Attributes(v, func(k uint16, v []byte) error {
			switch k {
			case unix.NFTA_EXPR_NAME:
				name = text(v)
			case unix.NFTA_EXPR_DATA:
				data = v
			}
			return nil
		})
		if err != nil {
			return err
		}
		d.expression(name, data)
		return nil
	})
	if err != nil {
		d.complex("rule", expressions)
	}
	return d.terms
}

// attrs are the attributes of an expression by their type.
type attrs [16][]byte

func (d *decoder) expression(name string, data []byte) {
	var a attrs
	err := netlink.Attributes(data, func(k uint16, v []byte) error {
		if int(k) < len(a) {
			a[k] = v
		}
		return nil
	})
	ok := err == nil
	if ok {
		switch name {
		case "counter", "last": // what passed is not what the rule says
		case "payload":
			ok = d.payload(a)
		case "meta":
			ok = d.meta(a)
		case "ct":
			ok = d.ct(a)
		case "fib":
			ok = d.fib(a)
		case "bitwise":
			ok = d.bitwise(a)
		case "byteorder":
			ok = d.byteorder(a)
		case "cmp":
			ok = d.cmp(a)
		case "range":
			ok = d.within(a)
		case "lookup":
			ok = d.lookup(a)
		case "immediate":
			ok = d.immediate(a)
		case "match":
			ok = d.match(text(a[unix.NFTA_MATCH_NAME]), number(a[unix.NFTA_MATCH_REV]), a[unix.NFTA_MATCH_INFO])
		case "target":
			ok = d.target(text(a[unix.NFTA_TARGET_NAME]), number(a[unix.NFTA_TARGET_REV]), a[unix.NFTA_TARGET_INFO])
		default:
			ok = d.statement(name, a)
		}
	}
	if !ok {
		d.complex(name, data)
	}
}

// complex notes an expression that is not understood by its name and a digest
// of its bytes: a change of it is seen. What the registers hold behind it is not
// known.
func (d *decoder) complex(name string, data []byte) {
	d.regs = [16]*source{}
	d.add(term{text: "complex(" + word(name) + " " + short(data) + ")", conditional: true, complex: true})
}

func (d *decoder) add(t term) { d.terms = append(d.terms, t) }

// slot is the first of the 16 registers of 4 bytes that a register covers, -1 if
// there is no such one. The four of 16 bytes overlap them.
func slot(b []byte) int {
	switch n := number(b); {
	case n >= unix.NFT_REG_1 && n <= unix.NFT_REG_4:
		return int(n-unix.NFT_REG_1) * 4
	case n >= unix.NFT_REG32_00 && n <= unix.NFT_REG32_15:
		return int(n - unix.NFT_REG32_00)
	}
	return -1
}

func (d *decoder) load(reg []byte, s source) bool {
	i := slot(reg)
	if i < 0 || s.size <= 0 {
		return false
	}
	for j := i; j < len(d.regs) && j < i+(s.size+3)/4; j++ {
		d.regs[j] = nil
	}
	d.regs[i] = &s
	return true
}

// from is what a register holds, nil if that is not known.
func (d *decoder) from(reg []byte) *source {
	if i := slot(reg); i >= 0 {
		return d.regs[i]
	}
	return nil
}

// field is from for what can be compared: no constant, nothing from a map.
func (d *decoder) field(reg []byte) *source {
	if s := d.from(reg); s != nil && s.name != "" {
		return s
	}
	return nil
}

var operators = [...]string{"==", "!=", "<", "<=", ">", ">="}

func (d *decoder) cmp(a attrs) bool {
	s, data := d.field(a[unix.NFTA_CMP_SREG]), []byte(nil)
	data, _ = value(a[unix.NFTA_CMP_DATA])
	op := number(a[unix.NFTA_CMP_OP])
	if s == nil || int(op) >= len(operators) || len(data) == 0 {
		return false
	}
	d.compare(*s, op, data)
	return true
}

func (d *decoder) compare(s source, op uint32, data []byte) {
	if len(s.parts) > 0 {
		if s.mask == nil && op == unix.NFT_CMP_EQ && len(data) == s.size {
			for _, p := range s.parts {
				d.compare(p, op, data[:p.size])
				data = data[p.size:]
			}
			return
		}
		d.add(term{text: s.label() + " " + operators[op] + " 0x" + hex.EncodeToString(data), conditional: true})
		return
	}
	if s.mask != nil {
		d.compareMasked(s, op, data)
		return
	}
	sp := span{data, data}
	switch op {
	case unix.NFT_CMP_LT:
		sp = span{make([]byte, len(data)), before(data)}
	case unix.NFT_CMP_LTE:
		sp.lo = make([]byte, len(data))
	case unix.NFT_CMP_GT:
		sp = span{after(data), bytes.Repeat([]byte{0xff}, len(data))}
	case unix.NFT_CMP_GTE:
		sp.hi = bytes.Repeat([]byte{0xff}, len(data))
	}
	if s.form == formAddr && len(data) < s.full && op <= unix.NFT_CMP_NEQ { // a network that ends with a byte
		sp.lo = append(bytes.Clone(data), make([]byte, s.full-len(data))...)
		sp.hi = filled(sp.lo, len(data)*8)
	}
	d.demand(s, op, sp, s.spell(span{data, data}))
}

// demand adds the condition that a field lies in a span, or, with NFT_CMP_NEQ,
// does not.
func (d *decoder) demand(s source, op uint32, sp span, spelled string) {
	if n := len(d.terms) - 1; op == unix.NFT_CMP_LTE && n >= 0 && d.terms[n].least && d.terms[n].fields[0].name == s.name {
		// "at least" and "at most" are one span
		sp.lo, op = d.terms[n].choices[0].spans[0].lo, unix.NFT_CMP_EQ
		d.terms = d.terms[:n]
	}
	if op <= unix.NFT_CMP_NEQ {
		spelled = s.spell(sp)
	}
	sign := ""
	if op != unix.NFT_CMP_EQ || s.form == formState || s.form == formStatus {
		sign = operators[op] + " "
	}
	d.use(s)
	t := term{text: s.name + " " + sign + spelled, conditional: true, negated: op == unix.NFT_CMP_NEQ, least: op == unix.NFT_CMP_GTE, fields: []source{s}, choices: []choice{{spans: []span{sp}}}}
	d.add(t)
	if op == unix.NFT_CMP_EQ && sp.single() {
		d.learn(s, spelled)
	}
}

func (d *decoder) compareMasked(s source, op uint32, data []byte) {
	zero := len(bytes.Trim(data, "\x00")) == 0
	t := term{text: s.label() + " " + operators[op] + " " + s.value(data), conditional: true}
	switch {
	case (s.form == formState || s.form == formStatus) && op == unix.NFT_CMP_NEQ && zero:
		t.text = s.name + " " + s.value(s.mask)
		if s.role == roleHarmless {
			t.fields, t.choices = []source{s}, []choice{{}}
		}
	case s.form == formAddr && op <= unix.NFT_CMP_NEQ && len(data) == len(s.mask):
		bits, ok := prefixBits(s.mask)
		if !ok {
			break
		}
		sp := span{data, filled(data, bits)}
		s.mask = nil
		d.demand(s, op, sp, "")
		return
	}
	d.use(s)
	d.add(t)
}

func prefixBits(mask []byte) (bits int, ok bool) {
	for bits < len(mask)*8 && mask[bits/8]&(0x80>>(bits%8)) != 0 {
		bits++
	}
	return bits, bytes.Equal(invert(mask), filled(make([]byte, len(mask)), bits))
}

func invert(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

// after is the number after one, of the same size.
func after(b []byte) []byte {
	out := bytes.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			break
		}
	}
	return out
}

// learn notes what a condition says of the protocols of a packet.
func (d *decoder) learn(s source, spelled string) {
	switch s.role {
	case roleL3:
		if l3 := map[string]string{"ipv4": "ip", "ip": "ip", "ipv6": "ip6", "ip6": "ip6"}[spelled]; l3 != "" {
			d.l3, d.l3at = l3, len(d.terms)-1
		}
	case roleL4:
		d.l4, d.l4at = spelled, -1
		if s.name == "meta l4proto" {
			d.l4at = len(d.terms) - 1
		}
	}
}

// use lets go of the text of conditions that a field implies: nobody writes
// "meta l4proto tcp tcp dport 22".
func (d *decoder) use(s source) {
	hide := func(at int) {
		if at >= 0 {
			d.terms[at].text = ""
		}
	}
	header, _, _ := strings.Cut(s.name, " ")
	switch header {
	case "ip", "ip6":
		hide(d.l3at)
		d.l3at = -1
	case d.l4, "icmpv6":
		hide(d.l4at)
		d.l4at = -1
	}
}

func (d *decoder) within(a attrs) bool {
	s := d.field(a[unix.NFTA_RANGE_SREG])
	lo, _ := value(a[unix.NFTA_RANGE_FROM_DATA])
	hi, _ := value(a[unix.NFTA_RANGE_TO_DATA])
	op := number(a[unix.NFTA_RANGE_OP])
	if s == nil || s.mask != nil || len(s.parts) > 0 || op > unix.NFT_RANGE_NEQ || len(lo) == 0 || len(lo) != len(hi) {
		return false
	}
	d.demand(*s, op, span{lo, hi}, "")
	return true
}

func (d *decoder) immediate(a attrs) bool {
	data, v := value(a[unix.NFTA_IMMEDIATE_DATA])
	if v != nil {
		v.chain = d.alias(d.chain, v.chain)
		d.add(term{text: v.String(), verdict: v})
		return true
	}
	return d.load(a[unix.NFTA_IMMEDIATE_DREG], source{data: data, size: len(data)})
}
