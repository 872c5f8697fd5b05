package baseline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/scanner"
	"intact/scanner/entry"
)

// differences compares two generations, the spool left aside.
func differences(tb testing.TB, old, now *Generation, o Contrast) (*memSpool, ContrastCounts) {
	tb.Helper()
	m := &memSpool{}
	n, err := Between(context.Background(), old, now, o, m)
	if err != nil {
		tb.Fatal(err)
	}
	return m, n
}

// TestBetween: what two generations differ in is what their trees differ in.
func TestBetween(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for round := range 15 {
		old := tree{}
		old.dir("/")
		mutate(old, r, 60)
		if round%3 == 0 {
			old.dir("/w")
			for i := range 2500 {
				old.file(entry.Path(fmt.Sprintf("/w/n%05d", i)), i)
			}
		}
		now := old.clone()
		mutate(now, r, 30)
		switch round % 6 {
		case 0:
			now.file("/w/a", 1)
			now.remove("/w/n01023")
		case 3:
			now.remove("/w")
		}
		a, b := newStore(t), newStore(t)
		commit(t, a, old)
		commit(t, b, now)
		m, n := differences(t, open(t, a), open(t, b), Contrast{})
		equalLines(t, m.lines(), expect(old, now))
		removed := 0
		for p := range old {
			if _, is := now[p]; !is {
				removed++
			}
		}
		if got := int(n.Equal) + len(m.list); got != len(now)+removed {
			t.Errorf("round %d: %d accounted for, want %d", round, got, len(now)+removed)
		}
		m, n = differences(t, open(t, b), open(t, b), Contrast{})
		if len(m.list) > 0 || int(n.Equal) != len(now) {
			t.Errorf("round %d: with itself: %d changes, %d equal of %d", round, len(m.list), n.Equal, len(now))
		}
	}
}

// commitWith writes a generation under other sets than the tests' own.
func commitWith(tb testing.TB, s *Store, t tree, sets entry.Sets, gaps ...scanner.Gap) *statement.Statement {
	tb.Helper()
	b, err := s.NewBuilder(2, sets, testPolicy)
	if err != nil {
		tb.Fatal(err)
	}
	t.deliver(tb, b, rand.New(rand.NewPCG(1, 2)))
	for _, g := range gaps {
		b.Gap(0, g)
	}
	st, err := b.Commit(context.Background(), testNote)
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

func TestBetweenPolicies(t *testing.T) {
	old := small()
	now := old.clone()
	e := now["/vmlinuz"]
	e.Mode = 0o755 // both compare it
	now["/vmlinuz"] = e
	e = now["/etc/passwd"]
	e.Mtime.Sec++ // the newer one does not
	now["/etc/passwd"] = e
	now.file("/only", 1)
	now.file("/usr/new", 1)
	a, b := newStore(t), newStore(t)
	commitWith(t, a, old, testSets)
	commitWith(t, b, now, entry.Sets{{Mask: entry.Type | entry.Mode | entry.Content, DirMask: entry.Type}})
	m, n := differences(t, open(t, a), open(t, b), Contrast{OldSelects: func(p entry.Path) bool { return p != "/only" }})
	equalLines(t, m.lines(), []string{"added /usr/new", "changed /vmlinuz"})
	if n.OnlyNew != 1 || n.OnlyOld != 0 || int(n.Equal) != len(old)-1 {
		t.Errorf("%+v", n)
	}
}

func TestBetweenGaps(t *testing.T) {
	old := small()
	now := old.clone()
	now.remove("/etc/ssh/sshd_config")
	now.remove("/usr/bin/ls")
	a, b := newStore(t), newStore(t)
	commit(t, a, old)
	commit(t, b, now, scanner.Gap{Path: "/etc/ssh", Reason: scanner.ReasonIO, Subtree: true})
	m, n := differences(t, open(t, a), open(t, b), Contrast{})
	equalLines(t, m.lines(), []string{"removed /usr/bin/ls"})
	if n.UnseenNew != 1 || n.UnseenOld != 0 {
		t.Errorf("%+v", n)
	}
	rows, err := RowsBetween(open(t, a), open(t, b))
	if err != nil || len(rows) != 1 || rows[0].Kind != KindGap || rows[0].Old != nil || string(rows[0].New) != string(scanner.ReasonIO) {
		t.Errorf("%v %v", rows, err)
	}
}

// TestBetweenHosts: what cannot agree is left out, and nothing is paired by it.
func TestBetweenHosts(t *testing.T) {
	old := small()
	now := old.clone()
	for p, e := range now {
		e.Inode, e.Device, e.Ctime.Sec = e.Inode+1, 9, e.Ctime.Sec+5
		if e.Kind == entry.Dir {
			e.Nlink++
		}
		now[p] = e
	}
	a, b := newStore(t), newStore(t)
	sets := entry.Sets{{Mask: entry.All, DirMask: entry.All}, testSets[1]}
	commitWith(t, a, old, sets)
	commitWith(t, b, now, sets)
	o := Contrast{LeaveOut: entry.Inode | entry.Device | entry.Ctime, LeaveOutDirs: entry.Size | entry.Nlink}
	m, n := differences(t, open(t, a), open(t, b), o)
	if equalLines(t, m.lines(), nil); int(n.Equal) != len(old) {
		t.Errorf("%d equal of %d", n.Equal, len(old))
	}
	if m, _ := differences(t, open(t, a), open(t, b), Contrast{}); len(m.list) != len(old) {
		t.Errorf("%d changes where nothing is left out", len(m.list))
	}
	f := now["/vmlinuz"]
	f.Digest[0]++
	now.remove("/vmlinuz")
	now["/moved"] = f
	f.Name = []byte("moved")
	now["/moved"] = f
	commitWith(t, b, now, sets)
	m, _ = differences(t, open(t, a), open(t, b), o)
	if slices.ContainsFunc(m.list, func(c *diff.Change) bool {
		return c.Old != nil && c.Old.Have&entry.Inode != 0 || c.New != nil && c.New.Have&entry.Inode != 0
	}) {
		t.Error("an inode is known")
	}
}
