package policy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"intact/scanner/entry"
)

// Effective is what is in force: the union of the baseline's policy and the
// present configuration. It is immutable and safe for concurrent use.
type Effective struct {
	root  *node
	sets  entry.Sets
	skip  [sides][]string
	lines []*line // of both sides
	homes []entry.Path
	start State
	self  Decision
}

// Decision is what the policies say of one path.
type Decision struct {
	Select  bool     // selected by the baseline's policy
	Set     uint16   // its attribute set, an index into Sets
	Rule    *Rule    // deciding rule of the policy that selects: the baseline's first, else the present one
	Exclude *Exclude // the exclude that hides the path, where one does
	Hot     bool     // watched in real time, by a deciding rule of either policy
	// Here: the deciding line matches this very path, not a directory above it.
	// A mount on such a path is where the rule lies, not one below it.
	Here bool
	// Wider names the line of the present configuration that selects the path
	// although the baseline's policy does not, or with more attributes; else "".
	Wider string
	// Narrower says how the present configuration would hide a path that the
	// baseline's policy selects, or compare less of it; else "".
	Narrower string
}

// Union puts the policy of the baseline and the present configuration in
// force together. What the baseline's policy selects is selected, whatever the
// present one says; what only the present one selects is told by
// Decision.Wider. The two are the same pointer at init; present may be nil where
// the configuration could not be read. Lines that begin with ~/ stand at the
// homes of either policy: see ExpandHomes.
func Union(basePolicy, presentPolicy *Policy, aliases []Alias) (*Effective, error) {
	if presentPolicy == nil || basePolicy != presentPolicy && equal(basePolicy, presentPolicy) {
		presentPolicy = cmp.Or(presentPolicy, basePolicy)
		basePolicy = presentPolicy // equal, but with positions that a person can look up
	}
	if err := basePolicy.Check(); err != nil {
		return nil, fmt.Errorf("put policy %q in force: %w", basePolicy.Name, err)
	}
	e := &Effective{root: newTrie(), sets: basePolicy.sets()}
	e.skip = [sides][]string{basePolicy.skip(), presentPolicy.skip()}
	e.homes = slices.Concat(basePolicy.homes, presentPolicy.homes)
	slices.Sort(e.homes)
	e.homes = slices.Compact(e.homes)
	homeLines, systemLines := newTrie(), newTrie()
	for side, p := range [sides]*Policy{basePolicy, presentPolicy} {
		lines, err := e.compile(p, side)
		if err != nil {
			return nil, fmt.Errorf("put policy %q in force: %w", p.Name, err)
		}
		lines = append(lines, aliased(lines, aliases, e.homes)...)
		for _, l := range lines {
			if !l.home {
				e.root.insert(l, side)
				continue
			}
			homeLines.insert(l, side)
			if l.rule != nil {
				systemLines.insert(l, side)
			}
		}
		e.lines = append(e.lines, lines...)
	}
	for _, h := range grafts(e.homes, aliases) {
		if systemHome(h) {
			e.root.graft(h, systemLines)
		} else {
			e.root.graft(h, homeLines)
		}
	}
	e.self = e.decide(e.root.self)
	e.self.Here = true
	e.start = State{e: e, governs: e.root.below}
	if e.root.home != nil {
		stronger(&e.start.governs, &e.root.home.below)
	}
	for side, l := range e.start.governs {
		e.start.here[side] = l != nil
	}
	e.start.inherit = e.decide(e.start.governs)
	e.start.nodes = enter(nil, e.root)
	return e, nil
}

// equal reports whether two policies mean the same, wherever their lines stand.
func equal(a, b *Policy) bool { return bytes.Equal(a.Canonical(), b.Canonical()) }

// sets returns the attribute sets of the rules, sorted, each once.
func (p *Policy) sets() entry.Sets {
	var s entry.Sets
	for i := range p.Rules {
		s = append(s, p.Rules[i].Set)
	}
	slices.SortFunc(s, compareSets)
	return slices.Compact(s)
}

func compareSets(a, b entry.Set) int {
	flags := func(s entry.Set) int {
		n := 0
		if s.Log {
			n |= 1
		}
		if s.Sweep {
			n |= 2
		}
		return n
	}
	return cmp.Or(cmp.Compare(a.Mask, b.Mask), cmp.Compare(a.DirMask, b.DirMask), cmp.Compare(flags(a), flags(b)))
}

