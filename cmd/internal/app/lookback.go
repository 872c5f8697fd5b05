package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"intact/baseline"
	"intact/report"
)

// BaselineList prints a line for each generation.
func BaselineList(e *Env) (Outcome, error) {
	damaged := false
	out, err := reading(e, func(s *session) error {
		list, err := s.store.List()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return baseline.ErrNoBaseline
		}
		w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "GENERATION\tCREATED\tENTRIES\tSIZE\tROOT\tBY\tSIGNED\tREASON")
		for _, i := range list {
			if i.Statement == nil {
				damaged = true
				fmt.Fprintf(w, "%d\t%s\n", i.Generation, report.Prose(i.Err.Error()))
				continue
			}
			st := i.Statement
			size := fmt.Sprint(st.FileSize)
			if !i.Present {
				size = "pruned"
			}
			signed := string(i.Signed.Authority)
			if i.Err != nil {
				damaged = true
				signed = "NOT TRUSTED: " + report.Prose(i.Err.Error())
			}
			fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", st.Generation, st.Created.UTC().Format("2006-01-02 15:04:05"),
				st.Entries, size, st.Short(), report.Escape(st.Approver), signed, report.Escape(st.Reason))
		}
		return w.Flush()
	})
	if err == nil && damaged {
		out.Add(ExitTrust)
	}
	return out, err
}

