package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/cmd/internal/app/review"
	"intact/report"
	"intact/rules"
	"intact/rules/drift"
	"intact/scanner/entry"
)

// reviewed is what a review chose.
type reviewed struct {
	paths *pathSet
	rows  map[string]bool // by rowID
}

// terminals returns the terminal that a review can be held on.
func (e *Env) terminals() (in, out *os.File, ok bool) {
	in, is := e.Stdin.(*os.File)
	out, isOut := e.Stdout.(*os.File)
	if !is || !isOut || !Terminal(in) || !Terminal(out) {
		return nil, nil, false
	}
	return in, out, true
}

// errEnded means that the user ended a review: nothing was accepted.
var errEnded = &codeError{ExitInterrupted, errors.New("accept: the review was ended: nothing was accepted")}

// review asks on the terminal what to accept. The lock of the state folder is
// not held meanwhile: a check must not fail because somebody thinks.
func (a *accept) review(ctx context.Context) error {
	in, out, ok := a.env.terminals()
	if !ok {
		return usageError("accept: a review needs a terminal")
	}
	w := &waiting{a: a}
	if err := w.collect(ctx); err != nil {
		return err
	}
	if len(w.items.List) == 0 {
		return usageError("accept: report %s has nothing to review", report.Escape(a.set.Header.Report))
	}
	d, err := review.NewDialog(ctx, w.items, w)
	if err != nil {
		return err
	}
	h := a.set.Header
	d.Title = fmt.Sprintf("accept: report %s of %s", report.Escape(h.Report), h.Created.Local().Format("2006-01-02 15:04"))
	d.Reason, d.DryRun, d.Report, d.Now, d.Color = a.o.Reason, a.o.DryRun, h.Created, a.env.Now(), a.env.Color
	if err := a.lock.Unlock(); err != nil {
		return err
	}
	a.lock = nil
	accept, err := d.Run(ctx, in, out)
	switch {
	case err != nil:
		return err
	case !accept:
		return errEnded
	}
	a.o.Reason = d.Reason
	if a.reviewed, err = w.chosen(ctx, d.Chosen()); err != nil {
		return err
	}
	return a.reacquire(ctx)
}

// reacquire waits for the lock: answers are not lost because a check runs.
func (a *accept) reacquire(ctx context.Context) error {
	for told := false; ; told = true {
		err := a.acquire("accept")
		held, is := errors.AsType[*baseline.LockedError](err)
		if !is {
			return err
		}
		if !told {
			a.env.warn("waiting, Ctrl-C gives up: %v", held)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Second / 4):
		}
	}
}

// waiting is what a review is about: a small record for each finding, and where
// the rest of it is.
type waiting struct {
	a     *accept
	items *review.Items
	seq   []int32 // of an item: its change's number in the pending set, or below zero: of its row
	rows  []waitingRow
	since time.Time // when the change that is judged was first seen
	rode  *pathSet  // of gaps whose change is an item: they go along
}

// waitingRow is a row and the finding that told of it.
type waitingRow struct {
	baseline.PendingRow
	path    entry.Path
	finding rules.Finding
	change  int32 // number of the change of the same path that goes along, -1: none
}

// rowClasses says how rows are grouped; a kind that is not here is not asked
// about. It is never changed.
var rowClasses = map[string]review.Class{
	rowSelf: review.Own, rowMount: review.Mounts, rowAlias: review.Links, rowState: review.State, rowGap: review.Gaps, rowPackage: review.Installed,
	rowFact: review.Facts,
}

