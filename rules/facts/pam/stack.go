package pam

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// builder unfolds the stack of a service.
type builder struct {
	r       *reader
	service string
	lines   []Line
	parts   int
	why     []string
}

// service unfolds the stacks of a service. Of a type that it says nothing of
// those of the service "other" count.
func (r *reader) service(name string) *builder {
	b := &builder{r: r, service: name}
	for _, t := range types {
		before := len(b.lines)
		b.file(name, t, t, 0, 0, nil)
		if len(b.lines) == before && name != "other" {
			b.file("other", t, t, 0, 0, nil)
		}
		for i := before; i < len(b.lines); i++ {
			b.lines[i].Nth = int64(i - before + 1)
		}
	}
	return b
}

func (b *builder) doubt(typ, format string, args ...any) {
	if s := fmt.Sprintf(format, args...); typ == "auth" && len(b.why) < 8 && !slices.Contains(b.why, s) {
		b.why = append(b.why, s)
	}
}

// file adds the lines of one type that a file has and includes.
func (b *builder) file(name, typ, as string, depth, part int, above []string) {
	if slices.Contains(above, name) || len(above) >= maxDepth {
		b.doubt(as, "%s includes itself, or too deep", name)
		return
	}
	above = append(above, name)
	lines, ok := b.r.read(name)
	if !ok {
		if len(above) > 1 {
			b.doubt(as, "%s is included and cannot be read", name)
		}
		return
	}
	for _, w := range lines {
		if b.r.steps++; len(b.lines) >= maxLines || b.r.steps > maxSteps {
			b.doubt("auth", "over %d modules", maxLines)
			b.r.fail(fmt.Errorf("%s includes more than is read", b.service))
			return
		}
		switch {
		case w.bad != "":
			b.doubt(as, "%s: %s", w.at, w.bad)
		case w.ctrl == "@include":
			w.typ = allTypes
			b.r.join(w)
			b.file(w.module, typ, as, depth, part, above)
		case w.typ != typ:
		case w.ctrl == "include":
			b.r.join(w)
			b.file(w.module, typ, as, depth, part, above)
		case w.ctrl == "substack":
			b.r.join(w)
			b.parts++
			b.file(w.module, typ, as, depth+1, b.parts, above)
		default:
			b.lines = append(b.lines, Line{Service: b.service, At: w.at, Type: as, Control: w.ctrl, Module: w.module,
				Arguments: w.args, Depth: int64(depth), Silent: w.silent, part: part})
		}
	}
}

func (r *reader) join(w raw) {
	r.joins[w.at] = Line{At: w.at, Type: w.typ, Control: w.ctrl, Module: w.module, Arguments: w.args, Silent: w.silent}
}

// stack judges the auth lines.
func (b *builder) stack() Stack {
	s := Stack{Service: b.service, Modules: []string{}, Why: slices.Clone(b.why), Known: len(b.why) == 0}
	var auth []Line
	some := false
	for _, l := range b.lines {
		if l.Type != "auth" {
			continue
		}
		auth = append(auth, l)
		s.Modules = append(s.Modules, l.Module)
		is, weak := factor(l.Module, l.Arguments)
		some = some || is && weak == ""
		if weak != "" {
			s.Why = append(s.Why, fmt.Sprintf("%s at %s lets in who has set up nothing, by %s", l.Module, l.At, weak))
		}
	}
	if !some || !s.Known {
		return s
	}
	through, bad := escapes(auth)
	if bad != "" {
		s.Known = false
		s.Why = append(s.Why, bad)
		return s
	}
	if through != "" {
		s.Why = append(s.Why, "the second factor can be got around: success "+through)
	}
	s.SecondFactor = through == ""
	return s
}

// actions of a control, by what a module returns; "default" stands for the rest.
type actions map[string]string

var controls = map[string]actions{
	"required":   {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "bad"},
	"requisite":  {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "die"},
	"sufficient": {"success": "done", "new_authtok_reqd": "done", "default": "ignore"},
	"optional":   {"success": "ok", "new_authtok_reqd": "ok", "default": "ignore"},
}

func control(s string) (actions, bool) {
	if a, ok := controls[s]; ok {
		return a, true
	}
	body, ok := strings.CutPrefix(s, "[")
	if !ok {
		return nil, false
	}
	a := actions{}
	for w := range strings.FieldsSeq(strings.TrimSuffix(body, "]")) {
		k, v, ok := strings.Cut(strings.ToLower(w), "=")
		n, err := strconv.Atoi(v)
		if !ok || !slices.Contains([]string{"ok", "done", "bad", "die", "ignore", "reset"}, v) && (err != nil || n < 1) {
			return nil, false
		}
		if k == "default" { // libpam gives it to all that have none yet, later words still count
			if _, set := a["default"]; set {
				continue
			}
		}
		a[k] = v
	}
	return a, true
}

