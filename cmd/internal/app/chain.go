package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
	"intact/rules"
)

// judgeReport verifies the signature of a report of this host, by its own keys
// or by trusted signers, at the time that the report says it began.
func (s *session) judgeReport(h report.Header, body io.ReadSeeker, armor []byte) error {
	if s.store.Trust == nil { // the lists cannot be read
		return s.judgeReportBy(h, body, armor, s.own)
	}
	return s.judgeReportBy(h, body, armor, s.own, s.store.Trust.Operators)
}

// judgeBrought is judgeReport for somebody who looks from outside: a list that
// they brought along counts alone.
func (s *session) judgeBrought(h report.Header, body io.ReadSeeker, armor []byte) error {
	if s.env.TrustedSigners != "" {
		return s.judgeReportBy(h, body, armor, s.store.Trust.Operators)
	}
	return s.judgeReport(h, body, armor)
}

func (s *session) judgeReportBy(h report.Header, body io.ReadSeeker, armor []byte, lists ...*seal.Signers) error {
	if len(armor) == 0 {
		return fmt.Errorf("%w: it has no signature", report.ErrSignature)
	}
	want := seal.Want{Namespace: report.Namespace, At: h.Started}
	err := seal.ErrSigner
	for _, l := range lists {
		if l == nil {
			continue
		}
		if _, e := body.Seek(0, io.SeekStart); e != nil {
			return e
		}
		want.Principal = baseline.HostPrincipal(h.Host.ID)
		id, e := l.Verify(body, armor, want)
		if e != nil && l != s.own {
			// Somebody may know a host's key under any name, but not under another host's.
			want.Principal = ""
			if _, e := body.Seek(0, io.SeekStart); e != nil {
				return e
			}
			var more error
			if id, more = l.Verify(body, armor, want); more == nil && slices.ContainsFunc(id.Principals, baseline.IsOperator) {
				e = nil
			}
		}
		switch {
		case e != nil:
			err = e
		case id.Key.Fingerprint != h.Signer:
			err = fmt.Errorf("%s signed it, and it names %q", id.Key.Fingerprint, h.Signer)
		default:
			return nil
		}
	}
	return fmt.Errorf("%w: %w", report.ErrSignature, err)
}

// judgement is what readJudged found.
type judgement struct {
	head report.Header
	end  report.Trailer
	err  error
}

// readJudged reads the ends of one stored report and verifies its signature,
// once in a run: a report of many findings takes a while.
func (s *session) readJudged(ctx context.Context, r report.Stored) (report.Header, report.Trailer, error) {
	if j, done := s.readReports[r]; done {
		return j.head, j.end, j.err
	}
	h, t, err := r.EndsJudged(ctx, s.judgeReport)
	if ctx.Err() == nil {
		if s.readReports == nil {
			s.readReports = map[report.Stored]judgement{}
		}
		s.readReports[r] = judgement{h, t, err}
	}
	return h, t, err
}

// errRolledBack means that a newer baseline than the one that is there was seen.
var errRolledBack = errors.New("the baseline was rolled back")

// lookedBack is how many of the newest reports that do not say what those before
// them knew are held against the baseline.
const lookedBack = 20

// knows is the newest baseline that a report and those before it say there was.
// What lies before an init counts no more: it started over, and says so.
func knows(h report.Header, t report.Trailer) (k report.Known) {
	published := report.Known{Generation: t.Published.Generation, Root: t.Published.Root}
	switch k = h.Known; {
	case h.Kind == report.KindInit && published.Generation > 0:
		return published
	case k.Generation == 0: // a version that did not write it down
		k = report.Known{Generation: h.Baseline.Generation, Root: h.Baseline.Root}
	}
	if published.Generation > k.Generation {
		k = published
	}
	return k
}

