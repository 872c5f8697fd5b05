package diff

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

var ctx = context.Background

// everything compares all attributes, recorded none: index 0 of testSets. The
// others are the groups binary, metadata and log.
var testSets = entry.Sets{
	{Mask: entry.All, DirMask: entry.All},
	{Mask: entry.All &^ (entry.Inode | entry.Device), DirMask: entry.All &^ (entry.Inode | entry.Device | entry.Mtime | entry.Ctime | entry.Size | entry.Nlink)},
	{Mask: entry.All &^ (entry.Inode | entry.Device | entry.Content), DirMask: entry.Type | entry.Mode},
	{Mask: entry.Type | entry.Mode | entry.Content, DirMask: entry.Type | entry.Mode, Log: true},
}

// tree is a model of a file system: what is at each path.
type tree map[entry.Path]*entry.Entry

// clock gives inodes and times that are never used twice.
type clock struct{ now int64 }

func (c *clock) tick() entry.Time { c.now++; return entry.Time{Sec: 1e9 + c.now} }

func (c *clock) object(k entry.Kind, content string) *entry.Entry {
	t := c.tick()
	e := &entry.Entry{
		Kind: k, Mode: 0o644, Nlink: 1, Inode: uint64(c.now), Device: 7,
		Mtime: t, Ctime: t, Btime: t,
		Have: entry.Applicable(k),
	}
	switch k {
	case entry.File:
		e.Size, e.Hashed, e.Digest = int64(len(content)), int64(len(content)), digest.Sum([]byte(content))
	case entry.Symlink:
		e.Target = []byte(content)
	}
	return e
}

func (t tree) put(p entry.Path, e *entry.Entry) {
	e = e.Clone()
	e.Name = []byte(p.Base())
	t[p] = e
}

func (t tree) clone() tree {
	c := tree{}
	for p, e := range t {
		c.put(p, e)
	}
	return c
}

// block returns what stands in the block of dir.
func (t tree) block(dir entry.Path) []entry.Entry {
	var b []entry.Entry
	for p, e := range t {
		if p == dir && p == "/" || p != "/" && p.Dir() == dir {
			b = append(b, *e)
		}
	}
	slices.SortFunc(b, func(a, b entry.Entry) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return b
}

func dirsOf(ts ...tree) []entry.Path {
	seen := map[entry.Path]bool{"/": true}
	for _, t := range ts {
		for p, e := range t {
			if e.Kind == entry.Dir {
				seen[p] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), comparePaths)
}

// changesOf runs the whole of the package over two trees.
func changesOf(t testing.TB, old, now tree, sets entry.Sets, limit int) ([]*Change, Counts) {
	t.Helper()
	s := NewSpool(t.TempDir(), 2, limit)
	defer s.Close()
	for i, dir := range dirsOf(old, now) {
		err := Join(dir, old.block(dir), now.block(dir), sets, sets, func(c *Change) error { return s.Add(i%2, c) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return finish(t, s)
}

func finish(t testing.TB, s *Spool) ([]*Change, Counts) {
	t.Helper()
	r, err := s.Finish(ctx(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var list []*Change
	for c, err := range r.Changes() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list, r.Counts()
}

// line is a change in short, for tables.
func line(c *Change) string {
	s := c.Kind.String() + " "
	if c.From != "" {
		s += string(c.From) + " "
	}
	s += string(c.Path)
	if c.Attrs != 0 {
		s += " " + c.Attrs.String()
	}
	if c.Lost != 0 {
		s += " lost:" + c.Lost.String()
	}
	if c.Gained != 0 {
		s += " gained:" + c.Gained.String()
	}
	if c.Count != 0 {
		s += fmt.Sprintf(" +%d", c.Count)
	}
	if c.Folded {
		s += " folded"
	}
	for _, l := range c.Links {
		s += " =" + string(l)
	}
	if c.LinkOf != "" {
		s += " of:" + string(c.LinkOf)
	}
	return s
}

func lines(list []*Change) string {
	var b strings.Builder
	for _, c := range list {
		b.WriteString(line(c) + "\n")
	}
	return b.String()
}

// randomTree makes a tree of about n objects with awkward names.
func randomTree(r *rand.Rand, k *clock, n int) tree {
	t := tree{}
	t.put("/", k.object(entry.Dir, ""))
	for range n {
		t.create(r, k)
	}
	return t
}

var names = []string{"a", "b", "c", "a-", "a b", "a\n", "\x01", "\xff", "d.d", "e"}

func (t tree) pick(r *rand.Rand, want func(entry.Path, *entry.Entry) bool) (entry.Path, bool) {
	var all []entry.Path
	for p, e := range t {
		if want(p, e) {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	slices.Sort(all)
	return all[r.IntN(len(all))], true
}

func isDir(_ entry.Path, e *entry.Entry) bool   { return e.Kind == entry.Dir }
func isFile(_ entry.Path, e *entry.Entry) bool  { return e.Kind == entry.File }
func notRoot(p entry.Path, _ *entry.Entry) bool { return p != "/" }
func (t tree) free(r *rand.Rand) (entry.Path, bool) {
	dir, _ := t.pick(r, isDir)
	p := dir.Join([]byte(names[r.IntN(len(names))]))
	_, taken := t[p]
	return p, !taken
}

// touched gives the directory of p new times, as a kernel would.
func (t tree) touched(p entry.Path, k *clock) {
	d := t[p.Dir()]
	d.Mtime = k.tick()
	d.Ctime = d.Mtime
}

func (t tree) create(r *rand.Rand, k *clock) {
	p, ok := t.free(r)
	if !ok {
		return
	}
	kind := []entry.Kind{entry.File, entry.File, entry.File, entry.Dir, entry.Dir, entry.Symlink, entry.FIFO}[r.IntN(7)]
	t.put(p, k.object(kind, strings.Repeat("x", r.IntN(4))))
	t.touched(p, k)
}

func (t tree) below(p entry.Path) (all []entry.Path) {
	for q := range t {
		if q.Under(p) {
			all = append(all, q)
		}
	}
	return all
}

// mutate does one random thing that root can do to a tree.
func (t tree) mutate(r *rand.Rand, k *clock) {
	switch r.IntN(8) {
	case 0, 1:
		t.create(r, k)
	case 2: // remove
		if p, ok := t.pick(r, notRoot); ok {
			t.touched(p, k)
			for _, q := range t.below(p) {
				delete(t, q)
			}
		}
	case 3, 4: // rename, with all below
		from, ok := t.pick(r, notRoot)
		to, free := t.free(r)
		if !ok || !free || to.Under(from) {
			return
		}
		t.touched(from, k)
		t.touched(to, k)
		for _, q := range t.below(from) {
			e := t[q]
			delete(t, q)
			t.put(to+q[len(from):], e)
		}
		t[to].Ctime = k.tick()
	case 5: // edit
		if p, ok := t.pick(r, isFile); ok {
			e := t[p]
			c := strings.Repeat("y", r.IntN(4))
			e.Size, e.Hashed, e.Digest = int64(len(c)), int64(len(c)), digest.Sum([]byte(c))
			e.Mtime = k.tick()
		}
	case 6: // chmod
		if p, ok := t.pick(r, func(entry.Path, *entry.Entry) bool { return true }); ok {
			t[p].Mode, t[p].Ctime = uint16(r.IntN(0o10000)), k.tick()
		}
	case 7: // another name
		from, ok := t.pick(r, isFile)
		to, free := t.free(r)
		if ok && free {
			t.put(to, t[from])
			t[from].Nlink, t[to].Nlink = 2, 2
			t.touched(to, k)
		}
	}
}
