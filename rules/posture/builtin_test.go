package posture_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"intact/rules/facts/accounts"
	"intact/rules/facts/firewall"
	"intact/rules/facts/guards"
	"intact/rules/facts/osupdates"
	"intact/rules/facts/pam"
	"intact/rules/facts/sockets"
	"intact/rules/facts/sshd"
	"intact/rules/facts/units"
	"intact/rules/facts/web"
	"intact/rules/posture"
)

// builtinKinds are what the built-in rules ask for, as collectors have it.
func builtinKinds() []posture.Kind {
	return append(posture.OwnKinds(),
		posture.Kind{Name: "net.listeners", Row: reflect.TypeFor[sockets.Listener]()},
		posture.Kind{Name: "net.interfaces", Row: reflect.TypeFor[sockets.Interface]()},
		posture.Kind{Name: "firewall.published", Row: reflect.TypeFor[firewall.Published]()},
		posture.Kind{Name: "updates.pending", Row: reflect.TypeFor[osupdates.Update]()},
		posture.Kind{Name: "updates.lists", Row: reflect.TypeFor[osupdates.List]()},
		posture.Kind{Name: "updates.automatic", Row: reflect.TypeFor[osupdates.Automatic]()},
		posture.Kind{Name: "updates.reboot", Row: reflect.TypeFor[osupdates.Reboot]()},
		posture.Kind{Name: "updates.stale", Row: reflect.TypeFor[osupdates.StaleProcess]()},
		posture.Kind{Name: "updates.repositories", Row: reflect.TypeFor[osupdates.Repository]()},
		posture.Kind{Name: "os.release", Row: reflect.TypeFor[osupdates.Release]()},
		posture.Kind{Name: "units.units", Row: reflect.TypeFor[units.Unit]()},
		posture.Kind{Name: "accounts.keys", Row: reflect.TypeFor[accounts.AuthorizedKey]()},
		posture.Kind{Name: "accounts.users", Row: reflect.TypeFor[accounts.User]()},
		posture.Kind{Name: "accounts.members", Row: reflect.TypeFor[accounts.Member]()},
		posture.Kind{Name: "accounts.sources", Row: reflect.TypeFor[accounts.Source]()},
		posture.Kind{Name: "web.servers", Row: reflect.TypeFor[web.Server]()},
		posture.Kind{Name: "guards", Row: reflect.TypeFor[guards.Guard]()},
		posture.Kind{Name: "pam.stacks", Row: reflect.TypeFor[pam.Stack]()},
		posture.Kind{Name: "sshd.contexts", Row: reflect.TypeFor[sshd.Context]()},
		posture.Kind{Name: "sshd.directives", Row: reflect.TypeFor[sshd.Directive]()},
		posture.Kind{Name: "sshd.weaker", Row: reflect.TypeFor[sshd.Weaker]()},
		posture.Kind{Name: "sshd.host_keys", Row: reflect.TypeFor[sshd.HostKey]()},
		posture.Kind{Name: "sshd.files", Row: reflect.TypeFor[sshd.File]()},
		posture.Kind{Name: "sshd.server", Row: reflect.TypeFor[sshd.Server]()},
		posture.Kind{Name: "sshd.offers", Row: reflect.TypeFor[sshd.Offer]()},
	)
}

var update = flag.Bool("update", false, "write docs/rules.md")

// builtins are the rules of the program, with their tests.
func builtins(t testing.TB) *posture.Book {
	t.Helper()
	b, ps, err := posture.Load(posture.Sources{Kinds: builtinKinds(), Builtin: posture.Builtin(), Tests: true})
	if err != nil || len(ps) > 0 {
		t.Fatal(err, problems(ps))
	}
	if len(b.Rules) == 0 {
		t.Fatal("no rules")
	}
	return b
}

func TestBuiltinTests(t *testing.T) {
	failures, n := runTests(t, builtins(t))
	for _, f := range failures {
		t.Error(f)
	}
	t.Logf("%d tests", n)
}

// The tests of each built-in rule would see a mistake in it.
func TestBuiltinWeaknesses(t *testing.T) {
	b := builtins(t)
	for _, r := range b.Rules {
		ws, err := b.Weaknesses(context.Background(), r)
		if err != nil {
			t.Error(err)
		}
		for _, w := range ws {
			t.Errorf("%s: %s: %s", w.Place, w.Rule, w.What)
		}
	}
}

// Every built-in rule names where it comes from, and its text is for people.
func TestBuiltinTexts(t *testing.T) {
	all := builtins(t)
	for _, e := range posture.ElsewhereRules() {
		if all.Rule(e.ID) != nil || posture.FindElsewhere(e.ID).ID != e.ID || e.By == "" || e.Why == "" || e.Fix == "" || e.Refs.String() == "" {
			t.Errorf("%+v", e)
		}
	}
	for _, r := range all.Rules {
		if r.Refs.String() == "" {
			t.Errorf("%s: no refs", r.ID)
		}
		for _, s := range []string{r.Why, r.Fix} {
			for line := range strings.SplitSeq(s, "\n") {
				if len(line) > 100 {
					t.Errorf("%s: a line of %d characters: %s", r.ID, len(line), line)
				}
			}
		}
	}
}

