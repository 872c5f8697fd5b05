package baseline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

func seqOf(list []*diff.Change) iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// mutate makes n random changes to a tree.
func mutate(t tree, r *rand.Rand, n int) {
	for range n {
		d := entry.Path(fmt.Sprintf("/d%d", r.IntN(20)))
		p := d.Join(fmt.Appendf(nil, "f%d", r.IntN(30)))
		switch r.IntN(5) {
		case 0:
			t.remove(d)
		case 1:
			t.remove(p)
		case 2:
			t.dir(d)
			t.remove(p)
			t.dir(p)
			t.file(p.Join([]byte("x")), r.IntN(9))
		default:
			t.dir(d)
			t.remove(p)
			t.file(p, r.IntN(1000))
		}
	}
}

// TestApplyAll: taking over everything that a comparison found gives the root
// that a fresh init gives.
func TestApplyAll(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	wide := func(n tree) {
		n.dir("/w")
		for i := range 2500 {
			n.file(entry.Path(fmt.Sprintf("/w/n%05d", i)), i)
		}
	}
	for round := range 12 {
		old := tree{}
		old.dir("/")
		mutate(old, r, 40)
		if round%3 == 0 {
			wide(old)
		}
		now := old.clone()
		mutate(now, r, 40)
		switch round % 6 {
		case 0:
			now.file("/w/a", 1)
			now.remove("/w/n01023")
		case 3:
			now.remove("/w")
		case 1:
			wide(now)
		}
		s, fresh := newStore(t), newStore(t)
		commit(t, s, old)
		want := commit(t, fresh, now)
		g := open(t, s)
		m, _, _ := compare(t, g, now)
		rand.Shuffle(len(m.list), func(i, j int) { m.list[i], m.list[j] = m.list[j], m.list[i] })
		st, err := g.Apply(context.Background(), s, seqOf(m.list), nil, testNote)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if st.Root != want.Root || st.Entries != want.Entries || st.Directories != want.Directories {
			t.Fatalf("round %d: applying gives another root than a fresh scan", round)
		}
		m, _, _ = compare(t, open(t, s), now)
		equalLines(t, m.lines(), nil)
	}
}

func TestApplyOne(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	now := small()
	now.file("/etc/passwd", 99)
	now.file("/vmlinuz", 98)
	g := open(t, s)
	m, _, _ := compare(t, g, now)
	if _, err := g.Apply(context.Background(), s, seqOf(m.sorted()[:1]), nil, testNote); err != nil {
		t.Fatal(err)
	}
	m, _, _ = compare(t, open(t, s), now)
	equalLines(t, m.lines(), []string{"changed /vmlinuz"})
}

func TestApplyRename(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	g := open(t, s)
	old, set, _ := g.Lookup("/etc/passwd")
	now := old.Clone()
	now.Name = []byte("passwd-")
	c := &diff.Change{Kind: diff.Renamed, From: "/etc/passwd", Path: "/etc/passwd-", Old: old, New: now, OldSet: set, NewSet: set}
	if _, err := g.Apply(context.Background(), s, seqOf([]*diff.Change{c}), nil, testNote); err != nil {
		t.Fatal(err)
	}
	after := open(t, s)
	if _, _, ok := after.Lookup("/etc/passwd"); ok {
		t.Error("the old name is still there")
	}
	if _, _, ok := after.Lookup("/etc/passwd-"); !ok {
		t.Error("the new name is not there")
	}
}

