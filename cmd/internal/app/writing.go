package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
	"intact/scanner"
	"intact/scanner/entry"
)

// What bounds the gaps that a report lists one by one; beyond it they are
// counted in one record.
const (
	maxGaps     = 100_000
	maxGapBytes = 64 << 20
)

// paper is the report of one run on its way to the archive and to people.
type paper struct {
	s     *session
	kind  report.Kind
	draft *report.Draft // nil with --no-state: tmp then holds the report
	tmp   *os.File
	w     *report.Writer
	head  report.Header
	key   seal.Signer // nil with --no-state
	notes []string    // about what is kept
}

// begin starts a report. Its number is taken under the lock.
func (s *session) begin(ctx context.Context, kind report.Kind, scope report.Scope, noState bool) (*paper, error) {
	p := &paper{s: s, kind: kind}
	p.head = report.Header{
		ID: newID(), Kind: kind, Scope: scope, Root: s.root.HostPath(), Started: s.env.Now().UTC(),
		Host: report.Host{Name: hostName()}, Tool: s.tool(), Command: s.env.Args,
	}
	p.head.Boot = boot()
	// A host id that cannot be read is told by the error of opening the store.
	if h, err := s.store.Host(); err == nil {
		p.head.Host.ID, p.head.Host.Epoch = h.ID, h.Epoch
		if h.Note != "" {
			s.remark(fmt.Sprintf("epoch %d: %s", h.Epoch, h.Note))
		}
	}
	if noState {
		f, err := os.CreateTemp("", "intact-report-*")
		if err != nil {
			return nil, fmt.Errorf("begin report: %w", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		p.tmp, p.head.Seq = f, 1
		p.w = report.NewWriter(f)
		return p, nil
	}
	var err error
	if p.key, err = s.reportSigner(); err != nil {
		return nil, fmt.Errorf("begin report: %w", err)
	}
	a := s.archive()
	at, err := a.Next(ctx, s.env.Now(), s.judgeReport)
	if err != nil {
		return nil, fmt.Errorf("begin report: %w", err)
	}
	for _, n := range at.Unfinished {
		s.remark(fmt.Sprintf("a run before this one did not finish: it was to write report %d", n))
	}
	if at.Pruned > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%s up to number %d deleted with this one: they are more, or older, than what is kept", counted(at.Pruned, "old report"), at.Checkpoint.Seq))
	}
	if at.Kept != nil {
		p.notes = append(p.notes, fmt.Sprintf("old reports are not deleted, though there are more than are to be kept: %v: see intact report verify", at.Kept))
	}
	p.head.Seq, p.head.Prev, p.head.Checkpoint, p.head.Signer = at.Seq, at.Prev, at.Checkpoint, p.key.Key().Fingerprint
	if s.store.Trust != nil && p.head.Host.ID != "" {
		if p.head.Known, _, err = s.known(ctx, p.head.Host.ID); err != nil {
			return nil, fmt.Errorf("begin report: %w", err)
		}
	}
	if p.draft, err = a.Create(at, kind); err != nil {
		return nil, err
	}
	p.w = report.NewWriter(p.draft)
	return p, nil
}

// baseline notes in the header what is compared with and who signed it.
func (p *paper) baseline(st *statement.Statement, by baseline.Signed) {
	p.head.Baseline = report.Baseline{Generation: st.Generation, Root: st.Root.Named(), Signer: cmp.Or(by.Principal, by.Fingerprint)}
	p.head.Policy = st.Policy.Named()
}

// knows notes the newest baseline of the state folder, for those who look at
// this report alone: what it knows does not go away.
func (p *paper) knows(st *statement.Statement) {
	if st.Generation > p.head.Known.Generation {
		p.head.Known = report.Known{Generation: st.Generation, Root: st.Root.Named()}
	}
}

// published stores the report of a generation that was made of what is known,
// so that the generation cannot go away unnoticed. It is there already: an
// error is only about its report.
func (p *paper) published(made *statement.Statement, words string) error {
	t := report.Trailer{Verdict: report.Clean, Reason: words + ": " + made.Reason, Exits: []int{}, Complete: true}
	t.Published = publishedBy(made)
	err := p.w.Header(p.head)
	if err == nil {
		err = p.note(p.s.remarked)
	}
	if err == nil {
		err = p.close(t)
	}
	if err == nil {
		_, err = p.store()
	}
	if errors.Is(err, report.ErrPrune) {
		p.s.env.warn("%v", err)
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("generation %d is in force, but there is no report of it: %w", made.Generation, err)
	}
	return err
}

func (p *paper) note(texts []string) error {
	for _, text := range texts {
		if err := p.w.Note(report.Note{Text: text}); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

// close writes the last notes and the trailer.
func (p *paper) close(t report.Trailer) error {
	if err := p.note(p.notes); err != nil {
		return err
	}
	t.Finished, t.Clock = p.s.env.Now().UTC(), bootClock()
	if err := p.w.Trailer(t); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// publishedBy names a new generation in a report.
func publishedBy(made *statement.Statement) report.Baseline {
	b := report.Baseline{Generation: made.Generation, Root: made.Root.Named(), Signer: made.Signer}
	if made.Authority == statement.Host {
		b.Signer = baseline.HostPrincipal(made.HostID)
	}
	return b
}

// end writes the trailer, stores the report and shows it.
func (p *paper) end(t report.Trailer, o Output) error {
	if err := p.close(t); err != nil {
		return err
	}
	src := p.tmp
	if p.draft != nil {
		stored, err := p.store()
		if err != nil && !errors.Is(err, report.ErrPrune) {
			return errors.Join(err, p.s.show(p.draft.File, o)) // it is all that is left of the run
		} else if err != nil {
			p.s.env.warn("%v", err)
		}
		src, o.stored = p.draft.File, stored.Path
	}
	if p.s.early {
		p.s.unlock()
	}
	if o.Silent || p.s.env.Quiet && t.Exit == ExitClean && o.File == "" {
		return nil
	}
	return p.s.show(src, o)
}

// store signs the report and makes it one of the archive.
func (p *paper) store() (report.Stored, error) {
	if _, err := p.draft.Seek(0, io.SeekStart); err != nil {
		return report.Stored{}, err
	}
	armor, err := p.key.Sign(report.Namespace, p.draft)
	if err != nil {
		return report.Stored{}, fmt.Errorf("sign report: %w", err)
	}
	return p.draft.Commit(armor)
}

// abort drops a report that was not ended; after end it only closes.
func (p *paper) abort() {
	if p.draft != nil {
		// What is left of a draft is swept by the next run.
		_ = p.draft.Abort()
	}
	if p.tmp != nil {
		_ = p.tmp.Close() // already unlinked
	}
}

// Output says how a report is shown.
type Output struct {
	Format string // text or json
	Silent bool   // it is stored and not shown
	File   string // instead of stdout

	stored string // name of the stored report, "" where it is not stored
}

// show renders the report in src.
func (s *session) show(src io.ReadSeeker, o Output) error {
	if o.File == "" {
		return s.render(s.env.Stdout, src, o)
	}
	return toFile(o.File, "write report", func(w io.Writer) error { return s.render(w, src, o) })
}

func (s *session) render(w io.Writer, src io.ReadSeeker, o Output) error {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if o.Format == "json" {
		_, err := io.Copy(w, src)
		return err
	}
	return report.Text(w, src, report.TextOptions{
		Now: s.env.Now(), Location: time.Local, User: s.users.User, Group: s.users.Group,
		Color: s.env.Color && o.File == "", Verbose: s.env.Verbose, Program: s.program(), Verify: s.verifyLine(o.stored),
	})
}

// program is how this run was called: the commands that a report suggests must
// act on the same configuration, state and root.
func (s *session) program() []string {
	words := []string{"intact"}
	for _, f := range []struct{ flag, value string }{{"--config", s.env.Config}, {"--state", s.env.State}} {
		if f.value != "" {
			words = append(words, f.flag, f.value)
		}
	}
	if h := s.root.HostPath(); h != "/" {
		words = append(words, "--root", h)
	}
	return words
}

func (s *session) archive() *report.Archive {
	return report.OpenArchive(s.store.Dir()+"/reports", s.cfg.Reports.Count, s.cfg.Reports.Days)
}

// gapSink passes a scan on to another sink and keeps its gaps for the report.
type gapSink struct {
	scanner.Sink
	gaps *gapList
}

func (g *gapSink) Gap(w int, gap scanner.Gap) error {
	g.gaps.add(gap)
	return g.Sink.Gap(w, gap)
}

func gapRecord(g scanner.Gap, known bool, count int64) report.Gap {
	r := report.Gap{Reason: string(g.Reason), Detail: g.Detail, Known: known, Count: count}
	r.Subject.Kind, r.Subject.Path = "file", string(g.Path)
	if g.Subtree {
		r.Subject.Kind = "dir"
	}
	if g.Attrs&^entry.Type != 0 {
		for _, row := range g.Attrs.Rows() {
			r.Attributes = append(r.Attributes, row.Name)
		}
	}
	return r
}

// moreGaps stands for the gaps beyond those that a report lists.
func moreGaps(l *gapList) report.Gap {
	return gapRecord(scanner.Gap{Path: "/", Reason: scanner.ReasonIO, Detail: "more gaps than a report lists", Subtree: true}, false, l.more)
}
