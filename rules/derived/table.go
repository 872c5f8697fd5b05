package derived

import (
	"context"
	_ "embed"
	"path"
	"slices"
	"strconv"
	"strings"

	"intact/baseline/diff"
	"intact/scanner/entry"
	"intact/scanner/strict"
)

//go:embed classes.yaml
var tableText []byte

// checks are the words of the column "how".
var checks = map[string]func(*explainer, context.Context, *diff.Change) answer{
	"ldcache":     (*explainer).libraryCache,
	"bundle":      (*explainer).bundle,
	"certificate": (*explainer).certificate,
	"hashlink":    (*explainer).hashLink,
	"selection":   (*explainer).selection,
	"alternative": (*explainer).alternative,
	"record":      (*explainer).record,
	"master":      (*explainer).master,
	"modules":     (*explainer).modules,
	"initramfs":   (*explainer).initramfs,
	"pyc":         (*explainer).bytecode,
	"unit":        (*explainer).unit,
	"copy":        (*explainer).copied,
	"trigger":     func(*explainer, context.Context, *diff.Change) answer { return weak },
}

// class is a row of the table.
type class struct {
	name     string
	patterns []pattern
	target   string
	kind     entry.Kind
	modes    []uint16
	uid, gid uint32
	how      string
	trigger  []string
	removed  bool
}

// copied says of which files a member of an initramfs may be a copy.
type copied struct {
	member pattern
	of     []string // a file, or a folder with a slash behind it
}

type table struct {
	classes   []class
	copies    []copied
	generated []pattern
}

// row returns the first row for p, which is e; nil for none.
func (t *table) row(p entry.Path, e *entry.Entry) *class {
	for i := range t.classes {
		r := &t.classes[i]
		if r.kind != e.Kind || r.target != "" && !strings.HasPrefix(string(e.Target), r.target) {
			continue
		}
		if matchesAny(r.patterns, p) {
			return r
		}
	}
	return nil
}

func (r *class) allows(e *entry.Entry) bool {
	return r.kind == entry.Symlink || slices.Contains(r.modes, e.Mode)
}

// parseTable reads the table. Its errors say the line.
func parseTable(text []byte) (*table, error) {
	root, err := strict.Parse("classes.yaml", text)
	if root == nil {
		return nil, err
	}
	t := &table{}
	for _, n := range root.Need("classes").Items() {
		t.classes = append(t.classes, parseClass(n))
	}
	ramfs := root.Need("initramfs")
	for _, n := range ramfs.Need("copies").Items() {
		c := copied{of: n.Need("of").Texts()}
		c.member = parsePattern(n.Need("member"))
		for _, of := range c.of {
			if !strings.HasPrefix(of, "/") {
				n.Errorf("%q is no absolute path", of)
			}
		}
		n.Unknown()
		t.copies = append(t.copies, c)
	}
	for _, n := range ramfs.Need("generated").Items() {
		t.generated = append(t.generated, parsePattern(n))
	}
	ramfs.Unknown()
	root.Unknown()
	return t, root.Err()
}

func parseClass(n *strict.Node) class {
	r := class{
		name:    n.Need("class").Text(),
		how:     n.Need("how").Text(),
		trigger: n.Need("trigger").Texts(),
		removed: n.Get("removed").Bool(),
		target:  n.Get("target").Text(),
	}
	r.kind, _ = entry.ParseKind(n.Need("type").Word("file", "dir", "symlink"))
	for _, p := range n.Need("paths").Items() {
		for _, one := range braces(p.Text()) {
			pat, err := newPattern(one)
			if err != nil {
				p.Errorf("%v", err)
			}
			r.patterns = append(r.patterns, pat)
		}
	}
	if checks[r.how] == nil {
		n.Errorf("no check is called %q", r.how)
	}
	for _, m := range n.Get("modes").Texts() {
		v, err := strconv.ParseUint(m, 8, 16)
		if err != nil || v > 0o7777 || v&0o6022 != 0 && v != 0o2755 {
			n.Errorf("the mode %q", m)
		}
		r.modes = append(r.modes, uint16(v))
	}
	if (r.kind == entry.Symlink) != (len(r.modes) == 0) {
		n.Errorf("files and folders have modes, links have none")
	}
	uid, gid, _ := strings.Cut(n.Need("owner").Text(), ":")
	u, err1 := strconv.ParseUint(uid, 10, 32)
	g, err2 := strconv.ParseUint(gid, 10, 32)
	if err1 != nil || err2 != nil {
		n.Errorf("the owner is not UID:GID")
	}
	r.uid, r.gid = uint32(u), uint32(g)
	for _, w := range r.trigger {
		if w != "any" && w != "beside" && w != "source" && !strings.HasPrefix(w, "/") {
			n.Errorf("the trigger %q", w)
		}
	}
	if len(r.trigger) == 0 || len(r.patterns) == 0 {
		n.Errorf("no trigger, or no path")
	}
	n.Unknown()
	return r
}

// pattern is a path with wildcards in its names.
type pattern struct {
	literal string   // what stands before the first wildcard
	parts   []string // names; "**" stands for any number of them, once
}

func parsePattern(n *strict.Node) pattern {
	p, err := newPattern(n.Text())
	if err != nil {
		n.Errorf("%v", err)
	}
	return p
}

func newPattern(s string) (pattern, error) {
	clean, err := entry.NewPath(s)
	if err == nil && (string(clean) != s || strings.Count(s, "**") > 1) {
		err = path.ErrBadPattern
	}
	p := pattern{literal: s, parts: clean.Components()}
	if i := strings.IndexAny(s, `*?[\`); i >= 0 {
		p.literal = s[:i]
	}
	for _, part := range p.parts {
		if _, bad := path.Match(part, ""); bad != nil {
			err = bad
		}
	}
	return p, err
}

// braces writes out one {a,b} of a pattern.
func braces(s string) []string {
	head, rest, ok := strings.Cut(s, "{")
	list, tail, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return []string{s}
	}
	var out []string
	for w := range strings.SplitSeq(list, ",") {
		out = append(out, head+w+tail)
	}
	return out
}

func matchesAny(ps []pattern, p entry.Path) bool {
	var names []string
	for i := range ps {
		if !strings.HasPrefix(string(p), ps[i].literal) {
			continue
		}
		if names == nil {
			names = p.Components()
		}
		if ps[i].matches(names) {
			return true
		}
	}
	return false
}

// matches holds names against the pattern: those before "**" from the front,
// those behind it from the back.
func (p *pattern) matches(names []string) bool {
	deep := slices.Index(p.parts, "**")
	if deep < 0 {
		return len(names) == len(p.parts) && allMatch(p.parts, names)
	}
	head, tail := p.parts[:deep], p.parts[deep+1:]
	least := len(head) + len(tail)
	if len(tail) == 0 {
		least++ // the folder itself is not below it
	}
	return len(names) >= least && allMatch(head, names[:deep]) && allMatch(tail, names[len(names)-len(tail):])
}

func allMatch(parts, names []string) bool {
	for i, part := range parts {
		if ok, err := path.Match(part, names[i]); !ok || err != nil {
			return false
		}
	}
	return true
}
