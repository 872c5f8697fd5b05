package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/report"
	"intact/scanner/digest"
	"intact/scanner/policy"
)

// AcceptOptions of Accept.
type AcceptOptions struct {
	Report   string   // id or number, "" for the last check
	All      bool     // everything but critical findings
	Paths    []string // patterns of the policy language
	Packages []string // patterns of names of packages
	Facts    []string // patterns of kinds and keys of facts
	Rules    []string // GLOB or GLOB=SUBJECT: findings of rules that shall stand
	Reason   string
	DryRun   bool
	Rebase   bool   // drop what the baseline has another value of by now
	Export   string // write a request for an operator elsewhere to this file; the baseline stays

	Explained  bool // what was reported as explained by a signature
	Attributed bool // what was reported as attributed to a source

	SignWith string // an operator's key, see session.signer; "": the host's own
}

// Accept moves what a check reported, exactly that and never what is on the
// disk now, into a new generation.
func Accept(ctx context.Context, e *Env, o AcceptOptions) (Outcome, error) {
	n := count(o.All, len(o.Paths)+len(o.Packages)+len(o.Facts)+len(o.Rules) > 0, o.Explained || o.Attributed)
	ask := n == 0
	if _, _, ok := e.terminals(); ask && !ok {
		return Outcome{}, usageError("accept: say what: --explained, --attributed, --path GLOB, --package NAME, --fact GLOB, --rule GLOB or --all; a review needs a terminal")
	}
	if n > 1 {
		return Outcome{}, usageError("accept: --all, --path, --package, --fact or --rule, and --explained or --attributed exclude each other")
	}
	if o.Export != "" && (o.DryRun || o.SignWith != "") {
		return Outcome{}, usageError("accept: --export goes without --dry-run and --sign-with: the operator signs elsewhere")
	}
	if strings.TrimSpace(o.Reason) == "" && !o.DryRun && o.Export == "" && !ask {
		return Outcome{}, usageError("accept: --reason TEXT is needed: it stands in the baseline's statement")
	}
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	a := &accept{session: s, o: o, ask: ask}
	if err := packageNames(o.Packages); err != nil {
		return Outcome{}, err
	}
	if a.rules, err = ruleChoices(o.Rules); err != nil {
		return Outcome{}, err
	}
	if err := factGlobs(o.Facts); err != nil {
		return Outcome{}, err
	}
	if a.match, err = matcher(o.Paths); err != nil {
		return Outcome{}, err
	}
	if err := s.needBaseline(); err != nil {
		return Outcome{}, err
	}
	if err := s.acquire("accept"); err != nil {
		return Outcome{}, err
	}
	return a.run(ctx)
}

type accept struct {
	*session
	o        AcceptOptions
	ask      bool              // by a review
	match    *policy.Effective // of Paths, else nil
	gen      *baseline.Generation
	set      *baseline.Pending
	pick     *pathSet // changes that are taken by themselves
	left     *pathSet // changes that stay pending
	self     *pathSet // paths with a row about intact itself, empty where --path or a review selects
	selfLeft *pathSet // of these: what was selected and stays pending all the same
	mass     encrypting
	stale    *stale   // what --rebase drops, nil without
	stays    []string // why, for people

	rules    []ruleChoice     // of Rules
	lapsed   []diff.RowChange // what stood, and has been put right
	reviewed *reviewed        // nil but behind a review
	auto     *upgrades        // nil but where nobody is asked

	by statement.Authority

	accepting
}

// matcher compiles the patterns of --path.
func matcher(patterns []string) (*policy.Effective, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	p := &policy.Policy{Name: "--path"}
	set, _ := policy.GroupSet("presence")
	for i, g := range patterns {
		p.Rules = append(p.Rules, policy.Rule{Pattern: g, Set: set, Pos: policy.Pos{File: "--path", Line: i + 1, Col: 1}})
	}
	eff, err := policy.Union(p, p, nil)
	if err != nil {
		return nil, usageError("--path: %w", err)
	}
	return eff, nil
}

