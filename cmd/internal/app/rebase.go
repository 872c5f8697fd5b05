package app

import (
	"context"
	"fmt"
	"io"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/scanner/entry"
)

// stale is what accept --rebase drops: changes whose old value the baseline
// does not hold any more, and what cannot be taken without them.
//
//	an entry             dropped where the baseline has another value
//	either end of a move the move is dropped, and what moved along with it
//	one name of an inode all names, unless that one was accepted before
//	folded times         by themselves: what they follow from is taken
type stale struct {
	paths  *pathSet // changes that conflict
	inodes *pathSet // leaders of inodes with a name that was not accepted before
	moves  *pathSet // directories that do not move
}

// drops reports whether c is not to be taken. It is safe on nil.
func (s *stale) drops(c *diff.Change) bool {
	switch {
	case s == nil:
		return false
	case s.paths.holds(c.Path):
		return true
	case c.LinkOf != "" && s.inodes.holds(c.LinkOf), c.LinkOf == "" && s.inodes.holds(c.Path):
		return true
	case c.Kind != diff.Renamed || s.moves.size() == 0:
		return false
	}
	for p := c.Path; p != "/"; {
		if p = p.Dir(); s.moves.holds(p) {
			return true
		}
	}
	return false
}

// rebase finds what is stale among the chosen changes and rows, lists it, and
// returns the rows that are not.
func (a *accept) rebase(ctx context.Context, rows []diff.RowChange) ([]diff.RowChange, error) {
	found := &stale{newPathSet(), newPathSet(), newPathSet()}
	other := newPathSet() // conflicts with a value that was never reported
	err := a.gen.Conflicts(ctx, a.store, a.picks(), func(c baseline.Conflict) error {
		found.paths.add(c.Path)
		if !c.Same {
			other.add(c.Path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for c, err := range a.picks() {
		switch {
		case err != nil:
			return nil, err
		case !found.paths.holds(c.Path):
		case c.Kind == diff.Renamed && c.New.Kind == entry.Dir:
			found.moves.add(c.Path)
		case other.holds(c.Path) && c.LinkOf != "":
			found.inodes.add(c.LinkOf)
		case other.holds(c.Path):
			found.inodes.add(c.Path)
		}
	}
	if err := a.listStale(found, other); err != nil {
		return nil, err
	}
	a.stale = found
	return a.rebaseRows(rows)
}

const (
	staleSame  = "the baseline has it as it was reported"
	staleOther = "the baseline has another value than the report compared with"
	staleAlong = "goes with another path that stays"
)

// listStale tells what is dropped, folded times apart, which no report tells
// by themselves either.
func (a *accept) listStale(found *stale, other *pathSet) error {
	for c, err := range a.picks() {
		if err != nil {
			return err
		}
		if c.Folded && c.Kind != diff.Renamed || !found.drops(c) {
			continue
		}
		why := staleAlong
		switch {
		case other.holds(c.Path):
			why = staleOther
		case found.paths.holds(c.Path):
			why = staleSame
		}
		if err := a.tellStale(report.Escape(string(c.Path)), why); err != nil {
			return err
		}
	}
	return nil
}

func (a *accept) tellStale(what, why string) error {
	_, err := io.WriteString(a.env.Stdout, "left\t"+what+"\t"+why+"\n")
	return err
}

func (a *accept) rebaseRows(rows []diff.RowChange) ([]diff.RowChange, error) {
	bad, same, err := a.gen.RowConflicts(rows)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	gone := map[string]bool{}
	for i, r := range bad {
		gone[r.Kind+"\x00"+string(r.Key)] = true
		why := staleOther
		if same[i] {
			why = staleSame
		}
		name := r.Kind + " " + strings.ReplaceAll(string(r.Key), "\x00", "/")
		if err := a.tellStale(report.Escape(name), why); err != nil {
			return nil, err
		}
	}
	var out []diff.RowChange
	for _, r := range rows {
		if !gone[r.Kind+"\x00"+string(r.Key)] {
			out = append(out, r)
		}
	}
	return out, nil
}

// count returns how many of the picks a report tells by themselves, or would
// if the name that stands for them had not been accepted before.
func (a *accept) count() (n int, err error) {
	if a.stale == nil {
		return a.pick.size(), nil
	}
	for c, err := range a.picks() {
		if err != nil {
			return 0, err
		}
		if a.pick.holds(c.Path) || c.LinkOf != "" && a.stale.paths.holds(c.LinkOf) {
			n++
		}
	}
	return n, nil
}
