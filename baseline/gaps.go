package baseline

import (
	"bytes"
	"errors"
	"slices"
	"sync"

	"intact/baseline/diff"
	"intact/scanner"
	"intact/scanner/entry"
)

// maxGaps and maxGapBytes, of paths, bound the gaps that a comparison
// remembers. Beyond them, gaps about entries that were delivered lose their
// reason; others end the scan, because what they hide could no longer be told
// from what was removed.
const (
	maxGaps     = 1 << 20
	maxGapBytes = 256 << 20
)

var errTooManyGaps = errors.New("too many objects could not be read")

// gapState is what is known of one path's gaps.
type gapState struct {
	reason  string
	whole   int64 // gaps without a delivered entry
	subtree bool
	lost    bool // a change says that coverage was lost

	// Filled by Finish.
	count  int64 // entries of the baseline that it hides, below the path
	old    *entry.Entry
	oldSet entry.Set
}

// gapSet remembers the gaps of one scan. add and find are concurrent, the rest
// is for Finish.
type gapSet struct {
	mu    sync.Mutex
	paths map[entry.Path]*gapState
	bytes int               // of paths
	known map[string][]byte // rows of the baseline by key
}

func newGapSet(rows []diff.Row) *gapSet {
	s := &gapSet{paths: map[entry.Path]*gapState{}, known: map[string][]byte{}}
	for _, r := range rows {
		s.known[string(r.Key)] = r.Value
	}
	return s
}

func (s *gapSet) add(g scanner.Gap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.paths[g.Path]
	if st == nil {
		if len(s.paths) >= maxGaps || s.bytes+len(g.Path) > maxGapBytes {
			if g.Attrs == 0 || g.Subtree {
				return errTooManyGaps
			}
			return nil
		}
		st = &gapState{reason: string(g.Reason)}
		s.paths[g.Path] = st
		s.bytes += len(g.Path)
	}
	st.reason = min(st.reason, string(g.Reason))
	st.subtree = st.subtree || g.Subtree
	if g.Attrs == 0 {
		st.whole++
	}
	return nil
}

// lose notes that attributes known in the baseline were lost at p, and returns
// the reason, "" if none came.
func (s *gapSet) lose(p entry.Path) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.paths[p]; st != nil {
		st.lost = true
		return st.reason
	}
	return ""
}

// isKnown reports whether p or something above it was a gap in the baseline.
func (s *gapSet) isKnown(p entry.Path) bool {
	if len(s.known) == 0 {
		return false
	}
	for {
		if _, ok := s.known[string(gapKey(p))]; ok || p == "/" {
			return ok
		}
		p = p.Dir()
	}
}

// hides returns the gap that hides what lies directly in dir, nil if none. A
// gap that is not about a subtree does so only where its path was not listed.
func (s *gapSet) hides(dir entry.Path, listed func(entry.Path) bool) *gapState {
	if len(s.paths) == 0 {
		return nil
	}
	for p := dir; ; p = p.Dir() {
		if st := s.paths[p]; st != nil && (st.subtree || st.whole > 0 && !listed(p)) {
			return st
		}
		if p == "/" {
			return nil
		}
	}
}

// rows returns the differences between the known gaps and those of this scan.
// A gap that cost coverage is not among them: it cannot be accepted.
func (s *gapSet) rows() []diff.RowChange {
	var out []diff.RowChange
	now := make(map[string]struct{}, len(s.paths))
	for p, st := range s.paths {
		k := gapKey(p)
		now[string(k)] = struct{}{}
		if _, ok := s.known[string(k)]; !ok && !st.lost {
			out = append(out, diff.RowChange{Kind: KindGap, Key: k, New: []byte(st.reason)})
		}
	}
	for k, v := range s.known {
		if _, ok := now[k]; !ok {
			out = append(out, diff.RowChange{Kind: KindGap, Key: []byte(k), Old: v})
		}
	}
	slices.SortFunc(out, func(a, b diff.RowChange) int { return bytes.Compare(a.Key, b.Key) })
	return out
}
