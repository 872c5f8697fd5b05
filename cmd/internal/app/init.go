package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/report"
	"intact/scanner"
	"intact/scanner/policy"
)

// InitOptions of Init.
type InitOptions struct {
	Paths    []string // an ad-hoc policy instead of the configured one
	Force    bool     // a baseline that is there is followed by a new one
	Reason   string
	SignWith string // an operator's key, see session.signer; "": the host's own
	Compare  string // file of an export that the new baseline is held against, "": none
	Output   Output

	against *contrast // with the export of Compare, nil without
	rules   *stands   // of the new baseline, nil without
	adopt   *check    // its generation must be found unchanged where both policies select
}

// Init scans and writes a generation made of what it finds: the first one, or
// with Force the next.
func Init(ctx context.Context, e *Env, o InitOptions) (Outcome, error) {
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	pol, origin := s.cfg.Policy, originConfig
	if len(o.Paths) > 0 {
		origin = originPaths
		paths, err := s.existing(o.Paths)
		if err != nil {
			return Outcome{}, err
		}
		pol = policy.AdHoc(paths)
	}
	if o.Compare != "" {
		if o.against, err = s.golden(ctx, o.Compare); err != nil {
			return Outcome{}, err
		}
		defer o.against.close()
	}
	if err := s.store.Init(s.machine()); err != nil {
		return Outcome{}, err
	}
	if err := s.acquire("init"); err != nil {
		return Outcome{}, err
	}
	latest, err := s.store.Latest()
	if err != nil {
		return Outcome{}, err
	}
	if latest > 0 && !o.Force {
		return Outcome{}, usageError("generation %d of a baseline is in %q: use check, or init --force to start over from what is there now", latest, s.store.Dir())
	}
	made, err := s.makeKeys()
	if err == nil {
		err = s.readTrust() // the host's own keys are known now
	}
	if err != nil {
		return Outcome{}, err
	}
	s.remark(made...)
	if !o.Force {
		if err := s.neverHad(ctx); err != nil {
			return Outcome{}, err
		}
	}
	return s.initialise(ctx, pol, origin, o)
}

func (s *session) initialise(ctx context.Context, pol *policy.Policy, origin string, o InitOptions) (out Outcome, err error) {
	sc, err := s.scope(pol, pol, nil, true)
	if err != nil {
		return out, err
	}
	judge, err := s.readFirstRules(origin)
	if err != nil {
		return out, err
	}
	authority, err := s.approveWith(o.SignWith)
	if err != nil {
		return out, err
	}
	p, err := s.begin(ctx, report.KindInit, report.ScopeFull, false)
	if err != nil {
		return out, err
	}
	defer p.abort()
	opt := s.scanOptions(sc)
	opt.TempDir = s.store.Dir()
	book := newLogBook()
	if o.adopt == nil { // else the ledger goes on
		opt.Logs = book
	}
	b, err := s.store.NewBuilder(opt.Workers, sc.eff.Sets(), pol.Canonical())
	if err != nil {
		return out, err
	}
	defer b.Abort()
	gaps := &gapList{}
	stop := s.progress(opt.Progress, 0)
	var sink scanner.Sink = b
	held := &heldSink{Sink: b, sets: sc.eff.Sets()}
	if o.adopt != nil {
		held.old, held.was = o.adopt.gen, o.adopt.scope.eff
		sink = held
	}
	v := &vouch{}
	st, err := scanner.Run(ctx, s.root, sc.eff, opt, nil, &gapSink{sink, gaps}, v)
	stop()
	s.gather()
	if err == nil && o.adopt != nil {
		err = held.verify(sc.eff)
	}
	if err != nil {
		return out, err
	}
	if st.Selected == 0 {
		return out, usageError("the policy selects nothing that exists under %q", s.root.HostPath())
	}
	rows := append(sc.mounts, aliasRows(sc.aliases)...)
	rows = append(rows, diff.Row{Kind: rowOrigin, Key: []byte("policy"), Value: []byte(origin)})
	own, err := s.stateRows()
	if err != nil {
		return out, err
	}
	self, err := s.selfRows(ctx)
	if err != nil {
		return out, err
	}
	rows = append(rows, s.settingRows()...)
	expected, err := o.expectedRows()
	if err != nil {
		return out, err
	}
	var known []diff.Row
	if origin == originConfig {
		if known, o.rules, err = s.knownRows(ctx, o.adopt, judge, p.head.Started); err != nil {
			return out, err
		}
	}
	for _, r := range slices.Concat(rows, own, self, expected, known) {
		b.AddRow(r)
	}
	reason := o.Reason
	if reason == "" {
		reason = "init"
	}
	s.store.Restart = o.Force && o.adopt == nil
	made, err := b.Commit(ctx, s.note("", reason, authority))
	if err != nil {
		return out, fmt.Errorf("init: %w", err)
	}
	if err := s.freshAges(made, p.head.Started); err != nil {
		return out, fmt.Errorf("init: %w", err)
	}
	if o.against != nil {
		o.against.failed = o.against.holdAgainst(ctx, made)
	}
	p.head.Host.ID = made.HostID
	if o.adopt == nil {
		if err := s.firstLogs(p, book); err != nil {
			return out, fmt.Errorf("init: %w", err)
		}
	}
	return s.initReport(ctx, p, sc, st, gaps, v, made, book, o)
}

