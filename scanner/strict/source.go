package strict

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Source is Text for a text in another language, such as an expression, whose
// reader tells errors by their place in it: ErrorAt finds that place in the
// file. Texts that YAML folds out of several lines have no such places and are
// refused.
func (n *Node) Source() string {
	s := n.Text()
	if n.IsText() && n.folded() {
		n.Errorf("a text that is folded out of several lines: write it on one line, or as a block behind |")
		return ""
	}
	return s
}

// ErrorAt records an error at a place in the text of n, which Source has
// returned. line and col count from 1, col in characters.
func (n *Node) ErrorAt(line, col int, format string, args ...any) {
	if n == nil {
		return
	}
	l, c := n.Where(line, col)
	n.log.add(l, c, format, args...)
}

// Time returns a moment written as RFC 3339 has it, in UTC.
func (n *Node) Time() time.Time {
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, n.value)
	if n.Kind != Scalar || n.bad || err != nil {
		n.want("a time such as 2006-01-02T15:04:05Z")
		return time.Time{}
	}
	return t.UTC()
}

// folded reports a text of several lines that YAML made one of.
func (n *Node) folded() bool {
	switch n.form {
	case foldedBlock:
		return true
	case literalBlock:
		return false
	case plainForm:
		return !strings.HasPrefix(n.rest(), n.value)
	}
	_, closed := n.quotedColumns()
	return !closed
}

// rest is the line of n from its first character on.
func (n *Node) rest() string {
	if n.Line < 1 || n.Line > len(n.log.lines) {
		return ""
	}
	s := string(n.log.lines[n.Line-1])
	for range n.Col - 1 {
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
	}
	return strings.TrimSuffix(s, "\r")
}

// Where returns where in the file the character stands that has the place line,
// col in the text of n.
func (n *Node) Where(line, col int) (int, int) {
	line, col = max(line, 1), max(col, 1)
	switch n.form {
	case plainForm:
		return n.Line, n.Col + col - 1
	case singleQuoted, doubleQuoted:
		columns, _ := n.quotedColumns()
		lines := strings.Split(n.value, "\n")
		for _, above := range lines[:min(line, len(lines))-1] {
			col += utf8.RuneCountInString(above) + 1 // written as an escape
		}
		return n.Line, columns[min(col, len(columns))-1]
	}
	texts := strings.Split(strings.TrimRight(n.value, "\n"), "\n")
	if line > len(texts) { // an error at the end of the text
		line = len(texts)
		col = utf8.RuneCountInString(texts[line-1]) + 1
	}
	at := n.Line + line
	if at > len(n.log.lines) {
		return n.Line, n.Col
	}
	written := utf8.RuneCountInString(strings.TrimSuffix(string(n.log.lines[at-1]), "\r"))
	indent := max(written-utf8.RuneCountInString(texts[line-1]), 0)
	return at, indent + col
}

// escapeLengths are the digits behind \x, \u and \U.
var escapeLengths = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// quotedColumns returns for each character of a quoted scalar the column in
// which it begins, and that of the closing quote; false where the line ends
// before the quote does.
func (n *Node) quotedColumns() (columns []int, closed bool) {
	s, col := n.rest(), n.Col
	step := func(runes int) {
		for range runes {
			_, size := utf8.DecodeRuneInString(s)
			s = s[size:]
			col++
		}
	}
	quote := byte('\'')
	if n.form == doubleQuoted {
		quote = '"'
	}
	step(1)
	for s != "" {
		columns = append(columns, col)
		switch {
		case quote == '\'' && strings.HasPrefix(s, "''"):
			step(2)
		case s[0] == quote:
			return columns, true
		case quote == '"' && s[0] == '\\' && len(s) > 1:
			step(2 + escapeLengths[s[1]])
		default:
			step(1)
		}
	}
	return append(columns, col), false
}
