package pam

import (
	"fmt"
	"strings"
)

// raw is one line of a file.
type raw struct {
	at     string
	typ    string // "" of @include
	silent bool
	ctrl   string // include, substack, @include, a word, or [value=action …]
	module string
	args   []string
	bad    string // why libpam cannot read it
}

// parse takes a file of a service apart, as libpam does: a # ends a line, a
// backslash before the newline continues it.
func parse(file string, b []byte) []raw {
	out := []raw{}
	var held string
	n, start := 0, 0
	for l := range strings.Lines(string(b)) {
		n++
		l = strings.TrimRight(l, "\n")
		if held == "" {
			start = n
		}
		if i := strings.IndexByte(l, '#'); i >= 0 {
			l = l[:i]
		} else if s, more := strings.CutSuffix(l, `\`); more {
			held += s + " "
			continue
		}
		text := held + l
		held = ""
		if w, ok := parseLine(text); ok {
			w.at = fmt.Sprintf("%s:%d", file, start)
			out = append(out, w)
		}
	}
	if w, ok := parseLine(held); ok {
		w.at = fmt.Sprintf("%s:%d", file, start)
		out = append(out, w)
	}
	return out
}

func parseLine(text string) (w raw, ok bool) {
	if len(text) > maxFile/16 {
		return raw{bad: "too long"}, true
	}
	f := words(text)
	if len(f) == 0 {
		return w, false
	}
	if f[0] == "@include" {
		if len(f) != 2 {
			return raw{bad: "@include names no file"}, true
		}
		return raw{ctrl: "@include", module: f[1]}, true
	}
	w.typ, w.silent = strings.CutPrefix(strings.ToLower(f[0]), "-")
	known := false
	for _, t := range types {
		known = known || t == w.typ
	}
	switch {
	case !known:
		w.bad = fmt.Sprintf("%q is no type", f[0])
		return w, true
	case len(f) < 3:
		w.bad = "a control or a module is missing"
		return w, true
	}
	w.ctrl, w.module, w.args = f[1], f[2], f[3:]
	if !strings.HasPrefix(w.ctrl, "[") {
		w.ctrl = strings.ToLower(w.ctrl)
	}
	return w, true
}

// words splits a line; what stands in brackets is one word, "\]" is a bracket
// inside. An argument loses its brackets, a control keeps them.
func words(s string) (out []string) {
	for {
		s = strings.TrimLeft(s, " \t\r\v\f")
		if s == "" {
			return out
		}
		if s[0] != '[' {
			i := strings.IndexAny(s, " \t\r\v\f")
			if i < 0 {
				return append(out, s)
			}
			out, s = append(out, s[:i]), s[i:]
			continue
		}
		var b strings.Builder
		i := 1
		for ; i < len(s) && s[i] != ']'; i++ {
			if s[i] == '\\' && i+1 < len(s) && s[i+1] == ']' {
				i++
			}
			b.WriteByte(s[i])
		}
		word := b.String()
		if len(out) == 1 { // the control
			word = "[" + word + "]"
		}
		out = append(out, word)
		s = s[min(i+1, len(s)):]
	}
}
