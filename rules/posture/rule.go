package posture

import (
	"regexp"
	"slices"
	"strings"

	"intact/rules"
	"intact/scanner/strict"
)

// Rule is one rule, as it is in force.
type Rule struct {
	Set, ID, Title string
	Severity       rules.Severity
	Cases          []Case // the first whose If is true gives the severity instead
	Why, Fix       string
	When, Each     string // expressions, "" where there is none
	Known          string // whether what Expect depends on is known of the item; "" for always
	Expect         string
	Subject        string // gives the name of the subject; "" for "host"
	Message        string // says to people what was found; "" for the title
	Evidence       string // gives the evidence; "" for the compared attributes of the item, or the message
	Params         []Param
	Refs           Refs
	Profile        string // in force under this profile and those that take it in
	Enabled        bool   // false: only where a site turns it on
	Forced         bool   // a site file said whether it is enabled: the profile does not count
	NeedsLive      bool   // judges nothing about an image
	AbsentOK       bool   // what the host does not have makes it not-applicable
	AbsentEmpty    bool   // what the host does not have is a list of nothing
	Builtin        bool
	Place          string // file:line
	Changed        string // file:line of what changed a built-in, "" if nothing did

	at    nodes
	tests []*test
	made  *readyRule // what is known of its program, nil unless it was made ready
	prog  *program
	plain *Rule // a built-in that a site changed: as it is built in
}

// shipped is the rule as it came, without what a site file changed: its tests
// are about that.
func (r *Rule) shipped() *Rule {
	if r.plain != nil {
		return r.plain
	}
	return r
}

// Case is a severity for a condition.
type Case struct {
	If       string
	Severity rules.Severity
}

// Param is a value that a site may change. Its type is that of the default:
// string, int64, bool, []string or []int64.
type Param struct {
	Name    string
	Value   any
	Default any
}

// Refs are the places in catalogues where a rule comes from.
type Refs struct {
	CIS    []string // numbers in the CIS benchmark for Debian 12
	NIST   []string // controls of SP 800-53
	Attack []string // ATT&CK techniques, version 19
	Lynis  []string // test ids
	CaC    []string // rules of ComplianceAsCode
	Guides []string // free text
}

// nodes are where the parts of a rule stand, for errors.
type nodes struct {
	rule, when, each, known, expect, subject, message, evidence *strict.Node
	cases                                                       []*strict.Node
	tests                                                       *strict.Node
}

// The keys of a rule, and those of a change to a built-in one.
var (
	ruleKeys = []string{"id", "title", "severity", "severity_when", "why", "fix", "when", "each", "known", "expect", "params", "subject",
		"message", "evidence", "refs", "profile", "enabled", "needs_live", "absent", "tests"}
	changeKeys = []string{"id", "params", "severity", "enabled"}
)

// Keys returns the keys that a rule can have.
func Keys() []string { return slices.Clone(ruleKeys) }

