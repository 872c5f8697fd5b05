package policy

import (
	"maps"
	"slices"
)

// State is what the policies say of the children of one directory. It is
// immutable and safe for concurrent use. Directories with nothing of their own
// in the policy share the state of their parent.
type State struct {
	e       *Effective
	governs [sides]*line // what children inherit
	inherit Decision     // the same, put together
	here    [sides]bool  // governs was decided at this directory, not above
	nodes   []*node      // where the automaton stands
	rest    bool         // see Rest: lines with ** lead nowhere by themselves
}

// enter adds n, and what is entered with it, to the nodes of a state.
func enter(nodes []*node, n *node) []*node {
	for ; n != nil; n = n.star {
		if !n.leaf() && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
		for h := n.home; h != nil; h = h.star {
			if !h.leaf() && !slices.Contains(nodes, h) {
				nodes = append(nodes, h)
			}
		}
	}
	return nodes
}

// Match returns the decision for the child called name. It does not allocate.
func (s *State) Match(name []byte) Decision {
	var g [sides]*line
	hit := false
	for _, n := range s.nodes {
		if c := n.names[string(name)]; c != nil {
			hit = stronger(&g, &c.self) || hit
		}
		for i := range n.globs {
			if match(n.globs[i].glob, name) {
				hit = stronger(&g, &n.globs[i].to.self) || hit
			}
		}
	}
	if !hit {
		return s.inherit
	}
	var here [sides]bool
	for side := range g {
		if here[side] = g[side] != nil; !here[side] {
			g[side] = s.governs[side]
		}
	}
	d := s.e.decide(g)
	if b := g[base]; b.selects() || b != nil && !g[present].selects() {
		d.Here = here[base]
	} else {
		d.Here = here[present]
	}
	return d
}

// stronger keeps the strongest line of each side in g.
func stronger(g, more *[sides]*line) (hit bool) {
	for side, l := range more {
		if l != nil {
			hit = true
			if l.beats(g[side]) {
				g[side] = l
			}
		}
	}
	return hit
}

// Enter returns the state of the child directory called name, nil if nothing
// below it can be selected by either policy. It may return s itself.
func (s *State) Enter(name []byte) *State {
	c := s.enter(name)
	if !c.wanted() {
		return nil
	}
	return c
}

// wanted reports whether anything below can be selected.
func (s *State) wanted() bool {
	return s.governs[base].selects() || s.governs[present].selects() || slices.ContainsFunc(s.nodes, s.leads)
}

// leads reports whether a rule below can be reached from n.
func (s *State) leads(n *node) bool { return n.rules && !(s.rest && n.loop) }

func (s *State) enter(name []byte) *State {
	var g [sides]*line
	var room [8]*node
	next := room[:0]
	hit := false
	for _, n := range s.nodes {
		if n.loop {
			next = enter(next, n)
		}
		if c := n.names[string(name)]; c != nil {
			hit = stronger(&g, &c.below) || hit
			if c.home != nil {
				hit = stronger(&g, &c.home.below) || hit // ~/**
			}
			next = enter(next, c)
		}
		for i := range n.globs {
			if match(n.globs[i].glob, name) {
				hit = stronger(&g, &n.globs[i].to.below) || hit
				next = enter(next, n.globs[i].to)
			}
		}
	}
	if !hit && s.here == [sides]bool{} && slices.Equal(next, s.nodes) {
		return s
	}
	c := &State{e: s.e, governs: s.governs, inherit: s.inherit, nodes: slices.Clone(next), rest: s.rest}
	for side := range g {
		if g[side] != nil {
			c.governs[side], c.here[side] = g[side], true
		}
	}
	if hit {
		c.inherit = s.e.decide(c.governs)
	}
	return c
}

// Mounted returns the state of this directory for a file system mounted on it
// that is passed over (its type is skipped, or a rule stays on one file
// system): what governs from above does not reach into it, only rules that
// name this directory or something below do. It is nil where there are none:
// the mount is then not entered. See Effective.Named for rules that do not count.
func (s *State) Mounted() *State {
	named := false
	c := &State{e: s.e, nodes: s.nodes}
	for side, l := range s.governs {
		if s.here[side] && l.selects() && l.literal() && l.pulls() {
			c.governs[side], c.here[side] = l, true
			named = true
		}
	}
	for _, n := range s.nodes {
		named = named || n.named && n.roots
	}
	if !named {
		return nil
	}
	c.inherit = s.e.decide(c.governs)
	return c
}

// Rest returns the state of this directory without what governs here or from
// above, for what is still looked up where a budget is exhausted: paths below
// that rules of their own match by literal names, wildcards within a component
// and homes. Lines with ** do not lead anywhere there, following them is what
// the budget denies; they still decide for what is reached. It is nil where
// nothing is left.
func (s *State) Rest() *State {
	c := &State{e: s.e, nodes: s.nodes, rest: true}
	if names, list := c.Names(); !list && len(names) == 0 {
		return nil
	}
	return c
}

// Names returns which children can matter. Where list is true the directory
// must be listed. Else only the children called names (sorted) can be selected
// or lead to something that is: look them up one by one.
func (s *State) Names() (names []string, list bool) {
	if s.governs[base].selects() || s.governs[present].selects() {
		return nil, true
	}
	found := map[string]bool{}
	for _, n := range s.nodes {
		if !s.leads(n) {
			continue
		}
		if n.loop || slices.ContainsFunc(n.globs, func(e edge) bool { return e.to.rules }) {
			return nil, true
		}
		for name, to := range n.names {
			if to.rules {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), false
}
