package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/scanner/digest"
)

// export writes a request for what was chosen, and stages the generation that it
// asks for. The baseline stays as it is.
func (a *accept) export(ctx context.Context, id string, n int, rows []diff.RowChange) (Outcome, error) {
	p, err := a.gen.Propose(ctx, a.store, a.picks(), rows, a.note(id, a.o.Reason, ""))
	if errors.Is(err, baseline.ErrConflict) || errors.Is(err, baseline.ErrStale) {
		return Outcome{}, &codeError{ExitUsage, fmt.Errorf("%w: the report is older than the last accept; run intact check again, or leave what changed since with --rebase", err)}
	}
	if err != nil {
		return Outcome{}, err
	}
	defer p.Close()
	// The request first: were there no room for it, what was staged before would
	// have to stand, and with it the request that was made for that.
	if err := replaceFile(a.o.Export, func(w io.Writer) error { return p.WriteRequest(ctx, w) }); err != nil {
		return Outcome{}, err
	}
	if err := p.Stage(); err != nil {
		return Outcome{}, err
	}
	st := p.Statement()
	_, err = fmt.Fprintf(a.env.Stdout, "%s of report %s, for an operator to approve: generation %d, root %s\nNothing is accepted yet. Where the operator's key is: intact accept --approve %s --sign-with KEY\n",
		counted(n, "change"), report.Escape(id), st.Generation, st.Short(), report.ShellQuote(filepath.Base(a.o.Export)))
	return Done(), err
}

// ApplyApproval publishes the staged generation that an operator approved
// elsewhere.
func ApplyApproval(ctx context.Context, e *Env, file string) (Outcome, error) {
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	text, err := readOpened(file, baseline.MaxApproval, nil)
	if err != nil {
		return Outcome{}, usageError("accept --apply: %w", err)
	}
	if err := s.needBaseline(); err != nil {
		return Outcome{}, err
	}
	if err := s.acquire("accept"); err != nil {
		return Outcome{}, err
	}
	a, err := baseline.ParseApproval(text)
	if err != nil {
		return Outcome{}, fmt.Errorf("accept --apply %q: %w", file, err)
	}
	s.store.Trust.Host = s.own // of this host, wherever the list comes from
	infos, err := s.store.List()
	if err != nil {
		return Outcome{}, err
	}
	last := infos[len(infos)-1]
	if last.Statement == nil {
		return Outcome{}, last.Err
	}
	if err := s.notRolledBack(ctx, last.Statement); err != nil {
		return Outcome{}, err
	}
	p, err := s.begin(ctx, report.KindAccept, report.ScopeFull, false)
	if err != nil {
		return Outcome{}, err
	}
	defer p.abort()
	p.baseline(last.Statement, last.Signed)
	p.knows(last.Statement)
	by, err := s.store.Install(ctx, a)
	if errors.Is(err, baseline.ErrNotStaged) {
		return Outcome{}, &codeError{ExitUsage, fmt.Errorf("%w: %s", err, s.again(a.Statement.Report))}
	}
	if err != nil {
		return Outcome{}, err
	}
	st := a.Statement
	words := fmt.Sprintf("applied what %s approved with %s", report.Escape(by.Principal), report.Escape(by.Fingerprint))
	_, err = fmt.Fprintf(e.Stdout, "%s: generation %d, root %s: %s\n", words, st.Generation, st.Short(), report.Prose(st.Reason))
	return Done(), errors.Join(err, p.published(st, words))
}

// again says how to come to a new request for what a report found.
func (s *session) again(id string) string {
	one, err := s.archive().Get(id)
	if err == nil {
		if t, _, err := readEnds(one); err == nil && t.Pending != "" {
			if d, err := digest.Parse(t.Pending); err == nil {
				if set, err := s.store.OpenPending(d); err == nil {
					set.Close()
					words := append(s.program(), "accept", "--export", "FILE", "--report", id)
					for i, w := range words {
						words[i] = report.ShellQuote(w)
					}
					return "what it was made of still waits: " + strings.Join(words, " ") + " --all, or --path GLOB, and let it be approved again"
				}
			}
		}
	}
	return "run intact check, then accept --export again"
}
