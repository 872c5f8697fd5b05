package posture_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/posture"
)

// one is a file with one rule, site.a, made of lines of YAML.
func one(lines ...string) string {
	return head + "  - id: site.a\n    title: t\n    severity: medium\n    " + strings.Join(lines, "\n    ") + "\n"
}

// Three values, as CEL has them: what does not depend on the unknown fact is
// known all the same.
func TestUnknown(t *testing.T) {
	facts := posture.Fixed{
		"net.listeners":  unknown(rules.Denied, "open /proc/1/fd:\x1b permission denied"),
		"packages":       known(pkg{Name: "a"}),
		"accounts.users": unknown(rules.Failed, "too long"),
		"sysctl":         unknown(rules.Absent, "no sysctl"),
	}
	const denied = `net.listeners: denied, open /proc/1/fd:\x1b permission denied`
	for expect, want := range map[string]struct {
		v      posture.Verdict
		reason string
	}{
		`net.listeners.size() == 0`:                                           {posture.Unknown, denied},
		`net.listeners.size() == 0 || packages.size() == 1`:                   {posture.Pass, ""},
		`packages.size() == 1 || net.listeners.size() == 0`:                   {posture.Pass, ""},
		`net.listeners.size() == 0 && packages.size() == 0`:                   {posture.Fail, ""},
		`net.listeners.size() == 0 && packages.size() == 1`:                   {posture.Unknown, denied},
		`!net.listeners.exists(l, l.port == 1)`:                               {posture.Unknown, denied},
		`packages.all(p, net.listeners.exists(l, l.exe == p.name))`:           {posture.Unknown, denied},
		`packages.exists(p, p.name == "b" && net.listeners.size() == 0)`:      {posture.Fail, ""},
		`net.listeners[0].port == accounts.users[0].uid`:                      {posture.Unknown, "accounts.users: failed, too long; " + denied},
		`sysctl["a"] == "1"`:                                                  {posture.Unknown, "sysctl: absent, no sysctl"},
		`(net.listeners.size() > 0 ? packages.size() : 1) == 1`:               {posture.Unknown, denied},
		`services.size() == 0`:                                                {posture.Unknown, "services: failed, nobody collects it"},
		`packages[0].name == packages[1].name`:                                {posture.Error, "index out of bounds: 1"},
		`packages[1].name == "b" || packages[0].name == "a"`:                  {posture.Pass, ""},
		`days(100000) > duration("1s") && packages.size() > 0`:                {posture.Error, "days: more than 36600"},
		`ip(packages[0].name).isLoopback()`:                                   {posture.Error, "IP Address \"a\" parse error during conversion from string: ParseAddr(\"a\"): unable to parse IP"},
		`packages.size() > 0 && version_less("9.2p1", "9.8")`:                 {posture.Pass, ""},
		`packages.exists(p, glob("?", p.name)) && under("/a/b", "/a/")`:       {posture.Pass, ""},
		`weak_ssh_alg("ssh-dss") && !weak_ssh_alg("x") && now > timestamp(0)`: {posture.Pass, ""},
	} {
		b := book(t, one(fmt.Sprintf("expect: %q", expect)))
		r := judge(t, b, posture.Input{Facts: facts, Live: true})["site.a"]
		if r.Verdict != want.v || r.Reason != want.reason {
			t.Errorf("%s: got %s (%s), want %s (%s)", expect, r.Verdict, r.Reason, want.v, want.reason)
		}
	}
}

