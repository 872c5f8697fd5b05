package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// goal is one line of what is demanded of intact. Lower is better.
type goal struct {
	what    string
	unit    string  // behind each figure
	must    float64 // 0: nothing is demanded
	aim     float64 // 0: no more than must
	value   func(*report) reading
	special bool // of no ordinary run: not shown where it was not measured
}

// reading is what the samples say about a goal.
type reading struct {
	value     float64
	detail    string // how value came about, or why there is none
	ok        bool   // value was measured
	above     bool   // a run was killed: the true value is higher
	disturbed bool   // others used the machine meanwhile
}

// The units of the goals.
const (
	ofFloor   = "× floor"
	ofPeer    = "× that"
	ofClean   = "× clean check"
	mebibyte  = "MiB"
	bytesEach = "B"
)

// goals returns all of them, in the order of the table. The times that a goal
// gives for one machine are here as multiples of the floor of that machine.
func goals() (g []goal) {
	for _, tree := range []string{"small", "usr"} {
		g = append(g, goal{what: tree + ", init", unit: ofFloor, must: 1.5, aim: 1.25, value: against(tree, false, initPhase, floorID)})
	}
	for _, tree := range []string{"small", "usr"} {
		g = append(g,
			goal{what: tree + ", check", unit: ofFloor, must: 1.3, aim: 1.15, value: against(tree, false, checkPhase, floorID)},
			// The pipeline hashes what find finds. With -c it reads names and sums
			// from lists: no tree is walked and nothing new would be found.
			goal{what: tree + ", check, beside find \\| xargs -P2 b3sum", unit: ofPeer, must: 1, value: between(tree, false, checkPhase, yardstickID, initPhase)},
			goal{what: tree + ", check, beside xargs -P2 b3sum -c", unit: ofPeer, aim: 1, value: against(tree, false, checkPhase, yardstickID)})
	}
	// 4.0, 3.3, 3.3 and 2.8 s where the floor is 2.0 s.
	g = append(g,
		goal{what: "tiny, init", unit: ofFloor, must: 2.0, aim: 1.65, value: against("tiny", false, initPhase, floorID)},
		goal{what: "tiny, check", unit: ofFloor, must: 1.65, aim: 1.4, value: against("tiny", false, checkPhase, floorID)})
	for _, tree := range []string{"big", "one"} {
		for p := range phaseCount {
			g = append(g, goal{what: tree + ", " + phaseName(p) + ", beside b3sum with 2 threads", unit: ofPeer, must: 2, aim: 1, value: against(tree, false, p, threadsID)})
		}
	}
	for p := range phaseCount {
		g = append(g, goal{what: "small, cold, " + phaseName(p), unit: ofFloor, must: 1.2, aim: 1, value: against("small", true, p, floorID)})
	}
	g = append(g,
		goal{what: "anonymous memory, tiny, init", unit: mebibyte, must: 100, aim: 64, value: memoryOf("tiny", false, initPhase, ownID)},
		goal{what: "anonymous memory, tiny, check", unit: mebibyte, must: 50, aim: 32, value: memoryOf("tiny", false, checkPhase, ownID)},
		goal{what: "anonymous memory, huge, init", unit: mebibyte, aim: 64, value: memoryOf("huge", true, initPhase, stepInitID), special: true},
		goal{what: "anonymous memory, huge, check", unit: mebibyte, aim: 32, value: memoryOf("huge", true, initPhase, stepCleanID), special: true})
	for _, tree := range []string{"small", "usr", "tiny"} {
		g = append(g, goal{what: "baseline bytes a file, " + tree, unit: bytesEach, must: 110, aim: 95, value: baselineEach(tree)})
	}
	for _, k := range changeable() {
		g = append(g, goal{what: string(k) + ", check of changed files", unit: ofClean, must: 1.5, value: afterChanges(string(k)), special: k != "small"})
	}
	return g
}

// verdict is the word for r.
func (g goal) verdict(r reading) string {
	var word string
	switch aim := g.aim > 0; {
	case !r.ok:
		return "not measured"
	case r.above:
		word = "**missed**" // where the limit was higher than the goal
	case aim && r.value <= g.aim:
		word = "aim met"
	case g.must == 0:
		word = "aim missed"
	case r.value <= g.must:
		word = "met"
	default:
		word = "**missed**"
	}
	if r.disturbed {
		word += ", disturbed"
	}
	return word
}

