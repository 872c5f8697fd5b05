package app

import (
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
	parts *entry.Parts // limit as a set
	spool *diff.Spool
	flat  bool
	same  atomic.Int64 // limits themselves that are as they were

	mu   sync.Mutex
	seen map[entry.Path]bool // guarded by mu: directories that were delivered
	met  map[entry.Path]bool // guarded by mu: what leads to a limit, of directories in parts
}

// Dir implements scanner.Sink.
func (l *limitSink) Dir(w int, b *entry.Block) error {
	if l.whole(b.Dir) {
		return l.Comparer.Dir(w, b)
	}
	old := l.gen.LookupNames(b.Dir, l.names(b))
	differ := map[entry.Path]bool{}
	err := diff.Join(b.Dir, old, b.Entries, l.gen.Sets(), l.gen.Sets(), func(c *diff.Change) error {
		if !l.parts.Is(c.Path) && c.Kind != diff.Removed {
			return nil // a directory on the way, not asked for
		}
		differ[c.Path] = true
		if c.Kind == diff.Removed {
			l.Absent(w, c.Path) // unless a gap says otherwise
			return nil
		}
		l.Lose(c)
		return l.spool.Add(w, c)
	})
	for i := range b.Entries {
		if p := b.Dir.Join(b.Entries[i].Name); l.parts.Is(p) && !differ[p] {
			l.same.Add(1)
		}
	}
	return err
}

// whole reports whether all of dir is looked at.
func (l *limitSink) whole(dir entry.Path) bool {
	if l.flat {
		return dir == "/" && l.parts.Is(dir)
	}
	return l.parts.Hold(dir)
}

// names are those of the baseline that b is compared with. Of a directory in
// parts they are what this part has: that a name is in none is known in the end.
func (l *limitSink) names(b *entry.Block) (names [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.Part == 0 && b.Next == nil {
		l.seen[b.Dir] = true
		return l.parts.Names(b.Dir)
	}
	for i := range b.Entries {
		names = append(names, b.Entries[i].Name)
		l.met[b.Dir.Join(b.Entries[i].Name)] = true
	}
	return names
}

// finish reports the limits that went together with the directory they stood
// in: no block spoke of them. What lay below them is told by the comparer.
func (l *limitSink) finish() {
	for _, p := range l.limit {
		dir := p.Dir()
		if l.seen[dir] || l.met[p] || l.whole(dir) {
			continue
		}
		if inBaseline(l.gen, p) {
			l.Absent(0, p)
		}
	}
}

// limits are the paths of a partial check: there on the disk or in the
// baseline, if there is one.
func (c *check) limits(sc *scope, gen *baseline.Generation) ([]entry.Path, error) {
	if c.watch != nil {
		return c.lookLimits(sc, gen)
	}
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
