package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/report"
	"intact/rules"
	"intact/rules/integrity"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// maxLooser bounds how many paths are told one by one that are compared by less
// than they were, or would be accepted unread.
const maxLooser = 1000

// asked is what one request asks for, read from its values alone.
type asked struct {
	a      *approval
	who    string // signed the statement in force, for people
	unseen bool   // no operator whom a list here names did
	spool  *diff.Spool
	scope  scope // its policy, without the links and homes of the host
	decide func(entry.Path) policy.Decision
	rows   []diff.RowChange
	looser []report.Note // the first of what is compared by less or accepted unread
	sum    summary
}

// show reads a request, verifies it, prints all that it would change, and
// returns the statement that is to be signed, but for what the operator says.
// Nothing is printed before all of it is verified.
func (a *approval) show(ctx context.Context, name string) (*statement.Statement, *summary, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, usageError("%w", err)
	}
	defer f.Close()
	k := &asked{a: a, spool: diff.NewSpool(os.TempDir(), 1, 0)}
	defer k.spool.Close()
	q, err := baseline.ReadRequest(ctx, f, baseline.RequestSink{Head: k.head, Row: k.row, Change: k.change})
	if err != nil {
		return nil, nil, err
	}
	result, err := k.spool.Finish(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	tmp, err := os.CreateTemp("", "intact-request-*")
	if err != nil {
		return nil, nil, err
	}
	defer tmp.Close()
	if err := os.Remove(tmp.Name()); err != nil {
		return nil, nil, err
	}
	if err := k.write(ctx, tmp, q, result); err != nil {
		return nil, nil, err
	}
	k.heading(name, q, result.Counts())
	err = report.Changes(a.env.Stdout, tmp, report.TextOptions{Now: a.env.Now(), Location: time.Local, Color: a.env.Color})
	return q.Proposed, &k.sum, err
}

// head puts the policy of the request in force.
func (k *asked) head(q *baseline.Request) (err error) {
	if k.who, k.unseen, err = k.a.vouched(q); err != nil {
		return err
	}
	p, err := policy.ParseCanonical(q.Policy)
	if err != nil {
		return fmt.Errorf("%w: policy: %w", baseline.ErrRequest, err)
	}
	if k.scope.eff, err = policy.Union(p, p, nil); err != nil {
		return fmt.Errorf("%w: policy: %w", baseline.ErrRequest, err)
	}
	k.decide = k.scope.eff.Decider()
	return nil
}

func (k *asked) row(c diff.RowChange) error {
	switch c.Kind {
	case rowMount, rowAlias, rowState, rowSelf, rowExpect:
	case rowPackage:
		if _, _, err := movedPackage(c); err != nil {
			return fmt.Errorf("%w: %w", baseline.ErrRequest, err)
		}
	case rowFact:
		if _, err := shownFact(c); err != nil {
			return fmt.Errorf("%w: fact: %w", baseline.ErrRequest, err)
		}
	case rowStanding:
		if _, err := shownStanding(c); err != nil {
			return fmt.Errorf("%w: %w", baseline.ErrRequest, err)
		}
	case rowRulebook:
		if _, err := shownWaiver(c); err != nil {
			return fmt.Errorf("%w: %w", baseline.ErrRequest, err)
		}
	case rowGap:
		if _, _, err := entry.ParseKey(c.Key); err != nil {
			return fmt.Errorf("%w: gap: %w", baseline.ErrRequest, err)
		}
	default:
		return fmt.Errorf("%w: no check finds a change of the row %q", baseline.ErrRequest, c.Kind)
	}
	k.rows = append(k.rows, c)
	return nil
}

