package report

import (
	"fmt"
	"strings"
	"time"

	"intact/rules"
)

// Posture says what the rules about a host came to.
type Posture struct {
	Rules    int64 // in force, those included that do not apply here
	Known    int64 // of them those that apply and have a verdict
	Unknown  int64 // and those that need a fact which could not be read, or went wrong
	Waived   int64 // subjects that fail and are waived
	Standing [rules.Critical + 1]int64
	Since    time.Time // since when the oldest of those that stand does; zero: none stands
}

func (p *Posture) fields(c *coder) {
	c.number("rules", &p.Rules)
	c.number("known", &p.Known)
	c.number("unknown", &p.Unknown)
	c.number("waived", &p.Waived)
	c.object("standing", func() {
		for s := int(rules.Critical); s >= 0; s-- {
			c.number(rules.Severity(s).String(), &p.Standing[s])
		}
	})
	if c.has("standing_since", !p.Since.IsZero()) {
		c.time("standing_since", &p.Since)
		c.demand(!p.Since.IsZero(), "standing_since")
	}
}

// stands returns how many subjects fail as they did when people saw it.
func (p *Posture) stands() (n int64) {
	if p == nil {
		return 0
	}
	for _, v := range p.Standing {
		n += v
	}
	return n
}

// without takes what stands from the counts of an init, which tells of each once.
func (p *Posture) without(c Counts) Counts {
	if p != nil {
		for s, n := range p.Standing {
			c.Findings[s] = max(c.Findings[s]-n, 0)
		}
	}
	return c
}

// Stands is the reason of a finding that is no news: there is nothing to accept
// about it.
const Stands = "stands: it was shown before, and its evidence is the same"

// selectable notes the gravest row and the gravest rule of those that an accept
// takes by their names. What is escaped has a name that nobody can type.
func (t *text) selectable(f *rules.Finding, stands bool) {
	take := func(w *worst, words string) {
		if Escape(words) == words && (w.path == "" || f.Severity > w.severity) {
			w.severity, w.path = f.Severity, strings.Clone(words)
		}
	}
	switch {
	case f.Rule == "coverage.lost", stands, f.Set == "waiver", f.Set == "attest":
	case f.Rule == "drift."+f.Subject.Kind:
		take(&t.row, f.Subject.Kind+" "+f.Subject.Name)
	case f.Change == "" && (f.Subject.Kind == "posture" || strings.Contains(f.Subject.Kind, ".")):
		take(&t.failing, f.Rule)
	}
}

// another prints a finding in one line if it is by the same rule as the one
// before it, about another subject: a rule may fail for a hundred.
func (t *text) another(f *rules.Finding) bool {
	before := t.rule
	t.rule = ""
	if t.Verbose || f.Change != "" || f.Subject.Path != "" || len(f.Attributes) > 0 || f.Explained != nil || f.Window != "" {
		return false
	}
	t.rule = f.Severity.String() + " " + strings.Clone(f.Rule) // a copy: what was read is a part of its whole line
	if t.rule != before {
		return false
	}
	s := Escape(f.Subject.Name)
	for i, r := range f.Reasons {
		s += [...]string{": ", "; "}[min(i, 1)] + Prose(r)
	}
	if !f.New {
		since := "reported before"
		if !f.FirstSeen.IsZero() {
			since = "since " + t.when(f.FirstSeen, false)
		}
		s += ", " + since
	}
	t.detail("and", s)
	return true
}

// posture prints the figures, and what stands in one line.
func (t *text) posture(p *Posture) {
	s := fmt.Sprintf("%s of %s have a verdict", group(p.Known), plural(p.Known+p.Unknown, "rule"))
	if p.Known+p.Unknown == 0 {
		s = "none applies"
	}
	if p.Waived > 0 {
		s += ", " + plural(p.Waived, "finding") + " waived"
	}
	t.fact("posture", s)
	n := p.stands()
	if n == 0 {
		return
	}
	var parts []string
	for s := int(rules.Critical); s >= 0; s-- {
		if p.Standing[s] > 0 {
			parts = append(parts, group(p.Standing[s])+" "+rules.Severity(s).String())
		}
	}
	s = fmt.Sprintf("%s (%s)", plural(n, "finding"), strings.Join(parts, ", "))
	if !p.Since.IsZero() {
		s += ", the oldest since " + t.when(p.Since, false)
	}
	t.fact("standing", s+": see intact posture")
}

func ruleLine(r *Rule) string {
	return fmt.Sprintf("%s %s: %s: %s", Escape(r.Set), Escape(r.Rule), Escape(r.Verdict), Prose(r.Reason))
}

// lacks reports whether a rule has no answer only because the host does not
// have what it asks for, or is an image.
func (r *Rule) lacks() bool {
	if r.Verdict != "unknown" || r.Set == "drift" {
		return false
	}
	for part := range strings.SplitSeq(r.Reason, "; ") {
		if !strings.Contains(": "+part, ": absent") && !strings.Contains(": "+part, ": offline") {
			return false
		}
	}
	return true
}

// lackWords tells of many such rules in one line.
func lackWords(lacking map[string]int64) string {
	var absent, offline int64
	for reason, n := range lacking {
		if strings.Contains(reason, "offline") {
			offline += n
		} else {
			absent += n
		}
	}
	var parts []string
	if offline > 0 {
		parts = append(parts, plural(offline, "rule")+" judge the running host only")
	}
	if absent > 0 {
		parts = append(parts, plural(absent, "rule")+" about what is not here")
	}
	return strings.Join(parts, ", ") + ": see --verbose"
}
