package posture

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"intact/rules"
)

// Cover holds waivers against the findings of one run, and notes which covered
// something.
type Cover struct {
	waivers      []*Waiver
	attestations []Attestation
	now          time.Time
	judged       map[string]bool
	notes        map[*Waiver]*note
}

// note is what became of a waiver in this run.
type note struct {
	covered []Binding
	changed int // findings that it was for, with other evidence now
}

// NewCover begins a run. The waivers are those in force, and those whose time
// is over: findings say so.
func NewCover(w *Waivers, now time.Time) *Cover {
	c := &Cover{now: now, judged: map[string]bool{}, notes: map[*Waiver]*note{}}
	if w != nil {
		c.waivers, c.attestations = w.List, w.Attestations
	}
	for _, w := range c.waivers {
		c.notes[w] = &note{}
	}
	return c
}

// Judged notes that a rule was evaluated over all its subjects: a waiver of it
// that covers nothing is unused.
func (c *Cover) Judged(rule string) {
	if c != nil {
		c.judged[rule] = true
	}
}

// Find returns the waiver that covers a finding; else, if there is one that
// covered it once, lapsed and why.
func (c *Cover) Find(rule, subject, digest string) (in, lapsed *Waiver, why string) {
	if c == nil {
		return nil, nil, ""
	}
	for _, w := range c.waivers {
		if !w.matches(rule, subject) {
			continue
		}
		n := c.notes[w]
		switch {
		case !w.seen(subject, digest):
			n.changed++
			lapsed, why = w, "its evidence is not what was waived"
		case !c.now.Before(w.Until):
			lapsed, why = w, "it ended with "+w.lastDay()
		case in == nil:
			in = w
			n.covered = append(n.covered, Binding{subject, digest})
		}
	}
	if in != nil {
		return in, nil, ""
	}
	return nil, lapsed, why
}

// Unused returns findings about waivers that are about what a check finds besides
// rules and covered nothing of it. Everything was found.
func (c *Cover) Unused() (out []rules.Finding) {
	if c == nil {
		return nil
	}
	unused := Result{Set: "waiver", ID: "waiver.unused", Verdict: Pass}
	for _, w := range c.waivers {
		if n := c.notes[w]; w.OfBaseline() && n.covered == nil && n.changed == 0 && c.now.Before(w.Until) {
			unused.tell(w.Rule+" "+w.Subject, w.Text(), rules.Low, fmt.Sprintf("waiver at %s of rule %s for %s covers nothing", w.Place, w.Rule, strconv.QuoteToGraphic(w.Subject)))
		}
	}
	for i := range unused.Subjects {
		out = append(out, unused.Subjects[i].Finding)
	}
	return out
}

// Bindings returns what each waiver covered in this run. Who accepts a waiver
// into the baseline keeps it as its Bound.
func (c *Cover) Bindings(w *Waiver) []Binding {
	if n := c.notes[w]; n != nil {
		return slices.Clone(n.covered)
	}
	return nil
}

// apply marks the subjects of a result that are waived.
func (c *Cover) apply(r *Result) {
	if c == nil {
		return
	}
	if r.Verdict != Unknown && r.Verdict != Error {
		complete := r.Partial == "" && !slices.ContainsFunc(r.Subjects, func(s Subject) bool { return s.Verdict == Unknown || s.Verdict == Error })
		if complete {
			c.Judged(r.ID)
		}
	}
	for i := range r.Subjects {
		s := &r.Subjects[i]
		if s.Verdict != Fail {
			continue
		}
		in, lapsed, why := c.Find(r.ID, s.Name, s.Digest)
		switch {
		case in != nil:
			s.Verdict, s.Waiver = Waived, in
			s.Reason = in.Says()
		case lapsed != nil:
			s.Lapsed = lapsed
			s.Finding.Reasons = append(s.Finding.Reasons, fmt.Sprintf("the waiver at %s does not cover it any more: %s", lapsed.Place, why))
		}
	}
}

// Rest returns the results about waivers and attestations, after everything
// was judged.
func (c *Cover) Rest() (out []Result) {
	if c == nil {
		return nil
	}
	expired := Result{Set: "waiver", ID: "waiver.expired", Verdict: Pass}
	unused := Result{Set: "waiver", ID: "waiver.unused", Verdict: Pass}
	for _, w := range c.waivers {
		n := c.notes[w]
		about := fmt.Sprintf("waiver at %s of rule %s for %s", w.Place, w.Rule, strconv.QuoteToGraphic(w.Subject))
		switch {
		case !c.now.Before(w.Until):
			expired.tell(w.Rule+" "+w.Subject, w.Text(), rules.Low, about+" ended with "+w.lastDay())
		case n.covered == nil && n.changed > 0:
			unused.tell(w.Rule+" "+w.Subject, w.Text(), rules.Low, fmt.Sprintf("%s covers nothing: the evidence of what it was for has changed", about))
		case n.covered == nil && c.judged[w.Rule]:
			unused.tell(w.Rule+" "+w.Subject, w.Text(), rules.Low, about+" covers nothing")
		}
	}
	for _, r := range []Result{expired, unused} {
		if r.Subjects != nil {
			out = append(out, r)
		}
	}
	for _, a := range c.attestations {
		out = append(out, a.result(c.now))
	}
	return out
}

// tell adds a failing subject.
func (r *Result) tell(name, evidence string, s rules.Severity, reason string) {
	r.Judged++
	for i := range r.Subjects {
		if r.Subjects[i].Name == name {
			return // said of the same rule and subject
		}
	}
	r.Subjects = append(r.Subjects, Subject{
		Name: name, Verdict: Fail, Evidence: evidence, Digest: digestOf(evidence),
		Finding: rules.Finding{Set: r.Set, Rule: r.ID, Severity: s, RawSeverity: s, New: true,
			Subject: rules.Subject{Kind: r.Set, Name: name}, Reasons: []string{prose(reason)}},
	})
	r.Verdict = Fail
}

// result is what an attestation says now.
func (a Attestation) result(now time.Time) Result {
	r := Result{Set: "attest", ID: "attest." + a.ID, Verdict: Pass}
	last := a.Until.AddDate(0, 0, -1).Format(time.DateOnly)
	said := fmt.Sprintf("attested by %s until %s", a.By, last)
	if a.Document != "" {
		said += ", document " + a.Document
	}
	if now.Before(a.Until) {
		r.Judged = 1
		r.Reason = prose(a.Subject + ": " + said + "; " + NotVerified)
		return r
	}
	e := string(appendPairs(nil, "id", a.ID, "subject", a.Subject, "until", last, "by", a.By, "document", a.Document))
	r.tell(a.Subject, e, rules.Low, "no longer "+said+"; "+NotVerified)
	return r
}

// appendPairs writes names and values alternately as name="value".
func appendPairs(b []byte, words ...string) []byte {
	for i := 0; i+1 < len(words); i += 2 {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, words[i]...), '=')
		b = strconv.AppendQuote(b, words[i+1])
	}
	return b
}