// reading runs a command that only looks. Where it cannot be told whose
// signatures count it looks all the same, and ends with 4.
func reading(e *Env, run func(*session) error) (Outcome, error) {
	s, trustErr, err := openDistrusting(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	if s.cfgErr != nil {
		e.warn("%v", s.cfgErr)
	}
	if trustErr != nil {
		e.warn("%v: %v", errNoTrust, trustErr)
		s.store.Trust = &baseline.Trust{Host: s.own}
	}
	if err := run(s); err != nil {
		return Outcome{}, err
	}
	out := Done()
	if trustErr != nil {
		out.Add(ExitTrust)
	}
	return out, nil
}

func withGeneration(ctx context.Context, e *Env, gen uint64, run func(*session, *baseline.Generation) error) (Outcome, error) {
	return reading(e, func(s *session) error {
		g, err := s.store.Open(ctx, gen)
		if err != nil {
			return err
		}
		return errors.Join(run(s, g), g.Close())
	})
}

// BaselineShow prints the statement of a generation after verifying it.
func BaselineShow(ctx context.Context, e *Env, gen uint64) (Outcome, error) {
	return withGeneration(ctx, e, gen, func(_ *session, g *baseline.Generation) error {
		_, err := e.Stdout.Write(g.Statement().Text())
		return err
	})
}

// BaselineAges says when the content of the newest generation's files was last
// read.
func BaselineAges(ctx context.Context, e *Env) (Outcome, error) {
	return withGeneration(ctx, e, 0, func(s *session, g *baseline.Generation) error {
		a, err := s.store.Ages(g.Statement())
		if errors.Is(err, fs.ErrNotExist) {
			e.print("it is not known when files were last read: a quick check reads everything\n")
			return nil
		}
		if err != nil {
			e.print("%s: a quick check reads everything\n", report.Prose(err.Error()))
			return nil
		}
		q := &quick{on: true, set: s.cfg.Quick, start: e.Now(), ages: a}
		oldest, newest := a.Span()
		e.print("oldest  %s\nnewest  %s\ndue     %d of %d buckets\n", when(oldest), when(newest), q.due(), baseline.AgeBuckets)
		return nil
	})
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// BaselineVerify reads every byte of a generation, decodes every entry and
// checks the chain of statements.
func BaselineVerify(ctx context.Context, e *Env, gen uint64) (Outcome, error) {
	var bad int
	o, err := reading(e, func(s *session) error {
		problems, err := s.store.Verify(ctx, gen)
		for _, p := range problems {
			e.print("%s\n", report.Prose(p.Error()))
		}
		bad = len(problems)
		if err == nil && bad == 0 { // else what is held against what is not trusted
			var why, notes []string
			why, notes, err = s.overreach(ctx)
			for _, text := range append(notes, why...) {
				e.print("%s\n", text)
			}
			bad = len(why)
		}
		if err == nil && bad == 0 {
			e.print("every byte of the baseline is as it was written\n")
		}
		return err
	})
	if err == nil && bad > 0 {
		return Done(ExitTrust), nil
	}
	return o, err
}

// BaselineExport writes a generation as sorted JSON Lines.
func BaselineExport(ctx context.Context, e *Env, gen uint64, file string) (Outcome, error) {
	return withGeneration(ctx, e, gen, func(_ *session, g *baseline.Generation) error {
		write := func(w io.Writer) error { return g.Export(ctx, w) } // which has a buffer
		if file == "" {
			return write(e.Stdout)
		}
		return toFile(file, "export", write)
	})
}

// ReportList prints a line for each report that is kept, and says which is not
// what was signed.
func ReportList(ctx context.Context, e *Env) (Outcome, error) {
	bad := false
	out, err := reading(e, func(s *session) error {
		list, err := s.archive().List()
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NUMBER\tID\tKIND\tSTARTED\tVERDICT\tEXIT")
		for _, r := range list {
			h, t, err := s.readWhole(ctx, r, nil)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				bad = true
				fmt.Fprintf(w, "%d\t?\t%s\t\tNOT TRUSTED: %s\t\n", r.Seq, report.Escape(string(r.Kind)), report.Prose(err.Error()))
				continue
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\n", r.Seq, report.Escape(h.ID), h.Kind, h.Started.UTC().Format("2006-01-02 15:04:05"), t.Verdict, t.Exit)
		}
		return w.Flush()
	})
	if err == nil && bad {
		out.Add(ExitTrust)
	}
	return out, err
}

// readWhole reads one stored report whole, tells each record, and verifies its
// signature: what was told counts only if err is nil.
func (s *session) readWhole(ctx context.Context, r report.Stored, each func(report.Record)) (h report.Header, t report.Trailer, err error) {
	h, _, err = r.Inspect(ctx, s.judgeReport, func(rec report.Record) error {
		if rec.Trailer != nil {
			t = *rec.Trailer
		}
		if each != nil {
			each(rec)
		}
		return nil
	})
	if err == nil && (h.Seq != r.Seq || h.Kind != r.Kind) {
		err = report.ErrEdited
	}
	return h, t, err
}

// lookAt hands one stored report to show, and says behind it if it is not what
// was signed.
func lookAt(ctx context.Context, e *Env, ref string, show func(*session, report.Stored, *os.File) error) (Outcome, error) {
	bad := false
	out, err := reading(e, func(s *session) error {
		r, err := s.archive().Get(ref)
		if errors.Is(err, report.ErrNoReport) || errors.Is(err, report.ErrAmbiguous) {
			return usageError("%w", err)
		}
		if err != nil {
			return err
		}
		f, err := r.Open()
		if err != nil {
			return err
		}
		err = errors.Join(show(s, r, f), f.Close())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, _, e := s.readWhole(ctx, r, nil)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case e != nil && err != nil:
			return &codeError{ExitTrust, fmt.Errorf("NOT TRUSTED: report %d: %w", r.Seq, errors.Join(e, err))}
		case e != nil:
			bad = true
			s.env.warn("NOT TRUSTED: report %d: %v", r.Seq, e)
		}
		return err
	})
	if err == nil && bad {
		out.Add(ExitTrust)
	}
	return out, err
}

// ReportShow prints one report, by default the last.
func ReportShow(ctx context.Context, e *Env, ref string, o Output) (Outcome, error) {
	return lookAt(ctx, e, ref, func(s *session, r report.Stored, f *os.File) error {
		o.stored = r.Path
		return s.show(f, o)
	})
}
