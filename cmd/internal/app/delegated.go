package app

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/report"
	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
)

// maxBeyond bounds how much is named that no delegation covers.
const maxBeyond = 10

// beyond says what the newer of two generations took that none of the
// delegations covers, the first of it. Which files are whose no generation
// knows: of files, only what is never accepted without a person is told.
func (c *contrast) beyond(under []*baseline.Delegation) (why []string, err error) {
	more := 0
	add := func(text string) {
		if len(why) < maxBeyond {
			why = append(why, text)
		} else {
			more++
		}
	}
	if !bytes.Equal(c.old.gen.Policy(), c.now.gen.Policy()) {
		add("another policy")
	}
	rows, err := baseline.RowsBetween(c.old.gen, c.now.gen)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if text := rowBeyond(r, under); text != "" {
			add(text)
		}
	}
	for ch, err := range c.result.Changes() {
		if err != nil {
			return nil, err
		}
		if text := exceptional(ch); text != "" {
			add(report.Escape(string(ch.Path)) + " " + text)
		}
	}
	if more > 0 {
		why = append(why, fmt.Sprintf("and %d more", more))
	}
	return why, nil
}

// rowBeyond is beyond for one row: only upgrades of covered packages, and newer
// indexes of covered suites, are accepted under a delegation.
func rowBeyond(r diff.RowChange, under []*baseline.Delegation) string {
	key := strings.Split(string(r.Key), "\x00")
	switch {
	case r.Kind == rowPackage && r.Old != nil && r.New != nil:
		var was, is pkgdb.Package
		was, err := packageOf(string(r.Key), r.Old)
		if err == nil {
			is, err = packageOf(string(r.Key), r.New)
		}
		name := "package " + report.Escape(is.Name)
		switch {
		case err != nil:
			return "a row of a package that cannot be read: " + report.Prose(err.Error())
		case !slices.ContainsFunc(under, func(d *baseline.Delegation) bool { return is.Kind == "dpkg" && d.CoversPackage(is.Name) }):
			return name
		case !deb.ValidVersion(was.Version) || !deb.ValidVersion(is.Version) || deb.Compare(is.Version, was.Version) <= 0:
			return name + ", which is in no higher version"
		}
		if why := beyondUpgrade(was, is); why != "" {
			return name + ", which " + why
		}
		return ""
	case r.Kind == rowIndex && r.New != nil && len(key) == 4:
		if !slices.ContainsFunc(under, func(d *baseline.Delegation) bool { return d.CoversSuite(key[1], key[2]) }) {
			return "an index of the suite " + report.Escape(key[1])
		}
		old, err := time.Parse(time.RFC3339, words(r.Old)["date"])
		now, bad := time.Parse(time.RFC3339, words(r.New)["date"])
		if bad != nil || r.Old != nil && (err != nil || now.Before(old)) {
			return "an older index of the suite " + report.Escape(key[1])
		}
		return ""
	}
	if m := moveOf(r); r.Kind == rowFact && r.Old != nil && slices.Contains(updateKinds, m.Kind) {
		return "" // as of files, whose they are no generation knows
	}
	change := "a change of "
	switch {
	case r.Old == nil:
		change = "a new "
	case r.New == nil:
		change = "the removal of "
	}
	return change + report.Escape(r.Kind) + " " + report.Escape(strings.Join(key, "/"))
}

// delegatedRun is what a host accepted by itself since an operator looked.
type delegatedRun struct {
	last   *baseline.Info
	from   *baseline.Info // that it is held against; nil: none is kept
	seen   bool           // an operator approved from
	under  []*baseline.Delegation
	before error // of what it goes on from: it is not trusted
}

// delegatedRun finds the generations that end with the newest one and were
// signed under delegations, nil where that was not.
func (s *session) delegatedRun() (*delegatedRun, error) {
	list, err := s.store.List()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	i := len(list) - 1
	if list[i].Signed.Delegation == nil {
		return nil, nil
	}
	r := &delegatedRun{last: &list[i]}
	for ; i >= 0 && list[i].Err == nil && list[i].Signed.Delegation != nil; i-- {
		r.under = append(r.under, list[i].Signed.Delegation)
		if list[i].Present {
			r.from = &list[i]
		}
	}
	switch {
	case i < 0:
		r.before = fmt.Errorf("%w: an operator approved nothing before it", baseline.ErrSelfApproved)
	case list[i].Err != nil:
		r.before = list[i].Err
	case list[i].Present:
		r.from, r.seen = &list[i], true
	}
	if r.from == r.last {
		r.from = nil
	}
	return r, nil
}

// overreach says what the host accepted beyond what was delegated to it, and in
// notes how far that could be told.
func (s *session) overreach(ctx context.Context) (why, notes []string, err error) {
	r, err := s.delegatedRun()
	if r == nil || err != nil {
		return nil, nil, err
	}
	notes = append(notes, delegatedWords(r.last.Statement, r.last.Signed))
	if r.before != nil {
		why = append(why, "what it goes on from is not trusted: "+report.Prose(r.before.Error()))
	}
	if r.from == nil {
		return why, append(notes, "no generation before it is kept: whether the delegation covers all of it cannot be told"), nil
	}
	if !r.seen {
		notes = append(notes, fmt.Sprintf("what the operator approved last is not kept any more: only what came after generation %d was held against the delegation", r.from.Generation))
	}
	c := &contrast{s: s}
	defer c.close()
	if c.old, err = c.accepted(ctx, fmt.Sprint(r.from.Generation)); err == nil {
		if c.now, err = c.accepted(ctx, fmt.Sprint(r.last.Generation)); err == nil {
			err = c.run(ctx)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	more, err := c.beyond(r.under)
	if len(more) > 0 {
		why = append(why, fmt.Sprintf("since generation %d it took what no delegation covers: %s", r.from.Generation, strings.Join(more, "; ")))
	}
	return why, notes, err
}

// delegatedWords says under whose word a host accepted a generation.
func delegatedWords(st *statement.Statement, by baseline.Signed) string {
	d := by.Delegation
	return fmt.Sprintf("generation %d was accepted by the host itself, under delegation %s of %s until %s UTC (packages %s; suites %s): what is in it is the word of the host",
		st.Generation, d.Digest().Named(), report.Escape(by.Delegator), when(d.Until), report.Escape(strings.Join(d.Packages, " ")), report.Escape(strings.Join(d.Suites, " ")))
}

// judgeDelegated tells under whose word the baseline was made, and holds it
// against that.
func (c *check) judgeDelegated(ctx context.Context) error {
	if c.by.Delegation == nil || c.o.Baseline != "" || c.update != nil {
		return nil
	}
	why, notes, err := c.overreach(ctx)
	if err != nil {
		return fmt.Errorf("hold the baseline against the delegation: %w", err)
	}
	c.remark(notes...)
	if len(why) > 0 {
		c.sets["trust"] = true // no choice of sets hides it
		c.trusts = append(c.trusts, trustFinding("trust.self-approved", rules.High, fmt.Sprintf("generation-%d", c.gen.Statement().Generation), why...))
	}
	return nil
}

// goesOn says that the newer generation follows the older one under a
// delegation, and what it took beyond that.
func (c *contrast) goesOn() (under bool, why []string, err error) {
	now := c.now.gen.Statement()
	if c.now.by.Delegation == nil || now.Previous != c.old.gen.Statement().Digest() {
		return false, nil, nil
	}
	why, err = c.beyond([]*baseline.Delegation{c.now.by.Delegation})
	return true, why, err
}
