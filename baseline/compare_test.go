package baseline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"intact/baseline/diff"
	"intact/scanner"
	"intact/scanner/entry"
)

func TestCompareNothing(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	m, c, n := compare(t, open(t, s), small())
	equalLines(t, m.lines(), nil)
	if n != (Counts{Verified: int64(len(small()))}) {
		t.Errorf("counts %+v", n)
	}
	if rows := c.GapRows(); len(rows) != 0 {
		t.Errorf("gap rows %v", rows)
	}
}

func TestCompareChanges(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	now := small()
	now.file("/etc/passwd", 99)
	now.remove("/usr")
	now.file("/empty/new", 3)
	now.dir("/var")
	m, _, n := compare(t, open(t, s), now)
	equalLines(t, m.lines(), expect(small(), now))
	if n.Unvisited != 2 {
		t.Errorf("counts %+v", n)
	}
}

// TestUnvisited leaves directories out of a scan without a word: what was in
// them must not pass as verified.
func TestUnvisited(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	m := &memSpool{}
	c := open(t, s).Compare(m, 2)
	all := small().blocks()
	for i := range all {
		if all[i].Dir != "/etc/ssh" {
			if err := c.Dir(0, &all[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, err := c.Finish(context.Background())
	if err != nil || n.Unvisited != 1 {
		t.Fatalf("%+v %v", n, err)
	}
	equalLines(t, m.lines(), []string{"removed /etc/ssh/sshd_config"})
}

func TestGaps(t *testing.T) {
	without := func(p ...entry.Path) tree {
		now := small()
		for _, q := range p {
			now.remove(q)
		}
		return now
	}
	blind := small() // /etc/passwd is there, its content was not read
	e := blind["/etc/passwd"]
	e.Have &^= entry.Content
	blind["/etc/passwd"] = e

	total := int64(len(small()))
	tests := []struct {
		name  string
		now   tree
		gaps  []scanner.Gap
		known []scanner.Gap
		want  []string
		count Counts
		rows  int
	}{
		{"vanished-file", without("/etc/passwd"), []scanner.Gap{{Path: "/etc/passwd", Reason: "vanished"}}, nil,
			[]string{"unverified /etc/passwd (vanished)"}, Counts{Verified: total - 1}, 0},
		{"subtree", func() tree { n := without("/usr/bin"); n.dir("/usr/bin"); return n }(),
			[]scanner.Gap{{Path: "/usr/bin", Reason: "denied", Subtree: true}}, nil,
			[]string{"unverified /usr/bin +3 (denied)"}, Counts{Verified: total - 3, Unseen: 3}, 0},
		{"subtree-two-levels", without("/usr"), []scanner.Gap{{Path: "/usr", Reason: "denied", Subtree: true}}, nil,
			[]string{"unverified /usr +4 (denied)"}, Counts{Verified: total - 5, Unseen: 4}, 0},
		{"directory-vanished", without("/usr"), []scanner.Gap{{Path: "/usr", Reason: "vanished"}}, nil,
			[]string{"unverified /usr +4 (vanished)"}, Counts{Verified: total - 5, Unseen: 4}, 0},
		{"gap-elsewhere", without("/etc/passwd"), []scanner.Gap{{Path: "/etc/passwd2", Reason: "denied", Subtree: true}}, nil,
			[]string{"removed /etc/passwd"}, Counts{Verified: total - 1, NewGaps: 1}, 1},
		{"lost-content", blind, []scanner.Gap{{Path: "/etc/passwd", Reason: "denied", Attrs: entry.Content}}, nil,
			[]string{"unverified /etc/passwd (denied)"}, Counts{Verified: total - 1}, 0},
		{"known", small(), []scanner.Gap{{Path: "/root", Reason: "denied", Subtree: true}}, []scanner.Gap{{Path: "/root", Reason: "denied", Subtree: true}},
			nil, Counts{Verified: total, KnownGaps: 1}, 0},
		{"below-known", small(), []scanner.Gap{{Path: "/root/x", Reason: "denied"}}, []scanner.Gap{{Path: "/root", Reason: "denied", Subtree: true}},
			nil, Counts{Verified: total, KnownGaps: 1}, 2},
		{"gone-gap", small(), nil, []scanner.Gap{{Path: "/root", Reason: "denied", Subtree: true}}, nil, Counts{Verified: total}, 1},
		{"budget-again", without("/usr/bin/ls"), []scanner.Gap{{Path: "/usr", Reason: scanner.ReasonBudget, Subtree: true}},
			[]scanner.Gap{{Path: "/usr", Reason: scanner.ReasonBudget, Subtree: true}},
			[]string{"unverified /usr +1 (budget exhausted)"}, Counts{Verified: total - 1, Unseen: 1}, 0},
		{"listed-in-part", without("/usr/bin/ls"), []scanner.Gap{{Path: "/usr/bin", Reason: "io", Subtree: true}}, nil,
			[]string{"unverified /usr/bin +1 (io)"}, Counts{Verified: total - 1, Unseen: 1}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			commit(t, s, small(), tt.known...)
			m, c, n := compare(t, open(t, s), tt.now, tt.gaps...)
			equalLines(t, m.lines(), tt.want)
			if n != tt.count {
				t.Errorf("counts %+v, want %+v", n, tt.count)
			}
			if rows := c.GapRows(); len(rows) != tt.rows {
				t.Errorf("gap rows %v, want %d", rows, tt.rows)
			}
		})
	}
}

// TestKnownIncomplete: what could not be read in the baseline and cannot be
// read now is a known gap, not verified.
func TestKnownIncomplete(t *testing.T) {
	s := newStore(t)
	old := small()
	e := old["/etc/passwd"]
	e.Have &^= entry.Content
	old["/etc/passwd"] = e
	commit(t, s, old)
	g := open(t, s)
	m, _, n := compare(t, g, old)
	equalLines(t, m.lines(), nil)
	if n.KnownGaps != 1 || n.Verified != int64(len(old))-1 {
		t.Errorf("counts %+v", n)
	}
	now := old.clone()
	now.file("/etc/other", 1) // the block differs, the entry does not
	m, _, n = compare(t, g, now)
	equalLines(t, m.lines(), []string{"added /etc/other"})
	if n.KnownGaps != 1 {
		t.Errorf("counts %+v", n)
	}
	m, _, _ = compare(t, g, small())
	equalLines(t, m.lines(), []string{"regained /etc/passwd"})
}

// TestWideDirectories compares directories of thousands of names with a brute
// force model while parts shift.
func TestWideDirectories(t *testing.T) {
	base := tree{}
	base.dir("/")
	base.dir("/w")
	name := func(i int) entry.Path { return entry.Path(fmt.Sprintf("/w/n%05d", i)) }
	for i := range 3000 {
		base.file(name(10*i), i)
	}
	r := rand.New(rand.NewPCG(5, 6))
	steps := map[string]func(tree){
		"same":          func(tree) {},
		"insert-front":  func(n tree) { n.file("/w/a", 1) },
		"insert-many":   func(n tree) { addRange(n, name, 5, 15000, 10) },
		"delete-front":  func(n tree) { n.remove(name(0)) },
		"delete-edge":   func(n tree) { n.remove(name(10 * 1023)); n.remove(name(10 * 1024)); n.remove(name(10 * 1025)) },
		"delete-part":   func(n tree) { removeRange(n, name, 10240, 20480) },
		"delete-rest":   func(n tree) { removeRange(n, name, 10, 30000) },
		"delete-all":    func(n tree) { removeRange(n, name, 0, 30000) },
		"directory":     func(n tree) { n.remove("/w") },
		"change-edges":  func(n tree) { n.file(name(10*1023), 7777); n.file(name(10*1024), 7777) },
		"append":        func(n tree) { addRange(n, name, 30000, 60000, 10) },
		"random":        func(n tree) { randomChanges(n, name, r, 400) },
		"random-a-few":  func(n tree) { randomChanges(n, name, r, 5) },
		"random-a-lots": func(n tree) { randomChanges(n, name, r, 4000) },
	}
	s := newStore(t)
	commit(t, s, base)
	g := open(t, s)
	for step, change := range steps {
		t.Run(step, func(t *testing.T) {
			now := base.clone()
			change(now)
			m, _, n := compare(t, g, now)
			equalLines(t, m.lines(), expect(base, now))
			if changes := len(m.list) - countKind(m, diff.Removed); int64(len(now)) != n.Verified+int64(changes) {
				t.Errorf("%d delivered, %d verified, %d changes", len(now), n.Verified, changes)
			}
			back := newStore(t) // and the other way
			commit(t, back, now)
			m, _, _ = compare(t, open(t, back), base)
			equalLines(t, m.lines(), expect(now, base))
		})
	}
}

func addRange(n tree, name func(int) entry.Path, from, to, step int) {
	for i := from; i < to; i += step {
		n.file(name(i), i)
	}
}

func removeRange(n tree, name func(int) entry.Path, from, to int) {
	for i := from; i < to; i++ {
		delete(n, name(i))
	}
}

func randomChanges(n tree, name func(int) entry.Path, r *rand.Rand, k int) {
	for range k {
		p := name(r.IntN(32000))
		if r.IntN(2) == 0 {
			delete(n, p)
		} else {
			n.file(p, r.IntN(1000000))
		}
	}
}

func countKind(m *memSpool, k diff.Kind) (n int) {
	for _, c := range m.list {
		if c.Kind == k {
			n++
		}
	}
	return n
}

// TestWideHoles delivers a long directory with a part missing, or cut behind a
// name that went away: the names in between are removed, not forgotten.
func TestWideHoles(t *testing.T) {
	base := tree{}
	base.dir("/w")
	name := func(i int) entry.Path { return entry.Path(fmt.Sprintf("/w/n%05d", i)) }
	addRange(base, name, 0, 3000, 1)
	s := newStore(t)
	commit(t, s, base)
	g := open(t, s)
	run := func(blocks []entry.Block) []string {
		m := &memSpool{}
		c := g.Compare(m, 1)
		for i := range blocks {
			if err := c.Dir(0, &blocks[i]); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Finish(context.Background()); err != nil {
			t.Fatal(err)
		}
		return m.lines()
	}
	removed := func(from, to int) (out []string) {
		for i := from; i < to; i++ {
			out = append(out, "removed "+string(name(i)))
		}
		return out
	}
	wide := func() []entry.Block {
		return slices.DeleteFunc(base.blocks(), func(b entry.Block) bool { return b.Dir != "/w" })
	}
	root := slices.DeleteFunc(base.blocks(), func(b entry.Block) bool { return b.Dir != "/" })
	for part, want := range [][]string{removed(0, 1024), removed(1024, 2048), removed(2048, 3000)} {
		equalLines(t, run(slices.Concat(root, slices.Delete(wide(), part, part+1))), want)
	}
	blocks := wide()
	blocks[1].Entries = blocks[1].Entries[3:] // vanished after the first part was cut
	equalLines(t, run(slices.Concat(root, blocks)), removed(1024, 1027))
}

func TestCompareRefusesOverlap(t *testing.T) {
	base := tree{}
	for i := range 2000 {
		base.file(entry.Path(fmt.Sprintf("/n%05d", i)), i)
	}
	s := newStore(t)
	commit(t, s, base)
	c := open(t, s).Compare(&memSpool{}, 1)
	b := base.blocks()
	for _, i := range []int{0, 1, 1} {
		if err := c.Dir(0, &b[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Finish(context.Background()); err == nil {
		t.Error("a part that came twice is taken")
	}
}

func TestUnknownSet(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	bad := small()
	e := bad["/vmlinuz"]
	e.Set = 9
	b := entry.Block{Dir: "/", Entries: []entry.Entry{e}}
	if err := open(t, s).Compare(&memSpool{}, 1).Dir(0, &b); err == nil {
		t.Error("an unknown attribute set is taken")
	}
}

// TestFileCutWhileOpen: a fault in the map must be an error, not the end of
// the process.
func TestFileCutWhileOpen(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	g := open(t, s)
	cut(t, s.dbPath(1))
	c := g.Compare(&memSpool{}, 1)
	b := small().blocks()
	var err error
	for i := range b {
		if err = c.Dir(0, &b[i]); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrDamaged) {
		t.Fatalf("compare: %v", err)
	}
	if _, ok := g.Dir(entry.Path("/etc").Key(), 0); ok || !errors.Is(g.Err(), ErrDamaged) {
		t.Errorf("prior: %v", g.Err())
	}
	if _, err := g.Rows(KindGap); !errors.Is(err, ErrDamaged) {
		t.Errorf("rows: %v", err)
	}
}

// TestConcurrent runs everything that a scan calls from many workers at once.
func TestConcurrent(t *testing.T) {
	const workers = 4
	model := tree{}
	model.dir("/")
	mutate(model, rand.New(rand.NewPCG(9, 9)), 300)
	blocks := model.blocks()
	each := func(sink scanner.Sink) {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := w; i < len(blocks); i += workers {
					if err := sink.Dir(w, &blocks[i]); err != nil {
						t.Error(err)
					}
					if err := sink.Gap(w, scanner.Gap{Path: "/gap", Reason: "x"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	s := newStore(t)
	b, err := s.NewBuilder(workers, testSets, testPolicy)
	if err != nil {
		t.Fatal(err)
	}
	each(b)
	if _, err := b.Commit(context.Background(), testNote); err != nil {
		t.Fatal(err)
	}
	g := open(t, s)
	m := &memSpool{}
	c := g.Compare(m, workers)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 100 {
			for i := range blocks {
				if v, ok := g.Dir(blocks[i].Dir.Key(), blocks[i].Part); ok && v.Verify() != nil {
					t.Error("Prior gives something else")
				}
			}
		}
	})
	each(c)
	wg.Wait()
	n, err := c.Finish(context.Background())
	if err != nil || len(m.list) != 0 || n.Verified != int64(len(model)) {
		t.Fatalf("%v %+v %v", m.lines(), n, err)
	}
}
