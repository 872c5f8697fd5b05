package main

import (
	"strings"
	"testing"
	"time"

	"intact/benchmarks/corpus"
)

func killed(walls ...float64) series {
	x := runs(0, walls...)
	x.runs[len(x.runs)-1].timeout = true
	return x
}

func noisySeries(walls ...float64) series {
	x := runs(0, walls...)
	for i := range x.runs {
		x.runs[i].noise = x.runs[i].wall / 10
	}
	return x
}

func TestVerdict(t *testing.T) {
	floor := goal{unit: ofFloor, must: 1.5, aim: 1.25}
	onlyMust := goal{unit: ofPeer, must: 1}
	onlyAim := goal{unit: mebibyte, aim: 64}
	for _, c := range []struct {
		name string
		goal goal
		got  reading
		want string
	}{
		{"below the aim", floor, reading{value: 1, ok: true}, "aim met"},
		{"the aim itself", floor, reading{value: 1.25, ok: true}, "aim met"},
		{"above the aim", floor, reading{value: 1.2501, ok: true}, "met"},
		{"the limit itself", floor, reading{value: 1.5, ok: true}, "met"},
		{"above the limit", floor, reading{value: 1.5001, ok: true}, "**missed**"},
		{"no aim, below", onlyMust, reading{value: 0.9, ok: true}, "met"},
		{"no aim, above", onlyMust, reading{value: 1.01, ok: true}, "**missed**"},
		{"no must, below", onlyAim, reading{value: 64, ok: true}, "aim met"},
		{"no must, above", onlyAim, reading{value: 64.1, ok: true}, "aim missed"},
		{"nothing measured", floor, reading{value: 1}, "not measured"},
		{"killed early", floor, reading{value: 1, ok: true, above: true}, "**missed**"},
		{"others worked", floor, reading{value: 1.4, ok: true, disturbed: true}, "met, disturbed"},
	} {
		if got := c.goal.verdict(c.got); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestQuotient(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b series
		want reading
	}{
		{"medians", runs(0, 1.2, 9, 1.5), runs(0, 1, 1.2, 0.1), reading{value: 1.5, detail: "1.500 s / 1.000 s", ok: true}},
		{"we failed", series{failure: "x"}, runs(0, 1), reading{detail: "a run failed"}},
		{"it failed", runs(0, 1), series{runs: runs(0, 1).runs, failure: "x"}, reading{detail: "a run failed"}},
		{"we did not run", series{}, runs(0, 1), reading{detail: "not run"}},
		{"it did not run", runs(0, 1), series{}, reading{detail: "not run"}},
		{"we were killed", killed(600), runs(0, 1), reading{value: 600, detail: "600.000 s / 1.000 s", ok: true, above: true}},
		{"it was killed", runs(0, 1), killed(600), reading{detail: "nothing to compare with"}},
		{"nothing to divide by", runs(0, 1), runs(0, 0), reading{detail: "nothing to compare with"}},
		{"noise with us", noisySeries(2), runs(0, 1), reading{value: 2, detail: "2.000 s / 1.000 s", ok: true, disturbed: true}},
		{"noise with it", runs(0, 2), noisySeries(1), reading{value: 2, detail: "2.000 s / 1.000 s", ok: true, disturbed: true}},
	} {
		if got := quotient(&c.a, &c.b); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// full is a report in which every goal has a value; each tree takes other
// times, so that a goal that looks at the wrong place is seen.
func full() *report {
	tree := func(name string, files int, cold bool, rows ...row) section {
		return section{name: name, cold: cold, warm: !cold, totals: corpus.Totals{Files: files}, rows: rows}
	}
	both := func(id string, init, check series) row {
		return row{id: id, phases: [phaseCount]series{init, check}}
	}
	step := func(id string, s series) row { return row{id: id, phases: [phaseCount]series{s}} }
	small := tree("small", 1000, false,
		both(floorID, timesOnly(1), timesOnly(1)), both(ownID, runs(100_000, 1.4), runs(0, 1.3)), both(yardstickID, runs(0, 2), runs(0, 1)))
	usr := tree("usr", 1000, false,
		both(floorID, timesOnly(2), timesOnly(2)), both(ownID, runs(94_000, 2.4), runs(0, 2.2)), both(yardstickID, runs(0, 3), runs(0, 2.5)))
	tiny := tree("tiny", 1_000_000, false,
		both(floorID, timesOnly(2), timesOnly(2)), both(ownID, runs(112_000_000, 3.8), runs(0, 3.4)))
	tiny.rows[1].phases[initPhase].runs[0].anon = 65 << 20
	tiny.rows[1].phases[checkPhase].runs[0].anon = 51 << 20
	big := tree("big", 8, false, both(threadsID, runs(0, 0.5), runs(0, 0.5)), both(ownID, runs(9, 0.75), runs(0, 0.5)))
	one := tree("one", 1, false, both(threadsID, runs(0, 0.5), runs(0, 0.5)), both(ownID, runs(9, 1.5), runs(0, 1)))
	cold := tree("small", 1000, true, both(floorID, timesOnly(5), timesOnly(5)), both(ownID, runs(9, 5.5), runs(0, 4.5)))
	changed := tree("small", 1000, false, step(stepInitID, runs(9, 1)), step(stepCleanID, runs(0, 1)), step(stepChangedID, runs(0, 1.75)))
	changed.changed = 500
	return &report{sections: []section{changed, cold, small, usr, tiny, big, one}}
}

func TestGoals(t *testing.T) {
	want := map[string]string{
		"small, init": "1.400 × floor | 1.400 s / 1.000 s | met",
		"usr, init":   "1.200 × floor | 2.400 s / 2.000 s | aim met",

		"small, check": "1.300 × floor | 1.300 s / 1.000 s | met",
		"small, check, beside find \\| xargs -P2 b3sum": "0.650 × that | 1.300 s / 2.000 s | met",
		"small, check, beside xargs -P2 b3sum -c":       "1.300 × that | 1.300 s / 1.000 s | aim missed",
		"usr, check": "1.100 × floor | 2.200 s / 2.000 s | aim met",
		"usr, check, beside find \\| xargs -P2 b3sum": "0.733 × that | 2.200 s / 3.000 s | met",
		"usr, check, beside xargs -P2 b3sum -c":       "0.880 × that | 2.200 s / 2.500 s | aim met",

		"tiny, init":  "1.900 × floor | 3.800 s / 2.000 s | met",
		"tiny, check": "1.700 × floor | 3.400 s / 2.000 s | **missed**",

		"big, init, beside b3sum with 2 threads":  "1.500 × that | 0.750 s / 0.500 s | met",
		"big, check, beside b3sum with 2 threads": "1.000 × that | 0.500 s / 0.500 s | aim met",
		"one, init, beside b3sum with 2 threads":  "3.000 × that | 1.500 s / 0.500 s | **missed**",
		"one, check, beside b3sum with 2 threads": "2.000 × that | 1.000 s / 0.500 s | met",

		"small, cold, init":  "1.100 × floor | 5.500 s / 5.000 s | met",
		"small, cold, check": "0.900 × floor | 4.500 s / 5.000 s | aim met",

		"anonymous memory, tiny, init":  "65.0 MiB | 1000000 files | met",
		"anonymous memory, tiny, check": "51.0 MiB | 1000000 files | **missed**",

		"baseline bytes a file, small": "100.0 B | 100000 bytes / 1000 files | met",
		"baseline bytes a file, usr":   "94.0 B | 94000 bytes / 1000 files | aim met",
		"baseline bytes a file, tiny":  "112.0 B | 112000000 bytes / 1000000 files | **missed**",

		"small, check of changed files": "1.750 × clean check | 1.750 s / 1.000 s | **missed**",
	}
	got := verdictLines(t, full())
	for what, line := range got {
		if want[what] != line {
			t.Errorf("%s:\n got %s\nwant %s", what, line, want[what])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d goals, want %d", len(got), len(want))
	}
}

// verdictLines returns the last three cells of every goal.
func verdictLines(t *testing.T, r *report) map[string]string {
	t.Helper()
	var b strings.Builder
	r.verdicts(&b)
	lines := map[string]string{}
	for line := range strings.Lines(b.String()) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if len(cells) == 6 && cells[0] != "goal" {
			lines[cells[0]] = strings.Join(cells[3:], " | ")
		}
	}
	return lines
}

func TestGoalsOfHuge(t *testing.T) {
	r := full()
	huge := section{name: "huge", warm: true, changed: 9, totals: corpus.Totals{Files: 10_000_000}, rows: []row{
		{id: stepInitID, phases: [phaseCount]series{runs(9, 40)}},
		{id: stepCleanID, phases: [phaseCount]series{runs(0, 30)}},
		{id: stepChangedID, phases: [phaseCount]series{runs(0, 33)}},
	}}
	huge.rows[0].phases[initPhase].runs[0].anon = 70 << 20
	r.sections = append(r.sections, huge)
	got := verdictLines(t, r)
	for what, want := range map[string]string{
		"anonymous memory, huge, init":  "70.0 MiB | 10000000 files | aim missed",
		"anonymous memory, huge, check": "9.0 MiB | 10000000 files | aim met",
		"huge, check of changed files":  "1.100 × clean check | 33.000 s / 30.000 s | met",
	} {
		if got[what] != want {
			t.Errorf("%s: got %q, want %q", what, got[what], want)
		}
	}
}

// An empty report shows what an ordinary run should have measured.
func TestGoalsOfNothing(t *testing.T) {
	got := verdictLines(t, &report{})
	if len(got) != len(verdictLines(t, full())) {
		t.Errorf("%d goals", len(got))
	}
	for what, line := range got {
		if line != "– | no such run | not measured" {
			t.Errorf("%s: %s", what, line)
		}
	}
	r := full()
	for i := range r.sections {
		r.sections[i].warm = false
	}
	if line := verdictLines(t, r)["small, init"]; line != "– | the page cache is too small | not measured" {
		t.Errorf("a tree larger than the page cache: %s", line)
	}
}

// The limits are those that were agreed on, not what is convenient.
func TestLimits(t *testing.T) {
	var got []string
	for _, g := range goals() {
		got = append(got, g.what+": "+limit(g.must, g.unit)+", "+limit(g.aim, g.unit))
	}
	want := []string{
		"small, init: ≤ 1.500 × floor, ≤ 1.250 × floor",
		"usr, init: ≤ 1.500 × floor, ≤ 1.250 × floor",
		"small, check: ≤ 1.300 × floor, ≤ 1.150 × floor",
		"small, check, beside find \\| xargs -P2 b3sum: ≤ 1.000 × that, –",
		"small, check, beside xargs -P2 b3sum -c: –, ≤ 1.000 × that",
		"usr, check: ≤ 1.300 × floor, ≤ 1.150 × floor",
		"usr, check, beside find \\| xargs -P2 b3sum: ≤ 1.000 × that, –",
		"usr, check, beside xargs -P2 b3sum -c: –, ≤ 1.000 × that",
		"tiny, init: ≤ 2.000 × floor, ≤ 1.650 × floor",
		"tiny, check: ≤ 1.650 × floor, ≤ 1.400 × floor",
		"big, init, beside b3sum with 2 threads: ≤ 2.000 × that, ≤ 1.000 × that",
		"big, check, beside b3sum with 2 threads: ≤ 2.000 × that, ≤ 1.000 × that",
		"one, init, beside b3sum with 2 threads: ≤ 2.000 × that, ≤ 1.000 × that",
		"one, check, beside b3sum with 2 threads: ≤ 2.000 × that, ≤ 1.000 × that",
		"small, cold, init: ≤ 1.200 × floor, ≤ 1.000 × floor",
		"small, cold, check: ≤ 1.200 × floor, ≤ 1.000 × floor",
		"anonymous memory, tiny, init: ≤ 100.0 MiB, ≤ 64.0 MiB",
		"anonymous memory, tiny, check: ≤ 50.0 MiB, ≤ 32.0 MiB",
		"anonymous memory, huge, init: –, ≤ 64.0 MiB",
		"anonymous memory, huge, check: –, ≤ 32.0 MiB",
		"baseline bytes a file, small: ≤ 110.0 B, ≤ 95.0 B",
		"baseline bytes a file, usr: ≤ 110.0 B, ≤ 95.0 B",
		"baseline bytes a file, tiny: ≤ 110.0 B, ≤ 95.0 B",
		"small, check of changed files: ≤ 1.500 × clean check, –",
		"tiny, check of changed files: ≤ 1.500 × clean check, –",
		"huge, check of changed files: ≤ 1.500 × clean check, –",
		"wide, check of changed files: ≤ 1.500 × clean check, –",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestExactly(t *testing.T) {
	if got := exactly(1500 * time.Microsecond); got != "0.002" {
		t.Errorf("got %s", got)
	}
}
