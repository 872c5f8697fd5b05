package posture

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"intact/rules"
	"intact/scanner/digest"
)

// Input is what a book judges.
type Input struct {
	Facts    Facts
	Live     bool     // the facts are those of the running host, not of an image
	Profile  string   // "" is the first
	Sets     []string // only these; nil is all
	Now      time.Time
	Waivers  *Cover    // nil: none
	Standing *Standing // nil: everything is new
}

// Judge evaluates the rules in force and emits a result for each, in the order
// of sets and ids, then those about waivers. A rule that goes wrong is a result
// like others; an error is that of emit, or the context's.
func (b *Book) Judge(ctx context.Context, in Input, emit func(Result) error) error {
	if in.Profile == "" {
		in.Profile = profiles[0]
	}
	for _, r := range b.Rules {
		if !r.Active(in.Profile) || in.Sets != nil && !slices.Contains(in.Sets, r.Set) {
			continue
		}
		res := b.judgeSafely(ctx, r, in)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		in.Waivers.apply(&res)
		in.Standing.apply(&res, in.Now)
		res.settle()
		if err := emit(res); err != nil {
			return err
		}
	}
	for _, res := range in.Waivers.Rest() {
		in.Standing.apply(&res, in.Now)
		res.settle()
		if err := emit(res); err != nil {
			return err
		}
	}
	return nil
}

// judgeSafely is judge for a rule whose evaluation may panic: that is an error
// of this rule.
func (b *Book) judgeSafely(ctx context.Context, r *Rule, in Input) (res Result) {
	defer func() {
		if p := recover(); p != nil {
			res = Result{Rule: r, Set: r.Set, ID: r.ID, Verdict: Error, Reason: prose(fmt.Sprint("internal error: ", p))}
		}
	}()
	j := judgement{rule: r, prog: b.compile(r), kinds: b.engine.kinds, in: in, facts: map[string]Fact{},
		st: newState(in.Now, r.Params), byName: map[string]int{}}
	j.res = Result{Rule: r, Set: r.Set, ID: r.ID}
	j.run(ctx)
	j.res.Cost = j.st.cost
	return j.res
}

// judgement is the evaluation of one rule.
type judgement struct {
	rule  *Rule
	prog  *program
	kinds map[string]Kind
	in    Input
	facts map[string]Fact // that were asked for
	st    *state
	res   Result

	byName   map[string]int // index in the subjects
	evidence [][]string     // of the subjects
}

func (j *judgement) end(v Verdict, reason string) { j.res.Verdict, j.res.Reason = v, reason }

func (j *judgement) run(ctx context.Context) {
	switch {
	case j.prog.broken:
		j.end(Error, "the rule does not compile")
		return
	case j.rule.NeedsLive && !j.in.Live:
		j.end(Unknown, "offline: judges the running host only")
		return
	}
	if w := j.prog.when; w != nil {
		if !j.learn(ctx, w.about.Needs) {
			return
		}
		if o := w.eval(ctx, j.st); !j.known(o) {
			return
		} else if !o.isTrue() {
			j.end(NotApplicable, "")
			return
		}
	}
	if !j.learn(ctx, j.prog.needs) {
		return
	}
	if j.prog.each == nil {
		j.one(ctx, func() string { return "" }, -1, nil)
	} else {
		o := j.prog.each.eval(ctx, j.st)
		if !j.known(o) {
			return
		}
		for i, v := range o.items() {
			j.st.vars["item"] = v
			if j.one(ctx, sync.OnceValue(func() string { return itemText(v) }), i, v.Value()); ctx.Err() != nil {
				return
			}
			if j.st.cost > maxCost {
				j.cancel()
				break
			}
		}
	}
	j.finish()
}

