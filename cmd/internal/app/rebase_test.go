package app

import (
	"testing"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// TestStaleDrops: what goes together stays together.
func TestStaleDrops(t *testing.T) {
	s := &stale{newPathSet(), newPathSet(), newPathSet()}
	s.paths.add("/a")
	s.inodes.add("/leader")
	s.moves.add("/new")
	for _, c := range []struct {
		change diff.Change
		want   bool
	}{
		{diff.Change{Kind: diff.Changed, Path: "/a"}, true},
		{diff.Change{Kind: diff.Changed, Path: "/b"}, false},
		{diff.Change{Kind: diff.Changed, Path: "/leader"}, true},
		{diff.Change{Kind: diff.Changed, Path: "/other", LinkOf: "/leader"}, true},
		{diff.Change{Kind: diff.Changed, Path: "/other", LinkOf: "/a"}, false}, // accepted before under that name
		{diff.Change{Kind: diff.Renamed, Path: "/new/deep/x", From: "/old/deep/x"}, true},
		{diff.Change{Kind: diff.Renamed, Path: "/newer/x", From: "/old/x"}, false},
		{diff.Change{Kind: diff.Added, Path: "/new/y"}, false},
	} {
		if got := s.drops(&c.change); got != c.want {
			t.Errorf("%s %s: %v", c.change.Kind, c.change.Path, got)
		}
	}
	if (*stale)(nil).drops(&diff.Change{Path: entry.Path("/a")}) {
		t.Error("without --rebase something is dropped")
	}
}
