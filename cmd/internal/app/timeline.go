package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/scanner"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// TimelineOptions of Timeline.
type TimelineOptions struct {
	Since, Until string   // see parseMoment; no Until: no end
	Format       string   // text, json or bodyfile; "" is text
	Paths        []string // these and what lies below, in place of what the policy selects
	Memory       int      // bytes to sort in before the disk is used; 0: a default
}

// timelineMemory is about what sorting takes without a GOMEMLIMIT.
const timelineMemory = 32 << 20

// statAttrs are what a timeline reads: what stat(2) tells, and where links
// lead. No file is opened.
const statAttrs = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Mtime | entry.Ctime |
	entry.Inode | entry.Nlink | entry.Device | entry.Target

// Timeline prints what is on the disk now by its times, marked by what the
// baseline says. It takes no lock and writes nothing but temporary files.
func Timeline(ctx context.Context, e *Env, o TimelineOptions) (Outcome, error) {
	win, err := o.window(e.Now())
	if err != nil {
		return Outcome{}, err
	}
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	t := &timeline{session: s, o: o, window: win, out: Done(), gaps: &gapList{}, blind: known{}, was: known{}}
	if t.memory = o.Memory; t.memory == 0 {
		t.memory = min(timelineMemory, 2*memoryUnder(debug.SetMemoryLimit(-1)).changes)
	}
	if s.cfgErr != nil {
		e.warn("%v", s.cfgErr)
		t.out.Add(ExitUsage)
	}
	if err := t.openBaseline(ctx); err != nil {
		return t.out, err
	}
	if t.gen != nil {
		defer t.gen.Close()
	}
	if err := t.choose(); err != nil {
		return t.out, err
	}
	err = t.run(ctx)
	return t.out, err
}

func (o *TimelineOptions) window(now time.Time) (w window, err error) {
	if !slices.Contains([]string{"", "text", "json", "bodyfile"}, o.Format) {
		return w, usageError("--format: want text, json or bodyfile, not %q", o.Format)
	}
	if o.Since == "" {
		return w, usageError("timeline needs --since: a time, or how long ago as 24h or 7d")
	}
	since, err := parseMoment(o.Since, now, time.Local)
	if err != nil {
		return w, usageError("--since: %w", err)
	}
	w.since, w.open = timeOf(since), o.Until == ""
	if w.open {
		return w, nil
	}
	until, err := parseMoment(o.Until, now, time.Local)
	if err != nil {
		return w, usageError("--until: %w", err)
	}
	if !since.Before(until) {
		return w, usageError("--until %q is not later than --since %q", o.Until, o.Since)
	}
	w.until = timeOf(until)
	return w, nil
}

// window is a span of time: since belongs to it, until does not.
type window struct {
	since, until entry.Time
	open         bool // there is no until
}

func timeOf(t time.Time) entry.Time { return entry.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())} }

func (w *window) has(t entry.Time) bool {
	return !t.Before(w.since) && (w.open || t.Before(w.until))
}

// any reports whether a time of e lies in w.
func (w *window) any(e *entry.Entry) bool {
	return e.Have&entry.Mtime != 0 && w.has(e.Mtime) || e.Have&entry.Ctime != 0 && w.has(e.Ctime) || e.Have&entry.Btime != 0 && w.has(e.Btime)
}

// timeline is one run of Timeline.
type timeline struct {
	*session
	o      TimelineOptions
	window window
	memory int
	out    Outcome
	gen    *baseline.Generation // nil: no marks
	accept *scope               // what the baseline's policy and the present one compare; nil without gen
	list   *scope               // what is listed
	hidden map[entry.Path]scanner.Reason
	gaps   *gapList
	blind  known // nothing is known of what lies there now
	was    known // the gaps of the baseline
}

// openBaseline opens the baseline where there is one that can be trusted, and
// says so where not.
func (t *timeline) openBaseline(ctx context.Context) error {
	c := &check{session: t.session, gaps: t.gaps}
	err := c.open(ctx)
	switch {
	case errors.Is(err, baseline.ErrNoBaseline):
		t.env.warn("there is no baseline: what changed and what is new is not known")
		return nil
	case err != nil && trust(err):
		t.env.warn("the baseline cannot be trusted, so what changed and what is new is not known: %v", err)
		t.out.Add(ExitTrust)
		return nil
	case err != nil:
		return err
	}
	t.gen, t.accept = c.gen, c.scope
	defer func() {
		if err != nil {
			t.gen.Close()
		}
	}()
	rows, err := t.gen.Rows(rowGap)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if p, _, err := entry.ParseKey(r.Key); err == nil {
			t.was[p] = true
		}
	}
	if _, _, t.hidden, err = mountDrift(ctx, t.gen, t.root, t.accept); err != nil || len(t.o.Paths) > 0 {
		return err
	}
	rows, err = t.gen.Rows(rowAlias)
	if err != nil {
		return err
	}
	present, err := c.present()
	if err != nil {
		return err
	}
	if present != nil {
		present = bare(present)
	}
	t.list, err = t.scope(bare(c.base), present, aliasesOf(rows), false)
	return err
}

