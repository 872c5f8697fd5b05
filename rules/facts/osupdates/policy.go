package osupdates

import (
	"math"
	"slices"

	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
)

// policy chooses versions as apt does, apt_preferences(5).
type policy struct {
	pins        []pin
	indexes     []index
	native      string
	phase       phasing
	phasePolicy bool // phasing has a part in the choice, and not only in what is kept back
}

// prioritize gives every index its priority: 500, less where the archive says
// that it does not want to be chosen, or that of the first pin that matches it.
func (p *policy) prioritize() {
	for i := range p.indexes {
		x := &p.indexes[i]
		switch rel := x.release(); {
		case x.status, rel.butAutomaticUpgrades:
			x.priority = 100
		case rel.notAutomatic:
			x.priority = 1
		default:
			x.priority = 500
		}
		fixed := false
		for j := range p.pins {
			pin := &p.pins[j]
			if pin.name != nil || fixed && pin.priority != neverPin || x.priority == neverPin || !pin.matches(x) {
				continue
			}
			x.priority, fixed = pin.priority, true
		}
	}
}

// about reports whether a pin with a name is about a version of a package.
func (p *policy) about(pin *pin, k *known, v *version) bool {
	name := k.Name
	if pin.source {
		name = v.src
	}
	switch arch := pin.arch; {
	case pin.name == nil, !pin.name.match(name):
		return false
	case arch == "any":
	case arch == "", arch == "native", arch == "all":
		if k.arch != p.native {
			return false
		}
	case arch != k.arch:
		return false
	}
	return pin.matchesVersion(v, p.indexes)
}

// priority is that of a version: of the first pin about it, else the highest of
// the indexes that have it.
func (p *policy) priority(k *known, v *version) int {
	ceiling := math.MaxInt
	if p.phasePolicy && p.phase.waits(v.src, v.srcVer, v.phase) {
		ceiling = 1
	}
	highest := math.MinInt
	usable := false
	for _, f := range v.from {
		highest = max(highest, p.indexes[f].priority)
		usable = usable || p.indexes[f].priority != neverPin
	}
	for i := range p.pins {
		pin := &p.pins[i]
		if pin.name == nil || !p.about(pin, k, v) {
			continue
		}
		if usable {
			return min(pin.priority, ceiling)
		}
		break
	}
	return min(highest, ceiling)
}

// candidate returns what apt would have installed; nil if nothing. Versions come
// newest first; an older one than the installed needs a priority of 1000.
func (p *policy) candidate(k *known) (best *version) {
	most := -1
	for i := range k.versions {
		v := &k.versions[i]
		prio := p.priority(k, v)
		if prio == 0 || prio <= most || prio < 1000 && deb.Compare(v.text, k.Version) < 0 {
			continue
		}
		best, most = v, prio
	}
	return best
}

// updates returns the update that waits of a package, and the one from a
// security archive that apt will not take, if it is another.
func (p *policy) updates(k *known) (out []Update) {
	slices.SortStableFunc(k.versions, func(a, b version) int { return deb.Compare(b.text, a.text) })
	c := p.candidate(k)
	top := k.Version
	if c != nil && deb.Compare(c.text, k.Version) > 0 {
		u := p.row(k, c)
		u.Security = p.secures(k, c)
		u.Phased = !u.Security && p.phase.waits(c.src, c.srcVer, c.phase)
		out, top = append(out, u), c.text
	}
	for i := range k.versions {
		v := &k.versions[i]
		if deb.Compare(v.text, top) > 0 && p.fromSecurity(v) {
			u := p.row(k, v)
			u.Security, u.Pinned = true, true
			return append(out, u)
		}
	}
	return out
}

// secures reports whether a security update lies above the installed version,
// up to v.
func (p *policy) secures(k *known, v *version) bool {
	return slices.ContainsFunc(k.versions, func(w version) bool {
		return deb.Compare(w.text, k.Version) > 0 && deb.Compare(w.text, v.text) <= 0 && p.fromSecurity(&w)
	})
}

func (p *policy) fromSecurity(v *version) bool {
	return slices.ContainsFunc(v.from, func(f int) bool { return p.indexes[f].release().security() })
}

// row describes an update to v by the index that counts: of a security archive
// if one has it, else the first.
func (p *policy) row(k *known, v *version) Update {
	x := &p.indexes[v.from[0]]
	for _, f := range v.from {
		if p.indexes[f].release().security() {
			x = &p.indexes[f]
			break
		}
	}
	rel := x.release()
	return Update{
		Name: k.Name, Arch: k.Arch, Installed: k.Version, Candidate: v.text,
		Origin: rel.origin, Label: rel.label, Suite: rel.suite, List: string(x.file), Held: k.Status == pkgdb.Held,
	}
}
