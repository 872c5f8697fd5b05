package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/drift"
	"intact/rules/packages"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// judge turns changes into findings, in the order of the report.
func (c *check) judge(ctx context.Context) error {
	var err error
	if c.pending, err = c.previous(); err != nil {
		return err
	}
	defer c.pending.close()
	c.drift = c.policyFindings()
	if err := c.acceptDrift(); err != nil {
		return err
	}
	if err := c.reverifyDrift(); err != nil {
		return err
	}
	if err := c.judgeDelegated(ctx); err != nil {
		return err
	}
	c.judgePackages()
	if err := c.judgeRules(ctx); err != nil {
		return err
	}
	if err := c.senseMass(ctx); err != nil {
		return err
	}
	if err := c.tell(ctx); err != nil {
		return err
	}
	c.forgeries()
	for _, name := range setNames {
		if !c.sets[name] {
			continue
		}
		switch name {
		case "integrity":
			err = c.allTold() // told in tell
		case "mounts":
			err = c.emitAll(c.mounts)
		case packages.Name:
			if err = c.emitAll(c.pkgs); err == nil { // they have no path, and so come first
				err = c.emitPackages(ctx)
			}
		case drift.Name:
			if err = c.emitAll(c.facts.lost); err == nil {
				err = c.emitFacts()
			}
		case "policy":
			err = c.emitAll(c.drift)
		case "trust":
			err = c.emitAll(c.trusts)
		}
		if err != nil {
			return fmt.Errorf("judge %s: %w", name, err)
		}
	}
	return c.emitRules()
}

// allTold makes sure that no change was passed over in silence, whatever the
// rules do.
func (c *check) allTold() error {
	d := c.result.Counts()
	changes := d.All() - d.Folded - d.Linked
	told := c.paper.w.Tally().Total() + c.ruled.borne - int64(len(c.look.found())+c.logs.emitted()+c.mass.told)
	if c.watch != nil {
		told += c.watch.known
	}
	if told < changes {
		return fmt.Errorf("%d changes gave only %d findings", changes, told)
	}
	return nil
}

func (c *check) emitAll(list []rules.Finding) error {
	slices.SortStableFunc(list, func(a, b rules.Finding) int {
		return slices.Compare(entry.Path(a.Subject.Path).Key(), entry.Path(b.Subject.Path).Key())
	})
	for _, f := range list {
		if err := c.emit(f); err != nil {
			return err
		}
	}
	return nil
}

// emit gives a finding its history and writes it; one that is waived is a record.
// Its change stays pending.
func (c *check) emit(f rules.Finding) error {
	if c.waived(&f) {
		return nil
	}
	c.date(&f)
	if !c.watch.passes(&f) {
		return nil
	}
	c.watch.blame(&f)
	return c.paper.w.Finding(f)
}

// date gives a finding its history, and the run its exit code. One about a change
// must be dated before the next change comes.
func (c *check) date(f *rules.Finding) {
	since, ok := c.since(f)
	c.dated(f, since, ok)
}

// dated is date where it is known since when there is the finding, or that it is new.
func (c *check) dated(f *rules.Finding, since time.Time, seen bool) {
	f.FirstSeen, f.New = c.paper.head.Started, true
	if seen {
		f.FirstSeen, f.New = since, false
	}
	c.windows.mark(f, f.FirstSeen)
	if f.Explained.Rank() == signedRank {
		c.signed++
	}
	if f.Severity >= c.failOn {
		c.out.Add(ExitFindings)
	}
}

// floors returns the least severity that the policy in force asks for a path.
// It is for one goroutine.
func (c *scope) floors() func(path string) rules.Severity {
	decide := c.eff.Decider()
	return func(path string) rules.Severity {
		r := decide(entry.Path(path)).Rule
		if r == nil || r.Severity == "" {
			return rules.Info
		}
		v, err := rules.ParseSeverity(r.Severity)
		if err != nil {
			return rules.Info // a policy that parses has only known words
		}
		return v
	}
}

// policyFindings reports what the present configuration would change. Nothing
// that narrows has an effect before it is adopted.
func (c *check) policyFindings() []rules.Finding {
	if c.scope.present == nil {
		return nil
	}
	var out []rules.Finding
	add := func(rule, line string, sev rules.Severity, n int64, why string) {
		out = append(out, rules.Finding{
			Set: "policy", Rule: rule, Severity: sev, RawSeverity: sev, Change: "changed", Count: n,
			Subject: rules.Subject{Kind: "policy", Name: line}, Reasons: []string{why},
		})
	}
	told := map[string]bool{}
	for _, d := range policy.Compare(c.base, c.scope.present) {
		if d.Kind == "widened" {
			if len(c.stats.Widened) == 0 {
				add("policy.widened", d.Line, rules.Low, 0, "only the present configuration has it: it selects nothing new here")
			}
			continue
		}
		counted := narrowedAs(d, c.stats.Narrowed)
		told[counted] = true
		add("policy."+d.Kind, d.Line, rules.High, c.stats.Narrowed[counted], "the present configuration watches less; without effect until intact policy adopt")
	}
	for _, line := range slices.Sorted(maps.Keys(c.stats.Narrowed)) {
		if !told[line] {
			add("policy.narrowed", line, rules.High, c.stats.Narrowed[line], "the present configuration watches less; without effect until intact policy adopt")
		}
	}
	for _, line := range slices.Sorted(maps.Keys(c.stats.Widened)) {
		add("policy.widened", line, rules.Low, c.stats.Widened[line], "only the present configuration selects these paths: intact policy adopt brings them into the baseline")
	}
	slices.SortStableFunc(out, func(a, b rules.Finding) int { return slices.Compare([]byte(a.Subject.Name), []byte(b.Subject.Name)) })
	return out
}

