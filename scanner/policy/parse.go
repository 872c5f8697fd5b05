package policy

import (
	"encoding/base64"
	"math"

	"intact/scanner/entry"
	"intact/scanner/strict"
)

// maxLines bounds the rules and the excludes of one file; the index of an
// attribute set has 16 bits.
const maxLines = 20000

// Keys returns the top-level keys of a policy. In intact.yaml others stand
// beside them.
func Keys() []string { return []string{"version", "paths", "exclude", "filesystems"} }

// Parse reads a policy that stands in a file of its own. name stands in
// positions and error messages. The error is strict.Errors: everything that
// is wrong, each with file, line and column; or it wraps ErrSelectsNothing.
func Parse(name string, text []byte) (*Policy, error) {
	root, err := strict.Parse(name, text)
	if root == nil {
		return nil, err
	}
	p := FromNode(root)
	root.Unknown(Keys()...)
	if len(p.Rules) == 0 && root.Err() == nil {
		root.Errorf("%s", ErrSelectsNothing)
		return nil, nothing{root.Err()}
	}
	if err := root.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// nothing is ErrSelectsNothing with a position.
type nothing struct{ error }

func (n nothing) Unwrap() []error { return []error{n.error, ErrSelectsNothing} }

// FromNode reads the policy out of a file that has other top-level keys too,
// and notes its own keys as known. What is wrong is recorded with the node:
// the result is good only where root.Err() is nil at the end. A file may hold no
// rules: it may be one of several, see Merge and Check.
func FromNode(root *strict.Node) *Policy {
	p := &Policy{Name: root.File()}
	if !root.IsMap() {
		return p
	}
	root.Need("version").Int(1, 1)
	d := decoder{p, map[string]Pos{}, map[string]Pos{}}
	for i, n := range root.Get("paths").Items() {
		if i == maxLines {
			n.Errorf("more than %d paths", maxLines)
			break
		}
		d.rule(n)
	}
	for i, n := range root.Get("exclude").Items() {
		if i == maxLines {
			n.Errorf("more than %d excludes", maxLines)
			break
		}
		d.exclude(n)
	}
	d.filesystems(root.Get("filesystems"))
	return p
}

type decoder struct {
	p               *Policy
	rules, excludes map[string]Pos // by canonical pattern
}

func pos(n *strict.Node) Pos { return Pos{n.File(), n.Line, n.Col} }

func (d *decoder) rule(n *strict.Node) {
	if !n.IsMap() {
		return
	}
	pattern, at := d.pattern(n, d.rules)
	r := Rule{Pattern: pattern, Pos: at}
	r.Set, r.Group = attributes(n)
	r.Hot = n.Get("hot").Bool()
	r.Severity = n.Get("severity").Word(severities()...)
	r.OneFS = n.Get("one_filesystem").Bool()
	if b := n.Get("budget"); b.IsMap() {
		r.Budget.Entries = b.Get("entries").Int(1, math.MaxInt64)
		r.Budget.Time = b.Get("time").Duration()
		if !b.Has("entries") && !b.Has("time") {
			b.Errorf("a budget wants entries, time or both")
		}
		if b.Has("time") && r.Budget.Time == 0 {
			b.Get("time").Errorf("a budget of no time at all")
		}
		b.Unknown()
	}
	n.Unknown()
	d.p.Rules = append(d.p.Rules, r)
}

// exclude reads a text, or a mapping with path or path_b64.
func (d *decoder) exclude(n *strict.Node) {
	var x Exclude
	if n.Kind == strict.Map {
		x.Pattern, x.Pos = d.pattern(n, d.excludes)
		n.Unknown()
	} else {
		x.Pattern, x.Pos = n.Text(), pos(n)
		check(n, x.Pattern, d.excludes)
	}
	d.p.Excludes = append(d.p.Excludes, x)
}

// pattern reads path or path_b64 of a mapping.
func (d *decoder) pattern(n *strict.Node, seen map[string]Pos) (string, Pos) {
	plain, coded := n.Get("path"), n.Get("path_b64")
	switch {
	case plain != nil && coded != nil:
		coded.Errorf("path and path_b64 exclude each other")
		return "", pos(n)
	case coded != nil:
		text := coded.Text()
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil && text != "" {
			coded.Errorf("path_b64 is not base64")
			return "", pos(n)
		}
		check(coded, string(b), seen)
		return string(b), pos(coded)
	case plain != nil:
		check(plain, plain.Text(), seen)
		return plain.Text(), pos(plain)
	}
	n.Errorf("key %q is missing", "path")
	return "", pos(n)
}

// check records what is wrong with a pattern.
func check(n *strict.Node, s string, seen map[string]Pos) {
	if s == "" {
		if n.IsText() {
			n.Errorf("empty path")
		}
		return
	}
	c, err := compile(s)
	if err != nil {
		n.Errorf("%s", err)
		return
	}
	if at, twice := seen[c.norm]; twice {
		n.Errorf("path %s stands twice, first at %s", show(s), at)
		return
	}
	seen[c.norm] = pos(n)
}

// attributes reads the name of a group or a list of attributes.
func attributes(n *strict.Node) (entry.Set, string) {
	v := n.Need("attributes")
	if v == nil {
		return entry.Set{}, ""
	}
	if v.Kind != strict.List {
		g := v.Word(Groups()...)
		set, _ := groupSet(g)
		return set, g
	}
	var words []string
	for _, r := range entry.All.Rows() {
		words = append(words, r.Name)
	}
	mask := entry.Type
	for _, i := range v.Items() {
		bit, _ := entry.ParseAttr(i.Word(words...))
		if bit&mask != 0 && bit != entry.Type {
			i.Errorf("attribute stands twice")
		}
		mask |= bit
	}
	if len(v.Items()) == 0 {
		v.Errorf("a path without attributes; exclude it, or write presence")
	}
	return entry.Set{Mask: mask, DirMask: mask}, ""
}

func (d *decoder) filesystems(n *strict.Node) {
	if n == nil || !n.IsMap() {
		return
	}
	if list := n.Need("skip"); list != nil {
		d.p.Skip = []string{}
		for _, i := range list.Items() {
			s := i.Text()
			if err := checkType(s); err != nil {
				i.Errorf("%s", err)
			}
			d.p.Skip = append(d.p.Skip, s)
		}
	}
	n.Unknown()
}
