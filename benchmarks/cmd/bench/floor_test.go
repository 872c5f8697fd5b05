package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/benchmarks/floor"
)

func TestRunFloor(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"floor", "-threads", "3", dir}, 0},
		{[]string{"floor", "-h"}, 0},
		{[]string{"floor"}, 2},
		{[]string{"floor", dir, dir}, 2},
		{[]string{"floor", "-threads", "0", dir}, 1},
		{[]string{"floor", dir + "/none"}, 1},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), c.args, &out, io.Discard); code != c.code {
			t.Errorf("%q: exit %d, want %d", c.args, code, c.code)
		}
		if c.code != 0 || c.args[1] == "-h" {
			continue
		}
		var r floor.Result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Files != 1 || r.Bytes != 5 || r.Threads != 3 || r.Calls.Wall <= 0 || r.Hash.Wall <= 0 {
			t.Errorf("%q: %s, %v", c.args, out.String(), err)
		}
	}
}

func TestFloorOnce(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         [3]time.Duration // calls, hashing, both
		err          string
	}{
		{"good", `echo '{"files":1000,"errors":10,"calls":{"wall":300,"cpu":600},"hash":{"wall":200,"cpu":400}}'`, [3]time.Duration{300, 200, 500}, ""},
		{"cold", `echo '{"files":5,"calls":{"wall":300}}'`, [3]time.Duration{300, 0, 300}, ""},
		{"half a tree", `echo '{"files":1000,"errors":11,"calls":{"wall":300}}'`, [3]time.Duration{}, "could not be read"},
		{"no answer", `true`, [3]time.Duration{}, "read the floor"},
		{"no tree", `echo gone >&2; exit 1`, [3]time.Duration{}, "gone"},
		{"hangs", `exec sleep 600`, [3]time.Duration{}, "more than"},
	} {
		m := meter{timeout: time.Minute}
		if c.name == "hangs" {
			m.timeout = 200 * time.Millisecond
		}
		got, err := m.floorOnce(t.Context(), command{name: "floor", argv: shell(c.script), dir: t.TempDir()})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if walls := [3]time.Duration{got[floorCallsID].wall, got[floorHashID].wall, got[floorID].wall}; walls != c.want {
			t.Errorf("%s: got %v, want %v", c.name, walls, c.want)
		}
		if err == nil && got[floorID].cpu != got[floorCallsID].cpu+got[floorHashID].cpu {
			t.Errorf("%s: CPU time does not add up: %+v", c.name, got)
		}
	}
}

// A floor that fails is a failure of ours, in every row and phase.
func TestFloorFailureIsShown(t *testing.T) {
	rows := floorRows(2, false)
	err := (meter{timeout: time.Minute, self: "false"}).floor(t.Context(), target{path: "/nowhere"}, filepath.Join(t.TempDir(), "run"), rows, phaseCount, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range rows {
		for p := range phaseCount {
			if x.phases[p].failure == "" || len(x.phases[p].runs) > 0 {
				t.Errorf("%s, %s: %+v", x.id, phaseName(p), x.phases[p])
			}
		}
	}
	if r := (&report{sections: []section{{rows: rows}}}); !r.failed() {
		t.Error("not a failure of the run")
	}
}
