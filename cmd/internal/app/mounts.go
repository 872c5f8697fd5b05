package app

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// Row kinds that this package stores.
const (
	rowMount = "mount" // key: mount point; value: type NUL source NUL bind root
	rowAlias = "alias" // key: policy path; value: where it leads
	rowGap   = "gap"   // key: key of the path; value: reason

	rowState = "state" // key "folder"; value: where the state folder is in the root

	// rowAccept says what is accepted without a person; key "accept", value
	// config.AcceptSigned. No row: nothing is.
	rowAccept = "accept"
	// rowReverify says how a watcher verifies again; key "reverify", value
	// config.Reverify. No row: as is standard.
	rowReverify = "reverify"
	// rowIndex is the newest index of an archive whose packages were accepted
	// without a person. Key: origin, suite, codename and signing key with NUL
	// between; value: date=RFC 3339.
	rowIndex = "index"
	// rowOrigin says where the policy came from; key "policy".
	rowOrigin    = "origin"
	originConfig = "configuration" // or the built-in default
	originPaths  = "command line"
)

// mountRows returns the mounts that belong to what the policy selects.
func mountRows(r *dirfd.Root, eff *policy.Effective) []diff.Row {
	var rows []diff.Row
	for _, m := range r.Mounts().Below() {
		if matters(eff, m) {
			rows = append(rows, diff.Row{Kind: rowMount, Key: []byte(m.Point), Value: mountValue(m)})
		}
	}
	return rows
}

// matters reports whether a mount belongs to what the policy selects: one that
// is entered, and one of a skipped type too where it covers a place that a rule
// compares. A sweep passes over skipped types by design.
func matters(eff *policy.Effective, m *dirfd.Mount) bool {
	return eff.Named(m.Point) || compared(eff, m.Point) || !eff.SkipFS(m.FSType) && reaches(eff, m.Point)
}

// compared reports whether a rule that is no sweep selects p.
func compared(eff *policy.Effective, p entry.Path) bool {
	d := eff.Decide(p)
	return d.Select && !eff.Sets()[d.Set].Sweep
}

func mountValue(m *dirfd.Mount) []byte {
	return []byte(m.FSType + "\x00" + m.Source + "\x00" + m.BindRoot)
}

// reaches reports whether p or something below it can be selected.
func reaches(eff *policy.Effective, p entry.Path) bool {
	if eff.Decide(p).Select {
		return true
	}
	start := eff.Start()
	s := &start
	for _, c := range p.Components() {
		if s = s.Enter([]byte(c)); s == nil {
			return false
		}
	}
	return true
}

// mountDrift compares the mounts of the baseline with those of today. It
// returns the findings, the rows that changed and the paths that the scan must
// not enter because the baseline's objects there are out of sight.
func mountDrift(ctx context.Context, gen *baseline.Generation, r *dirfd.Root, sc *scope) (found []rules.Finding, changed []diff.RowChange, hidden map[entry.Path]scanner.Reason, err error) {
	old, err := gen.Rows(rowMount)
	if err != nil {
		return nil, nil, nil, err
	}
	was := byKey(old)
	now := byKey(sc.mounts)
	hidden = map[entry.Path]scanner.Reason{}
	for _, m := range r.Mounts().Below() {
		key, value := string(m.Point), mountValue(m)
		before, known := was[key]
		if known && bytes.Equal(before, value) {
			continue
		}
		covers := gen.Covers(m.Point)
		if !known && !covers {
			if _, listed := now[key]; !listed {
				continue // a skipped type over nothing that matters
			}
		}
		f := mountFinding(m.Point, before, value)
		switch {
		case covers:
			f.Severity, f.RawSeverity = rules.High, rules.High
			f.Reasons = append(f.Reasons, "hides files of the baseline")
			hidden[m.Point] = scanner.ReasonHidden
		case compared(sc.eff, m.Point):
			f.Severity, f.RawSeverity = rules.High, rules.High
			f.Reasons = append(f.Reasons, "stands where the policy compares everything")
			if sc.eff.SkipFS(m.FSType) && !sc.eff.Named(m.Point) {
				hidden[m.Point] = scanner.ReasonHidden
			}
		}
		found = append(found, f)
		changed = append(changed, diff.RowChange{Kind: rowMount, Key: []byte(key), Old: before, New: value})
	}
	for key, before := range was {
		p := entry.Path(key)
		if r.Mounts().At(p) != nil {
			continue
		}
		f := mountFinding(p, before, nil)
		f.Severity, f.RawSeverity = rules.High, rules.High
		if gen.Covers(p) {
			hidden[p] = scanner.ReasonRootGone
		}
		found = append(found, f)
		changed = append(changed, diff.RowChange{Kind: rowMount, Key: []byte(key), Old: before})
	}
	slices.SortFunc(found, func(a, b rules.Finding) int {
		return bytes.Compare(entry.Path(a.Subject.Path).Key(), entry.Path(b.Subject.Path).Key())
	})
	return found, changed, hidden, nil
}

func byKey(rows []diff.Row) map[string][]byte {
	m := make(map[string][]byte, len(rows))
	for _, r := range rows {
		m[string(r.Key)] = r.Value
	}
	return m
}

