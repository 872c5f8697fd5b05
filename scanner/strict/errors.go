package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with a file. Line and Col count from 1; Col counts
// characters. Msg holds no control bytes: what came from the file is quoted.
type Error struct {
	File      string
	Line, Col int
	Msg       string
}

// Error returns "file:line:col: message".
func (e Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", Printable(e.File), e.Line, e.Col, e.Msg)
}

// Errors is everything wrong with a file, in the order of the text.
type Errors []Error

// Error returns one line for each error.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Printable returns s for a message: as it is where it is plain printable
// text, else quoted with escapes.
func Printable(s string) string {
	q := fmt.Sprintf("%+q", s)
	if len(q) == len(s)+2 && s != "" {
		return s
	}
	return q
}

// maxErrors bounds what one file can print.
const maxErrors = 100

// log collects the errors of one file. The nodes of a file share it; it is not
// safe for concurrent use.
type log struct {
	file  string
	lines [][]byte // of the text
	list  Errors
	more  int
}

func (l *log) add(line, col int, format string, args ...any) {
	if len(l.list) >= maxErrors {
		l.more++
		return
	}
	l.list = append(l.list, Error{l.file, line, col, fmt.Sprintf(format, args...)})
}

// err returns Errors, or nil.
func (l *log) err() error {
	if len(l.list) == 0 {
		return nil
	}
	es := slices.Clone(l.list)
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	es = slices.Compact(es)
	if l.more > 0 {
		last := es[len(es)-1]
		es = append(es, Error{l.file, last.Line, last.Col, fmt.Sprintf("%d more errors not shown", l.more)})
	}
	return es
}

// Nearest returns the word of words that w is most likely a slip for, or "".
func Nearest(w string, words []string) string {
	best, limit := "", min(2, len(w)/2)+1
	for _, c := range words {
		if d := distance(strings.ToLower(w), c); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that lead from a to b. Long words are never near.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var older, old []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		older, old, row = old, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			step := 1
			if a[i-1] == b[j-1] {
				step = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+step)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// meant returns a hint for an unknown word, or the list to choose from.
func meant(w string, words []string) string {
	if n := Nearest(w, words); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "want one of " + strings.Join(words, ", ")
}
