package strict

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the form of a node.
type Kind uint8

// The kinds.
const (
	Scalar Kind = iota
	List
	Map
)

// Node is one value of a file. A nil *Node stands for a key that is absent:
// its getters return zero values and record nothing. The nodes of one file
// share their errors and are not safe for concurrent use.
type Node struct {
	Kind      Kind
	Line, Col int // from 1; Col counts characters

	log    *log
	tag    string // of a scalar: !!str, !!int, …
	value  string
	plain  bool // written without quotes
	form   form
	bad    bool // already refused
	items  []*Node
	fields []field
	used   map[string]bool
}

type field struct{ key, value *Node }

// form is how a scalar is written.
type form uint8

const (
	plainForm form = iota
	singleQuoted
	doubleQuoted
	literalBlock // behind "|"
	foldedBlock  // behind ">"
)

// File returns the name given to Parse.
func (n *Node) File() string {
	if n == nil {
		return ""
	}
	return n.log.file
}

// Errorf records an error at the node.
func (n *Node) Errorf(format string, args ...any) {
	if n != nil {
		n.log.add(n.Line, n.Col, format, args...)
	}
}

// Err returns all that was recorded so far for the file as Errors, in the
// order of the text, or nil.
func (n *Node) Err() error {
	if n == nil {
		return nil
	}
	return n.log.err()
}

// Get returns the value of a key and notes that somebody knows the key. It
// returns nil where the key is absent or n is no map; Fields records that.
func (n *Node) Get(key string) *Node {
	if n == nil || n.Kind != Map || n.bad {
		return nil
	}
	n.used[key] = true
	for _, f := range n.fields {
		if f.key.value == key {
			return f.value
		}
	}
	return nil
}

// Has reports whether the map n has the key, without noting it as known.
func (n *Node) Has(key string) bool {
	if n == nil {
		return false
	}
	return slices.ContainsFunc(n.fields, func(f field) bool { return f.key.value == key })
}

// Need is Get for a key that must be there: its absence is recorded.
func (n *Node) Need(key string) *Node {
	v := n.Get(key)
	if v == nil && n != nil && n.Kind == Map && !n.bad {
		n.Errorf("key %q is missing", key)
	}
	return v
}

// IsMap reports whether n is a map and records an error where it is not.
func (n *Node) IsMap() bool {
	if n == nil || n.Kind == Map && !n.bad {
		return n != nil
	}
	n.want("a mapping")
	return false
}

// Keys returns the keys of a map in the order of the text, as nodes whose Text
// is the key. It records an error where n is no map. Keys does not note the
// keys as known: Get does.
func (n *Node) Keys() []*Node {
	if !n.IsMap() {
		return nil
	}
	keys := make([]*Node, len(n.fields))
	for i, f := range n.fields {
		keys[i] = f.key
	}
	return keys
}

// Unknown records an error for each key of the map n that nobody asked for
// with Get. also are further words to suggest for a slip of the pen.
func (n *Node) Unknown(also ...string) {
	if n == nil || n.Kind != Map || n.bad {
		return
	}
	words := slices.Clone(also)
	for k := range n.used {
		words = append(words, k)
	}
	slices.Sort(words)
	words = slices.Compact(words)
	for _, f := range n.fields {
		if !n.used[f.key.value] {
			f.key.Errorf("unknown key %s: %s", quote(f.key.value), meant(f.key.value, words))
		}
	}
}

// Items returns the elements of a list; it records an error where n is none.
func (n *Node) Items() []*Node {
	if n == nil {
		return nil
	}
	if n.Kind != List || n.bad {
		n.want("a list")
		return nil
	}
	return n.items
}

// IsText reports whether Text gives what was written; it records nothing.
func (n *Node) IsText() bool {
	return n != nil && n.Kind == Scalar && !n.bad && n.tag == "!!str"
}

// IsNumber reports whether n is written as a whole number; it records nothing.
func (n *Node) IsNumber() bool {
	return n != nil && n.Kind == Scalar && !n.bad && n.plain && decimal(n.value)
}

