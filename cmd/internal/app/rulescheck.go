package app

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/drift"
	"intact/rules/posture"
)

// rowStanding is the kind of the rows about findings of rules that people have
// seen. Key: the id of the rule and the name of the subject with NUL between;
// value: words, digest=… of the evidence, severity=… and since=RFC 3339.
const rowStanding = "standing"

// maxStanding bounds the key of such a row. What has a longer name never stands.
const maxStanding = 16 << 10

// byRules is what a check keeps of rules.
type byRules struct {
	book    *posture.Book
	waivers *posture.Waivers
	cover   *posture.Cover
	borne   int64    // findings besides those of rules that are waived
	sets    []string // that were asked for, nil: all

	found   []rules.Finding
	stands  map[string]bool // of found: by ruleSubject, those that are only named again
	told    []rules.Finding // about the configuration, of the set policy
	records []report.Rule
	rows    []diff.RowChange
	seen    map[string]time.Time // pending findings: since when
	tally   report.Posture
}

// theFacts are those of this check, each read once.
func (c *check) theFacts() *hostFacts {
	if c.known == nil {
		c.known = c.hostFacts(c.ruled.waivers)
		if c.o.Baseline == "" { // digests of an export are made with a key that stayed there
			c.known.secret = c.secret()
		}
		if !c.partial() && !c.o.NoState {
			c.known.checked(c.env.Now(), false)
		}
	}
	return c.known
}

// readRules reads the book before anything is scanned. What is wrong with files
// of the site ends no check: the rules of the program judge, and it exits 2.
func (c *check) readRules() error {
	c.ruled.seen, c.ruled.stands = map[string]time.Time{}, map[string]bool{}
	if err := c.configInForce(); err != nil {
		return err
	}
	of := c.ofConfiguration()
	if !of && slices.Contains(c.o.Only, drift.Name) {
		return usageError("--only %s: this baseline knows files alone: see intact policy adopt", drift.Name)
	}
	judged := c.wantsRules()
	policy := of && c.sets["policy"] && len(c.o.Paths) == 0 && c.update == nil // tells what would take rules away
	if !judged && !policy || !of && len(c.o.Only) == 0 {
		return nil
	}
	if !of {
		c.remark("this baseline knows files alone: no rule was judged when it was made, and nothing stands")
	}
	b, w, err := c.bookAnyway()
	if err != nil {
		return err
	}
	known := b.Sets()
	for _, n := range slices.Concat(c.o.Only, c.o.Skip) {
		if n != postureWord && !slices.Contains(setNames[:], n) && !slices.Contains(known, n) {
			return usageError("there is no rule set %q: want one of %v", n, slices.Concat(setNames[:], []string{postureWord}, known))
		}
	}
	if c.ruled.sets = []string{}; judged {
		c.ruled.sets = c.setsOf(b)
	}
	if policy || c.ruled.sets == nil || len(c.ruled.sets) > 0 {
		c.ruled.book, c.ruled.waivers = b, w
	}
	return nil
}

// bookAnyway reads the rules, and where files of the site are wrong those of the
// program alone.
func (c *check) bookAnyway() (*posture.Book, *posture.Waivers, error) {
	b, w, err := c.book()
	if err == nil {
		return b, w, nil
	}
	c.env.warn("%v", err)
	c.out.Add(ExitUsage)
	c.remark("files of rules or waivers are wrong: the rules of the program were judged alone, and nothing is waived")
	b, problems, err := posture.Load(posture.Sources{Kinds: factKinds(), Builtin: posture.Builtin()})
	if err != nil || posture.Fatal(problems) {
		return nil, nil, fmt.Errorf("rules of the program: %v, %v", err, problems)
	}
	return b, nil, nil
}

// ofConfiguration reports whether the baseline was made by the configured policy
// and knows of facts. One of named paths is about these alone.
func (c *check) ofConfiguration() bool {
	of, err := c.gen.Rows(rowOrigin)
	if err != nil || len(of) != 1 || string(of[0].Value) != originConfig {
		return false
	}
	heads, err := c.gen.Rows(rowFacts)
	return err == nil && len(heads) > 0
}

