package scanner

import (
	"testing"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// An inode is forgotten with the last of its names, so that the table holds no
// more than what may still come.
func TestLinksAreForgotten(t *testing.T) {
	var table linkTable
	for i := range uint64(3 * maxLinks) {
		st := dirfd.Stat{Kind: entry.File, Inode: i, Nlink: 3, Size: 5}
		first := table.claim(&st)
		if first == nil || !first.mine {
			t.Fatalf("inode %d: %d links are remembered", i, len(table.by))
		}
		e := entry.Entry{Digest: digest.Sum([]byte{byte(i)}), Hashed: 5}
		first.settle(&e, &st, true)
		for range 2 {
			var got entry.Entry
			if c := table.claim(&st); c == nil || !c.known(&got, &st) || got.Digest != e.Digest {
				t.Fatalf("inode %d: another name is not known", i)
			}
		}
	}
	if len(table.by) > 0 {
		t.Errorf("%d links are left", len(table.by))
	}
}

// Names that never come fill the table; what comes then is hashed by itself,
// and what is in it is still known.
func TestLinksAreCapped(t *testing.T) {
	var table linkTable
	stat := func(i uint64) *dirfd.Stat {
		return &dirfd.Stat{Kind: entry.File, Inode: i, Nlink: 2, Size: 5}
	}
	for i := range uint64(maxLinks) {
		table.claim(stat(i)).settle(&entry.Entry{Hashed: 5}, stat(i), true)
	}
	if c := table.claim(stat(maxLinks)); c != nil || len(table.by) != maxLinks {
		t.Errorf("%d links are remembered", len(table.by))
	}
	var e entry.Entry
	if c := table.claim(stat(7)); c.mine || !c.known(&e, stat(7)) {
		t.Error("a link in a full table is not known")
	}
	if c := table.claim(stat(maxLinks)); c == nil || !c.mine {
		t.Error("there is no room after one was forgotten")
	}
	// Not the same content: other times, another size, a failed read.
	changed := *stat(8)
	changed.Ctime.Nsec++
	if table.claim(&changed).known(&e, &changed) {
		t.Error("a changed inode is taken as known")
	}
}