func mountFinding(p entry.Path, old, now []byte) rules.Finding {
	f := rules.Finding{
		Set: "mounts", Rule: "mount.changed", Severity: rules.High, RawSeverity: rules.High, Change: "changed",
		Subject: rules.Subject{Kind: "mount", Path: string(p)}, Attack: []string{"T1564"},
	}
	switch {
	case old == nil:
		f.Rule, f.Change = "mount.added", "added"
		f.Severity, f.RawSeverity = rules.Low, rules.Low
	case now == nil:
		f.Rule, f.Change = "mount.removed", "removed"
	}
	for i, name := range []string{"fstype", "source", "bind_root"} {
		v := rules.Value{Name: name, OldKnown: old != nil, NewKnown: now != nil}
		v.Old, v.New = part(old, i), part(now, i)
		if v.Old != v.New || v.OldKnown != v.NewKnown {
			f.Attributes = append(f.Attributes, v)
		}
	}
	return f
}

func part(value []byte, i int) string {
	f := strings.Split(string(value), "\x00")
	if i < len(f) {
		return f[i]
	}
	return ""
}

// aliasRows are the policy paths that lead elsewhere.
func aliasRows(a []policy.Alias) []diff.Row {
	var rows []diff.Row
	for _, x := range a {
		rows = append(rows, diff.Row{Kind: rowAlias, Key: []byte(x.From), Value: []byte(x.To)})
	}
	return rows
}

func aliasesOf(rows []diff.Row) []policy.Alias {
	var r []policy.Alias
	for _, x := range rows {
		r = append(r, policy.Alias{From: entry.Path(x.Key), To: entry.Path(x.Value)})
	}
	return r
}

// aliasDrift reports policy paths that no longer lead where they led, or lead
// somewhere for the first time.
func aliasDrift(old []diff.Row, sc *scope) (found []rules.Finding, changed []diff.RowChange) {
	was, today := byKey(old), byKey(aliasRows(sc.aliases))
	add := func(from string, before, to []byte, why string) {
		found = append(found, aliasFinding(from, before, to, why))
		changed = append(changed, diff.RowChange{Kind: rowAlias, Key: []byte(from), Old: before, New: to})
	}
	for _, r := range old {
		if to := today[string(r.Key)]; !bytes.Equal(to, r.Value) {
			add(string(r.Key), r.Value, to, "a path of the policy leads elsewhere; the old target stays covered")
		}
	}
	for _, a := range sc.aliases {
		// What only the present configuration names has no place to be held to.
		if was[string(a.From)] == nil && sc.eff.Decide(a.From).Select {
			add(string(a.From), nil, []byte(a.To), "a path of the policy has become a link; it is followed once this is accepted")
		}
	}
	return found, changed
}

func aliasFinding(from string, before, to []byte, why string) rules.Finding {
	return rules.Finding{
		Set: "mounts", Rule: "root.retargeted", Severity: rules.High, RawSeverity: rules.High, Change: "changed",
		Subject:    rules.Subject{Kind: "symlink", Path: from},
		Attributes: []rules.Value{{Name: "target", Old: string(before), OldKnown: before != nil, New: string(to), NewKnown: to != nil}},
		Reasons:    []string{why},
		Attack:     []string{"T1574"},
	}
}

// stateRows says where the state folder lies: its files are not scanned, so
// nobody may move it to where others would not be either.
func (s *session) stateRows() ([]diff.Row, error) {
	p, err := stateExclude(s)
	if err != nil || p == "" {
		return nil, err
	}
	return []diff.Row{{Kind: rowState, Key: []byte("folder"), Value: []byte(p)}}, nil
}

// stateDrift reports a state folder that is not where it was.
func stateDrift(old, now []diff.Row) (found []rules.Finding, changed []diff.RowChange) {
	if len(old) != 1 || len(now) != 1 || bytes.Equal(old[0].Value, now[0].Value) {
		return nil, nil
	}
	f := stateFinding(old[0].Value, now[0].Value)
	return []rules.Finding{f}, []diff.RowChange{{Kind: rowState, Key: old[0].Key, Old: old[0].Value, New: now[0].Value}}
}

func stateFinding(old, now []byte) rules.Finding {
	return rules.Finding{
		Set: "mounts", Rule: "state.moved", Severity: rules.High, RawSeverity: rules.High, Change: "changed",
		Subject:    rules.Subject{Kind: "dir", Path: string(now)},
		Attributes: []rules.Value{{Name: "state_folder", Old: string(old), OldKnown: old != nil, New: string(now), NewKnown: now != nil}},
		Reasons:    []string{"the state folder is elsewhere, and its own files are not compared there"},
		Attack:     []string{"T1564.001"},
	}
}

// skips turns what the scan passed over into report records.
func skips(st scanner.Stats) []report.Skip {
	var r []report.Skip
	for _, s := range st.Skipped {
		r = append(r, report.Skip{Path: string(s.Path), FSType: s.FSType})
	}
	slices.SortFunc(r, func(a, b report.Skip) int { return strings.Compare(a.Path, b.Path) })
	return r
}

// stateMoved holds the place of the state folder against the baseline's.
func (c *check) stateMoved() error {
	if c.o.Baseline != "" {
		return nil // an export from elsewhere
	}
	old, err := c.gen.Rows(rowState)
	if err != nil {
		return err
	}
	now, err := c.stateRows()
	if err != nil {
		return err
	}
	found, changed := stateDrift(old, now)
	c.mounts, c.rows = append(c.mounts, found...), append(c.rows, changed...)
	return nil
}
