package strict

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Everything forbidden, and everything wrong at once, with its place.
func TestForbidden(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"duplicate key", "a: 1\nb: 2\na: 3\n", `f:3:1: key "a" stands twice, first on line 1`},
		{"nested duplicate", "x: {a: 1, 'a': 2}\n", `f:1:11: key "a" stands twice, first on line 1`},
		{"anchor and alias", "a: &x 1\nb: *x\n", "f:1:4: anchors are not allowed\nf:2:4: aliases are not allowed"},
		{"alias as key", "a: &x b\n*x : 1\n", "f:1:4: anchors are not allowed\nf:2:1: aliases are not allowed"},
		{"merge key", "a: {b: 1}\n<<: {c: 1}\n", "f:2:1: merge keys are not allowed"},
		{"tag", "a: !!str 1\n", "f:1:4: tags are not allowed"},
		{"own tag", "a: !x 1\n", "f:1:4: tags are not allowed"},
		{"bare tag", "é: ! 1\n", "f:1:4: tags are not allowed"},
		{"tagged map", "a: !!map {}\n", "f:1:4: tags are not allowed"},
		{"binary", "a: !!binary aGk=\n", "f:1:4: tags are not allowed"},
		{"second document", "a: 1\n---\nb: 1\n", "f:2:1: a second document in one file"},
		{"number as key", "1: a\n", `f:1:1: want a word as key, found the number "1"`},
		{"list as key", "? [a]\n: b\n", "f:1:3: want a word as key, found a list"},
		{"invalid UTF-8", "a: b\nc: é\xff\n", "f:2:5: invalid UTF-8; write a path that is not UTF-8 as path_b64"},
		{"UTF-16", "\xff\xfea\x00", "f:1:1: invalid UTF-8; write a path that is not UTF-8 as path_b64"},
		{"lone CR", "a: 1 # x\rb: 2\n", "f:1:9: a line break other than a newline"},
		{"line separator", "a: 1 # x\u2028b: 2\n", "f:1:9: a line break other than a newline"},
		{"NEL", "a: 1\n# x\u0085b: 2\n", "f:2:4: a line break other than a newline"},
		{"control byte", "a: \x1b[31m\n", `f:1:1: control characters are not allowed`},
		{"broken", "a: [1\nb: 2\n", `f:1:1: did not find expected ',' or ']'`},
		{"unclosed quote", "a: \"b\n", `f:2:1: found unexpected end of stream`},
		{"tab", "a:\n\tb: 1\n", `f:2:1: found character that cannot start any token`},
		{"deep", strings.Repeat("[", 40) + strings.Repeat("]", 40), "f:1:33: nested deeper than 32 levels"},
		{"unknown anchor", "a: *b\n", `f:1:1: unknown anchor 'b' referenced`},
		{"big", strings.Repeat("#", MaxSize+1), "f:1:1: 1048577 bytes, more than the limit of 1048576"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := Parse("f", []byte(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if n != nil && n.Err() == nil {
				t.Error("the node forgot")
			}
		})
	}
	many := "a: {" + strings.Repeat("b: &x 1, ", 500) + "}"
	_, err := Parse("f", []byte(many))
	if es, ok := errors.AsType[Errors](err); !ok || len(es) > maxErrors+1 || !strings.Contains(es[len(es)-1].Msg, "more errors") {
		t.Errorf("%d errors", len(es))
	}
}

func TestGetters(t *testing.T) {
	const text = `s: text
q: "1"
n: 42
b: true
d: 90s
days: 30d
date: 2026-12-31
list: [a, "b"]
map: {x: 1}
word: high
`
	root, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case root.Get("s").Text() != "text", root.Get("q").Text() != "1":
		t.Error("Text")
	case root.Get("n").Int(0, 100) != 42, !root.Get("b").Bool():
		t.Error("Int, Bool")
	case root.Get("d").Duration() != 90*time.Second, root.Get("days").Duration() != 30*24*time.Hour:
		t.Error("Duration")
	case !root.Get("date").Date().Equal(time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)):
		t.Error("Date")
	case strings.Join(root.Get("list").Texts(), "+") != "a+b", root.Get("word").Word("low", "high") != "high":
		t.Error("Texts, Word")
	case root.Get("map").Get("x").Int(1, 1) != 1, len(root.Keys()) != 10, root.Keys()[2].Text() != "n":
		t.Error("maps")
	case root.Get("none").Text() != "", root.Get("none").Get("x").Bool(), root.Get("none").Items() != nil, root.Has("none"):
		t.Error("absent")
	}
	if err := root.Err(); err != nil {
		t.Error(err)
	}
	root.Unknown()
	root.Get("map").Unknown()
	if err := root.Err(); err != nil {
		t.Error(err)
	}
}

