package posture

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a rule makes out of facts.
const (
	maxMessage  = 1000     // characters
	maxName     = 4096     // bytes of a subject's name
	maxEvidence = 16 << 10 // bytes that are kept; the digest is of all
)

// prose makes a text that quotes facts fit for people: what is not visible is
// written as an escape, and what is too long ends early.
func prose(s string) string {
	var b strings.Builder
	n := 0
	for len(s) > 0 {
		if n++; n > maxMessage {
			b.WriteString("…")
			break
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[size:]
	}
	return b.String()
}

// clip shortens s to n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}

// pattern is a glob over the whole of a text: * is any run of bytes, ? one
// byte, [a-z] and [!a-z] one of a class, and a backslash takes the next byte
// as it is.
type pattern string

// exact reports whether the pattern matches one text only, and which.
func (p pattern) exact() (string, bool) {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '*', '?', '[':
			return "", false
		case '\\':
			if i++; i == len(p) {
				return "", false
			}
		}
		b.WriteByte(p[i])
	}
	return b.String(), true
}

// Match reports whether a pattern matches the whole of a text, any bytes: in the
// language of the subjects of waivers.
func Match(glob, text string) bool { return pattern(glob).match(text) }

// Literal is the pattern that matches text alone.
func Literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(text)
}

// BadGlob says what is wrong with a pattern of Match, "" if nothing.
func BadGlob(glob string) string {
	if glob == "" {
		return "it is empty"
	}
	return pattern(glob).valid()
}

// valid says what is wrong with the pattern, "" if nothing.
func (p pattern) valid() string {
	for i := 0; i < len(p); {
		_, n := p[i:].one(0)
		if n == 0 {
			return "an open [ or a backslash at the end"
		}
		i += n
	}
	return ""
}

// match runs in time proportional to the product of the lengths: only the last
// * is ever tried again.
func (p pattern) match(s string) bool {
	star, from := -1, 0
	i, j := 0, 0
	for j < len(s) {
		if i < len(p) && p[i] == '*' {
			star, from = i+1, j
			i++
			continue
		}
		if i < len(p) {
			if ok, n := p[i:].one(s[j]); ok && n > 0 {
				i, j = i+n, j+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		i, j = star, from
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// one matches the first item of the pattern, which is no *, against a byte.
// n is the item's length, 0 where it has no end.
func (p pattern) one(c byte) (ok bool, n int) {
	switch p[0] {
	case '?', '*':
		return true, 1
	case '\\':
		if len(p) < 2 {
			return false, 0
		}
		return p[1] == c, 2
	case '[':
		return p.class(c)
	}
	return p[0] == c, 1
}

func (p pattern) class(c byte) (ok bool, n int) {
	i, not := 1, false
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		not, i = true, i+1
	}
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			return ok != not, i + 1
		}
		low := p[i]
		high := low
		i++
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			high, i = p[i+1], i+2
		}
		ok = ok || low <= c && c <= high
	}
	return false, 0
}

// versionLess orders versions by their numbers: 9.2 before 9.10, and 9.8 before
// 9.8p1. For versions of packages the package's own order counts: facts have it.
func versionLess(a, b string) bool {
	for {
		na, ra, oka := firstNumber(a)
		nb, rb, okb := firstNumber(b)
		switch {
		case !oka || !okb:
			return !oka && okb
		case na != nb:
			return len(na) < len(nb) || len(na) == len(nb) && na < nb
		}
		a, b = ra, rb
	}
}

// firstNumber cuts the first run of digits out of s, without leading zeros.
func firstNumber(s string) (digits, rest string, ok bool) {
	const all = "0123456789"
	i := strings.IndexAny(s, all)
	if i < 0 {
		return "", "", false
	}
	s = s[i:]
	n := len(s) - len(strings.TrimLeft(s, all))
	return strings.TrimLeft(s[:n], "0"), s[n:], true
}

// under reports whether path is dir or lies below it, by whole components.
func under(path, dir string) bool {
	dir = strings.TrimRight(dir, "/")
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}