// What each part of a rule does where a fact is unknown.
func TestUnknownParts(t *testing.T) {
	facts := posture.Fixed{
		"net.listeners": unknown(rules.Timeout, ""),
		"packages":      known(pkg{Name: "a"}, pkg{Name: "b"}),
		"sysctl":        unknown(rules.Absent, "none"),
	}
	for name, tt := range map[string]struct {
		lines []string
		want  posture.Verdict
		names string
	}{
		"when":           {[]string{"when: net.listeners.size() > 0", "expect: packages.size() == 0"}, posture.Unknown, ""},
		"when is false":  {[]string{"when: packages.size() == 0", "expect: net.listeners.size() == 0"}, posture.NotApplicable, ""},
		"each":           {[]string{"each: net.listeners", "expect: item.port == 1"}, posture.Unknown, ""},
		"one item":       {[]string{"each: packages", `expect: item.name == "a" || net.listeners.size() == 0`, "subject: item.name"}, posture.Unknown, "unknown b"},
		"fail and more":  {[]string{"each: packages", `expect: item.name != "a" && net.listeners.size() == 0`, "subject: item.name"}, posture.Fail, "fail a, unknown b"},
		"message":        {[]string{"each: packages", `expect: item.name == "a"`, "subject: item.name", "message: net.listeners[0].exe"}, posture.Fail, "fail b"},
		"subject":        {[]string{"each: packages", `expect: item.name == "a"`, "subject: net.listeners[0].exe"}, posture.Fail, "fail item 2"},
		"empty each":     {[]string{`each: packages.filter(p, p.name == "z")`, `expect: item.name == "a"`}, posture.Pass, ""},
		"absent":         {[]string{`expect: sysctl["a"] == "b"`}, posture.Unknown, "unknown host"},
		"absent allowed": {[]string{`expect: sysctl["a"] == "b"`, "absent: not-applicable"}, posture.NotApplicable, "not-applicable host"},
		"absent and not": {[]string{`expect: sysctl["a"] == net.listeners[0].exe`, "absent: not-applicable"}, posture.Unknown, "unknown host"},
		"known false":    {[]string{"each: packages", `known: item.name == "a"`, `expect: item.name == "z"`, "subject: item.name"}, posture.Fail, "fail a, unknown b"},
		"known unknown":  {[]string{"each: packages", `known: net.listeners.size() > 0`, `expect: item.name == "z"`, "subject: item.name"}, posture.Unknown, "unknown a, unknown b"},
		"error":          {[]string{"each: packages", "expect: item.tags[0].word == item.name", "subject: item.name"}, posture.Error, "error a, error b"},
	} {
		t.Run(name, func(t *testing.T) {
			r := judge(t, book(t, one(tt.lines...)), posture.Input{Facts: facts, Live: true})["site.a"]
			var names []string
			for _, s := range r.Subjects {
				names = append(names, string(s.Verdict)+" "+s.Name)
			}
			if r.Verdict != tt.want || strings.Join(names, ", ") != tt.names {
				t.Errorf("%s (%s): %v", r.Verdict, r.Reason, names)
			}
		})
	}
}

// What the host does not have is a list of nothing where a rule says so; what
// could not be read is not.
func TestAbsentEmpty(t *testing.T) {
	for status, want := range map[rules.Status]posture.Verdict{rules.Absent: posture.Fail, rules.Denied: posture.Unknown, rules.Offline: posture.Unknown} {
		in := posture.Input{Facts: posture.Fixed{"net.listeners": unknown(status, ""), "packages": known(pkg{Name: "a"})}, Live: true}
		r := judge(t, book(t, one("each: packages", "expect: net.listeners.exists(l, l.exe == item.name)", "subject: item.name", "absent: empty")), in)["site.a"]
		if r.Verdict != want {
			t.Errorf("%s: %s, not %s", status, r.Verdict, want)
		}
	}
}

// Rows that were read before something went wrong are judged where each is
// judged by itself, and only there: they may fail, and never pass.
func TestPartial(t *testing.T) {
	in := func(rows ...pkg) posture.Input {
		f := known(rows...)
		f.Status, f.Reason = rules.Failed, "half of it"
		return posture.Input{Facts: posture.Fixed{"packages": f, "net.listeners": known[listener]()}}
	}
	const why = "packages: failed, half of it"
	for name, tt := range map[string]struct {
		lines []string
		rows  []pkg
		want  posture.Verdict
		names string
	}{
		"fails":         {[]string{"each: packages", `expect: item.name != "a"`, "subject: item.name"}, []pkg{{Name: "a"}, {Name: "b"}}, posture.Fail, "fail a"},
		"filtered":      {[]string{`each: packages.filter(p, p.name != "x")`, `expect: item.name != "a" || net.listeners.size() > 0`}, []pkg{{Name: "a"}}, posture.Fail, "fail"},
		"would pass":    {[]string{"each: packages", `expect: item.name != "a"`}, []pkg{{Name: "b"}}, posture.Unknown, ""},
		"no rows":       {[]string{"each: packages", `expect: item.name != "a"`}, nil, posture.Unknown, ""},
		"twice in each": {[]string{`each: packages.filter(p, !packages.exists(q, q.name == p.name + "2"))`, `expect: item.name != "a"`}, []pkg{{Name: "a"}}, posture.Unknown, ""},
		"in expect":     {[]string{"each: packages", `expect: item.name != "a" && packages.size() == 1`, "subject: item.name"}, []pkg{{Name: "a"}}, posture.Unknown, ""},
		"in when":       {[]string{"when: packages.size() == 1", "each: packages", `expect: item.name != "a"`}, []pkg{{Name: "a"}}, posture.Unknown, ""},
		"of the host":   {[]string{`expect: packages.size() == 0`}, []pkg{{Name: "a"}}, posture.Unknown, "unknown host"},
	} {
		t.Run(name, func(t *testing.T) {
			r := judge(t, book(t, one(tt.lines...)), in(tt.rows...))["site.a"]
			var names []string
			for _, s := range r.Subjects {
				names = append(names, string(s.Verdict)+" "+s.Name)
			}
			got := strings.Join(names, ", ")
			if name == "filtered" {
				got, _, _ = strings.Cut(got, " ")
			}
			if r.Verdict != tt.want || got != tt.names || r.Verdict == posture.Unknown && r.Reason != why || r.Verdict == posture.Fail && r.Partial != why {
				t.Errorf("%+v", r)
			}
		})
	}
	// A waiver of what fails does not make the rest known.
	b := book(t, one("each: packages", `expect: item.name != "a"`, "subject: item.name"))
	w, _ := waivers(t, "intact: waivers/v1\nwaivers: [{rule: site.a, subject: '*', until: 2026-07-01, reason: the old clients, by: alice}]\n")
	x := in(pkg{Name: "a"})
	x.Waivers = posture.NewCover(w, day)
	if r := judge(t, b, x)["site.a"]; r.Verdict != posture.Unknown || r.Subjects[0].Verdict != posture.Waived {
		t.Errorf("%+v", r)
	}
}

