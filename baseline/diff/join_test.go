package diff

import (
	"errors"
	"testing"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// file is the entry that the Join table starts from.
func file(set uint16, edit func(e *entry.Entry)) []entry.Entry {
	k := clock{now: 10}
	e := k.object(entry.File, "abc")
	e.Name, e.Set = []byte("f"), set
	if edit != nil {
		edit(e)
	}
	return []entry.Entry{*e}
}

func TestJoin(t *testing.T) {
	other := func(e *entry.Entry) { e.Inode, e.Mtime.Sec, e.Ctime.Sec = 99, 1, 1 }
	lost := func(a entry.Attr) func(*entry.Entry) { return func(e *entry.Entry) { e.Have &^= a } }
	kind := func(k entry.Kind) func(*entry.Entry) {
		return func(e *entry.Entry) { e.Kind, e.Have = k, e.Have&entry.Applicable(k); other(e) }
	}
	for _, tc := range []struct {
		name     string
		set      uint16
		old, now func(*entry.Entry)
		want     string
	}{
		{"equal", 0, nil, nil, ""},
		{"content", 0, nil, func(e *entry.Entry) { e.Digest = digest.Digest{1} }, "changed /d/f content\n"},
		{"mode-and-owner", 0, nil, func(e *entry.Entry) { e.Mode, e.UID = 0o755, 5 }, "changed /d/f mode,uid\n"},
		{"not-compared", 2, nil, func(e *entry.Entry) { e.Digest = digest.Digest{1} }, ""},
		{"content-of-a-log", 3, nil, func(e *entry.Entry) { e.Digest, e.Size = digest.Digest{1}, 9 }, "changed /d/f content\n"},
		{"size-of-a-log", 3, nil, func(e *entry.Entry) { e.Size, e.Mtime.Sec = 9, 9 }, ""},
		{"touch", 1, nil, func(e *entry.Entry) { e.Mtime.Nsec = 1 }, "changed /d/f mtime\n"},
		{"capability-appears", 0, nil, func(e *entry.Entry) { e.Caps = []byte{} }, "changed /d/f caps\n"},
		{"default-acl-goes", 0, func(e *entry.Entry) { e.DefACL = []byte{2} }, nil, "changed /d/f acl\n"},
		{"replaced", 1, nil, other, "replaced /d/f mtime,ctime\n"},
		{"replaced-known-by-birth", 1, nil, func(e *entry.Entry) { e.Btime.Nsec, e.Ctime.Nsec = 5, 5 }, "replaced /d/f ctime\n"},
		{"no-birth-time", 1, func(e *entry.Entry) { e.Btime = entry.Time{} }, func(e *entry.Entry) { e.Ctime.Nsec = 5 }, "changed /d/f ctime\n"},
		{"replaced-and-nothing-compared-differs", 3, nil, other, ""},
		{"replaced-content-not-compared", 2, nil, other, "changed /d/f mtime,ctime\n"},
		{"replaced-content-unknown", 1, nil, func(e *entry.Entry) { other(e); e.Have &^= entry.Content }, "changed /d/f mtime,ctime lost:content\n"},
		{"replaced-and-chmod", 1, nil, func(e *entry.Entry) { other(e); e.Mode = 0 }, "changed /d/f mode,mtime,ctime\n"},
		{"links-are-not-a-trace-of-a-file", 1, nil, func(e *entry.Entry) { other(e); e.Nlink = 3 }, "changed /d/f mtime,ctime,nlink\n"},
		{"lost", 1, nil, lost(entry.Content), "unverified /d/f lost:content\n"},
		{"lost-what-is-not-compared", 2, nil, lost(entry.Content), ""},
		{"gained", 1, lost(entry.Content), nil, "regained /d/f gained:content\n"},
		{"unknown-both-times", 1, lost(entry.Content), lost(entry.Content), ""},
		{"lost-and-gained", 1, lost(entry.Caps), lost(entry.Content), "unverified /d/f lost:content gained:caps\n"},
		{"type", 0, nil, kind(entry.Symlink), "changed /d/f type\n"},
		{"type-to-dir", 1, nil, kind(entry.Dir), "changed /d/f type\n"},
		{"device-number", 1, kind(entry.CharDevice), func(e *entry.Entry) { kind(entry.CharDevice)(e); e.Rdev = 3 }, "changed /d/f type\n"},
		{"fifo-made-anew", 1, kind(entry.FIFO), func(e *entry.Entry) { kind(entry.FIFO)(e); e.Inode, e.Ctime.Sec = 7, 7 }, "replaced /d/f ctime\n"},
	} {
		var got []*Change
		err := Join("/d", file(tc.set, tc.old), file(tc.set, tc.now), testSets, testSets, func(c *Change) error {
			got = append(got, c)
			return nil
		})
		if err != nil || lines(got) != tc.want {
			t.Errorf("%s: got %q, %v, want %q", tc.name, lines(got), err, tc.want)
		}
	}
}

func TestJoinOrderAndSets(t *testing.T) {
	entries := func(names ...string) (b []entry.Entry) {
		for _, n := range names {
			b = append(b, entry.Entry{Name: []byte(n), Kind: entry.File, Have: entry.Type, Set: 1})
		}
		return b
	}
	var got []*Change
	keep := func(c *Change) error { got = append(got, c); return nil }
	old, now := entries("a", "b", "d"), entries("b", "c", "d", "e")
	if err := Join("/", old, now, testSets, testSets, keep); err != nil {
		t.Fatal(err)
	}
	if want := "removed /a\nadded /c\nadded /e\n"; lines(got) != want {
		t.Errorf("got %q, want %q", lines(got), want)
	}
	if got[1].New != &now[1] || got[1].NewSet != testSets[1] {
		t.Errorf("not the entry of the list with its set: %q", got[1].New.Name)
	}
	if err := Join("/", old, nil, testSets[:1], testSets, keep); err == nil {
		t.Error("an entry without a set is accepted")
	}
	stop := errors.New("stop")
	if err := Join("/", old, nil, testSets, testSets, func(*Change) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of emit is lost: %v", err)
	}
}
