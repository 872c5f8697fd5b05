package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// TestConflicts: two checks of one baseline, some of the first one's changes
// accepted. Of the second, what has no conflict applies, and the outcome is that
// of a model which holds each path's value against the one that was reported.
func TestConflicts(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	ctx := context.Background()
	for round := range 15 {
		first := tree{}
		first.dir("/")
		mutate(first, r, 60)
		if round%5 == 0 {
			first.dir("/w")
			for i := range 2100 {
				first.file(entry.Path(fmt.Sprintf("/w/n%05d", i)), i)
			}
		}
		s := newStore(t)
		commit(t, s, first)
		one, two := first.clone(), first.clone()
		mutate(one, r, 50)
		mutate(two, r, 50)
		g := open(t, s)
		early, _, _ := compare(t, g, one)
		late, _, _ := compare(t, g, two)
		model := first.clone()
		var accepted []*diff.Change
		for _, c := range early.sorted() {
			if r.IntN(2) == 0 {
				accepted = append(accepted, c)
				model.take(c)
			}
		}
		if _, err := g.Apply(ctx, s, seqOf(accepted), nil, testNote); err != nil {
			t.Fatal(err)
		}
		g = open(t, s)
		stale := map[entry.Path]bool{}
		err := g.Conflicts(ctx, s, seqOf(late.list), func(c Conflict) error {
			stale[c.Path] = true
			if now, is := model[c.At]; c.Same != model.holds(c.At, changeTo(two, c.At)) {
				t.Errorf("round %d: %q: same is %v, the model has %v %v", round, c.At, c.Same, now, is)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		noLeftovers(t, s)
		var rest []*diff.Change
		for _, c := range late.sorted() {
			if fits := model.holds(c.Path, c.Old); fits == stale[c.Path] {
				t.Fatalf("round %d: %q conflicts: %v, fits the model: %v", round, c.Path, stale[c.Path], fits)
			}
			if !stale[c.Path] {
				rest = append(rest, c)
			}
		}
		for _, c := range rest {
			model.take(c)
		}
		st, err := g.Apply(ctx, s, seqOf(rest), nil, testNote)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if want := commit(t, newStore(t), model); st.Root != want.Root {
			t.Fatalf("round %d: another root than the model's", round)
		}
	}
}

// take does to the model what a change says, at its own name alone.
func (t tree) take(c *diff.Change) {
	if c.New == nil {
		delete(t, c.Path)
		return
	}
	t[c.Path] = *c.New
}

// holds reports whether the model has e at p, nil for nothing.
func (t tree) holds(p entry.Path, e *entry.Entry) bool {
	now, is := t[p]
	if e == nil || !is {
		return (e == nil) == !is
	}
	return bytes.Equal(stored(&now), stored(e))
}

// stored is all that a baseline keeps of e.
func stored(e *entry.Entry) []byte {
	one := *e
	one.Set = 0
	_, p, err := new(packer).pack(&entry.Block{Dir: "/", Entries: []entry.Entry{one}}, testSets[e.Set:])
	if err != nil {
		panic(err)
	}
	return append([]byte{byte(e.Set)}, p...)
}

func changeTo(t tree, p entry.Path) *entry.Entry {
	e, is := t[p]
	if !is {
		return nil
	}
	return &e
}

func TestConflictsOfRename(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	g := open(t, s)
	old, set, _ := g.Lookup("/etc/passwd")
	move := func(to entry.Path) *diff.Change {
		now := old.Clone()
		now.Name = []byte(to.Base())
		return &diff.Change{Kind: diff.Renamed, From: "/etc/passwd", Path: to, Old: old, New: now, OldSet: set, NewSet: set}
	}
	if _, err := g.Apply(context.Background(), s, seqOf([]*diff.Change{move("/etc/away")}), nil, testNote); err != nil {
		t.Fatal(err)
	}
	g = open(t, s)
	other := move("/etc/other")
	other.NewSet = testSets[1]
	for _, tt := range []struct {
		c    *diff.Change
		want []Conflict
	}{
		{move("/etc/away"), []Conflict{{"/etc/away", "/etc/away", true}, {"/etc/away", "/etc/passwd", true}}},
		{move("/usr/x"), []Conflict{{"/usr/x", "/etc/passwd", true}}},
		{move("/vmlinuz"), []Conflict{{"/vmlinuz", "/vmlinuz", false}, {"/vmlinuz", "/etc/passwd", true}}},
		{other, []Conflict{{"/etc/other", "/etc/other", false}}},
	} {
		var got []Conflict
		if err := g.Conflicts(context.Background(), s, seqOf([]*diff.Change{tt.c}), func(c Conflict) error {
			got = append(got, c)
			return nil
		}); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("to %s: %v %v, want %v", tt.c.Path, got, err, tt.want)
		}
	}
	err := g.Conflicts(context.Background(), s, seqOf([]*diff.Change{{Kind: diff.Unverified, Path: "/vmlinuz"}}), func(Conflict) error { return nil })
	if !errors.Is(err, ErrNotAcceptable) {
		t.Errorf("lost coverage: %v", err)
	}
}

func TestRowConflicts(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	is := []byte("ext4\x00/dev/sda\x00/")
	list, same, err := open(t, s).RowConflicts([]diff.RowChange{
		{Kind: "mount", Key: []byte("/"), Old: is, New: []byte("y")},
		{Kind: "mount", Key: []byte("/a"), New: []byte("y")},
		{Kind: "mount", Key: []byte("/b"), Old: is},
		{Kind: "mount", Key: []byte("/"), Old: []byte("x"), New: is},
		{Kind: "mount", Key: []byte("/"), New: []byte("z")},
	})
	if err != nil || len(list) != 3 || !slices.Equal(same, []bool{true, true, false}) {
		t.Errorf("%v %v %v", list, same, err)
	}
}
