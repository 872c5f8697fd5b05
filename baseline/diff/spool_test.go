package diff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// base is the tree that the tables start from.
func base(k *clock) tree {
	t := tree{}
	for _, p := range []entry.Path{"/", "/d", "/d/s", "/e"} {
		t.put(p, k.object(entry.Dir, ""))
	}
	for _, p := range []entry.Path{"/d/f", "/d/g", "/d/s/h", "/e/i"} {
		t.put(p, k.object(entry.File, string(p)))
	}
	t.put("/e/empty", k.object(entry.File, ""))
	t.put("/e/link", k.object(entry.Symlink, "/d/f"))
	return t
}

func (t tree) move(from, to entry.Path, k *clock) {
	t.touched(from, k)
	t.touched(to, k)
	for _, q := range t.below(from) {
		e := t[q]
		delete(t, q)
		t.put(to+q[len(from):], e)
	}
	t[to].Ctime = k.tick()
}

func (t tree) remove(p entry.Path, k *clock) {
	t.touched(p, k)
	for _, q := range t.below(p) {
		delete(t, q)
	}
}

func (t tree) add(p entry.Path, k *clock, e *entry.Entry) {
	t.put(p, e)
	t.touched(p, k)
}

// replace puts another object at p, with the same content and attributes.
func (t tree) replace(p entry.Path, k *clock, edit func(*entry.Entry)) {
	n, e := k.object(entry.File, ""), t[p]
	e.Inode, e.Mtime, e.Ctime, e.Btime = n.Inode, n.Mtime, n.Ctime, n.Btime
	if edit != nil {
		edit(e)
	}
	t.touched(p, k)
}

func (t tree) edit(p entry.Path, k *clock, content string) {
	e := t[p]
	e.Digest, e.Size, e.Hashed = digest.Sum([]byte(content)), int64(len(content)), int64(len(content))
	e.Mtime = k.tick()
	e.Ctime = e.Mtime
}

func (t tree) link(from, to entry.Path, k *clock) {
	t.touched(to, k)
	n := t[from].Nlink + 1
	t.put(to, t[from])
	for _, e := range t {
		if e.Inode == t[to].Inode {
			e.Nlink = n
		}
	}
}

func (t tree) noBirth() {
	for _, e := range t {
		e.Have &^= entry.Btime
	}
}

