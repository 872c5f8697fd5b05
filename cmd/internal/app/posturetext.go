package app

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"intact/report"
	"intact/rules"
	"intact/rules/posture"
)

// maxSubjects is how many subjects of one rule are listed below high, unless all
// are asked for.
const maxSubjects = 20

// text writes the verdicts for people: what fails by severity, then what is
// waived, unknown or went wrong, then the figures.
func (j *judged) text(w *bufio.Writer) {
	where := "posture of " + report.Escape(j.root.HostPath())
	if j.root.Live() {
		where += " on " + report.Escape(hostName())
	} else {
		where += " (an image: what only a running host tells is unknown)"
	}
	fmt.Fprintf(w, "%s, profile %s\n", where, j.o.Profile)
	if j.o.Explain != "" {
		j.explained(w)
		return
	}
	for s := int(rules.Critical); s >= int(rules.Info); s-- {
		j.failing(w, rules.Severity(s))
	}
	j.others(w, posture.Waived, "waived")
	j.others(w, posture.Unknown, "unknown")
	j.others(w, posture.Error, "error in the rule")
	j.attested(w)
	if j.env.Verbose {
		j.whole(w, posture.NotApplicable, "not applicable")
		j.whole(w, posture.Pass, "pass")
	}
	fmt.Fprintf(w, "\n%s\n", j.figures())
}

// figures are the counts in one sentence.
func (j *judged) figures() string {
	c := j.count()
	s := fmt.Sprintf("%d of %s a verdict: %d pass, %d fail, %d waived", c.Known, plurals(c.Rules, "rule has", "rules have"), c.Pass, c.Fail, c.Waived)
	if c.Unknown > 0 {
		s += fmt.Sprintf("; %d unknown: %s", c.Unknown, j.lacking())
	}
	if c.Error > 0 {
		s += fmt.Sprintf("; %d went wrong", c.Error)
	}
	if c.NotApplicable > 0 {
		s += fmt.Sprintf("; %d not applicable", c.NotApplicable)
	}
	return s
}

func plurals(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// failing writes the rules that fail with a severity.
func (j *judged) failing(w *bufio.Writer, sev rules.Severity) {
	head := false
	for i := range j.results {
		r := &j.results[i]
		var list []*posture.Subject
		for k := range r.Subjects {
			if s := &r.Subjects[k]; s.Verdict == posture.Fail && s.Finding.Severity == sev {
				list = append(list, s)
			}
		}
		if len(list) == 0 {
			continue
		}
		if !head {
			fmt.Fprintf(w, "\n%s\n", strings.ToUpper(sev.String()))
			head = true
		}
		j.heading(w, r)
		for n, s := range list {
			if n == maxSubjects && sev < rules.High && !j.env.Verbose {
				fmt.Fprintf(w, "      … and %d more: --verbose lists them\n", len(list)-n)
				break
			}
			j.subject(w, s, s.Finding.Reasons)
			if j.env.Verbose {
				restsOn(w, s)
			}
		}
		if j.env.Verbose && r.Rule != nil {
			advise(w, r.Rule)
		}
	}
}

func (j *judged) heading(w *bufio.Writer, r *posture.Result) {
	title := ""
	if r.Rule != nil {
		title = "  " + report.Prose(r.Rule.Title)
	}
	fmt.Fprintf(w, "  %s%s\n", report.Escape(r.ID), title)
}

// subject writes a subject and what is said of it. A rule that judges the host
// has one, which needs no name.
func (j *judged) subject(w *bufio.Writer, s *posture.Subject, said []string) {
	var words []string
	for _, x := range said {
		words = append(words, report.Prose(x))
	}
	text := strings.Join(words, "; ")
	switch {
	case s.Name == "host":
	case text == "":
		text = report.Escape(s.Name)
	default:
		text = report.Escape(s.Name) + ": " + text
	}
	fmt.Fprintf(w, "      %s\n", text)
}

// restsOn writes what the verdict on a subject rests on, and the digest that a
// waiver of just this names.
func restsOn(w *bufio.Writer, s *posture.Subject) {
	for l := range strings.SplitSeq(s.Evidence, "\n") {
		if l != "" {
			fmt.Fprintf(w, "        evidence  %s\n", report.Prose(l))
		}
	}
	if s.Digest != "" {
		fmt.Fprintf(w, "        digest    %s\n", report.Escape(s.Digest))
	}
}

// advise writes why a rule matters and how to mend what it finds.
func advise(w *bufio.Writer, r *posture.Rule) {
	paragraph(w, "why", r.Why)
	paragraph(w, "fix", r.Fix)
	paragraph(w, "see", r.Refs.String())
}

// paragraph writes a text of a rule file under a word, line by line.
func paragraph(w *bufio.Writer, word, text string) {
	for l := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if l != "" {
			fmt.Fprintf(w, "    %-6s  %s\n", word, report.Prose(l))
			word = ""
		}
	}
}

