package posture_test

import (
	"bytes"
	"context"
	"os"
	"reflect"
	"testing"

	"intact/rules/posture"
)

// What stands beside the rule files is what the rule files say.
func TestReady(t *testing.T) {
	b := builtins(t)
	for _, set := range b.Sets() {
		want, name := posture.Ready(t, b, set), posture.ReadyName(set)
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the rule file says: go test ./rules/posture -update (%v)", name, err)
		}
	}
}

func lazily(t testing.TB, site ...posture.File) *posture.Book {
	t.Helper()
	b, ps, err := posture.Load(posture.Sources{Kinds: builtinKinds(), Builtin: posture.Builtin(), Site: site})
	if err != nil || len(ps) > 0 {
		t.Fatal(err, problems(ps))
	}
	return b
}

// Rules that are compiled late, or not at all, say what those say that were read
// from the rule files and compiled at once.
func TestLazy(t *testing.T) {
	eager, late := builtins(t), lazily(t)
	if len(late.Rules) != len(eager.Rules) {
		t.Fatalf("%d rules, not %d", len(late.Rules), len(eager.Rules))
	}
	same := func(id string, eager, late *posture.Book, in posture.Input) {
		t.Helper()
		a, b := posture.JudgeOne(eager, id, in).Plain(), posture.JudgeOne(late, id, in).Plain()
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s:\n%+v\n%+v", id, a, b)
		}
	}
	spared, worlds := 0, 0
	for i, r := range eager.Rules {
		if a, b := publicOf(r), publicOf(late.Rules[i]); !reflect.DeepEqual(a, b) {
			t.Errorf("%s differs:\n%+v\n%+v", r.ID, a, b)
		}
		if a, b := eager.NeedsOf(r), late.NeedsOf(late.Rules[i]); !reflect.DeepEqual(a, b) {
			t.Errorf("%s needs %v, not %v", r.ID, a, b)
		}
		lacking, tests := posture.Worlds(eager, r)
		for _, in := range lacking {
			late.Forget(r.ID)
			before := late.Compiled()
			same(r.ID, eager, late, in)
			if late.Compiled() == before {
				spared++
			}
		}
		for _, in := range tests {
			same(r.ID, eager, late, in)
		}
		worlds += len(lacking) + len(tests)
	}
	t.Logf("%d worlds, %d without an expression compiled", worlds, spared)
	if spared < len(eager.Rules) {
		t.Errorf("almost everything was compiled: only %d times not", spared)
	}
	// A site may change params and severity of such a rule, and what it says then counts.
	change := posture.File{Name: "s.yaml", Text: []byte(head + "  - {id: fim.self, severity: low, params: {max_age_days: 9}}\n" +
		"  - {id: upd.notify, params: {elsewhere: true}}\n")}
	changed, ps, err := posture.Load(posture.Sources{Kinds: builtinKinds(), Builtin: posture.Builtin(), Site: []posture.File{change}, Eager: true})
	if err != nil || ps != nil {
		t.Fatal(err, ps)
	}
	for _, id := range []string{"fim.self", "upd.notify"} {
		lacking, tests := posture.Worlds(eager, eager.Rule(id))
		for _, in := range append(lacking, tests...) {
			same(id, changed, lazily(t, change), in)
		}
	}
}

// publicOf is what others see of a rule.
func publicOf(r *posture.Rule) map[string]any {
	out := map[string]any{}
	v := reflect.ValueOf(*r)
	for f := range v.Type().Fields() {
		if f.IsExported() {
			out[f.Name] = v.FieldByIndex(f.Index).Interface()
		}
	}
	return out
}

// On a host that has nothing, no built-in rule is compiled.
func TestBare(t *testing.T) {
	b := lazily(t)
	n := 0
	err := b.Judge(context.Background(), posture.Input{Facts: bare{}, Now: day, Profile: "seed-strict"}, func(r posture.Result) error {
		n++
		if r.Verdict != posture.Unknown && r.Verdict != posture.NotApplicable {
			t.Errorf("%s: %s", r.ID, r.Verdict)
		}
		return nil
	})
	if c := b.Compiled(); err != nil || n == 0 || c != 0 {
		t.Errorf("%d rules, %d expressions compiled, %v", n, c, err)
	}
}
