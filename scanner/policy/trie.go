package policy

import (
	"intact/scanner/entry"
)

// base and present index what both policies have a say in.
const (
	base = iota
	present
	sides
)

// line is one compiled rule or exclude of one side.
type line struct {
	*pattern
	rule    *Rule    // nil for an exclude
	exclude *Exclude // nil for a rule
	set     uint16   // of a rule of the baseline: index into Sets
	// What Decision says of it, made once because Match must not allocate.
	wider, excluded, reduced, dropped string
}

// selects reports whether a path governed by l is selected.
func (l *line) selects() bool { return l != nil && l.rule != nil }

// pulls reports whether l makes a scan enter a mount that would be passed over.
func (l *line) pulls() bool {
	return l.rule != nil && !l.home && !l.rule.Set.Sweep && (l.literal() || !l.rule.OneFS)
}

// beats orders lines that match at the same depth. Where both are of one class,
// a line for homes knows its path better than another with wildcards, and
// worse than another without.
func (l *line) beats(m *line) bool {
	switch {
	case m == nil:
		return true
	case l.class != m.class:
		return l.class > m.class
	case l.home != m.home:
		return l.home == (l.class < 2)
	case l.lits != m.lits:
		return l.lits > m.lits
	case (l.rule == nil) != (m.rule == nil):
		return l.rule == nil
	}
	return l.norm > m.norm
}

// node is a state of the automaton that all patterns share: a place in the
// tree of their components.
type node struct {
	names map[string]*node // by literal component
	globs []edge
	star  *node // entered together with this node, for **
	loop  bool  // a star node: it stays whatever the name
	home  *node // entered together with this node: the lines for homes, shared by all homes
	// named: only literal components lead here.
	named bool
	self  [sides]*line // strongest line that ends here and governs the path itself
	below [sides]*line // strongest line that ends here and governs what lies below
	rules bool         // a rule ends here or further on
	roots bool         // the same for rules that pull in a mount; see Effective.Named
	hots  bool         // a hot rule ends further on
}

type edge struct {
	text string
	glob []token
	to   *node
}

func newTrie() *node { return &node{named: true} }

// insert adds a line to the automaton.
func (n *node) insert(l *line, side int) {
	n.mark(l)
	for _, c := range l.comps {
		n.hots = n.hots || l.selects() && l.rule.Hot
		n = n.step(c)
		n.mark(l)
	}
	if !l.pattern.below && l.beats(n.self[side]) {
		n.self[side] = l
	}
	if l.beats(n.below[side]) {
		n.below[side] = l
	}
}

func (n *node) mark(l *line) {
	n.rules = n.rules || l.rule != nil
	n.roots = n.roots || l.pulls()
}

func (n *node) step(c comp) *node {
	switch {
	case c.star:
		if n.star == nil {
			n.star = &node{loop: true}
		}
		return n.star
	case c.glob != nil:
		for _, e := range n.globs {
			if e.text == c.name {
				return e.to
			}
		}
		to := &node{}
		n.globs = append(n.globs, edge{c.name, c.glob, to})
		return to
	}
	to := n.names[c.name]
	if to == nil {
		to = &node{named: n.named}
		if n.names == nil {
			n.names = map[string]*node{}
		}
		n.names[c.name] = to
	}
	return to
}

// leaf reports whether no further name can lead anywhere from n.
func (n *node) leaf() bool { return len(n.names) == 0 && len(n.globs) == 0 && !n.loop }

// graft lets the lines for homes stand at one home.
func (n *node) graft(at entry.Path, homes *node) {
	n.rules = n.rules || homes.rules
	n.hots = n.hots || homes.hots
	for _, c := range at.Components() {
		n = n.step(comp{name: c})
		n.rules = n.rules || homes.rules
		n.hots = n.hots || homes.hots
	}
	n.home = homes
}

// aliased returns the lines that stand for lines at the other end of aliases,
// except where the policy has its own line for the same path. Homes that lie
// below an alias are no concern of it: see grafts. An exclude for homes does not
// move by a link in a home: a user could make one to /usr/bin.
func aliased(lines []*line, aliases []Alias, homes []entry.Path) []*line {
	type id struct {
		norm string
		rule bool
	}
	seen := map[id]bool{}
	for _, l := range lines {
		seen[id{l.norm, l.rule != nil}] = true
	}
	var more []*line
	move := func(l *line, a Alias) {
		m := *l
		m.pattern = l.moved(a)
		if k := (id{m.norm, m.rule != nil}); !seen[k] {
			seen[k] = true
			more = append(more, &m)
		}
	}
	for _, a := range aliases {
		for _, l := range lines {
			if !l.home && l.prefix().Under(a.From) {
				move(l, a)
			}
			for _, h := range homes {
				if l.home && l.rule != nil && a.From != h && a.From.Under(h) && l.at(h).Under(a.From) {
					move(l.settled(h), a)
				}
			}
		}
	}
	return more
}

// moved returns the pattern of l, whose literal prefix lies under a.From, at a.To.
func (p *pattern) moved(a Alias) *pattern {
	q := *p
	q.comps = nil
	for _, c := range a.To.Components() {
		q.comps = append(q.comps, comp{name: c})
		q.lits += len(c)
	}
	from := a.From.Components()
	for _, c := range from {
		q.lits -= len(c)
	}
	q.comps = append(q.comps, p.comps[len(from):]...)
	q.rename()
	return &q
}

// Alias says that a path of the policy, some of whose components are symbolic
// links, stands for another.
type Alias struct {
	From, To entry.Path
}