// narrowedAs returns the words under which the scan counted the paths that d
// takes something from, "" where it met none.
func narrowedAs(d policy.Drift, counts map[string]int64) string {
	for words := range counts {
		line, dropped := strings.CutPrefix(words, "dropped: ")
		exclude, hidden := strings.CutPrefix(words, "hidden by ")
		_, rule, _ := strings.Cut(words, " only: ")
		switch {
		case d.Kind == "dropped" && dropped && d.Line == line+" is gone",
			d.Kind == "excluded" && hidden && d.Line == exclude+" is new",
			d.Kind == "reduced" && rule != "" && strings.HasSuffix(d.Line, ": "+rule):
			return words
		}
	}
	return ""
}

// finish writes gaps, remarks and the trailer.
func (c *check) finish(ctx context.Context) error {
	if err := c.writeGaps(); err != nil {
		return err
	}
	if err := c.writeUnsaid(); err != nil {
		return err
	}
	c.required()
	if err := c.remarks(c.paper, c.scope, c.stats); err != nil {
		return err
	}
	if c.quick != nil && c.quick.note != "" {
		if err := c.paper.w.Note(report.Note{Text: c.quick.note}); err != nil {
			return err
		}
	}
	if text := c.lookNote(); text != "" {
		if err := c.paper.w.Note(report.Note{Text: text}); err != nil {
			return err
		}
	}
	for _, n := range c.windows.notes(c.env.Now(), c.paper.w.Tally().Total()) {
		if err := c.paper.w.Note(n); err != nil {
			return err
		}
	}
	d := c.result.Counts()
	t := report.Trailer{Pending: "", Complete: c.newGaps == 0 && d.Unverified == 0, Quick: c.quick.outcome(c.stats), Second: c.look.outcome(), Logs: c.logs.outcome()}
	var err error
	if t.Coverage, err = c.coverage(); err != nil {
		return err
	}
	n := &t.Counts
	n.Verified, n.KnownGaps = c.counts.Verified, c.counts.KnownGaps
	n.Changed, n.Added, n.Removed, n.Renamed = d.Changed+d.Regained, d.Added, d.Removed, d.Renamed
	n.Unverified = d.Unverified - c.bareGaps() + d.Unseen + c.counts.NewGaps
	n.Selected = n.Verified + n.KnownGaps + n.Changed + n.Added + n.Removed + n.Renamed + n.Unverified
	n.Skipped, n.Bytes = int64(len(c.stats.Skipped)), c.stats.Bytes
	if c.newGaps > 0 {
		c.out.Add(ExitIncomplete)
	}
	if c.ruled.book != nil && (c.ruled.sets == nil || len(c.ruled.sets) > 0) {
		t.Posture = &c.ruled.tally
	}
	c.out.done = true
	switch total := c.paper.w.Tally().Total(); {
	case total > 0 && c.out.Exit() == ExitFindings:
		t.Verdict = report.Findings
	case c.newGaps > 0:
		t.Verdict = report.Incomplete
	case total > 0:
		t.Verdict = report.Findings
	default:
		t.Verdict = report.Clean
	}
	if c.cfgErr != nil {
		t.Reason = "the configuration could not be read: the baseline's policy was used"
	}
	if c.saved != (digest.Digest{}) {
		t.Pending = c.saved.Named()
	}
	t.Exit, t.Exits = c.out.Exit(), append([]int{}, c.out.Exits()...)
	c.counted = t.Counts
	if err := c.paper.end(t, c.o.Output); err != nil {
		return err
	}
	c.pruneLogs(c.logs)
	c.acceptAfter(ctx)
	return nil
}

// bareGaps counts the changes that stand for a subtree that was not seen and
// for no entry of their own.
func (c *check) bareGaps() (n int64) {
	if c.result.Counts().Unverified == 0 {
		return 0
	}
	for ch, err := range c.result.Changes() {
		if err == nil && ch.Kind == diff.Unverified && ch.Old == nil {
			n++
		}
	}
	return n
}

// writeGaps writes the gaps of the scan. A gap that the baseline has too is
// known; any other makes the run incomplete.
func (c *check) writeGaps() error {
	rows, err := c.gen.Rows(rowGap)
	if err != nil {
		return err
	}
	old := known{}
	for _, r := range rows {
		if p, _, err := entry.ParseKey(r.Key); err == nil {
			old[p] = true
		}
	}
	for _, g := range c.gaps.sorted() {
		is := old.has(g.Path)
		if !is {
			c.newGaps++
		}
		if err := c.paper.w.Gap(gapRecord(g, is, 0)); err != nil {
			return err
		}
	}
	if c.gaps.more > 0 {
		c.newGaps += c.gaps.more
		return c.paper.w.Gap(moreGaps(c.gaps))
	}
	return nil
}
