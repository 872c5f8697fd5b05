package posture

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"intact/scanner/strict"
)

// Sources are what a book of rules is made of.
type Sources struct {
	Kinds   []Kind
	Builtin []File
	Site    []File
	Tests   bool // read the facts of the tests too
	Eager   bool // compile the built-in rules too: those of a site always are
}

// Book is all rules, in the order of their sets and ids.
type Book struct {
	Rules []*Rule

	engine *engine
	byID   map[string]*Rule
}

// reservedSets are not for rule files: other parts of a check report in them.
var reservedSets = []string{"integrity", "packages", "mounts", "policy", "baseline", "trust", "self", "waiver", "attest", "drift", "coverage"}

// Load reads rule files. All problems are told at once; with one that is no
// warning the book must not be used, and may be nil. An error is a fault of the
// program: kinds that the engine cannot hold.
func Load(s Sources) (*Book, []Problem, error) {
	e, err := newEngine(s.Kinds)
	if err != nil {
		return nil, nil, err
	}
	b := &Book{engine: e, byID: map[string]*Rule{}}
	l := loader{book: b, sources: s}
	for _, f := range s.Builtin {
		if f.ready == nil || s.Eager || s.Tests {
			l.file(f, true)
		} else if err := l.ready(f); err != nil {
			return nil, nil, err
		}
	}
	for _, f := range s.Site {
		l.file(f, false)
	}
	for _, r := range b.Rules {
		if r.Builtin && !s.Eager && !s.Tests {
			continue
		}
		b.compile(r)
	}
	for _, root := range l.roots {
		l.take(root.Err())
	}
	slices.SortFunc(b.Rules, func(x, y *Rule) int { return cmp.Or(cmp.Compare(x.Set, y.Set), cmp.Compare(x.ID, y.ID)) })
	return b, l.problems, nil
}

// Fatal reports whether one of the problems is more than a warning.
func Fatal(ps []Problem) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return !p.Warning })
}

type loader struct {
	book     *Book
	sources  Sources
	roots    []*strict.Node
	problems []Problem
}

func (l *loader) take(err error) {
	if es, ok := errors.AsType[strict.Errors](err); ok {
		for _, e := range es {
			l.problems = append(l.problems, Problem{Error: e})
		}
	}
}

func (l *loader) warn(n *strict.Node, format string, args ...any) {
	e := strict.Error{File: n.File(), Line: n.Line, Col: n.Col, Msg: fmt.Sprintf(format, args...)}
	l.problems = append(l.problems, Problem{e, true})
}

// file reads the rules of one file.
func (l *loader) file(f File, builtin bool) {
	root, err := strict.Parse(f.Name, f.Text)
	if root == nil {
		l.take(err)
		return
	}
	l.roots = append(l.roots, root)
	if !root.IsMap() {
		return
	}
	if v := root.Need("intact"); v != nil {
		v.Word(Format)
	}
	setNode := root.Need("set")
	set := setNode.Text()
	switch {
	case !setNode.IsText():
	case !setName.MatchString(set):
		setNode.Errorf("%s is no name of a set: want lower case letters and digits", strict.Printable(set))
		set = ""
	case slices.Contains(reservedSets, set):
		setNode.Errorf("%s is no set for rule files", set)
	}
	list := root.Need("rules")
	root.Unknown("intact", "set", "rules")
	for _, n := range list.Items() {
		if n.IsMap() {
			l.rule(n, set, builtin)
		}
	}
}

func (l *loader) rule(n *strict.Node, set string, builtin bool) {
	old := l.book.byID[idOf(n)]
	if old != nil && old.Builtin && !builtin {
		if old.Changed != "" {
			n.Errorf("rule %s is changed twice, first at %s", old.ID, old.Changed)
		}
		old.change(n)
		return
	}
	r := parseRule(n, set, builtin)
	r.Place = place(n)
	if old != nil {
		n.Get("id").Errorf("rule %s is there twice, first at %s", r.ID, old.Place)
		return
	}
	l.tests(r)
	if r.ID != "" {
		l.book.byID[r.ID] = r
	}
	l.book.Rules = append(l.book.Rules, r)
}

func idOf(n *strict.Node) string {
	if id := n.Get("id"); id.IsText() {
		return id.Text()
	}
	return ""
}

func place(n *strict.Node) string { return fmt.Sprintf("%s:%d", strict.Printable(n.File()), n.Line) }

