package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Published is a port that address translation leads to another address or port
// before the host decides where a packet goes. A packet that is led to another
// address passes no filter that hooks input.
type Published struct {
	Family    string `cel:"family"`     // ip, ip6; inet if it is for both
	Proto     string `cel:"proto"`      // tcp, udp, …; "" for every one
	FirstPort int64  `cel:"first_port"` // 0 to 65535 stands for every port
	LastPort  int64  `cel:"last_port"`
	Addr      string `cel:"addr"`     // address, network or range that it is published on; * for all
	Iface     string `cel:"iface"`    // interface that it must come in by, quoted; "!= NAME" for which it must not; "" any
	From      string `cel:"from"`     // senders that it is for, as saddr; "" all
	Loopback  bool   `cel:"loopback"` // only the host itself can reach it
	Action    string `cel:"action"`   // dnat, redirect; unknown: not understood
	ToAddr    string `cel:"to_addr"`  // "" the same one, or one that is not known
	ToPort    string `cel:"to_port"`  // a number or a range N-M, "" the same one
	ToHost    bool   `cel:"to_host"`  // it stays with this host, whose input is filtered
	Table     string `cel:"table"`
	Chain     string `cel:"chain"`
	Container bool   `cel:"container"` // a container engine made the rule, see Chain
	Legacy    bool   `cel:"legacy"`    // the nat table of iptables-legacy: what it does is not known
	Known     bool   `cel:"known"`     // what the rule does is understood
	Rule      string `cel:"rule"`      // as firewall.chains has it

	// A filter of nf_tables drops or rejects what its rules let not in at input, of
	// this family. It is not known where none does and iptables-legacy has a filter.
	InputDrops bool `cel:"input_drops"`
	InputKnown bool `cel:"input_known"`
}

// maxPort is the last port.
const maxPort = 65535

// maxPublished bounds the rows.
const maxPublished = 10_000

// Key names what is published, by how it can be reached.
func (p Published) Key() string {
	if p.Legacy {
		return p.Family + " iptables-legacy " + word(p.Table)
	}
	port := "*"
	if p.FirstPort > 0 || p.LastPort < maxPort {
		port = portRange(p.FirstPort, p.LastPort)
	}
	proto := p.Proto
	if proto == "" {
		proto = "*"
	}
	out := fmt.Sprintf("%s %s/%s@%s", p.Family, proto, port, p.Addr)
	if p.Iface != "" && !strings.HasPrefix(p.Iface, "!=") {
		out += "%" + p.Iface
	}
	if !p.Known {
		out += " by " + word(p.Table) + " " + word(p.Chain)
	}
	return out
}

// filtered fills in whether input is filtered.
func filtered(rows []Published, chains []Chain, legacy []Legacy) {
	of := func(p Published, family string) bool {
		return family == p.Family || family == "inet" && p.Family != "bridge" || p.Family == "inet" && (family == "ip" || family == "ip6")
	}
	for i := range rows {
		p := &rows[i]
		p.InputDrops = slices.ContainsFunc(chains, func(c Chain) bool {
			return c.Type == "filter" && c.Hook == "input" && (c.Rest == "drop" || c.Rest == "reject") && of(*p, c.Family)
		})
		p.InputKnown = p.InputDrops || !slices.ContainsFunc(legacy, func(l Legacy) bool { return l.Table == "filter" && of(*p, l.Family) })
	}
}

// scope is what must be true of a packet that gets as far as some rule. What is
// not understood narrows nothing: rather too much is published than too little.
type scope struct {
	l3, proto   string
	first, last int64
	addr, from  string
	in          string
	loopback    bool
}

// published follows the chains of nat that packets enter before they are routed.
func (w *walk) published() []Published {
	chains := slices.Clone(w.chains)
	slices.SortStableFunc(chains, func(a, b rawChain) int { return int(a.priority) - int(b.priority) })
	for _, c := range chains {
		if c.base && c.kind == "nat" && hookName(c.family, c.hook) == "prerouting" && !w.dormant[place{family: c.family, table: c.table}] {
			w.follow(c.place, scope{last: maxPort}, 0)
		}
	}
	return w.found
}

// maxScopes bounds what one rule branches into.
const maxScopes = 1024

func (w *walk) follow(chain place, sc scope, depth int) {
	if depth > maxDepth || w.err != nil {
		return
	}
	for _, b := range w.rules[chain] {
		if w.budget--; w.budget < 0 || len(w.found) > maxPublished {
			w.err = fmt.Errorf("%w: published ports", errMany)
			return
		}
		terms := w.decode(chain, b)
		w.rule(chain, terms, sc, depth)
		if e, ok := endingOf(terms); ok && (e.verdict == nil || e.verdict.code != verdictJump) {
			return
		}
	}
}