// cancel ends a rule that costs too much between two items. What failed until
// then stays; the item in which it happened is among those that were not judged.
func (j *judgement) cancel() {
	j.res.Partial, j.res.rest = fmt.Sprintf("%v (over %d steps)", errCost, maxCost), Error
	if n := len(j.res.Subjects); n > 0 && j.res.Subjects[n-1].Verdict == Error {
		j.res.Subjects, j.evidence = j.res.Subjects[:n-1], j.evidence[:n-1]
	}
}

// learn asks for facts. False: the verdict is there.
func (j *judgement) learn(ctx context.Context, needs []string) bool {
	for _, name := range needs {
		if _, ok := j.facts[name]; ok {
			continue
		}
		f := j.in.Facts.Fact(ctx, name)
		if k := j.kinds[name]; f.Status == rules.Absent && j.rule.AbsentEmpty && !k.Single {
			f = Fact{Rows: reflect.MakeSlice(reflect.SliceOf(k.Row), 0, 0).Interface(), Status: rules.OK}
		}
		j.facts[name] = f
		if f.Status != rules.OK && slices.Contains(j.prog.partial, name) && j.kinds[name].rows(f) > 0 {
			_, why := j.unknown([]string{name})
			j.res.Partial, j.res.rest = strings.TrimPrefix(j.res.Partial+"; "+why, "; "), Unknown
			f.Status = rules.OK
		}
		if err := j.st.set(j.kinds[name], f); err != nil {
			j.end(Error, prose(err.Error()))
			return false
		}
	}
	return true
}

// known reports whether an expression gave a value; if not the verdict is there.
func (j *judgement) known(o outcome) bool {
	switch {
	case o.err != nil:
		j.end(Error, o.err.Error())
	case o.unknown != nil:
		j.end(j.unknown(o.unknown))
	default:
		return true
	}
	return false
}

// unknown says what the lack of facts means for a rule.
func (j *judgement) unknown(names []string) (Verdict, string) {
	var why []string
	absent := true
	for _, n := range names {
		f := j.facts[n]
		absent = absent && f.Status == rules.Absent
		s := n + ": " + string(f.Status)
		if f.Reason != "" {
			s += ", " + f.Reason
		}
		why = append(why, prose(s))
	}
	v := Unknown
	if absent && j.rule.AbsentOK {
		v = NotApplicable
	}
	return v, strings.Join(why, "; ")
}

// one judges the item that is set, or the host. words gives the evidence that the
// item is.
func (j *judgement) one(ctx context.Context, words func() string, i int, row any) {
	j.res.Judged++
	o := j.expect(ctx)
	if o.isTrue() || ctx.Err() != nil {
		return
	}
	s := Subject{Verdict: Fail, Name: j.name(ctx, words, i, row)}
	var message, text string
	if o.err == nil && o.unknown == nil {
		var m outcome
		message = j.rule.Title
		if x := j.prog.message; x != nil {
			if m = x.eval(ctx, j.st); m.value != nil {
				message = m.text()
			}
		}
	}
	switch x := j.prog.evidence; {
	case o.err != nil || o.unknown != nil || x == nil && i >= 0:
		text = words()
	case x != nil:
		text = j.evidenceText(x.eval(ctx, j.st))
	default:
		text = message
	}
	switch {
	case o.err != nil:
		s.Verdict, s.Reason = Error, o.err.Error()
	case o.unknown != nil:
		s.Verdict, s.Reason = j.unknown(o.unknown)
	}
	if o.hidden {
		s.Verdict, s.Reason = Unknown, "what it depends on is not known of this one"
	}
	s.Finding = rules.Finding{
		Set: j.rule.Set, Rule: j.rule.ID, Severity: j.severity(ctx, s.Verdict),
		Subject: rules.Subject{Kind: j.subjectKind(), Name: s.Name},
		Reasons: []string{prose(message)}, Attack: j.rule.Refs.Attack,
	}
	s.Finding.RawSeverity = s.Finding.Severity
	j.add(s, text)
}

