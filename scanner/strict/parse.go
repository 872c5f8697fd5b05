// Package strict reads YAML files that people write, refusing everything that
// could mean something else than it seems to: duplicate keys, a second
// document, anchors, aliases, merge keys, explicit tags, invalid UTF-8. It is
// the only owner of the YAML module.
//
// Parse gives a tree of nodes. A reader asks nodes for values of the type it
// wants; what does not fit is recorded, not returned, so that one run shows
// every error of a file. At the end Node.Err returns them all, and
// Node.Unknown has recorded each key that nobody asked for.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of a file.
const (
	MaxSize  = 1 << 20 // bytes
	MaxDepth = 32      // nested maps and lists
)

// Parse reads one document. name stands in error messages.
//
// Where the text is no YAML at all the node is nil. Where it is YAML with
// forbidden features both results are set: err holds them, and so does the
// node's Err later, together with what its readers found.
func Parse(name string, text []byte) (*Node, error) {
	l := &log{file: name}
	if len(text) > MaxSize {
		l.add(1, 1, "%d bytes, more than the limit of %d", len(text), MaxSize)
		return nil, l.err()
	}
	if line, col, what := unreadable(text); what != "" {
		l.add(line, col, "%s", what)
		return nil, l.err()
	}
	root, second, err := decode(text)
	if err != nil {
		line, msg := position(err)
		l.add(line, 1, "%s", msg)
		return nil, l.err()
	}
	if second != nil {
		l.add(second.Line, second.Column, "a second document in one file")
	}
	if root == nil {
		return &Node{Kind: Map, Line: 1, Col: 1, log: l, used: map[string]bool{}}, l.err()
	}
	l.lines = bytes.Split(text, []byte{'\n'})
	b := builder{log: l, lines: l.lines}
	n := b.build(root.Content[0], 1)
	return n, l.err()
}

// decode returns the first document and the second, where there are any. The
// YAML module reports some states by panicking: they are errors here.
func decode(text []byte) (first, second *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(text))
	var nodes [2]*yaml.Node
	for i := range nodes {
		var n yaml.Node
		if err := d.Decode(&n); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
			nodes[i] = &n
		}
	}
	return nodes[0], nodes[1], nil
}

var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line ([0-9]+): )?(.*)$`)

// position takes the line out of an error text of the YAML module, which
// gives no column.
func position(err error) (line int, msg string) {
	m := yamlError.FindStringSubmatch(err.Error())
	if m == nil {
		return 1, Printable(err.Error())
	}
	line, _ = strconv.Atoi(m[1])
	return max(line, 1), Printable(m[2])
}

// unreadable finds the first place where the text is not UTF-8, or where YAML
// begins a new line and most editors do not: what follows a comment there would
// be no comment.
func unreadable(text []byte) (line, col int, what string) {
	line, col = 1, 1
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			return line, col, "invalid UTF-8; write a path that is not UTF-8 as path_b64"
		case r == '\r' && (len(text) == 1 || text[1] != '\n'), r == '\u0085', r == '\u2028', r == '\u2029':
			return line, col, "a line break other than a newline"
		}
		col++
		if r == '\n' {
			line, col = line+1, 1
		}
		text = text[n:]
	}
	return 0, 0, ""
}

// builder turns the module's tree into ours and records what is forbidden.
type builder struct {
	log   *log
	lines [][]byte
}

func (b *builder) build(y *yaml.Node, depth int) *Node {
	n := &Node{Line: y.Line, Col: y.Column, log: b.log}
	if y.Anchor != "" {
		n.Errorf("anchors are not allowed")
	}
	if y.Style&yaml.TaggedStyle != 0 || b.bang(y) {
		n.Errorf("tags are not allowed")
	}
	if depth > MaxDepth {
		n.Errorf("nested deeper than %d levels", MaxDepth)
		n.bad = true
		return n
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.Kind = Map
		b.fields(n, y, depth)
	case yaml.SequenceNode:
		n.Kind = List
		for _, c := range y.Content {
			n.items = append(n.items, b.build(c, depth+1))
		}
	case yaml.AliasNode:
		n.Errorf("aliases are not allowed")
		n.bad = true
	default:
		n.Kind = Scalar
		n.tag, n.value = y.Tag, y.Value
		n.plain = y.Style&^yaml.TaggedStyle == 0
		n.form = formOf(y.Style)
	}
	return n
}

func formOf(s yaml.Style) form {
	switch {
	case s&yaml.SingleQuotedStyle != 0:
		return singleQuoted
	case s&yaml.DoubleQuotedStyle != 0:
		return doubleQuoted
	case s&yaml.LiteralStyle != 0:
		return literalBlock
	case s&yaml.FoldedStyle != 0:
		return foldedBlock
	}
	return plainForm
}

// bang reports the tag "!" alone, which the module takes without a trace.
func (b *builder) bang(y *yaml.Node) bool {
	if y.Kind == yaml.AliasNode || y.Line < 1 || y.Line > len(b.lines) {
		return false
	}
	rest := b.lines[y.Line-1]
	for range y.Column - 1 {
		_, n := utf8.DecodeRune(rest)
		rest = rest[n:]
	}
	return len(rest) > 0 && rest[0] == '!'
}

func (b *builder) fields(n *Node, y *yaml.Node, depth int) {
	n.used = map[string]bool{}
	first := map[string]int{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := b.build(y.Content[i], depth+1)
		v := b.build(y.Content[i+1], depth+1)
		switch {
		case k.bad:
			continue
		case k.Kind == Scalar && k.tag == "!!merge":
			k.Errorf("merge keys are not allowed")
			continue
		case k.Kind != Scalar || k.tag != "!!str":
			k.Errorf("want a word as key, found %s", k.found())
			continue
		}
		if line, twice := first[k.value]; twice {
			k.Errorf("key %s stands twice, first on line %d", quote(k.value), line)
			continue
		}
		first[k.value] = k.Line
		n.fields = append(n.fields, field{k, v})
	}
}
