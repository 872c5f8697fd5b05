// Package review asks a person, group by group, what of a report is to be
// accepted. Model and Dialog are pure: they know keys and groups, neither the
// terminal nor the files. Frame draws them, Run drives them on a terminal.
//
// Nothing critical is taken by the answer to a group: Model gives it only by
// its own yes. What is not answered is left.
package review

import (
	"cmp"
	"slices"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// Class says what the groups of a review are made of.
type Class uint8

// The classes, in the order of groups that are equally grave.
const (
	Files   Class = iota // changes of files, by directory
	Package              // changes that one package explains
	Own                  // what belongs to intact itself
	Mounts
	Links     // of the policy
	State     // where the state folder is
	Gaps      // known ones: the baseline's, or new in it
	Installed // packages that are others
	Facts     // users, listeners, units and what else a host has
	Lost      // what could not be verified: it cannot be accepted
)

// Item is one finding that waits. Its number is its place in the list.
type Item struct {
	dir      int32 // node of the tree, Files and Package only
	source   int32 // what explains it, Package only
	Class    Class
	Kind     diff.Kind
	Severity rules.Severity
	Since    int64 // nanoseconds since 1970, 0: unknown
}

// Bounds of the tree of directories. What lies deeper counts for the directory
// above it.
const (
	maxNodes     = 1 << 18
	maxNodeBytes = 16 << 20
)

// node is a directory with something below it.
type node struct {
	parent int32
	depth  int32
	name   string
}

// Items collects findings in key order: a small record each.
type Items struct {
	List    []Item
	nodes   []node
	bytes   int
	open    []int32 // nodes from "/" to the present directory
	sources []string
	known   map[string]int32
}

// NewItems returns an empty list.
func NewItems() *Items {
	return &Items{nodes: []node{{}}, open: []int32{0}, known: map[string]int32{}}
}

// Add appends a finding about p. source names the package that explains it, ""
// where nothing does.
func (t *Items) Add(it Item, p entry.Path, isDir bool, source string) {
	if it.Class == Files || it.Class == Package {
		dir := p
		if !isDir {
			dir = p.Dir()
		}
		it.dir = t.node(dir)
		if source != "" {
			n, ok := t.known[source]
			if !ok {
				n = int32(len(t.sources))
				t.sources = append(t.sources, strings.Clone(source))
				t.known[t.sources[n]] = n
			}
			it.Class, it.source = Package, n
		}
	}
	t.List = append(t.List, it)
}

// node returns the node of a directory. Directories come in key order, so only
// those above the last one can come again.
func (t *Items) node(dir entry.Path) int32 {
	at := 0
	for c := range componentsOf(dir) {
		if at+1 < len(t.open) && t.nodes[t.open[at+1]].name == c {
			at++
			continue
		}
		if len(t.nodes) == maxNodes || t.bytes+len(c) > maxNodeBytes {
			break
		}
		t.bytes += len(c)
		t.nodes = append(t.nodes, node{t.open[at], int32(at + 1), strings.Clone(c)})
		t.open = append(t.open[:at+1], int32(len(t.nodes)-1))
		at++
	}
	t.open = t.open[:at+1]
	return t.open[at]
}

func componentsOf(p entry.Path) func(func(string) bool) {
	return func(yield func(string) bool) {
		for c := range strings.SplitSeq(strings.TrimPrefix(string(p), "/"), "/") {
			if c != "" && !yield(c) {
				return
			}
		}
	}
}

func (t *Items) path(n int32) string {
	var parts []string
	for ; n != 0; n = t.nodes[n].parent {
		parts = append(parts, t.nodes[n].name)
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// below returns the directory directly below n that holds the item, n itself
// where the item lies in no other.
func (t *Items) below(n int32, item int32) int32 {
	at := t.List[item].dir
	for t.nodes[at].depth > t.nodes[n].depth+1 {
		at = t.nodes[at].parent
	}
	return at
}

// Answer to a group.
type Answer uint8

// The answers. What has none is left.
const (
	None Answer = iota
	Take
	Leave
)

// Group is what one answer is about. A Group is never changed: Model puts
// another one in its place.
type Group struct {
	Class  Class
	Path   string // a directory, the path of a single item, or a package
	Part   string // what part of it: "directly in it", "added"; "" for all
	Single bool
	Answer Answer

	Kinds      [diff.Regained + 1]int
	Severities [rules.Critical + 1]int
	Since      int64 // the oldest, 0: unknown
	Worst      int   // the first of the gravest items
	WorstPath  string
	Why        string // the worst is grave

	node  int32
	items []int32
}

// Len returns the number of items.
func (g *Group) Len() int { return len(g.items) }

// Items returns the numbers of the items, in order.
func (g *Group) Items() []int32 { return g.items }

// Gravest returns the highest severity in g.
func (g *Group) Gravest() rules.Severity {
	for s := rules.Critical; s > rules.Info; s-- {
		if g.Severities[s] > 0 {
			return s
		}
	}
	return rules.Info
}

// group makes a group of items, which are in order.
func (t *Items) group(class Class, n int32, path, part string, items []int32) Group {
	g := Group{Class: class, Path: path, Part: part, Single: len(items) == 1, node: n, items: items, Worst: int(items[0])}
	for _, i := range items {
		it := &t.List[i]
		g.Kinds[it.Kind]++
		g.Severities[it.Severity]++
		if it.Severity > t.List[g.Worst].Severity {
			g.Worst = int(i)
		}
		if it.Since > 0 && (g.Since == 0 || it.Since < g.Since) {
			g.Since = it.Since
		}
	}
	return g
}

// containers are the directories whose children have little to do with each
// other. It is never changed.
var containers = []string{"/", "/etc", "/home", "/mnt", "/opt", "/run", "/srv", "/usr", "/usr/local", "/var", "/var/lib", "/var/log", "/var/www"}

// tooMany is how many children of a container get groups of their own, "/"
// excepted.
const tooMany = 12

// byDirectory groups items by the topmost directories that belong together.
func (t *Items) byDirectory(class Class, n int32, items []int32) []Group {
	for {
		c := t.below(n, items[0])
		if c == n || slices.ContainsFunc(items, func(i int32) bool { return t.below(n, i) != c }) {
			break
		}
		n = c
	}
	path := t.path(n)
	if !slices.Contains(containers, path) {
		return []Group{t.group(class, n, path, "", items)}
	}
	parts := t.children(n, items)
	if len(parts) > tooMany && n != 0 {
		return []Group{t.group(class, n, path, "", items)}
	}
	var out []Group
	for _, p := range parts {
		if p.node == n {
			part := ""
			if len(parts) > 1 {
				part = directly
			}
			out = append(out, t.group(class, n, path, part, p.items))
		} else {
			out = append(out, t.byDirectory(class, p.node, p.items)...)
		}
	}
	return out
}

const directly = "directly in it"

type part struct {
	node  int32
	items []int32
}

// children parts items by the directories directly below n; what lies in n
// itself comes as n.
func (t *Items) children(n int32, items []int32) (list []part) {
	at := map[int32]int{}
	for _, i := range items {
		c := t.below(n, i)
		k, ok := at[c]
		if !ok {
			k = len(list)
			at[c] = k
			list = append(list, part{node: c})
		}
		list[k].items = append(list[k].items, i)
	}
	return list
}

// words of the classes that are one group each.
var classWords = [...]string{Own: "intact itself", Mounts: "mounts", Links: "links of the policy", State: "the state folder", Gaps: "known gaps", Installed: "installed packages", Facts: "facts of the host", Lost: "lost coverage"}

// groups makes the groups that a review begins with, the gravest first.
func (t *Items) groups() []Group {
	var files []int32
	packages := make([][]int32, len(t.sources))
	var rest [Lost + 1][]int32
	for i := range t.List {
		it := &t.List[i]
		switch it.Class {
		case Files:
			files = append(files, int32(i))
		case Package:
			packages[it.source] = append(packages[it.source], int32(i))
		default:
			rest[it.Class] = append(rest[it.Class], int32(i))
		}
	}
	var out []Group
	if len(files) > 0 {
		out = t.byDirectory(Files, 0, files)
	}
	for k, items := range packages {
		out = append(out, t.group(Package, 0, t.sources[k], "", items))
	}
	for c, items := range rest {
		if len(items) > 0 {
			out = append(out, t.group(Class(c), 0, classWords[c], "", items))
		}
	}
	gravestFirst(out)
	return out
}

// gravestFirst sorts groups; equally grave ones stay in order of their paths.
func gravestFirst(list []Group) {
	slices.SortStableFunc(list, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Gravest(), a.Gravest()), cmp.Compare(a.Class, b.Class))
	})
}
