package diff

import (
	"bytes"
	"testing"

	"intact/scanner/entry"
)

// The notes of a change say what the change says, and are told apart from its
// encoding at every length.
func TestNotes(t *testing.T) {
	k := &clock{}
	file, dir := k.object(entry.File, "content"), k.object(entry.Dir, "")
	linked := *file
	linked.Nlink = 2
	linked.Have |= entry.Nlink
	for _, tc := range []struct {
		name  string
		c     *Change
		flags byte
	}{
		{"added", &Change{Kind: Added, Path: "/f", New: file}, hasObject | hasContent | isTouching},
		{"removed", &Change{Kind: Removed, Path: "/f", Old: &linked}, hasObject | hasContent | hasName | isTouching},
		{"removed directory", &Change{Kind: Removed, Path: "/d", Old: dir}, hasObject | isTouching},
		{"content", &Change{Kind: Changed, Path: "/f", Attrs: entry.Content, Old: file, New: file}, 0},
		{"other type", &Change{Kind: Changed, Path: "/f", Attrs: entry.Type, Old: file, New: dir}, isTouching},
		{"times of a directory", &Change{Kind: Changed, Path: "/d", Attrs: entry.Mtime, Old: dir, New: dir}, isFoldable},
		{"mode of a directory", &Change{Kind: Changed, Path: "/d", Attrs: entry.Mtime | entry.Mode, Old: dir, New: dir}, 0},
		{"nothing known", &Change{Kind: Unverified, Path: "/d", Count: 3}, 0},
	} {
		b := appendNoted(nil, tc.c)
		change, n := cutNotes(b)
		if !bytes.Equal(change, AppendChange(nil, tc.c)) || n != notesOf(tc.c) || n.flags != tc.flags {
			t.Errorf("%s: flags %b, want %b; %d of %d bytes", tc.name, n.flags, tc.flags, len(change), len(b))
		}
		if path, kind := kindOf(change); entry.Path(path) != tc.c.Path || kind != tc.c.Kind {
			t.Errorf("%s: %s %q", tc.name, kind, path)
		}
	}
	for n := range 2 + 3*sharedSize { // cut short, and all references demanded
		b := append(make([]byte, n), hasObject|hasContent|hasName)
		if change, _ := cutNotes(b); len(change) != max(n-3*sharedSize, 0) {
			t.Errorf("%d bytes: %d are the change", n, len(change))
		}
	}
	for _, b := range [][]byte{nil, {0}, {5, '/'}, {1, '/'}} {
		if path, kind := kindOf(b); path != nil || kind != 0 {
			t.Errorf("%v is %s %q", b, kind, path)
		}
	}
}
