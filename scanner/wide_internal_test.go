package scanner

import (
	"fmt"
	"slices"
	"testing"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Chunks that come in any order are joined in theirs, and no more than `ahead`
// of them are ever waited for.
func TestJoinInOrder(t *testing.T) {
	names := &dirfd.Names{}
	for i := range 20 * chunkSize {
		names.Add(fmt.Sprintf("n%05d", i))
	}
	d := &wide{names: names, ahead: 4, done: map[int]*job{}, part: &job{}}
	work := func(from, to int) *job {
		j := &job{}
		for i := from; i < to; i++ {
			if i%3 > 0 { // the others are not kept
				j.block.Entries = append(j.block.Entries, entry.Entry{Name: names.Name(i).Bytes()})
			}
		}
		return j
	}
	var open []chunk
	var ready []*job
	for waiting := 1; waiting > 0; {
		for waiting > 0 {
			waiting--
			c, next, ok, _ := d.take()
			if ok {
				open = append(open, c)
			}
			if next != nil {
				waiting++
			}
		}
		if len(open) > 4 {
			t.Fatalf("%d chunks are open", len(open))
		}
		for len(open) > 0 { // the last first
			c := open[len(open)-1]
			open = open[:len(open)-1]
			done, next := d.join(c.at, work(c.from, c.to))
			ready = append(ready, done...)
			if next != nil {
				waiting++
			}
		}
	}
	var got []string
	for i, p := range ready {
		if p.block.Part != uint32(i) || i < len(ready)-1 && len(p.block.Entries) != entry.PartSize {
			t.Errorf("part %d at %d has %d entries", p.block.Part, i, len(p.block.Entries))
		}
		if i > 0 && string(ready[i-1].block.Next) != string(p.block.Entries[0].Name) {
			t.Errorf("part %d: the one before says %q", i, ready[i-1].block.Next)
		}
		for k := range p.block.Entries {
			got = append(got, string(p.block.Entries[k].Name))
		}
	}
	if want := 20 * chunkSize * 2 / 3; len(got) != want && len(got) != want+1 || !slices.IsSorted(got) || ready[len(ready)-1].block.Next != nil {
		t.Errorf("%d entries, want %d, sorted %v", len(got), want, slices.IsSorted(got))
	}
}
