package app

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/scanner/entry"
)

// limitSink compares a scan that was limited to some paths. A directory above
// them comes with the names that lead to them only, so just those names are
// compared.
type limitSink struct {
	*baseline.Comparer
	gen   *baseline.Generation
	limit []entry.Path
	asked map[entry.Path]bool // limit as a set
	spool *diff.Spool
	same  atomic.Int64 // limits themselves that are as they were

	mu   sync.Mutex
	seen map[entry.Path]bool // guarded by mu: directories that were delivered
}

// under reports whether p is a limit or lies below one.
func (l *limitSink) under(p entry.Path) bool {
	for ; p != "/"; p = p.Dir() {
		if l.asked[p] {
			return true
		}
	}
	return l.asked[p]
}

func setOf(paths []entry.Path) map[entry.Path]bool {
	m := make(map[entry.Path]bool, len(paths))
	for _, p := range paths {
		m[p] = true
	}
	return m
}

// Dir implements scanner.Sink.
func (l *limitSink) Dir(w int, b *entry.Block) error {
	if l.under(b.Dir) {
		return l.Comparer.Dir(w, b)
	}
	l.mu.Lock()
	l.seen[b.Dir] = true
	l.mu.Unlock()
	var names [][]byte
	for _, p := range l.limit {
		if rest := p.Components(); p.Under(b.Dir) && p != b.Dir {
			names = append(names, []byte(rest[len(b.Dir.Components())]))
		}
	}
	slices.SortFunc(names, bytes.Compare)
	names = slices.CompactFunc(names, bytes.Equal)
	var old []entry.Entry
	for _, n := range names {
		if e, _, ok := l.gen.Lookup(b.Dir.Join(n)); ok {
			old = append(old, *e)
		}
	}
	differ := map[entry.Path]bool{}
	err := diff.Join(b.Dir, old, b.Entries, l.gen.Sets(), l.gen.Sets(), func(c *diff.Change) error {
		if !l.asked[c.Path] && c.Kind != diff.Removed {
			return nil // a directory on the way, not asked for
		}
		differ[c.Path] = true
		return l.spool.Add(w, c)
	})
	for i := range b.Entries {
		if p := b.Dir.Join(b.Entries[i].Name); l.asked[p] && !differ[p] {
			l.same.Add(1)
		}
	}
	return err
}

// finish reports the limits that went together with the directory they stood
// in: no block spoke of them. What lay below them is told by the comparer.
func (l *limitSink) finish(gaps *gapList) error {
	for _, p := range l.limit {
		dir := p.Dir()
		told := l.seen[dir] || gaps.hide(p) || l.under(dir)
		if e, set, ok := l.gen.Lookup(p); ok && !told {
			if err := l.spool.Add(0, &diff.Change{Kind: diff.Removed, Path: p, Old: e, OldSet: set}); err != nil {
				return err
			}
		}
	}
	return nil
}

// limits are the paths of a partial check: there on the disk or in the
// baseline, if there is one.
func (c *check) limits(sc *scope, gen *baseline.Generation) ([]entry.Path, error) {
	if c.update != nil {
		return c.updateLimits(sc, gen)
	}
	ps, err := c.paths(c.o.Paths)
	if err != nil {
		return nil, err
	}
	for i, p := range ps {
		to, _, exists, err := c.root.Resolve(p)
		if err == nil && exists && to.Dir() != p.Dir() && sc.eff.Decide(p).Rule == nil {
			ps[i] = to
			p = to
		}
		if !exists && (gen == nil || !inBaseline(gen, p)) {
			return nil, usageError("path %q does not exist, on the disk or in the baseline", c.o.Paths[i])
		}
		if !reaches(sc.eff, p) {
			return nil, usageError("path %q is not selected by the policy: see intact explain", c.o.Paths[i])
		}
	}
	return ps, nil
}

func inBaseline(g *baseline.Generation, p entry.Path) bool {
	_, _, ok := g.Lookup(p)
	return ok
}
