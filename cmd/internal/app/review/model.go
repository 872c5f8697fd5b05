package review

import (
	"errors"
	"fmt"

	"intact/baseline/diff"
	"intact/rules"
)

// Why an answer is not taken.
var (
	ErrByName = errors.New("it is critical: only yes, typed in full, takes it")
	ErrLost   = errors.New("lost coverage cannot be accepted: what could not be read was not verified")
	ErrSingle = errors.New("this is one change: there is nothing to split")
	ErrKind   = errors.New("all of these changes are of one kind")
)

// Bounds of splitting.
const (
	fewItems   = 12  // items that are split into single ones at once
	manyItems  = 100 // single ones that a group may become, else parts of it
	partsOfAll = 50  // then so many parts
)

// Model is the state of a review: groups that together hold each item once,
// their answers, and what leads back.
type Model struct {
	items   *Items
	Groups  []Group
	At      int // the group that is asked about
	history []step
}

// step undoes one answer or split: n groups at at become old again.
type step struct {
	at, n int
	old   []Group
}

// NewModel begins a review.
func NewModel(items *Items) *Model { return &Model{items: items, Groups: items.groups()} }

// replace puts list in the place of one group.
func (m *Model) replace(at int, list []Group) {
	m.history = append(m.history, step{at, len(list), []Group{m.Groups[at]}})
	m.splice(at, 1, list)
}

func (m *Model) splice(at, n int, list []Group) {
	if n == len(list) {
		copy(m.Groups[at:], list)
		return
	}
	groups := make([]Group, 0, len(m.Groups)-n+len(list))
	groups = append(append(append(groups, m.Groups[:at]...), list...), m.Groups[at+n:]...)
	m.Groups = groups
}

// Undo takes the last answer or split back and goes there. It reports whether
// there was one.
func (m *Model) Undo() bool {
	if len(m.history) == 0 {
		return false
	}
	s := m.history[len(m.history)-1]
	m.history = m.history[:len(m.history)-1]
	m.splice(s.at, s.n, s.old)
	m.At = s.at
	return true
}

func (m *Model) answer(a Answer) {
	g := m.Groups[m.At]
	g.Answer = a
	m.replace(m.At, []Group{g})
}

// Leave answers no.
func (m *Model) Leave() { m.answer(Leave) }

// Take answers yes. Critical items of a group of several get groups of their
// own, without an answer; aside is how many there are.
func (m *Model) Take() (aside int, err error) {
	g := &m.Groups[m.At]
	aside = g.Severities[rules.Critical]
	switch {
	case g.Class == Lost:
		return 0, ErrLost
	case aside > 0 && g.Single:
		return 0, ErrByName
	case aside == 0:
		m.answer(Take)
		return 0, nil
	}
	var plain, critical []int32
	for _, i := range g.items {
		if m.items.List[i].Severity == rules.Critical {
			critical = append(critical, i)
		} else {
			plain = append(plain, i)
		}
	}
	list := m.pieces(g, critical)
	if len(plain) > 0 {
		p := m.items.group(g.Class, g.node, g.Path, g.Part, plain)
		p.Answer = Take
		list = append([]Group{p}, list...)
	}
	m.replace(m.At, list)
	return aside, nil
}

// TakeCritical answers yes to a single critical item, by its own yes.
func (m *Model) TakeCritical() error {
	g := &m.Groups[m.At]
	switch {
	case g.Class == Lost:
		return ErrLost
	case !g.Single:
		return ErrByName
	}
	m.answer(Take)
	return nil
}

