package app

import (
	"fmt"
	"slices"
	"testing"

	"intact/scanner/entry"
)

func linkEntry(name string, number uint64, nlink uint32, size int64) *entry.Entry {
	return &entry.Entry{Kind: entry.File, Name: []byte(name), Inode: number, Nlink: nlink, Size: size}
}

// look lets the book see names at /d, "name inode nlink size" each, and settles.
func (b *linkBook) look(whole bool, parts []entry.Path, seen ...*entry.Entry) string {
	for _, e := range seen {
		b.Entry(0, "/d", e)
	}
	others := b.settle(entry.NewParts(parts), whole)
	slices.Sort(others)
	return fmt.Sprint(others)
}

func TestLinkBook(t *testing.T) {
	b := newLinkBook()
	for i, step := range []struct {
		whole bool
		parts []entry.Path
		seen  []*entry.Entry
		want  string
		wants bool
	}{
		{true, []entry.Path{"/d"}, []*entry.Entry{linkEntry("a", 1, 3, 5), linkEntry("b", 1, 3, 5), linkEntry("c", 2, 1, 5)}, "[]", false},
		{false, []entry.Path{"/d/a"}, []*entry.Entry{linkEntry("a", 1, 3, 6)}, "[/d/b]", false}, // written by one name
		{false, []entry.Path{"/d/b"}, []*entry.Entry{linkEntry("b", 1, 3, 6)}, "[]", false},     // and that ends
		{false, []entry.Path{"/d/x"}, []*entry.Entry{linkEntry("x", 2, 2, 5)}, "[]", true},      // another name of c, which nobody knows
		{false, []entry.Path{"/d/b"}, []*entry.Entry{linkEntry("b", 3, 1, 6)}, "[/d/a]", true},  // another file has the name
		{false, []entry.Path{"/d/a"}, nil, "[]", true},                                          // the last one goes
		{false, []entry.Path{"/d/y"}, []*entry.Entry{linkEntry("other", 9, 2, 5)}, "[]", true},  // not asked for
	} {
		if got := b.look(step.whole, step.parts, step.seen...); got != step.want || b.wanted() != step.wants {
			t.Errorf("step %d: %s, wanted %v; want %s, %v", i, got, b.wanted(), step.want, step.wants)
		}
	}
	for _, e := range []*entry.Entry{linkEntry("c", 2, 2, 5), linkEntry("x", 2, 2, 5), linkEntry("z", 7, 2, 5)} {
		b.Entry(0, "/d", e)
	}
	others := b.found()
	slices.Sort(others)
	if got := fmt.Sprint(others); got != "[/d/c /d/x]" || b.wanted() {
		t.Errorf("a search finds %s, wanted %v", got, b.wanted())
	}
	if got := fmt.Sprint(b.elsewhere()); got != "[/d/x]" {
		t.Errorf("names elsewhere: %s", got)
	}
	if len(b.by) != 1 || len(b.at) != 1 { // x; c comes with the look that follows
		t.Errorf("%d files, %d names are kept", len(b.by), len(b.at))
	}
}

// What an intruder makes is bounded.
func TestLinkBookBounded(t *testing.T) {
	b := newLinkBook()
	for i := range maxLinked + 100 {
		b.Entry(0, "/d", linkEntry(fmt.Sprint(i), uint64(i), 2, 1))
	}
	b.settle(entry.NewParts([]entry.Path{"/d"}), true)
	for i := range maxLinked + 100 {
		b.Entry(0, "/e", linkEntry(fmt.Sprint(i), uint64(10*maxLinked+i), 2, 1))
	}
	b.settle(entry.NewParts([]entry.Path{"/e"}), false)
	if len(b.at) > maxLinked || len(b.by) > maxLinked || len(b.seen) > 0 {
		t.Errorf("%d names, %d files, %d seen", len(b.at), len(b.by), len(b.seen))
	}
}