// change takes one difference, and looks whether the path is compared by less
// than before, or than the policy says: that would hide what comes next. What is
// compared and was not read is shown to nobody.
func (k *asked) change(c *diff.Change) error {
	var lost entry.Attr
	switch {
	case c.New == nil:
	case c.Old != nil:
		lost = c.OldSet.For(c.New.Kind) &^ c.NewSet.For(c.New.Kind)
		if c.NewSet.Sweep && !c.OldSet.Sweep || c.NewSet.Log && !c.OldSet.Log {
			lost |= entry.Content
		}
	default:
		if d := k.decide(c.Path); d.Select {
			lost = k.scope.eff.Sets()[d.Set].For(c.New.Kind) &^ c.NewSet.For(c.New.Kind)
		}
	}
	if lost != 0 {
		k.sum.less++
		k.tell(c.Path, "WOULD BE COMPARED BY LESS from now on, not by "+lost.String())
	}
	if c.New != nil {
		if unread := c.NewSet.For(c.New.Kind) &^ c.New.Have; unread != 0 {
			k.sum.unread++
			k.tell(c.Path, "WOULD BE ACCEPTED UNREAD: "+unread.String())
		}
	}
	return k.spool.Add(0, c)
}

func (k *asked) tell(p entry.Path, text string) {
	if len(k.looser) < maxLooser {
		k.looser = append(k.looser, report.Note{Path: string(p), Text: text})
	}
}

// write writes the changes as the records of a report.
func (k *asked) write(ctx context.Context, to io.Writer, q *baseline.Request, result *diff.Result) error {
	st := q.Present
	w := report.NewWriter(to)
	now := k.a.env.Now().UTC()
	err := w.Header(report.Header{
		ID: newID(), Kind: report.KindCheck, Scope: report.ScopeFull, Root: "/", Started: now, Seq: 1,
		Host: report.Host{ID: st.HostID, Name: st.HostName}, Tool: k.a.tool(),
		Baseline: report.Baseline{Generation: st.Generation, Root: st.Root.Named(), Signer: st.Signer}, Policy: st.Policy.Named(),
	})
	if err != nil {
		return err
	}
	self := false
	emit := func(f rules.Finding) error {
		f.FirstSeen, f.New = now, true
		k.sum.count(&f, self)
		return w.Finding(f)
	}
	in := rules.Input{Changes: result.Changes(), Floor: k.scope.floors()}
	if err := integrity.New(integrity.Options{}).Judge(ctx, in, emit); err != nil {
		return err
	}
	n := result.Counts()
	if told := w.Tally().Total(); told < n.All()-n.Folded-n.Linked {
		return fmt.Errorf("%d changes gave only %d findings", n.All()-n.Folded-n.Linked, told)
	}
	var gaps []report.Gap
	notes := k.looser
	if more := k.sum.less + k.sum.unread - len(notes); more > 0 {
		notes = append(notes, report.Note{Text: fmt.Sprintf("%d more such notes: in all %d paths would be compared by less and %d accepted unread", more, k.sum.less, k.sum.unread)})
	}
	pkgs := shownPackages(k.rows)
	for _, r := range k.rows {
		f, gap, note := shownRow(r, pkgs)
		self = r.Kind == rowSelf || r.Kind == rowState
		switch {
		case gap != nil:
			gaps = append(gaps, *gap)
		case note != nil:
			notes = append(notes, *note)
		default:
			err = emit(f)
		}
		if err != nil {
			return err
		}
	}
	k.sum.gaps = len(gaps)
	for _, g := range gaps {
		err = errors.Join(err, w.Gap(g))
	}
	for _, t := range notes {
		err = errors.Join(err, w.Note(t))
	}
	t := report.Trailer{Verdict: report.Findings, Exit: ExitFindings, Exits: []int{ExitFindings}, Finished: now}
	c := &t.Counts
	c.Changed, c.Added, c.Removed, c.Renamed = n.Changed+n.Regained, n.Added, n.Removed, n.Renamed
	c.KnownGaps = int64(len(gaps))
	c.Selected = c.Changed + c.Added + c.Removed + c.Renamed + c.KnownGaps
	return errors.Join(err, w.Trailer(t), w.Flush())
}

