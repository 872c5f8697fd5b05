package posture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"intact/rules"
)

// engine compiles expressions. It is built for a list of kinds and used from
// one goroutine.
type engine struct {
	kinds  map[string]Kind
	names  []string            // of the kinds, and now
	base   *cel.Env            // nil before something is compiled: it is dear
	scopes map[string]*cel.Env // by what a rule adds
}

// environment is what all expressions can name.
func (e *engine) environment() (*cel.Env, error) {
	if e.base != nil {
		return e.base, nil
	}
	e.scopes = map[string]*cel.Env{}
	natives := []any{ext.ParseStructField(celName)}
	opts := []cel.EnvOption{
		ext.Strings(), ext.Lists(), ext.Sets(), ext.Network(),
		cel.ExpressionNodeLimit(maxNodes), cel.DefaultUTCTimeZone(true),
		cel.Variable("now", cel.TimestampType),
	}
	for _, k := range e.kinds {
		t := cel.MapType(cel.StringType, cel.StringType)
		if k.Row != wordsMap {
			natives = append(natives, k.Row)
			t = cel.ObjectType(k.Row.String())
		}
		if !k.Single {
			t = cel.ListType(t)
		}
		opts = append(opts, cel.Variable(k.Name, t))
	}
	opts = append(opts, functions()...)
	if len(natives) > 1 {
		opts = append(opts, ext.NativeTypes(natives...))
	}
	var err error
	if e.base, err = cel.NewEnv(opts...); err != nil {
		return nil, fmt.Errorf("build the rule engine: %w", err)
	}
	return e.base, nil
}

// functions are those that rules have besides the standard library of CEL and
// its extensions for strings, lists, sets and addresses.
func functions() []cel.EnvOption {
	text2 := []*cel.Type{cel.StringType, cel.StringType}
	two := func(name string, f func(a, b string) bool) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_text_text", text2, cel.BoolType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				return types.Bool(f(string(a.(types.String)), string(b.(types.String))))
			})))
	}
	one := func(name string, f func(string) bool) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_text", text2[:1], cel.BoolType,
			cel.UnaryBinding(func(a ref.Val) ref.Val { return types.Bool(f(string(a.(types.String)))) })))
	}
	return []cel.EnvOption{
		two("glob", func(p, s string) bool { return pattern(p).match(s) }),
		two("under", under),
		two("version_less", versionLess),
		one("weak_ssh_alg", weakSSH),
		one("quantum_safe_ssh_kex", quantumSafe),
		cel.Function("days", cel.Overload("days_int", []*cel.Type{cel.IntType}, cel.DurationType,
			cel.UnaryBinding(func(n ref.Val) ref.Val {
				const most = 100 * 366
				if d := n.(types.Int); d >= -most && d <= most {
					return types.Duration{Duration: time.Duration(d) * 24 * time.Hour}
				}
				return types.NewErr("days: more than %d", most)
			}))),
	}
}

// paramTypes are the types of parameters, by their Go values.
func paramType(v any) *cel.Type {
	switch v.(type) {
	case string:
		return cel.StringType
	case int64:
		return cel.IntType
	case bool:
		return cel.BoolType
	case []int64:
		return cel.ListType(cel.IntType)
	}
	return cel.ListType(cel.StringType)
}

// scope is what the expressions of one rule can name.
type scope struct {
	e      *engine
	env    *cel.Env
	params []Param
	item   bool
}

// scope returns that of a rule; each, where it is not nil, gives the items.
func (e *engine) scope(params []Param, each *expr) (*scope, error) {
	var opts []cel.EnvOption
	var key strings.Builder
	for _, p := range params {
		t := paramType(p.Default)
		opts = append(opts, cel.Variable("params."+p.Name, t))
		fmt.Fprintf(&key, "%s %s\n", p.Name, t)
	}
	if each != nil {
		t := each.ast.OutputType().Parameters()[0]
		opts = append(opts, cel.Variable("item", t))
		fmt.Fprintf(&key, "\n%s", t)
	}
	env, ok := e.scopes[key.String()]
	if !ok {
		var err error
		if env, err = e.environment(); err != nil {
			return nil, err
		}
		if len(opts) > 0 {
			if env, err = env.Extend(opts...); err != nil {
				return nil, err
			}
		}
		e.scopes[key.String()] = env
	}
	return &scope{e: e, env: env, params: params, item: each != nil}, nil
}

