package policy

import (
	"os"
	"strings"
	"testing"

	"intact/scanner/entry"
)

// TestPersistence holds docs/persistence.md against the built-in policy.
func TestPersistence(t *testing.T) {
	text, err := os.ReadFile("../../docs/persistence.md")
	if err != nil {
		t.Fatal(err)
	}
	p := Default().ExpandHomes([]entry.Path{"/root", "/home/alice", "/var/lib/postgresql"})
	e, err := Union(p, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| T") || strings.HasPrefix(line, "| Technique") {
			continue
		}
		rows++
		f := strings.Split(strings.Trim(line, "|\n"), "|")
		if len(f) != 5 {
			t.Errorf("%d columns: %s", len(f), line)
			continue
		}
		for i := range f {
			f[i] = strings.Trim(strings.TrimSpace(f[i]), "`")
		}
		path, how, why := f[2], f[3], f[4]
		if path == "–" {
			if how != "out of scope" {
				t.Errorf("no path, yet %s: %s", how, line)
			}
			continue
		}
		d := e.Decide(entry.Path(path))
		if got := compared(e, d); got != how {
			t.Errorf("%s: got %s, want %s", path, got, how)
		} else if d.Select && d.Rule.Pattern != why {
			t.Errorf("%s: decided by %s, want %s", path, d.Rule.Pattern, why)
		} else if !d.Select && why == "" {
			t.Errorf("%s: out of scope without a reason", path)
		}
	}
	if rows < 100 {
		t.Errorf("%d rows: the table is not read", rows)
	}
}

// compared returns the word of the table for a decision.
func compared(e *Effective, d Decision) string {
	if !d.Select {
		return "out of scope"
	}
	set := e.Sets()[d.Set]
	switch {
	case set.Sweep:
		return "sweep"
	case set.For(entry.File)&entry.Content != 0:
		return "content"
	}
	return "metadata"
}
