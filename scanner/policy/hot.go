package policy

import (
	"slices"

	"intact/scanner/entry"
)

// Hot reports whether names in the directory, or anything below it, are to be
// watched in real time: they are hot, or a hot rule is met further down, by names
// that need not exist yet.
func (s *State) Hot() bool {
	return s.inherit.Hot || slices.ContainsFunc(s.nodes, func(n *node) bool { return n.hots && !(s.rest && n.loop) })
}

// OnMount tells what is selected on a file system of type fstype that is
// mounted at p, where d is what is said of p and child of what lies in it, nil
// where that is nothing. On a mount that is passed over it is only what a rule
// names there, p itself or something below; where that is nothing, ok is false.
func (e *Effective) OnMount(p entry.Path, fstype string, d Decision, child *State) (_ Decision, _ *State, ok bool) {
	one := d.Rule != nil && d.Rule.OneFS && !d.Here
	if !one && !e.SkipFS(fstype) {
		return d, child, true
	}
	if !d.Here {
		d = Decision{Rule: d.Rule}
	}
	if child != nil {
		child = child.Mounted()
	}
	if e.Named(p) && (child != nil || d.Select) {
		return d, child, true
	}
	return d, nil, false
}
