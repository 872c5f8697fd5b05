package app

import (
	"context"
	"fmt"
	"iter"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/expect"
	"intact/rules/integrity"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// changes yields the pending changes.
func (a *accept) changes() iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		for c, err := range a.set.Changes() {
			if err == nil {
				err = a.keep(c)
			}
			if !yield(c.Change, err) {
				return
			}
		}
	}
}

// choose judges the pending changes again, with the same rules as the report,
// and picks those that the options select.
func (a *accept) choose(ctx context.Context) error {
	a.pick, a.left = newPathSet(), newPathSet()
	if err := a.findSelf(); err != nil {
		return err
	}
	critical, lost, unexplained := 0, 0, 0
	err := a.judge(ctx, a.apart(), func(f rules.Finding) error {
		c := f.Diff
		switch {
		case c == nil:
		case c.Kind == diff.Unverified || c.Lost != 0:
			if f.Change == "" { // once, by the finding that tells of the loss
				lost++
			}
			a.left.add(c.Path)
		case !a.selected(c):
			unexplained++
			a.left.add(c.Path)
		case (a.o.All || a.byLevel()) && f.Severity == rules.Critical && a.said.Rank() < signedRank:
			critical++
			a.left.add(c.Path)
		case a.self.holds(c.Path) || c.From != "" && a.self.holds(c.From):
			a.left.add(c.Path) // rows tells of it
			a.selfLeft.add(c.Path)
			a.selfLeft.add(c.From)
		default:
			a.pick.add(c.Path)
			if a.said != nil && a.said.Kind == expect.Kind {
				a.explains[a.said.ID] = true
			}
		}
		return nil
	})
	if critical > 0 {
		a.stays = append(a.stays, fmt.Sprintf("%d critical findings stay pending: accept them by --path", critical))
	}
	if unexplained > 0 && a.byLevel() {
		a.stays = append(a.stays, "left pending, because not explained so: "+counted(unexplained, "finding"))
	}
	a.stays = append(a.stays, a.fallen...)
	if lost > 0 {
		a.stays = append(a.stays, fmt.Sprintf("%d paths could not be verified: lost coverage cannot be accepted", lost))
	}
	return err
}

// judge judges changes with the same rules as the report, which tell of what
// explains them as it did.
func (a *accept) judge(ctx context.Context, changes iter.Seq2[*diff.Change, error], emit func(rules.Finding) error) error {
	floor, err := a.floors()
	if err != nil {
		return err
	}
	in := rules.Input{Changes: changes, Explain: recorded{a}, Floor: floor}
	return integrity.New(integrity.Options{}).Judge(ctx, in, func(f rules.Finding) error {
		if f.Diff != nil {
			a.mass.raise(&f)
			f.Explain(a.said)
		}
		return emit(f)
	})
}

// selected says whether the options, or a review, select a change.
func (a *accept) selected(c *diff.Change) bool {
	if a.reviewed != nil {
		return a.reviewed.paths.holds(c.Path)
	}
	if a.auto != nil {
		return a.auto.takes(a.said)
	}
	if a.byLevel() {
		return a.wants(a.said)
	}
	return a.o.All || a.matches(c.Path) || c.From != "" && a.matches(c.From)
}

// findSelf finds what all but --path and a review leave: were the file accepted and not its row, the
// report would be too old to accept the row by --path.
func (a *accept) findSelf() error {
	a.self, a.selfLeft = newPathSet(), newPathSet()
	if !a.o.All && !a.byLevel() {
		return nil
	}
	list, err := a.set.Rows()
	for _, r := range list {
		if r.Kind == rowSelf {
			a.self.add(entry.Path(r.Key))
		}
	}
	return err
}

// floors judges as the check did: by the baseline's policy.
func (a *accept) floors() (func(string) rules.Severity, error) {
	base, err := policy.ParseCanonical(a.gen.Policy())
	if err != nil {
		return nil, fmt.Errorf("%w: policy: %w", baseline.ErrDamaged, err)
	}
	rows, err := a.gen.Rows(rowAlias)
	if err != nil {
		return nil, err
	}
	sc, err := a.scope(base, base, aliasesOf(rows), false)
	if err != nil {
		return nil, err
	}
	return sc.floors(), nil
}

