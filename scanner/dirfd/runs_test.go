package dirfd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// Names sorted on disk come out as those sorted in memory: each once, with its
// kind, whatever their bytes and however they fall into runs.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var list []string
	for range 5000 {
		n := fmt.Sprintf("%x", r.Uint32N(3000)) // some are listed twice
		if r.IntN(4) == 0 {
			n += string([]byte{0x80 + byte(r.IntN(128)), '\n'})
		}
		list = append(list, n)
	}
	want := slices.Compact(slices.Sorted(slices.Values(list)))
	for _, limit := range []int{1, 300, 5000, 1 << 20} {
		left := list
		var l Names
		runs, bad, err := l.sorted(func(b []byte) (int, error) {
			n := min(len(left), 100)
			n, left = copy(b, dirents(left[:n]...)), left[n:]
			return n, nil
		}, t.TempDir(), limit)
		if err != nil || bad > 0 {
			t.Fatal(bad, err)
		}
		if (runs != nil) != (limit < 1<<20) {
			t.Fatalf("limit %d: runs %v", limit, runs != nil)
		}
		var got []string
		for runs != nil && !runs.Done() {
			l.Reset()
			if err := runs.Next(&l, 7); err != nil || l.Len() == 0 || l.Len() > 7 {
				t.Fatal(l.Len(), err)
			}
			for i := range l.Len() {
				got = append(got, string(l.Name(i).Bytes()))
				if l.Kind(i) != entry.File {
					t.Fatalf("kind %v", l.Kind(i))
				}
			}
		}
		if runs == nil {
			for i := range l.Len() {
				got = append(got, string(l.Name(i).Bytes()))
			}
		} else {
			runs.Close()
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %d names, want %d", limit, len(got), len(want))
		}
	}
}

// A directory that never ends is an error on disk too.
func TestRunsEnd(t *testing.T) {
	var l Names
	l.limit, l.spill = 100, func() error { l.Reset(); return nil }
	_, err := l.fill(func(b []byte) (int, error) { return copy(b, dirents("a", "b")), nil }, 1<<20, 1000)
	if !errors.Is(err, unix.EFBIG) || l.Size() > 200 {
		t.Errorf("%d bytes, %v", l.Size(), err)
	}
}
