package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"intact/baseline"
	"intact/report"
)

// BaselineLog tells of each generation who accepted what and when, newest
// first.
func BaselineLog(ctx context.Context, e *Env) (Outcome, error) {
	damaged := false
	out, err := reading(e, func(s *session) error {
		list, err := s.store.List()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return baseline.ErrNoBaseline
		}
		for i, g := range slices.Backward(list) {
			var before *baseline.Info
			if i > 0 {
				before = &list[i-1]
			}
			bad, err := s.logOne(ctx, e.Stdout, g, before)
			if err != nil {
				return err
			}
			damaged = damaged || bad
		}
		return nil
	})
	if err == nil && damaged {
		out.Add(ExitTrust)
	}
	return out, err
}

// logOne writes the block of one generation; bad says that it is not trusted.
func (s *session) logOne(ctx context.Context, w io.Writer, g baseline.Info, before *baseline.Info) (bad bool, err error) {
	var b strings.Builder
	line := func(name, format string, a ...any) { fmt.Fprintf(&b, "  %-8s %s\n", name, fmt.Sprintf(format, a...)) }
	fmt.Fprintf(&b, "generation %d\n", g.Generation)
	if g.Err != nil {
		bad = true
		line("trust", "NOT TRUSTED: %s", report.Prose(g.Err.Error()))
	}
	if st := g.Statement; st != nil {
		line("when", "%s", when(st.Created))
		by := string(g.Signed.Authority)
		if p := g.Signed.Principal; p != "" {
			by += ", signed by " + report.Escape(p)
		} else if st.Signer != "" {
			by += ", signed by " + report.Escape(st.Signer)
		}
		if by = strings.TrimPrefix(by, ", "); by != "" {
			by = ", " + by
		}
		line("who", "%s%s", report.Escape(st.Approver), by)
		if d := g.Signed.Delegation; d != nil {
			line("under", "delegation %s of %s", d.Digest().Named(), report.Escape(g.Signed.Delegator))
		}
		line("why", "%s", report.Escape(st.Reason))
		if st.Report != "" {
			line("report", "%s", report.Escape(st.Report))
		}
		line("root", "%s", st.Short())
		line("entries", "%d", st.Entries)
		if st.Restart {
			line("restart", "init --force started over")
		}
		what, err := s.logChanges(ctx, g, before)
		switch {
		case trust(err):
			bad, what = true, "NOT TRUSTED: "+report.Prose(err.Error())
		case err != nil:
			return bad, err
		}
		line("changes", "%s", what)
	}
	b.WriteByte('\n')
	_, err = io.WriteString(w, b.String())
	return bad, err
}

// logChanges says in numbers what a generation changed.
func (s *session) logChanges(ctx context.Context, g baseline.Info, before *baseline.Info) (string, error) {
	switch {
	case before == nil || before.Generation != g.Generation-1:
		return "the first that is known here", nil
	case !g.Present || !before.Present:
		return "not known: the entries of this one or of the one before are no longer kept", nil
	case g.Err != nil || before.Err != nil || before.Statement == nil:
		return "not compared", nil
	}
	c := &contrast{s: s}
	defer c.close()
	var err error
	if c.old, err = c.accepted(ctx, fmt.Sprint(before.Generation)); err == nil {
		if c.now, err = c.accepted(ctx, fmt.Sprint(g.Generation)); err == nil {
			err = c.run(ctx)
		}
	}
	if err != nil {
		return "", err
	}
	if _, why, err := c.goesOn(); err != nil {
		return "", err
	} else if len(why) > 0 {
		return "", fmt.Errorf("%w: it took what the delegation does not cover: %s", baseline.ErrSelfApproved, strings.Join(why, "; "))
	}
	d := c.result.Counts()
	var parts []string
	for _, p := range []struct {
		n    int64
		word string
	}{{d.Added, "added"}, {d.Changed + d.Regained, "changed"}, {d.Removed, "removed"}, {d.Renamed, "renamed"}, {d.Unverified, "not verified any more"},
		{c.counts.OnlyOld, "no longer selected"}, {c.counts.OnlyNew, "newly selected"}, {int64(len(c.found)), "of mounts, links, policy or intact itself"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	if len(parts) == 0 {
		return "none", nil
	}
	return strings.Join(parts, ", "), nil
}