// Split parts the group into subdirectories, or single changes where there are
// few or no subdirectories.
func (m *Model) Split() error {
	g := &m.Groups[m.At]
	if g.Single {
		return ErrSingle
	}
	var list []Group
	switch {
	case len(g.items) <= fewItems:
	case g.Class == Package && g.node == 0:
		list = m.items.byDirectory(Package, 0, g.items)
	case g.Class == Files || g.Class == Package:
		if parts := m.items.children(g.node, g.items); len(parts) > 1 && len(parts) <= len(g.items)/2+1 {
			for _, p := range parts {
				if p.node == g.node {
					list = append(list, m.items.group(g.Class, g.node, g.Path, directly, p.items))
				} else {
					list = append(list, m.deepest(g.Class, p))
				}
			}
		}
	}
	if len(list) < 2 {
		list = m.pieces(g, g.items)
	}
	gravestFirst(list)
	m.replace(m.At, list)
	return nil
}

// deepest is a group of the lowest directory that holds all of p.
func (m *Model) deepest(class Class, p part) Group {
	for {
		parts := m.items.children(p.node, p.items)
		if len(parts) > 1 || parts[0].node == p.node {
			return m.items.group(class, p.node, m.items.path(p.node), "", p.items)
		}
		p = parts[0]
	}
}

// pieces parts items of g into single ones or, where there are too many, into
// stretches of the list.
func (m *Model) pieces(g *Group, items []int32) (list []Group) {
	n := 1
	if len(items) > manyItems {
		n = (len(items) + partsOfAll - 1) / partsOfAll
	}
	for at := 0; at < len(items); at += n {
		end := min(at+n, len(items))
		text := ""
		if n > 1 {
			text = fmt.Sprintf("%d to %d of %d", at+1, end, len(items))
		}
		list = append(list, m.items.group(g.Class, g.node, g.Path, text, items[at:end:end]))
	}
	return list
}

// SplitKinds parts the group by what happened.
func (m *Model) SplitKinds() error {
	g := &m.Groups[m.At]
	var by [diff.Regained + 1][]int32
	for _, i := range g.items {
		k := m.items.List[i].Kind
		by[k] = append(by[k], i)
	}
	var list []Group
	for k, items := range by {
		if len(items) > 0 {
			list = append(list, m.items.group(g.Class, g.node, g.Path, "the "+diff.Kind(k).String(), items))
		}
	}
	if len(list) < 2 {
		return ErrKind
	}
	gravestFirst(list)
	m.replace(m.At, list)
	return nil
}

// Next goes to the next group without an answer, from the present one on and
// then from the first. It reports whether there is one.
func (m *Model) Next() bool {
	for k := range m.Groups {
		if i := (m.At + k) % len(m.Groups); m.Groups[i].Answer == None {
			m.At = i
			return true
		}
	}
	return false
}

// Move goes n groups down, or up.
func (m *Model) Move(n int) { m.At = max(0, min(m.At+n, len(m.Groups)-1)) }

// Search goes to the next group behind the present one that has an item that
// hit is true of.
func (m *Model) Search(hit func(item int) bool) bool {
	for k := range m.Groups {
		i := (m.At + 1 + k) % len(m.Groups)
		for _, item := range m.Groups[i].items {
			if hit(int(item)) {
				m.At = i
				return true
			}
		}
	}
	return false
}

// Chosen returns for each item whether it is taken.
func (m *Model) Chosen() []bool {
	out := make([]bool, len(m.items.List))
	for i := range m.Groups {
		g := &m.Groups[i]
		if g.Answer != Take {
			continue
		}
		for _, item := range g.items {
			it := &m.items.List[item]
			out[item] = it.Class != Lost && (it.Severity < rules.Critical || g.Single)
		}
	}
	return out
}

// Sum counts items by severity and by kind.
type Sum struct {
	Items      int
	Kinds      [diff.Regained + 1]int
	Severities [rules.Critical + 1]int
}

// Sums counts what is taken and what is left.
func (m *Model) Sums() (taken, left Sum) {
	for i := range m.Groups {
		g := &m.Groups[i]
		s := &left
		if g.Answer == Take {
			s = &taken
		}
		s.Items += g.Len()
		for k, n := range g.Kinds {
			s.Kinds[k] += n
		}
		for k, n := range g.Severities {
			s.Severities[k] += n
		}
	}
	return taken, left
}
