package app

import (
	"bytes"
	"slices"
	"sync"

	"intact/scanner"
	"intact/scanner/entry"
)

// gapList collects the gaps of a scan.
type gapList struct {
	mu    sync.Mutex
	list  []scanner.Gap // guarded by mu
	bytes int           // guarded by mu: of paths and details
	more  int64         // guarded by mu: gaps beyond maxGaps or maxGapBytes
}

func (l *gapList) add(g scanner.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += len(g.Path) + len(g.Detail)
	if len(l.list) == maxGaps || l.bytes > maxGapBytes {
		l.more++
		return
	}
	l.list = append(l.list, g)
}

// sorted returns the gaps in tree order. Several of one path become one.
func (l *gapList) sorted() []scanner.Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.list, func(a, b scanner.Gap) int { return bytes.Compare(a.Path.Key(), b.Path.Key()) })
	var out []scanner.Gap
	for _, g := range l.list {
		if n := len(out); n > 0 && out[n-1].Path == g.Path {
			out[n-1] = merge(out[n-1], g)
			continue
		}
		out = append(out, g)
	}
	return out
}

func merge(a, b scanner.Gap) scanner.Gap {
	if a.Attrs == 0 || b.Attrs == 0 {
		a.Attrs = 0
	} else {
		a.Attrs |= b.Attrs
	}
	a.Subtree = a.Subtree || b.Subtree
	if a.Detail == "" {
		a.Detail = b.Detail
	}
	return a
}

// known holds the gaps that were there when the baseline was accepted.
type known map[entry.Path]bool

// has reports whether p was a gap, or lies below one: nothing there was ever
// verified.
func (k known) has(p entry.Path) bool {
	for ; !k[p]; p = p.Dir() {
		if p == "/" {
			return false
		}
	}
	return true
}