// rule follows one rule.
func (w *walk) rule(chain place, terms []term, sc scope, depth int) {
	scopes := []scope{sc}
	led, unclear := false, false
	for _, t := range terms {
		switch {
		case t.leads:
			led = true
			for _, s := range scopes {
				for _, c := range t.choices {
					if c.verdict != nil && c.verdict.chain != "" {
						for _, n := range narrow([]scope{s}, t.fields, []choice{c}) {
							w.follow(place{chain.family, chain.table, c.verdict.chain}, n, depth+1)
						}
					}
				}
			}
			unclear = unclear || t.choices == nil
		case t.conditional && !t.negated && t.choices != nil:
			scopes = narrow(scopes, t.fields, t.choices)
		case t.conditional && t.negated && len(t.choices) == 1:
			for i := range scopes {
				scopes[i].without(t.fields, t.choices[0])
			}
		case t.complex:
			unclear = true
		case t.nat != nil:
			led = true
			for _, s := range scopes {
				w.publish(chain, *t.nat, s, spellRule(terms))
			}
		case t.verdict != nil && t.verdict.chain != "":
			led = true
			for _, s := range scopes {
				w.follow(place{chain.family, chain.table, t.verdict.chain}, s, depth+1)
			}
		case t.verdict != nil:
			led = true
		}
	}
	if unclear && !led { // perhaps a target that translates
		for _, s := range scopes {
			w.add(chain, Published{Action: "unknown", Rule: spellRule(terms)}, s)
		}
	}
}

// narrow gives what is left of scopes where fields are one of choices.
func narrow(scopes []scope, fields []source, choices []choice) (out []scope) {
	if len(scopes)*len(choices) > maxScopes {
		return scopes
	}
	for _, s := range scopes {
		for _, c := range choices {
			n, ok := s, true
			for i, sp := range c.spans {
				ok = ok && i < len(fields) && n.apply(fields[i], sp)
			}
			if ok {
				out = append(out, n)
			}
		}
	}
	return out
}

// apply narrows a scope; false: nothing is left of it.
func (s *scope) apply(f source, sp span) bool {
	if f.mask != nil {
		return true
	}
	if proto, _, _ := strings.Cut(f.name, " "); (f.role == roleDport || f.role == roleSport) && proto != "th" {
		s.proto = proto
	}
	switch f.role {
	case roleL3:
		s.l3 = map[string]string{"ipv4": "ip", "ip": "ip", "ipv6": "ip6", "ip6": "ip6"}[f.spell(sp)]
	case roleL4:
		s.proto = f.spell(sp)
	case roleDport:
		s.first, s.last = max(s.first, int64(number(sp.lo))), min(s.last, int64(number(sp.hi)))
		return s.first <= s.last
	case roleDaddr:
		s.addr = f.spell(sp)
		lo, _ := netip.AddrFromSlice(sp.lo)
		hi, _ := netip.AddrFromSlice(sp.hi)
		s.loopback = s.loopback || lo.IsLoopback() && hi.IsLoopback()
	case roleSaddr:
		s.from = f.spell(sp)
	case roleIn:
		s.in = f.spell(sp)
		s.loopback = s.loopback || s.in == `"lo"`
	}
	return true
}

// without notes what is left out. Of all that, only an interface is worth words.
func (s *scope) without(fields []source, c choice) {
	if len(fields) == 1 && len(c.spans) == 1 && fields[0].role == roleIn && s.in == "" {
		s.in = "!= " + fields[0].spell(c.spans[0])
	}
}

// publish adds what a translation does to the packets of a scope.
func (w *walk) publish(chain place, n nat, s scope, rule string) {
	if n.kind != "dnat" && n.kind != "redirect" {
		return
	}
	p := Published{Action: n.kind, ToAddr: n.addr, ToPort: n.port, Rule: rule, Known: true}
	if n.mapped == nil {
		w.add(chain, p, s)
		return
	}
	size := 4
	if n.mapFamily == unix.NFPROTO_IPV6 {
		size = 16
	}
	if n.mapped.choices == nil {
		w.add(chain, p, s)
	}
	for _, c := range n.mapped.choices {
		for _, left := range narrow([]scope{s}, n.mapped.fields, []choice{c}) {
			q := p
			if a, ok := netip.AddrFromSlice(c.data[:min(size, len(c.data))]); ok {
				q.ToAddr = a.String()
			}
			if len(c.data) >= size+2 && n.port == "" {
				q.ToPort = fmt.Sprint(number(c.data[size : size+2]))
			}
			w.add(chain, q, left)
		}
	}
}

func (w *walk) add(chain place, p Published, s scope) {
	p.Family, p.Table, p.Chain, p.Container = families[chain.family], chain.table, chain.name, isContainer(chain.table, chain.name, w.hooked[chain])
	if to, _, _ := strings.Cut(p.ToAddr, "-"); p.Family == "inet" {
		a, err := netip.ParseAddr(to)
		switch {
		case err == nil && a.Is4():
			p.Family = "ip"
		case err == nil:
			p.Family = "ip6"
		case s.l3 != "":
			p.Family = s.l3
		}
	}
	p.Proto, p.FirstPort, p.LastPort = s.proto, s.first, s.last
	p.Addr, p.Iface, p.From, p.Loopback = s.addr, s.in, s.from, s.loopback
	if p.Addr == "" {
		p.Addr = "*"
	}
	a, err := netip.ParseAddr(p.ToAddr)
	p.ToHost = p.Action == "redirect" || p.Action == "dnat" && p.ToAddr == "" && p.Known && !strings.Contains(p.Rule, " map ") || err == nil && (a.IsLoopback() || slices.Contains(w.own, p.ToAddr))
	w.found = append(w.found, p)
}
