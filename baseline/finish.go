package baseline

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// Finish reports what no block spoke of. It comes after the last Dir and Gap.
//
// Every stored directory that was not listed is either hidden by a gap, and
// counted in the one Unverified change of that gap, or gone: each of its
// entries becomes Removed, whatever the directory above it says. So nothing in
// the baseline is passed over in silence.
func (c *Comparer) Finish(ctx context.Context) (Counts, error) {
	return c.finish(ctx, (*finisher).unvisited)
}

// finish sums up what the workers counted, and reports what no block spoke of;
// rest finds the directories among it.
func (c *Comparer) finish(ctx context.Context, rest func(*finisher, context.Context) error) (n Counts, err error) {
	if c.err != nil {
		return n, c.err
	}
	if err := c.g.Err(); err != nil {
		return n, err
	}
	for i := range c.workers {
		k := &c.workers[i]
		c.listed = append(c.listed, k.visited...)
		k.visited = nil
		n.Verified += k.counts.Verified
		n.KnownGaps += k.counts.KnownGaps
	}
	slices.Sort(c.listed)
	c.listed = slices.Compact(c.listed)
	f := finisher{c: c, n: &n}
	last := func(ctx context.Context) error { return rest(&f, ctx) }
	for _, step := range []func(context.Context) error{f.heldBack, f.absent, f.uncovered, last, f.reportGaps} {
		if err := step(ctx); err != nil {
			return n, fmt.Errorf("finish comparison: %w", err)
		}
	}
	return n, nil
}

// GapRows returns, after Finish, how the known gaps of the baseline differ from
// those of this scan. Gaps that cost coverage are not among them: they are
// changes of kind Unverified.
func (c *Comparer) GapRows() []diff.RowChange { return c.gaps.rows() }

type finisher struct {
	c *Comparer
	n *Counts
}

func (f *finisher) listed(p entry.Path) bool { return f.c.wasListed(p.Key()) }

// gone takes an entry of the baseline in dir that no block holds. hidden is
// the gap that hides dir's entries, if any; a gap of the entry's own comes
// first.
func (f *finisher) gone(dir entry.Path, e *entry.Entry, hidden *gapState) error {
	p := dir.Join(e.Name)
	set := f.c.g.sets[e.Set]
	if own := f.c.gaps.paths[p]; own != nil && own.whole > 0 {
		own.old, own.oldSet = e.Clone(), set
		return nil
	}
	if hidden != nil {
		hidden.count++
		return nil
	}
	return f.c.spool.Add(0, &diff.Change{Kind: diff.Removed, Path: p, Old: e, OldSet: set})
}

// heldBack decides on the entries that listed directories lack.
func (f *finisher) heldBack(ctx context.Context) error {
	for i := range f.c.workers {
		for _, h := range f.c.workers[i].held {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			b, err := f.c.g.part(h.dir.Key(), h.part)
			if err != nil {
				return err
			}
			hidden := f.c.gaps.hides(h.dir, f.listed)
			for _, x := range h.index {
				if b == nil || int(x) >= len(b.Entries) {
					return fmt.Errorf("%w: directory %q changed under us", ErrDamaged, h.dir)
				}
				if err := f.gone(h.dir, &b.Entries[x], hidden); err != nil {
					return err
				}
			}
		}
		f.c.workers[i].held = nil
	}
	return nil
}

// absent decides on the entries that were asked for by name.
func (f *finisher) absent(ctx context.Context) error {
	for i := range f.c.workers {
		for _, p := range f.c.workers[i].absent {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			e, _, ok := f.c.g.Lookup(p)
			if !ok {
				if err := f.c.g.Err(); err != nil {
					return err
				}
				continue
			}
			if err := f.gone(p.Dir(), e, f.c.gaps.hides(p.Dir(), f.listed)); err != nil {
				return err
			}
		}
		f.c.workers[i].absent = nil
	}
	return nil
}