// spoolCases change the tree of base.
var spoolCases = []struct {
	name   string
	before func(t tree, k *clock)
	change func(t tree, k *clock)
	want   []string
}{
	{"nothing", nil, func(tree, *clock) {}, nil},
	{"add", nil, func(t tree, k *clock) { t.add("/d/new", k, k.object(entry.File, "n")) },
		[]string{"changed /d mtime,ctime folded", "added /d/new"}},
	{"add-deeper-does-not-fold", nil, func(t tree, k *clock) { t.add("/d/s/new", k, k.object(entry.File, "n")); t.touched("/d/x", k) },
		[]string{"changed /d mtime,ctime", "changed /d/s mtime,ctime folded", "added /d/s/new"}},
	{"add-to-root", nil, func(t tree, k *clock) { t.add("/new", k, k.object(entry.File, "n")) },
		[]string{"changed / mtime,ctime folded", "added /new"}},
	{"touched-dir", nil, func(t tree, k *clock) { t.touched("/d/x", k) }, []string{"changed /d mtime,ctime"}},
	{"edit-in-place-does-not-fold", nil, func(t tree, k *clock) { t.edit("/d/f", k, "/d/g"); t.touched("/d/x", k) },
		[]string{"changed /d mtime,ctime", "changed /d/f mtime,ctime,content"}},
	{"chmod-of-dir-never-folds", nil, func(t tree, k *clock) { t.remove("/d/f", k); t["/d"].Mode = 0o777 },
		[]string{"changed /d mode,mtime,ctime", "removed /d/f"}},
	{"lost-attribute-never-folds", nil, func(t tree, k *clock) { t.remove("/d/f", k); t["/d"].Have &^= entry.ACL },
		[]string{"changed /d mtime,ctime lost:acl", "removed /d/f"}},
	{"replaced", nil, func(t tree, k *clock) { t.replace("/d/f", k, nil) },
		[]string{"changed /d mtime,ctime folded", "replaced /d/f mtime,ctime,inode"}},
	{"editor-save", nil, func(t tree, k *clock) { t.replace("/d/f", k, func(e *entry.Entry) { e.Digest[0]++ }) },
		[]string{"changed /d mtime,ctime folded", "changed /d/f mtime,ctime,inode,content"}},
	{"type", nil, func(t tree, k *clock) { t.add("/d/f", k, k.object(entry.Symlink, "g")) },
		[]string{"changed /d mtime,ctime folded", "changed /d/f type"}},
	{"dir-to-file", nil, func(t tree, k *clock) { t.remove("/d/s", k); t.add("/d/s", k, k.object(entry.File, "n")) },
		[]string{"changed /d mtime,ctime folded", "changed /d/s type", "removed /d/s/h"}},
	{"rename", nil, func(t tree, k *clock) { t.move("/d/f", "/d/z", k) },
		[]string{"changed /d mtime,ctime folded", "renamed /d/f /d/z ctime"}},
	{"rename-across", nil, func(t tree, k *clock) { t.move("/d/f", "/e/z", k) },
		[]string{"changed /d mtime,ctime folded", "changed /e mtime,ctime folded", "renamed /d/f /e/z ctime"}},
	{"rename-and-edit", nil, func(t tree, k *clock) { t.move("/d/f", "/d/z", k); t.edit("/d/z", k, "!"); t["/d/z"].Mode = 0o4755 },
		[]string{"changed /d mtime,ctime folded", "renamed /d/f /d/z mode,size,mtime,ctime,content"}},
	{"rename-symlink-and-empty", nil, func(t tree, k *clock) { t.move("/e/link", "/e/l2", k); t.move("/e/empty", "/e/e2", k) },
		[]string{"changed /e mtime,ctime folded", "renamed /e/empty /e/e2 ctime", "renamed /e/link /e/l2 ctime"}},
	{"inode-used-again", nil, func(t tree, k *clock) {
		ino := t["/d/f"].Inode
		t.remove("/d/f", k)
		t.add("/d/z", k, k.object(entry.File, "other"))
		t["/d/z"].Inode = ino
	}, []string{"changed /d mtime,ctime folded", "removed /d/f", "added /d/z"}},
	{"same-inode-other-type", nil, func(t tree, k *clock) {
		o := t["/d/f"]
		t.remove("/d/f", k)
		t.add("/d/z", k, k.object(entry.FIFO, ""))
		t["/d/z"].Inode, t["/d/z"].Btime = o.Inode, o.Btime
	}, []string{"changed /d mtime,ctime folded", "removed /d/f", "added /d/z"}},
	{"copied-and-removed", nil, func(t tree, k *clock) { t.remove("/d/f", k); t.add("/e/z", k, k.object(entry.File, "/d/f")) },
		[]string{"changed /d mtime,ctime folded", "changed /e mtime,ctime folded", "renamed /d/f /e/z mtime,ctime,inode"}},
	{"no-birth-time-pairs-by-content", tree.birthless, func(t tree, k *clock) { t.move("/d/f", "/d/z", k) },
		[]string{"changed /d mtime,ctime folded", "renamed /d/f /d/z ctime"}},
	{"empty-never-pairs-by-content", tree.birthless, func(t tree, k *clock) { t.move("/e/empty", "/e/e2", k) },
		[]string{"changed /e mtime,ctime folded", "added /e/e2", "removed /e/empty"}},
	{"ambiguous-added", tree.birthless, func(t tree, k *clock) {
		t.remove("/d/f", k)
		t.add("/e/y", k, k.object(entry.File, "/d/f"))
		t.add("/e/z", k, k.object(entry.File, "/d/f"))
	}, []string{"changed /d mtime,ctime folded", "removed /d/f", "changed /e mtime,ctime folded", "added /e/y", "added /e/z"}},
	{"ambiguous-removed", func(t tree, k *clock) { t.edit("/d/g", k, "/d/f"); t.noBirth() }, func(t tree, k *clock) {
		t.remove("/d/f", k)
		t.remove("/d/g", k)
		t.add("/e/z", k, k.object(entry.File, "/d/f"))
		t["/e/z"].Have &^= entry.Btime
	}, []string{"changed /d mtime,ctime folded", "removed /d/f", "removed /d/g", "changed /e mtime,ctime folded", "added /e/z"}},
	{"inode-pairs-before-content", func(t tree, k *clock) { t.edit("/d/g", k, "/d/f") }, func(t tree, k *clock) {
		t.move("/d/f", "/e/y", k)
		t.remove("/d/g", k)
		t.add("/e/a", k, k.object(entry.File, "/d/f"))
	}, []string{"changed /d mtime,ctime folded", "changed /e mtime,ctime folded", "renamed /d/g /e/a mtime,ctime,inode", "renamed /d/f /e/y ctime"}},
	{"dir", nil, func(t tree, k *clock) { t.move("/d", "/e/D", k) },
		[]string{"changed / mtime,ctime folded", "changed /e mtime,ctime folded", "renamed /d /e/D ctime +4",
			"renamed /d/f /e/D/f folded", "renamed /d/g /e/D/g folded", "renamed /d/s /e/D/s folded", "renamed /d/s/h /e/D/s/h folded"}},
	{"dir-with-an-edited-child", nil, func(t tree, k *clock) { t.move("/d", "/D", k); t.edit("/D/s/h", k, "!") },
		[]string{"changed / mtime,ctime folded", "renamed /d /D ctime +4",
			"renamed /d/f /D/f folded", "renamed /d/g /D/g folded", "renamed /d/s /D/s folded", "renamed /d/s/h /D/s/h size,mtime,ctime,content"}},
	{"dir-and-a-child-elsewhere", nil, func(t tree, k *clock) { t.move("/d", "/D", k); t.move("/D/f", "/D/s/f", k) },
		[]string{"changed / mtime,ctime folded", "renamed /d /D mtime,ctime +3",
			"renamed /d/g /D/g folded", "renamed /d/s /D/s mtime,ctime", "renamed /d/f /D/s/f ctime", "renamed /d/s/h /D/s/h folded"}},
	{"dir-in-a-dir", nil, func(t tree, k *clock) { t.move("/d/s", "/d/S", k); t.move("/d", "/D", k) },
		[]string{"changed / mtime,ctime folded", "renamed /d /D mtime,ctime +2",
			"renamed /d/s /D/S ctime +1", "renamed /d/s/h /D/S/h folded", "renamed /d/f /D/f folded", "renamed /d/g /D/g folded"}},
	{"swap", nil, func(t tree, k *clock) { t.move("/d/f", "/t", k); t.move("/d/g", "/d/f", k); t.move("/t", "/d/g", k) },
		[]string{"changed / mtime,ctime", "changed /d mtime,ctime folded", "changed /d/f mtime,ctime,inode,content", "changed /d/g mtime,ctime,inode,content"}},
	{"hard-links-tied", func(t tree, k *clock) { t.link("/d/f", "/e/a", k); t.link("/d/f", "/e/b", k) }, func(t tree, k *clock) {
		for _, p := range []entry.Path{"/d/f", "/e/a", "/e/b"} {
			t[p].Mode, t[p].Ctime.Sec = 0o4755, 77
		}
	}, []string{"changed /d/f mode,ctime =/e/a =/e/b", "changed /e/a mode,ctime of:/d/f", "changed /e/b mode,ctime of:/d/f"}},
	{"hard-links-removed", func(t tree, k *clock) { t.link("/d/f", "/e/a", k) }, func(t tree, k *clock) { t.remove("/d/f", k); t.remove("/e/a", k) },
		[]string{"changed /d mtime,ctime folded", "removed /d/f =/e/a", "changed /e mtime,ctime folded", "removed /e/a of:/d/f"}},
	{"hard-link-added", nil, func(t tree, k *clock) { t.link("/d/f", "/e/a", k) },
		[]string{"changed /d/f nlink", "changed /e mtime,ctime folded", "added /e/a"}},
	{"hard-links-renamed", func(t tree, k *clock) { t.link("/d/f", "/e/a", k) }, func(t tree, k *clock) {
		t.move("/d/f", "/e/f", k)
		t.move("/e/a", "/d/a", k)
		t["/e/f"].Ctime = t["/d/a"].Ctime
	},
		[]string{"changed /d mtime,ctime folded", "renamed /e/a /d/a ctime", "changed /e mtime,ctime folded", "renamed /d/f /e/f ctime"}},
}

