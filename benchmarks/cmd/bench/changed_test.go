package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/benchmarks/corpus"
)

// copyOf writes a small corpus and returns its files' contents by name.
func copyOf(t *testing.T, dir string, kind corpus.Kind, count int) map[string][]byte {
	t.Helper()
	s, err := corpus.Default(kind)
	if err != nil {
		t.Fatal(err)
	}
	s.Count = count
	if _, _, err := corpus.Ensure(t.Context(), dir, s); err != nil {
		t.Fatal(err)
	}
	return read(t, dir)
}

func read(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[name], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRewrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	before := copyOf(t, dir, corpus.Small, 300)
	empty := 0
	for _, b := range before {
		if len(b) == 0 {
			empty++
		}
	}
	if empty == 0 {
		t.Fatal("no empty files: the test shows less than it should")
	}
	filled := len(before) - empty - 1 // the marker
	for _, count := range []int{1, 100, filled} {
		if err := rewrite(t.Context(), dir, count); err != nil {
			t.Fatal(err)
		}
		now, differ := read(t, dir), 0
		for name, old := range before {
			if len(now[name]) != len(old) {
				t.Errorf("%s: %d bytes, had %d", name, len(now[name]), len(old))
			}
			if !bytes.Equal(now[name], old) {
				differ++
				if filepath.Base(name) == corpus.Marker {
					t.Error("the marker was changed")
				}
			}
		}
		if differ != count {
			t.Errorf("%d files differ, want %d", differ, count)
		}
		before = now
	}
	if err := rewrite(t.Context(), dir, filled+1); err == nil {
		t.Error("more files changed than have a content")
	}
}

// The steps run in order on a tree that changes in between; each has its own
// expected status.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name   string
		check  string
		accept string
		runs   []int // of the steps after two rounds
		failed string
	}{
		{"good", "cmp -s state/sum now && exit 0; exit 1", "echo 'accepted 5 changes of report x'", []int{2, 2, 2, 2}, ""},
		{"nothing noticed", "exit 0", "true", []int{2, 2, 0, 0}, "exit status 0, not 1"},
		{"trouble", "cmp -s state/sum now && exit 0; echo broken >&2; exit 3", "true", []int{2, 2, 0, 0}, "broken"},
		{"other findings", "cmp -s state/sum now && exit 0; exit 1", "echo 'accepted 1,004 changes of report x'", []int{2, 2, 2, 2}, "accepted 1004 changes, not 5"},
		{"no number", "cmp -s state/sum now && exit 0; exit 1", "echo done", []int{2, 2, 2, 2}, "does not say"},
		{"never clean", "exit 1", "true", []int{2, 0, 0, 0}, "exit status 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := filepath.Join(t.TempDir(), "tree")
			copyOf(t, tree, corpus.Tiny, 20)
			dir := filepath.Join(t.TempDir(), "run")
			sum := "find " + tree + " -type f -exec cat {} + >now; "
			k := tool{
				dir: dir, tree: tree, baseline: filepath.Join(dir, "state"),
				init: shell(sum + "mkdir state; mv now state/sum"), check: shell(sum + c.check), accept: shell(c.accept),
			}
			rows := make([]row, 4)
			for range 2 {
				if err := (meter{timeout: time.Minute}).steps(t.Context(), k, rows, 5, io.Discard); err != nil {
					t.Fatal(err)
				}
			}
			failures := ""
			for i := range rows {
				x := &rows[i].phases[initPhase]
				failures += x.failure
				if len(x.runs) != c.runs[i] {
					t.Errorf("step %d ran %d times, want %d", i, len(x.runs), c.runs[i])
				}
			}
			if !strings.Contains(failures, c.failed) || (failures == "") != (c.failed == "") {
				t.Errorf("failures %q, want %q", failures, c.failed)
			}
		})
	}
}

func TestOpenCopyIsNotTheCorpus(t *testing.T) {
	work := t.TempDir()
	a, err := openTarget(t.Context(), "tiny", work, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	b, err := openCopy(t.Context(), "tiny", work, 100_000)
	if err != nil || a.path == b.path || !strings.HasPrefix(b.path, work+"/") {
		t.Errorf("%q and %q, %v", a.path, b.path, err)
	}
}