// verdicts is the last table: what is demanded and what was measured.
func (r *report) verdicts(b *strings.Builder) {
	b.WriteString("\n## Goals\n\n| goal | must | aim | measured | from | verdict |\n|---|--:|--:|--:|---|---|\n")
	for _, g := range goals() {
		got := g.value(r)
		if !got.ok && g.special {
			continue
		}
		measured := "–"
		if got.ok {
			measured = figure(got.value, g.unit)
		}
		if got.above {
			measured = ">" + measured
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", g.what, limit(g.must, g.unit), limit(g.aim, g.unit), measured, got.detail, g.verdict(got))
	}
}

func limit(v float64, unit string) string {
	if v == 0 {
		return "–"
	}
	return "≤ " + figure(v, unit)
}

// figure has a digit more than any limit, so that a value near it is told from it.
func figure(v float64, unit string) string {
	switch unit {
	case mebibyte, bytesEach:
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.3f %s", v, unit)
}

// section returns the section of a tree, nil where there is none.
func (r *report) section(name string, cold, changed bool) *section {
	i := slices.IndexFunc(r.sections, func(s section) bool {
		return s.name == name && s.cold == cold && (s.changed > 0) == changed
	})
	if i < 0 {
		return nil
	}
	return &r.sections[i]
}

// against compares our median wall time with that of the row id.
func against(tree string, cold bool, phase int, id string) func(*report) reading {
	return between(tree, cold, phase, id, phase)
}

// between is our phase beside another phase of tool id.
func between(tree string, cold bool, phase int, id string, other int) func(*report) reading {
	return func(r *report) reading {
		s := r.section(tree, cold, false)
		switch {
		case s == nil:
			return reading{detail: "no such run"}
		case !cold && !s.warm:
			return reading{detail: "the page cache is too small"}
		}
		return quotient(s.find(ownID, phase), s.find(id, other))
	}
}

func afterChanges(tree string) func(*report) reading {
	return func(r *report) reading {
		s := r.section(tree, false, true)
		switch {
		case s == nil:
			return reading{detail: "no such run"}
		case !s.warm:
			return reading{detail: "the page cache is too small"}
		}
		return quotient(s.find(stepChangedID, initPhase), s.find(stepCleanID, initPhase))
	}
}

// quotient is a over b. A run that was killed makes a a lower limit, and b
// nothing to compare with.
func quotient(a, b *series) reading {
	for _, x := range []*series{a, b} {
		switch {
		case x.failure != "":
			return reading{detail: "a run failed"}
		case len(x.runs) == 0:
			return reading{detail: "not run"}
		}
	}
	over, under := median(a.runs, wallOf), median(b.runs, wallOf)
	if b.timedOut() || under <= 0 {
		return reading{detail: "nothing to compare with"}
	}
	return reading{
		value: float64(over) / float64(under), ok: true, above: a.timedOut(),
		detail:    fmt.Sprintf("%s s / %s s", exactly(over), exactly(under)),
		disturbed: noisy(a.runs) || noisy(b.runs),
	}
}

// exactly gives milliseconds, so that a quotient can be computed again.
func exactly(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func memoryOf(tree string, changed bool, phase int, id string) func(*report) reading {
	return func(r *report) reading {
		s := r.section(tree, false, changed)
		if s == nil {
			return reading{detail: "no such run"}
		}
		x := s.find(id, phase)
		anon := median(x.runs, anonOf)
		if x.failure != "" || anon == 0 {
			return reading{detail: "not seen"}
		}
		return reading{value: float64(anon) / (1 << 20), detail: fmt.Sprintf("%d files", s.totals.Files), ok: true, above: x.timedOut()}
	}
}

func baselineEach(tree string) func(*report) reading {
	return func(r *report) reading {
		s := r.section(tree, false, false)
		if s == nil {
			return reading{detail: "no such run"}
		}
		x := s.find(ownID, initPhase)
		size := median(x.runs, baselineOf)
		if x.failure != "" || size == 0 || s.totals.Files == 0 {
			return reading{detail: "not seen"}
		}
		return reading{value: float64(size) / float64(s.totals.Files), detail: fmt.Sprintf("%d bytes / %d files", size, s.totals.Files), ok: true}
	}
}
