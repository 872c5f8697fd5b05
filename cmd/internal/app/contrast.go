package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/integrity"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// What no two hosts agree in: their file systems number and stamp objects each
// by itself. The names are those that --leave-out takes.
const (
	hostsOwn     = entry.Inode | entry.Device | entry.Ctime
	hostsOwnDirs = entry.Size | entry.Nlink | entry.Mtime
)

// accepted is one of two baselines that are held against each other.
type accepted struct {
	gen  *baseline.Generation
	name string // as it was asked for
	by   baseline.Signed
	pol  *policy.Policy
	eff  *policy.Effective
}

// contrast is the comparison of two baselines, without a look at the disk.
type contrast struct {
	s        *session
	old, now *accepted
	leave    entry.Attr
	notes    []string
	found    []rules.Finding // that are not about entries
	packages map[string]rules.Finding
	out      Outcome
	failed   error // why there is no comparison
	spool    *diff.Spool
	result   *diff.Result
	counts   baseline.ContrastCounts
}

// accepted opens what arg names: the number of a generation, or the file of an
// export, which is verified like one that check compares with.
func (c *contrast) accepted(ctx context.Context, arg string) (*accepted, error) {
	a := &accepted{name: arg}
	var err error
	if n, e := strconv.ParseUint(arg, 10, 64); e == nil && n > 0 {
		if latest, err := c.s.store.Latest(); err == nil && n > latest {
			return nil, usageError("there is no generation %d: the newest is %d", n, latest)
		}
		if a.gen, err = c.s.store.Open(ctx, n); err == nil {
			a.by = a.gen.Signed()
		}
	} else if a.gen, err = baseline.OpenExport(ctx, os.TempDir(), arg); err == nil {
		var self, note string
		if a.by, self, note, err = c.s.judgeForeign(a.gen, arg, &c.out); note != "" {
			c.notes = append(c.notes, report.Escape(arg)+": "+note)
		}
		if self != "" {
			c.found = append(c.found, trustFinding("trust.self-approved", rules.High, report.Escape(arg), self))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError("%q is no generation that is kept, and no export: %w", arg, err)
	}
	if err == nil {
		err = a.policy(c.s)
	}
	if err != nil && a.gen != nil {
		err = errors.Join(err, a.gen.Close())
	}
	return a, err
}

// policy puts the baseline's policy in force, with its links as they were.
func (a *accepted) policy(s *session) (err error) {
	if a.pol, err = policy.ParseCanonical(a.gen.Policy()); err != nil {
		return fmt.Errorf("%w: policy: %w", baseline.ErrDamaged, err)
	}
	a.pol.Name = a.name
	rows, err := a.gen.Rows(rowAlias)
	if err != nil {
		return err
	}
	p := a.pol.ExpandHomes(s.users.homes)
	if a.eff, err = policy.Union(p, p, aliasesOf(rows)); err != nil {
		return fmt.Errorf("%w: policy: %w", baseline.ErrDamaged, err)
	}
	return nil
}

// sisters reports whether the two are of different hosts.
func (c *contrast) sisters() bool {
	return c.old.gen.Statement().HostID != c.now.gen.Statement().HostID
}

// run compares. What it found is read with findings; close ends it.
func (c *contrast) run(ctx context.Context) error {
	o := baseline.Contrast{LeaveOut: c.leave}
	if c.sisters() {
		o.LeaveOut, o.LeaveOutDirs = o.LeaveOut|hostsOwn, hostsOwnDirs
		c.notes = append(c.notes, "of different hosts: not compared are "+attrNames(o.LeaveOut)+", of directories "+attrNames(o.LeaveOutDirs)+
			" too, and intact's own files, the state folder and the sources of mounts")
	} else if c.leave != 0 {
		c.notes = append(c.notes, "not compared, by --leave-out: "+attrNames(c.leave))
	}
	if !bytes.Equal(c.old.gen.Policy(), c.now.gen.Policy()) {
		decide := func(a *accepted) func(entry.Path) bool {
			d := a.eff.Decider()
			return func(p entry.Path) bool { return d(p).Select }
		}
		o.OldSelects, o.NewSelects = decide(c.old), decide(c.now)
	}
	c.spool = diff.NewSpool(os.TempDir(), 1, memoryUnder(debug.SetMemoryLimit(-1)).changes)
	var err error
	if c.counts, err = baseline.Between(ctx, c.old.gen, c.now.gen, o, c.spool); err != nil {
		return err
	}
	if c.result, err = c.spool.Finish(ctx, nil); err != nil {
		return err
	}
	rows, err := baseline.RowsBetween(c.old.gen, c.now.gen)
	if err != nil {
		return err
	}
	c.packages = shownPackages(rows)
	for _, r := range rows {
		if f, told := c.rowFinding(r); told {
			c.found = append(c.found, f)
		}
	}
	c.policies()
	for _, n := range []struct {
		count int64
		text  string
	}{
		{c.counts.OnlyOld, "only the policy of " + c.old.name + " selects"},
		{c.counts.OnlyNew, "only the policy of " + c.now.name + " selects"},
		{c.counts.UnseenOld, "could not be seen in " + c.old.name + ", a known gap"},
		{c.counts.UnseenNew, "could not be seen in " + c.now.name + ", a known gap"},
	} {
		if n.count > 0 {
			c.notes = append(c.notes, fmt.Sprintf("%s not compared: %s", counted(int(n.count), "path"), report.Escape(n.text)))
		}
	}
	return nil
}

func attrNames(a entry.Attr) string {
	var names []string
	for _, r := range a.Rows() {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// policies tells in what the policies differ in effect.
func (c *contrast) policies() {
	for _, d := range policy.Compare(c.old.pol, c.now.pol) {
		f := rules.Finding{Set: "policy", Rule: "policy." + d.Kind, Severity: rules.High, RawSeverity: rules.High, Change: "changed",
			Subject: rules.Subject{Kind: "policy", Name: d.Line}, Reasons: []string{"the newer policy watches less"}}
		if d.Kind == "widened" {
			f.Severity, f.RawSeverity, f.Reasons = rules.Low, rules.Low, []string{"the newer policy watches more"}
		}
		c.found = append(c.found, f)
	}
}

// rowFinding tells a difference of rows. False: two hosts cannot agree in it.
func (c *contrast) rowFinding(r diff.RowChange) (rules.Finding, bool) {
	sisters := c.sisters()
	switch r.Kind {
	case rowMount:
		if sisters && r.Old != nil && r.New != nil && part(r.Old, 0) == part(r.New, 0) {
			return rules.Finding{}, false
		}
		return mountFinding(entry.Path(r.Key), r.Old, r.New), true
	case rowSelf:
		return selfFinding(entry.Path(r.Key), selfPart(r), r.Old, r.New), !sisters
	case rowPackage:
		if f, ok := c.packages[string(r.Key)]; ok {
			return f, true
		}
	case rowRulebook:
		if f, err := shownWaiver(r); err == nil {
			return f, true
		}
	case rowStanding:
		if f, err := shownStanding(r); err == nil {
			return f, true
		}
	case rowFact:
		if sisters && r.Old != nil && r.New != nil && bytes.Equal(withoutDigest(r.Old), withoutDigest(r.New)) {
			return rules.Finding{}, false // each host has its own key of digests
		}
		if f, err := shownFact(r); err == nil {
			return f, true
		}
	case rowState, rowOrigin, rowIndex, rowFacts:
		if sisters {
			return rules.Finding{}, false
		}
	}
	f := rules.Finding{Set: "baseline", Rule: "baseline." + r.Kind, Severity: rules.Medium, RawSeverity: rules.Medium, Change: "changed",
		Subject: rules.Subject{Kind: r.Kind, Name: string(r.Key)}}
	switch r.Kind {
	case rowAlias:
		f.Subject.Name, f.Subject.Path = "", string(r.Key)
		f.Severity, f.RawSeverity = rules.High, rules.High
	case rowGap:
		if p, _, err := entry.ParseKey(r.Key); err == nil {
			f.Subject.Name, f.Subject.Path = "", string(p)
		}
	}
	say := func(v []byte) string { return report.Escape(strings.ReplaceAll(string(v), "\x00", " ")) }
	switch {
	case r.Old == nil:
		f.Change, f.Reasons = "added", []string{"is " + say(r.New)}
	case r.New == nil:
		f.Change, f.Reasons = "removed", []string{"was " + say(r.Old)}
	default:
		f.Reasons = []string{"was " + say(r.Old), "is " + say(r.New)}
	}
	return f, true
}

// selfPart names which part of intact a row is about.
func selfPart(r diff.RowChange) string {
	v := r.New
	if v == nil {
		v = r.Old
	}
	return words(v)["part"]
}

// findings gives emit what was found, in the order of a report. Their history
// begins at since.
func (c *contrast) findings(ctx context.Context, since time.Time, emit func(rules.Finding) error) error {
	one := func(f rules.Finding) error {
		f.FirstSeen, f.New = since, true
		return emit(f)
	}
	if c.result.Counts().All() > manyChanges {
		defer collectLess()()
	}
	in := rules.Input{Changes: c.result.Changes(), Floor: c.floor()}
	if err := integrity.New(integrity.Options{}).Judge(ctx, in, one); err != nil {
		return fmt.Errorf("judge integrity: %w", err)
	}
	slices.SortStableFunc(c.found, func(a, b rules.Finding) int {
		return strings.Compare(a.Set, b.Set)
	})
	for _, f := range c.found {
		if err := one(f); err != nil {
			return err
		}
	}
	return nil
}

// floor is the graver of what both policies ask for.
func (c *contrast) floor() func(string) rules.Severity {
	a, b := (&scope{eff: c.old.eff}).floors(), (&scope{eff: c.now.eff}).floors()
	return func(p string) rules.Severity { return max(a(p), b(p)) }
}

func (c *contrast) close() {
	for _, a := range []*accepted{c.old, c.now} {
		if a != nil && a.gen != nil {
			_ = a.gen.Close() // only read
		}
	}
	if c.spool != nil {
		_ = c.spool.Close() // unlinked files
	}
}
