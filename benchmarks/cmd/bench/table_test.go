package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/benchmarks/corpus"
)

var update = flag.Bool("update", false, "rewrite the golden report")

func runs(baseline int64, walls ...float64) series {
	var x series
	for _, w := range walls {
		d := time.Duration(w * float64(time.Second))
		x.runs = append(x.runs, sample{wall: d, cpu: 2 * d, rss: 40 << 20, rssFloor: 8 << 20,
			anon: 9 << 20, noise: 20 * time.Millisecond, baseline: baseline})
	}
	return x
}

// timesOnly is what the floor gives.
func timesOnly(walls ...float64) series {
	x := runs(0, walls...)
	for i := range x.runs {
		x.runs[i] = sample{wall: x.runs[i].wall, cpu: x.runs[i].cpu}
	}
	return x
}

func example() *report {
	killed := runs(0, 600)
	killed.runs[0].timeout = true
	quiet := runs(30<<20, 2.2, 2.0)
	for i := range quiet.runs {
		quiet.runs[i].rss, quiet.runs[i].anon = 5<<20, 0
		quiet.runs[i].noise = time.Second
	}
	return &report{
		date:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		commit:  "abc1234",
		machine: "Machine: 2 cores (Example), 24.0 GiB memory, Linux 6.1; built with go1.26.",
		command: "bench -runs=3",
		scale:   1,
		local:   strings.NewReplacer("/home/me/bench", "WORK"),
		notes:   []string{"MISSING peers, not measured: tripwire."},
		phases:  phaseCount,
		sections: []section{{
			name: "small", totals: corpus.Totals{Files: 200001, Dirs: 22243, Bytes: 3 << 30}, fileSystem: "ext4", warm: true,
			rows: []row{
				{ownID, "**intact**", [phaseCount]series{runs(19<<20, 1.7, 1.5, 1.6), runs(0, 1.4, 1.3, 1.5)}, false},
				{"aide-1", "AIDE 0.18.3, 2 workers, sha256", [phaseCount]series{runs(49<<20, 10, 11, 12), killed}, true},
				{"b3sum", "find \\| xargs -P2 b3sum, content only", [phaseCount]series{quiet, runs(0, 1.44)}, true},
				{"integrit", "integrit, 1 thread, rmd160", [phaseCount]series{{failure: "/home/me/bench/run: exit status 2: \"a | b\nc\""}, {}}, true},
				{floorID, "*floor*", [phaseCount]series{timesOnly(1.25, 1.25, 1.25), timesOnly(1.25, 1.25, 1.25)}, false},
			},
		}, {
			name: "small", totals: corpus.Totals{Files: 200001, Dirs: 22243, Bytes: 3 << 30}, fileSystem: "ext4", cold: true,
			rows: []row{
				{id: floorID, label: "*floor: system calls, 16 threads*", phases: [phaseCount]series{timesOnly(5), timesOnly(5)}},
				{id: ownID, label: "**intact**", phases: [phaseCount]series{runs(19<<20, 6.2), runs(0, 5)}},
			},
		}, {
			name: "small", totals: corpus.Totals{Files: 200001, Dirs: 22243, Bytes: 3 << 30}, fileSystem: "ext4", warm: true, changed: 100_000,
			rows: []row{
				{id: stepInitID, label: "init", phases: [phaseCount]series{runs(19<<20, 1.5)}},
				{id: stepCleanID, label: "check, nothing changed", phases: [phaseCount]series{runs(0, 1.25)}},
				{id: stepChangedID, label: "check, 100000 files changed", phases: [phaseCount]series{runs(0, 2)}},
				{id: stepAcceptID, label: "accept of 100000 changes", phases: [phaseCount]series{runs(0, 0.5)}},
			},
		}},
	}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := example().markdown(&b); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "report.md")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("report differs from %s (run with -update to accept):\n%s", golden, b.String())
	}
}

// Every line of a table has as many cells as its head.
func TestTablesAreRectangular(t *testing.T) {
	r := example()
	r.sections[0].rows[1].phases[initPhase].failure = "a|b\n|c|"
	var b strings.Builder
	if err := r.markdown(&b); err != nil {
		t.Fatal(err)
	}
	cells := 0
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|") - strings.Count(line, `\|`)
		if cells == 0 {
			cells = n
		}
		if n != cells {
			t.Errorf("%d cells, want %d: %s", n-1, cells-1, line)
		}
	}
}

func TestRatiosNeedOurs(t *testing.T) {
	for name, rows := range map[string][]row{
		"none":   example().sections[0].rows[1:],
		"failed": append([]row{{id: ownID, phases: [phaseCount]series{{failure: "x"}, {failure: "x"}}}}, example().sections[0].rows[1:]...),
	} {
		t.Run(name, func(t *testing.T) {
			s := section{name: "small", warm: true, rows: rows}
			var b strings.Builder
			s.table(&b, initPhase)
			for line := range strings.Lines(b.String()) {
				if c := strings.Split(strings.ReplaceAll(line, `\|`, ""), "|"); strings.Contains(line, "AIDE") && strings.TrimSpace(c[4]) != "–" && strings.TrimSpace(c[4]) != "*–*" {
					t.Errorf("a ratio to nothing: %s", line)
				}
			}
		})
	}
}

func TestEstimateGivesWayToTheRealOne(t *testing.T) {
	s := example().sections[0]
	for label, want := range map[string]bool{"AIDE 0.18.3, 2 workers": true, "AIDE 0.19.3, 2 workers": false, "AIDE 0.20, 2 workers": false, "AIDE, 2 workers": true} {
		s.rows[1].label = label
		var b strings.Builder
		s.table(&b, initPhase)
		if got := strings.Contains(b.String(), "estimated"); got != want {
			t.Errorf("%s: estimate %v, want %v", label, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		walls []float64
		want  time.Duration
	}{
		{nil, 0},
		{[]float64{3}, 3 * time.Second},
		{[]float64{3, 1}, 2 * time.Second},
		{[]float64{9, 1, 3}, 3 * time.Second},
	} {
		if got := median(runs(0, c.walls...).runs, wallOf); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.walls, got, c.want)
		}
	}
}
