package app

import (
	"context"
	"fmt"
	"path/filepath"

	"intact/baseline/statement"
	"intact/report"
)

// golden opens the export that a first baseline is to be held against, before
// anything is scanned.
func (s *session) golden(ctx context.Context, file string) (*contrast, error) {
	if !filepath.IsAbs(file) {
		file = "./" + file // never the number of a generation
	}
	c := &contrast{s: s}
	var err error
	if c.old, err = c.accepted(ctx, file); err != nil {
		c.close()
		return nil, fmt.Errorf("--compare: %w", err)
	}
	return c, nil
}

// holdAgainst compares the generation that was just made with the export.
func (c *contrast) holdAgainst(ctx context.Context, made *statement.Statement) (err error) {
	if c.now, err = c.accepted(ctx, fmt.Sprint(made.Generation)); err != nil {
		return err
	}
	c.now.name = "this host"
	return c.run(ctx)
}

// tellInit writes into the report of an init in what the new baseline differs.
// The baseline is in force whatever comes out: the report says what was shown.
func (c *contrast) tellInit(ctx context.Context, p *paper, t *report.Trailer, out *Outcome) error {
	if c.failed != nil {
		out.Add(ExitIncomplete)
		t.Verdict, t.Complete, t.Reason = report.Incomplete, false, "the baseline was written, but not compared: "+c.failed.Error()
		return nil
	}
	if err := c.findings(ctx, p.head.Started, p.w.Finding); err != nil {
		return err
	}
	c.out.done = true
	for _, code := range c.out.Exits() {
		out.Add(code)
	}
	st := c.old.gen.Statement()
	c.s.remark(fmt.Sprintf("held against %s, generation %d of host %s (%s), root %s: %s equal", report.Escape(c.old.name),
		st.Generation, st.HostID, report.Escape(st.HostName), st.Short(), counted(int(c.counts.Equal), "path")))
	c.s.remark(c.notes...)
	if n := p.w.Tally().Total(); n > 0 { // nothing else was told yet
		out.Add(ExitFindings)
		t.Verdict = report.Findings
		t.Reason = fmt.Sprintf("the baseline was written with %s from %s", counted(int(n), "difference"), c.old.name)
	}
	return nil
}
