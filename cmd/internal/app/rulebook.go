package app

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/facts"
	"intact/rules/posture"
	"intact/scanner/digest"
)

// rowRulebook is the kind of the rows about rules and waivers of a site that were
// in force when the baseline was made. Key: "rule", NUL and its id, value:
// ruleValue; or "waiver", NUL and its text, with what it covered then:
// words, subject="…" digest="…" again and again; or "attestation", NUL and its
// text, value: yes; or one of configRows.
const rowRulebook = "rulebook"

// maxBindings bounds the findings that a waiver is bound to.
const maxBindings = 10_000

// ruleDigest names all that a site can say of a rule.
func ruleDigest(r *posture.Rule) string {
	text := fmt.Sprintf("%q %q %q %v %q %q %q %q %q %q %q %v %v %v %v", r.ID, r.Severity, r.Profile, r.Enabled, r.When, r.Each, r.Known, r.Expect, r.Subject, r.Evidence, fmt.Sprintf("%+v", r.Cases),
		r.Forced, r.NeedsLive, r.AbsentOK, fmt.Sprintf("%#v", paramsOf(r)))
	return digest.Sum([]byte(text)).Named()
}

func paramsOf(r *posture.Rule) (out []string) {
	for _, p := range r.Params {
		out = append(out, fmt.Sprintf("%s=%#v", p.Name, p.Value))
	}
	return out
}

// ruleValue is what a baseline keeps of a rule: words, digest=… of all, and what
// tells whether another judges less: severity=…, active=yes or no, other=… the
// digest of its params and of what makes it graver.
func ruleValue(r *posture.Rule, profile string) []byte {
	active := "no"
	if r.Active(profile) {
		active = "yes"
	}
	return fmt.Appendf(nil, "digest=%s severity=%s active=%s other=%s", ruleDigest(r), r.Severity, active, otherDigest(r))
}

func otherDigest(r *posture.Rule) string {
	return digest.Sum(fmt.Appendf(nil, "%#v %+v", paramsOf(r), r.Cases)).Named()
}

// weaker says what a rule judges less by than the one of the baseline.
func weaker(value []byte, now *posture.Rule, profile string) string {
	var out []string
	w := words(value)
	if w["active"] == "yes" && !now.Active(profile) {
		out = append(out, "is disabled")
	}
	if s, err := rules.ParseSeverity(w["severity"]); err != nil || now.Severity < s {
		out = append(out, fmt.Sprintf("severity %s → %s", report.Escape(w["severity"]), now.Severity))
	}
	if w["other"] != otherDigest(now) {
		out = append(out, "other params")
	}
	return strings.Join(out, ", ")
}

// ofSite reports whether a site file made or changed a rule.
func ofSite(r *posture.Rule) bool { return !r.Builtin || r.Changed != "" }

// rulebookRows are the rows about what a site says.
func rulebookRows(b *posture.Book, w *posture.Waivers, cover *posture.Cover, profile string) (rows []diff.Row) {
	for _, r := range b.Rules {
		if ofSite(r) {
			rows = append(rows, diff.Row{Kind: rowRulebook, Key: []byte("rule\x00" + r.ID), Value: ruleValue(r, profile)})
		}
	}
	seen := map[string]bool{}
	if w == nil {
		return rows
	}
	for _, a := range w.Attestations {
		if text := a.Text(); len(text) <= maxStanding && !seen[text] {
			seen[text] = true
			rows = append(rows, diff.Row{Kind: rowRulebook, Key: []byte("attestation\x00" + text), Value: []byte("yes")})
		}
	}
	for _, v := range w.List {
		text := v.Text()
		if len(text) > maxStanding || seen[text] {
			continue // the same words twice bind nothing twice
		}
		seen[text] = true
		var bound []string
		for i, x := range cover.Bindings(v) {
			if i < maxBindings {
				bound = append(bound, "subject="+strconv.Quote(x.Subject)+" digest="+strconv.Quote(x.Digest))
			}
		}
		value := strings.Join(bound, " ")
		if value == "" {
			value = "bound=nothing"
		}
		rows = append(rows, diff.Row{Kind: rowRulebook, Key: []byte("waiver\x00" + text), Value: []byte(value)})
	}
	return rows
}

// boundBy reads what a waiver of the baseline covered.
func boundBy(value []byte) (out []posture.Binding) {
	out = []posture.Binding{}
	rest := string(value)
	for rest != "" {
		var pair [2]string
		for i, name := range []string{"subject=", "digest="} {
			v, ok := strings.CutPrefix(rest, name)
			q, err := strconv.QuotedPrefix(v)
			if !ok || err != nil {
				return out
			}
			pair[i], _ = strconv.Unquote(q)
			rest = strings.TrimPrefix(v[len(q):], " ")
		}
		out = append(out, posture.Binding{Subject: pair[0], Digest: pair[1]})
	}
	return out
}

