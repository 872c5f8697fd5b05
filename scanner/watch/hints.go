package watch

import (
	"slices"
	"strings"

	"intact/scanner/entry"
)

// What bounds the hints that wait, whatever happens on the disk.
const (
	maxNames = 256     // of one directory; above, all of it is one hint
	maxDirs  = 1024    // with hints; above, they are told by the directories above them
	maxBytes = 4 << 20 // of names all together; above, they are told by their directories
)

// Hint says where something may have changed: it is a reason to look there, and
// evidence of nothing.
type Hint struct {
	Dir   entry.Path
	Names [][]byte // in Dir, sorted; none where Deep
	Deep  bool     // Dir itself and all that lies below it
}

// hints are those that wait.
type hints struct {
	names map[entry.Path]map[string]struct{}
	deep  cover
	bytes int
}

func newHints() hints {
	return hints{names: map[entry.Path]map[string]struct{}{}, deep: newCover(maxDirs)}
}

func (h *hints) empty() bool { return len(h.names) == 0 && len(h.deep.paths) == 0 }

func (h *hints) add(dir entry.Path, name string) {
	set := h.names[dir]
	if _, ok := set[name]; ok || h.deep.holds(dir) {
		return
	}
	if set == nil {
		set = map[string]struct{}{}
		h.names[dir] = set
	}
	set[name] = struct{}{}
	h.bytes += len(name)
	switch {
	case len(set) > maxNames:
		h.addDeep(dir)
	case len(h.names) > maxDirs, h.bytes > maxBytes:
		for d := range h.names {
			h.addDeep(d)
		}
	}
}

func (h *hints) addDeep(p entry.Path) {
	for n := range h.names[p] {
		h.bytes -= len(n)
	}
	delete(h.names, p)
	h.deep.add(p)
}

// take returns the hints, sorted by directory, none inside another.
func (h *hints) take() (out []Hint) {
	for _, p := range h.deep.take() {
		out = append(out, Hint{Dir: p, Deep: true})
	}
	whole := entry.NewParts(dirsOf(out))
	for dir, set := range h.names {
		if whole != nil && whole.Hold(dir) {
			continue
		}
		one := Hint{Dir: dir}
		for n := range set {
			if whole == nil || !whole.Is(dir.Join([]byte(n))) {
				one.Names = append(one.Names, []byte(n))
			}
		}
		if len(one.Names) > 0 {
			slices.SortFunc(one.Names, func(a, b []byte) int { return strings.Compare(string(a), string(b)) })
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b Hint) int { return strings.Compare(string(a.Dir.Key()), string(b.Dir.Key())) })
	*h = newHints()
	return out
}

func dirsOf(list []Hint) (out []entry.Path) {
	for _, h := range list {
		out = append(out, h.Dir)
	}
	return out
}

// cover is a set of paths, each with all that lies below it, that never grows
// beyond most: the deepest are told by the directories above them then.
type cover struct {
	paths map[entry.Path]struct{}
	most  int
}

func newCover(most int) cover { return cover{map[entry.Path]struct{}{}, most} }

func (c *cover) add(p entry.Path) {
	c.paths[p] = struct{}{}
	if len(c.paths) <= c.most {
		return
	}
	c.prune()
	for len(c.paths) > c.most/2 {
		depth := 0
		for q := range c.paths {
			depth = max(depth, depthOf(q))
		}
		for q := range c.paths {
			if depthOf(q) == depth {
				delete(c.paths, q)
				c.paths[q.Dir()] = struct{}{}
			}
		}
		c.prune()
	}
}

func depthOf(p entry.Path) int {
	if p == "/" {
		return 0
	}
	return strings.Count(string(p), "/")
}

// holds reports whether p lies at or below one of the paths.
func (c *cover) holds(p entry.Path) bool {
	if len(c.paths) == 0 {
		return false
	}
	for {
		if _, ok := c.paths[p]; ok {
			return true
		}
		if p == "/" {
			return false
		}
		p = p.Dir()
	}
}

// prune drops what lies below another of the paths.
func (c *cover) prune() {
	for p := range c.paths {
		if p != "/" && c.holds(p.Dir()) {
			delete(c.paths, p)
		}
	}
}

// take returns the paths, sorted in tree order, none below another.
func (c *cover) take() (out []entry.Path) {
	c.prune()
	for p := range c.paths {
		out = append(out, p)
	}
	clear(c.paths)
	slices.SortFunc(out, func(a, b entry.Path) int { return strings.Compare(string(a.Key()), string(b.Key())) })
	return out
}
