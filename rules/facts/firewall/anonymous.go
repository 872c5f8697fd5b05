package firewall

import (
	"fmt"
	"slices"
)

// A chain that is written inside of a rule, as "jump { … }", has a number of the
// kernel's for a name, another one each time that the rules are loaded. It is
// called by the chain that leads to it and its number there: input/1.

// alias is the name of a chain of the table that a place is in.
func (r *ruleset) alias(in place, chain string) string {
	if a, ok := r.aliases[place{in.family, in.table, chain}]; ok {
		return a
	}
	return chain
}

// nameAnonymous gives anonymous chains their names. One that nothing leads to
// keeps its own, and so does one whose name another chain has.
func (r *ruleset) nameAnonymous() {
	anonymous, taken := map[place]bool{}, map[place]bool{}
	var from []place // chains whose names are final
	for _, c := range r.chains {
		if c.anonymous {
			anonymous[c.place] = true
		} else {
			taken[c.place] = true
			from = append(from, c.place)
		}
	}
	if len(anonymous) == 0 {
		return
	}
	slices.SortFunc(from, place.compare)
	aliases := map[place]string{}
	for i := 0; i < len(from); i++ {
		n := 0
		for _, to := range r.leadsTo(from[i]) {
			at := place{from[i].family, from[i].table, to}
			if _, done := aliases[at]; done || !anonymous[at] {
				continue
			}
			n++
			name := from[i].name
			if a, ok := aliases[from[i]]; ok {
				name = a
			}
			from = append(from, at)
			if a := fmt.Sprintf("%s/%d", name, n); !taken[place{at.family, at.table, a}] {
				taken[place{at.family, at.table, a}] = true
				aliases[at] = a
			} else {
				aliases[at] = to
			}
		}
	}
	r.aliases = aliases
	for i := range r.chains {
		c := &r.chains[i]
		if a, ok := aliases[c.place]; ok {
			list := r.rules[c.place]
			delete(r.rules, c.place)
			c.name, c.anonymous = a, false
			r.rules[c.place] = list
		}
	}
}

// leadsTo are the chains that the rules of one lead to, in order.
func (r *ruleset) leadsTo(chain place) (out []string) {
	for _, b := range r.rules[chain] {
		for _, t := range r.decode(chain, b) {
			if t.verdict != nil && t.verdict.chain != "" {
				out = append(out, t.verdict.chain)
			}
			for _, c := range t.choices {
				if c.verdict != nil && c.verdict.chain != "" {
					out = append(out, c.verdict.chain)
				}
			}
		}
	}
	return out
}
