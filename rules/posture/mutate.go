package posture

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"intact/rules"
	"intact/scanner/strict"
)

// Weakness is something that the tests of a rule would not notice.
type Weakness struct {
	Rule  string
	Place string // file:line or file:line:col
	What  string
}

// Weaknesses asks whether the tests of a rule would see a mistake in it. Some
// change of the facts or params of each failing test must make it fail no more,
// some change of each passing one must make it fail, and with any comparison of the rule
// negated some test must go red. The book must have been loaded with Tests.
func (b *Book) Weaknesses(ctx context.Context, r *Rule) (out []Weakness, err error) {
	r = r.shipped()
	for _, t := range r.tests {
		if t.want != Fail && t.want != Pass {
			continue
		}
		flipped, err := b.flips(ctx, r, t)
		if err != nil {
			return nil, err
		}
		if !flipped {
			out = append(out, Weakness{r.ID, place(t.at), fmt.Sprintf("no change of the facts of this %s flips its verdict", t.title())})
		}
	}
	more, err := b.unseen(ctx, r)
	return append(out, more...), err
}

// flips reports whether a change of the facts of a test, or that its params are
// left out, flips its verdict.
func (b *Book) flips(ctx context.Context, r *Rule, t *test) (bool, error) {
	flipped := func(res Result) bool {
		return t.want == Fail && (res.Verdict == Pass || res.Verdict == NotApplicable) || t.want == Pass && res.Verdict == Fail
	}
	if t.params != nil {
		plain := *t
		plain.params = nil
		if res, err := b.evalTest(ctx, r, &plain, t.facts); err != nil || flipped(res) {
			return true, err
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(t.facts)) {
		f := t.facts[kind]
		if f.Status != rules.OK {
			continue
		}
		for rows := range variants(f.Rows, b.donors(r, t, kind)) {
			facts := maps.Clone(t.facts)
			facts[kind] = Fact{Rows: rows, Status: rules.OK}
			res, err := b.evalTest(ctx, r, t, facts)
			if err != nil || ctx.Err() != nil {
				return false, cmpErr(err, ctx.Err())
			}
			if flipped(res) {
				return true, nil
			}
		}
	}
	return false, nil
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// donors are the rows that other tests of the rule give for a kind.
func (b *Book) donors(r *Rule, t *test, kind string) (out []any) {
	for _, o := range r.tests {
		if f, ok := o.facts[kind]; ok && o != t && f.Status == rules.OK {
			out = append(out, f.Rows)
		}
	}
	return out
}

// variants yields changed copies of rows: one value another one, one row less,
// the rows of a donor.
func variants(rows any, donors []any) func(yield func(any) bool) {
	return func(yield func(any) bool) {
		for _, d := range donors {
			if !yield(d) {
				return
			}
		}
		v := reflect.ValueOf(rows)
		for i := range v.Len() {
			less := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v.Slice(0, i))
			if !yield(reflect.AppendSlice(less, v.Slice(i+1, v.Len())).Interface()) {
				return
			}
			stop := false
			leaves(v.Index(i), func(path []step, old reflect.Value) {
				for _, other := range others(old, path, donors) {
					if stop {
						return
					}
					c := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v)
					c.Index(i).Set(with(v.Index(i), path, other))
					stop = stop || !yield(c.Interface())
				}
			})
			if stop {
				return
			}
		}
	}
}

// step leads from a value to one inside it: a field, an element or a key.
type step struct {
	index int
	key   reflect.Value
}

// leaves calls f with each value inside v that has none inside itself, and with
// each list.
func leaves(v reflect.Value, f func(path []step, old reflect.Value)) {
	var visit func(v reflect.Value, path []step)
	visit = func(v reflect.Value, path []step) {
		path = slices.Clip(path)
		switch {
		case v.Kind() == reflect.Struct && v.Type() != timeType:
			for _, sf := range fields(v.Type()) {
				visit(v.FieldByIndex(sf.Index), append(path, step{index: sf.Index[0]}))
			}
		case v.Kind() == reflect.Map:
			for _, k := range v.MapKeys() {
				visit(v.MapIndex(k), append(path, step{key: k}))
			}
		case v.Kind() == reflect.Slice:
			f(path, v)
			for i := range v.Len() {
				visit(v.Index(i), append(path, step{index: i}))
			}
		default:
			f(path, v)
		}
	}
	visit(v, nil)
}

