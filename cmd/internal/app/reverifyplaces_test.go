package app

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// What was not seen is not verified, and only what will not pass by itself is a
// reason for a look; what is known, or lies where nothing is read, is neither.
func TestReverifyGaps(t *testing.T) {
	now := time.Now()
	e, _ := againSite(t, 1, &now)
	gen := reopened(t, e).gen
	r := &reverifier{seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, out: make(chan places, 1)}
	for _, tt := range []struct {
		gap         scanner.Gap
		clean, look bool
	}{
		{scanner.Gap{Path: "/a", Reason: scanner.ReasonPermission}, false, true},
		{scanner.Gap{Path: "/a", Reason: scanner.ReasonBusy}, false, false},
		{scanner.Gap{Path: "/known/in", Reason: scanner.ReasonPermission}, true, false},
		{scanner.Gap{Path: "/net/in", Reason: scanner.ReasonUnsupported}, true, false},
	} {
		c := newTestCollector(context.Background(), r)
		s := &pieceSink{c: c, known: known{"/known": true}, gen: gen, Comparer: gen.Compare(c, 1)}
		if err := s.Gap(0, tt.gap); err != nil {
			t.Fatal(err)
		}
		if c.clean != tt.clean || c.size() > 0 != tt.look {
			t.Errorf("%+v: clean %v, places %v", tt.gap, c.clean, c.places)
		}
	}
}

func newTestCollector(ctx context.Context, r *reverifier) *collector {
	return &collector{ctx: ctx, r: r, clean: true, apart: func(p entry.Path) bool { return p.Under("/net") }}
}

// Differences go to the looks that see them whole, in lots of a bounded size, each
// once.
func TestReverifyCollects(t *testing.T) {
	r := &reverifier{seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, out: make(chan places, 1)}
	c := newTestCollector(context.Background(), r)
	file := &entry.Entry{Name: []byte("f"), Kind: entry.File, Have: entry.Type}
	dir := &entry.Entry{Name: []byte("d"), Kind: entry.Dir, Have: entry.Type}
	log := entry.Set{Mask: entry.Type, Log: true}
	for _, ch := range []*diff.Change{
		{Kind: diff.Changed, Path: "/a/f", Attrs: entry.Mode, Old: file, New: file},
		{Kind: diff.Changed, Path: "/a/f", Attrs: entry.Mode, Old: file, New: file}, // again
		{Kind: diff.Added, Path: "/a/d", New: dir},
		{Kind: diff.Removed, Path: "/a/gone", Old: file},
		{Kind: diff.Changed, Path: "/log/f", Attrs: entry.Mode, Old: file, New: file, OldSet: log, NewSet: log},
		{Kind: diff.Removed, Path: "/log/g", Old: file, OldSet: log},
		{Kind: diff.Added, Path: "/net/x", New: file},
	} {
		if err := c.Add(0, ch); err != nil {
			t.Fatal(err)
		}
	}
	if !c.clean {
		t.Error("what is told counts as not seen")
	}
	if err := c.Add(0, &diff.Change{Kind: diff.Unverified, Path: "/hidden", Reason: "x", Count: 3}); err != nil || c.clean {
		t.Errorf("what was hidden counts as verified: %v", err)
	}
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(<-r.out), "{[/a/f] [/a/d /a/gone /hidden /log] []}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	n := 0
	stopped, stop := context.WithCancelCause(context.Background())
	stop(errStopped)
	c = newTestCollector(stopped, r)
	for i := range 3 * morePlaces {
		err := c.Add(0, &diff.Change{Kind: diff.Added, Path: entry.Path(fmt.Sprint("/many/", i)), New: file})
		if n = max(n, c.size()); err != nil {
			if !errors.Is(err, errStopped) {
				t.Fatal(err)
			}
			break
		}
	}
	if n > morePlaces {
		t.Errorf("%d places wait", n)
	}
}

var errStopped = errors.New("stopped")

func TestApart(t *testing.T) {
	root, err := dirfd.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if apart(root.Mounts())("/a") {
		t.Error("an ordinary directory is left to checks")
	}
}