// narrowedRules takes out of force what the rule files and waivers of today would
// take from those of the baseline, and tells of it. What they add works at once.
func (c *check) narrowedRules() error {
	rows, err := c.gen.Rows(rowRulebook)
	if err != nil {
		return err
	}
	was := byKey(rows)
	b := c.ruled.book
	c.drift = append(c.drift, c.ruled.told...)
	profile := c.cfg.Posture.Profile
	tell := func(rule, line, why string) {
		c.drift = append(c.drift, rules.Finding{Set: "policy", Rule: rule, Severity: rules.High, RawSeverity: rules.High, Change: "changed",
			Subject: rules.Subject{Kind: "policy", Name: line}, Reasons: []string{why}})
	}
	for _, r := range slices.Clone(b.Rules) {
		old := was["rule\x00"+r.ID]
		delete(was, "rule\x00"+r.ID)
		switch {
		case old == nil && (!ofSite(r) || !r.Builtin) || old != nil && words(old)["digest"] == ruleDigest(r):
			continue // as it came, new, or as it was
		case !r.Builtin:
			tell("policy.rules", "rule "+r.ID, "it is not the one that the baseline was made with; the one of today is in force")
			continue
		}
		if why := narrows(r.Shipped(), r, profile); why != "" && ofSite(r) {
			tell("policy.rules", "rule "+r.ID+": "+why, report.Prose(r.Changed)+" changes a rule of the program; without effect until intact policy adopt")
			b.Replace(r.Shipped())
		} else if why := weaker(old, r, profile); old != nil && why != "" {
			tell("policy.rules", "rule "+r.ID+": "+why, "the baseline was made with another change of this rule; that of today, or none, is in force")
		}
	}
	for key := range was {
		if id, ok := strings.CutPrefix(key, "rule\x00"); ok && b.Rule(id) == nil {
			tell("policy.rules", "rule "+report.Escape(id)+" is gone", "the baseline was made with it")
		}
	}
	if c.ruled.waivers == nil {
		return nil
	}
	w := *c.ruled.waivers
	w.List = slices.DeleteFunc(slices.Clone(w.List), func(v *posture.Waiver) bool {
		value := was["waiver\x00"+v.Text()]
		if value == nil {
			until := "intact policy adopt"
			if v.OfBaseline() { // that waits for changes to be accepted
				rule, subject, _ := posture.WaiverOf(v.Text())
				until = "intact accept --rule " + report.ShellQuote(rule+"="+posture.Literal(subject))
				c.ruled.rows = append(c.ruled.rows, diff.RowChange{Kind: rowRulebook, Key: []byte("waiver\x00" + v.Text()), New: []byte("bound=nothing")})
			}
			tell("policy.waived", "waiver of "+v.Rule+" for "+report.Escape(v.Subject), report.Prose(v.Place)+" waives what the baseline does not; without effect until "+until)
			return true
		}
		if v.Evidence == "" && !v.OfBaseline() {
			v.Bound = boundBy(value)
		}
		return false
	})
	w.Attestations = slices.DeleteFunc(slices.Clone(w.Attestations), func(a posture.Attestation) bool {
		gone := was["attestation\x00"+a.Text()] == nil
		if gone {
			tell("policy.waived", "attestation "+a.ID, report.Prose(a.Place)+" attests what the baseline does not; without effect until intact policy adopt")
		}
		return gone
	})
	c.ruled.waivers = &w
	c.theFacts().set("attestations", w.Fact())
	return nil
}

// narrows says what a changed rule judges less by than the one it comes from, ""
// if nothing.
func narrows(plain, now *posture.Rule, profile string) string {
	var out []string
	if plain.Active(profile) && !now.Active(profile) {
		out = append(out, "is disabled")
	}
	if now.Severity < plain.Severity {
		out = append(out, fmt.Sprintf("severity %s → %s", plain.Severity, now.Severity))
	}
	if !reflect.DeepEqual(paramsOf(plain), paramsOf(now)) {
		out = append(out, "other params")
	}
	return strings.Join(out, ", ")
}

// stands is what init and policy adopt keep of rules.
type stands struct {
	rows    []diff.Row
	found   []rules.Finding
	records []report.Rule
	tally   report.Posture
}

// firstRules are those that a new baseline is made with.
type firstRules struct {
	book    *posture.Book
	waivers *posture.Waivers
}