func TestSpool(t *testing.T) {
	for _, tc := range spoolCases {
		k := &clock{}
		old := base(k)
		if tc.before != nil {
			tc.before(old, k)
		}
		now := old.clone()
		tc.change(now, k)
		for _, limit := range []int{0, 1} {
			got, _ := changesOf(t, old, now, testSets, limit)
			want := strings.Join(tc.want, "\n") + "\n"
			if len(tc.want) == 0 {
				want = ""
			}
			if lines(got) != want {
				t.Errorf("%s (limit %d): got\n%swant\n%s", tc.name, limit, lines(got), want)
			}
		}
	}
}

func (t tree) birthless(*clock) { t.noBirth() }

// The links of a finding are bounded, the changes are not.
func TestLinksAreBounded(t *testing.T) {
	k := &clock{}
	old := base(k)
	now := old.clone()
	now.put("/e/n00", k.object(entry.File, "n"))
	for i := range 40 {
		now.link("/e/n00", entry.Path(fmt.Sprintf("/e/n%02d", i+1)), k)
	}
	got, counts := changesOf(t, old, now, testSets, 0)
	if len(got) != 42 || len(got[1].Links) != MaxLinks || counts.Linked != 40 || counts.Added != 41 {
		t.Errorf("%d changes, %d links, %+v", len(got), len(got[1].Links), counts)
	}
}

