package report

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// hiddenRanges are the runes that steer a terminal, change the order or
// direction of what follows, or cannot be seen. The table is fixed here, not
// taken from the unicode package, because the canonical bytes of a report must
// not depend on the Unicode version of a Go release.
var hiddenRanges = [...][2]rune{
	{0x00, 0x1f}, {0x7f, 0xa0}, {0xad, 0xad}, {0x34f, 0x34f}, {0x61c, 0x61c},
	{0x115f, 0x1160}, {0x1680, 0x1680}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
	{0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x2800, 0x2800},
	{0x3000, 0x3000}, {0x3164, 0x3164}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff},
	{0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0x13430, 0x1343f},
	{0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
}

func hidden(r rune) bool {
	if r >= ' ' && r < 0x7f {
		return false
	}
	i := sort.Search(len(hiddenRanges), func(i int) bool { return hiddenRanges[i][1] >= r })
	return i < len(hiddenRanges) && hiddenRanges[i][0] <= r
}

// Escape makes s safe to show on a terminal, in a page or in a mail header:
// control characters, direction and zero-width characters, unusual spaces and
// invalid UTF-8 come as \n, \xNN, \uNNNN or \UNNNNNNNN and a backslash is
// doubled, so that no two strings look the same. A string that is empty, begins
// or ends with a space, or begins with a double quote comes in double quotes.
func Escape(s string) string {
	if s != "" && s[0] != ' ' && s[0] != '"' && s[len(s)-1] != ' ' {
		return escape(s, true)
	}
	return `"` + strings.ReplaceAll(escape(s, true), `"`, `\"`) + `"`
}

// Prose makes a sentence of our own, which may quote names, safe to show. It
// escapes as Escape does but leaves backslashes and quotes alone.
func Prose(s string) string { return escape(s, false) }

func escape(s string, backslash bool) string {
	if !needsEscape(s, backslash) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\' && backslash:
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case !hidden(r):
			b.WriteString(s[i : i+n])
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

func needsEscape(s string, backslash bool) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f {
			if c == '\\' && backslash {
				return true
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || hidden(r) {
			return true
		}
		i += n
	}
	return false
}

// ShellQuote returns s as one word for a POSIX shell, unchanged where nothing
// in it is special. What cannot be shown as it is comes in the $'…' form of
// bash, zsh, ksh and POSIX 2024, byte by byte, so that the locale plays no part.
func ShellQuote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !shellSafe(r) }) < 0 {
		return s
	}
	if !needsEscape(s, false) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteByte(s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == utf8.RuneError && n == 1 || hidden(r):
			// A three-digit octal escape ends by itself in every shell; a
			// hexadecimal one would run on in some.
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String() + "'"
}

func shellSafe(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("_@%+=:,./-", r)
}
