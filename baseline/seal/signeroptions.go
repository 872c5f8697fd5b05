package seal

import (
	"strings"
	"time"

	"intact/scanner/strict"
)

// The options of a line of signers.
const (
	optAuthority  = "cert-authority"
	optNamespaces = "namespaces"
	optAfter      = "valid-after"
	optBefore     = "valid-before"
)

// options takes the options of a line, sshsigopt_parse of OpenSSH.
func (l *lineParser) options(out *signerLine) {
	seen := map[string]bool{}
	start := l.pos
	for l.pos < len(l.text) && !isBlank(l.text[l.pos]) {
		at := l.pos
		end := l.untilAny(" \t,=\"")
		name := strings.ToLower(l.text[at:end]) // may be of another length
		l.pos = end
		value, valueAt, has := l.value()
		// Options come in any case, and each once. ssh-keygen lets
		// cert-authority come twice, which means nothing.
		if seen[name] {
			l.fail(at, "%s is there twice", strict.Printable(name))
		}
		seen[name] = true
		l.option(out, at, name, value, valueAt, has)
		if l.pos == len(l.text) || isBlank(l.text[l.pos]) {
			break
		}
		if l.text[l.pos] != ',' {
			l.fail(l.pos, "want a comma or a blank behind an option")
			l.word()
			return
		}
		if l.pos++; l.pos == len(l.text) || isBlank(l.text[l.pos]) {
			l.fail(l.pos-1, "no option behind the comma")
		}
	}
	if out.after != 0 && out.before != 0 && out.before <= out.after {
		l.fail(start, "valid-before is not later than valid-after")
	}
}

// untilAny returns the index of the next of chars, or of the end.
func (l *lineParser) untilAny(chars string) int {
	if i := strings.IndexAny(l.text[l.pos:], chars); i >= 0 {
		return l.pos + i
	}
	return len(l.text)
}

// value takes "=" and a quoted value; \" inside of it is a quote.
func (l *lineParser) value() (v string, at int, ok bool) {
	if l.pos == len(l.text) || l.text[l.pos] != '=' {
		return "", l.pos, false
	}
	l.pos++
	at = l.pos
	if l.pos == len(l.text) || l.text[l.pos] != '"' {
		l.fail(at, "want the value in double quotes")
		l.pos = l.untilAny(" \t,")
		return "", at, false
	}
	var b strings.Builder
	for l.pos++; l.pos < len(l.text); l.pos++ {
		switch c := l.text[l.pos]; {
		case c == '"':
			l.pos++
			return b.String(), at + 1, true
		case c == '\\' && strings.HasPrefix(l.text[l.pos+1:], `"`):
			l.pos++
			b.WriteByte('"')
		default:
			b.WriteByte(c)
		}
	}
	l.fail(at, "a quote that is not closed")
	return "", at, false
}

// option sets one option; has says whether it came with a value.
func (l *lineParser) option(out *signerLine, at int, name, value string, valueAt int, has bool) {
	switch name {
	case optAuthority:
		if has {
			l.fail(at, "%s takes no value", name)
		}
		out.ca = true
		return
	case optNamespaces, optAfter, optBefore:
		if !has {
			if !l.bad {
				l.fail(at, `want %s="…"`, name)
			}
			return
		}
	default:
		words := []string{optAuthority, optNamespaces, optAfter, optBefore}
		hint := "want one of " + strings.Join(words, ", ")
		if n := strict.Nearest(name, words); n != "" {
			hint = "did you mean " + n + "?"
		}
		l.fail(at, "%+q is neither an option nor a type of keys: %s", name, hint)
		return
	}
	switch name {
	case optNamespaces:
		out.namespaces = l.patterns(valueAt, value)
	case optAfter:
		out.after = l.time(valueAt, value)
	case optBefore:
		out.before = l.time(valueAt, value)
	}
}

// time reads a time as parse_absolute_time of OpenSSH does, in seconds since
// 1970.
func (l *lineParser) time(at int, text string) int64 {
	zone, digits := time.Local, text
	for _, utc := range []string{"Z", "UTC"} {
		if n := len(text) - len(utc); n > 0 && strings.EqualFold(text[n:], utc) {
			zone, digits = time.UTC, text[:n]
		}
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if ok && strings.Trim(digits, "0123456789") == "" {
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil && t.Unix() > 0 {
			return t.Unix()
		}
	}
	l.fail(at, "%+q is not a time: want YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z behind it for UTC", text)
	return 0
}
