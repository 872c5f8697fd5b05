package app

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/report"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// maxRoots bounds the roots of a report; what lies in others counts as of those
// above them.
const maxRoots = 64

// coverTable says of which buckets of the ages the directories of a baseline are,
// by the path of the policy that covers them. It takes no more than 64 KiB a root,
// however many directories there are.
type coverTable struct {
	roots   []coverRoot              // sorted by path
	buckets [baseline.DirBuckets]int // stored parts of directories in each
}

type coverRoot struct {
	path    entry.Path
	entries int64
	in      []inBucket
	apart   int64 // entries where a check alone verifies: see apart
}

// inBucket counts the entries of a root whose directories are in a bucket.
type inBucket struct {
	bucket  uint16
	entries uint32
}

// coverRoots are the paths to tell of: what a policy names, the shortest first
// where there are too many.
func coverRoots(named []entry.Path) []entry.Path {
	roots := slices.Clone(named)
	if !slices.Contains(roots, "/") {
		roots = append(roots, "/")
	}
	slices.SortStableFunc(roots, func(a, b entry.Path) int {
		return cmp.Or(cmp.Compare(len(a.Components()), len(b.Components())), cmp.Compare(a, b))
	})
	roots = roots[:min(len(roots), maxRoots)]
	slices.SortFunc(roots, func(a, b entry.Path) int { return strings.Compare(string(a.Key()), string(b.Key())) })
	return roots
}

// newCoverTable reads the keys of a generation once.
func newCoverTable(gen *baseline.Generation, a *baseline.Ages, named []entry.Path, mounts *dirfd.Mounts) (*coverTable, error) {
	t := &coverTable{}
	at := map[entry.Path]int{}
	for i, p := range coverRoots(named) {
		t.roots, at[p] = append(t.roots, coverRoot{path: p}), i
	}
	counts := make([]map[uint16]uint32, len(t.roots))
	hangs := apart(mounts)
	for d, err := range gen.StoredDirs() {
		if err != nil {
			return nil, err
		}
		p := d.Dir
		i, ok := at[p]
		for !ok && p != "/" {
			p = p.Dir()
			i, ok = at[p]
		}
		r := &t.roots[i]
		r.entries += int64(d.Entries)
		if hangs(d.Dir) {
			r.apart += int64(d.Entries)
			continue
		}
		b := a.DirBucket(d.Dir)
		t.buckets[b]++
		if counts[i] == nil {
			counts[i] = map[uint16]uint32{}
		}
		counts[i][uint16(b)] += uint32(d.Entries)
	}
	for i, in := range counts {
		for b, n := range in {
			t.roots[i].in = append(t.roots[i].in, inBucket{b, n})
		}
	}
	return t, nil
}

// apart reports of a path whether it lies on a file system that can hang: no
// watcher reads there.
func apart(mounts *dirfd.Mounts) func(entry.Path) bool {
	var points []entry.Path
	for _, m := range mounts.Below() {
		if dirfd.CanHang(m.FSType) {
			points = append(points, m.Point)
		}
	}
	return func(p entry.Path) bool {
		return slices.ContainsFunc(points, func(at entry.Path) bool { return p.Under(at) })
	}
}

// coverage says how old what the ages know is at now.
func (t *coverTable) coverage(a *baseline.Ages, every time.Duration, now time.Time) *report.Coverage {
	out := &report.Coverage{Every: int64(every / time.Second)}
	day := now.Add(-24 * time.Hour)
	read, _ := a.Span()
	for i := range t.roots {
		r := &t.roots[i]
		if r.entries == 0 {
			continue
		}
		one := report.CoveredRoot{Path: string(r.path), Entries: r.entries}
		first := true
		take := func(at time.Time, n int64) {
			if at.After(now) {
				at = time.Time{} // nobody can have looked then
			}
			if first || at.Before(one.Oldest) {
				one.Oldest, first = at, false
			}
			if at.After(day) {
				one.Day += n
			}
		}
		for _, in := range r.in {
			take(a.Verified(int(in.bucket)), int64(in.entries))
		}
		if r.apart > 0 {
			take(read, r.apart)
		}
		out.Roots = append(out.Roots, one)
	}
	return out
}

// coverage is what the trailer of a check says, nil where nothing is known.
func (c *check) coverage() (*report.Coverage, error) {
	if c.watch != nil {
		return c.watch.coverage, nil
	}
	if c.quick == nil {
		return nil, nil
	}
	set, err := c.reverify()
	if err != nil {
		return nil, err
	}
	t, err := newCoverTable(c.gen, c.quick.ages, c.scope.eff.Roots(), c.root.Mounts())
	if err != nil {
		return nil, errors.Join(errors.New("coverage"), err)
	}
	return t.coverage(c.nextAges(), set.Every, c.env.Now()), nil
}
