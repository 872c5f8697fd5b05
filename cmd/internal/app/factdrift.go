package app

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/drift"
	"intact/rules/pkgdb"
	"intact/rules/posture"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// byFacts is what a check keeps of the set drift.
type byFacts struct {
	moved   []factMove
	lost    []rules.Finding // kinds that the baseline knows and nobody can read now
	unsaid  []report.Rule   // kinds that could not be compared
	watched map[string]*rules.Explanation
	changes map[string]bool // those of watched that changed
}

// factMove is a row about a fact that is another than the baseline knows.
type factMove struct {
	drift.Move
	row  diff.RowChange
	told bool               // it waits for an accept
	said *rules.Explanation // nil: nothing explains it
}

// updateKinds are compared when packages were upgraded: what those explain goes
// along with them, the rest waits for the next check.
var updateKinds = []string{"cron", "unit"}

// holdFacts holds the facts of the host against the rows of the baseline. A check
// of some paths does not ask.
func (c *check) holdFacts(ctx context.Context) error {
	if !c.sets[drift.Name] || len(c.limit) > 0 && c.update == nil {
		return nil
	}
	of, err := c.gen.Rows(rowOrigin)
	if err != nil || len(of) != 1 || string(of[0].Value) != originConfig {
		return err // one of named paths never knows any
	}
	old, err := factsOf(c.gen)
	if err != nil {
		return err
	}
	if old == nil {
		if c.update == nil {
			c.remark("the baseline knows no users, listeners, units and other facts: changes of them are told once intact policy adopt brought them into it")
		}
		return nil
	}
	h := c.theFacts()
	for _, d := range driftKinds() {
		if c.update != nil && !slices.Contains(updateKinds, d.name) {
			continue
		}
		was := old[d.name]
		if was == nil {
			was = &kindRows{status: rules.Offline}
		}
		now := readKind(ctx, h, d)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := c.holdKind(d.name, was, now); err != nil {
			return err
		}
	}
	return c.ownedFacts(ctx)
}

// holdKind compares the rows of one kind, if both sides know all of theirs.
func (c *check) holdKind(kind string, was, now *kindRows) error {
	unsaid := func(reason string) {
		if c.update == nil {
			c.facts.unsaid = append(c.facts.unsaid, report.Rule{Set: drift.Name, Rule: drift.Name + "." + kind, Verdict: "unknown", Reason: report.Prose(reason)})
		}
	}
	switch {
	case was.known() && now.known():
	case was.known():
		why := fmt.Sprintf("%s of the baseline could not be compared: %s", counted(len(was.rows), "row"), whyUnknown(now))
		unsaid(why)
		if now.status != rules.Offline { // an image is none of the host's doing
			c.loseFacts(kind, "all", why)
		}
		return nil
	case was.status != rules.Offline || now.known():
		unsaid("the baseline does not know these: " + string(was.status) + " when it was made")
		return nil
	default:
		return nil // an image, then and now
	}
	blind := kind == "user" && was.secret != now.secret
	if blind && len(was.rows) > 0 && c.o.Baseline == "" {
		const why = "whether passwords are others could not be compared: the key of their digests is another, or gone; intact init --force makes one"
		unsaid(why)
		c.loseFacts(kind, "passwords", why)
	}
	keys := maps.Clone(was.rows)
	maps.Copy(keys, now.rows)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		m := factMove{row: diff.RowChange{Kind: rowFact, Key: []byte(key), Old: was.rows[key], New: now.rows[key]}}
		if bytes.Equal(m.row.Old, m.row.New) {
			continue
		}
		m.Move = moveOf(m.row)
		if blind && m.Old != nil && m.New != nil {
			m.Old, m.New = withoutDigest(m.Old), withoutDigest(m.New)
		}
		_, differs, err := drift.Judge(m.Move)
		if err != nil {
			return fmt.Errorf("%w: fact %q: %w", baseline.ErrDamaged, key, err)
		}
		if differs {
			c.facts.moved = append(c.facts.moved, m)
		}
	}
	return nil
}

// loseFacts tells that what was compared is not any more: who keeps a check from
// reading it changes it unseen.
func (c *check) loseFacts(kind, what, why string) {
	if c.update == nil {
		f := drift.Lost(kind, what)
		f.Reasons = []string{report.Prose(why)}
		c.facts.lost = append(c.facts.lost, f)
	}
}

// moveOf reads the key of a row.
func moveOf(r diff.RowChange) drift.Move {
	kind, key, _ := strings.Cut(string(r.Key), " ")
	return drift.Move{Kind: kind, Key: key, Old: r.Old, New: r.New}
}

// withoutDigest is the value of a user whose password cannot be compared.
func withoutDigest(value []byte) []byte {
	head, rest, ok := bytes.Cut(value, []byte(` digest="`))
	if !ok {
		return value
	}
	_, tail, _ := bytes.Cut(rest, []byte(`"`))
	return slices.Concat(head, []byte(` digest=`+drift.Unknown), tail)
}

