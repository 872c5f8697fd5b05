package app

import (
	"context"
	"fmt"
	"strings"

	"intact/report"
	"intact/rules"
)

// DiffOptions of BaselineDiff.
type DiffOptions struct {
	Old, New string // each the number of a generation or the file of an export
	LeaveOut []string
	Output   Output
}

// BaselineDiff tells in what two accepted states differ: generations that are
// kept, or exports of this or of other hosts. Nothing is scanned or written.
func BaselineDiff(ctx context.Context, e *Env, o DiffOptions) (Outcome, error) {
	if f := o.Output.Format; f != "" && f != "text" && f != "json" {
		return Outcome{}, usageError("--format: want text or json, not %q", f)
	}
	leave, err := leftOut(o.LeaveOut)
	if err != nil {
		return Outcome{}, err
	}
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	if s.cfgErr != nil {
		e.warn("%v", s.cfgErr)
	}
	c := &contrast{s: s, leave: leave}
	defer c.close()
	if c.old, err = c.accepted(ctx, o.Old); err != nil {
		return Outcome{}, err
	}
	if c.now, err = c.accepted(ctx, o.New); err != nil {
		return Outcome{}, err
	}
	if err := c.run(ctx); err != nil {
		return Outcome{}, err
	}
	under, why, err := c.goesOn()
	if err != nil {
		return Outcome{}, err
	}
	if len(why) > 0 {
		c.found = append(c.found, trustFinding("trust.self-approved", rules.High, fmt.Sprintf("generation-%d", c.now.gen.Statement().Generation),
			append([]string{"a key of the host itself signed it, and took what the delegation does not cover"}, why...)...))
	} else if under {
		c.notes = append(c.notes, "all differences are such as the delegation covers; which files are of which package is the word of the host")
	}
	return c.report(ctx, o.Output)
}

// report tells what was found as a report that nobody keeps or signs.
func (c *contrast) report(ctx context.Context, o Output) (Outcome, error) {
	p, err := c.s.begin(ctx, report.KindDiff, report.ScopeFull, true)
	if err != nil {
		return Outcome{}, err
	}
	defer p.abort()
	p.baseline(c.old.gen.Statement(), c.old.by)
	p.head.Root = "/" // no place on this machine
	p.head.Policy = c.now.gen.Statement().Policy.Named()
	if err := p.w.Header(p.head); err != nil {
		return Outcome{}, err
	}
	if err := c.findings(ctx, p.head.Started, p.w.Finding); err != nil {
		return Outcome{}, err
	}
	for _, text := range append(c.sides(), c.notes...) {
		if err := p.w.Note(report.Note{Text: text}); err != nil {
			return Outcome{}, err
		}
	}
	t := report.Trailer{Verdict: report.Clean, Complete: true}
	d, n := c.result.Counts(), &t.Counts
	n.Verified = c.counts.Equal
	n.Changed, n.Added, n.Removed, n.Renamed, n.Unverified = d.Changed+d.Regained, d.Added, d.Removed, d.Renamed, d.Unverified
	n.Selected = n.Verified + n.Changed + n.Added + n.Removed + n.Renamed + n.Unverified
	if p.w.Tally().Total() > 0 {
		t.Verdict = report.Findings
		c.out.Add(ExitFindings)
	}
	c.out.done = true
	t.Exit, t.Exits = c.out.Exit(), append([]int{}, c.out.Exits()...)
	return c.out, p.end(t, o)
}

// sides says what is compared.
func (c *contrast) sides() (notes []string) {
	for _, a := range []struct {
		word string
		*accepted
	}{{"old", c.old}, {"new", c.now}} {
		st := a.gen.Statement()
		var s strings.Builder
		fmt.Fprintf(&s, "%s: generation %d of host %s (%s), %s, root %s", a.word, st.Generation, st.HostID, report.Escape(st.HostName), when(st.Created), st.Short())
		if a.gen.Imported() {
			s.WriteString(", from " + report.Escape(a.name))
		}
		notes = append(notes, s.String())
	}
	return notes
}
