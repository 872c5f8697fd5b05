package app

import (
	"context"
	"fmt"

	"intact/report"
	"intact/rules"
)

// History says of each path when a report first told of a change, and when a
// generation took changes of a report over. Reports whose signature does not
// hold are told of and passed over.
func History(ctx context.Context, e *Env, args []string) (Outcome, error) {
	bad := 0
	out, err := reading(e, func(s *session) error {
		paths, err := s.paths(args)
		if err != nil {
			return err
		}
		want := map[string]bool{}
		for _, p := range paths {
			want[string(p)] = true
		}
		accepted, err := s.accepted()
		if err != nil {
			return err
		}
		list, err := s.archive().List()
		if err != nil {
			return err
		}
		found := false
		for _, r := range list {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := s.told(ctx, r, want, accepted)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				bad++
				e.warn("report %d is passed over: %v", r.Seq, err)
			}
			found = found || n > 0
		}
		if !found && bad == 0 {
			e.print("no report that is kept tells of a change there\n")
		}
		return nil
	})
	if err == nil && bad > 0 {
		return Done(ExitTrust), nil
	}
	return out, err
}

// accepted lists the generations that took changes over from a report, by its
// id.
func (s *session) accepted() (map[string][]string, error) {
	infos, err := s.store.List()
	if err != nil {
		return nil, err
	}
	m := map[string][]string{}
	for _, i := range infos {
		if i.Err == nil && i.Statement.Report != "" {
			st := i.Statement
			m[st.Report] = append(m[st.Report], fmt.Sprintf("  generation %d of %s took changes of this report over, by %s: %s\n",
				st.Generation, when(st.Created), report.Escape(st.Approver), report.Escape(st.Reason)))
		}
	}
	return m, nil
}

// told prints the new findings of one report about the wanted paths.
func (s *session) told(ctx context.Context, r report.Stored, want map[string]bool, accepted map[string][]string) (n int, err error) {
	var found []*rules.Finding
	h, _, err := s.readWhole(ctx, r, func(rec report.Record) {
		if x := rec.Finding; x != nil && x.New && (want[x.Subject.Path] || x.From != "" && want[x.From]) {
			found = append(found, x)
		}
	})
	if err != nil {
		return 0, err
	}
	n = len(found)
	for _, x := range found {
		s.printFinding(h, x)
	}
	if n > 0 {
		for _, line := range accepted[h.ID] {
			s.env.print("%s", line)
		}
	}
	return n, nil
}

func (s *session) printFinding(h report.Header, x *rules.Finding) {
	from := ""
	if x.From != "" {
		from = report.Escape(x.From) + " → "
	}
	s.env.print("%s  report %d (%s)  %s  %s %s  %s%s\n", when(h.Started), h.Seq, report.Escape(h.ID), x.Severity, report.Prose(x.Rule), report.Prose(x.Change), from, report.Escape(x.Subject.Path))
	for _, v := range x.Attributes {
		was, now := "none", "none"
		if v.OldKnown {
			was = v.Old
		}
		if v.NewKnown {
			now = v.New
		}
		s.env.print("  %s  %s → %s\n", report.Escape(v.Name), report.Escape(was), report.Escape(now))
	}
}
