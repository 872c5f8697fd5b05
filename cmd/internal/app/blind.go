package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"intact/baseline"
	"intact/report"
	"intact/rules/packages"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// errNoTrust means that it cannot be told whose signatures count.
var errNoTrust = errors.New("whose signatures count cannot be told")

// untrusted reports a baseline that cannot be used. Nothing is compared, but the
// host is scanned all the same, under the configured policy.
func (c *check) untrusted(ctx context.Context, cause error) (Outcome, error) {
	c.out.Add(ExitTrust)
	if errors.Is(cause, baseline.ErrNoBaseline) {
		return c.out, &codeError{ExitTrust, cause}
	}
	kind, scope := c.what()
	p, err := c.begin(ctx, kind, scope, c.o.NoState)
	if err != nil && !c.o.NoState && ctx.Err() == nil {
		c.env.warn("%v", err)
		c.remark(fmt.Sprintf("this report is neither kept nor signed: %v", err))
		p, err = c.begin(ctx, kind, scope, true)
	}
	if err != nil {
		return c.out, &codeError{ExitTrust, errors.Join(cause, err)}
	}
	defer p.abort()
	c.paper = p
	t := report.Trailer{Verdict: report.Untrusted, Reason: cause.Error()}
	if err := c.blind(ctx, &t); err != nil {
		return c.out, &codeError{ExitTrust, errors.Join(cause, err)}
	}
	t.Exit, t.Exits = c.out.Exit(), c.out.Exits()
	return c.out, &codeError{ExitTrust, errors.Join(cause, p.end(t, c.o.Output))}
}

// what says of which kind a run is, and whether it looks at everything.
func (c *check) what() (report.Kind, report.Scope) {
	kind, scope := report.KindCheck, report.ScopeFull
	if !c.root.Live() && c.env.Root != "" && c.env.Root != "/" {
		kind = report.KindImage
	}
	if c.update != nil {
		kind = report.KindUpdate
	}
	if c.watch != nil {
		kind = report.KindWatch
	}
	if c.partial() {
		scope = report.ScopePartial
	}
	return kind, scope
}

// blind scans without a baseline and writes all of the report that comes before
// the trailer. All that is there counts as not verified. That the scan could not
// be done, or not whole, is a note: it does not hide why it was needed.
func (c *check) blind(ctx context.Context, t *report.Trailer) error {
	pol := c.cfg.Policy
	if pol == nil { // the configuration cannot be read
		pol = policy.Default()
		c.remark("the configuration cannot be read: the built-in policy was used")
	}
	c.paper.head.Policy = digest.Sum(pol.Canonical()).Named()
	if err := c.paper.w.Header(c.paper.head); err != nil {
		return err
	}
	var sink blindSink
	gaps := &gapList{}
	v := &vouch{}
	sc, st, err := c.blindScan(ctx, pol, &gapSink{&sink, gaps}, v)
	if ctx.Err() != nil {
		c.out.Add(ExitInterrupted)
	} else if errors.As(err, new(*codeError)) {
		c.out.Add(ExitUsage)
	} else if err != nil {
		c.out.Add(ExitIncomplete)
	}
	if err == nil && c.sets[packages.Name] {
		if err := v.tell(ctx, c.paper, true); err != nil {
			return err
		}
	}
	judged, fault := c.blindRules(ctx)
	if fault != nil {
		return fault
	}
	if err := judged.emitFindings(c.paper, t); err != nil {
		return err
	}
	n := &t.Counts
	for _, g := range gaps.sorted() {
		if g.Attrs == 0 {
			n.Unverified++
		}
		if err := c.paper.w.Gap(gapRecord(g, false, 0)); err != nil {
			return err
		}
	}
	if gaps.more > 0 {
		n.Unverified += gaps.more
		if err := c.paper.w.Gap(moreGaps(gaps)); err != nil {
			return err
		}
	}
	n.Unverified += sink.entries.Load()
	n.Selected = n.Unverified
	n.Skipped, n.Bytes = int64(len(st.Skipped)), st.Bytes
	if err := judged.emitRecords(c.paper); err != nil {
		return err
	}
	if err == nil {
		c.remark(fmt.Sprintf("nothing was compared; what is there was scanned: %s", sink.words()))
	} else {
		c.remark(fmt.Sprintf("nothing was compared, and the scan ended early: %v", err))
	}
	if sc == nil {
		sc = &scope{}
	}
	return c.remarks(c.paper, sc, st)
}

// blindScan is the scan of blind.
func (c *check) blindScan(ctx context.Context, pol *policy.Policy, sink scanner.Sink, obs ...scanner.Observer) (*scope, scanner.Stats, error) {
	sc, err := c.session.scope(pol, pol, nil, true)
	if err != nil {
		return nil, scanner.Stats{}, err
	}
	limit, err := c.limits(sc, nil)
	if err != nil {
		return sc, scanner.Stats{}, err
	}
	opt := c.scanOptions(sc)
	opt.TempDir, opt.Limit = c.tempDir(), limit
	stop := c.progress(opt.Progress, 0)
	st, err := scanner.Run(ctx, c.root, sc.eff, opt, nil, sink, obs...)
	stop()
	c.gather()
	return sc, st, err
}

// blindSink counts what is there, and what of it matters most.
type blindSink struct {
	entries, setuid, caps, devices atomic.Int64
}

// Dir implements scanner.Sink.
func (s *blindSink) Dir(_ int, b *entry.Block) error {
	s.entries.Add(int64(len(b.Entries)))
	for i := range b.Entries {
		switch e := &b.Entries[i]; {
		case e.Kind == entry.CharDevice || e.Kind == entry.BlockDevice:
			s.devices.Add(1)
		case e.Kind == entry.File && e.Mode&0o6000 != 0:
			s.setuid.Add(1)
		case e.Kind == entry.File && len(e.Caps) > 0:
			s.caps.Add(1)
		}
	}
	return nil
}

// Gap implements scanner.Sink.
func (s *blindSink) Gap(int, scanner.Gap) error { return nil }

func (s *blindSink) words() string {
	return fmt.Sprintf("%s, among them %d with setuid or setgid, %d with capabilities, %s",
		counted(int(s.entries.Load()), "path"), s.setuid.Load(), s.caps.Load(), counted(int(s.devices.Load()), "device node"))
}

// broken ends a run that could not be completed: the report says so.
func (c *check) broken(ctx context.Context, cause error) (Outcome, error) {
	if c.watch != nil && errors.Is(context.Cause(ctx), errGoesBefore) {
		return c.out, errGoesBefore // it is done again: no report
	}
	if trust(cause) {
		c.paper.abort()
		return c.untrusted(ctx, cause)
	}
	t := report.Trailer{Verdict: report.Failed, Reason: cause.Error()}
	code := ExitIncomplete
	if ctx.Err() != nil {
		t.Verdict, t.Reason, code = report.Interrupted, "", ExitInterrupted
	}
	c.out.Add(code)
	t.Exit, t.Exits = c.out.Exit(), c.out.Exits()
	if err := c.paper.end(t, c.o.Output); err != nil {
		return c.out, errors.Join(cause, err)
	}
	if code == ExitInterrupted {
		return c.out, nil
	}
	return c.out, &codeError{c.out.Exit(), cause}
}
