package app

import (
	"context"
	"errors"
	"fmt"

	"intact/baseline/statement"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules"
	"intact/rules/updates"
	"intact/scanner/digest"
)

// acceptsSigned reports whether the baseline and the configuration both say that
// signed upgrades are accepted without a person.
func (c *check) acceptsSigned() (bool, error) {
	was, err := acceptRow(c)
	return was == config.AcceptSigned && c.cfgErr == nil && c.cfg.Accept == was, err
}

func acceptRow(c *check) (string, error) {
	rows, err := c.gen.Rows(rowAccept)
	if err != nil || len(rows) != 1 || string(rows[0].Key) != rowAccept {
		return "", err
	}
	return string(rows[0].Value), nil
}

// acceptDrift finds that the configuration alone would accept without a person.
// That less is accepted so works at once.
func (c *check) acceptDrift() error {
	present, err := c.present()
	if err != nil || present == nil {
		return err
	}
	was, err := acceptRow(c)
	if err == nil && c.cfg.Accept != "" && c.cfg.Accept != was {
		c.drift = append(c.drift, rules.Finding{Set: "policy", Rule: "policy.accept", Severity: rules.High, RawSeverity: rules.High, Change: "changed",
			Subject: rules.Subject{Kind: "policy", Name: "accept: " + c.cfg.Accept},
			Reasons: []string{"the present configuration would accept without a person; without effect until intact policy adopt"}})
	}
	return err
}

// acceptAfter accepts what the check just reported, where it may be without a
// person. The report stands whatever comes of it.
func (c *check) acceptAfter(ctx context.Context) {
	if c.o.NoState || c.o.Baseline != "" || c.partial() || !c.root.Live() || len(c.upgrades) == 0 || c.saved == (digest.Digest{}) {
		return
	}
	on, err := c.acceptsSigned()
	if err == nil && on {
		err = c.acceptSigned(ctx, c.upgrades)
	}
	if err != nil {
		c.env.warn("accept: signed: %v", err)
		c.out.Add(ExitIncomplete)
	}
}

// acceptSigned moves what signed upgrades explain from the pending set of the
// last report into a new generation. The caller holds the lock, and knows that
// the baseline allows it.
func (s *session) acceptSigned(ctx context.Context, list []updates.Update) (err error) {
	if s.store.Trust.Governed() {
		return errors.New("an operator governs this host, and has to approve: see intact accept --export")
	}
	a := &accept{session: s, o: AcceptOptions{Explained: true}}
	id, sum, err := a.find(ctx)
	if err != nil {
		return err
	}
	if a.gen, err = s.store.Open(ctx, 0); err != nil {
		return err
	}
	defer a.gen.Close()
	if a.set, err = s.store.OpenPending(sum); err != nil {
		return err
	}
	defer a.set.Close()
	if err := a.believed(ctx); err != nil {
		return err
	}
	if a.by, err = s.approveWith(""); err != nil {
		return err
	}
	if err := a.weigh(list); err != nil {
		return err
	}
	for _, w := range a.auto.stays() {
		s.env.warn("%s", w)
	}
	if a.auto.count() == 0 {
		return nil
	}
	if err := a.choose(ctx); err != nil {
		return err
	}
	return a.publish(ctx, id)
}

// weigh finds what of the pending set waits for a person all the same.
func (a *accept) weigh(list []updates.Update) error {
	seen, err := a.gen.Rows(rowIndex)
	if err != nil {
		return err
	}
	a.auto = newUpgrades(list, seen, a.env.Now())
	if err := a.findSelf(); err != nil {
		return err
	}
	for c, err := range a.changes() {
		if err != nil {
			return err
		}
		if u := a.auto.of(a.said); u != nil && (a.self.holds(c.Path) || c.From != "" && a.self.holds(c.From)) {
			u.hold("%s belongs to intact itself", report.Escape(string(c.Path)))
		}
		if err := a.auto.weigh(c, a.said); err != nil {
			return err
		}
	}
	return nil
}

func (w *upgrades) of(said *rules.Explanation) *upgrade {
	if said == nil {
		return nil
	}
	return w.by[said.Source]
}

// publish writes the generation with what was chosen, and its report.
func (a *accept) publish(ctx context.Context, id string) error {
	rows, err := a.rows()
	if err != nil {
		return err
	}
	n, err := a.count()
	if err != nil {
		return err
	}
	if n += len(rows); n == 0 {
		return nil
	}
	rows = append(rows, a.auto.rows()...)
	p, err := a.begin(ctx, report.KindAccept, report.ScopeFull, false)
	if err != nil {
		return err
	}
	defer p.abort()
	p.baseline(a.gen.Statement(), a.gen.Signed())
	p.knows(a.gen.Statement())
	var made *statement.Statement
	if made, err = a.gen.Apply(ctx, a.store, a.picks(), rows, a.note(id, "signed packages, accepted without a person", a.by)); err != nil {
		return err
	}
	words := fmt.Sprintf("accepted %s, %s", counted(a.auto.count(), "signed package upgrade"), counted(n, "change"))
	a.env.warn("%s: generation %d, root %s", words, made.Generation, made.Short())
	return p.published(made, words)
}
