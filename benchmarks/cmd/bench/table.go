package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"intact/benchmarks/corpus"
)

// The two phases of a tool, in order.
const (
	initPhase = iota
	checkPhase
	phaseCount
)

func phaseName(p int) string { return [phaseCount]string{"init", "check"}[p] }

// series is what was measured of one tool in one phase.
type series struct {
	runs    []sample // without failed ones
	failure string   // why there is no further run; empty if none failed
}

// timedOut reports whether the last run was killed.
func (s *series) timedOut() bool { return len(s.runs) > 0 && s.runs[len(s.runs)-1].timeout }

// over reports whether another run would only repeat a failure.
func (s *series) over() bool { return s.failure != "" || s.timedOut() }

// row is one tool on one tree.
type row struct {
	id, label string
	phases    [phaseCount]series
	peer      bool // not ours: its failures are shown and nothing more
}

// section is one tree.
type section struct {
	name       string
	totals     corpus.Totals
	fileSystem string
	cold       bool // caches were dropped before each run
	warm       bool // all of the tree is in the page cache
	changed    int  // files that were changed; if not 0 the rows are steps, in the first phase
	rows       []row
}

// title tells sections of one tree from each other.
func (s *section) title() string {
	switch {
	case s.changed > 0:
		return fmt.Sprintf("%s, %d files changed", s.name, s.changed)
	case s.cold:
		return s.name + ", cold"
	}
	return s.name
}

// find returns what was measured of the row id; empty if there is none.
func (s *section) find(id string, phase int) *series {
	for i := range s.rows {
		if s.rows[i].id == id {
			return &s.rows[i].phases[phase]
		}
	}
	return &series{}
}

// report is one whole run of the bench, ready to print.
type report struct {
	date     time.Time
	commit   string
	machine  string
	command  string
	scale    int
	notes    []string          // shown first: what is missing or was cut short
	phases   int               // 1 when only init was measured
	local    *strings.Replacer // takes this machine's paths out of error texts
	sections []section
}

// markdown writes r. Medians are over the runs of a row.
func (r *report) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmark of %s, commit %s\n\n", r.date.UTC().Format("2006-01-02 15:04 UTC"), r.commit)
	fmt.Fprintf(&b, "%s\n\n`%s`\n\n", r.machine, r.command)
	if r.scale > 1 {
		fmt.Fprintf(&b, "**Quick trial: synthetic trees at 1/%d of their size. Not for publication.**\n\n", r.scale)
	}
	for _, n := range r.notes {
		fmt.Fprintf(&b, "**%s**\n\n", n)
	}
	for i := range r.sections {
		s := &r.sections[i]
		cache := "cold cache"
		switch {
		case !s.cold && s.warm:
			cache = "warm cache"
		case !s.cold:
			cache = "larger than the page cache"
		}
		fmt.Fprintf(&b, "## %s: %v; %s, %s\n\n", s.title(), s.totals, s.fileSystem, cache)
		if s.changed > 0 {
			s.steps(&b)
			continue
		}
		for p := range r.phases {
			s.table(&b, p)
		}
	}
	r.runs(&b)
	r.verdicts(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// header begins a table; ours is the word for what the ratios relate to.
func header(b *strings.Builder, first, ours string) {
	fmt.Fprintf(b, "| %s | wall s | min | × %s | × floor | CPU s | × %s | peak RSS MiB | anon MiB | baseline MiB | B/file | noise s |\n", first, ours, ours)
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
}

// blanks fill the cells of a row behind the first two.
const blanks = " – | – | – | – | – | – | – | – | – | – |"

func (s *section) table(b *strings.Builder, p int) {
	fmt.Fprintf(b, "### %s, %s\n\n", s.title(), phaseName(p))
	header(b, "tool", "ours")
	ours := s.find(ownID, p)
	for i := range s.rows {
		s.line(b, &s.rows[i], p, ours)
	}
	if s.warm && !s.cold {
		s.estimate(b, p, ours)
	}
	b.WriteString("\n")
}

// steps is the table of the scenario of changed files.
func (s *section) steps(b *strings.Builder) {
	header(b, "step of **intact**", "clean")
	clean := s.find(stepCleanID, initPhase)
	for i := range s.rows {
		s.line(b, &s.rows[i], initPhase, clean)
	}
	b.WriteString("\n")
}

func (s *section) line(b *strings.Builder, t *row, p int, ours *series) {
	x := &t.phases[p]
	switch {
	case x.failure != "":
		fmt.Fprintf(b, "| %s | **failed** |%s\n", t.label, blanks)
		return
	case len(x.runs) == 0:
		fmt.Fprintf(b, "| %s | not run |%s\n", t.label, blanks)
		return
	}
	sign := ""
	if x.timedOut() {
		sign = ">"
	}
	wall, cpu, stored := median(x.runs, wallOf), median(x.runs, cpuOf), median(t.phases[initPhase].runs, baselineOf)
	fmt.Fprintf(b, "| %s | %s%s | %s | %s | %s | %s%s | %s | %s | %s | %s | %s | %s |\n", t.label,
		sign, seconds(wall), lowestWall(x.runs), ratio(sign, wall, ours, wallOf), ratio(sign, wall, s.find(floorID, p), wallOf),
		sign, seconds(cpu), ratio(sign, cpu, ours, cpuOf),
		peakRSS(x.runs), mebibytes(median(x.runs, anonOf)),
		mebibytes(stored), perFile(stored, s.totals.Files), disturbed(x.runs))
}

// estimate adds a line for AIDE 0.19 where it was not at hand, from the
// yardstick. See yardstick.go.
func (s *section) estimate(b *strings.Builder, p int, ours *series) {
	factor, ok := aide019[s.name]
	if !ok || slices.ContainsFunc(s.rows, func(t row) bool { return newerAIDE(t.label) }) {
		return
	}
	i := slices.IndexFunc(s.rows, func(t row) bool { return t.id == yardstickID })
	if i < 0 || len(s.rows[i].phases[p].runs) == 0 || s.rows[i].phases[p].over() {
		return
	}
	wall := time.Duration(float64(median(s.rows[i].phases[p].runs, wallOf)) * factor[p])
	fmt.Fprintf(b, "| *AIDE 0.19.3, 2 workers: estimated as %.1f × %s* | *%s* | – | *%s* |%s\n",
		factor[p], yardstickID, seconds(wall), ratio("", wall, ours, wallOf), strings.Repeat(" – |", 8))
}

// runs lists every single run, so that a median can be judged.
func (r *report) runs(b *strings.Builder) {
	b.WriteString("## Every run\n\n| tree | tool | phase | wall s |\n|---|---|---|---|\n")
	for _, s := range r.sections {
		for _, t := range s.rows {
			if s.changed > 0 {
				fmt.Fprintf(b, "| %s | %s | – | %s |\n", s.title(), t.label, r.walls(&t.phases[initPhase]))
				continue
			}
			for p := range r.phases {
				fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.title(), t.label, phaseName(p), r.walls(&t.phases[p]))
			}
		}
	}
}