// judgeRules judges the host by the rules in force.
func (c *check) judgeRules(ctx context.Context) error {
	r := &c.ruled
	if r.book == nil {
		return nil
	}
	if err := c.narrowedRules(); err != nil || r.sets != nil && len(r.sets) == 0 {
		return err
	}
	old, err := c.gen.Rows(rowStanding)
	if err != nil {
		return err
	}
	for id, since := range c.pending.rows {
		if rest, ok := strings.CutPrefix(id, rowStanding+"\x00"); ok {
			if k := strings.LastIndex(rest, " since="); k >= 0 {
				r.seen[rest[:k]] = since
			}
		}
	}
	was := byKey(old)
	r.cover = posture.NewCover(r.waivers, c.env.Now())
	in := posture.Input{Facts: c.theFacts(), Live: c.factsHost().Live, Profile: c.cfg.Posture.Profile, Sets: r.sets, Now: c.env.Now(),
		Waivers: r.cover, Standing: posture.NewStanding(shownOf(old), c.lastFull())}
	stood := map[string][]string{} // keys by rule
	for key := range was {
		rule, _, _ := strings.Cut(key, "\x00")
		stood[rule] = append(stood[rule], key)
	}
	return r.book.Judge(ctx, in, func(res posture.Result) error {
		if res.Rule == nil && r.sets != nil {
			return nil // waivers are not used up by a part of the rules
		}
		c.takeResult(&res, was)
		for _, key := range lapsed(&res, stood[res.ID]) {
			r.rows = append(r.rows, diff.RowChange{Kind: rowStanding, Key: []byte(key), Old: was[key]})
		}
		return nil
	})
}

