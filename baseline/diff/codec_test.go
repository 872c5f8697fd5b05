package diff

import (
	"errors"
	"slices"
	"testing"

	"intact/scanner/entry"
)

// What Tied and DecodeHead read is what the whole change has.
func TestTied(t *testing.T) {
	file := &entry.Entry{Kind: entry.File, Name: []byte("f"), Have: entry.Type}
	for _, c := range []*Change{
		{Kind: Added, Path: "/a", New: file},
		{Kind: Renamed, Path: "/b", From: "/a", Attrs: entry.Mode, Old: file, New: file, Links: []entry.Path{"/x"}},
		{Kind: Changed, Path: "/c", LinkOf: "/b", Reason: "why", Count: 300, Old: file, New: file},
		{Kind: Renamed, Path: "/d", From: "/c", LinkOf: "/b", Folded: true, Old: file, New: file},
	} {
		b := AppendChange(nil, c)
		path, others, err := Tied(b)
		var want []entry.Path
		for _, p := range []entry.Path{c.From, c.LinkOf} {
			if p != "" {
				want = append(want, p)
			}
		}
		if err != nil || !slices.Equal(others, want) || len(want) > 0 && path != c.Path {
			t.Errorf("%s: %q %q %v", c.Path, path, others, err)
		}
		h, err := DecodeHead(b)
		if err != nil || h.Path != c.Path || h.From != c.From || h.Folded != c.Folded || h.New != nil {
			t.Errorf("%s: %+v %v", c.Path, h, err)
		}
		for n := range 8 {
			if _, _, err := Tied(b[:n]); n < 5 && !errors.Is(err, ErrEncoding) {
				t.Errorf("%s cut at %d: %v", c.Path, n, err)
			}
		}
	}
}