// A rule on an image that needs the running host asks for no fact.
func TestNeedsLive(t *testing.T) {
	b := book(t, one("needs_live: true", "expect: packages.size() == 0"))
	r := judge(t, b, posture.Input{Facts: panicking{}})["site.a"]
	if r.Verdict != posture.Unknown || !strings.HasPrefix(r.Reason, "offline") {
		t.Errorf("%+v", r)
	}
	if r = judge(t, b, posture.Input{Facts: panicking{}, Live: true})["site.a"]; r.Verdict != posture.Error || r.Reason != "internal error: boom" {
		t.Errorf("%+v", r)
	}
}

type panicking struct{}

func (panicking) Fact(context.Context, string) posture.Fact { panic("boom") }

// Rows of another type than the kind has are an error of the rule, no crash.
func TestWrongRows(t *testing.T) {
	b := book(t, one("expect: packages.size() == 0"))
	r := judge(t, b, posture.Input{Facts: posture.Fixed{"packages": known(user{})}})["site.a"]
	if r.Verdict != posture.Error || !strings.Contains(r.Reason, "rows of type") {
		t.Errorf("%+v", r)
	}
	b = book(t, one(`expect: sysctl["a"] == "b"`))
	r = judge(t, b, posture.Input{Facts: posture.Fixed{"sysctl": known[map[string]string]()}})["site.a"]
	if r.Verdict != posture.Error || !strings.Contains(r.Reason, "0 rows") {
		t.Errorf("%+v", r)
	}
}

// Facts are asked for when they are needed, each once.
func TestOnDemand(t *testing.T) {
	b := book(t, one("when: packages.size() > 0", "expect: net.listeners.size() == 0 && packages.size() < 9"))
	asked := &asking{Fixed: posture.Fixed{"packages": known[pkg](), "net.listeners": known[listener]()}}
	judge(t, b, posture.Input{Facts: asked})
	if !slices.Equal(asked.names, []string{"packages"}) {
		t.Errorf("asked for %v", asked.names)
	}
	asked.names, asked.Fixed["packages"] = nil, known(pkg{})
	judge(t, b, posture.Input{Facts: asked})
	if !slices.Equal(asked.names, []string{"packages", "net.listeners"}) {
		t.Errorf("asked for %v", asked.names)
	}
}

type asking struct {
	posture.Fixed
	names []string
}

func (a *asking) Fact(ctx context.Context, kind string) posture.Fact {
	a.names = append(a.names, kind)
	return a.Fixed.Fact(ctx, kind)
}

func many(n int) posture.Fact {
	rows := make([]pkg, n)
	for i := range rows {
		rows[i].Name = fmt.Sprintf("p%d", i)
	}
	return known(rows...)
}

