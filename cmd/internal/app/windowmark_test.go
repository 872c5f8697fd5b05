package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

func TestParseUntil(t *testing.T) {
	loc := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 26, 22, 0, 0, 7, loc)
	for in, want := range map[string]time.Time{
		"4h": now.Add(4 * time.Hour), "1d12h": now.Add(36 * time.Hour), "0s": now,
		"2026-11-27":           time.Date(2026, 11, 27, 0, 0, 0, 0, loc),
		"2026-11-27 03:04":     time.Date(2026, 11, 27, 3, 4, 0, 0, loc),
		"2026-11-27T03:04:05Z": time.Date(2026, 11, 27, 3, 4, 5, 0, time.UTC),
		"":                     {}, "4": {}, "h": {}, "-4h": {}, "tomorrow": {}, "999999999w": {}, "2026-11-27 3:04": {},
	} {
		got, err := parseUntil(in, now, loc)
		if (err == nil) == want.IsZero() || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
}

// Which time counts, at both ends of a window.
func TestWindowMark(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "there"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	start := time.Now().Add(-time.Hour)
	end := time.Now().Add(time.Hour)
	at := func(t time.Time) *entry.Entry { return &entry.Entry{Have: entry.Ctime, Ctime: timeOf(t)} }
	for _, tt := range []struct {
		name string
		c    *diff.Change
		seen time.Time
		want bool
	}{
		{"the first instant", &diff.Change{Kind: diff.Changed, Path: "/a", New: at(start)}, end, true},
		{"before it", &diff.Change{Kind: diff.Changed, Path: "/a", New: at(start.Add(-1))}, end, false},
		{"the last one", &diff.Change{Kind: diff.Added, Path: "/a", New: at(end.Add(-1))}, end, true},
		{"the end", &diff.Change{Kind: diff.Renamed, Path: "/a", New: at(end)}, end, false},
		{"no change time", &diff.Change{Kind: diff.Changed, Path: "/a", New: &entry.Entry{}}, start, false},
		{"not seen", &diff.Change{Kind: diff.Unverified, Path: "/a", New: at(start)}, start, false},
		{"nothing known", &diff.Change{Kind: diff.Unverified, Path: "/a"}, start, false},
		{"gone, the folder is there", &diff.Change{Kind: diff.Removed, Path: "/there/a"}, end.Add(time.Hour), true},
		{"gone with its folder", &diff.Change{Kind: diff.Removed, Path: "/there/x/y/a"}, end.Add(time.Hour), true},
		{"gone, a file in the place of its folder", &diff.Change{Kind: diff.Removed, Path: "/link/y/a"}, end.Add(time.Hour), true},
		{"gone and missed before", &diff.Change{Kind: diff.Removed, Path: "/there/a"}, start.Add(-1), false},
		{"gone and missed in it", &diff.Change{Kind: diff.Removed, Path: "/there/a"}, start, true},
		{"no file", nil, start, false},
	} {
		m := windowMarks{root: root, list: []windowMark{{Window: baseline.Window{ID: "x"}, span: window{since: timeOf(start), until: timeOf(end)}}}}
		f := rules.Finding{Diff: tt.c}
		if m.mark(&f, tt.seen); (f.Window == "x") != tt.want || (m.list[0].marked == 1) != tt.want {
			t.Errorf("%s: got %q, %d marked", tt.name, f.Window, m.list[0].marked)
		}
	}
}