func TestDocument(t *testing.T) {
	const name = "../../docs/rules.md"
	want := posture.Document(builtins(t))
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/rules.md is not what the rules say: go test ./rules/posture -update")
	}
}

// The files that docs/waivers.md shows are good ones.
func TestDocsWaivers(t *testing.T) {
	page, err := os.ReadFile("../../docs/waivers.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```")
	n := 0
	for i := 1; i < len(blocks); i += 2 {
		text, ok := strings.CutPrefix(blocks[i], "yaml\n")
		switch {
		case !ok:
			continue
		case strings.HasPrefix(text, "intact: "+posture.Format):
			b := book(t, text)
			if failures, tests := runTests(t, b); failures != nil || tests < 3 {
				t.Errorf("%d tests: %v", tests, failures)
			}
		default:
			w, ps := posture.ParseWaivers(posture.File{Name: "w.yaml", Text: []byte(text)}, day, func(string) bool { return true })
			if ps != nil || len(w.List) != 1 || len(w.Attestations) != 1 {
				t.Error(problems(ps))
			}
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d files", n)
	}
	// Every key of a rule is on the page.
	for _, r := range posture.Keys() {
		if !strings.Contains(string(page), "`"+r+"`") {
			t.Errorf("docs/waivers.md does not say what %s is", r)
		}
	}
}

// A rule whose tests are too few, each for another reason.
func TestWeaknesses(t *testing.T) {
	const rule = `  - id: site.a
    title: t
    severity: low
    when: packages.size() > 0
    each: net.listeners.filter(l, l.port != 22)
    expect: item.loopback || item.port in params.allowed && item.exe != ""
    severity_when: [{if: item.port < 1024, severity: high}]
    params: {allowed: [80]}
    subject: string(item.port)
    tests:
`
	const good = `      - facts: {packages: [{name: a}], net: {listeners: [{port: 80, exe: /x}, {port: 22}]}}
        want: pass
      - facts: {packages: [{name: a}], net: {listeners: [{port: 81, exe: /x}, {port: 22}]}}
        want: fail
        want_subjects: ["81"]
        want_severity: high
      - facts: {packages: [{name: a}], net: {listeners: [{port: 1024, exe: /x}]}}
        want: fail
        want_severity: low
      - facts: {packages: [{name: a}], net: {listeners: [{port: 80}]}}
        want: fail
        want_severity: high
      - facts: {packages: [], net: {listeners: [{port: 80}]}}
        want: not-applicable
`
	weak := func(tests string) string {
		t.Helper()
		b := book(t, head+rule+tests)
		if failures, _ := runTests(t, b); failures != nil {
			t.Fatal(failures)
		}
		ws, err := b.Weaknesses(context.Background(), b.Rule("site.a"))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, w := range ws {
			out = append(out, w.Place+": "+w.What)
		}
		return strings.Join(out, "\n")
	}
	if got := weak(good); got != "" {
		t.Errorf("got %s", got)
	}
	// Without the test of a listener whose exe is "", and with nothing said of
	// the subjects, nobody would miss these comparisons.
	less := strings.Replace(good, "      - facts: {packages: [{name: a}], net: {listeners: [{port: 80}]}}\n        want: fail\n        want_severity: high\n", "", 1)
	less = strings.ReplaceAll(less, "        want_severity: high\n", "")
	less = strings.ReplaceAll(less, "        want_severity: low\n", "")
	less = strings.ReplaceAll(less, "        want_subjects: [\"81\"]\n", "")
	const want = "site.yaml:10:36: no test goes red when this < is negated"
	if got := weak(less); got != want {
		t.Errorf("got %s", got)
	}
	const constant = `      - facts: {packages: [{name: a}], net: {listeners: []}}
        want: pass
`
	b := book(t, head+strings.Replace(rule, `item.loopback || item.port in params.allowed && item.exe != ""`, `item.port >= 0 || now > timestamp(0)`, 1)+constant)
	ws, err := b.Weaknesses(context.Background(), b.Rule("site.a"))
	if err != nil || len(ws) < 3 || ws[0].What != "no change of the facts of this test flips its verdict" {
		t.Errorf("%+v %v", ws, err)
	}
}

func TestSettings(t *testing.T) {
	before := builtins(t).Settings("server")
	after := book(t, head+"  - {id: fim.self, severity: low, params: {max_age_days: 9}}\n").Settings("server")
	if before[0].ID != "fim.self" || before[0].Params != `max_age_days="2" off_host="true"` || after[0].Params != `max_age_days="9" off_host="true"` || after[0].Severity == before[0].Severity || !before[0].Enabled {
		t.Errorf("%+v\n%+v", before, after)
	}
}