// readFirstRules reads them before anything is scanned; nil for a baseline of
// named paths. What is wrong with a file ends the command.
func (s *session) readFirstRules(origin string) (*firstRules, error) {
	if origin != originConfig {
		return nil, nil
	}
	b, w, err := s.book()
	return &firstRules{b, w}, err
}

// emitFindings tells what stands from now on.
func (st *stands) emitFindings(p *paper, t *report.Trailer) error {
	if st == nil {
		return nil
	}
	t.Posture = &st.tally
	for _, f := range st.found {
		f.FirstSeen, f.New = p.head.Started, true
		if err := p.w.Finding(f); err != nil {
			return err
		}
	}
	return nil
}

func (st *stands) emitRecords(p *paper) error {
	if st == nil {
		return nil
	}
	for _, r := range st.records {
		if err := p.w.Rule(r); err != nil {
			return err
		}
	}
	return nil
}

// blindRules judges the host by the rules where no baseline can be trusted: none
// of them is waived, and nothing stands. Nil: they were not asked for.
func (c *check) blindRules(ctx context.Context) (*stands, error) {
	if !c.wantsRules() || ctx.Err() != nil {
		return nil, nil
	}
	b, _, err := c.bookAnyway()
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Clone(b.Rules) { // nobody says that the site's files are those of an administrator
		if r.Builtin && r.Changed != "" && narrows(r.Shipped(), r, c.cfg.Posture.Profile) != "" {
			b.Replace(r.Shipped())
		}
	}
	out := &stands{}
	in := posture.Input{Facts: c.hostFacts(nil), Live: c.factsHost().Live, Profile: c.cfg.Posture.Profile, Sets: c.setsOf(b), Now: c.env.Now()}
	err = b.Judge(ctx, in, func(r posture.Result) error {
		out.take(&r)
		return nil
	})
	if ctx.Err() != nil {
		err = nil // what was judged until then is told
	}
	return out, err
}

// checked lets the run that asks count as a check, and what it makes as sealed.
func (h *hostFacts) checked(now time.Time, seals bool) {
	self := h.self
	if self == nil {
		return
	}
	h.self = func(ctx context.Context) facts.Answer[posture.Self] {
		a := self(ctx)
		for i := range a.Rows {
			a.Rows[i].LastCheck, a.Rows[i].LastCheckKnown = now, true
			a.Rows[i].Signed = a.Rows[i].Signed || seals
		}
		if seals && len(a.Rows) > 0 && a.Status == rules.Denied {
			a.Status, a.Reason = rules.OK, "" // an ordinary user has a baseline now
		}
		return a
	}
}

// take keeps what a rule says.
func (st *stands) take(r *posture.Result) {
	tally(r, &st.tally)
	st.records = append(st.records, recordsOf(r)...)
	for i := range r.Subjects {
		if x := &r.Subjects[i]; x.Verdict == posture.Fail {
			st.found = append(st.found, x.Finding)
		}
	}
}

// firstStands judges the host for a new baseline: what fails now stands. from, the
// generation that is adopted, nil if there is none, says what stood before:
// another policy makes nothing stand.
func (s *session) firstStands(ctx context.Context, judge *firstRules, h *hostFacts, from *baseline.Generation, now time.Time) (*stands, error) {
	var old []diff.Row
	learn := true
	if from != nil {
		heads, err := from.Rows(rowFacts)
		if err != nil {
			return nil, err
		}
		learn = len(heads) == 0
		if old, err = from.Rows(rowStanding); err != nil {
			return nil, err
		}
	}
	out := &stands{rows: old}
	h.checked(now, true)
	cover := posture.NewCover(judge.waivers, s.env.Now())
	in := posture.Input{Facts: h, Live: s.factsHost().Live, Profile: s.cfg.Posture.Profile, Now: s.env.Now(), Waivers: cover}
	err := judge.book.Judge(ctx, in, func(r posture.Result) error {
		out.take(&r)
		for i := range r.Subjects {
			x := &r.Subjects[i]
			if x.Verdict != posture.Fail || !learn {
				continue
			}
			if row := standingRow(r.ID, x); row.Key != nil {
				row.Value = appendSince(row.Value, now)
				out.rows = append(out.rows, row)
				out.tally.Standing[min(x.Finding.Severity, rules.Critical)]++
				out.tally.Since = now
			}
		}
		return nil
	})
	if !learn {
		out.found = nil // said before, or told by the next check
	}
	said := slices.Concat(rulebookRows(judge.book, judge.waivers, cover, s.cfg.Posture.Profile), configRows(s.cfg))
	out.rows = append(out.rows, said...)
	if from != nil && err == nil {
		var old []diff.Row
		old, err = from.Rows(rowRulebook)
		s.remark(adopted(old, said, judge.waivers)...)
	}
	return out, err
}