// expect evaluates the rule for the item that is set: what is not known of it
// makes it neither pass nor fail.
func (j *judgement) expect(ctx context.Context) outcome {
	if x := j.prog.known; x != nil {
		if o := x.eval(ctx, j.st); !o.isTrue() {
			o.hidden = o.value != nil
			return o
		}
	}
	return j.prog.expect.eval(ctx, j.st)
}

// evidenceText is what an evidence expression says; where it says nothing, what
// kept it from it is evidence of a kind too, and another state another one.
func (j *judgement) evidenceText(o outcome) string {
	switch {
	case o.err != nil:
		return "error: " + o.err.Error()
	case o.unknown != nil:
		return "unknown: " + strings.Join(o.unknown, " ")
	}
	return o.text()
}

func (j *judgement) name(ctx context.Context, words func() string, i int, row any) string {
	if x := j.prog.subject; x != nil {
		o := x.eval(ctx, j.st)
		if o.value != nil {
			return clip(o.text(), maxName)
		}
		return fmt.Sprintf("item %d", i+1)
	}
	if i < 0 {
		return "host"
	}
	if k, ok := row.(interface{ Key() string }); ok {
		return clip(k.Key(), maxName)
	}
	return clip(words(), maxName)
}

// subjectKind is the kind of fact that the subjects are rows of, or "posture".
func (j *judgement) subjectKind() string {
	if p := j.prog; p.each != nil && len(p.each.about.Needs) == 1 {
		return p.each.about.Needs[0]
	}
	return "posture"
}

// severity is that of the first case which is true. One that is unknown or
// goes wrong may be: the gravest of them counts.
func (j *judgement) severity(ctx context.Context, v Verdict) rules.Severity {
	if v != Fail {
		return j.rule.Severity
	}
	least := rules.Info
	for i, x := range j.prog.cases {
		o := x.eval(ctx, j.st)
		if o.isTrue() {
			return max(least, j.rule.Cases[i].Severity)
		}
		if o.value == nil {
			least = max(least, j.rule.Cases[i].Severity)
		}
	}
	return max(least, j.rule.Severity)
}

// add keeps one subject of a name: several items that are called the same are
// one, with the evidence of all.
func (j *judgement) add(s Subject, evidence string) {
	i, ok := j.byName[s.Name]
	if !ok {
		j.byName[s.Name] = len(j.res.Subjects)
		j.res.Subjects = append(j.res.Subjects, s)
		j.evidence = append(j.evidence, []string{evidence})
		return
	}
	j.evidence[i] = append(j.evidence[i], evidence)
	old := &j.res.Subjects[i]
	if slices.Index(gravest[:], s.Verdict) < slices.Index(gravest[:], old.Verdict) {
		*old, s = s, *old
	}
	if s.Verdict == old.Verdict {
		old.Finding.Severity = max(old.Finding.Severity, s.Finding.Severity)
		old.Finding.RawSeverity = old.Finding.Severity
		if m := s.Finding.Reasons[0]; len(old.Finding.Reasons) < 5 && !slices.Contains(old.Finding.Reasons, m) {
			old.Finding.Reasons = append(old.Finding.Reasons, m)
		}
	}
}

// finish gives the subjects their evidence and their order.
func (j *judgement) finish() {
	for i := range j.res.Subjects {
		s := &j.res.Subjects[i]
		e := j.evidence[i]
		slices.Sort(e)
		all := strings.Join(slices.Compact(e), "\n")
		s.Digest = digest.Sum([]byte(all)).Named()
		s.Evidence = clip(all, maxEvidence)
	}
	slices.SortFunc(j.res.Subjects, func(a, b Subject) int { return strings.Compare(a.Name, b.Name) })
	j.res.Verdict, j.res.Reason = Pass, ""
	if j.res.Partial != "" {
		j.res.Verdict, j.res.Reason = j.res.rest, j.res.Partial
	}
	j.res.settle()
}