// expectedRows are the rows that stay where another policy is adopted: it forgets no
// manifest and no index, and forgives none.
func (o *InitOptions) expectedRows() (rows []diff.Row, err error) {
	for _, kind := range []string{rowExpect, rowIndex} {
		if o.adopt == nil {
			break
		}
		list, err := o.adopt.gen.Rows(kind)
		if err != nil {
			return nil, err
		}
		rows = append(rows, list...)
	}
	return rows, nil
}

// knownRows are the rows about the host besides its files. Those of the generation
// that is adopted, nil if there is none, stay as they are.
func (s *session) knownRows(ctx context.Context, adopt *check, judge *firstRules, now time.Time) ([]diff.Row, *stands, error) {
	var from *baseline.Generation
	if adopt != nil {
		from = adopt.gen
	}
	installed, err := s.carriedPackages(ctx, from)
	if err != nil {
		return nil, nil, err
	}
	secret, err := s.makeSecret()
	if err != nil {
		return nil, nil, err
	}
	h := s.hostFacts(judge.waivers)
	h.secret = secret
	facts, err := s.factRows(ctx, h, from)
	if err != nil {
		return nil, nil, err
	}
	st, err := s.firstStands(ctx, judge, h, from, now)
	if err != nil {
		return nil, nil, err
	}
	return slices.Concat(installed, facts, st.rows), st, nil
}

func (s *session) note(reportID, reason string, by statement.Authority) statement.Note {
	return statement.Note{HostName: hostName(), Created: s.env.Now().UTC(), ToolVersion: s.env.Version, ToolDigest: s.toolDigest(),
		Report: reportID, Reason: reason, Approver: s.approver(), Authority: by}
}

