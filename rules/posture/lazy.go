package posture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Commands that run often load the built-in rules each time, and few of them
// have something to judge. Beside each file of built-in rules lies what was made
// ready of it, SET.json: the rules without their tests, and what is known of
// their expressions without compiling them. The tests of this package make it
// and hold it against the rule file.

// part is an expression of a rule. That of a built-in rule is compiled when it
// is first evaluated.
type part struct {
	expr  *expr        // nil: it is not compiled yet
	later func() *expr // compiles it; nil if it does not compile
	about partFacts
}

// partFacts are what is known of an expression without compiling it.
type partFacts struct {
	Needs []string `json:",omitempty"` // kinds of facts, sorted
	Once  []string `json:"-"`          // those that are named in one place only

	// Blank is what the expression gives where there is nothing to look at,
	// whatever the time is and as long as no site changed the params. A key has a
	// letter for each of Needs: "-", it is not known, or "0", it has no rows. The
	// value is why the expression is unknown; no names: it gives an empty list.
	Blank map[string][]string `json:",omitempty"`
}

// eval is that of the expression. What has nothing to look at is not compiled.
func (p *part) eval(ctx context.Context, st *state) outcome {
	if p.expr == nil {
		if missing, ok := p.about.Blank[st.blanks(p.about.Needs)]; ok && len(missing) > 0 {
			return outcome{unknown: missing}
		} else if ok {
			return outcome{} // nothing to go through
		}
		if p.compiled() == nil {
			return outcome{err: errors.New("the rule does not compile")}
		}
	}
	return p.expr.eval(ctx, st)
}

func (p *part) compiled() *expr {
	if p.expr == nil {
		p.expr = p.later()
	}
	return p.expr
}

// blanks spells which facts are not known and which have no rows, as in Blank.
func (st *state) blanks(kinds []string) string {
	key := make([]byte, len(kinds))
	for i, k := range kinds {
		v := reflect.ValueOf(st.vars[k])
		switch {
		case !v.IsValid():
			key[i] = '-'
		case v.Kind() == reflect.Slice && v.Len() == 0:
			key[i] = '0'
		}
	}
	return string(key)
}

// readyRule is a built-in rule with what is known of its program.
type readyRule struct {
	Rule
	Parts map[string]partFacts // of when, each, known and expect
	Needs []string             // of all expressions
	Some  []string             // see program.partial
}

// ready takes the rules of a file that was made ready.
func (l *loader) ready(f File) error {
	var list []readyRule
	if err := json.Unmarshal(f.ready, &list); err != nil {
		return fmt.Errorf("%s: what was made ready of it: %w", f.Name, err)
	}
	b := l.book
	for i := range list {
		p := &list[i]
		r := &p.Rule
		for _, k := range p.Needs {
			if _, ok := b.engine.kinds[k]; !ok {
				return fmt.Errorf("%s: rule %s: there is no kind of fact %q", f.Name, r.ID, k)
			}
		}
		for i := range r.Params {
			v := paramOf(r.Params[i].Default)
			r.Params[i].Default, r.Params[i].Value = v, v
		}
		r.made = p
		b.byID[r.ID] = r
		b.Rules = append(b.Rules, r)
	}
	return nil
}

// paramOf gives a value of JSON the type that paramValue gives it.
func paramOf(v any) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case []any:
		numbers, texts := []int64{}, []string{}
		for _, x := range v {
			switch x := x.(type) {
			case float64:
				numbers = append(numbers, int64(x))
			case string:
				texts = append(texts, x)
			}
		}
		if len(numbers) > 0 {
			return numbers
		}
		return texts
	}
	return v
}

// lazy is the program of a rule that was made ready.
func (b *Book) lazy(r *Rule) *program {
	p := &program{needs: r.made.Needs, partial: r.made.Some}
	changed := slices.ContainsFunc(r.Params, func(p Param) bool { return !reflect.DeepEqual(p.Value, p.Default) })
	later := func(key, text string, w want, item bool) *part {
		if text == "" {
			return nil
		}
		about := r.made.Parts[key]
		if changed {
			about.Blank = nil
		}
		return &part{about: about, later: func() *expr {
			var each *expr
			if item && p.each != nil {
				if each = p.each.compiled(); each == nil {
					return nil
				}
			}
			s, err := b.engine.scope(r.Params, each)
			if err != nil {
				return nil
			}
			x, _ := s.compile(text, w, false)
			return x
		}}
	}
	p.when = later("when", r.When, wantBool, false)
	p.each = later("each", r.Each, wantList, false)
	p.known = later("known", r.Known, wantBool, true)
	p.expect = later("expect", r.Expect, wantBool, true)
	p.subject = later("subject", r.Subject, wantText, true)
	p.message = later("message", r.Message, wantText, true)
	p.evidence = later("evidence", r.Evidence, wantText, true)
	for _, c := range r.Cases {
		p.cases = append(p.cases, later("severity_when", c.If, wantBool, true))
	}
	return p
}

// newEngine makes the engine for some kinds of facts.
func newEngine(kinds []Kind) (*engine, error) {
	if err := checkKinds(kinds); err != nil {
		return nil, err
	}
	e := &engine{kinds: map[string]Kind{}}
	for _, k := range kinds {
		e.kinds[k.Name] = k
		e.names = append(e.names, k.Name)
	}
	slices.Sort(e.names)
	e.names = append(e.names, "now")
	return e, nil
}