// lapsed are the keys of those that stood and of which a rule says that they are
// in order, or that it does not apply any more.
func lapsed(res *posture.Result, keys []string) (out []string) {
	if len(keys) == 0 || res.Partial != "" || res.Verdict == posture.Unknown || res.Verdict == posture.Error {
		return nil
	}
	not := map[string]bool{}
	for i := range res.Subjects {
		not[res.Subjects[i].Name] = true
	}
	for _, key := range keys {
		if _, subject, _ := strings.Cut(key, "\x00"); !not[subject] {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// takeResult keeps what a rule said.
func (c *check) takeResult(res *posture.Result, was map[string][]byte) {
	r := &c.ruled
	tally(res, &r.tally)
	r.records = append(r.records, recordsOf(res)...)
	for i := range res.Subjects {
		s := &res.Subjects[i]
		if s.Verdict != posture.Fail {
			continue
		}
		if s.Stands() {
			r.tally.Standing[min(s.Finding.Severity, rules.Critical)]++
			if r.tally.Since.IsZero() || s.Standing.Before(r.tally.Since) {
				r.tally.Since = s.Standing
			}
			if s.Named || c.cfg.Posture.Strict {
				r.stands[ruleSubject(&s.Finding)] = true
				s.Finding.FirstSeen = s.Standing
				r.found = append(r.found, s.Finding)
			}
			continue
		}
		r.found = append(r.found, s.Finding)
		row := standingRow(res.ID, s)
		if row.Key == nil {
			continue
		}
		head, _, _ := bytes.Cut(row.Value, []byte(" since="))
		id := string(row.Key) + "\x00" + string(head)
		since, ok := r.seen[id]
		if !ok {
			since = c.paper.head.Started
		}
		row.Value = appendSince(head, since)
		r.rows = append(r.rows, diff.RowChange{Kind: rowStanding, Key: row.Key, Old: was[string(row.Key)], New: row.Value})
		if ok {
			r.seen[ruleSubject(&s.Finding)] = since
		} else {
			delete(r.seen, ruleSubject(&s.Finding))
		}
	}
}

func ruleSubject(f *rules.Finding) string { return "rule\x00" + f.Rule + "\x00" + f.Subject.Name }

func appendSince(head []byte, since time.Time) []byte {
	return append(slices.Clone(head), " since="+since.UTC().Format(time.RFC3339Nano)...)
}

// standingRow is the row of a failing subject, with an empty key where its name
// is too long.
func standingRow(rule string, s *posture.Subject) (r diff.Row) {
	key := rule + "\x00" + s.Name
	if len(key) > maxStanding || s.Digest == "" {
		return r
	}
	head := []byte("digest=" + s.Digest + " severity=" + s.Finding.Severity.String())
	return diff.Row{Kind: rowStanding, Key: []byte(key), Value: head}
}

// shownOf reads the rows of a baseline. What cannot be read does not stand.
func shownOf(rows []diff.Row) (out []posture.Shown) {
	for _, r := range rows {
		rule, subject, ok := strings.Cut(string(r.Key), "\x00")
		w := words(r.Value)
		since, err := time.Parse(time.RFC3339Nano, w["since"])
		severity, bad := rules.ParseSeverity(w["severity"])
		if ok && err == nil && bad == nil {
			out = append(out, posture.Shown{Rule: rule, Subject: subject, Digest: w["digest"], Severity: severity, Since: since})
		}
	}
	return out
}

// tally adds a result to the figures.
func tally(res *posture.Result, to *report.Posture) {
	for i := range res.Subjects {
		if res.Subjects[i].Verdict == posture.Waived {
			to.Waived++
		}
	}
	if res.Rule == nil {
		return
	}
	to.Rules++
	switch res.Verdict {
	case posture.NotApplicable:
	case posture.Unknown, posture.Error:
		to.Unknown++
	default:
		to.Known++
	}
}

// recordsOf are what a rule said that is no finding: that it has no verdict, or
// none about some, and what is waived.
func recordsOf(res *posture.Result) (out []report.Rule) {
	say := func(v posture.Verdict, reason string) {
		out = append(out, report.Rule{Set: res.Set, Rule: res.ID, Verdict: string(v), Reason: report.Prose(reason)})
	}
	open := false
	for i := range res.Subjects {
		s := &res.Subjects[i]
		switch s.Verdict {
		case posture.Waived:
			say(posture.Waived, report.Escape(s.Name)+": "+s.Reason)
		case posture.Unknown, posture.Error:
			if !open {
				say(s.Verdict, report.Escape(s.Name)+": "+s.Reason)
			}
			open = true
		}
	}
	switch {
	case open:
	case res.Verdict == posture.Unknown, res.Verdict == posture.Error:
		say(res.Verdict, cmp.Or(res.Reason, "it says nothing"))
	case res.Partial != "":
		say(posture.Unknown, res.Partial)
	}
	return out
}

// lastFull is when the last run over the whole policy began, zero where none is
// known.
func (c *check) lastFull() (last time.Time) {
	if c.o.NoState {
		return last
	}
	list, err := c.archive().List()
	if err != nil {
		return last
	}
	for i, tries := len(list)-1, 0; i >= 0 && tries < 20; i-- {
		switch list[i].Kind {
		case report.KindCheck, report.KindImage, report.KindInit:
		default:
			continue
		}
		tries++
		if h, _, err := list[i].Ends(); err == nil && h.Scope == report.ScopeFull && h.Root == c.root.HostPath() {
			return h.Started
		}
	}
	return last
}

// emitRules writes the findings of rules. Those that stand are no new ones, and
// count only where the configuration is strict.
func (c *check) emitRules() error {
	found := c.ruled.found
	if !c.partial() { // the rest was not looked at
		i := slices.IndexFunc(found, func(f rules.Finding) bool { return f.Set == "attest" })
		if i < 0 {
			i = len(found)
		}
		found = slices.Insert(slices.Clone(found), i, c.ruled.cover.Unused()...)
	}
	for _, f := range found {
		if !c.ruled.stands[ruleSubject(&f)] {
			if err := c.emit(f); err != nil {
				return err
			}
			continue
		}
		f.New = false
		f.Reasons = append(slices.Clone(f.Reasons), report.Stands)
		if c.cfg.Posture.Strict && f.Severity >= c.failOn {
			c.out.Add(ExitFindings)
		}
		if err := c.paper.w.Finding(f); err != nil {
			return err
		}
	}
	return nil
}

// required makes the run incomplete where a rule that must have a verdict has
// none.
func (c *check) required() {
	for _, q := range c.cfg.Require {
		for _, r := range slices.Concat(c.facts.unsaid, c.ruled.records) {
			if r.Rule == q.Rule && r.Verdict != string(posture.Waived) {
				c.out.Add(ExitIncomplete)
				c.remark(fmt.Sprintf("required rule %s has no verdict: %s", report.Escape(q.Rule), r.Verdict))
				break
			}
		}
	}
}