func (s *session) initReport(ctx context.Context, p *paper, sc *scope, st scanner.Stats, gaps *gapList, v *vouch, made *statement.Statement, book *logBook, o InitOptions) (Outcome, error) {
	p.head.Policy = made.Policy.Named()
	list := gaps.sorted()
	t := report.Trailer{Verdict: report.Clean, Complete: true, Exits: []int{}, Logs: book.outcome()}
	t.Published = publishedBy(made)
	t.Counts.KnownGaps = int64(len(list)) + gaps.more
	t.Counts.Selected = made.Entries
	for _, g := range list {
		if g.Attrs == 0 {
			t.Counts.Selected++
		}
	}
	t.Counts.Verified = t.Counts.Selected - t.Counts.KnownGaps
	t.Counts.Skipped, t.Counts.Bytes = int64(len(st.Skipped)), st.Bytes
	if err := p.w.Header(p.head); err != nil {
		return Outcome{}, err
	}
	out := Done()
	if o.against != nil {
		if err := o.against.tellInit(ctx, p, &t, &out); err != nil {
			return Outcome{}, err
		}
	}
	if o.adopt == nil { // else the same was said at the init before
		if err := v.tell(ctx, p, len(o.Paths) == 0); err != nil {
			return Outcome{}, err
		}
	}
	if err := o.rules.emitFindings(p, &t); err != nil {
		return Outcome{}, err
	}
	for _, g := range list {
		if err := p.w.Gap(gapRecord(g, true, 0)); err != nil {
			return Outcome{}, err
		}
	}
	if err := o.rules.emitRecords(p); err != nil {
		return Outcome{}, err
	}
	if err := s.remarks(p, sc, st); err != nil {
		return Outcome{}, err
	}
	if err := p.w.Note(report.Note{Text: "the root of this baseline begins with " + made.Short() + ": write it down or pin it elsewhere"}); err != nil {
		return Outcome{}, err
	}
	if made.Restart {
		text := "this generation begins a chain of its own: " + report.Prose(made.Reason)
		s.env.warn("%s", text)
		if err := p.w.Note(report.Note{Text: text}); err != nil {
			return Outcome{}, err
		}
	}
	for _, g := range list {
		if g.Reason.Passing() {
			out.Add(ExitIncomplete)
			t.Verdict, t.Complete = report.Incomplete, false
			t.Reason = "some gaps may only be of the moment: look at them, and init --force again"
		}
	}
	t.Exit, t.Exits = out.Exit(), append([]int{}, out.Exits()...)
	err := p.end(t, o.Output)
	if err == nil {
		s.pruneLogs(book)
	}
	return out, err
}

// remarks writes what the scan passed over and what a reader should know.
func (s *session) remarks(p *paper, sc *scope, st scanner.Stats) error {
	for _, k := range skips(st) {
		if err := p.w.Skip(k); err != nil {
			return err
		}
	}
	for _, text := range s.remarked {
		if err := p.w.Note(report.Note{Text: text}); err != nil {
			return err
		}
	}
	for _, a := range sc.aliases {
		if err := p.w.Note(report.Note{Text: "the policy path leads to " + report.Escape(string(a.To)), Path: string(a.From)}); err != nil {
			return err
		}
	}
	if n := len(sc.missing); n > 0 {
		if err := p.w.Note(report.Note{Text: fmt.Sprintf("%d paths of the policy do not exist here: see intact policy check", n)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) scanOptions(c *scope) scanner.Options {
	n, rate := s.env.Workers, s.rate()
	if n == 0 {
		n = s.cfg.Workers
	}
	s.lower()
	mem := memoryUnder(debug.SetMemoryLimit(-1))
	o := scanner.Options{Workers: min(scanner.Workers(n), mem.workers), NameMemory: mem.names, MaxRate: rate, Own: c.own, Progress: new(scanner.Progress)}
	s.spread(o.Workers)
	o.Isolate = s.isolated(c, o)
	return o
}

// rate is how many bytes of content may be read a second, 0: any.
func (s *session) rate() int64 { return cmp.Or(s.env.MaxRate, s.cfg.MaxRate) }

// spread lets that many workers be in system calls at once, until gather. The
// runtime counts a goroutine that waits for a disk as running until its monitor
// notices, some ten microseconds later: with as many places as cores, two slow
// reads would keep all other workers from asking for theirs.
func (s *session) spread(workers int) {
	if now := runtime.GOMAXPROCS(0); !s.steady && os.Getenv("GOMAXPROCS") == "" && now < workers {
		s.places = now
		runtime.GOMAXPROCS(workers)
	}
}

// gather undoes spread when the scan is over: what follows computes, and a
// garbage collection costs more the more places there are.
func (s *session) gather() {
	if s.places > 0 {
		runtime.GOMAXPROCS(s.places)
		s.places = 0
	}
}

// trust reports whether err means that the baseline cannot be used.
func trust(err error) bool {
	for _, e := range []error{errNoTrust, errUnexpected, errRolledBack, baseline.ErrDamaged, baseline.ErrForeign, baseline.ErrNoBaseline, baseline.ErrUntrusted, baseline.ErrRequest, baseline.ErrApproval} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
