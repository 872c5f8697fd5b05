package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/mass"
	"intact/scanner/actor"
	"intact/scanner/entry"
	"intact/scanner/policy"
	"intact/scanner/watch"
)

// watchSets are the rule sets that judge what a watcher saw; the others are about
// the whole host and belong to a check.
var watchSets = []string{"integrity", "mounts", "packages"}

// look is one look of the watcher, at the places of a batch: a limited check that
// tells what is new. Its pending set has what was pending elsewhere too, so that it
// stands for all that is known.
type look struct {
	hints  []watch.Hint
	who    func(entry.Path) (list []actor.Actor, more bool)
	cold   []entry.Path // in the place of hints: places that need not be hot
	flat   bool         // of these, the entries themselves alone
	tells  bool         // a report is written in any case
	gaps   *pathSet     // that were told before, owned by the watcher
	mass   *mass.Burst  // likewise
	parts  *entry.Parts
	carry  carried
	before int // changes at the places that were pending
	still  int // of them, that are so still
	news   int // findings and gaps that nobody was told
	known  int64
	pulse  *pulse // of the watcher; nil: none
	logs   *logMemory
	links  *linkBook

	coverage *report.Coverage
	dropped  bool // who did it is not known of all
}

// quiet reports whether there is nothing to tell.
func (l *look) quiet() bool { return !l.tells && l.news == 0 && l.before == l.still }

// carried reads the changes along that wait already.
type carried struct {
	next func() (baseline.EncodedChange, error, bool)
	stop func()
	cur  baseline.EncodedChange
	of   *diff.Change // cur without its entries; nil: no more
}

func (k *carried) advance() (err error) {
	var more bool
	if k.cur, err, more = k.next(); err != nil || !more {
		k.of = nil
		return err
	}
	k.of, err = diff.DecodeHead(k.cur.Bytes)
	return err
}

// carryFrom begins with the first change that waits.
func (l *look) carryFrom(set *baseline.Pending) error {
	l.carry.stop = func() {}
	if set == nil {
		return nil
	}
	l.carry.next, l.carry.stop = iter.Pull2(set.Encoded())
	return l.carry.advance()
}

// carryTo keeps what waits before key, all of it where key is nil, unless this
// look was at its place.
func (l *look) carryTo(w *baseline.PendingWriter, key []byte) error {
	for l.carry.of != nil {
		old := l.carry.of
		order := -1
		if key != nil {
			order = bytes.Compare(old.Path.Key(), key)
		}
		switch {
		case order > 0:
			return nil
		case order == 0 || l.holds(old.Path) || old.From != "" && l.holds(old.From):
			if !old.Folded {
				l.before++
			}
		default:
			if l.carry.cur.Explained != nil {
				if err := w.Explain(l.carry.cur.Explained); err != nil {
					return err
				}
			}
			if err := w.AddEncoded(l.carry.cur.Bytes, l.carry.cur.FirstSeen); err != nil {
				return err
			}
		}
		if err := l.carry.advance(); err != nil {
			return err
		}
	}
	return nil
}

// saw counts a change that this look found. A change of a directory's times alone is
// no news: it stands for what is new in it.
func (l *look) saw(ch *diff.Change, before bool) {
	l.pulse.did()
	switch {
	case ch.Folded:
	case before:
		l.still++
	default:
		l.news++
	}
}

// lookRows are the rows of the pending set: what this look is about anew, the rest as it
// was.
func (c *check) lookRows(now time.Time) (out []baseline.PendingRow, err error) {
	mine := func(r *diff.RowChange) bool {
		if r.Kind == rowGap {
			p, _, err := entry.ParseKey(r.Key)
			return err != nil || c.watch.holds(p)
		}
		return r.Kind == rowMount || r.Kind == rowAlias
	}
	views := c.viewRows()
	for _, r := range slices.Concat(c.rows, views) {
		if !mine(&r) && r.Kind != rowFinding {
			continue
		}
		since, ok := c.pending.rows[rowID(r)]
		if !ok {
			since = now
		}
		out = append(out, baseline.PendingRow{RowChange: r, FirstSeen: since})
	}
	if c.pending.set == nil {
		return out, nil
	}
	old, err := c.pending.set.Rows()
	for _, r := range old {
		if !mine(&r.RowChange) && !slices.ContainsFunc(views, func(v diff.RowChange) bool { return rowID(v) == rowID(r.RowChange) }) {
			out = append(out, r)
		}
	}
	return out, err
}

// viewRows keep the history of files whose disk and page cache differ.
func (c *check) viewRows() (out []diff.RowChange) {
	for _, f := range c.look.found() {
		out = append(out, diff.RowChange{Kind: rowFinding, Key: findingKey(&f)})
	}
	return out
}