// known looks for the newest baseline of a host that its signed reports know,
// and for the report that does. A report that knows none, as that of a baseline
// that could not be used may, never ends the search.
func (s *session) known(ctx context.Context, host string) (k report.Known, seq uint64, err error) {
	list, err := s.archive().List()
	if err != nil {
		return k, 0, err
	}
	named := 0
	for _, r := range slices.Backward(list) {
		h, t, err := s.readJudged(ctx, r)
		if ctx.Err() != nil {
			return k, 0, ctx.Err()
		}
		if err != nil || h.Host.ID != host {
			continue
		}
		one := knows(h, t)
		if one.Generation == 0 {
			continue
		}
		if one.Generation > k.Generation {
			k, seq = one, h.Seq
		}
		if named++; h.Known.Generation > 0 || h.Kind == report.KindInit || named == lookedBack {
			break
		}
	}
	return k, seq, nil
}

// notRolledBack holds the newest baseline against what signed reports say of
// it: a generation that a report was made against does not go away.
func (s *session) notRolledBack(ctx context.Context, newest *statement.Statement) error {
	k, seq, err := s.known(ctx, newest.HostID)
	switch {
	case err != nil:
		return err
	case k.Generation > newest.Generation:
		return fmt.Errorf("%w: report %d knows generation %d, and the newest here is %d", errRolledBack, seq, k.Generation, newest.Generation)
	case k.Generation > 0 && k.Generation == newest.Generation && k.Root != newest.Root.Named():
		return fmt.Errorf("%w: generation %d is not the one that report %d knows", errRolledBack, k.Generation, seq)
	}
	return nil
}

// gone is an error where there is no baseline, and reports know one.
func (s *session) gone(ctx context.Context) error {
	host, err := s.store.HostID()
	if err == nil {
		err = s.notRolledBack(ctx, &statement.Statement{HostID: host})
	}
	return err
}

// neverHad makes sure that a first baseline is the first one.
func (s *session) neverHad(ctx context.Context) error {
	err := s.gone(ctx)
	if errors.Is(err, errRolledBack) {
		err = fmt.Errorf("%w: init --force starts over", err)
	}
	return err
}

// lastReport says what is wrong with the newest report that was stored, if
// anything is. The whole chain is for intact report verify.
func (c *check) lastReport(ctx context.Context) error {
	last, err := c.archive().Last()
	if errors.Is(err, report.ErrNoReport) {
		// Whatever writes a generation leaves a report, or what it began of one.
		if c.o.Baseline == "" && len(c.archive().Unfinished()) == 0 {
			c.trusts = append(c.trusts, trustFinding("trust.report", rules.High, "reports", "there is a baseline, and not one report, not even that of the init or accept that made it: somebody took them away, and with them what a roll-back is told from"))
		}
		return nil
	}
	if err != nil {
		return err
	}
	if _, _, err := c.readJudged(ctx, last); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		c.trusts = append(c.trusts, trustFinding("trust.report", rules.High, fmt.Sprintf("report-%d", last.Seq),
			err.Error(), "see intact report verify"))
	}
	return nil
}

// judgeExport says who signed the statement of an export from anywhere. Lists
// that were given must name the signer; self says, if it is not "", that they
// name an operator and that only the host signed, which the exit codes in out
// tell whatever is asked of the report. Where there is no list, and the export
// is not this host's, note says who signed.
func (s *session) judgeExport(g *baseline.Generation, file string, out *Outcome) (by baseline.Signed, self, note string, err error) {
	st := g.Statement()
	if host, err := s.store.HostID(); err == nil && host != st.HostID && s.root.Live() {
		return by, "", "", fmt.Errorf("export %q: %w: %s (%s), this is %s", file, baseline.ErrForeign, st.HostID, st.HostName, host)
	}
	return s.judgeForeign(g, file, out)
}