// collect reads the pending set once.
func (w *waiting) collect(ctx context.Context) error {
	w.items, w.rode = review.NewItems(), newPathSet()
	if err := w.readRows(ctx); err != nil {
		return err
	}
	own, gaps := map[entry.Path]*waitingRow{}, newPathSet()
	for i, r := range w.rows {
		switch r.Kind {
		case rowSelf:
			own[r.path] = &w.rows[i]
		case rowGap:
			gaps.add(r.path)
		}
	}
	n, last := int32(-1), int32(-1)
	changes := func(yield func(*diff.Change, error) bool) {
		for c, err := range w.a.set.Changes() {
			n, w.since = n+1, c.FirstSeen
			if err == nil {
				err = w.a.keep(c)
			}
			if !yield(c.Change, err) {
				return
			}
		}
	}
	err := w.a.judge(ctx, changes, func(f rules.Finding) error {
		c := f.Diff
		if c == nil {
			return nil
		}
		if row := own[c.Path]; row != nil {
			row.change = n
			return nil
		}
		if gaps.holds(c.Path) {
			w.rode.add(c.Path)
		}
		it := review.Item{Kind: c.Kind, Severity: f.Severity, Since: nanoseconds(w.since)}
		if c.Kind == diff.Unverified || c.Lost != 0 {
			it.Class = review.Lost
		}
		if n == last { // what is lost of it is a finding of its own
			before := &w.items.List[len(w.items.List)-1]
			before.Severity = max(before.Severity, f.Severity)
			return nil
		}
		last = n
		w.seq = append(w.seq, n)
		w.items.Add(it, c.Path, isDir(c), explainedBy(f.Explained))
		return nil
	})
	if err != nil {
		return err
	}
	for i, r := range w.rows {
		if r.Kind == rowGap && w.rode.holds(r.path) {
			continue
		}
		w.seq = append(w.seq, int32(-1-i))
		w.items.Add(review.Item{Class: rowClasses[r.Kind], Kind: rowChange(r.RowChange), Severity: r.finding.Severity, Since: nanoseconds(r.FirstSeen)}, r.path, false, "")
	}
	return nil
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func isDir(c *diff.Change) bool {
	e := c.New
	if e == nil {
		e = c.Old
	}
	return e == nil || e.Kind == entry.Dir
}

// explainedBy names the group of what something explains.
func explainedBy(x *rules.Explanation) string {
	switch {
	case x == nil:
		return ""
	case x.Level == "":
		return x.Source
	}
	return x.Source + " (" + x.Level + ")"
}

func rowChange(r diff.RowChange) diff.Kind {
	switch {
	case r.Old == nil:
		return diff.Added
	case r.New == nil:
		return diff.Removed
	}
	return diff.Changed
}

// readRows reads the rows that can be accepted, and from the report what was
// said of them.
func (w *waiting) readRows(ctx context.Context) error {
	list, err := w.a.set.Rows()
	if err != nil {
		return err
	}
	told := map[string]int{}
	for _, r := range list {
		if _, ok := rowClasses[r.Kind]; !ok {
			continue
		}
		row := waitingRow{PendingRow: r, change: -1}
		if row.path, err = rowPath(r.RowChange); err != nil {
			return err
		}
		row.finding = rules.Finding{Rule: "row." + r.Kind, Severity: rules.High, Change: rowChange(r.RowChange).String(), Subject: rules.Subject{Kind: r.Kind, Path: string(row.path)}}
		if r.Kind == rowGap {
			row.finding.Severity = rules.Low
			row.finding.Reasons = []string{"a part that could not be read, known by the baseline: " + string(r.New)}
			if r.New == nil {
				row.finding.Reasons = []string{"could not be read when the baseline was made, and is no gap any more"}
			}
		}
		row.finding.FirstSeen, row.finding.New = r.FirstSeen, !r.FirstSeen.Before(w.a.set.Header.Created)
		told[rowSubject(r.RowChange)] = len(w.rows)
		w.rows = append(w.rows, row)
	}
	if len(w.rows) == 0 {
		return nil
	}
	stored, err := w.a.archive().Get(w.a.set.Header.Report)
	if err != nil {
		return err
	}
	_, _, err = stored.Inspect(ctx, w.a.judgeReport, func(rec report.Record) error {
		if f := rec.Finding; f != nil && f.Set != "integrity" {
			if i, ok := told[findingSubject(f)]; ok {
				w.rows[i].finding = *f
			}
		}
		return ctx.Err()
	})
	return err
}

// rowSubject and findingSubject bring a row and what a report says of it
// together.
func rowSubject(r diff.RowChange) string {
	switch r.Kind {
	case rowState:
		return rowState
	case rowFact:
		f, _ := shownFact(r) // what cannot be read has no subject that a report tells of
		return findingSubject(&f)
	case rowPackage:
		_, name, _ := strings.Cut(string(r.Key), " ")
		return rowPackage + "\x00" + name
	}
	return r.Kind + "\x00" + string(r.Key)
}

func findingSubject(f *rules.Finding) string {
	switch f.Rule {
	case "trust.self":
		return rowSelf + "\x00" + f.Subject.Path
	case "root.retargeted":
		return rowAlias + "\x00" + f.Subject.Path
	case "state.moved":
		return rowState
	}
	if f.Set == drift.Name {
		return rowFact + "\x00" + f.Subject.Kind + " " + f.Subject.Name
	}
	if f.Subject.Kind == rowPackage {
		return rowPackage + "\x00" + f.Subject.Name
	}
	if f.Subject.Kind == "mount" {
		return rowMount + "\x00" + f.Subject.Path
	}
	return ""
}

// wanted yields changes by their numbers, which are in order, decoded, and says
// which of the numbers each has.
func (w *waiting) wanted(numbers []int32, at func(k int, since time.Time)) iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		k, n := 0, int32(-1)
		for e, err := range w.a.set.Encoded() {
			if k == len(numbers) {
				return
			}
			if n++; err == nil && numbers[k] != n {
				continue
			}
			var c *diff.Change
			if err == nil {
				if c, err = diff.DecodeChange(slices.Clone(e.Bytes)); err == nil {
					err = w.a.keep(baseline.PendingChange{Change: c, Explained: e.Explained})
				}
			}
			at(k, e.FirstSeen)
			if !yield(c, err) || err != nil {
				return
			}
			k++
		}
	}
}

// numbers returns the numbers of the changes among items, which are in order:
// rows come behind all changes.
func (w *waiting) numbers(items []int32) (list []int32) {
	for _, i := range items {
		if n := w.seq[i]; n >= 0 {
			list = append(list, n)
		}
	}
	return list
}

// chosen are the paths and rows of the items that are chosen.
func (w *waiting) chosen(ctx context.Context, chosen []bool) (*reviewed, error) {
	out := &reviewed{newPathSet(), map[string]bool{}}
	var items []int32
	for i, yes := range chosen {
		if !yes {
			continue
		}
		if r := w.seq[i]; r < 0 {
			row := &w.rows[-1-r]
			out.rows[rowID(row.RowChange)] = true
			if row.Kind == rowSelf {
				out.paths.add(row.path)
			}
			continue
		}
		items = append(items, int32(i))
	}
	for c, err := range w.wanted(w.numbers(items), func(int, time.Time) {}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		out.paths.add(c.Path)
	}
	for _, r := range w.rows {
		if r.Kind == rowGap && w.rode.holds(r.path) && out.paths.holds(r.path) {
			out.rows[rowID(r.RowChange)] = true
		}
	}
	return out, nil
}
