package baseline

import (
	"errors"
	"strings"
	"testing"

	"intact/scanner"
	"intact/scanner/entry"
)

// TestTooManyGaps: what is remembered of gaps is bounded in bytes too.
func TestTooManyGaps(t *testing.T) {
	s := newGapSet(nil)
	long := entry.Path("/" + strings.Repeat("x", 1<<20))
	for i := range maxGapBytes >> 20 {
		if err := s.add(scanner.Gap{Path: long[:len(long)-i], Subtree: true}); err != nil {
			t.Fatal(i, err)
		}
	}
	more := long[:len(long)-1000]
	if err := s.add(scanner.Gap{Path: more, Attrs: entry.Content}); err != nil || s.lose(more) != "" {
		t.Errorf("a gap of a delivered entry: %v", err)
	}
	if err := s.add(scanner.Gap{Path: long, Reason: "again"}); err != nil {
		t.Errorf("a path that is known: %v", err)
	}
	for _, g := range []scanner.Gap{{Path: more}, {Path: more, Attrs: entry.Content, Subtree: true}} {
		if err := s.add(g); !errors.Is(err, errTooManyGaps) {
			t.Errorf("%d paths of 1 MiB: %v", len(s.paths), err)
		}
	}
}
