package expect

import (
	"context"
	"crypto/sha256"
	"testing"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// texts are contents by path, as what is read a second time.
type texts map[entry.Path]string

func (t texts) SHA256(_ context.Context, p entry.Path, _ *entry.Entry) ([sha256.Size]byte, bool) {
	s, ok := t[p]
	return sha256.Sum256([]byte(s)), ok
}

var set = entry.Set{Mask: entry.All, DirMask: entry.All}

// object is a file as the scan finds it, everything known.
func object(content string, edit func(*entry.Entry)) *entry.Entry {
	e := &entry.Entry{Kind: entry.File, Have: entry.All, Mode: 0o755, Nlink: 1, Size: int64(len(content)), Hashed: int64(len(content)), Digest: digest.Sum([]byte(content))}
	if edit != nil {
		edit(e)
	}
	return e
}

func dir(e *entry.Entry)  { e.Kind = entry.Dir }
func link(e *entry.Entry) { e.Kind, e.Target, e.Mode = entry.Symlink, []byte("to"), 0o777 }

// app explains by a manifest of some of everything.
func app(t *testing.T) rules.Explainer {
	t.Helper()
	plain := fileLine("/app/sha", "new")
	plain.Known, plain.BLAKE3 = false, digest.Digest{}
	empty := fileLine("/app/zero", "")
	empty.Known, empty.BLAKE3 = false, digest.Digest{}
	unread, other := plain, plain
	unread.Path, other.Path = "/app/shb", "/app/shc"
	text := write(t, Header{Label: "app 2"}, []Line{
		{Path: "/app", Kind: entry.Dir, Mode: 0o755},
		fileLine("/app/f", "new"),
		{Path: "/app/gone", Removed: true},
		{Path: "/app/link", Kind: entry.Symlink, Target: []byte("to")},
		plain, unread, other, empty,
	})
	m, err := Parse("m", text)
	if err != nil {
		t.Fatal(err)
	}
	return New([]Source{{m, "sha256:00", "ci@example"}}, texts{"/app/sha": "new", "/app/shc": "evil"})
}

func TestExplain(t *testing.T) {
	x := app(t)
	usual := entry.Size | entry.Content | entry.Mtime | entry.Ctime | entry.Inode
	changed := func(p string, attrs entry.Attr, now *entry.Entry) diff.Change {
		return diff.Change{Kind: diff.Changed, Path: entry.Path(p), Attrs: attrs, Old: object("old", nil), New: now, OldSet: set, NewSet: set}
	}
	added := func(p string, now *entry.Entry) diff.Change {
		return diff.Change{Kind: diff.Added, Path: entry.Path(p), New: now, NewSet: set}
	}
	renamed := func(from, to string, count int64) diff.Change {
		c := changed(to, entry.Ctime, object("new", nil))
		c.Kind, c.From, c.Count = diff.Renamed, entry.Path(from), count
		return c
	}
	renamedAs := func(edit func(*entry.Entry)) diff.Change {
		c := renamed("/app/gone", "/app/f", 0)
		c.New = object("new", edit)
		return c
	}
	lost := changed("/app/f", usual, object("new", nil))
	lost.Lost = entry.ACL
	gained := changed("/app/f", usual, object("new", nil))
	gained.Gained = entry.ACL
	for _, tc := range []struct {
		name string
		c    diff.Change
		want bool
	}{
		{"content", changed("/app/f", usual, object("new", nil)), true},
		{"mode-and-owner", changed("/app/f", entry.Mode|entry.UID|entry.GID|entry.Ctime, object("new", nil)), true},
		{"times", changed("/app/f", entry.Mtime, object("new", nil)), true},
		{"replaced", diff.Change{Kind: diff.Replaced, Path: "/app/f", Attrs: entry.Inode, Old: object("new", nil), New: object("new", nil), OldSet: set, NewSet: set}, true},
		{"type", changed("/app/f", entry.Type, object("new", nil)), true},
		{"link", changed("/app/link", entry.Target|entry.Size, object("", link)), true},
		{"directory", changed("/app", entry.Mode|entry.Nlink, object("", dir)), true},
		{"sha256-alone", changed("/app/sha", usual, object("new", nil)), true},
		{"added", added("/app/f", object("new", nil)), true},
		{"added-empty", added("/app/zero", object("", nil)), true},
		{"added-labelled", added("/app/f", object("new", func(e *entry.Entry) { e.Label = []byte("bin_t") })), true},
		{"removed", diff.Change{Kind: diff.Removed, Path: "/app/gone", Old: object("old", nil)}, true},
		{"renamed", renamed("/app/gone", "/app/f", 0), true},

		{"other-content", changed("/app/f", usual, object("evil", nil)), false},
		{"same-size", changed("/app/f", usual, object("nex", nil)), false},

		{"other-sha256", changed("/app/shc", usual, object("new", nil)), false},
		{"sha256-not-to-be-had", changed("/app/shb", usual, object("new", nil)), false},
		{"other-mode", changed("/app/f", usual, object("new", func(e *entry.Entry) { e.Mode = 0o777 })), false},
		{"setuid", changed("/app/f", usual, object("new", func(e *entry.Entry) { e.Mode = 0o4755 })), false},
		{"other-owner", changed("/app/f", usual, object("new", func(e *entry.Entry) { e.UID = 1 })), false},
		{"other-group", changed("/app/f", usual, object("new", func(e *entry.Entry) { e.GID = 1 })), false},
		{"other-target", changed("/app/link", entry.Target, object("", func(e *entry.Entry) { link(e); e.Target = []byte("elsewhere") })), false},
		{"other-type", changed("/app", entry.Type, object("new", nil)), false},
		{"unlisted", changed("/app/g", usual, object("new", nil)), false},
		{"below", changed("/app/f/g", usual, object("new", nil)), false},
		{"not-to-be-there", added("/app/gone", object("new", nil)), false},
		{"not-to-be-removed", diff.Change{Kind: diff.Removed, Path: "/app/f", Old: object("old", nil)}, false},
		{"unlisted-removed", diff.Change{Kind: diff.Removed, Path: "/app/g", Old: object("old", nil)}, false},
		{"xattr", changed("/app/f", usual|entry.XattrAttr, object("new", nil)), false},
		{"acl", changed("/app/f", usual|entry.ACL, object("new", nil)), false},
		{"caps", changed("/app/f", usual|entry.Caps, object("new", nil)), false},
		{"flags", changed("/app/f", usual|entry.Flags, object("new", nil)), false},
		{"label", changed("/app/f", usual|entry.SELinux, object("new", nil)), false},
		{"another-name", changed("/app/f", entry.Nlink, object("new", nil)), false},
		{"caps-kept", changed("/app/f", usual, object("new", func(e *entry.Entry) { e.Caps = []byte{1} })), false},
		{"added-xattr", added("/app/f", object("new", func(e *entry.Entry) { e.Xattr = []entry.Xattr{{Name: []byte("user.x")}} })), false},
		{"added-acl", added("/app/f", object("new", func(e *entry.Entry) { e.ACL = []byte{2} })), false},
		{"added-default-acl", added("/app", object("", func(e *entry.Entry) { dir(e); e.DefACL = []byte{2} })), false},
		{"added-caps", added("/app/f", object("new", func(e *entry.Entry) { e.Caps = []byte{1} })), false},
		{"added-immutable", added("/app/f", object("new", func(e *entry.Entry) { e.Flags = 0x10 })), false},
		{"added-caps-unread", added("/app/f", object("new", func(e *entry.Entry) { e.Have &^= entry.Caps })), false},
		{"type-with-caps", changed("/app/f", entry.Type, object("new", func(e *entry.Entry) { e.Caps = []byte{1} })), false},
		{"content-unread", changed("/app/f", entry.Mode, object("new", func(e *entry.Entry) { e.Have &^= entry.Content })), false},
		{"mode-unread", changed("/app/f", usual, object("new", func(e *entry.Entry) { e.Have &^= entry.Mode })), false},
		{"prefix-of-a-log", changed("/app/f", usual, object("new", func(e *entry.Entry) { e.Hashed = 1 })), false},
		{"lost", lost, false},
		{"gained", gained, false},
		{"unverified", diff.Change{Kind: diff.Unverified, Path: "/app/f", Old: object("old", nil), OldSet: set}, false},
		{"regained", diff.Change{Kind: diff.Regained, Path: "/app/f", New: object("new", nil), NewSet: set}, false},
		{"renamed-with-caps", renamedAs(func(e *entry.Entry) { e.Caps = []byte{1} }), false},
		{"renamed-with-acl", renamedAs(func(e *entry.Entry) { e.ACL = []byte{2} }), false},
		{"renamed-with-xattr", renamedAs(func(e *entry.Entry) { e.Xattr = []entry.Xattr{{Name: []byte("user.x")}} }), false},
		{"renamed-with-flags", renamedAs(func(e *entry.Entry) { e.Flags = 0x10 }), false},
		{"renamed-caps-unread", renamedAs(func(e *entry.Entry) { e.Have &^= entry.Caps }), false},
		{"renamed-from-unlisted", renamed("/app/g", "/app/f", 0), false},
		{"renamed-with-children", renamed("/app/gone", "/app/f", 1), false},
	} {
		got, ok := x.Explain(context.Background(), &tc.c)
		if ok != tc.want {
			t.Errorf("%s: explained %v, want %v", tc.name, ok, tc.want)
		}
		if want := (rules.Explanation{Source: "app 2", Level: rules.Signed, Kind: "expect", ID: "sha256:00", By: "ci@example"}); ok && got != want {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

// What the policy does not compare cannot be missed, but must not be seen either.
func TestExplainOfLessCompared(t *testing.T) {
	m, err := Parse("m", write(t, Header{Label: "app"}, []Line{fileLine("/f", "new")}))
	if err != nil {
		t.Fatal(err)
	}
	x := New([]Source{{m, "", ""}}, nil)
	few := entry.Set{Mask: entry.Mode | entry.Content}
	for _, c := range []struct {
		name string
		edit func(*entry.Entry)
		want bool
	}{
		{"unread", func(e *entry.Entry) { e.Have &^= entry.Caps | entry.ACL | entry.XattrAttr | entry.Flags }, true},
		{"seen", func(e *entry.Entry) { e.Caps = []byte{1} }, false},
	} {
		if _, ok := x.Explain(context.Background(), &diff.Change{Kind: diff.Added, Path: "/f", New: object("new", c.edit), NewSet: few}); ok != c.want {
			t.Errorf("%s: explained %v", c.name, ok)
		}
	}
}