// others writes the rules that have subjects with a verdict, or that verdict
// themselves.
func (j *judged) others(w *bufio.Writer, v posture.Verdict, title string) {
	head := false
	for i := range j.results {
		r := &j.results[i]
		var list []*posture.Subject
		for k := range r.Subjects {
			if s := &r.Subjects[k]; s.Verdict == v {
				list = append(list, s)
			}
		}
		rest := r.Partial != "" && v == posture.Unknown // of it there may be more
		if len(list) == 0 && r.Verdict != v && !rest {
			continue
		}
		if !head {
			fmt.Fprintf(w, "\n%s\n", strings.ToUpper(title))
			head = true
		}
		j.heading(w, r)
		if reason := cmp.Or(r.Partial, r.Reason); len(list) == 0 || rest {
			fmt.Fprintf(w, "      %s\n", report.Prose(reason))
		}
		for n, s := range list {
			if n == maxSubjects && !j.env.Verbose {
				fmt.Fprintf(w, "      … and %d more: --verbose lists them\n", len(list)-n)
				break
			}
			j.subject(w, s, []string{s.Reason})
		}
	}
}

// whole writes the rules with a verdict that need no more words.
func (j *judged) whole(w *bufio.Writer, v posture.Verdict, title string) {
	head := false
	for i := range j.results {
		r := &j.results[i]
		if r.Verdict != v || r.Rule == nil {
			continue
		}
		if !head {
			fmt.Fprintf(w, "\n%s\n", strings.ToUpper(title))
			head = true
		}
		j.heading(w, r)
		if r.Reason != "" {
			fmt.Fprintf(w, "      %s\n", report.Prose(r.Reason))
		}
	}
}

// attested writes what people gave their word for.
func (j *judged) attested(w *bufio.Writer) {
	head := false
	for i := range j.results {
		r := &j.results[i]
		if r.Set != "attest" || r.Verdict != posture.Pass {
			continue
		}
		if !head {
			fmt.Fprintf(w, "\nATTESTED\n")
			head = true
		}
		fmt.Fprintf(w, "  %s  %s\n", report.Escape(r.ID), report.Prose(r.Reason))
	}
}

// explained writes all about the one rule that was asked for.
func (j *judged) explained(w *bufio.Writer) {
	rule := j.book.Rule(j.o.Explain)
	fmt.Fprintf(w, "\n  %s  %s\n", report.Escape(rule.ID), report.Prose(rule.Title))
	advise(w, rule)
	i := slices.IndexFunc(j.results, func(r posture.Result) bool { return r.ID == rule.ID })
	if i < 0 {
		fmt.Fprintf(w, "    it is not in force under this profile\n")
		return
	}
	r := &j.results[i]
	fmt.Fprintf(w, "    %-6s  %s", "says", r.Verdict)
	if r.Judged > 0 {
		fmt.Fprintf(w, ", of %s", plurals(r.Judged, "subject", "subjects"))
	}
	if r.Reason != "" {
		fmt.Fprintf(w, ": %s", report.Prose(r.Reason))
	}
	fmt.Fprintln(w)
	if r.Partial != "" && r.Partial != r.Reason {
		paragraph(w, "rest", r.Partial)
	}
	for _, kind := range j.book.NeedsOf(rule) {
		f, ok := j.facts.kept[kind]
		if !ok {
			continue // nobody asked: the rule could say without
		}
		text := kind + ": " + string(f.Status)
		if f.Via != "" {
			text += ", from " + f.Via
		}
		if f.Reason != "" {
			text += ": " + f.Reason
		}
		paragraph(w, "fact", text)
	}
	for k := range r.Subjects {
		s := &r.Subjects[k]
		said := []string{s.Reason}
		if s.Verdict == posture.Fail {
			said = s.Finding.Reasons
		}
		fmt.Fprintf(w, "  %s", s.Verdict)
		if s.Verdict == posture.Fail || s.Verdict == posture.Waived {
			fmt.Fprintf(w, " (%s)", s.Finding.Severity)
		}
		fmt.Fprintln(w)
		j.subject(w, s, said)
		restsOn(w, s)
	}
}
