package policy

import (
	"slices"
	"strings"

	"intact/scanner/entry"
)

// ExpandHomes returns a copy of p whose rules and excludes that begin with ~/
// stand at each of homes; a policy that was never expanded has them nowhere.
// Homes that are not absolute are left out. Excludes do not stand at homes that
// lie at or below system directories: /usr/sbin is somebody's home, and what
// ~/.cache/** hides must not become a place to hide in. Neither Canonical nor Sets depend
// on homes: a baseline stores p as written, and a new user's home is picked up
// by the next scan.
func (p *Policy) ExpandHomes(homes []entry.Path) *Policy {
	q := p.clone()
	q.homes = nil
	for _, h := range homes {
		if h, err := entry.NewPath(string(h)); err == nil {
			q.homes = append(q.homes, h)
		}
	}
	slices.Sort(q.homes)
	q.homes = slices.Compact(q.homes)
	return q
}

// userHomes returns the homes at which excludes stand.
func userHomes(homes []entry.Path) []entry.Path {
	return slices.DeleteFunc(slices.Clone(homes), systemHome)
}

// systemHome reports whether a home lies at or below a directory of the system.
// The forms that a merged-usr system has of one place are in the list both.
func systemHome(home entry.Path) bool {
	names := home.Components()
	if len(names) == 0 {
		return true
	}
	switch names[0] {
	case "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run", "sbin", "sys", "usr":
		return true
	}
	return false
}

// at returns the literal prefix of l for one home; home does not matter to a
// line that is not for homes.
func (l *line) at(home entry.Path) entry.Path {
	p := l.prefix()
	switch {
	case !l.home || home == "/":
		return p
	case p == "/":
		return home
	}
	return home + p
}

// grafts returns the homes at which home lines stand: homes, and for those
// below the From of an alias also the same place below its To.
func grafts(homes []entry.Path, aliases []Alias) []entry.Path {
	all := slices.Clone(homes)
	for _, a := range aliases {
		for _, h := range homes {
			if h.Under(a.From) {
				all = append(all, a.To.Join([]byte(strings.TrimPrefix(string(h[len(a.From):]), "/"))))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// settled returns a home line as an ordinary one for one home.
func (l *line) settled(home entry.Path) *line {
	m := *l
	p := *l.pattern
	p.home = false
	p.comps = nil
	for _, c := range home.Components() {
		p.comps = append(p.comps, comp{name: c})
		p.lits += len(c)
	}
	p.comps = append(p.comps, l.comps...)
	p.rename()
	m.pattern = &p
	return &m
}
