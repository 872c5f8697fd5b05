package posture_test

import (
	"os"
	"strings"
	"testing"

	"intact/rules/posture"
)

const head = "intact: rules/v1\nset: site\nrules:\n"

// load returns everything that is wrong with files of a site.
func load(t testing.TB, texts ...string) string {
	t.Helper()
	s := posture.Sources{Kinds: kinds, Builtin: fimOnly(), Tests: true}
	for i, text := range texts {
		s.Site = append(s.Site, posture.File{Name: string(rune('a'+i)) + ".yaml", Text: []byte(text)})
	}
	_, ps, err := posture.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return problems(ps)
}

// Everything wrong with a file is told at once, with its place.
func TestBadFile(t *testing.T) {
	text, err := os.ReadFile("testdata/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSuffix(string(list), "\n")
	got := load(t, string(text))
	var errs []string
	for l := range strings.SplitSeq(got, "\n") {
		if !strings.HasPrefix(l, "warning: ") {
			errs = append(errs, l)
		}
	}
	if g := strings.Join(errs, "\n"); g != want {
		diffLines(t, g, want)
	}
	if !strings.Contains(got, "warning: a.yaml:37:5: rule site.fact has no tests") && !strings.Contains(got, "rule site.fact has no tests") {
		t.Error("no warning about missing tests")
	}
}

func diffLines(t *testing.T, got, want string) {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "", ""
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, a, b)
		}
	}
}