func (a *accept) matches(p entry.Path) bool { return a.match != nil && a.match.Decide(p).Select }

// picks yields the chosen changes and what goes along with them: the folded
// times of a directory with something chosen in it, other names of a chosen
// inode, entries that moved with a chosen directory.
func (a *accept) picks() iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		parents, err := a.parents()
		if err != nil {
			yield(nil, err)
			return
		}
		for c, err := range a.changes() {
			if err != nil {
				yield(nil, err)
				return
			}
			if !a.takes(c, parents) || a.stale.drops(c) {
				continue
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// parents returns the directories that something chosen happened in. They may
// come before it: a move ends a name in one directory and begins one in another.
func (a *accept) parents() (*pathSet, error) {
	m := newPathSet()
	if a.o.All {
		return m, nil // all times are taken
	}
	for c, err := range a.changes() {
		if err != nil {
			return nil, err
		}
		if c.Folded && c.Kind != diff.Renamed || !a.takes(c, nil) || a.stale.drops(c) {
			continue
		}
		m.add(c.Path.Dir())
		if c.From != "" {
			m.add(c.From.Dir())
		}
	}
	return m, nil
}

func (a *accept) takes(c *diff.Change, parents *pathSet) bool {
	switch {
	case c.Kind == diff.Unverified || c.Lost != 0:
		return false
	case a.pick.holds(c.Path):
		return true
	case a.left.holds(c.Path):
		return false
	case c.LinkOf != "":
		return a.pick.holds(c.LinkOf)
	case c.Folded && c.Kind == diff.Renamed:
		for p := c.Path.Dir(); ; p = p.Dir() {
			if a.pick.holds(p) {
				return true
			}
			if p == "/" {
				return a.o.All
			}
		}
	case c.Folded:
		return a.o.All || parents.holds(c.Path)
	}
	return false
}

// rows returns the chosen changes of mounts, aliases, known gaps and manifests.
func (a *accept) rows() ([]diff.RowChange, error) {
	list, err := a.set.Rows()
	if err != nil {
		return nil, err
	}
	var out []diff.RowChange
	for _, r := range list {
		if r.Kind == rowStanding {
			switch {
			case r.New == nil:
				a.lapsed = append(a.lapsed, r.RowChange)
			case a.takesStanding(r.RowChange):
				out = append(out, r.RowChange)
			}
			continue
		}
		if r.Kind == rowRulebook {
			if a.takesWaiver(r.RowChange) {
				out = append(out, r.RowChange)
			}
			continue
		}
		if r.Kind == rowFact {
			take, err := a.takesFact(r)
			if err != nil {
				return nil, err
			}
			if take {
				out = append(out, r.RowChange)
			}
			continue
		}
		if a.auto != nil {
			if r.Kind == rowPackage && a.auto.takesRow(r.Key) {
				out = append(out, r.RowChange)
			}
			continue
		}
		if r.Kind == rowExpect {
			if a.takesManifest(r.RowChange) {
				out = append(out, r.RowChange)
			}
			continue
		}
		if r.Kind == rowPackage {
			take, err := a.takesPackage(r)
			if err != nil {
				return nil, err
			}
			if take {
				out = append(out, r.RowChange)
			}
			continue
		}
		p, err := rowPath(r.RowChange)
		if err != nil {
			return nil, err
		}
		switch {
		case r.Kind == rowSelf && (a.o.All || a.byLevel() && a.selfLeft.holds(p)):
			a.stays = append(a.stays, fmt.Sprintf("%s belongs to intact itself and stays pending: intact accept --path %s", report.Escape(string(p)), report.Escape(policy.Literal(p))))
		case a.reviewed != nil:
			if a.reviewed.rows[rowID(r.RowChange)] {
				out = append(out, r.RowChange)
			}
		case r.Kind != rowFinding && (a.o.All || a.match != nil && a.matches(p)):
			out = append(out, r.RowChange)
		}
	}
	return out, nil
}

// rowPath is the path that a row is about.
func rowPath(r diff.RowChange) (entry.Path, error) {
	if r.Kind != rowGap {
		return entry.Path(r.Key), nil
	}
	p, _, err := entry.ParseKey(r.Key)
	if err != nil {
		return "", fmt.Errorf("accept: %w: gap: %w", baseline.ErrDamaged, err)
	}
	return p, nil
}