func TestRewrite(t *testing.T) {
	s := NewSpool(t.TempDir(), 1, 0)
	defer s.Close()
	k := &clock{}
	for _, p := range []entry.Path{"/c", "/a", "/b"} {
		s.Add(0, &Change{Kind: Removed, Path: p, Old: k.object(entry.File, "x")})
	}
	var order string
	r, err := s.Finish(ctx(), func(c *Change) error {
		order += string(c.Path)
		switch c.Path {
		case "/a":
			c.Kind = 0
		case "/b":
			c.Kind, c.Reason, c.Count = Unverified, "I/O error", 5
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []*Change
	for c := range r.Changes() {
		got = append(got, c)
	}
	if want := "unverified /b +5\nremoved /c\n"; order != "/a/b/c" || lines(got) != want {
		t.Errorf("order %q, got %q, want %q", order, lines(got), want)
	}
	if want := (Counts{Removed: 1, Unverified: 1, Unseen: 5}); r.Counts() != want {
		t.Errorf("got %+v, want %+v", r.Counts(), want)
	}
	for range r.Changes() { // stops early, and again
		break
	}
}

func TestSpoolErrors(t *testing.T) {
	dir := t.TempDir()
	c := &Change{Kind: Removed, Path: "/a"}
	s := NewSpool(dir, 1, 1)
	if s.Add(1, c) == nil || s.Add(-1, c) == nil {
		t.Error("accepts a worker that it has not")
	}
	for range 5 {
		if err := s.Add(0, c); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("leaves %v", left)
	}
	stop := errors.New("stop")
	if _, err := s.Finish(ctx(), func(*Change) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of rewrite is lost: %v", err)
	}
	if _, err := s.Finish(ctx(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("finishes twice: %v", err)
	}
	if err := s.Close(); err != nil || !errors.Is(s.Add(0, c), ErrClosed) {
		t.Errorf("close: %v", err)
	}

	s = NewSpool(dir+"/absent", 1, 1)
	s.Add(0, c)
	if err := s.Add(0, c); err == nil {
		t.Error("spills to a folder that is not there")
	}

	s = NewSpool(dir, 1, 0)
	defer s.Close()
	for range 2000 {
		s.Add(0, c)
	}
	done, cancel := context.WithCancel(ctx())
	cancel()
	if _, err := s.Finish(done, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("does not stop: %v", err)
	}
}

// Memory is the limit, not the number of changes.
func TestSpoolMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 30 MB")
	}
	const n, limit = 50_000, 1 << 20
	s := NewSpool(t.TempDir(), 2, limit)
	defer s.Close()
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			k := &clock{now: int64(w) << 32}
			for i := range n / 2 {
				e := k.object(entry.File, "x")
				e.Digest[0], e.Digest[1], e.Digest[2] = byte(i), byte(i>>8), byte(w)
				c := &Change{Kind: Kind(1 + i%2), Path: entry.Path(fmt.Sprintf("/d%d/%d", w, i*7919%n)), Old: e, New: e}
				if err := s.Add(w, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r, err := s.Finish(ctx(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 16*limit {
		t.Errorf("%d bytes on the heap with a limit of %d", m.HeapAlloc, limit)
	}
	if c := r.Counts(); c.Added+c.Removed+c.Renamed != n {
		t.Errorf("%+v, want %d in all", c, n)
	}
}

// What the policy does not read at the new place is not lost; what it does is.
func TestRenamedIntoAnotherSet(t *testing.T) {
	for _, tc := range []struct {
		to   uint16
		want string
	}{
		{1, "renamed /d/f /e/f ctime lost:content\n"},
		{2, "renamed /d/f /e/f ctime\n"},
	} {
		k := &clock{}
		old := base(k)
		old["/d/f"].Set = 1
		now := old.clone()
		now.move("/d/f", "/e/f", k)
		now["/e/f"].Set = tc.to
		now["/e/f"].Have &^= entry.Content
		all, _ := changesOf(t, old, now, testSets, 0)
		got := lines(all)
		if !strings.HasSuffix(got, tc.want) {
			t.Errorf("set %d: got %q, want %q", tc.to, got, tc.want)
		}
	}
}