func TestBadHead(t *testing.T) {
	for text, want := range map[string]string{
		"intact: rules/v2\nset: site\nrules: []\n":     `a.yaml:1:9: unknown word "rules/v2": did you mean "rules/v1"?`,
		"set: site\nrules: []\n":                       `a.yaml:1:1: key "intact" is missing`,
		"intact: rules/v1\nset: trust\nrules: []\n":    `a.yaml:2:6: trust is no set for rule files`,
		"intact: rules/v1\nset: Site\nrules: []\n":     `a.yaml:2:6: Site is no name of a set: want lower case letters and digits`,
		"intact: rules/v1\nset: site\nrules: {}\n":     `a.yaml:3:8: want a list, found a mapping`,
		"intact: rules/v1\nintact: rules/v1\nset: a\n": "a.yaml:1:1: key \"rules\" is missing\na.yaml:2:1: key \"intact\" stands twice, first on line 1",
		"[]\n": `a.yaml:1:1: want a mapping, found a list`,
		"a: [": `a.yaml:1:1: did not find expected node content`,
		"\xff": `a.yaml:1:1: invalid UTF-8; write a path that is not UTF-8 as path_b64`,
	} {
		if got := load(t, text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// What a site file may say of a built-in rule, and what not.
func TestChanges(t *testing.T) {
	const change = head + `  - id: fim.self
    severity: low
    enabled: false
    params: {max_age_days: 7}
`
	if got := load(t, change); got != "" {
		t.Fatal(got)
	}
	b := book(t, change)
	r := b.Rule("fim.self")
	if r.Severity.String() != "low" || r.Cases != nil || r.Active("server") || r.Params[0].Value != int64(7) || r.Params[0].Default != int64(2) || r.Changed != "site.yaml:4" {
		t.Errorf("%+v", r)
	}
	if failures, _ := runTests(t, b); failures != nil {
		t.Errorf("the tests are of the rule as it is built in, but for its severity: %v", failures)
	}
	for text, want := range map[string]string{
		"  - {id: fim.self, expect: 'true'}\n":                                   "a.yaml:4:20: rule fim.self is built in: a site file may change its params, severity and enabled, not expect",
		"  - {id: fim.self, title: x, tests: []}\n":                              "a.yaml:4:20: rule fim.self is built in: a site file may change its params, severity and enabled, not title\na.yaml:4:30: rule fim.self is built in: a site file may change its params, severity and enabled, not tests",
		"  - {id: fim.self, params: {max_age_day: 1}}\n":                         `a.yaml:4:29: rule fim.self has no param max_age_day: did you mean "max_age_days"?`,
		"  - {id: fim.self, params: {zzz: 1}}\n":                                 `a.yaml:4:29: rule fim.self has no param zzz`,
		"  - {id: fim.self, params: {max_age_days: x}}\n":                        `a.yaml:4:43: param max_age_days of rule fim.self is int, not string`,
		"  - {id: fim.self, params: {off_host: 1}}\n":                            `a.yaml:4:39: param off_host of rule fim.self is bool, not int`,
		"  - {id: fim.self, enabled: maybe}\n":                                   `a.yaml:4:29: want true or false, found the text "maybe"`,
		"  - {id: fim.self, enabled: true}\n  - {id: fim.self, severity: low}\n": `a.yaml:5:5: rule fim.self is changed twice, first at a.yaml:4`,
	} {
		if got := load(t, head+text); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
	if got := load(t, head+"  - {id: fim.self, enabled: true}\n", head+"  - {id: fim.self, enabled: false}\n"); got != "b.yaml:4:5: rule fim.self is changed twice, first at a.yaml:4" {
		t.Error(got)
	}
}

// What is wrong with the facts of a test.
func TestBadTests(t *testing.T) {
	const text = head + `  - id: site.a
    title: x
    severity: low
    expect: net.listeners.size() == 0 && packages.size() == 0
    tests:
      - facts:
          net: {listeners: [{prot: tcp}, {port: "22"}, {loopback: 1}, 5]}
          net.listeners: []
          packages: [{at: yesterday, tags: [{word: 1}]}]
          net.lisners: []
          nonsense: 1
          net: {foo: []}
        want: fial
      - {want: pass, fact: {}}
      - facts: {unknown: [net.lisners], absent: net.listeners}
        wants: [x]
`
	got := load(t, text)
	for _, want := range []string{
		`a.yaml:10:30: unknown key "prot": did you mean "port"?`,
		`a.yaml:10:49: want a decimal number, found the text "22"`,
		`a.yaml:10:67: want true or false, found the number "1"`,
		`a.yaml:10:71: want a mapping, found the number "5"; put it`,
		`a.yaml:11:11: fact "net.listeners" is given twice`,
		`a.yaml:12:27: want a time such as`,
		`a.yaml:12:52: want text, found the number "1"`,
		`a.yaml:13:11: unknown fact net.lisners: did you mean "net.listeners"?`,
		`a.yaml:14:11: unknown fact nonsense`,
		`a.yaml:15:11: key "net" stands twice, first on line 10`,
		`a.yaml:16:15: unknown word "fial": did you mean "fail"?`,
		`a.yaml:17:9: key "facts" is missing`,
		`a.yaml:17:22: unknown key "fact": did you mean "facts"?`,
		`a.yaml:18:9: key "want" is missing`,
		`a.yaml:18:27: unknown fact net.lisners: did you mean "net.listeners"?`,
		`a.yaml:18:49: want a list`,
		`a.yaml:19:9: unknown key "wants": did you mean "want"?`,
	} {
		if !strings.Contains(got, strings.TrimSuffix(want, "; put it")) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log("\n" + got)
	}
}

// A built-in rule needs reasons, a way to put it right, and tests.
func TestBuiltinNeedsMore(t *testing.T) {
	f := posture.File{Name: "x.yaml", Text: []byte("intact: rules/v1\nset: x\nrules:\n  - {id: x.a, title: x, severity: low, expect: packages.size() == 0}\n" +
		"  - {id: x.b, title: x, severity: low, expect: packages.size() == 0, why: w, fix: f, message: '\"m\"', tests: [{facts: {packages: []}, want: pass}]}\n")}
	_, ps, err := posture.Load(posture.Sources{Kinds: kinds, Builtin: []posture.File{f}, Eager: true})
	if err != nil {
		t.Fatal(err)
	}
	const want = `x.yaml:4:5: key "why" is missing
x.yaml:4:5: key "fix" is missing
x.yaml:4:5: key "message" is missing
x.yaml:4:5: rule x.a has no tests
x.yaml:5:109: rule x.b has no test that wants fail, unknown`
	if got := problems(ps); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestBadKinds(t *testing.T) {
	type hidden struct{ A int }
	for name, k := range map[string]posture.Kind{
		"no struct":   {Name: "a", Row: kinds[0].Row.Field(0).Type},
		"no name":     {Name: "A.b", Row: kinds[0].Row},
		"item":        {Name: "item", Row: kinds[0].Row},
		"prefix":      {Name: "services.x", Row: kinds[0].Row},
		"list of map": {Name: "a", Row: kinds[len(kinds)-1].Row},
	} {
		if _, _, err := posture.Load(posture.Sources{Kinds: append(kinds[:len(kinds):len(kinds)], k)}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	_ = hidden{}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(head + "  - {id: site.a, title: x, severity: low, each: packages, expect: item.name in params.p, params: {p: [a]}, tests: [{facts: {packages: [{name: a}]}, want: pass}]}\n"))
	f.Add([]byte(head + "  - {id: fim.self, params: {max_age_days: 1}}\n"))
	f.Add([]byte(head + "  - id: site.a\n    expect: |2\n       x.y\n      '\"'\n"))
	if b, err := os.ReadFile("builtin/fim.yaml"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b, ps, err := posture.Load(posture.Sources{Kinds: kinds, Builtin: fimOnly(), Site: []posture.File{{Name: "f.yaml", Text: text}}, Tests: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			if p.Line < 1 || p.Col < 1 || p.Line > strings.Count(string(text), "\n")+2 {
				t.Fatalf("%+v", p)
			}
			for _, r := range p.Msg {
				if r < ' ' {
					t.Fatalf("%q", p.Msg)
				}
			}
		}
		if !posture.Fatal(ps) {
			runTests(t, b)
			posture.Document(b)
		}
	})
}
