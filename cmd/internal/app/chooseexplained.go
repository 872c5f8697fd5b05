package app

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/expect"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/entry"
)

var signedRank = (&rules.Explanation{Level: rules.Signed}).Rank()

// accepting is what accept knows of explanations: those that the check wrote
// into the pending set, never new ones. Only whether a manifest still counts is
// looked at again.
type accepting struct {
	said    *rules.Explanation         // of the change that came last
	leaders map[string]*pathSet        // explained changes with other names of their inode, by level
	counts  map[rules.Explanation]bool // whether the source still counts
	ids     map[string]bool            // manifests that count, nil: not looked
	moved   entry.Path                 // says whose signatures count and was changed: no manifest does
	fallen  []string                   // sources that do not, for people

	rowsNow  map[string][]byte // what the baseline knows of manifests, by id
	explains map[string]bool   // manifests that explained what is taken
}

// count returns how many are set.
func count(set ...bool) (n int) {
	for _, v := range set {
		if v {
			n++
		}
	}
	return n
}

// byLevel reports whether explanations select, and nothing else does.
func (a *accept) byLevel() bool { return a.o.Explained || a.o.Attributed }

// wants reports whether the options select what is explained so.
func (a *accept) wants(x *rules.Explanation) bool {
	return x != nil && (a.o.Explained && x.Level == rules.Signed || a.o.Attributed && x.Level == rules.Attributed)
}

// keep keeps what explained a pending change at the check.
func (a *accept) keep(c baseline.PendingChange) error {
	if a.said = nil; c.Explained == nil {
		return nil
	}
	x, err := rules.DecodeExplanation(c.Explained)
	if err != nil {
		return fmt.Errorf("accept: %w: %w", baseline.ErrDamaged, err)
	}
	if !explainable(c.Change) || !a.stillCounts(*x) {
		return nil
	}
	a.said = x
	if len(c.Links) > 0 {
		if a.leaders == nil {
			a.leaders = map[string]*pathSet{}
		}
		if a.leaders[x.Level] == nil {
			a.leaders[x.Level] = newPathSet()
		}
		a.leaders[x.Level].add(c.Path)
	}
	return nil
}

// stillCounts reports whether the source of an explanation would be believed
// now: a signer may have been revoked since, a manifest forgotten, the key of a
// package pinned no more.
func (a *accept) stillCounts(x rules.Explanation) bool {
	if x.Kind != expect.Kind {
		return a.stillPinned(x)
	}
	ok, seen := a.counts[x]
	if !seen {
		if ok = a.ids[x.ID]; !ok {
			why := fmt.Sprintf("manifest %s does not count any more, see intact expect --list", report.Escape(x.ID))
			if a.moved != "" {
				why = report.Escape(string(a.moved)) + " says whose signatures count, and is not as the baseline has it"
			}
			a.fallen = append(a.fallen, fmt.Sprintf("what %s explained stays pending: %s", report.Escape(x.Source), why))
		}
		a.counts[x] = ok
	}
	return ok
}

// stillPinned reports whether every key that signed what explains is pinned now.
// Records that follow from several packages stand or fall with all of them.
func (a *accept) stillPinned(x rules.Explanation) bool {
	if x.Level != rules.Signed || x.Key == "" {
		return true
	}
	ok, seen := a.counts[x]
	if seen {
		return ok
	}
	ok = true
	for _, key := range strings.Fields(x.Key) {
		is := func(k pgp.Key) bool { return k.Fingerprint == key }
		if !slices.ContainsFunc(a.pinnedRing().Keys(), is) && !slices.ContainsFunc(a.rpmKeys().Keys(), is) {
			ok = false
			why := fmt.Sprintf("what %s explained stays pending: key %s is not pinned any more", report.Escape(x.Source), report.Escape(key))
			if !slices.Contains(a.fallen, why) {
				a.fallen = append(a.fallen, why)
			}
		}
	}
	a.counts[x] = ok
	return ok
}

// believed finds the manifests that count now. None does if the report, or a
// look at what there is now, says that another one may say whose signatures
// count.
func (a *accept) believed(ctx context.Context) error {
	a.ids, a.counts, a.explains = map[string]bool{}, map[rules.Explanation]bool{}, map[string]bool{}
	known, err := a.gen.Rows(rowExpect)
	if err != nil {
		return err
	}
	a.rowsNow = byKey(known)
	list, err := a.set.Rows()
	if err != nil {
		return err
	}
	for _, r := range list {
		if a.moved == "" && signersRow(r.RowChange) {
			a.moved = entry.Path(r.Key)
		}
	}
	if a.moved == "" {
		if a.moved, err = a.signersMoved(ctx, a.gen, true); err != nil {
			return err
		}
	}
	if a.moved != "" {
		return nil
	}
	sources, _ := a.manifests() // of those that are wrong, fallen tells
	for _, s := range sources {
		a.ids[s.ID] = manifestState(a.rowsNow[s.ID]) != manifestForgotten
	}
	return nil
}

// apart yields the pending changes, and leaves those that would go along with
// another one that is better explained than they are.
func (a *accept) apart() iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		for c, err := range a.changes() {
			if err == nil && (c.LinkOf != "" || c.Folded && c.Kind == diff.Renamed) && a.byLevel() && !a.wants(a.said) {
				a.left.add(c.Path)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// recorded implements rules.Explainer by what the check said of the change that
// came last, and of those before it that stand for it.
type recorded struct{ a *accept }

// Explain implements rules.Explainer.
func (r recorded) Explain(_ context.Context, c *diff.Change) (rules.Explanation, bool) {
	if c.LinkOf == "" {
		for level, set := range r.a.leaders {
			if set.holds(c.Path) {
				return rules.Explanation{Level: level}, true
			}
		}
	}
	if r.a.said == nil {
		return rules.Explanation{}, false
	}
	return *r.a.said, true
}
