package app

import (
	"context"
	"fmt"
	"slices"

	"intact/baseline"
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
	if c.o.NoState || c.o.Baseline != "" || c.partial() && c.update == nil || !c.root.Live() || len(c.upgrades) == 0 || c.saved == (digest.Digest{}) {
		return
	}
	on, err := c.acceptsSigned()
	if err == nil && on {
		a := &accept{session: c.session, o: AcceptOptions{Explained: true, Report: c.paper.head.ID}}
		c.took, err = a.signedUpgrades(ctx, c.upgrades, c.placing)
	}
	if c.took != "" && c.update == nil {
		c.env.warn("%s", c.took) // of a proposal the hook tells
	}
	if err != nil {
		c.env.warn("accept: signed: %v", err)
		c.out.Add(ExitIncomplete)
	}
}

// signedUpgrades moves what signed upgrades explain from the pending set of the
// report into a new generation, and says so in words, "" if there is none. The
// caller holds the lock, and knows that the baseline allows it.
func (a *accept) signedUpgrades(ctx context.Context, list []updates.Update, h updates.Host) (took string, err error) {
	id, sum, err := a.find(ctx)
	if err != nil {
		return "", err
	}
	if a.gen, err = a.store.Open(ctx, 0); err != nil {
		return "", err
	}
	defer a.gen.Close()
	if err := a.notRolledBack(ctx, a.gen.Statement()); err != nil {
		return "", err
	}
	if a.set, err = a.store.OpenPending(sum); err != nil {
		return "", err
	}
	defer a.set.Close()
	if err := a.believed(ctx); err != nil {
		return "", err
	}
	under, err := a.delegation()
	if err != nil {
		if !slices.ContainsFunc(list, func(u updates.Update) bool { return u.Old != u.New }) {
			err = nil // nothing came
		}
		return "", err
	}
	if a.by, err = a.approveUnder(under); err != nil {
		return "", err
	}
	if err := a.weigh(ctx, list, h, under); err != nil {
		return "", err
	}
	for _, w := range a.auto.stays() {
		a.env.warn("%s", w)
	}
	if !a.auto.some() {
		return "", nil
	}
	if err := a.choose(ctx); err != nil {
		return "", err
	}
	return a.publish(ctx, id)
}

// weigh finds what of the pending set waits for a person all the same.
func (a *accept) weigh(ctx context.Context, list []updates.Update, h updates.Host, under *baseline.Delegation) error {
	seen, err := a.gen.Rows(rowIndex)
	if err != nil {
		return err
	}
	if a.auto, err = newUpgrades(ctx, list, seen, a.env.Now(), h, under); err != nil {
		return err
	}
	if err := a.findSelf(); err != nil {
		return err
	}
	for c, err := range a.changes() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if u := a.auto.of(a.said); u != nil && (a.self.holds(c.Path) || c.From != "" && a.self.holds(c.From)) {
			u.hold("%s belongs to intact itself", report.Escape(string(c.Path)))
		}
		a.auto.weigh(c, a.said)
	}
	a.auto.weighed()
	return nil
}

func (w *upgrades) of(said *rules.Explanation) *upgrade {
	if said == nil {
		return nil
	}
	return w.by[said.Source]
}

// publish writes the generation with what was chosen, and its report.
func (a *accept) publish(ctx context.Context, id string) (took string, err error) {
	rows, err := a.rows()
	if err != nil {
		return "", err
	}
	n, err := a.count()
	if err != nil {
		return "", err
	}
	if n += len(rows); n == 0 {
		return "", nil
	}
	if rows, err = a.withLapsed(append(rows, a.auto.rows()...)); err != nil {
		return "", err
	}
	p, err := a.begin(ctx, report.KindAccept, report.ScopeFull, false)
	if err != nil {
		return "", err
	}
	defer p.abort()
	p.baseline(a.gen.Statement(), a.gen.Signed())
	p.knows(a.gen.Statement())
	var made *statement.Statement
	if made, err = a.gen.Apply(ctx, a.store, a.picks(), rows, a.note(id, "signed packages, accepted without a person", a.by)); err != nil {
		return "", err
	}
	what := "what was made from signed packages"
	if up := a.auto.count(); up > 0 {
		what = counted(up, "signed package upgrade")
	}
	words := fmt.Sprintf("accepted %s, %s", what, counted(n, "change"))
	return fmt.Sprintf("%s: generation %d, root %s", words, made.Generation, made.Short()), p.published(made, words)
}