// itemKinds are what a rule can judge one by one.
var itemKinds = []types.Kind{types.StructKind, types.StringKind, types.IntKind, types.BoolKind, types.TimestampKind}

// expr is a compiled expression.
type expr struct {
	scope    *scope
	ast      *cel.Ast
	prog     cel.Program
	needs    []string // kinds of facts, sorted
	once     []string // those that are named in one place only
	constant bool     // depends on nothing that is read
}

// compile checks an expression. With varies it must depend on facts.
func (s *scope) compile(text string, w want, varies bool) (*expr, []fault) {
	a, issues := s.env.Compile(strings.TrimRight(text, "\n"))
	if issues.Err() != nil {
		var out []fault
		for _, e := range issues.Errors() {
			out = append(out, explain(text, fault{e.Location.Line(), e.Location.Column() + 1, ""}, e.Message, s.e.names))
		}
		slices.SortFunc(out, func(a, b fault) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return nil, slices.Compact(out)
	}
	if f := unbounded(a.NativeRep()); f != nil {
		return nil, f
	}
	x := &expr{scope: s, ast: a, constant: true}
	for _, r := range a.NativeRep().ReferenceMap() {
		if _, ok := s.e.kinds[r.Name]; ok {
			x.needs = append(x.needs, r.Name) // once for each place
		}
		if r.Name == "now" || r.Name == "item" && s.item {
			x.constant = false
		}
	}
	slices.Sort(x.needs)
	x.once = onlyOnce(x.needs)
	x.needs = slices.Compact(x.needs)
	x.constant = x.constant && len(x.needs) == 0
	switch got := a.OutputType(); {
	case w == wantList && got.Kind() != types.ListKind, w != wantList && got.String() != string(w):
		return nil, []fault{{1, 1, fmt.Sprintf("must give %s, gives %s", article(w), got)}}
	case w == wantList && !slices.Contains(itemKinds, got.Parameters()[0].Kind()):
		return nil, []fault{{1, 1, fmt.Sprintf("must give a list of rows, texts or numbers, gives %s", got)}}
	case varies && x.constant:
		return nil, []fault{{1, 1, "gives the same on every host: it depends on no fact"}}
	}
	var err error
	if x.prog, err = s.program(a); err != nil {
		return nil, []fault{{1, 1, prose(err.Error())}}
	}
	return x, nil
}

// unbounded refuses calls whose result can be so large that the memory for it
// is taken before anything counts it.
func unbounded(a *ast.AST) (out []fault) {
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		at := a.SourceInfo().GetStartLocation(e.ID())
		f := fault{line: at.Line(), col: at.Column() + 1}
		call := e.AsCall()
		literal := func(x ast.Expr) (string, bool) {
			if x.Kind() != ast.LiteralKind {
				return "", false
			}
			s, ok := x.AsLiteral().(types.String)
			return string(s), ok
		}
		switch call.FunctionName() {
		case "replace":
			f.msg = "rules have no replace"
		case "join":
			if len(call.Args()) == 1 {
				if s, ok := literal(call.Args()[0]); !ok || len(s) > 16 {
					f.msg = "the separator of join must be a short literal"
				}
			}
		case "format":
			if _, ok := literal(call.Target()); !ok {
				f.msg = "what format fills in must be a literal"
			}
		}
		if f.msg != "" {
			out = append(out, f)
		}
	}))
	return out
}