func (e *Effective) compile(p *Policy, side int) ([]*line, error) {
	var lines []*line
	for i := range p.Rules {
		r := &p.Rules[i]
		c, err := compile(r.Pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Pos, err)
		}
		l := &line{pattern: c, rule: r}
		if side == base {
			n, _ := slices.BinarySearchFunc(e.sets, r.Set, compareSets)
			l.set = uint16(n)
			l.dropped = "dropped: " + r.String()
		}
		l.wider = r.String()
		l.reduced = fmt.Sprintf("compared by %s only: %s", describe(r.Set), r.String())
		lines = append(lines, l)
	}
	for i := range p.Excludes {
		x := &p.Excludes[i]
		c, err := compile(x.Pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.Pos, err)
		}
		lines = append(lines, &line{pattern: c, exclude: x, excluded: "hidden by " + x.String()})
	}
	return lines, nil
}

// decide puts together what the governing lines of both sides say.
func (e *Effective) decide(g [sides]*line) (d Decision) {
	b, p := g[base], g[present]
	d.Hot = b.selects() && b.rule.Hot || p.selects() && p.rule.Hot
	switch {
	case b.selects():
		d.Select, d.Set, d.Rule = true, b.set, b.rule
		switch {
		case p == nil:
			d.Narrower = b.dropped
		case p.rule == nil:
			d.Narrower = p.excluded
		case p.rule != b.rule && p.rule.Set != b.rule.Set:
			if less(b.rule.Set, p.rule.Set) {
				d.Narrower = p.reduced
			}
			if less(p.rule.Set, b.rule.Set) {
				d.Wider = p.wider
			}
		}
	case p.selects():
		d.Rule, d.Wider = p.rule, p.wider
	case b != nil:
		d.Exclude = b.exclude
	case p != nil:
		d.Exclude = p.exclude
	}
	return d
}

// Sets returns the attribute-set table, which Decision.Set indexes. It follows
// from the baseline's policy alone and not from the homes.
func (e *Effective) Sets() entry.Sets { return e.sets }

// SkipFS reports whether mounts of a file-system type are passed over: only
// where both policies do so. See State.Mounted for what is crossed anyway.
func (e *Effective) SkipFS(fstype string) bool {
	for _, list := range e.skip {
		if !slices.ContainsFunc(list, func(l string) bool { return matchType(l, fstype) }) {
			return false
		}
	}
	return true
}

// LiteralRoots returns, sorted, the path of every rule and exclude at every
// home, up to its first wildcard: where a symbolic link on the way matters. Of
// excludes for homes it is the home alone: whose home it is makes the links in
// it, and must not move what an exclude hides.
// See Expected for the paths that should exist.
func (e *Effective) LiteralRoots() []entry.Path {
	var paths []entry.Path
	for _, l := range e.lines {
		if !l.home {
			paths = append(paths, l.prefix())
			continue
		}
		for _, h := range e.homes {
			if l.exclude != nil {
				paths = append(paths, h)
			} else {
				paths = append(paths, l.at(h))
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Expected returns, sorted, the paths of the rules without wildcards, those
// for homes excepted. One that does not exist should be said and counted.
func (e *Effective) Expected() []entry.Path {
	var paths []entry.Path
	for _, l := range e.lines {
		if l.rule != nil && l.literal() && !l.home {
			paths = append(paths, l.prefix())
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Roots returns, sorted, the path of every rule up to its first wildcard, those
// for homes excepted.
func (e *Effective) Roots() []entry.Path {
	var paths []entry.Path
	for _, l := range e.lines {
		if l.rule != nil && !l.home {
			paths = append(paths, l.prefix())
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Start returns the state of the directory "/": its children are matched by it.
func (e *Effective) Start() State { return e.start }

// Self returns the decision for "/" itself.
func (e *Effective) Self() Decision { return e.self }

// Decide returns the decision for any path, whether it exists or not.
func (e *Effective) Decide(p entry.Path) Decision { return e.Decider()(p) }

// Decider returns a Decide that is fast where paths of one directory follow
// each other. It is not safe for concurrent use.
func (e *Effective) Decider() func(entry.Path) Decision {
	var dir entry.Path
	var s *State // of dir, once there is one
	return func(p entry.Path) Decision {
		if p == "/" || p == "" {
			return e.self
		}
		if s == nil || p.Dir() != dir {
			dir, s = p.Dir(), &e.start
			for _, n := range dir.Components() {
				s = s.enter([]byte(n)) // not Enter: the exclude is to be told
			}
		}
		return s.Match([]byte(p.Base()))
	}
}

// Named reports whether the path of a rule, up to its first wildcard, is p or
// lies below it: a file system mounted on p is then entered whatever its type,
// see State.Mounted. Three kinds of rules do not count: those for homes, those
// with wildcards and one_filesystem, and sweeps, which go over what is local.
func (e *Effective) Named(p entry.Path) bool {
	n := e.root
	for _, c := range p.Components() {
		if n = n.names[c]; n == nil {
			return false
		}
	}
	return n.roots
}
