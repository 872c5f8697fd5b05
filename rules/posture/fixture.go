package posture

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"intact/rules"
	"intact/scanner/strict"
)

// test is one test of a rule: facts, and what the rule must say of them.
type test struct {
	at       *strict.Node
	name     string
	facts    Fixed
	params   *strict.Node
	now      time.Time
	want     Verdict
	subjects []string // nil: not asked for
	severity string   // "": not asked for
}

// testDay is the time in tests that name none.
var testDay = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// parseTest reads a test; with facts, its facts too.
func parseTest(n *strict.Node, e *engine, facts bool) *test {
	t := &test{at: n, now: testDay}
	if !n.IsMap() {
		return t
	}
	if name := n.Get("name"); name != nil {
		t.name = line(name)
	}
	t.params = n.Get("params")
	if w := n.Get("now"); w != nil {
		t.now = w.Time()
	}
	want := n.Need("want")
	t.want = Verdict(want.Word(string(Pass), string(Fail), string(NotApplicable), string(Unknown)))
	if s := n.Get("want_subjects"); s != nil {
		t.subjects = append([]string{}, s.Texts()...)
		slices.Sort(t.subjects)
	}
	if s := n.Get("want_severity"); s != nil {
		t.severity = severity(s).String()
	}
	if f := n.Need("facts"); f != nil && facts {
		t.facts = e.readFacts(f)
	}
	n.Unknown("name", "facts", "params", "now", "want", "want_subjects", "want_severity")
	return t
}

// title names the test in messages.
func (t *test) title() string {
	if t.name != "" {
		return fmt.Sprintf("test %q", t.name)
	}
	return "test"
}

// readFacts reads the facts of a test: rows under the names of their kinds,
// dotted or nested, and lists of kinds that are unknown or absent. A kind that
// is not given is unknown, so that nothing is taken for empty by accident.
func (e *engine) readFacts(n *strict.Node) Fixed {
	f := Fixed{}
	if !n.IsMap() {
		return f
	}
	state := func(key string, s rules.Status) {
		for _, i := range n.Get(key).Items() {
			name := i.Text()
			if _, ok := e.kinds[name]; !ok && i.IsText() {
				e.noKind(i, name)
			}
			f[name] = Fact{Status: s, Reason: "the test says so"}
		}
	}
	state("unknown", rules.Denied)
	state("absent", rules.Absent)
	e.readKinds(n, "", f)
	return f
}

func (e *engine) readKinds(n *strict.Node, prefix string, f Fixed) {
	for _, k := range n.Keys() {
		if prefix == "" && (k.Text() == "unknown" || k.Text() == "absent") {
			continue
		}
		name, value := prefix+k.Text(), n.Get(k.Text())
		kind, ok := e.kinds[name]
		switch {
		case ok:
			if _, twice := f[name]; twice {
				k.Errorf("fact %q is given twice", name)
			}
			f[name] = Fact{Rows: kind.decodeRows(value), Status: rules.OK, Via: "test"}
		case e.isPrefix(name + "."):
			e.readKinds(value, name+".", f)
		default:
			e.noKind(k, name)
		}
	}
}

func (e *engine) isPrefix(p string) bool {
	for name := range e.kinds {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func (e *engine) noKind(n *strict.Node, name string) {
	if near := strict.Nearest(name, slices.Sorted(maps.Keys(e.kinds))); near != "" {
		n.Errorf("unknown fact %s: did you mean %q?", strict.Printable(name), near)
		return
	}
	n.Errorf("unknown fact %s", strict.Printable(name))
}

// TestRun is one test that was run.
type TestRun struct {
	Rule    string
	Name    string
	Place   string // file:line
	Failure string // what was wrong, "" if nothing
}

// Test runs the tests of the rules that keep says, or of all with nil, and
// gives each to emit. The book must have been loaded with Tests.
func (b *Book) Test(ctx context.Context, keep func(*Rule) bool, emit func(TestRun)) error {
	for _, r := range b.Rules {
		if keep != nil && !keep(r) {
			continue
		}
		for _, t := range r.tests {
			failure := b.runTest(ctx, r.shipped(), t)
			if err := ctx.Err(); err != nil {
				return err
			}
			emit(TestRun{Rule: r.ID, Name: t.name, Place: place(t.at), Failure: failure})
		}
	}
	return nil
}

// runTest says what is wrong, "" if nothing.
func (b *Book) runTest(ctx context.Context, r *Rule, t *test) string {
	res, err := b.evalTest(ctx, r, t, t.facts)
	if err != nil {
		return err.Error()
	}
	return t.check(res)
}

// evalTest evaluates a rule over facts with what else a test says.
func (b *Book) evalTest(ctx context.Context, r *Rule, t *test, facts Fixed) (Result, error) {
	b.compile(r)
	under := *r
	under.Params = slices.Clone(r.Params)
	if t.params != nil {
		for _, k := range t.params.Keys() {
			under.changeParam(k, t.params.Get(k.Text()))
		}
		if err := t.params.Err(); err != nil {
			return Result{}, err
		}
	}
	return b.judgeSafely(ctx, &under, Input{Facts: given{facts}, Live: true, Now: t.now}), nil
}

// given are the facts of a test.
type given struct{ Fixed }

func (g given) Fact(ctx context.Context, kind string) Fact {
	if f, ok := g.Fixed[kind]; ok {
		return f
	}
	return Fact{Status: rules.Failed, Reason: "the test does not give it"}
}

// check compares a result with what the test wants.
func (t *test) check(res Result) string {
	if res.Verdict != t.want {
		s := fmt.Sprintf("want %s, got %s", t.want, res.Verdict)
		if res.Reason != "" {
			s += " (" + res.Reason + ")"
		}
		for i := range res.Subjects {
			s += fmt.Sprintf("; %s: %s", res.Subjects[i].Verdict, prose(res.Subjects[i].Name))
		}
		return s
	}
	var names []string
	var most rules.Severity
	for i := range res.Subjects {
		if s := &res.Subjects[i]; s.Verdict == t.want {
			names = append(names, s.Name)
			most = max(most, s.Finding.Severity)
		}
	}
	if t.subjects != nil && !slices.Equal(names, t.subjects) {
		return fmt.Sprintf("want subjects %q, got %q", t.subjects, names)
	}
	if t.severity != "" && most.String() != t.severity {
		return fmt.Sprintf("want severity %s, got %s", t.severity, most)
	}
	return ""
}