// of is the action for a value that a module returns. Without a default
// libpam takes it for bad.
func (a actions) of(value string) string {
	if v, ok := a[value]; ok {
		return v
	}
	if v, ok := a["default"]; ok {
		return v
	}
	return "bad"
}

// others are the actions for values that mean neither success nor "ignore".
func (a actions) others() (out []string) {
	for k, v := range a {
		if k != "success" && k != "ignore" && k != "new_authtok_reqd" {
			out = append(out, v)
		}
	}
	if _, ok := a["default"]; !ok {
		out = append(out, "bad")
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// point is where a walk of a stack stands.
type point struct {
	at      int
	outcome int // of what was decided so far: undecided, good, failed
}

const (
	undecided = iota
	good
	failed
)

// escapes walks a stack in every way that its modules can answer, a second factor
// never with success, and returns where the stack ends in success all the same;
// "" if it does not. bad is what was not understood.
func escapes(stack []Line) (through, bad string) {
	acts := make([]actions, len(stack))
	for i, l := range stack {
		a, ok := control(l.Control)
		if !ok {
			return "", fmt.Sprintf("%s: the control %q was not understood", l.At, l.Control)
		}
		acts[i] = a
	}
	seen := map[point]bool{}
	todo := []point{{}}
	add := func(p point) {
		if !seen[p] {
			seen[p] = true
			todo = append(todo, p)
		}
	}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if p.at >= len(stack) {
			if p.outcome == good {
				return "at the end of the stack", ""
			}
			continue
		}
		l := stack[p.at]
		for _, answer := range answers(l, acts[p.at]) {
			next, ended := step(stack, p, answer.action, answer.success)
			switch over := ended && next.at >= len(stack); {
			case over && next.outcome == good:
				return "by " + l.Module + " at " + l.At, ""
			case !over:
				add(next)
			}
		}
	}
	return "", ""
}

type answer struct {
	action  string
	success bool
}

// answers are what a module may answer.
func answers(l Line, a actions) (out []answer) {
	name := l.Module[strings.LastIndexByte(l.Module, '/')+1:]
	is, weak := factor(l.Module, l.Arguments)
	if name != "pam_deny.so" && (!is || weak != "") {
		out = append(out, answer{a.of("success"), true}, answer{a.of("new_authtok_reqd"), true})
	}
	if name == "pam_permit.so" {
		return out
	}
	if name != "pam_deny.so" && !is || l.Silent { // a module that is missing is passed over
		out = append(out, answer{a.of("ignore"), false})
	}
	for _, o := range a.others() {
		out = append(out, answer{o, false})
	}
	return out
}

// step is what an action makes of a walk. ended says that the stack, or the
// substack around, was left.
func step(stack []Line, p point, action string, success bool) (next point, ended bool) {
	next = point{p.at + 1, p.outcome}
	switch action {
	case "ignore":
	case "ok", "done":
		if p.outcome == undecided || p.outcome == good {
			next.outcome = good
			if !success { // it takes a failure for its word
				next.outcome = failed
			}
		}
		if action == "done" && next.outcome == good {
			return leave(stack, p.at, next.outcome), true
		}
	case "bad":
		next.outcome = failed
	case "die":
		return leave(stack, p.at, failed), true
	case "reset":
		next.outcome = undecided
	default:
		n, _ := strconv.Atoi(action)
		next.at = jump(stack, p.at, n)
		if next.at < 0 {
			return point{len(stack), failed}, true
		}
	}
	return next, false
}

// leave goes behind the substack that a line is in, of the stack itself to its
// end.
func leave(stack []Line, at, outcome int) point {
	depth := stack[at].Depth
	i := at + 1
	for i < len(stack) && (depth == 0 || stack[i].Depth > depth || stack[i].Depth == depth && stack[i].part == stack[at].part) {
		i++
	}
	return point{i, outcome}
}

// jump skips n modules, a substack counting as one; negative where there are
// not so many.
func jump(stack []Line, at, n int) int {
	depth, part := stack[at].Depth, stack[at].part
	i := at + 1
	for ; n > 0; n-- {
		if i >= len(stack) || stack[i].Depth < depth || stack[i].Depth == depth && stack[i].part != part {
			return -1
		}
		if stack[i].Depth == depth {
			i++
			continue
		}
		for inner := stack[i].part; i < len(stack) && stack[i].Depth > depth && (stack[i].Depth > depth+1 || stack[i].part == inner); {
			i++
		}
	}
	return i
}
