package baseline

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A spool gives back what was added, in key order, whether its keys stay in
// memory or are sorted in runs on disk; keys may be longer than its buffers.
func TestSpoolSorts(t *testing.T) {
	for _, memory := range []int{1 << 10, 0} {
		s, err := newSpool(t.TempDir(), 3, memory)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		want := map[string]string{}
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 6000 {
			key := fmt.Sprintf("%0*x", 1+r.IntN(40), r.Uint64())
			if i%1000 == 0 {
				key += string(bytes.Repeat([]byte{'k'}, spoolBuffer+i))
			}
			if want[key] != "" {
				continue
			}
			want[key] = fmt.Sprintf("value %d of %.20s", i, key)
			if err := s.add(i%3, []byte(key), []byte(want[key])); err != nil {
				t.Fatal(err)
			}
		}
		refs, err := s.sorted()
		if err != nil {
			t.Fatal(err)
		}
		var last, buf []byte
		n := 0
		for r, err := range refs {
			if err != nil {
				t.Fatal(err)
			}
			if buf, err = s.read(r, buf); err != nil || string(buf) != want[string(r.key)] {
				t.Fatalf("key %.20q: value %q, want %q: %v", r.key, buf, want[string(r.key)], err)
			}
			if n++; bytes.Compare(last, r.key) >= 0 {
				t.Fatalf("key %.20q before %.20q", last, r.key)
			}
			last = append(last[:0], r.key...)
		}
		if n != len(want) {
			t.Errorf("memory %d: %d keys, want %d", memory, n, len(want))
		}
	}
}