func TestApplyRefuses(t *testing.T) {
	e := func(p entry.Path, v int) *entry.Entry {
		m := tree{}
		m.file(p, v)
		x := m[p]
		return &x
	}
	set := testSets[0]
	change := func(k diff.Kind, p entry.Path, old, now *entry.Entry) *diff.Change {
		return &diff.Change{Kind: k, Path: p, Old: old, New: now, OldSet: set, NewSet: set}
	}
	inode := e("/vmlinuz", 6)
	inode.Inode++ // recorded, not compared
	tests := []struct {
		name  string
		picks []*diff.Change
		rows  []diff.RowChange
		want  error
	}{
		{"other-old", []*diff.Change{change(diff.Changed, "/vmlinuz", e("/vmlinuz", 5), e("/vmlinuz", 7))}, nil, ErrConflict},
		{"other-recorded", []*diff.Change{change(diff.Changed, "/vmlinuz", inode, e("/vmlinuz", 7))}, nil, ErrConflict},
		{"added-is-there", []*diff.Change{change(diff.Added, "/vmlinuz", nil, e("/vmlinuz", 7))}, nil, ErrConflict},
		{"removed-is-not", []*diff.Change{change(diff.Removed, "/other", e("/other", 5), nil)}, nil, ErrConflict},
		{"removed-in-no-directory", []*diff.Change{change(diff.Removed, "/no/other", e("/no/other", 5), nil)}, nil, ErrConflict},
		{"twice", []*diff.Change{change(diff.Added, "/x", nil, e("/x", 7)), change(diff.Added, "/x", nil, e("/x", 7))}, nil, ErrConflict},
		{"unverified", []*diff.Change{{Kind: diff.Unverified, Path: "/vmlinuz", Count: 3}}, nil, ErrNotAcceptable},
		{"changed-and-lost", []*diff.Change{func() *diff.Change {
			c := change(diff.Changed, "/vmlinuz", e("/vmlinuz", 6), e("/vmlinuz", 7))
			c.Lost = entry.Content
			return c
		}()}, nil, ErrNotAcceptable},
		{"other-name", []*diff.Change{change(diff.Added, "/x", nil, e("/y", 7))}, nil, errBadChange},
		{"path-not-clean", []*diff.Change{change(diff.Added, "/etc//x", nil, e("/etc/x", 7))}, nil, errBadChange},
		{"no-entry", []*diff.Change{{Kind: diff.Added, Path: "/x"}}, nil, errBadChange},
		{"other-set", []*diff.Change{{Kind: diff.Added, Path: "/x", New: e("/x", 1), NewSet: testSets[1]}}, nil, ErrConflict},
		{"row-other-old", nil, []diff.RowChange{{Kind: "mount", Key: []byte("/"), Old: []byte("x"), New: []byte("y")}}, ErrConflict},
		{"row-is-not", nil, []diff.RowChange{{Kind: "mount", Key: []byte("/x"), Old: []byte("x")}}, ErrConflict},
		{"row-is-there", nil, []diff.RowChange{{Kind: "mount", Key: []byte("/"), New: []byte("y")}}, ErrConflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			commit(t, s, small())
			_, err := open(t, s).Apply(context.Background(), s, seqOf(tt.picks), tt.rows, testNote)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if len(tt.picks) > 0 && !strings.Contains(err.Error(), string(tt.picks[0].Path)) {
				t.Errorf("the error does not name the path: %v", err)
			}
			if n, _ := s.Latest(); n != 1 {
				t.Errorf("latest is %d", n)
			}
			noLeftovers(t, s)
		})
	}
}

func TestApplyRows(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	rows := []diff.RowChange{
		{Kind: "mount", Key: []byte("/"), Old: []byte("ext4\x00/dev/sda\x00/")},
		{Kind: "alias", Key: []byte("/bin"), New: []byte("/usr/bin")},
	}
	if _, err := open(t, s).Apply(context.Background(), s, seqOf(nil), rows, testNote); err != nil {
		t.Fatal(err)
	}
	g := open(t, s)
	if r, _ := g.Rows("mount"); len(r) != 0 {
		t.Errorf("mounts %v", r)
	}
	if r, _ := g.Rows("alias"); len(r) != 1 || string(r[0].Value) != "/usr/bin" {
		t.Errorf("aliases %v", r)
	}
}

func TestApplyStale(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	g := open(t, s)
	commit(t, s, small())
	if _, err := g.Apply(context.Background(), s, seqOf(nil), nil, testNote); !errors.Is(err, ErrStale) {
		t.Fatalf("got %v", err)
	}
	noLeftovers(t, s)
}

func TestApplyPicksFail(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	boom := errors.New("boom")
	_, err := open(t, s).Apply(context.Background(), s, func(yield func(*diff.Change, error) bool) { yield(nil, boom) }, nil, testNote)
	if !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	noLeftovers(t, s)
}