func (s *scope) program(a *cel.Ast) (cel.Program, error) {
	return s.env.Program(a,
		cel.EvalOptions(cel.OptPartialEval|cel.OptTrackCost|cel.OptOptimize),
		cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
}

// state is what the expressions of a rule are evaluated over.
type state struct {
	vars    map[string]any
	unknown []*cel.AttributePatternType
	cost    uint64
}

func newState(now time.Time, params []Param) *state {
	st := &state{vars: map[string]any{"now": now}}
	for _, p := range params {
		st.vars["params."+p.Name] = p.Value
	}
	return st
}

// set makes a fact known, or unknown, to expressions.
func (st *state) set(k Kind, f Fact) error {
	if f.Status != rules.OK {
		st.unknown = append(st.unknown, cel.AttributePattern(k.Name))
		return nil
	}
	v, err := k.value(f)
	st.vars[k.Name] = v
	return err
}

// outcome is what an expression gave: a value, or the facts without which
// there is none, or an error.
type outcome struct {
	value   ref.Val
	unknown []string
	err     error
	hidden  bool // it is what known says, and false
}

// eval never panics. An error is that of the rule; where ctx is done it is the
// context's own.
func (x *expr) eval(ctx context.Context, st *state) outcome {
	vars, err := cel.PartialVars(st.vars, st.unknown...)
	if err != nil {
		return outcome{err: err}
	}
	v, details, err := x.prog.ContextEval(ctx, vars)
	if details != nil && details.ActualCost() != nil {
		st.cost += *details.ActualCost()
	}
	if ctx.Err() != nil {
		return outcome{err: ctx.Err()}
	}
	if c, ok := errors.AsType[interpreter.EvalCancelledError](err); ok && c.Cause != interpreter.ContextCancelled || st.cost > maxCost {
		st.cost = max(st.cost, maxCost+1)
		return outcome{err: fmt.Errorf("%w (over %d steps)", errCost, maxCost)}
	}
	if err != nil {
		return outcome{err: errors.New(prose(err.Error()))}
	}
	if u, ok := v.(*types.Unknown); ok {
		var names []string
		for _, id := range u.IDs() {
			trails, _ := u.GetAttributeTrails(id)
			for _, t := range trails {
				names = append(names, t.Variable())
			}
		}
		slices.Sort(names)
		return outcome{unknown: slices.Compact(names)}
	}
	return outcome{value: v}
}

func (o outcome) isTrue() bool { return o.value == types.True }

func (o outcome) text() string {
	s, _ := o.value.(types.String)
	return string(s)
}

// items gives the elements of a list.
func (o outcome) items() []ref.Val {
	l, ok := o.value.(traits.Lister)
	if !ok {
		return nil
	}
	var out []ref.Val
	for it := l.Iterator(); it.HasNext() == types.True; {
		out = append(out, it.Next())
	}
	return out
}

// itemText is the evidence that an element is.
func itemText(v ref.Val) string {
	if row := v.Value(); isRow(row) {
		return rowText(row)
	}
	s, _ := v.ConvertToType(types.StringType).(types.String)
	return string(s)
}

// mutants returns one for each comparison in an expression that compiles.
func (s *scope) mutants(text string, w want) (out []mutant, err error) {
	text = strings.TrimRight(text, "\n")
	for i := 0; ; i++ {
		parsed, issues := s.env.Parse(text)
		if issues.Err() != nil {
			return nil, issues.Err()
		}
		found := comparisons(parsed.NativeRep())
		if i >= len(found) {
			return out, nil
		}
		n := found[i]
		call := n.AsCall()
		info := parsed.NativeRep().SourceInfo()
		where := info.GetStartLocation(n.ID())
		f := ast.NewExprFactory()
		if op := negations[call.FunctionName()]; op != "" {
			n.SetKindCase(f.NewCall(n.ID(), op, call.Args()...))
		} else {
			n.SetKindCase(f.NewCall(n.ID(), "!_", f.NewCall(1<<41+n.ID(), "@in", call.Args()...)))
		}
		checked, issues := s.env.Check(parsed)
		if issues.Err() != nil {
			return nil, issues.Err()
		}
		x := &expr{scope: s, ast: checked}
		if x.prog, err = s.program(checked); err != nil {
			return nil, err
		}
		op := strings.Trim(call.FunctionName(), "_@")
		out = append(out, mutant{x, fault{where.Line(), where.Column() + 1, op}})
	}
}

// comparisons returns those that were written, not those that macros are made
// of.
func comparisons(a *ast.AST) (out []ast.Expr) {
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		if _, ok := negations[e.AsCall().FunctionName()]; !ok {
			return
		}
		for _, arg := range e.AsCall().Args() {
			if arg.Kind() == ast.IdentKind && strings.HasPrefix(arg.AsIdent(), "@") {
				return
			}
		}
		out = append(out, e)
	}))
	return out
}
