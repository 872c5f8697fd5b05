package app

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/posture"
)

// shownStanding is how a row of that kind is told: it is about to be no news any
// more.
func shownStanding(r diff.RowChange) (f rules.Finding, err error) {
	rule, subject, ok := strings.Cut(string(r.Key), "\x00")
	v := r.New
	f.Change, f.Reasons = "added", []string{"fails, and would stand from now on: no check would tell of it while its evidence is the same"}
	switch {
	case r.New == nil:
		v, f.Change, f.Reasons = r.Old, "removed", []string{"would be told again if it failed"}
	case r.Old != nil:
		f.Change = "changed"
	}
	w := words(v)
	s, bad := rules.ParseSeverity(w["severity"])
	if !ok || bad != nil || !strings.HasPrefix(w["digest"], "blake3:") {
		return f, fmt.Errorf("%w: row of standing %q", baseline.ErrDamaged, r.Key)
	}
	f.Set, _, _ = strings.Cut(rule, ".")
	f.Rule, f.Severity, f.RawSeverity = rule, s, s
	f.Subject = rules.Subject{Kind: rowStanding, Name: subject}
	return f, nil
}

// shownWaiver is how a row about a waiver is told that is to come into the
// baseline by itself.
func shownWaiver(r diff.RowChange) (f rules.Finding, err error) {
	text, ok := strings.CutPrefix(string(r.Key), "waiver\x00")
	rule, subject, is := posture.WaiverOf(text)
	if !ok || !is || subject == "" || r.Old != nil || r.New == nil {
		return f, fmt.Errorf("%w: row of a waiver %q", baseline.ErrDamaged, r.Key)
	}
	return rules.Finding{Set: "policy", Rule: "policy.waived", Severity: rules.High, RawSeverity: rules.High, Change: "added",
		Subject: rules.Subject{Kind: "policy", Name: "waiver of " + rule + " for " + subject}, Reasons: []string{"would waive it: " + report.Prose(text)}}, nil
}

// takesWaiver reports whether a waiver of one subject is selected, as a failing
// subject is.
func (a *accept) takesWaiver(r diff.RowChange) bool {
	text, ok := strings.CutPrefix(string(r.Key), "waiver\x00")
	rule, subject, is := posture.WaiverOf(text)
	return ok && is && subject != "" && a.ruled(rule, subject)
}

func (a *accept) ruled(rule, subject string) bool {
	return slices.ContainsFunc(a.rules, func(c ruleChoice) bool { return posture.Match(c.rule, rule) && posture.Match(c.subject, subject) })
}

// ruleChoice is one --rule GLOB[=SUBJECT].
type ruleChoice struct{ rule, subject string }

func ruleChoices(args []string) (out []ruleChoice, err error) {
	for _, a := range args {
		rule, subject, named := strings.Cut(a, "=")
		if !named {
			subject = "*"
		}
		for _, g := range []string{rule, subject} {
			if why := posture.BadGlob(g); why != "" {
				return nil, usageError("accept: --rule: %q is no pattern: %s", a, why)
			}
		}
		out = append(out, ruleChoice{rule, subject})
	}
	return out, nil
}

// withLapsed adds what stood and has been put right. It goes along with anything
// that is accepted and counts as nothing: if it fails again that is news.
func (a *accept) withLapsed(rows []diff.RowChange) ([]diff.RowChange, error) {
	if len(a.lapsed) == 0 {
		return rows, nil
	}
	list, err := a.gen.Rows(rowStanding)
	if err != nil {
		return nil, err
	}
	now := byKey(list)
	for _, r := range a.lapsed { // an accept of the same report may have taken them
		if v := now[string(r.Key)]; v != nil && bytes.Equal(v, r.Old) {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// shownSubjects is how many subjects of a rule an accept names.
const shownSubjects = 3

// stand says what an accept lets stand, a line for each rule and severity.
func stand(rows []diff.RowChange) (lines []string) {
	subjects := map[string][]string{}
	for _, r := range rows {
		rule, subject, ok := strings.Cut(string(r.Key), "\x00")
		if r.Kind == rowStanding && r.New != nil && ok {
			k := report.Escape(rule) + ", " + report.Escape(words(r.New)["severity"])
			subjects[k] = append(subjects[k], report.Escape(subject))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(subjects)) {
		list := subjects[k]
		slices.Sort(list)
		s := strings.Join(list[:min(len(list), shownSubjects)], "; ")
		if n := len(list) - shownSubjects; n > 0 {
			s += fmt.Sprintf("; and %d more", n)
		}
		lines = append(lines, fmt.Sprintf("stands from now on: %s: %s", k, s))
	}
	return lines
}

// takesStanding reports whether a failing subject is selected. Nothing but its
// own name ever does that.
func (a *accept) takesStanding(r diff.RowChange) bool {
	rule, subject, ok := strings.Cut(string(r.Key), "\x00")
	return ok && a.ruled(rule, subject)
}

// selectable says what --fact and --rule could have selected, where they
// selected nothing; "" where they were not asked.
func (a *accept) selectable() (s string) {
	list, err := a.set.Rows()
	if err != nil {
		return ""
	}
	kinds, ids := map[string]bool{}, map[string]bool{}
	for _, r := range list {
		switch kind, _, _ := strings.Cut(string(r.Key), " "); r.Kind {
		case rowFact:
			kinds[report.Escape(kind)] = true
		case rowStanding:
			if rule, _, ok := strings.Cut(string(r.Key), "\x00"); ok && r.New != nil {
				ids[report.Escape(rule)] = true
			}
		}
	}
	add := func(asked bool, what string, names map[string]bool) {
		if asked {
			list := slices.Sorted(maps.Keys(names))
			if len(list) == 0 {
				list = []string{"none"}
			}
			s += "; " + what + " that wait: " + strings.Join(list, ", ")
		}
	}
	add(len(a.o.Facts) > 0, "kinds of facts", kinds)
	add(len(a.rules) > 0, "rules", ids)
	return s
}
