package report

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendQuoted appends a valid UTF-8 string as JSON, with every hidden
// character as \uNNNN.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for len(s) > 0 {
		n := plainLen(s)
		b, s = append(b, s[:n]...), s[n:]
		if s == "" {
			break
		}
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\t':
			b = append(b, '\\', 't')
		case r == '\r':
			b = append(b, '\\', 'r')
		case !hidden(r):
			b = utf8.AppendRune(b, r)
		case r < 0x10000:
			b = appendUnit(b, r)
		default:
			b = appendUnit(b, 0xd800+(r-0x10000)>>10)
			b = appendUnit(b, 0xdc00+(r-0x10000)&0x3ff)
		}
	}
	return append(b, '"')
}

func appendUnit(b []byte, u rune) []byte {
	return append(b, '\\', 'u', hexDigits[u>>12&15], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
}

// plainLen returns how many characters of s, from its beginning, a string
// literal holds as they are and in one byte each.
func plainLen(s string) int {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return i
		}
	}
	return len(s)
}

// unquote reads a string and demands the spelling that appendQuoted gives it.
func (c *coder) unquote() string {
	if c.err != nil {
		return ""
	}
	if c.in != "" && c.in[0] == '"' {
		if n := 1 + plainLen(c.in[1:]); n < len(c.in) && c.in[n] == '"' {
			s := c.in[1:n]
			c.in = c.in[n+1:]
			return s
		}
	}
	end := stringEnd(c.in)
	if end == 0 {
		c.fail("want a string, have %.40q", c.in)
		return ""
	}
	lit := c.in[:end]
	c.in = c.in[end:]
	if strings.IndexByte(lit, '\\') < 0 && utf8.ValidString(lit) && !needsEscape(lit, false) {
		return lit[1 : end-1]
	}
	out := make([]byte, 0, end)
	for rest := lit[1 : end-1]; len(rest) > 0; {
		r, n := unescape(rest)
		if n == 0 {
			c.fail("string %.40q", lit)
			return ""
		}
		out = utf8.AppendRune(out, r)
		rest = rest[n:]
	}
	if string(appendQuoted(nil, string(out))) != lit {
		c.fail("string %.40q", lit)
		return ""
	}
	return string(out)
}

// stringEnd returns the length of the string literal at the start of b, 0 if
// there is none.
func stringEnd(b string) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// unescape decodes one character and its length, 0 if it is malformed.
func unescape(b string) (rune, int) {
	if b[0] != '\\' {
		r, n := utf8.DecodeRuneInString(b)
		if r == utf8.RuneError && n == 1 {
			return 0, 0
		}
		return r, n
	}
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\':
		return rune(b[1]), 2
	case 'n':
		return '\n', 2
	case 't':
		return '\t', 2
	case 'r':
		return '\r', 2
	}
	hi, ok := unit(b)
	if !ok {
		return 0, 0
	}
	if hi < 0xd800 || hi > 0xdfff {
		return hi, 6
	}
	lo, ok := unit(b[6:])
	if !ok || hi > 0xdbff || lo < 0xdc00 || lo > 0xdfff {
		return 0, 0
	}
	return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), 12
}

func unit(b string) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(b[2:6], 16, 32)
	return rune(v), err == nil
}
