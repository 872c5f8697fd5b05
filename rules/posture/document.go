package posture

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"intact/rules"
)

// preamble stands above the list of rules.
const preamble = `# The posture rules

<!-- Made from the rule files by "go test ./rules/posture -update": change those. -->

Each rule says what it expects of a host, why, and how to put it right. A rule of a set fails for each *subject* by
itself: a listener, a user, a setting. ` + "`fail`, `pass`, `not-applicable`, `unknown` (a fact could not be read), `error`" + `
(the rule itself went wrong) and ` + "`waived`" + ` are the verdicts. How to change rules, write others and waive findings is in
[waivers.md](waivers.md).

`

// Document returns the page about all rules of the book, as Markdown.
func Document(b *Book) []byte {
	var out bytes.Buffer
	out.WriteString(preamble)
	out.WriteString("| rule | severity | what it expects |\n|---|---|---|\n")
	for _, r := range b.Rules {
		fmt.Fprintf(&out, "| [%s](#%s) | %s | %s%s |\n", r.ID, anchor(r.ID), r.Severity, cell(r.Title), r.remark())
	}
	for _, e := range elsewhere {
		fmt.Fprintf(&out, "| [%s](#%s) | %s | %s (judged by each check, as `%s`) |\n", e.ID, anchor(e.ID), e.Severity, cell(e.Title), e.By)
	}
	set := ""
	for _, r := range b.Rules {
		if r.Set != set {
			set = r.Set
			fmt.Fprintf(&out, "\n## %s\n", set)
		}
		r.document(&out, b.NeedsOf(r))
	}
	out.WriteString("\n## Judged by each check\n")
	for _, e := range elsewhere {
		fmt.Fprintf(&out, "\n### %s\n\n**%s.** Severity %s. In [reports](report.md#rules) it is `%s`.\n\n%s\n\n*Fix.* %s\n\n%s\n", e.ID, e.Title, e.Severity, e.By, e.Why, e.Fix, e.Refs)
	}
	return out.Bytes()
}

// anchor is the name that a heading of an id has in a page.
func anchor(id string) string { return strings.ReplaceAll(id, ".", "") }

// cell makes a text fit for a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// remark says of a rule when it is not in force.
func (r *Rule) remark() string {
	switch {
	case r.Forced:
		return ""
	case !r.Enabled:
		return " (off unless a site turns it on)"
	case r.Profile != profiles[0]:
		return " (profile " + r.Profile + ")"
	}
	return ""
}

func (r *Rule) document(out *bytes.Buffer, needs []string) {
	fmt.Fprintf(out, "\n### %s\n\n**%s.** Severity %s", r.ID, r.Title, r.Severity)
	for _, c := range r.Cases {
		fmt.Fprintf(out, ", or %s if `%s`", c.Severity, strings.Join(strings.Fields(c.If), " "))
	}
	fmt.Fprintf(out, "%s. Facts: %s.\n", r.remark(), list(needs))
	if r.Why != "" {
		fmt.Fprintf(out, "\n%s\n", r.Why)
	}
	if r.Fix != "" {
		fmt.Fprintf(out, "\n*Fix.* %s\n", r.Fix)
	}
	out.WriteString("\n```\n")
	for _, p := range []struct{ key, text string }{{"when", r.When}, {"each", r.Each}, {"known", r.Known}, {"expect", r.Expect}} {
		if p.text != "" {
			fmt.Fprintf(out, "%-7s%s\n", p.key, strings.ReplaceAll(strings.TrimRight(p.text, "\n"), "\n", "\n       "))
		}
	}
	out.WriteString("```\n")
	if r.Params != nil {
		out.WriteString("\n| param | default |\n|---|---|\n")
		for _, p := range r.Params {
			fmt.Fprintf(out, "| `%s` | `%s` |\n", p.Name, cell(paramText(p.Default)))
		}
	}
	if s := r.Refs.String(); s != "" {
		fmt.Fprintf(out, "\n%s\n", s)
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return "`" + strings.Join(names, "`, `") + "`"
}

// String names the places where a rule comes from in one line.
func (r Refs) String() string {
	var parts []string
	for _, x := range []struct {
		name string
		ids  []string
	}{{"CIS Debian 12", r.CIS}, {"NIST 800-53", r.NIST}, {"ATT&CK v19", r.Attack}, {"Lynis", r.Lynis}, {"ComplianceAsCode", r.CaC}, {"guides", r.Guides}} {
		if len(x.ids) > 0 {
			parts = append(parts, x.name+": "+strings.Join(x.ids, ", "))
		}
	}
	return strings.Join(parts, " · ")
}

// Text is the value as a rule file spells it.
func (p Param) Text() string { return paramText(p.Value) }

// paramText writes a value of a param as a rule file does.
func paramText(v any) string {
	quote := func(s string) string {
		if s != "" && paramName.MatchString(s) && s != "true" && s != "false" && s != "null" && s != "yes" && s != "no" && s != "on" && s != "off" {
			return s
		}
		return strconv.Quote(s)
	}
	var items []string
	switch v := v.(type) {
	case string:
		return quote(v)
	case []string:
		for _, s := range v {
			items = append(items, quote(s))
		}
	case []int64:
		for _, n := range v {
			items = append(items, strconv.FormatInt(n, 10))
		}
	default:
		return fmt.Sprint(v)
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// Setting is what is in force of one rule, for the baseline: a change that
// lowers it must be seen.
type Setting struct {
	ID       string
	Enabled  bool // under the profile that was asked for
	Severity rules.Severity
	Params   string // name=value, in one spelling
	Source   string // digest of what the rule says: its expressions and cases
}

// absentText says what a rule makes of what the host does not have.
func absentText(r *Rule) string {
	if r.AbsentEmpty {
		return "empty"
	}
	return strconv.FormatBool(r.AbsentOK)
}

// Settings returns those of all rules, in the order of the book.
func (b *Book) Settings(profile string) (out []Setting) {
	for _, r := range b.Rules {
		s := Setting{ID: r.ID, Enabled: r.Active(profile), Severity: r.Severity}
		var params []string
		for _, p := range r.Params {
			params = append(params, p.Name, paramText(p.Value))
		}
		s.Params = string(appendPairs(nil, params...))
		words := []string{"when", r.When, "each", r.Each, "known", r.Known, "expect", r.Expect, "subject", r.Subject, "evidence", r.Evidence,
			"absent", absentText(r), "live", strconv.FormatBool(r.NeedsLive)}
		for _, c := range r.Cases {
			words = append(words, "if", c.If, "severity", c.Severity.String())
		}
		s.Source = digestOf(string(appendPairs(nil, words...)))
		out = append(out, s)
	}
	return out
}
