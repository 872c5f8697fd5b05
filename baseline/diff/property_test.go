package diff

import (
	"math/rand/v2"
	"slices"
	"testing"

	"intact/scanner/entry"
)

// apply moves the changes into a copy of old, as accept does.
func apply(old tree, changes []*Change) tree {
	t := old.clone()
	for _, c := range changes {
		switch c.Kind {
		case Removed:
			delete(t, c.Path)
		case Renamed:
			delete(t, c.From)
		}
	}
	for _, c := range changes {
		if c.New != nil {
			t.put(c.Path, c.New)
		}
	}
	return t
}

func checkTrees(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	k := &clock{}
	old := randomTree(r, k, r.IntN(80))
	now := old.clone()
	for range r.IntN(20) {
		now.mutate(r, k)
	}
	changes, counts := changesOf(t, old, now, testSets, 0)
	spilled, counts2 := changesOf(t, old, now, testSets, 300)
	if a, b := lines(changes), lines(spilled); a != b || counts != counts2 {
		t.Fatalf("seed %d: in memory\n%v\non disk\n%v", seed, a, b)
	}
	for i := range changes {
		a, b := AppendChange(nil, changes[i]), AppendChange(nil, spilled[i])
		if !slices.Equal(a, b) {
			t.Fatalf("seed %d: %q differs on disk", seed, changes[i].Path)
		}
	}
	if !slices.IsSortedFunc(changes, func(a, b *Change) int { return comparePaths(a.Path, b.Path) }) {
		t.Errorf("seed %d: not in tree order:\n%v", seed, lines(changes))
	}
	got := apply(old, changes)
	if len(got) != len(now) {
		t.Errorf("seed %d: %d paths after the changes, want %d\n%v", seed, len(got), len(now), lines(changes))
	}
	for p, e := range now {
		if g := got[p]; g == nil || entry.Differ(g, e, entry.All) != 0 {
			t.Errorf("seed %d: %q is not as in the new tree\n%v", seed, p, lines(changes))
		}
	}
	seen := map[entry.Path]bool{}
	for _, c := range changes {
		if seen[c.Path] {
			t.Errorf("seed %d: %q twice", seed, c.Path)
		}
		seen[c.Path] = true
		if c.Folded && c.Kind == Changed && c.Attrs&^foldable != 0 {
			t.Errorf("seed %d: folds %s", seed, line(c))
		}
	}
	verified := int64(0)
	for p, e := range now {
		if o := old[p]; o != nil && entry.Differ(o, e, entry.All) == 0 {
			verified++
		}
	}
	// A path that another file was moved to is neither verified nor new.
	if n := verified + counts.Changed + counts.Added + counts.Renamed; n != int64(len(now)) {
		t.Errorf("seed %d: counts give %d paths of %d: %+v", seed, n, len(now), counts)
	}
}

// What the changes say, done to the old tree, makes the new tree; spilled to
// disk they are the same.
func TestChangesLeadFromOldToNew(t *testing.T) {
	for seed := range uint64(300) {
		checkTrees(t, seed)
	}
}

func FuzzTrees(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkTrees)
}

func FuzzDecodeChange(f *testing.F) {
	k := &clock{}
	e := k.object(entry.File, "x")
	e.Name, e.Caps, e.Xattr = []byte("f"), []byte{}, []entry.Xattr{{Name: []byte("user.a"), Size: 3}}
	f.Add(AppendChange(nil, &Change{Kind: Changed, Path: "/d/f", Attrs: entry.Content, Old: e, New: e, OldSet: testSets[3], Links: []entry.Path{"/l"}}))
	f.Add(AppendChange(nil, &Change{Kind: Unverified, Path: "/d", Reason: "I/O error", Count: 4, Folded: true}))
	f.Add(AppendChange(nil, &Change{Kind: Renamed, Path: "/e", From: "/d", New: e, LinkOf: "/q"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChange(b)
		if err != nil {
			return
		}
		if again := AppendChange(nil, c); !slices.Equal(again, b) {
			t.Fatalf("decodes to %+v, which encodes to %x, not %x", c, again, b)
		}
	})
}

func TestComparePathsIsKeyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	k := &clock{}
	for range 20 {
		var all []entry.Path
		for p := range randomTree(r, k, 60) {
			all = append(all, p)
		}
		for _, p := range all {
			for _, q := range all {
				if got, want := comparePaths(p, q), slices.Compare(p.Key(), q.Key()); (got < 0) != (want < 0) || (got > 0) != (want > 0) {
					t.Fatalf("%q and %q: %d, want %d", p, q, got, want)
				}
			}
		}
	}
}