// with returns a copy of v in which the value at the path is another one.
func with(v reflect.Value, path []step, other reflect.Value) reflect.Value {
	if len(path) == 0 {
		return other
	}
	s := path[0]
	switch v.Kind() {
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		c.Field(s.index).Set(with(v.Field(s.index), path[1:], other))
		return c
	case reflect.Map:
		c := reflect.MakeMap(v.Type())
		for _, k := range v.MapKeys() {
			c.SetMapIndex(k, v.MapIndex(k))
		}
		c.SetMapIndex(s.key, with(v.MapIndex(s.key), path[1:], other))
		return c
	}
	c := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v)
	c.Index(s.index).Set(with(v.Index(s.index), path[1:], other))
	return c
}

// others are values to put in the place of old: what other tests have there,
// and some of the same type.
func others(old reflect.Value, path []step, donors []any) (out []reflect.Value) {
	for _, d := range donors {
		rows := reflect.ValueOf(d)
		for i := range rows.Len() {
			leaves(rows.Index(i), func(p []step, v reflect.Value) {
				if v.Type() == old.Type() && len(p) == len(path) && (len(p) == 0 || p[0].index == path[0].index) {
					out = append(out, v)
				}
			})
		}
	}
	t := old.Type()
	switch {
	case t == timeType:
		for _, by := range []time.Duration{-1000, -1, 1, 1000} {
			out = append(out, reflect.ValueOf(old.Interface().(time.Time).Add(by*24*time.Hour)))
		}
	case t.Kind() == reflect.String:
		for _, s := range []string{"", "another", "no", "yes", "/another", "0", "1"} {
			out = append(out, reflect.ValueOf(s).Convert(t))
		}
	case t.Kind() == reflect.Bool:
		out = append(out, reflect.ValueOf(!old.Bool()).Convert(t))
	case old.CanInt():
		for _, n := range []int64{0, 1, old.Int() - 1, old.Int() + 1, 1 << 40} {
			out = append(out, reflect.ValueOf(n).Convert(t))
		}
	case t.Kind() == reflect.Slice && old.Len() > 0:
		out = append(out, reflect.MakeSlice(t, 0, 0))
	}
	return out
}

// unseen returns the comparisons of a rule whose negation no test sees.
func (b *Book) unseen(ctx context.Context, r *Rule) (out []Weakness, err error) {
	p := b.compile(r)
	if p.broken {
		return nil, fmt.Errorf("rule %s does not compile", r.ID)
	}
	outer, err := b.engine.scope(r.Params, nil)
	if err != nil {
		return nil, err
	}
	inner := outer
	if p.each != nil {
		if inner, err = b.engine.scope(r.Params, p.each.expr); err != nil {
			return nil, err
		}
	}
	check := func(s *scope, text string, w want, at *strict.Node, put func(*program, *part)) error {
		if text == "" {
			return nil
		}
		ms, err := s.mutants(text, w)
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.ID, err)
		}
		for _, m := range ms {
			q := *p
			q.cases = slices.Clone(p.cases)
			put(&q, &part{expr: m.expr})
			changed := *r
			changed.prog = &q
			if !slices.ContainsFunc(r.tests, func(t *test) bool { return b.runTest(ctx, &changed, t) != "" }) {
				line, col := at.Where(m.at.line, m.at.col)
				out = append(out, Weakness{r.ID, fmt.Sprintf("%s:%d:%d", at.File(), line, col), fmt.Sprintf("no test goes red when this %s is negated", m.at.msg)})
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	}
	errs := []error{
		check(outer, r.When, wantBool, r.at.when, func(q *program, x *part) { q.when = x }),
		check(outer, r.Each, wantList, r.at.each, func(q *program, x *part) { q.each = withNeeds(x, p.each) }),
		check(inner, r.Known, wantBool, r.at.known, func(q *program, x *part) { q.known = x }),
		check(inner, r.Expect, wantBool, r.at.expect, func(q *program, x *part) { q.expect = x }),
	}
	for i, c := range r.Cases {
		errs = append(errs, check(inner, c.If, wantBool, r.at.cases[i], func(q *program, x *part) { q.cases[i] = x }))
	}
	return out, cmpErr(errs...)
}

// withNeeds gives a mutant the needs of the expression that it is one of.
func withNeeds(x, of *part) *part {
	x.about = of.about
	return x
}
