package strict

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The mark of each text, where the reader of its language found an error, is
// found again in the file.
func TestErrorAt(t *testing.T) {
	for name, text := range map[string]string{
		"plain":               "a: x ++ §y\n",
		"plain behind é":      "é: {b: x §y}\n",
		"single quoted":       "a: 'x \"é\" §y'\n",
		"doubled quotes":      "a: 'it''s '' §y'\n",
		"double quoted":       "a: \"x \\\"é\\\" §y\"\n",
		"escapes":             "a: \"\\x41\\u00e9\\U0001f600\\n\\\\\\t §y\" # \"\n",
		"in a list":           "a: [b, \"c\\\"d\", 'e §y']\n",
		"literal":             "a: |\n  x &&\n    é §y\n",
		"literal, stripped":   "- a:\n    - |-\n      é\n\n      x §y\n",
		"literal, indented":   "a: |2\n    x\n   §y\n",
		"literal, blank head": "a: |\n\n  x\n  §y\n",
		"literal, comment":    "a: | # why\n  x §y\nb: 1\n",
		"literal, CRLF":       "a: |\r\n  x\r\n  é §y\r\n",
		"literal, last":       "a: |\n  x §y",
	} {
		t.Run(name, func(t *testing.T) {
			root, err := Parse("f", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			n := leafWith(root, "§")
			if n == nil {
				t.Fatal("no such text")
			}
			source := n.Source()
			before, _, _ := strings.Cut(source, "§")
			line := strings.Count(before, "\n") + 1
			col := utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1
			n.ErrorAt(line, col, "here")
			before, _, _ = strings.Cut(text, "§")
			if strings.Contains(name, "escapes") || strings.Contains(name, "list") {
				before = text[:strings.Index(text, "§")]
			}
			want := fmt.Sprintf("f:%d:%d: here", strings.Count(before, "\n")+1, utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:])+1)
			if err := root.Err(); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func leafWith(n *Node, mark string) *Node {
	switch n.Kind {
	case Map:
		for _, f := range n.fields {
			if l := leafWith(f.value, mark); l != nil {
				return l
			}
		}
	case List:
		for _, i := range n.items {
			if l := leafWith(i, mark); l != nil {
				return l
			}
		}
	case Scalar:
		if strings.Contains(n.value, mark) {
			return n
		}
	}
	return nil
}

// An error behind the last character is told at the end of the text.
func TestErrorAtTheEnd(t *testing.T) {
	for text, want := range map[string]string{
		"a: x +\n":          "f:1:7: end",
		"a: 'x +'\n":        "f:1:8: end",
		"a: |\n  x +\nb: c": "f:2:6: end",
	} {
		root, _ := Parse("f", []byte(text))
		n := root.Get("a")
		if n.Kind == Scalar && n.form == literalBlock {
			n.ErrorAt(2, 1, "end")
		} else {
			n.ErrorAt(1, 4, "end")
		}
		if err := root.Err(); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestFoldedIsRefused(t *testing.T) {
	for _, text := range []string{"a: >\n  x\n  y\n", "a: x\n  y\n", "a: 'x\n  y'\n", "a: \"x\n  y\"\n", "a: \"x\\\n  y\"\n"} {
		root, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if s := root.Get("a").Source(); s != "" || root.Err() == nil || !strings.HasPrefix(root.Err().Error(), "f:1:4: a text that is folded") {
			t.Errorf("%q: %q, %v", text, s, root.Err())
		}
	}
}

func TestTime(t *testing.T) {
	root, _ := Parse("f", []byte("a: 2026-01-02T03:04:05Z\nb: '2026-01-02T03:04:05.5+01:00'\nc: 2026-01-02\n"))
	if got := root.Get("a").Time(); !got.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Error(got)
	}
	if got := root.Get("b").Time(); !got.Equal(time.Date(2026, 1, 2, 2, 4, 5, 5e8, time.UTC)) || got.Location() != time.UTC {
		t.Error(got)
	}
	if root.Get("c").Time(); root.Err() == nil {
		t.Error("a date is no time")
	}
}
