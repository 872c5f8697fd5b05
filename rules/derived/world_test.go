package derived_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/derived"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

const everything = entry.All &^ entry.SELinux

// object is a path of a world in memory.
type object struct {
	content string
	target  string // of a link
	dir     bool
	owner   string // the package that holds it
	changed bool   // and nothing explains that
	mode    uint16 // 0: 0644
	mtime   int64
}

func (o object) entry() *entry.Entry {
	e := &entry.Entry{Kind: entry.File, Have: everything & entry.Applicable(entry.File), Mode: 0o644, Nlink: 1,
		Size: int64(len(o.content)), Hashed: int64(len(o.content)), Digest: digest.Sum([]byte(o.content)), Mtime: entry.Time{Sec: o.mtime}}
	switch {
	case o.target != "":
		e.Kind, e.Target, e.Mode = entry.Symlink, []byte(o.target), 0o777
	case o.dir:
		e.Kind, e.Mode = entry.Dir, 0o755
	}
	if e.Have = everything & entry.Applicable(e.Kind); o.mode != 0 {
		e.Mode = o.mode
	}
	return e
}

// world is a root in memory.
type world map[entry.Path]object

func (w world) Read(_ context.Context, p entry.Path, seen *entry.Entry, limit int64) ([]byte, bool) {
	o, ok := w[p]
	return []byte(o.content), ok && int64(len(o.content)) <= limit && digest.Sum([]byte(o.content)) == seen.Digest
}

// follow follows links, and /lib to /usr/lib.
func (w world) follow(p entry.Path) (object, bool) {
	for range 8 {
		o, ok := w[p]
		if !ok && strings.HasPrefix(string(p), "/lib") {
			p = "/usr" + p
			o, ok = w[p]
		}
		if !ok || o.target == "" {
			return o, ok
		}
		to := o.target
		if !strings.HasPrefix(to, "/") {
			to = string(p.Dir()) + "/" + to
		}
		p, _ = entry.NewPath(to)
	}
	return object{}, false
}

func (w world) Verified(_ context.Context, p entry.Path) (string, bool) {
	o, ok := w.follow(p)
	return o.owner, ok && !o.changed
}

func (w world) Look(_ context.Context, p entry.Path) (*entry.Entry, bool) {
	o, ok := w[p]
	return o.entry(), ok
}

func (w world) Reference(_ context.Context, p entry.Path, limit int64) ([]byte, bool) {
	o, ok := w.follow(p)
	return []byte(o.content), ok && !o.changed && int64(len(o.content)) <= limit
}

// remembering is a world in which everything is another than it was.
type remembering struct {
	world
	was world
}

func (w remembering) Was(p entry.Path) (*entry.Entry, bool) {
	o, ok := w.was[p]
	return o.entry(), ok
}

// listing is a world that can list.
type listing struct{ world }

func (w listing) List(_ context.Context, dir entry.Path, limit int) (out []entry.Path, ok bool) {
	for p, o := range w.world {
		if p.Dir() == dir && !o.dir {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out, len(out) <= limit
}

// upgrade is a signed transaction that holds paths.
func upgrade(paths ...entry.Path) derived.Transaction {
	return derived.Transaction{
		Explanation: rules.Explanation{Source: "pkg 1 → 2", ID: "sha256:00", By: "a key", When: "2026-01-02T03:04:05Z", Level: rules.Signed}, Packages: []string{"pkg"}, Upgrade: true,
		Holds: func(p entry.Path) bool {
			return slices.ContainsFunc(paths, func(q entry.Path) bool { return q.Under(p) })
		},
	}
}

// change is the change of p to what the world has there now.
func (w world) change(p entry.Path) *diff.Change {
	e := w[p].entry()
	c := &diff.Change{Kind: diff.Changed, Path: p, Attrs: entry.Content | entry.Size | entry.Mtime, New: e, NewSet: entry.Set{Mask: entry.All, DirMask: entry.All}}
	if e.Kind == entry.Symlink {
		c.Attrs = entry.Target | entry.Mtime
	}
	c.Old = e.Clone()
	return c
}

// level is the level of the explanation, "" for none.
func level(w derived.World, c *diff.Change, t ...derived.Transaction) string {
	x := derived.New(w, t)
	e, ok := x.Explain(context.Background(), c)
	again, _ := x.Explain(context.Background(), c)
	switch {
	case e != again:
		return "another answer the second time"
	case !ok:
		return e.Level
	case e.Kind != derived.Kind || e.Source == "":
		return "not whole"
	}
	return e.Level
}

// disk is this machine's root: everything is a package's and verified.
type disk struct{}

func (disk) Read(_ context.Context, p entry.Path, _ *entry.Entry, _ int64) ([]byte, bool) {
	b, err := os.ReadFile(string(p))
	return b, err == nil
}

func (disk) Verified(_ context.Context, p entry.Path) (string, bool) {
	_, err := os.Stat(string(p))
	return "pkg", err == nil
}

func (disk) Look(_ context.Context, p entry.Path) (*entry.Entry, bool) {
	info, err := os.Lstat(string(p))
	if err != nil {
		return nil, false
	}
	o := object{mtime: info.ModTime().Unix()}
	if info.Mode()&os.ModeSymlink != 0 {
		o.target, _ = os.Readlink(string(p))
	}
	e := o.entry()
	e.Size = info.Size()
	return e, true
}

func (disk) Reference(_ context.Context, p entry.Path, limit int64) ([]byte, bool) {
	b, err := os.ReadFile(string(p))
	return b, err == nil && int64(len(b)) <= limit
}

func (disk) List(_ context.Context, dir entry.Path, _ int) (out []entry.Path, ok bool) {
	names, err := os.ReadDir(string(dir))
	for _, n := range names {
		out = append(out, dir.Join([]byte(n.Name())))
	}
	return out, err == nil || os.IsNotExist(err)
}

// realChange is a change to what stands on this machine at p.
func realChange(t *testing.T, p entry.Path) *diff.Change {
	t.Helper()
	if _, err := os.Stat(string(p)); err != nil {
		t.Skipf("SKIPPED: this machine has none: %v", err)
	}
	if target, err := os.Readlink(string(p)); err == nil {
		return world{p: {target: target}}.change(p)
	}
	b, err := os.ReadFile(string(p))
	if err != nil {
		t.Fatal(err)
	}
	return world{p: {content: string(b)}}.change(p)
}

// all is a transaction that holds everything.
func all() derived.Transaction {
	t := upgrade()
	t.Holds = func(entry.Path) bool { return true }
	return t
}