// tests reads the tests of a rule, and asks for those that must be there.
func (l *loader) tests(r *Rule) {
	items := r.at.tests.Items()
	if len(items) == 0 {
		if r.Builtin {
			r.at.rule.Errorf("rule %s has no tests", r.ID)
		} else {
			l.warn(r.at.rule, "rule %s has no tests", prose(r.ID))
		}
		return
	}
	have := map[Verdict]bool{}
	for _, n := range items {
		t := parseTest(n, l.book.engine, l.sources.Tests)
		have[t.want] = true
		r.tests = append(r.tests, t)
	}
	if !r.Builtin {
		return
	}
	var missing []string
	for _, v := range []Verdict{Pass, Fail, Unknown} {
		if !have[v] {
			missing = append(missing, string(v))
		}
	}
	if missing != nil {
		r.at.tests.Errorf("rule %s has no test that wants %s", r.ID, strings.Join(missing, ", "))
	}
}

// program is a rule, compiled.
type program struct {
	when, each, known, expect, subject, message, evidence *part // nil where there is none
	cases                                                 []*part
	needs                                                 []string // of all of them
	partial                                               []string // kinds of which some rows are better than none
	broken                                                bool
}

// compile fills in the program of a rule. Errors are recorded at its nodes.
func (b *Book) compile(r *Rule) *program {
	if r.prog != nil {
		return r.prog
	}
	if r.made != nil {
		r.prog = b.lazy(r)
		return r.prog
	}
	p := &program{}
	r.prog = p
	one := func(s *scope, key, text string, n *strict.Node, w want, varies bool) *part {
		if text == "" || s == nil {
			p.broken = p.broken || text != "" || n != nil
			return nil
		}
		x, faults := s.compile(text, w, varies)
		for _, f := range faults {
			n.ErrorAt(f.line, f.col, "rule %s: %s: %s", prose(r.ID), key, f.msg)
			p.broken = true
		}
		if x == nil {
			return nil
		}
		p.needs = append(p.needs, x.needs...)
		return &part{expr: x, about: partFacts{Needs: x.needs, Once: x.once}}
	}
	outer, err := b.engine.scope(r.Params, nil)
	if err != nil {
		r.at.rule.Errorf("rule %s: %s", prose(r.ID), prose(err.Error()))
		p.broken = true
		return p
	}
	p.when = one(outer, "when", r.When, r.at.when, wantBool, true)
	inner := outer
	if r.at.each != nil {
		inner = nil
		if p.each = one(outer, "each", r.Each, r.at.each, wantList, true); p.each != nil {
			if inner, err = b.engine.scope(r.Params, p.each.expr); err != nil {
				r.at.each.Errorf("rule %s: each: %s", prose(r.ID), prose(err.Error()))
			}
		}
	}
	p.known = one(inner, "known", r.Known, r.at.known, wantBool, true)
	p.expect = one(inner, "expect", r.Expect, r.at.expect, wantBool, true)
	p.subject = one(inner, "subject", r.Subject, r.at.subject, wantText, false)
	p.message = one(inner, "message", r.Message, r.at.message, wantText, false)
	p.evidence = one(inner, "evidence", r.Evidence, r.at.evidence, wantText, false)
	for i, c := range r.Cases {
		p.cases = append(p.cases, one(inner, "severity_when", c.If, r.at.cases[i], wantBool, true))
	}
	slices.Sort(p.needs)
	if p.each != nil {
		// What each alone names, and once, it goes through: a row that is there
		// fails or not whatever the others are.
		p.partial = slices.DeleteFunc(onlyOnce(p.needs), func(k string) bool { return !slices.Contains(p.each.about.Once, k) })
	}
	p.needs = slices.Compact(p.needs)
	p.broken = p.broken || p.expect == nil
	return p
}

// Rule returns the rule with an id, nil if there is none.
func (b *Book) Rule(id string) *Rule { return b.byID[id] }

// Shipped is the rule as it came with the program or its file, without what a
// site file changed.
func (r *Rule) Shipped() *Rule { return r.shipped() }

// Replace puts another rule, of the same id, in the place of one of the book.
func (b *Book) Replace(r *Rule) {
	for i, old := range b.Rules {
		if old.ID == r.ID {
			b.Rules[i], b.byID[r.ID] = r, r
		}
	}
}

// Sets returns the names of all sets.
func (b *Book) Sets() (out []string) {
	for _, r := range b.Rules {
		out = append(out, r.Set)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Active reports whether a rule is in force under a profile.
func (r *Rule) Active(profile string) bool {
	return r.Enabled && (r.Forced || includes(profile, r.Profile))
}

// Needs returns the kinds of facts that the rules in force need, sorted.
func (b *Book) Needs(profile string, sets ...string) (out []string) {
	for _, r := range b.Rules {
		if r.Active(profile) && (len(sets) == 0 || slices.Contains(sets, r.Set)) {
			out = append(out, b.compile(r).needs...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Needs returns the kinds of facts that one rule needs, sorted.
func (b *Book) NeedsOf(r *Rule) []string { return b.compile(r).needs }
