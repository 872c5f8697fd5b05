package baseline

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

var (
	testSets = entry.Sets{
		{Mask: entry.All &^ (entry.Inode | entry.Device), DirMask: entry.Type | entry.Mode | entry.UID | entry.GID},
		{Mask: entry.Type | entry.Mode | entry.Content, DirMask: entry.Type, Log: true},
	}
	testPolicy = []byte("version: 1\npaths:\n  - path: /\n")
	testNote   = statement.Note{HostName: "web\x1b1", Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), ToolVersion: "test", Reason: "first\nline"}
)

// tree is a model of a scanned root: entries by path.
type tree map[entry.Path]entry.Entry

func (t tree) clone() tree { return maps.Clone(t) }

// file puts a file whose content is told by v.
func (t tree) file(p entry.Path, v int) {
	sum := digest.Sum(fmt.Append(nil, v))
	size := int64(v%5000 + 1)
	t[p] = entry.Entry{
		Name: []byte(p.Base()), Kind: entry.File, Have: entry.Applicable(entry.File), Mode: 0o644, UID: 1, GID: 2, Nlink: 1,
		Size: size, Hashed: size, Inode: 1000 + uint64(len(p)), Device: 7, Digest: sum,
		Mtime: entry.Time{Sec: 1700000000 + int64(v), Nsec: 5}, Ctime: entry.Time{Sec: 1700000000}, Btime: entry.Time{Sec: 1600000000},
	}
}

func (t tree) dir(p entry.Path) {
	t[p] = entry.Entry{Name: []byte(p.Base()), Kind: entry.Dir, Have: entry.Applicable(entry.Dir), Mode: 0o755, Nlink: 2, Inode: 5, Device: 7}
}

// remove takes p and everything below.
func (t tree) remove(p entry.Path) {
	for q := range t {
		if q.Under(p) {
			delete(t, q)
		}
	}
}

// blocks cuts the tree into the blocks that a scan delivers: empty directories
// too.
func (t tree) blocks() []entry.Block {
	dirs := map[entry.Path][]entry.Entry{}
	for p, e := range t {
		dirs[p.Dir()] = append(dirs[p.Dir()], e)
		if e.Kind == entry.Dir {
			dirs[p] = append(dirs[p], []entry.Entry(nil)...)
		}
	}
	var out []entry.Block
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		list := dirs[d]
		slices.SortFunc(list, func(a, b entry.Entry) int { return bytes.Compare(a.Name, b.Name) })
		for part := uint32(0); ; part++ {
			n := min(len(list), entry.PartSize)
			b := entry.Block{Dir: d, Part: part, Entries: list[:n]}
			list = list[n:]
			if len(list) > 0 {
				b.Next = list[0].Name
			}
			out = append(out, b)
			if len(list) == 0 {
				break
			}
		}
	}
	return out
}

// deliver gives the tree's blocks to a sink, in random order.
func (t tree) deliver(tb testing.TB, s scanner.Sink, r *rand.Rand) {
	tb.Helper()
	all := t.blocks()
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i := range all {
		if err := s.Dir(i%2, &all[i]); err != nil {
			tb.Fatal(err)
		}
	}
}

func small() tree {
	t := tree{}
	t.dir("/")
	for _, d := range []entry.Path{"/etc", "/etc/ssh", "/usr", "/usr/bin", "/empty", "/etc!"} {
		t.dir(d)
	}
	for i, f := range []entry.Path{"/etc/passwd", "/etc/ssh/sshd_config", "/usr/bin/ls", "/usr/bin/a\nb", "/usr/bin/\xff\x1b[2J", "/etc!/x", "/vmlinuz"} {
		t.file(f, i)
	}
	return t
}

func newStore(tb testing.TB) *Store {
	tb.Helper()
	s, err := OpenStore(tb.TempDir() + "/state")
	if err == nil {
		err = s.Init(Machine{})
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func commit(tb testing.TB, s *Store, t tree, gaps ...scanner.Gap) *statement.Statement {
	tb.Helper()
	b, err := s.NewBuilder(2, testSets, testPolicy)
	if err != nil {
		tb.Fatal(err)
	}
	t.deliver(tb, b, rand.New(rand.NewPCG(1, 2)))
	for _, g := range gaps {
		b.Gap(0, g)
	}
	b.AddRow(diff.Row{Kind: "mount", Key: []byte("/"), Value: []byte("ext4\x00/dev/sda\x00/")})
	st, err := b.Commit(context.Background(), testNote)
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

func open(tb testing.TB, s *Store) *Generation {
	tb.Helper()
	g, err := s.Open(context.Background(), 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { g.Close() })
	return g
}

// memSpool keeps changes.
type memSpool struct {
	mu   sync.Mutex
	list []*diff.Change
}

func (m *memSpool) Add(_ int, c *diff.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := *c
	if c.Old != nil {
		k.Old = c.Old.Clone()
	}
	if c.New != nil {
		k.New = c.New.Clone()
	}
	m.list = append(m.list, &k)
	return nil
}

func (m *memSpool) sorted() []*diff.Change {
	slices.SortFunc(m.list, func(a, b *diff.Change) int { return cmp.Compare(a.Path, b.Path) })
	return m.list
}

// lines returns kind and path of all changes, sorted.
func (m *memSpool) lines() []string {
	var out []string
	for _, c := range m.sorted() {
		l := c.Kind.String() + " " + string(c.Path)
		if c.Count > 0 {
			l += fmt.Sprintf(" +%d", c.Count)
		}
		if c.Reason != "" {
			l += " (" + c.Reason + ")"
		}
		out = append(out, l)
	}
	return out
}

func compare(tb testing.TB, g *Generation, t tree, gaps ...scanner.Gap) (*memSpool, *Comparer, Counts) {
	tb.Helper()
	m := &memSpool{}
	c := g.Compare(m, 2)
	for _, gap := range gaps {
		if err := c.Gap(0, gap); err != nil {
			tb.Fatal(err)
		}
	}
	t.deliver(tb, c, rand.New(rand.NewPCG(3, 4)))
	n, err := c.Finish(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return m, c, n
}

// expect is what a comparison of two trees must say, by brute force.
func expect(old, now tree) []string {
	var out []string
	paths := map[entry.Path]bool{}
	for p := range old {
		paths[p] = true
	}
	for p := range now {
		paths[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		o, was := old[p]
		n, is := now[p]
		switch {
		case !was:
			out = append(out, "added "+string(p))
		case !is:
			out = append(out, "removed "+string(p))
		case entry.Differ(&o, &n, testSets[o.Set].For(o.Kind)) != 0:
			out = append(out, "changed "+string(p))
		}
	}
	return out
}

func equalLines(tb testing.TB, got, want []string) {
	tb.Helper()
	if slices.Equal(got, want) {
		return
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			tb.Errorf("unexpected %q", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			tb.Errorf("missing %q", l)
		}
	}
	tb.Fatalf("%d changes, want %d", len(got), len(want))
}