// shownRow is how a changed row is told: as a check does, or as a gap that is
// accepted, or as a note.
func shownRow(r diff.RowChange, pkgs map[string]rules.Finding) (f rules.Finding, gap *report.Gap, note *report.Note) {
	p := entry.Path(r.Key)
	switch r.Kind {
	case rowMount:
		return mountFinding(p, r.Old, r.New), nil, nil
	case rowAlias:
		return aliasFinding(string(r.Key), r.Old, r.New, "a path of the policy leads elsewhere"), nil, nil
	case rowSelf:
		part := words(r.New)["part"]
		if r.New == nil {
			part = words(r.Old)["part"]
		}
		return selfFinding(p, report.Prose(part), r.Old, r.New), nil, nil
	case rowState:
		return stateFinding(r.Old, r.New), nil, nil
	case rowExpect:
		return shownManifest(r), nil, nil
	case rowPackage:
		return pkgs[string(r.Key)], nil, nil // it was read when it came
	case rowStanding:
		f, _ = shownStanding(r) // likewise
		return f, nil, nil
	case rowRulebook:
		f, _ = shownWaiver(r) // likewise
		return f, nil, nil
	case rowFact:
		f, _ = shownFact(r) // likewise
		return f, nil, nil
	}
	p, _, _ = entry.ParseKey(r.Key) // it was parsed when it came
	if r.New == nil {
		return f, nil, &report.Note{Path: string(p), Text: "is no known gap any more: it was " + string(r.Old)}
	}
	gap = &report.Gap{Reason: string(r.New), Known: true, Subject: rules.Subject{Kind: "file", Path: string(p)}}
	return f, gap, nil
}

// heading prints what is in force, who says so, and what would be.
func (k *asked) heading(name string, q *baseline.Request, n diff.Counts) {
	old, now, e := q.Present, q.Proposed, k.a.env
	k.sum.name = fmt.Sprintf("request %s of host %s (%s)", report.Escape(name), old.HostID, report.Escape(old.HostName))
	e.print("%s\n", k.sum.name)
	if now.HostName != old.HostName {
		e.print("  it calls itself %s now\n", report.Escape(now.HostName))
	}
	e.print("  in force   generation %d of %s, root %s, %s\n", old.Generation, whenOf(old), old.Short(), report.Prose(k.who))
	k.past(old)
	e.print("  proposed   generation %d of %s, root %s, %d entries in %d directories\n", now.Generation, whenOf(now), now.Short(), now.Entries, now.Directories)
	if now.Report != "" {
		e.print("  made from  report %s\n", report.Escape(now.Report))
	}
	if now.Reason != "" {
		e.print("  they say   %s\n", report.Prose(now.Reason))
	}
	e.print("  their tool intact %s, %s\n", report.Prose(now.ToolVersion), toolNamed(now.ToolDigest))
	if n := len(now.Pruned); n > 0 {
		e.print("  deletes    %s of older generations: %s\n", counted(n, "file"), firstOf(now.Pruned))
	}
	e.print("  changes    %d of entries, %d of mounts, links, gaps, facts and intact itself; %d records stay as they are\n", n.All(), len(k.rows), q.Unchanged)
	e.print("  in short   %s\n", k.sum.words())
}

// past prints what is to be known of the statement in force: who signs vouches
// for what it holds as well.
func (k *asked) past(old *statement.Statement) {
	e := k.a.env
	if old.Restart {
		k.sum.past = fmt.Sprintf("generation %d STARTED OVER", old.Generation)
		e.print("  STARTED OVER with generation %d: it does not go on from the one before, which was not trusted there\n", old.Generation)
	}
	if old.Reason != "" {
		e.print("  its reason %s\n", report.Prose(old.Reason))
	}
	if k.unseen {
		all := "generation 1 was"
		if old.Generation > 1 {
			all = fmt.Sprintf("generations 1 to %d were", old.Generation)
		}
		k.sum.past = strings.TrimPrefix(k.sum.past+"; "+all+" shown to no operator", "; ")
		e.print("  UNSEEN     as far as is known here %s shown to no operator: to approve this request is to approve all that is in there\n", all)
	}
}

// toolNamed is the digest of the program that made the proposal, as it says.
func toolNamed(d digest.Digest) string {
	if d == (digest.Digest{}) {
		return "of no known digest"
	}
	return d.Named()
}

// firstOf lists the first of some generations.
func firstOf(list []uint64) string {
	const shown = 10
	text := strings.Trim(fmt.Sprint(list[:min(len(list), shown)]), "[]")
	if len(list) > shown {
		text += " …"
	}
	return text
}