// uncovered finds the names of long directories that lie between delivered
// parts, or behind the last: parts that were never delivered, and names that
// went while the directory was cut.
func (f *finisher) uncovered(ctx context.Context) error {
	all := f.c.spans()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].dir == all[0].dir {
			n++
		}
		parts := all[:n]
		all = all[n:]
		var at []byte // covered up to here; nil: from the beginning
		for i, p := range parts {
			if i > 0 && (p.part == parts[i-1].part || parts[i-1].next == nil || bytes.Compare(p.first, at) < 0) {
				return fmt.Errorf("directory %q: parts %d and %d overlap", p.dir, parts[i-1].part, p.part)
			}
			if p.part > 0 {
				if err := f.span(ctx, p.dir, at, p.first); err != nil {
					return err
				}
			}
			at = p.next
		}
		if at != nil {
			if err := f.span(ctx, parts[0].dir, at, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// span reports the stored entries of dir with names in [lo, hi).
func (f *finisher) span(ctx context.Context, dir entry.Path, lo, hi []byte) error {
	if lo != nil && bytes.Equal(lo, hi) {
		return nil
	}
	key := dir.Key()
	i, err := f.c.g.partOf(key, lo)
	if err != nil {
		return err
	}
	hidden := f.c.gaps.hides(dir, f.listed)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		b, err := f.c.g.part(key, i)
		if b == nil || err != nil {
			return err
		}
		from, to := between(b.Entries, lo, hi)
		for x := from; x < to; x++ {
			if err := f.gone(dir, &b.Entries[x], hidden); err != nil {
				return err
			}
		}
		if b.Next == nil || hi != nil && bytes.Compare(b.Next, hi) >= 0 {
			return nil
		}
		i++
	}
}

// unvisited walks all stored keys and reports the entries of directories that
// were not listed.
func (f *finisher) unvisited(ctx context.Context) error {
	cur, err := f.c.g.cursor(bucketDirs)
	if err != nil {
		return err
	}
	cur.names = true
	for cur.next() {
		if err := context.Cause(ctx); err != nil {
			cur.close()
			return err
		}
		key, part := dirKeyOf(cur.key)
		if f.c.wasListed(key) {
			continue
		}
		if dir, _, err := entry.ParseKey(key); err == nil && f.outside(dir) {
			continue
		}
		if err := f.directory(key, part); err != nil {
			cur.close()
			return err
		}
	}
	return cur.close()
}

// outside reports whether dir was not asked for: see Limit.
func (f *finisher) outside(dir entry.Path) bool { return !f.c.limit.Hold(dir) }

func (f *finisher) directory(key []byte, part uint32) error {
	b, err := f.c.g.part(key, part)
	if err != nil {
		return err
	}
	if b == nil {
		return fmt.Errorf("%w: directory %q changed under us", ErrDamaged, key)
	}
	hidden := f.c.gaps.hides(b.Dir, f.listed)
	if hidden == nil && part == 0 {
		f.n.Unvisited++
	}
	for i := range b.Entries {
		if err := f.gone(b.Dir, &b.Entries[i], hidden); err != nil {
			return err
		}
	}
	return nil
}

// reportGaps emits one change for each gap that hides something of the
// baseline and counts the rest.
func (f *finisher) reportGaps(ctx context.Context) error {
	for p, g := range f.c.gaps.paths {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if g.count > 0 || g.old != nil {
			g.lost = true
			f.n.Unseen += g.count
			f.n.NewGaps += max(g.whole-1, 0)
			if g.whole == 0 {
				f.n.Twice++
			}
			ch := &diff.Change{Kind: diff.Unverified, Path: p, Reason: g.reason, Count: g.count}
			if g.old != nil {
				ch.Old, ch.OldSet = g.old, g.oldSet
				ch.Lost = g.oldSet.For(g.old.Kind) & g.old.Have
			}
			if err := f.c.spool.Add(0, ch); err != nil {
				return err
			}
			continue
		}
		if f.c.gaps.isKnown(p) {
			f.n.KnownGaps += g.whole
		} else {
			f.n.NewGaps += g.whole
		}
	}
	return nil
}