var (
	setName   = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	ruleID    = regexp.MustCompile(`^[a-z][a-z0-9]*\.[a-z0-9]+(-[a-z0-9]+)*$`)
	paramName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// parseRule reads one rule of a set.
func parseRule(n *strict.Node, set string, builtin bool) *Rule {
	r := &Rule{Set: set, Builtin: builtin, Enabled: true, Profile: profiles[0], at: nodes{rule: n}}
	id := n.Need("id")
	r.ID = id.Text()
	if id.IsText() {
		switch {
		case !ruleID.MatchString(r.ID):
			id.Errorf("%s is no id: want set.name in lower case", strict.Printable(r.ID))
		case set != "" && setOf(r.ID) != set:
			id.Errorf("rule %s is outside of the set %s of this file: its id begins with %s.", r.ID, set, set)
		}
	}
	r.Title = line(n.Need("title"))
	r.Severity = severity(n.Need("severity"))
	r.Why, r.Fix = paragraph(n.Get("why")), paragraph(n.Get("fix"))
	source := func(key string, at **strict.Node) string {
		*at = n.Get(key)
		s := (*at).Source()
		if (*at).IsText() && strings.TrimSpace((*at).Text()) == "" {
			(*at).Errorf("an empty expression")
		}
		return s
	}
	r.When, r.Each = source("when", &r.at.when), source("each", &r.at.each)
	r.Known = source("known", &r.at.known)
	n.Need("expect")
	r.Expect = source("expect", &r.at.expect)
	r.Subject, r.Message = source("subject", &r.at.subject), source("message", &r.at.message)
	r.Evidence = source("evidence", &r.at.evidence)
	if c := n.Get("severity_when"); c != nil {
		for _, i := range c.Items() {
			r.Cases = append(r.Cases, Case{i.Need("if").Source(), severity(i.Need("severity"))})
			r.at.cases = append(r.at.cases, i.Get("if"))
			i.Unknown("if", "severity")
		}
	}
	r.Params = parseParams(n.Get("params"))
	r.Refs = parseRefs(n.Get("refs"))
	if p := n.Get("profile"); p != nil {
		r.Profile = p.Word(profiles[:]...)
	}
	if e := n.Get("enabled"); e != nil {
		r.Enabled = e.Bool()
	}
	r.NeedsLive = n.Get("needs_live").Bool()
	if a := n.Get("absent"); a != nil {
		word := a.Word(string(NotApplicable), string(Unknown), "empty")
		r.AbsentOK, r.AbsentEmpty = word == string(NotApplicable), word == "empty"
	}
	r.at.tests = n.Get("tests")
	if builtin {
		n.Need("why")
		n.Need("fix")
		n.Need("message")
	}
	n.Unknown(ruleKeys...)
	return r
}

func severity(n *strict.Node) rules.Severity {
	var words []string
	for s := rules.Info; s <= rules.Critical; s++ {
		words = append(words, s.String())
	}
	s, _ := rules.ParseSeverity(n.Word(words...))
	return s
}

// line is a text of one line that can be shown as it is.
func line(n *strict.Node) string {
	s := n.Text()
	if n.IsText() && (strings.TrimSpace(s) == "" || prose(s) != s) {
		n.Errorf("want one line of visible text")
	}
	return s
}

// paragraph is a text whose lines can be shown as they are.
func paragraph(n *strict.Node) string {
	s := strings.TrimSpace(n.Text())
	for l := range strings.SplitSeq(s, "\n") {
		if prose(l) != l && len(l) < maxMessage {
			n.Errorf("want visible text")
			break
		}
	}
	return s
}

func parseParams(n *strict.Node) (out []Param) {
	if n == nil {
		return nil
	}
	for _, k := range n.Keys() {
		name := k.Text()
		if !paramName.MatchString(name) {
			k.Errorf("%s is no name of a param: want lower case, digits and _", strict.Printable(name))
			continue
		}
		v := paramValue(n.Get(name))
		out = append(out, Param{name, v, v})
	}
	return out
}

// paramValue reads a value of a type that parameters can have, or records that
// it is none.
func paramValue(n *strict.Node) any {
	switch {
	case n.Kind == strict.Map:
		n.Errorf("want a text, a number, true or false, or a list of texts or numbers")
		return ""
	case n.Kind == strict.List:
		items := n.Items()
		if len(items) > 0 && items[0].IsNumber() {
			var v []int64
			for _, i := range items {
				v = append(v, i.Int(-1<<53, 1<<53))
			}
			return v
		}
		return append([]string{}, n.Texts()...)
	case n.IsNumber():
		return n.Int(-1<<53, 1<<53)
	case n.IsText():
		return n.Text()
	}
	return n.Bool()
}

var (
	cisRef   = regexp.MustCompile(`^[1-9][0-9]*(\.[1-9][0-9]*)+$`)
	nistRef  = regexp.MustCompile(`^[A-Z]{2}-[1-9][0-9]?(\([1-9][0-9]?\))?$`)
	lynisRef = regexp.MustCompile(`^[A-Z]{3,5}-[0-9]{4}$`)
	cacRef   = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
)

func parseRefs(n *strict.Node) (r Refs) {
	if n == nil || !n.IsMap() {
		return r
	}
	list := func(key string, shape *regexp.Regexp) (out []string) {
		for _, i := range n.Get(key).Items() {
			s := i.Text()
			if i.IsText() && !shape.MatchString(s) {
				i.Errorf("%s is no id of %s", strict.Printable(s), key)
				continue
			}
			out = append(out, s)
		}
		return out
	}
	r.CIS, r.NIST = list("cis_debian12", cisRef), list("nist_800_53", nistRef)
	r.Lynis, r.CaC = list("lynis", lynisRef), list("cac", cacRef)
	for _, i := range n.Get("attack_v19").Items() {
		id := i.Text()
		now, ok := technique(id)
		switch {
		case !ok && i.IsText():
			i.Errorf("%s is not in the list of ATT&CK techniques (v19, %s)", strict.Printable(id), attackDate)
		case ok && now != id:
			i.Errorf("ATT&CK v19 has %s as %s", id, now)
		case ok:
			r.Attack = append(r.Attack, id)
		}
	}
	for _, key := range []string{"guides", "seeds"} {
		for _, i := range n.Get(key).Items() {
			r.Guides = append(r.Guides, line(i))
		}
	}
	n.Unknown("cis_debian12", "nist_800_53", "attack_v19", "lynis", "cac", "guides")
	return r
}

// change applies what a site file says about a built-in rule.
func (r *Rule) change(n *strict.Node) {
	for _, k := range n.Keys() {
		if name := k.Text(); !slices.Contains(changeKeys, name) {
			n.Get(name)
			k.Errorf("rule %s is built in: a site file may change its params, severity and enabled, not %s", r.ID, strict.Printable(name))
		}
	}
	n.Get("id")
	if r.plain == nil {
		before := *r
		r.plain = &before
	}
	if s := n.Get("severity"); s != nil {
		r.Severity, r.Cases, r.at.cases = severity(s), nil, nil
	}
	if e := n.Get("enabled"); e != nil {
		r.Enabled, r.Forced = e.Bool(), true
	}
	if p := n.Get("params"); p != nil {
		r.Params = slices.Clone(r.Params)
		for _, k := range p.Keys() {
			r.changeParam(k, p.Get(k.Text()))
		}
	}
	r.Changed = place(n)
}

func (r *Rule) changeParam(k, value *strict.Node) {
	var names []string
	for i := range r.Params {
		p := &r.Params[i]
		names = append(names, p.Name)
		if p.Name != k.Text() {
			continue
		}
		v := paramValue(value)
		if list, ok := v.([]string); ok && len(list) == 0 {
			if _, ok := p.Default.([]int64); ok {
				v = []int64{}
			}
		}
		if paramType(v).String() != paramType(p.Default).String() {
			value.Errorf("param %s of rule %s is %s, not %s", p.Name, r.ID, paramType(p.Default), paramType(v))
			return
		}
		p.Value = v
		return
	}
	if n := strict.Nearest(k.Text(), names); n != "" {
		k.Errorf("rule %s has no param %s: did you mean %q?", r.ID, strict.Printable(k.Text()), n)
		return
	}
	k.Errorf("rule %s has no param %s", r.ID, strict.Printable(k.Text()))
}
