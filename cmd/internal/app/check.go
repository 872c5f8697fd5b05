package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/updates"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// CheckOptions of Check.
type CheckOptions struct {
	Paths      []string       // only these and what lies below; none: everything
	FailOn     string         // severity, "" for the configured one
	Only, Skip []string       // rule sets
	ExpectRoot string         // the root that the baseline must have
	Baseline   string         // an export in the place of the state folder's baseline
	NoState    bool           // nothing is written to the state folder
	Quick      bool           // files with the times of the baseline need not be read
	LeaveOut   []string       // attributes that are not compared: they do not survive a copy
	SecondLook string         // how many files to read past the page cache too: 1% or a number; "": none
	Wait       *time.Duration // for a running transaction of packages; nil: as configured
	Output     Output
}

// setNames are the rule sets there are, in report order.
var setNames = [...]string{"integrity", "packages", "drift", "mounts", "policy", "trust"}

// Check scans, compares with the baseline, judges and reports.
func Check(ctx context.Context, e *Env, o CheckOptions) (Outcome, error) {
	s, trustErr, err := openDistrusting(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	c := &check{session: s, o: o, gaps: &gapList{}}
	if trustErr != nil {
		c.distrust = fmt.Errorf("%w: %w", errNoTrust, trustErr)
		if Fail(trustErr).Exit() == ExitUsage {
			c.out.Add(ExitUsage)
		}
	}
	if err := c.options(); err != nil {
		return Outcome{}, err
	}
	if s.cfgErr != nil {
		e.warn("%v", s.cfgErr)
		c.out.Add(ExitUsage)
	}
	if !c.await(ctx) {
		return Done(ExitInterrupted), nil
	}
	if !o.NoState {
		if err := c.ready(ctx); err != nil {
			return Outcome{}, err
		}
	}
	return c.run(ctx)
}

// ready takes the lock. A state folder that somebody damaged is none that ends
// the check before it looked at the host: that is in c.distrust then.
func (c *check) ready(ctx context.Context) error {
	err := c.needBaseline()
	if errors.Is(err, baseline.ErrNoBaseline) && c.distrust == nil {
		if c.distrust = c.gone(ctx); errors.Is(c.distrust, errRolledBack) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	if err := c.acquire("check"); err != nil {
		if c.lock == nil || !trust(err) {
			return err
		}
		c.distrust = cmp.Or(c.distrust, err)
	}
	return c.writable()
}

// check is one run of Check.
type check struct {
	*session
	o      CheckOptions
	out    Outcome
	failOn rules.Severity

	distrust error // nothing of the state folder can be used
	sets     map[string]bool
	limit    []entry.Path
	gen      *baseline.Generation
	keep     *baseline.Keeper // of who looks often, else nil
	base     *policy.Policy
	scope    *scope
	paper    *paper
	gaps     *gapList
	stats    scanner.Stats
	counts   baseline.Counts
	result   *diff.Result
	rows     []diff.RowChange
	mounts   []rules.Finding
	drift    []rules.Finding // about the policy
	trusts   []rules.Finding // about signatures
	holding
	transactionWait
	unheld  []entry.Path    // parts of intact itself that could not be read, but the configuration
	by      baseline.Signed // who signed the baseline
	quick   *quick
	leave   entry.Attr // not compared
	look    *secondLook
	explain *explaining
	logs    *logBook
	byPackages
	facts    byFacts
	ruled    byRules
	known    *hostFacts
	pending  *pendingJudge
	saved    digest.Digest // the pending set
	windows  windowMarks
	counted  report.Counts
	mass     massSense
	watch    *look            // nil: this is no look of a watcher
	update   []entry.Path     // what a package manager touched; nil: this is no proposal
	upgrades []updates.Update // that explained changes
	placing  updates.Host     // where packages put their files
	took     string           // what was accepted without a person, in words
	signed   int64            // findings that a signature explains

	seen       time.Time // when the change that tell is at was first seen
	seenBefore bool      // and not now

	newGaps int64
}

func (c *check) options() (err error) {
	c.failOn = c.cfg.FailOn
	if c.o.FailOn != "" {
		if c.failOn, err = rules.ParseSeverity(c.o.FailOn); err != nil {
			return usageError("--fail-on: %w", err)
		}
	}
	if c.o.ExpectRoot != "" {
		if _, err := readPin(c.o.ExpectRoot); err != nil {
			return usageError("--expect-root: %w", err)
		}
	}
	if err := c.chooseSets(); err != nil {
		return err
	}
	if err := c.left(); err != nil {
		return err
	}
	if c.o.Quick && c.o.Baseline != "" {
		return usageError("--quick and --baseline exclude each other: when the files of an export were read is not known")
	}
	if c.look, err = c.newSecondLook(); err != nil {
		return err
	}
	if f := c.o.Output.Format; f != "" && f != "text" && f != "json" {
		return usageError("--format: want text or json, not %q", f)
	}
	return nil
}

func (c *check) partial() bool {
	return c.watch != nil || len(c.update)+len(c.o.Paths)+len(c.o.Only)+len(c.o.Skip)+len(c.o.LeaveOut) > 0
}

// writable makes sure that a report can be written before the long scan. It
// needs the lock: whoever takes that removes the files of others.
func (c *check) writable() error {
	f, err := os.CreateTemp(c.store.Dir(), "write-*.tmp")
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (c *check) run(ctx context.Context) (Outcome, error) {
	err := c.open(ctx)
	if err != nil {
		if trust(err) {
			return c.untrusted(ctx, err)
		}
		return Outcome{}, err
	}
	defer c.gen.Close()
	if err := c.readRules(); err != nil {
		return Outcome{}, err
	}
	kind, scope := c.what()
	if c.o.NoState && c.root.Live() {
		c.remark(namespaceNotes("/proc")...)
	}
	if !c.o.NoState {
		if err := c.lastReport(ctx); err != nil {
			return Outcome{}, err
		}
	}
	if err := c.readWindows(); err != nil {
		return Outcome{}, err
	}
	if c.paper, err = c.begin(ctx, kind, scope, c.o.NoState); err != nil {
		return Outcome{}, err
	}
	defer c.paper.abort()
	c.paper.baseline(c.gen.Statement(), c.by)
	if c.o.Baseline == "" {
		c.paper.knows(c.gen.Statement())
	}
	if err := c.paper.w.Header(c.paper.head); err != nil {
		return Outcome{}, err
	}
	if c.quick, err = c.newQuick(); err != nil {
		return Outcome{}, err
	}
	if err := c.openLogs(ctx); err != nil {
		return c.broken(ctx, err)
	}
	opt := c.scanOptions(c.scope)
	opt.TempDir, opt.Logs = c.tempDir(), c.logs
	spool := diff.NewSpool(c.tempDir(), opt.Workers, memoryUnder(debug.SetMemoryLimit(-1)).changes)
	defer spool.Close()
	defer c.keepPackages()()
	defer c.look.close()
	if err := c.scan(ctx, opt, spool); err != nil {
		return c.broken(ctx, err)
	}
	if err := c.lookAgain(ctx, opt); err != nil {
		return c.broken(ctx, err)
	}
	c.awaited()
	if c.result.Counts().All() > manyChanges {
		defer collectLess()()
	}
	if c.o.Baseline == "" {
		c.remark(c.strangeKept()...)
	}
	if err := c.holdPackages(ctx); err != nil {
		return c.broken(ctx, err)
	}
	if err := c.holdFacts(ctx); err != nil {
		return c.broken(ctx, err)
	}
	c.explain, err = c.newExplaining(ctx, opt.MaxRate)
	defer c.updating.close()
	if err != nil {
		return c.broken(ctx, err)
	}
	if err := c.judge(ctx); err != nil {
		return c.broken(ctx, err)
	}
	if c.watch != nil && c.watch.quiet() {
		return c.out, nil
	}
	if err := c.keepAges(); err != nil {
		return c.broken(ctx, err)
	}
	if err := c.writeLogs(); err != nil {
		return c.broken(ctx, err)
	}
	if !c.o.NoState {
		if err := c.keepRPMLists(ctx, c.installed); err != nil {
			return c.broken(ctx, err)
		}
		c.pruneKept(ctx)
	}
	err = c.finish(ctx)
	return c.out, err
}

// tempDir is where many changes, and the names of a very large directory, are
// sorted.
func (c *check) tempDir() string {
	if c.o.NoState {
		return os.TempDir()
	}
	return c.store.Dir()
}

// scan compares the root with the baseline.
func (c *check) scan(ctx context.Context, opt scanner.Options, spool *diff.Spool) error {
	found, changed, hidden, err := mountDrift(ctx, c.gen, c.root, c.scope)
	if err != nil {
		return err
	}
	c.mounts = append(c.mounts, found...)
	c.rows = append(c.rows, changed...)
	opt.Hidden, opt.Limit = hidden, c.limit
	comp := c.gen.Compare(spool, opt.Workers)
	var sink scanner.Sink = comp
	some := &limitSink{Comparer: comp, gen: c.gen, limit: c.limit, parts: entry.NewParts(c.limit), spool: spool, seen: map[entry.Path]bool{}, met: map[entry.Path]bool{}}
	if len(c.limit) > 0 {
		comp.Limit(c.limit)
		sink = some
	}
	opt.Flat = c.watch.isFlat()
	some.flat = opt.Flat
	if opt.Trust = c.quick.trust(); opt.Trust != nil {
		sink = &readSink{sink, &c.quick.files}
	}
	sink = c.look.through(sink)
	if c.watch != nil {
		c.watch.pulse.reads(opt.Progress)
	}
	stop := c.progress(opt.Progress, c.gen.Statement().Entries)
	c.stats, err = scanner.Run(ctx, c.root, c.scope.eff, opt, c.gen, &gapSink{sink, c.gaps}, c.observers()...)
	stop()
	c.gather()
	if err != nil {
		return err
	}
	some.finish()
	if opt.Flat {
		c.counts, err = comp.FinishIn(ctx, nil)
	} else {
		c.counts, err = comp.Finish(ctx)
	}
	if err != nil {
		return err
	}
	c.counts.Verified += some.same.Load()
	c.rows = append(c.rows, comp.GapRows()...)
	if err := c.followLogs(ctx, opt.MaxRate); err != nil {
		return err
	}
	c.result, err = spool.Finish(ctx, c.rewrite())
	return err
}