func TestWrongTypes(t *testing.T) {
	const text = `t: 1
e:
i: 0x10
o: 010
big: 11
b: True
d: -1s
dd: 9999999999999d
date: 2026-13-01
list: {}
map: []
typo: x
w: hgih
`
	root, _ := Parse("f", []byte(text))
	root.Get("t").Text()
	root.Get("e").Text()
	root.Get("i").Int(0, 99)
	root.Get("o").Int(0, 99)
	root.Get("big").Int(0, 10)
	root.Get("b").Bool()
	root.Get("d").Duration()
	root.Get("dd").Duration()
	root.Get("date").Date()
	root.Get("list").Texts()
	root.Get("map").IsMap()
	root.Get("w").Word("low", "high")
	root.Need("needed")
	root.Unknown("type")
	const want = `f:1:1: key "needed" is missing
f:1:4: want text, found the number "1"; put it in quotes if text is meant
f:2:3: want text, found nothing
f:3:4: want a decimal number, found the number "0x10"
f:4:4: want a decimal number, found the number "010"
f:5:6: 11 is not between 0 and 10
f:6:4: want true or false, found the truth value "True"
f:7:4: "-1s" is not a duration such as 90s, 10m or 30d
f:8:5: "9999999999999d" is not a duration such as 90s, 10m or 30d
f:9:7: want a date such as 2006-01-02, found the text "2026-13-01"
f:10:7: want a list, found a mapping
f:11:6: want a mapping, found a list
f:12:1: unknown key "typo": did you mean "type"?
f:13:4: unknown word "hgih": did you mean "high"?`
	if err := root.Err(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"paths", "exclude", "no"}
	for w, want := range map[string]string{"pahts": "paths", "Path": "paths", "excludes": "exclude", "xyz": "", "x": "", "on": "no", "": ""} {
		if got := Nearest(w, words); got != want {
			t.Errorf("%q: got %q, want %q", w, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{"a b": "a b", "": `""`, "a\n": `"a\n"`, "é": `"\u00e9"`, "\u202e": `"\u202e"`, "\xff": `"\xff"`, `a"b`: `"a\"b"`} {
		if got := Printable(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: [b, {c: 1}]\n# x\nd: 'e'\n"))
	f.Add([]byte("a: &x !t [*x]\n<<: {}\n--- |\n x\n"))
	f.Add([]byte("a: 1\r\nb: !x\r\n"))
	f.Add([]byte("? a\n: - b\n  -\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := Parse("f", text)
		if n == nil {
			if err == nil {
				t.Fatal("neither node nor error")
			}
			return
		}
		visit(n)
		err = n.Err()
		if err == nil {
			return
		}
		es, ok := errors.AsType[Errors](err)
		if !ok {
			t.Fatalf("%T", err)
		}
		for _, e := range es {
			if e.Line < 1 || e.Col < 1 || e.Line > strings.Count(string(text), "\n")+2 {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// visit asks every node for everything.
func visit(n *Node) {
	n.Text()
	n.Int(0, 1)
	n.Bool()
	n.Duration()
	n.Date()
	n.Word("a")
	n.Time()
	if s := n.Source(); s != "" {
		n.ErrorAt(1, 1, "x")
		n.ErrorAt(strings.Count(s, "\n")+2, len(s)+2, "x")
	}
	for _, i := range n.Items() {
		visit(i)
	}
	for _, k := range n.Keys() {
		visit(n.Get(k.Text()))
	}
	n.Unknown()
}
