package posture

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"intact/scanner/strict"
)

// Limits of one rule. A step is about one operation on one value, or ten
// characters of a text.
const (
	maxCost  = 1_000_000 // steps, of all its expressions and subjects
	maxNodes = 4000      // of one expression
)

var errCost = errors.New("cancelled: it costs too much")

// want is the type that an expression must give.
type want string

const (
	wantBool want = "bool"
	wantText want = "string"
	wantList want = "list"
)

func article(w want) string {
	if w == wantList {
		return "a list"
	}
	return string(w)
}

// fault is an error at a place of an expression, both counted from 1.
type fault struct {
	line, col int
	msg       string
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	dotted     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*`)
)

// explain says in the words of rules what CEL says in its own, and where the
// name begins that it is about. names are those of facts.
func explain(text string, f fault, msg string, names []string) fault {
	if before, _, ok := strings.Cut(msg, " expecting "); ok && strings.HasPrefix(msg, "Syntax error") {
		msg = before
	}
	f.msg = prose(msg)
	m := undeclared.FindStringSubmatch(msg)
	lines := strings.Split(text, "\n")
	if m == nil || f.line > len(lines) {
		return f
	}
	r := []rune(lines[f.line-1])
	col := min(f.col, len(r)+1)
	if col <= len(r) && r[col-1] == '.' { // of a.b the place is the dot
		for col > 1 && (r[col-2] == '.' || r[col-2] == '_' || unicode.IsLetter(r[col-2]) || unicode.IsDigit(r[col-2])) {
			col--
		}
	}
	name := dotted.FindString(string(r[col-1:]))
	if name != m[1] && !strings.HasPrefix(name, m[1]+".") { // a function
		return f
	}
	f.col = col
	switch {
	case m[1] == "item":
		f.msg = "there is no item in a rule without each"
		return f
	case strings.HasPrefix(name, "params."):
		f.msg = fmt.Sprintf("the rule has no param %q", strings.Split(name, ".")[1])
		return f
	}
	parts := strings.SplitN(name, ".", 3)
	name = strings.Join(parts[:min(2, len(parts))], ".")
	f.msg = fmt.Sprintf("unknown fact %q", name)
	if n := strict.Nearest(name, names); n != "" {
		f.msg += fmt.Sprintf(": did you mean %q?", n)
	}
	return f
}

// onlyOnce returns what a sorted list has once.
func onlyOnce(sorted []string) (out []string) {
	for i, s := range sorted {
		if (i == 0 || sorted[i-1] != s) && (i+1 == len(sorted) || sorted[i+1] != s) {
			out = append(out, s)
		}
	}
	return out
}

// mutant is an expression with one comparison negated.
type mutant struct {
	expr *expr
	at   fault // the place, and which comparison it is
}

// negations are the comparisons and their negations, as CEL names them; "" where
// it has no name for it.
var negations = map[string]string{
	"_==_": "_!=_", "_!=_": "_==_", "_<_": "_>=_", "_>=_": "_<_", "_<=_": "_>_", "_>_": "_<=_", "@in": "",
}