// choose decides what is listed where the baseline did not.
func (t *timeline) choose() error {
	pol := t.cfg.Policy
	switch {
	case len(t.o.Paths) > 0:
		paths, err := t.named()
		if err != nil {
			return err
		}
		pol = policy.AdHoc(paths)
	case t.list != nil:
		return nil
	case t.cfgErr != nil:
		return usageError("neither baseline nor configuration say what to list: name PATHs")
	}
	pol = bare(pol)
	var err error
	if t.list, err = t.scope(pol, pol, nil, true); err != nil {
		return err
	}
	if len(t.o.Paths) > 0 {
		for p := range t.hidden { // they were named: look, but miss nothing there
			t.blind[p] = true
		}
		t.hidden = nil
	}
	return nil
}

// named returns the PATHs. Each must be there, or have been.
func (t *timeline) named() ([]entry.Path, error) {
	paths, err := t.paths(t.o.Paths)
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		_, _, exists, err := t.root.Resolve(p)
		if err != nil {
			return nil, usageError("path %q: %w", t.o.Paths[i], err)
		}
		if exists {
			continue
		}
		if t.gen != nil {
			if _, _, was := t.gen.Lookup(p); was {
				continue
			}
		}
		return nil, usageError("path %q does not exist, on the disk or in the baseline", t.o.Paths[i])
	}
	return paths, nil
}

// bare is p with nothing to compare but what needs no file opened. Sweeps list
// all that they go over.
func bare(p *policy.Policy) *policy.Policy {
	q := *p
	q.Rules = slices.Clone(p.Rules)
	for i := range q.Rules {
		q.Rules[i].Set = entry.Set{Mask: statAttrs, DirMask: statAttrs &^ entry.Target}
		q.Rules[i].Group = ""
	}
	return &q
}

// run scans, holds what was seen against the baseline and prints it.
func (t *timeline) run(ctx context.Context) error {
	opt := t.scanOptions(t.list)
	opt.TempDir, opt.Hidden = os.TempDir(), t.hidden
	seen := newSightings(os.TempDir(), opt.Workers, t.memory/2, t.window, t.gen != nil, t.gaps)
	defer seen.close()
	var prior scanner.Prior
	if t.gen != nil {
		prior = t.gen
	}
	stop := t.progress(opt.Progress, 0)
	stats, err := scanner.Run(ctx, t.root, t.list.eff, opt, prior, seen)
	stop()
	t.gather()
	if err != nil {
		return err
	}
	t.missed(stats)
	w := bufio.NewWriterSize(t.env.Stdout, 64<<10)
	page := &page{timeline: t, view: report.NewTimeline(w, report.Names{User: t.users.User, Group: t.users.Group}, time.Local)}
	page.sorter = diff.NewSorter(os.TempDir(), t.memory/2, compareMoments)
	defer page.sorter.Close()
	if err := t.join(ctx, seen, page); err != nil {
		return err
	}
	if err := errors.Join(page.print(ctx), w.Flush()); err != nil {
		return err
	}
	t.say(seen, page, stats)
	return nil
}

// missed notes where nothing can be said to be gone.
func (t *timeline) missed(st scanner.Stats) {
	for _, g := range t.gaps.sorted() {
		if g.Attrs == 0 || g.Subtree {
			t.blind[g.Path] = true
		}
	}
	for _, s := range st.Skipped {
		t.blind[s.Path] = true
	}
	if t.gaps.more > 0 {
		t.blind["/"] = true
	}
}

// say tells on stderr what was not looked at, and how much was.
func (t *timeline) say(seen *sightings, p *page, st scanner.Stats) {
	for _, g := range t.gaps.sorted() {
		t.out.Add(ExitIncomplete)
		what := "not listed"
		if g.Attrs != 0 && !g.Subtree {
			what = "not all of it known"
		}
		detail := ""
		if g.Detail != "" {
			detail = ": " + g.Detail
		}
		t.env.warn("%q: %s: %s%s", string(g.Path), what, g.Reason, detail)
	}
	if t.gaps.more > 0 {
		t.env.warn("and %d gaps more", t.gaps.more)
	}
	if t.env.Quiet {
		return
	}
	var wider int64
	for _, n := range st.Widened {
		wider += n
	}
	if wider > 0 {
		t.env.warn("%d paths that only the present configuration selects are not listed: name them", wider)
	}
	if t.o.Format == "bodyfile" && p.gone > 0 {
		t.env.warn("%d paths are gone since the baseline; a body file has no place for them: see --format text", p.gone)
	}
	t.env.warn("timeline: %d of %d paths seen have a time in the span, %d are gone since the baseline", p.objects, seen.count(), p.gone)
}

// canceled returns why ctx ended, nil while it has not.
func canceled(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("timeline: %w", context.Cause(ctx))
}