// Text returns a text: a quoted scalar, or a plain one that YAML reads as
// text. A number or true written where text is wanted is an error.
func (n *Node) Text() string {
	if n == nil {
		return ""
	}
	if !n.IsText() {
		n.want("text")
		return ""
	}
	return n.value
}

// Texts returns a list of texts.
func (n *Node) Texts() []string {
	var s []string
	for _, i := range n.Items() {
		s = append(s, i.Text())
	}
	return s
}

// Word returns a text that is one of words; anything else is recorded, with
// the most similar word, and "" returned.
func (n *Node) Word(words ...string) string {
	if n == nil {
		return ""
	}
	if !n.IsText() {
		n.want("one of " + strings.Join(words, ", "))
		return ""
	}
	if !slices.Contains(words, n.value) {
		n.Errorf("unknown word %s: %s", quote(n.value), meant(n.value, words))
		return ""
	}
	return n.value
}

// Bool returns true or false; the other spellings of YAML are refused.
func (n *Node) Bool() bool {
	if n == nil {
		return false
	}
	if n.Kind != Scalar || n.bad || !n.plain || n.value != "true" && n.value != "false" {
		n.want("true or false")
		return false
	}
	return n.value == "true"
}

// Int returns a decimal number between low and high.
func (n *Node) Int(low, high int64) int64 {
	if n == nil {
		return 0
	}
	if n.Kind != Scalar || n.bad || !n.plain || !decimal(n.value) {
		n.want("a decimal number")
		return 0
	}
	v, err := strconv.ParseInt(n.value, 10, 64)
	if err != nil || v < low || v > high {
		n.Errorf("%s is not between %d and %d", n.value, low, high)
		return 0
	}
	return v
}

// decimal accepts what reads the same to everybody: no octal, no underscores.
func decimal(s string) bool {
	s = strings.TrimPrefix(s, "-")
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// Duration returns a length of time that is not negative: Go's notation, such
// as 90s or 1h30m, or whole days, such as 30d.
func (n *Node) Duration() time.Duration {
	if n == nil {
		return 0
	}
	if !n.IsText() {
		n.want("a duration such as 90s, 10m or 30d")
		return 0
	}
	const day = 24 * time.Hour
	if s, ok := strings.CutSuffix(n.value, "d"); ok && decimal(s) {
		v, err := strconv.ParseInt(s, 10, 64)
		if err == nil && v >= 0 && v <= math.MaxInt64/int64(day) {
			return time.Duration(v) * day
		}
	} else if d, err := time.ParseDuration(n.value); err == nil && d >= 0 {
		return d
	}
	n.Errorf("%s is not a duration such as 90s, 10m or 30d", quote(n.value))
	return 0
}

// Date returns midnight UTC of a day written 2006-01-02.
func (n *Node) Date() time.Time {
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, n.value)
	if n.Kind != Scalar || n.bad || err != nil {
		n.want("a date such as 2006-01-02")
		return time.Time{}
	}
	return t
}

// want records that n is not what was wanted.
func (n *Node) want(what string) {
	if n.bad {
		return
	}
	hint := ""
	if what == "text" && n.Kind == Scalar && n.value != "" {
		hint = "; put it in quotes if text is meant"
	}
	n.Errorf("want %s, found %s%s", what, n.found(), hint)
}

func (n *Node) found() string {
	switch n.Kind {
	case Map:
		return "a mapping"
	case List:
		return "a list"
	}
	switch n.tag {
	case "!!null":
		return "nothing"
	case "!!str":
		return "the text " + quote(n.value)
	case "!!bool":
		return "the truth value " + quote(n.value)
	case "!!int", "!!float":
		return "the number " + quote(n.value)
	case "!!timestamp":
		return "the date " + quote(n.value)
	}
	return quote(n.value)
}

// quote shows a value of the file in a message, shortened.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%+q…", s[:most])
	}
	return fmt.Sprintf("%+q", s)
}