// holds reports whether the look is about p.
func (l *look) holds(p entry.Path) bool {
	if l.flat {
		return l.parts.Is(p)
	}
	return l.parts.Hold(p)
}

// countNews counts what is new besides changes of files.
func (c *check) countNews() {
	c.watch.news += len(c.logs.events)
	for i := range c.mounts {
		if _, ok := c.since(&c.mounts[i]); !ok {
			c.watch.news++
		}
	}
	for _, f := range c.look.found() {
		if _, ok := c.since(&f); !ok {
			c.watch.news++
		}
	}
	for _, g := range c.gaps.sorted() {
		if !c.watch.gaps.holds(g.Path) {
			c.watch.news++
			if c.watch.gaps.size() < maxGaps {
				c.watch.gaps.add(g.Path)
			}
		}
	}
}

// commitLook writes the pending set of a look that has something to tell.
func (c *check) commitLook(ctx context.Context, w *baseline.PendingWriter) error {
	if err := c.watch.carryTo(w, nil); err != nil {
		return err
	}
	c.countNews()
	if c.watch.quiet() {
		return nil
	}
	rows, err := c.lookRows(c.paper.head.Started)
	if err != nil {
		return err
	}
	for _, r := range append(rows, c.massRows(rows, c.paper.head.Started)...) {
		if r.Explained != nil {
			if err := w.Explain(r.Explained); err != nil {
				return err
			}
		}
		if err := w.AddRow(r.RowChange, r.FirstSeen); err != nil {
			return err
		}
	}
	c.saved, err = w.Commit(ctx)
	if gone := c.watch.before - c.watch.still; gone > 0 {
		c.remark(fmt.Sprintf("%s that waited: what was found there before is so no more", counted(gone, "change")))
	}
	return err
}

// passes reports whether a finding is told: what is new, once.
func (l *look) passes(f *rules.Finding) bool {
	if l == nil {
		return true
	}
	l.pulse.did()
	if f.New {
		return true
	}
	l.known++
	return false
}

// errNothingHot means that no place of a batch matters any more.
var errNothingHot = errors.New("nothing hot there")

// lookLimits turns hints into the paths to look at: what is hot. They need not be
// there: what waits may be gone again.
func (c *check) lookLimits(sc *scope, gen *baseline.Generation) ([]entry.Path, error) {
	var out []entry.Path
	for _, p := range c.watch.cold {
		if reaches(sc.eff, p) {
			out = append(out, p)
		}
	}
	decide := sc.eff.Decider()
	for _, h := range c.watch.hints {
		for _, n := range h.Names {
			p := h.Dir.Join(n)
			if decide(p).Hot {
				out = append(out, p)
			}
		}
		if h.Deep {
			hot := hotPlaces{session: c.session, eff: sc.eff, gen: gen}
			hot.below(h.Dir)
			out = append(out, hot.list...)
		}
	}
	if out = c.withKin(sc, gen, out); len(out) == 0 {
		return nil, errNothingHot
	}
	out, err := c.tied(out)
	if err != nil {
		return nil, err
	}
	c.watch.parts = entry.NewParts(out)
	return out, nil
}

// hotPlaces collects the topmost hot paths.
type hotPlaces struct {
	*session
	eff  *policy.Effective
	gen  *baseline.Generation
	list []entry.Path
}

// below adds what is hot at or below p.
func (h *hotPlaces) below(p entry.Path) {
	if h.eff.Decide(p).Hot {
		h.list = append(h.list, p)
		return
	}
	start := h.eff.Start()
	s := &start
	for _, c := range p.Components() {
		if s = s.Enter([]byte(c)); s == nil {
			return
		}
	}
	h.in(p, s)
}

// in adds what is hot in directory dir, which is not.
func (h *hotPlaces) in(dir entry.Path, s *policy.State) {
	if !s.Hot() {
		return
	}
	names, list := s.Names()
	if list {
		names = h.names(dir)
	}
	for _, n := range names {
		p := dir.Join([]byte(n))
		if s.Match([]byte(n)).Hot {
			h.list = append(h.list, p)
		} else if c := s.Enter([]byte(n)); c != nil {
			h.in(p, c)
		}
	}
}

// names are those in dir that the disk or the baseline has.
func (h *hotPlaces) names(dir entry.Path) (names []string) {
	// What cannot be listed is a gap of the look or of a check.
	_ = h.root.List(dir, func(name string, _ entry.Kind) error {
		names = append(names, name)
		return nil
	})
	if h.gen != nil {
		names = append(names, h.gen.Names(dir)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