// A rule that costs too much is cancelled with its name, and the others go on.
func TestCost(t *testing.T) {
	nested := `packages.all(a, packages.all(b, packages.all(c, packages.all(d, a.name + b.name != "x"))))`
	grow := `[packages[0].name]` + strings.Repeat(`.map(t, t + t)`, 60) + `.size() == 0`
	for name, text := range map[string]string{
		"one expression": one("expect: " + nested),
		"when":           one("when: "+nested, "expect: packages.size() == 0"),
		"each":           one("each: packages.filter(x, "+nested+")", `expect: item.name == ""`),
		"many items":     one("each: packages", `expect: packages.all(a, packages.all(b, a.name != "x" && b.name != "x"))`),
		"growing text":   one("expect: '" + grow + "'"),
		"message":        one("expect: packages.size() == 0", "message: '"+grow+" ? \"a\" : \"b\"'"),
	} {
		t.Run(name, func(t *testing.T) {
			b := book(t, text+"  - {id: site.b, title: t, severity: low, expect: packages.size() == 0}\n")
			start := time.Now()
			got := judge(t, b, posture.Input{Facts: posture.Fixed{"packages": many(400)}})
			t.Log(time.Since(start), got["site.a"].Cost)
			if r := got["site.a"]; name != "message" && (r.Verdict != posture.Error || !strings.Contains(r.Reason, "cancelled: it costs too much")) {
				t.Errorf("%+v", r)
			}
			if r := got["site.a"]; r.Cost > 2_100_000 || len(r.Subjects) > 1 {
				t.Errorf("it went on for %d steps, over %d subjects", r.Cost, len(r.Subjects))
			}
			if r := got["site.a"]; name == "message" && r.Verdict != posture.Fail {
				t.Errorf("a message that costs too much hides no finding: %+v", r)
			}
			if r := got["site.b"]; r.Verdict != posture.Fail {
				t.Errorf("%+v", r)
			}
		})
	}
}

// What failed before a rule was cancelled is no secret.
func TestCostAfterFindings(t *testing.T) {
	b := book(t, one("each: packages", `expect: 'item.name != "p0" && packages.all(a, packages.all(b, a.name != item.name || b.name != "x"))'`, "subject: item.name"))
	r := judge(t, b, posture.Input{Facts: posture.Fixed{"packages": many(400)}})["site.a"]
	if r.Verdict != posture.Fail || len(r.Subjects) != 1 || r.Subjects[0].Name != "p0" || !strings.Contains(r.Partial, "cancelled: it costs too much") {
		t.Errorf("%+v", r)
	}
	w, _ := waivers(t, "intact: waivers/v1\nwaivers: [{rule: site.a, subject: p0, until: 2026-07-01, reason: the old clients, by: alice}]\n")
	r = judge(t, b, posture.Input{Facts: posture.Fixed{"packages": many(400)}, Waivers: posture.NewCover(w, day)})["site.a"]
	if r.Verdict != posture.Error || r.Subjects[0].Verdict != posture.Waived {
		t.Errorf("%+v", r)
	}
}

// What could take all memory in one step is refused before.
func TestUnbounded(t *testing.T) {
	for expect, want := range map[string]string{
		`packages[0].name.replace("a", packages[0].name) == ""`:                  "a.yaml:7:38: rule site.a: expect: rules have no replace",
		`packages.map(p, p.name).join(packages[0].name) == ""`:                   "a.yaml:7:42: rule site.a: expect: the separator of join must be a short literal",
		`packages[0].name.format([packages[0].name]) == ""`:                      "a.yaml:7:37: rule site.a: expect: what format fills in must be a literal",
		`packages.map(p, p.name).join(", ") == "%s %d".format(["a", 1]) && true`: "",
	} {
		got := load(t, one("expect: '"+expect+"'"))
		got = strings.TrimPrefix(got, "warning: a.yaml:4:5: rule site.a has no tests")
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: got %s, want %s", expect, got, want)
		}
	}
}

