package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func shell(script string) []string { return []string{"sh", "-c", script} }

func TestRound(t *testing.T) {
	for _, c := range []struct {
		name          string
		init, check   string
		inits, check2 int // runs after two rounds
		failure       string
		timeout       bool
	}{
		{"good", "echo base >base", "test -s base", 2, 2, "", false},
		{"init fails", "echo broken >&2; exit 3", "true", 0, 0, "broken", false},
		{"check fails", "echo base >base", "echo changed; exit 1", 2, 0, "changed", false},
		{"no baseline", "true", "true", 1, 0, "measure baseline", false},
		{"check hangs", "echo base >base", "exec sleep 600", 2, 1, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := tool{id: "x", dir: filepath.Join(t.TempDir(), "x"), init: shell(c.init), check: shell(c.check)}
			k.baseline = filepath.Join(k.dir, "base")
			m := meter{timeout: time.Minute}
			if c.timeout {
				m.timeout = 200 * time.Millisecond
			}
			var r row
			for range 2 {
				if err := m.round(t.Context(), k, &r, phaseCount, io.Discard); err != nil {
					t.Fatal(err)
				}
			}
			i, k2 := &r.phases[initPhase], &r.phases[checkPhase]
			if len(i.runs) != c.inits || len(k2.runs) != c.check2 {
				t.Errorf("got %d inits and %d checks, want %d and %d", len(i.runs), len(k2.runs), c.inits, c.check2)
			}
			if f := i.failure + k2.failure; !strings.Contains(f, c.failure) || (f == "") != (c.failure == "") {
				t.Errorf("failure %q, want %q", f, c.failure)
			}
			if k2.timedOut() != c.timeout {
				t.Errorf("timed out: %v", k2.timedOut())
			}
			if c.failure == "" && i.runs[0].baseline != int64(len("base\n")) {
				t.Errorf("baseline of %d bytes", i.runs[0].baseline)
			}
		})
	}
}

func TestRoundStopsOnCancel(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	k := tool{id: "x", dir: filepath.Join(t.TempDir(), "x"), init: shell("true")}
	var r row
	if err := (meter{timeout: time.Minute}).round(ctx, k, &r, phaseCount, io.Discard); err == nil {
		t.Error("no error")
	}
	if len(r.phases[initPhase].runs) != 0 || r.phases[initPhase].failure != "" {
		t.Errorf("an interrupted run was counted: %+v", r.phases[initPhase])
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		ok   bool
	}{
		{"defaults", nil, true},
		{"some", []string{"-trees", "small,/opt", "-peers", "aide,b3sum", "-scale", "10"}, true},
		{"no peers", []string{"-peers", "none"}, true},
		{"unknown peer", []string{"-peers", "samhain"}, false},
		{"argument", []string{"small"}, false},
		{"no runs", []string{"-runs", "0"}, false},
		{"slow peers never", []string{"-slow-runs", "0"}, true},
		{"fewer than never", []string{"-slow-runs", "-1"}, false},
		{"nothing at all", []string{"-trees", "none", "-changed", "none", "-cold-trees", ""}, true},
		{"changed files", []string{"-changed", "tiny,huge"}, true},
		{"changed files of the machine", []string{"-changed", "usr"}, false},
		{"work with space", []string{"-work", "/tmp/a b"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := parse(c.args, io.Discard)
			if (err == nil) != c.ok {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(o.command, "/tmp") {
				t.Errorf("a local path in the report: %s", o.command)
			}
		})
	}
}

func TestOpenTarget(t *testing.T) {
	work := t.TempDir()
	for _, c := range []struct {
		name, want string // empty: refused
	}{
		{"tiny", filepath.Join(work, "trees", "tiny-100000")},
		{"usr", "/usr"},
		{"/opt/", "/opt"},
		{"giant", ""},
		{"relative/path", ""},
		{"/with space", ""},
		{filepath.Dir(work), ""}, // would hold the work folder
		{"/", ""},
	} {
		got, err := openTarget(t.Context(), c.name, work, 100_000)
		if (err == nil) != (c.want != "") || err == nil && got.path != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.name, got.path, err, c.want)
		}
	}
}

func TestFileSystemIn(t *testing.T) {
	const info = "22 1 254:0 / / rw - ext4 /dev/vda rw\n" +
		"30 22 0:25 / /tmp rw shared:1 - tmpfs tmpfs rw\n" +
		"31 30 0:26 / /tmp/x rw - xfs /dev/b rw\n" +
		"short line\n"
	for path, want := range map[string]string{"/": "ext4", "/usr": "ext4", "/tmp": "tmpfs", "/tmpfoo": "ext4", "/tmp/x/y": "xfs", "/tmp/xy": "tmpfs"} {
		if got := fileSystemIn(info, path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestSaveKeepsEarlierResults(t *testing.T) {
	dir, r := t.TempDir(), example()
	for _, want := range []string{"2026-01-02-abc1234.md", "2026-01-02-abc1234-2.md"} {
		got, err := r.save(dir)
		if err != nil || filepath.Base(got) != want {
			t.Errorf("got %q, %v; want %s", got, err, want)
		}
	}
}

// The pipelines are scripts of ours: they must list every file once, whatever
// its name, and notice a change.
func TestSums(t *testing.T) {
	program, ok := findTool("sha256sum")
	if !ok {
		t.Skip("sha256sum is not installed")
	}
	tree := t.TempDir()
	names := []string{"plain", "two words", "line\nfeed", "-dash", "quote'\"", "\xff"}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(tree, n), []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k := sums("sha256sum", filepath.Join(t.TempDir(), "run"), tree, 2, program)
	m := meter{timeout: time.Minute}
	var r row
	if err := m.round(t.Context(), k, &r, phaseCount, io.Discard); err != nil {
		t.Fatal(err)
	}
	if f := r.phases[initPhase].failure + r.phases[checkPhase].failure; f != "" {
		t.Fatal(f)
	}
	lists, err := filepath.Glob(filepath.Join(k.baseline, "*"))
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(b), "\n")
	}
	if lines != len(names) {
		t.Errorf("%d lines for %d files", lines, len(names))
	}
	if err := os.WriteFile(filepath.Join(tree, "plain"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.run(t.Context(), k.command("again", k.check)); err == nil {
		t.Error("a changed file went unnoticed")
	}
}
