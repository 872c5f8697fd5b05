package review

import (
	"strings"
	"unicode"
)

// wide are the runes that take two columns, or may: what is taken for too wide
// is only cut too early.
var wide = [...][2]rune{
	{0x1100, 0x115f}, {0x231a, 0x23ff}, {0x25fd, 0x27bf}, {0x2b1b, 0x2b55}, {0x2e80, 0xa4cf}, {0xa960, 0xa97c},
	{0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe10, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6},
	{0x16fe0, 0x18cff}, {0x1aff0, 0x1b2ff}, {0x1d300, 0x1d37f}, {0x1f000, 0x1faff}, {0x20000, 0x3fffd},
}

// columns returns how many columns r takes on a terminal.
func columns(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	for _, w := range wide {
		if r >= w[0] && r <= w[1] {
			return 2
		}
	}
	return 1
}

func width(s string) (n int) {
	for _, r := range s {
		n += columns(r)
	}
	return n
}

// fitting returns how many bytes of s take at most w columns. No more marks
// than maxMarks stand on one character: without end, they take no columns.
func fitting(s string, w int) int {
	const maxMarks = 8
	marks := 0
	for i, r := range s {
		n := columns(r)
		if marks++; n > 0 {
			marks = 0
		}
		if w -= n; w < 0 || marks > maxMarks {
			return i
		}
	}
	return len(s)
}

// cut shortens s to w columns.
func cut(s string, w int) string {
	n := fitting(s, w)
	if n == len(s) {
		return s
	}
	return s[:fitting(s, max(w-1, 0))] + "…"
}

// shorten cuts s in the middle: the end of a path says most.
func shorten(s string, w int) string {
	if fitting(s, w) == len(s) {
		return s
	}
	head := s[:fitting(s, w/3)]
	rest := w - width(head) - 1
	tail := []rune(s)
	n := 0
	at := len(tail)
	for at > 0 && n+columns(tail[at-1]) <= rest && len(tail)-at < 4*w {
		at--
		n += columns(tail[at])
	}
	return cut(head+"…"+string(tail[at:]), w)
}

// pad fills s up to w columns.
func pad(s string, w int) string { return s + strings.Repeat(" ", max(0, w-width(s))) }

// wrap breaks s into lines of w columns, at spaces where there are some. Those
// behind the first begin with hang spaces.
func wrap(s string, w, hang int) (lines []string) {
	if hang > w/2 {
		hang = 2
	}
	for indent := ""; ; indent = strings.Repeat(" ", hang) {
		room := w - len(indent)
		n := fitting(s, room)
		if n == len(s) {
			return append(lines, indent+s)
		}
		if k := strings.LastIndexByte(s[:n+1], ' '); k > n/2 {
			n = k
		}
		n = max(n, 1)
		lines = append(lines, indent+s[:n])
		s = strings.TrimLeft(s[n:], " ")
	}
}
