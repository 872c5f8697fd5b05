// Package integrity judges changes of files: each becomes a finding with a
// severity, reasons for it and ATT&CK techniques. What can be found is in
// Rules; which paths matter most is in the table of places.
package integrity

import (
	"cmp"
	"context"
	"math/bits"
	"slices"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// Options of the set. The zero value is usable.
type Options struct {
	SystemDirs []string // absolute directories that count as system paths, besides the built-in ones
	// Log, if any, says what a log lost beyond what its two entries show, "" if
	// they show it all; grave: it was cut or rewritten where it stands.
	Log func(path string) (words string, grave bool)
}

type set struct {
	o     Options
	attrs []entry.Info // of all attributes, in bit order
}

// New returns the rule set "integrity".
func New(o Options) rules.Set { return &set{o, (entry.All | entry.Btime).Rows()} }

// Name returns "integrity".
func (*set) Name() string { return "integrity" }

// movedDir is a renamed directory above the change that is looked at.
type movedDir struct {
	path     entry.Path
	severity rules.Severity
}

// Judge emits one finding for each change, and a second one, coverage.lost,
// for a change that is not verified whole any more. What is folded or another
// name of an inode is told by the finding that it follows from, unless it is
// graver than that one, or explained less well.
func (s *set) Judge(ctx context.Context, in rules.Input, emit func(rules.Finding) error) error {
	var moved []movedDir
	n := 0
	for c, err := range in.Changes {
		if err != nil {
			return err
		}
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for k := len(moved); k > 0 && !c.Path.Under(moved[k-1].path); k-- {
			moved = moved[:k-1]
		}
		findings := s.findings(c, in.Floor)
		if c.Folded || c.LinkOf != "" {
			if len(findings) > 0 && !alone(ctx, c, in.Explain) {
				findings = slices.DeleteFunc(findings, func(f rules.Finding) bool { return s.told(c, f, moved, in.Floor) })
			}
		} else if c.Kind == diff.Renamed && c.New != nil && c.New.Kind == entry.Dir && len(findings) > 0 {
			moved = append(moved, movedDir{c.Path, findings[0].Severity})
		}
		for _, f := range findings {
			if err := emit(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone reports whether c, another name of an inode, is explained less well than
// the name that stands for it: a name that nobody spoke of does not hide behind
// one that is expected.
func alone(ctx context.Context, c *diff.Change, by rules.Explainer) bool {
	if by == nil || c.LinkOf == "" {
		return false
	}
	leader := *c
	leader.Path, leader.LinkOf = c.LinkOf, ""
	return rank(ctx, &leader, by) > rank(ctx, c, by)
}

func rank(ctx context.Context, c *diff.Change, by rules.Explainer) int {
	if x, ok := by.Explain(ctx, c); ok {
		return x.Rank()
	}
	return 0
}

// told reports whether the finding that c follows from says enough.
func (s *set) told(c *diff.Change, f rules.Finding, moved []movedDir, floor func(string) rules.Severity) bool {
	if c.LinkOf != "" {
		leader := *c
		leader.Path, leader.LinkOf = c.LinkOf, ""
		for _, l := range s.findings(&leader, floor) {
			if l.Severity >= f.Severity && (l.Rule == ruleLost) == (f.Rule == ruleLost) {
				return true
			}
		}
		return false
	}
	if c.Kind != diff.Renamed || f.Severity < rules.High {
		return true
	}
	return slices.ContainsFunc(moved, func(d movedDir) bool { return d.severity >= f.Severity })
}

// findings judges one change by itself.
func (s *set) findings(c *diff.Change, floor func(string) rules.Severity) (list []rules.Finding) {
	least := rules.Info
	if floor != nil {
		least = floor(string(c.Path))
		if c.From != "" {
			least = max(least, floor(string(c.From)))
		}
	}
	j := judge{o: &s.o}
	if j.change(c); len(j.list) > 0 {
		if c.Kind == diff.Regained {
			least = rules.Info // not a change: nothing was seen to differ
		}
		list = append(list, s.finding(c, j.list, c.Attrs|c.Gained, least))
	}
	if c.Lost != 0 || c.Kind == diff.Unverified {
		j := judge{o: &s.o}
		j.lost(c)
		f := s.finding(c, j.list, c.Lost, least)
		f.Change = ""
		list = append(list, f)
	}
	return list
}

// generality orders verdicts of one severity: what says most names the finding.
func generality(rule string) int {
	switch rule {
	case ruleSetuid, ruleCapability:
		return 0
	case ruleMetadata, ruleTouch:
		return 2
	case ruleAdded, ruleRemoved:
		return 3
	}
	return 1
}

// finding makes the verdicts one: rule and severity of the gravest, the reasons
// of all, graver ones first.
func (s *set) finding(c *diff.Change, verdicts []verdict, attrs entry.Attr, least rules.Severity) rules.Finding {
	slices.SortStableFunc(verdicts, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), generality(a.rule)-generality(b.rule))
	})
	f := rules.Finding{
		Set: "integrity", Rule: verdicts[0].rule, Severity: verdicts[0].severity,
		Subject: rules.Subject{Kind: kindOf(c), Path: string(c.Path)},
		From:    string(c.From), Count: c.Count, Attributes: s.values(c, attrs), Diff: c,
	}
	if c.Kind != diff.Unverified && c.Kind != diff.Regained {
		f.Change = c.Kind.String()
	}
	for _, v := range verdicts {
		f.Reasons = appendNew(f.Reasons, v.reason)
		techniques := v.attack
		if techniques == nil {
			techniques = table[order(v.rule)].Attack
		}
		for _, t := range techniques {
			f.Attack = appendNew(f.Attack, t)
		}
	}
	if least > f.Severity {
		f.Severity = least
		f.Reasons = appendNew(f.Reasons, "the policy asks for "+least.String()+" at least here")
	}
	f.RawSeverity = f.Severity
	for _, l := range c.Links {
		f.Links = append(f.Links, string(l))
	}
	return f
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func kindOf(c *diff.Change) string {
	switch {
	case c.New != nil:
		return c.New.Kind.String()
	case c.Old != nil:
		return c.Old.Kind.String()
	}
	return entry.Dir.String() // a subtree that was not seen
}

// values renders the attributes that differ; of what was added or removed, all
// that its attribute set compares.
func (s *set) values(c *diff.Change, attrs entry.Attr) (list []rules.Value) {
	switch {
	case c.Kind == diff.Added && c.New != nil:
		attrs = c.NewSet.For(c.New.Kind)
	case c.Kind == diff.Removed && c.Old != nil:
		attrs = c.OldSet.For(c.Old.Kind)
	}
	for i := range s.attrs {
		row := &s.attrs[i]
		if attrs&row.Bit == 0 {
			continue
		}
		v := rules.Value{Name: row.Name}
		v.Old, v.OldKnown = entry.Text(row.Bit, c.Old)
		v.New, v.NewKnown = entry.Text(row.Bit, c.New)
		if v.OldKnown || v.NewKnown {
			if list == nil {
				list = make([]rules.Value, 0, bits.OnesCount32(uint32(attrs)))
			}
			list = append(list, v)
		}
	}
	return list
}
