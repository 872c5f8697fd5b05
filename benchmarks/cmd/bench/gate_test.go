package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// cpus is a series whose CPU times are given; its wall times say the contrary.
func cpus(seconds ...float64) series {
	x := runs(0, seconds...)
	for i := range x.runs {
		x.runs[i].cpu, x.runs[i].wall = x.runs[i].wall, 100*x.runs[len(x.runs)-1-i].wall
	}
	return x
}

func TestGateLines(t *testing.T) {
	good := row{label: "good", phases: [phaseCount]series{cpus(3, 2, 2.1), cpus(1, 1)}}
	for _, c := range []struct {
		name        string
		ours        row
		limit       float64
		init, check bool // over
		err         bool
	}{
		{"the same", good, 0, false, false, false},
		{"at the limit", row{phases: [phaseCount]series{cpus(1, 2.3, 9), cpus(1.1)}}, 10, false, false, false},
		{"init above", row{phases: [phaseCount]series{cpus(1, 2.32, 9), cpus(1)}}, 10, true, false, false},
		{"check above", row{phases: [phaseCount]series{cpus(2), cpus(1.11)}}, 10, false, true, false},
		{"a wider limit", row{phases: [phaseCount]series{cpus(2.5), cpus(1.2)}}, 20, false, false, false},
		{"one outlier", row{phases: [phaseCount]series{cpus(2, 50, 2), cpus(1, 1, 50)}}, 10, false, false, false},
		{"failed", row{phases: [phaseCount]series{cpus(2), {runs: cpus(1).runs, failure: "x"}}}, 10, false, false, true},
		{"not run", row{phases: [phaseCount]series{cpus(2)}}, 10, false, false, true},
		{"killed", row{phases: [phaseCount]series{killed(2), cpus(1)}}, 10, false, false, true},
	} {
		lines, err := gateLines(&good, &c.ours, c.limit)
		if (err != nil) != c.err {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		if lines[initPhase].over() != c.init || lines[checkPhase].over() != c.check {
			t.Errorf("%s: %+v", c.name, lines)
		}
	}
	if _, err := gateLines(&row{}, &good, 10); err == nil {
		t.Error("a base without runs was compared with")
	}
}

func TestParseGate(t *testing.T) {
	for _, c := range []struct {
		args []string
		ok   bool
	}{
		{nil, true},
		{[]string{"-base", "v1", "-runs", "1", "-limit", "0"}, true},
		{[]string{"-runs", "0"}, false},
		{[]string{"-limit", "-1"}, false},
		{[]string{"HEAD~1"}, false},
		{[]string{"-work", "/tmp/a b"}, false},
	} {
		if _, err := parseGate(c.args, io.Discard); (err == nil) != c.ok {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

// The base is where the branch left main; on main it is the commit before.
func TestBaseCommit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, v := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} {
		t.Setenv(v, "") // restored afterwards
		os.Unsetenv(v)
	}
	at := func(args ...string) string {
		t.Helper()
		out, err := git(t.Context(), append([]string{"-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	commit := func(name string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		at("add", ".")
		at("commit", "-q", "-m", name)
		return at("rev-parse", "HEAD")
	}
	at("init", "-q", "-b", "main")
	first, second := commit("one"), commit("two")
	check := func(what, name, want string) {
		t.Helper()
		if got, err := baseCommit(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %s", what, got, err, want)
		}
	}
	check("on main", "", first)
	at("checkout", "-q", "-b", "work")
	check("a branch without commits", "", first)
	commit("three")
	commit("four")
	check("a branch", "", second)
	check("a name", "HEAD~3", first)
	if got, err := baseCommit(t.Context(), "--all"); err == nil {
		t.Errorf("a flag is no commit: %q", got)
	}

	into := filepath.Join(t.TempDir(), "base")
	if err := export(t.Context(), second, into); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(into); err != nil || len(list) != 2 {
		t.Errorf("exported %v, %v", list, err)
	}
}