// A context that ends stops a rule in the middle, and the judgement.
func TestCancel(t *testing.T) {
	b := book(t, one(`expect: packages.all(a, packages.all(b, packages.all(c, a.name != "x")))`))
	ctx, cancel := context.WithCancel(context.Background())
	facts := cancelling{posture.Fixed{"packages": many(300)}, cancel}
	err := b.Judge(ctx, posture.Input{Facts: facts, Now: day, Sets: []string{"site"}}, func(r posture.Result) error {
		t.Errorf("%+v", r)
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stop := errors.New("stop")
	if err := b.Judge(context.Background(), posture.Input{Facts: posture.Fixed{}, Now: day}, func(posture.Result) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

type cancelling struct {
	posture.Fixed
	cancel func()
}

func (c cancelling) Fact(ctx context.Context, kind string) posture.Fact {
	c.cancel()
	return c.Fixed.Fact(ctx, kind)
}

// Evidence is what the baseline compares of a row, so that what changes all the
// time does not make a new finding.
func TestEvidence(t *testing.T) {
	b := book(t, one("each: accounts.users", "expect: item.uid != 0"))
	subject := func(us ...user) posture.Subject {
		t.Helper()
		r := judge(t, b, posture.Input{Facts: posture.Fixed{"accounts.users": known(us...)}})["site.a"]
		if len(r.Subjects) != 1 {
			t.Fatalf("%+v", r)
		}
		return r.Subjects[0]
	}
	first := subject(user{"toor", 0, 1}, user{"a", 1, 1})
	if first.Name != "toor" || first.Evidence != "uid=0" {
		t.Errorf("%+v", first)
	}
	if again := subject(user{"toor", 0, 2}); again.Digest != first.Digest {
		t.Error("a volatile field makes another digest")
	}
	// Two rows of one name are one subject, in whatever order.
	two := subject(user{"toor", 0, 1}, user{"toor", 0, 2})
	if two.Digest != first.Digest || len(two.Finding.Reasons) != 1 {
		t.Errorf("%+v", two)
	}
	b = book(t, one("each: packages", `expect: item.name == ""`, "subject: '\"x\"'", `message: item.name`,
		`severity_when: [{if: 'item.name == "b"', severity: critical}]`))
	ab := judge(t, b, posture.Input{Facts: posture.Fixed{"packages": known(pkg{Name: "a"}, pkg{Name: "b"})}})["site.a"].Subjects
	ba := judge(t, b, posture.Input{Facts: posture.Fixed{"packages": known(pkg{Name: "b"}, pkg{Name: "a"})}})["site.a"].Subjects
	if len(ab) != 1 || ab[0].Digest != ba[0].Digest || ab[0].Finding.Severity != rules.Critical || len(ab[0].Finding.Reasons) != 2 {
		t.Errorf("%+v", ab)
	}
	b = book(t, one("expect: packages.size() == 0", "message: packages[0].name", `evidence: string(packages.size())`))
	if s := judge(t, b, posture.Input{Facts: posture.Fixed{"packages": many(2)}})["site.a"].Subjects[0]; s.Evidence != "2" || s.Name != "host" || s.Finding.Subject.Kind != "posture" {
		t.Errorf("%+v", s)
	}
}

// The first case that holds counts; one that cannot be known may hold.
func TestSeverity(t *testing.T) {
	for cases, want := range map[string]string{
		`[{if: item.name == "a", severity: low}]`: "low",
		`[{if: item.name == "b", severity: low}]`: "medium",
		`[{if: item.name == "b", severity: low}, {if: item.name == "a", severity: critical}, {if: item.name != "", severity: info}]`: "critical",
		`[{if: net.listeners.size() == 0, severity: high}]`:                                                                          "high",
		`[{if: net.listeners.size() == 0, severity: low}]`:                                                                           "medium",
		`[{if: net.listeners.size() == 0, severity: high}, {if: item.name == "a", severity: low}]`:                                   "high",
		`[{if: item.tags[3].word == "", severity: critical}]`:                                                                        "critical",
	} {
		b := book(t, one("each: packages", `expect: item.name == ""`, "severity_when: "+strings.ReplaceAll(strings.ReplaceAll(cases, "{if: ", "{if: '"), ", severity", "', severity")))
		r := judge(t, b, posture.Input{Facts: posture.Fixed{"packages": known(pkg{Name: "a"}), "net.listeners": unknown(rules.Denied, "")}})["site.a"]
		if got := r.Subjects[0].Finding.Severity.String(); got != want {
			t.Errorf("%s: got %s, want %s", cases, got, want)
		}
	}
}

func TestProfiles(t *testing.T) {
	const text = `  - {id: site.a, title: t, severity: low, expect: packages.size() == 0}
  - {id: site.b, title: t, severity: low, expect: packages.size() == 0, profile: seed-strict}
  - {id: site.c, title: t, severity: low, expect: packages.size() == 0, enabled: false}
`
	for profile, want := range map[string]string{"": "site.a", "server": "site.a", "seed-strict": "site.a site.b", "other": "site.a site.b"} {
		got := judge(t, book(t, head+text), posture.Input{Facts: posture.Fixed{}, Profile: profile})
		var ids []string
		for id := range got {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if strings.Join(ids, " ") != want {
			t.Errorf("%q: %v", profile, ids)
		}
	}
}