func (a *accept) run(ctx context.Context) (Outcome, error) {
	id, sum, err := a.find(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if !a.o.DryRun && a.o.Export == "" {
		if a.by, err = a.approveWith(a.o.SignWith); err != nil {
			return Outcome{}, err
		}
	}
	if a.gen, err = a.store.Open(ctx, 0); err != nil {
		return Outcome{}, err
	}
	defer a.gen.Close()
	if err := a.notRolledBack(ctx, a.gen.Statement()); err != nil {
		return Outcome{}, err
	}
	if a.set, err = a.store.OpenPending(sum); errors.Is(err, baseline.ErrNoPending) {
		return Outcome{}, usageError("accept: %w: what report %s left waiting was replaced by a newer one, see intact report list", err, report.Escape(id))
	} else if err != nil {
		return Outcome{}, fmt.Errorf("accept: %w", err)
	}
	defer a.set.Close()
	if err := a.believed(ctx); err != nil {
		return Outcome{}, err
	}
	if err := a.findMass(); err != nil {
		return Outcome{}, err
	}
	if a.ask {
		if err := a.review(ctx); err != nil {
			return Outcome{}, err
		}
	}
	if err := a.choose(ctx); err != nil {
		return Outcome{}, err
	}
	rows, err := a.rows()
	if err != nil {
		return Outcome{}, err
	}
	for _, w := range a.stays {
		a.env.warn("%s", w)
	}
	if a.pick.size()+len(rows) == 0 {
		return Outcome{}, usageError("accept: nothing in report %s is selected%s", report.Escape(id), a.selectable())
	}
	if a.o.Rebase {
		if rows, err = a.rebase(ctx, rows); err != nil {
			return Outcome{}, err
		}
	}
	n, err := a.count()
	if err != nil {
		return Outcome{}, err
	}
	n += len(rows)
	if n == 0 {
		return Outcome{}, usageError("accept: nothing of report %s is left to accept: run intact check again", report.Escape(id))
	}
	if rows, err = a.withLapsed(rows); err != nil {
		return Outcome{}, err
	}
	if a.o.DryRun {
		return Done(), a.list(rows)
	}
	if a.o.Export != "" {
		return a.export(ctx, id, n, rows)
	}
	p, err := a.begin(ctx, report.KindAccept, report.ScopeFull, false)
	if err != nil {
		return Outcome{}, err
	}
	defer p.abort()
	p.baseline(a.gen.Statement(), a.gen.Signed())
	p.knows(a.gen.Statement())
	made, err := a.gen.Apply(ctx, a.store, a.picks(), rows, a.note(id, a.o.Reason, a.by))
	if errors.Is(err, baseline.ErrStale) { // it came while answers were thought about
		return Outcome{}, &codeError{ExitUsage, fmt.Errorf("%w: something else was accepted meanwhile; run intact check again", err)}
	}
	if errors.Is(err, baseline.ErrConflict) {
		return Outcome{}, &codeError{ExitUsage, fmt.Errorf("%w: the report is older than the last accept; run intact check again, or leave what changed since with --rebase", err)}
	}
	if err != nil {
		return Outcome{}, err
	}
	words := fmt.Sprintf("accepted %s of report %s", counted(n, "change"), report.Escape(id))
	_, err = fmt.Fprintf(a.env.Stdout, "%s: generation %d, root %s\n", words, made.Generation, made.Short())
	for _, l := range stand(rows) {
		_, e := fmt.Fprintln(a.env.Stdout, l)
		err = errors.Join(err, e)
	}
	return Done(), errors.Join(err, p.published(made, words))
}

// find returns the id of the report to accept and the pending set that it
// names.
func (a *accept) find(ctx context.Context) (id string, sum digest.Digest, err error) {
	list, err := a.archive().List()
	if err != nil {
		return "", sum, err
	}
	if a.o.Report != "" {
		one, err := a.archive().Get(a.o.Report)
		if err != nil {
			return "", sum, usageError("accept: %w", err)
		}
		list = []report.Stored{one}
	}
	var since report.Header // of the newest report of a watcher that has findings, behind the last check
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Kind == report.KindWatch && a.o.Report == "" {
			since = a.toldSince(since, list, i)
			continue
		}
		t, h, err := readEnds(list[i])
		if err != nil {
			return "", sum, &codeError{ExitTrust, fmt.Errorf("accept: report %d: %w", list[i].Seq, err)}
		}
		why := ""
		switch {
		case h.Kind == report.KindWatch: // it has all that waits
		case h.Kind != report.KindUpdate && (h.Kind != report.KindCheck && h.Kind != report.KindImage || h.Scope != report.ScopeFull):
			why = "is no full check"
		case h.Root != a.root.HostPath():
			why = "is of " + report.Escape(h.Root) + ", not of " + report.Escape(a.root.HostPath())
		}
		if why != "" {
			if a.o.Report != "" {
				return "", sum, usageError("accept: report %s %s", report.Escape(h.ID), why)
			}
			continue
		}
		if t.Pending == "" {
			return "", sum, usageError("accept: report %s of %s has nothing to accept", report.Escape(h.ID), h.Started.Format("2006-01-02 15:04"))
		}
		if _, _, err := a.readJudged(ctx, list[i]); errors.Is(err, context.Canceled) {
			return "", sum, err
		} else if err != nil {
			return "", sum, &codeError{ExitTrust, fmt.Errorf("accept: report %d: %w", list[i].Seq, err)}
		}
		if h.Kind == report.KindUpdate && a.o.Report == "" {
			a.env.warn("report %s is the proposal of an update and has what that touched alone; the rest stays pending", h.ID)
		}
		if since.ID != "" {
			a.env.warn("intact watch reported more since; that stays pending, and accept --report %s takes it too", report.Escape(since.ID))
		}
		sum, err = digest.Parse(t.Pending)
		return h.ID, sum, err
	}
	if since.ID != "" {
		return "", sum, usageError("accept: there is no report of a check: run intact check first, or accept what intact watch reported with --report %s", report.Escape(since.ID))
	}
	return "", sum, usageError("accept: there is no report of a check: run intact check first")
}

// toldSince returns the header of list[i], a report of a watcher, if it is the first
// that is met from the end and has findings; else that of one which was met before.
func (a *accept) toldSince(met report.Header, list []report.Stored, i int) report.Header {
	const newest = 200 // heartbeats of most of a day
	if met.ID != "" || len(list)-i > newest {
		return met
	}
	h, t, err := list[i].Ends()
	if err != nil || t.Verdict != report.Findings || t.Pending == "" || h.Root != a.root.HostPath() {
		return met
	}
	return h
}

// list prints what would be accepted.
func (a *accept) list(rows []diff.RowChange) error {
	for c, err := range a.picks() {
		if err != nil {
			return err
		}
		if !c.Folded {
			if _, err := io.WriteString(a.env.Stdout, c.Kind.String()+"\t"+report.Escape(string(c.Path))+"\n"); err != nil {
				return err
			}
		}
	}
	for _, r := range rows {
		if _, err := io.WriteString(a.env.Stdout, r.Kind+"\t"+report.Escape(strings.ReplaceAll(string(r.Key), "\x00", "/"))+"\n"); err != nil {
			return err
		}
	}
	return nil
}