// judgeForeign is judgeExport for what is not held against the disk of this
// host: the export may be of any other.
func (s *session) judgeForeign(g *baseline.Generation, file string, out *Outcome) (by baseline.Signed, self, note string, err error) {
	st := g.Statement()
	t := &baseline.Trust{Operators: s.store.Trust.Operators}
	if host, err := s.store.HostID(); err == nil && host == st.HostID {
		t.Host = s.store.Trust.Host
	}
	by, err = t.Judge(st, g.Signature())
	switch {
	case errors.Is(err, baseline.ErrSelfApproved):
		out.Add(ExitFindings)
		self = "only a key of the host itself signed it (" + by.Fingerprint + "), and an operator is named for its baselines: whoever is root there can have made it"
		if errors.Is(err, baseline.ErrDelegation) {
			self += "; " + err.Error()
		}
		return by, self, "", nil
	case errors.Is(err, seal.ErrSigner) && t.Governed() && st.Authority == statement.Host:
		out.Add(ExitTrust)
		return by, "a key that no list knows signed it (" + by.Fingerprint + "), says that it is the host's own, and an operator is named for its baselines", "", nil
	case errors.Is(err, baseline.ErrUnsigned) && t.Host == nil && t.Operators == nil:
		return by, "", "the export is not signed: nothing but its own digests speaks for it", nil
	case err != nil:
		return by, "", "", fmt.Errorf("export %q: %w", file, err)
	case by.Delegation != nil:
		note = delegatedWords(st, by) + "; intact baseline diff with an export of the generation before it says whether the delegation covers that"
	case by.Authority == statement.None:
		note = "the export is signed by " + by.Fingerprint + ", which no list here names: give --trusted-signers, or --expect-root"
	}
	return by, "", note, nil
}

// judgeExport is that of the session, with what it says in the report.
func (c *check) judgeExport() error {
	by, self, note, err := c.session.judgeExport(c.gen, c.o.Baseline, &c.out)
	c.by = by
	st := c.gen.Statement()
	c.remark(fmt.Sprintf("compared with an export of host %s (%s), generation %d of %s", st.HostID, st.HostName, st.Generation, when(st.Created)))
	if note != "" {
		c.remark(note)
	}
	if self != "" {
		c.sets["trust"] = true // no choice of sets hides it
		c.trusts = append(c.trusts, trustFinding("trust.self-approved", rules.High, fmt.Sprintf("generation-%d", st.Generation), self))
	}
	return err
}

func trustFinding(rule string, sev rules.Severity, name string, reasons ...string) rules.Finding {
	for i, r := range reasons {
		reasons[i] = report.Prose(r)
	}
	return rules.Finding{Set: "trust", Rule: rule, Severity: sev, RawSeverity: sev, Change: "changed",
		Subject: rules.Subject{Kind: "trust", Name: name}, Reasons: reasons}
}

// verifyLine is the command that checks the signature of a stored report with
// nothing of ours.
func (s *session) verifyLine(stored string) string {
	host, err := s.store.HostID()
	if stored == "" || err != nil {
		return ""
	}
	q := report.ShellQuote
	return "ssh-keygen -Y verify -f " + q(s.keyFile(ownSigners)) + " -I " + q(baseline.HostPrincipal(host)) + " -n " + report.Namespace +
		" -s " + q(stored+".sig") + " < " + q(stored)
}

// pinned holds a baseline's root against the command line and the
// configuration.
func (s *session) pinned(g *baseline.Generation, flag string) error {
	for _, p := range []struct{ from, text string }{{"--expect-root", flag}, {"expect_root", s.cfg.ExpectRoot}} {
		// What this machine's own configuration pins is no other host's.
		if p.text == "" || p.from == "expect_root" && g.Imported() && s.env.Config == "" {
			continue
		}
		want, err := readPin(p.text)
		if err != nil {
			return usageError("%s: %w", p.from, err)
		}
		if got := g.Root(); !want.Matches(got) {
			return fmt.Errorf("%w: its root is %s, and %s says %s", errUnexpected, got.Named(), p.from, string(want))
		}
	}
	return nil
}

// readPin reads a root that was written down: as it stands, or from a file.
func readPin(text string) (statement.Pin, error) {
	if !strings.Contains(text, "/") {
		return statement.ParsePin(text)
	}
	b, err := readLimited(text)
	if err != nil {
		return "", err
	}
	return statement.ParsePin(string(b))
}

// readPins is readPin for several baselines: a file has one root on each line.
func readPins(text string) (pins []statement.Pin, err error) {
	if !strings.Contains(text, "/") {
		p, err := statement.ParsePin(text)
		return []statement.Pin{p}, err
	}
	b, err := readLimited(text)
	if err != nil {
		return nil, err
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		p, err := statement.ParsePin(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", text, n, err)
		}
		pins = append(pins, p)
	}
	if len(pins) == 0 {
		return nil, fmt.Errorf("%q: %w", text, statement.ErrPin)
	}
	return pins, nil
}
