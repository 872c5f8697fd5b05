package app

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	"intact/report"
)

// ReportVerify walks the chain of reports and names what is broken.
func ReportVerify(ctx context.Context, e *Env) (Outcome, error) {
	bad := 0
	out, err := reading(e, func(s *session) error {
		host, err := s.store.HostID()
		if err != nil {
			return err
		}
		w, faults, err := s.archive().Verify(ctx, host, s.judgeBrought)
		if err != nil {
			return err
		}
		for _, f := range faults {
			e.print("%s\n", report.Prose(f.Error()))
		}
		switch bad = len(faults); {
		case w.Reports == 0:
			return usageError("report verify: there are no reports")
		case bad == 0 && w.Pruned > 0:
			e.print("reports %d to %d are as they were written; those up to %d were deleted by age\n", w.First, w.Last, w.Pruned)
		case bad == 0:
			e.print("reports %d to %d are as they were written\n", w.First, w.Last)
		}
		if bad == 0 {
			e.print("the last one is %s\n", w.Head)
		}
		return nil
	})
	if err == nil && bad > 0 {
		return Done(ExitTrust), nil
	}
	return out, err
}

// ReportVerifyFiles verifies exported reports by themselves, each with the
// signature in the file with .sig behind its name.
func ReportVerifyFiles(ctx context.Context, e *Env, names []string) (Outcome, error) {
	bad := false
	out, err := reading(e, func(s *session) error {
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			h, err := s.verifyFile(ctx, name)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, os.ErrNotExist):
				return usageError("report verify: %w", err)
			case err != nil:
				bad = true
				e.print("%s: %s\n", report.Escape(name), report.Prose(err.Error()))
			default:
				e.print("%s: report %d of host %s is as it was signed by %s\n", report.Escape(name), h.Seq, report.Escape(h.Host.ID), report.Escape(h.Signer))
			}
		}
		return nil
	})
	if err == nil && bad {
		return Done(ExitTrust), nil
	}
	return out, err
}

func (s *session) verifyFile(ctx context.Context, name string) (report.Header, error) {
	h, _, err := report.Stored{Path: name}.Inspect(ctx, s.judgeBrought, nil)
	return h, err
}

// ReportExport copies one report, by default the last, and its signature: to
// file and file.sig, or the report alone to stdout. One that is not what was
// signed is copied too: it is evidence.
func ReportExport(ctx context.Context, e *Env, ref, file string) (Outcome, error) {
	return lookAt(ctx, e, ref, func(s *session, r report.Stored, f *os.File) error {
		if file == "" {
			_, err := io.Copy(e.Stdout, f)
			return err
		}
		armor, err := r.Signature()
		if err != nil {
			return err
		}
		if err := exportTo(file, f); err != nil || armor == nil {
			return err
		}
		return exportTo(file+".sig", strings.NewReader(string(armor)))
	})
}

// toFile makes a file of what write writes, durably. What cannot be made is for
// the user to mend; what says what it is for.
func toFile(name, what string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return usageError("%s: %w", what, err)
	}
	err, synced := write(f), f.Sync()
	if errors.Is(synced, syscall.EINVAL) {
		synced = nil // a pipe or a terminal, fsync(2)
	}
	return errors.Join(err, synced, f.Close())
}

func exportTo(name string, src io.Reader) error {
	return toFile(name, "export", func(w io.Writer) error {
		_, err := io.Copy(w, src)
		return err
	})
}
