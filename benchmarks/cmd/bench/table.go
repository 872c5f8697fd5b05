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
}

// section is one tree.
type section struct {
	name       string
	totals     corpus.Totals
	fileSystem string
	warm       bool
	rows       []row
}

// report is one whole run of the bench, ready to print.
type report struct {
	date     time.Time
	commit   string
	machine  string
	command  string
	cold     bool
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
		case !r.cold && s.warm:
			cache = "warm cache"
		case !r.cold:
			cache = "larger than the page cache"
		}
		fmt.Fprintf(&b, "## %s: %v; %s, %s\n\n", s.name, s.totals, s.fileSystem, cache)
		for p := range r.phases {
			s.table(&b, p, s.warm && !r.cold)
		}
	}
	r.runs(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *section) table(b *strings.Builder, p int, estimate bool) {
	fmt.Fprintf(b, "### %s, %s\n\n", s.name, phaseName(p))
	b.WriteString("| tool | wall s | min | × ours | CPU s | × ours | peak RSS MiB | anon MiB | baseline MiB | noise s |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	var ours *series
	for i := range s.rows {
		if s.rows[i].id == ownID {
			ours = &s.rows[i].phases[p]
		}
	}
	for i := range s.rows {
		s.rows[i].line(b, p, ours)
	}
	if estimate {
		s.estimate(b, p, ours)
	}
	b.WriteString("\n")
}

func (t *row) line(b *strings.Builder, p int, ours *series) {
	x := &t.phases[p]
	switch {
	case x.failure != "":
		fmt.Fprintf(b, "| %s | **failed** |%s\n", t.label, strings.Repeat(" – |", 8))
		return
	case len(x.runs) == 0:
		fmt.Fprintf(b, "| %s | not run |%s\n", t.label, strings.Repeat(" – |", 8))
		return
	}
	sign := ""
	if x.timedOut() {
		sign = ">"
	}
	wall, cpu := median(x.runs, wallOf), median(x.runs, cpuOf)
	fmt.Fprintf(b, "| %s | %s%s | %s | %s | %s%s | %s | %s | %s | %s | %s |\n", t.label,
		sign, seconds(wall), lowestWall(x.runs), ratio(sign, wall, ours, wallOf),
		sign, seconds(cpu), ratio(sign, cpu, ours, cpuOf),
		peakRSS(x.runs), mebibytes(median(x.runs, func(s sample) int64 { return s.anon })),
		mebibytes(median(t.phases[initPhase].runs, func(s sample) int64 { return s.baseline })),
		disturbed(x.runs))
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
		factor[p], yardstickID, seconds(wall), ratio("", wall, ours, wallOf), strings.Repeat(" – |", 6))
}

// runs lists every single run, so that a median can be judged.
func (r *report) runs(b *strings.Builder) {
	b.WriteString("## Every run\n\n| tree | tool | phase | wall s |\n|---|---|---|---|\n")
	for _, s := range r.sections {
		for _, t := range s.rows {
			for p := range r.phases {
				var walls []string
				for _, x := range t.phases[p].runs {
					v := seconds(x.wall)
					if x.timeout {
						v = ">" + v
					}
					walls = append(walls, v)
				}
				if f := t.phases[p].failure; f != "" {
					walls = append(walls, "failed: "+cell(r.local.Replace(f)))
				}
				fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.name, t.label, phaseName(p), strings.Join(walls, " · "))
			}
		}
	}
}

// cell makes any text fit into one table cell.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(s)
}

func wallOf(s sample) time.Duration { return s.wall }
func cpuOf(s sample) time.Duration  { return s.cpu }

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
	noise := median(runs, func(s sample) time.Duration { return s.noise })
	if noise >= median(runs, wallOf)/10 {
		return "**" + seconds(noise) + "**"
	}
	return seconds(noise)
}

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

// peakRSS marks a value that the harness's own size may hide.
func peakRSS(runs []sample) string {
	rss := median(runs, func(s sample) int64 { return s.rss })
	if rss <= median(runs, func(s sample) int64 { return s.rssFloor }) {
		return "≤" + mebibytes(rss)
	}
	return mebibytes(rss)
}
