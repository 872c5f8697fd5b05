package posture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
)

// Ready makes what stands beside the rule file of a set, out of a book that was
// loaded with its tests.
func Ready(t testing.TB, b *Book, set string) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString("[")
	for _, r := range b.Rules {
		if r.Set != set {
			continue
		}
		if out.Len() > 1 {
			out.WriteString(",")
		}
		p := b.compile(r)
		text, err := json.Marshal(readyRule{Rule: *r, Needs: p.needs, Some: p.partial, Parts: b.parts(p, r.Params)})
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(all, func(_ string, v any) bool {
			m, isMap := v.(map[string]any)
			return v == nil || v == "" || v == false || isMap && len(m) == 0
		})
		out.WriteString("\n")
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(all); err != nil {
			t.Fatal(err)
		}
	}
	out.WriteString("]\n")
	return out.Bytes()
}

// parts are what is known of the expressions of a rule without compiling them.
func (b *Book) parts(p *program, params []Param) map[string]partFacts {
	out := map[string]partFacts{}
	for key, x := range map[string]*part{"when": p.when, "each": p.each, "known": p.known, "expect": p.expect} {
		if x == nil || len(x.about.Needs) == 0 {
			continue
		}
		a := x.about
		a.Blank = map[string][]string{}
		for n := range 1 << min(len(a.Needs), 4) {
			word := fmt.Sprintf("%0*b", len(a.Needs), n)
			word = strings.ReplaceAll(word, "1", "-")
			o, ok := b.blank(x, word, params)
			switch {
			case !ok:
			case o.unknown != nil && !slices.Contains(o.unknown, "item"):
				a.Blank[word] = o.unknown
			case key == "each" && o.value != nil && len(o.items()) == 0:
				a.Blank[word] = []string{}
			}
		}
		out[key] = a
	}
	return out
}

// blank is what an expression gives over nothing; not ok: that depends on the time,
// or there can be no such state.
func (b *Book) blank(x *part, word string, params []Param) (out outcome, ok bool) {
	for i, now := range []time.Time{{}, testDay, testDay.AddDate(5000, 0, 0)} {
		st := newState(now, params)
		if err := st.set(Kind{Name: "item"}, Fact{Status: rules.Failed}); err != nil {
			panic(err)
		}
		for n, name := range x.about.Needs {
			k := b.engine.kinds[name]
			f := Fact{Rows: none(k), Status: rules.OK}
			if word[n] == '-' {
				f.Status = rules.Failed
			} else if k.Single {
				return out, false
			}
			if err := st.set(k, f); err != nil {
				panic(err)
			}
		}
		o := x.expr.eval(context.Background(), st)
		if i > 0 && !(slices.Equal(o.unknown, out.unknown) && len(o.items()) == len(out.items()) && (o.err == nil) == (out.err == nil)) {
			return o, false
		}
		out = o
	}
	return out, true
}

// ReadyName is the name of that file.
func ReadyName(set string) string { return path.Join("builtin", set+".json") }

// Worlds are facts under which rules are compared: for each rule some or all of
// its facts not known and the others without rows, then those of its tests.
func Worlds(b *Book, r *Rule) (lacking, tests []Input) {
	needs := b.NeedsOf(r)
	world := func(status rules.Status, known func(kind string) bool) {
		f := Fixed{}
		for _, n := range needs {
			k := b.engine.kinds[n]
			f[n] = Fact{Rows: none(k), Status: rules.OK}
			if k.Single || !known(n) {
				f[n] = Fact{Rows: none(k), Status: status, Reason: "of the test"}
			}
		}
		lacking = append(lacking, Input{Facts: f, Live: true, Now: testDay})
	}
	for _, status := range []rules.Status{rules.Absent, rules.Offline} {
		world(status, func(string) bool { return false })
	}
	world(rules.Denied, func(string) bool { return true })
	for _, n := range needs {
		world(rules.Absent, func(k string) bool { return k == n })
		world(rules.Absent, func(k string) bool { return k != n })
	}
	for _, t := range r.tests {
		tests = append(tests, Input{Facts: given{t.facts}, Live: true, Now: t.now})
	}
	return lacking, tests
}

// Forget makes a rule one that was not compiled.
func (b *Book) Forget(id string) { b.Rule(id).prog = nil }

// JudgeOne judges by one rule.
func JudgeOne(b *Book, id string, in Input) Result {
	return b.judgeSafely(context.Background(), b.Rule(id), in)
}

// Plain leaves out what only says how a result was come by.
func (r Result) Plain() Result {
	r.Rule, r.Cost = nil, 0
	return r
}

// Compiled counts the expressions that were compiled.
func (b *Book) Compiled() (n int) {
	for _, r := range b.Rules {
		if p := r.prog; p != nil {
			for _, x := range append([]*part{p.when, p.each, p.known, p.expect, p.subject, p.message, p.evidence}, p.cases...) {
				if x != nil && x.expr != nil {
					n++
				}
			}
		}
	}
	return n
}

func none(k Kind) any { return reflect.MakeSlice(reflect.SliceOf(k.Row), 0, 0).Interface() }