// walls is the wall time of every run, and what ended them.
func (r *report) walls(x *series) string {
	var walls []string
	for _, s := range x.runs {
		v := seconds(s.wall)
		if s.timeout {
			v = ">" + v
		}
		walls = append(walls, v)
	}
	if x.failure != "" {
		walls = append(walls, "failed: "+cell(r.local.Replace(x.failure)))
	}
	return strings.Join(walls, " · ")
}

// cell makes any text fit into one table cell.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(s)
}

func wallOf(s sample) time.Duration  { return s.wall }
func cpuOf(s sample) time.Duration   { return s.cpu }
func noiseOf(s sample) time.Duration { return s.noise }
func anonOf(s sample) int64          { return s.anon }
func baselineOf(s sample) int64      { return s.baseline }

// median returns the middle value of f over runs, the mean of the two middle
// ones where their number is even, 0 for none.
func median[T ~int64](runs []sample, f func(sample) T) T {
	if len(runs) == 0 {
		return 0
	}
	v := make([]T, len(runs))
	for i, r := range runs {
		v[i] = f(r)
	}
	slices.Sort(v)
	lo, hi := v[(len(v)-1)/2], v[len(v)/2]
	return lo + (hi-lo)/2
}

// lowestWall leaves out runs that were killed: their time is the limit's.
func lowestWall(runs []sample) string {
	runs = slices.DeleteFunc(slices.Clone(runs), func(s sample) bool { return s.timeout })
	if len(runs) == 0 {
		return "–"
	}
	return seconds(slices.MinFunc(runs, func(a, b sample) int { return cmp.Compare(a.wall, b.wall) }).wall)
}

// disturbed marks noise that makes the wall time doubtful: what others burnt
// is a tenth of the run or more.
func disturbed(runs []sample) string {
	noise := seconds(median(runs, noiseOf))
	if noisy(runs) {
		return "**" + noise + "**"
	}
	return noise
}

func noisy(runs []sample) bool { return median(runs, noiseOf) >= median(runs, wallOf)/10 }

func ratio(sign string, v time.Duration, ours *series, f func(sample) time.Duration) string {
	if ours == nil || len(ours.runs) == 0 || ours.over() {
		return "–"
	}
	base := median(ours.runs, f)
	if base <= 0 {
		return "–"
	}
	return fmt.Sprintf("%s%.2f", sign, float64(v)/float64(base))
}

func seconds(d time.Duration) string {
	s := d.Seconds()
	switch {
	case s < 1:
		return fmt.Sprintf("%.3f", s)
	case s < 100:
		return fmt.Sprintf("%.2f", s)
	default:
		return fmt.Sprintf("%.0f", s)
	}
}

func mebibytes(n int64) string {
	m := float64(n) / (1 << 20)
	switch {
	case n <= 0:
		return "–"
	case m < 10:
		return fmt.Sprintf("%.1f", m)
	default:
		return fmt.Sprintf("%.0f", m)
	}
}

// perFile returns bytes a file.
func perFile(n int64, files int) string {
	if n <= 0 || files == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", float64(n)/float64(files))
}

// peakRSS marks a value that the harness's own size may hide.
func peakRSS(runs []sample) string {
	rss := median(runs, func(s sample) int64 { return s.rss })
	if rss == 0 {
		return "–" // of the floor nothing but time is measured
	}
	if rss <= median(runs, func(s sample) int64 { return s.rssFloor }) {
		return "≤" + mebibytes(rss)
	}
	return mebibytes(rss)
}