// ownedFacts asks which units are of no package, and notes the files that the
// rows which moved are read from.
func (c *check) ownedFacts(ctx context.Context) error {
	f := &c.facts
	f.watched, f.changes = map[string]*rules.Explanation{}, map[string]bool{}
	var paths []entry.Path
	at := map[entry.Path][]int{}
	for i := range f.moved {
		m := &f.moved[i]
		files, links := m.Files()
		for _, name := range slices.Concat(files, links) {
			f.watched[name] = nil
		}
		for _, name := range m.Telling() {
			if p, err := entry.NewPath(name); err == nil {
				paths = append(paths, p)
				at[p] = append(at[p], i)
			} else {
				m.Unowned = true
			}
		}
	}
	if len(paths) == 0 {
		return nil
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	answers, err := c.owners(ctx, paths)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i, p := range paths { // without packages nothing vouches for a unit
		for _, k := range at[p] {
			if err != nil || i >= len(answers) || answers[i].State != pkgdb.Owned {
				f.moved[k].Unowned = true
			}
		}
	}
	return nil
}

// see notes what explains a change, if a fact is read from that file.
func (f *byFacts) see(ch *diff.Change, said *rules.Explanation) {
	for _, p := range [...]entry.Path{ch.Path, ch.From} {
		if _, ok := f.watched[string(p)]; !ok || p == "" {
			continue
		}
		f.changes[string(p)] = true
		if said != nil {
			x := said.Clone()
			f.watched[string(p)] = &x
		}
	}
}

// judgeFacts finds out what explains the rows, and keeps them for the pending set.
// Every change has been seen.
func (c *check) judgeFacts() error {
	f := &c.facts
	files := drift.Files{
		Said:    func(p string) *rules.Explanation { return f.watched[p] },
		Changed: func(p string) bool { return f.changes[p] },
		Held:    c.comparesContent(),
	}
	for i := range f.moved {
		m := &f.moved[i]
		m.said = m.Explain(files)
		if c.update != nil && m.said == nil {
			continue
		}
		m.told = true
		if m.said != nil {
			c.rowSaid[rowID(m.row)] = m.said.Append(nil)
		}
		c.rows = append(c.rows, m.row)
	}
	return nil
}

// emitFacts writes the findings, one a row. They are made one after the other: a
// user makes as many rows as he writes lines into his crontab.
func (c *check) emitFacts() error {
	for i := range c.facts.moved {
		m := &c.facts.moved[i]
		if !m.told {
			continue
		}
		found, ok, err := drift.Judge(m.Move)
		if err != nil || !ok {
			return fmt.Errorf("fact %q: %w", m.row.Key, err)
		}
		printable(&found)
		found.Explain(m.said)
		since, seen := c.pending.rows[rowID(m.row)]
		c.dated(&found, since, seen)
		if err := c.paper.w.Finding(found); err != nil {
			return err
		}
	}
	return nil
}

// comparesContent reports of which files a change of the content would be seen.
func (c *check) comparesContent() func(string) bool {
	decide := c.scope.eff.Decider()
	return func(name string) bool {
		p, err := entry.NewPath(name)
		if err != nil {
			return false
		}
		d := decide(p)
		return d.Select && c.scope.eff.Sets()[d.Set].For(entry.File)&entry.Content != 0
	}
}

// printable makes the subject fit to be printed: keys hold what somebody wrote
// into files.
func printable(f *rules.Finding) {
	if !utf8.ValidString(f.Subject.Name) {
		f.Subject.Name = report.Escape(f.Subject.Name)
	}
}

// writeUnsaid writes which kinds could not be compared, and what rules say that is
// no finding.
func (c *check) writeUnsaid() error {
	for _, r := range slices.Concat(c.facts.unsaid, c.ruled.records) {
		if err := c.paper.w.Rule(r); err != nil {
			return err
		}
	}
	return nil
}

// shownFact is the finding about a row that comes from elsewhere.
func shownFact(r diff.RowChange) (rules.Finding, error) {
	m := moveOf(r)
	f, ok, err := drift.Judge(m)
	if err == nil && !ok {
		// They differ in what is unknown in one of them alone.
		f.Severity, f.RawSeverity, f.Reasons = rules.Low, rules.Low, []string{"what could not be told of it is another"}
	}
	printable(&f)
	return f, err
}

// factGlobs makes sure that the patterns of --fact are some.
func factGlobs(patterns []string) error {
	for _, g := range patterns {
		if why := posture.BadGlob(g); why != "" {
			return usageError("accept: --fact: %q is no pattern: %s", g, why)
		}
	}
	return nil
}

// takesFact reports whether a pending row about a fact is selected: by what
// explained it at the check, by its kind and key, or with all but critical ones.
func (a *accept) takesFact(r baseline.PendingRow) (bool, error) {
	var x *rules.Explanation
	if r.Explained != nil {
		var err error
		if x, err = rules.DecodeExplanation(r.Explained); err != nil {
			return false, fmt.Errorf("accept: %w: %w", baseline.ErrDamaged, err)
		}
	}
	f, err := shownFact(r.RowChange)
	if err != nil {
		return false, fmt.Errorf("accept: %w: fact: %w", baseline.ErrDamaged, err)
	}
	critical := f.Severity == rules.Critical && x.Rank() < signedRank
	switch {
	case a.auto != nil:
		m := moveOf(r.RowChange)
		return slices.Contains(updateKinds, m.Kind) && m.Old != nil && x != nil && a.auto.takes(x), nil
	case a.reviewed != nil:
		return a.reviewed.rows[rowID(r.RowChange)], nil
	case critical && (a.o.All || a.byLevel() && x != nil && a.stillCounts(*x) && a.wants(x)):
		a.stays = append(a.stays, "critical, and stays pending: intact accept --fact "+report.ShellQuote(policy.Literal(entry.Path(r.Key))))
		return false, nil
	case a.o.All:
		return true, nil
	case a.byLevel():
		return !critical && x != nil && a.stillCounts(*x) && a.wants(x), nil
	}
	for _, g := range a.o.Facts {
		if posture.Match(g, string(r.Key)) {
			return true, nil
		}
	}
	return false, nil
}
