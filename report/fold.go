package report

import (
	"fmt"
	"strings"

	"intact/rules"
	"intact/scanner/entry"
)

// Bounds of folding. Findings of high and critical severity are never folded.
const (
	foldAfter = 20  // findings of one severity and change shown of one directory
	foldAll   = 400 // findings shown of one severity, after which directories show only their number
)

// folder decides which findings of one severity are shown one by one. It sees
// them in key order, so that it need hold no more than the directories between
// "/" and the present path.
type folder struct {
	shown int
	stack []*frame
	line  func(string) // prints what stands for the folded ones
}

// frame is a directory that has findings directly in it or, where it was
// itself added or removed, anywhere below it.
type frame struct {
	dir    entry.Path
	change string // added or removed: what happened to the directory itself
	groups []*fold
}

type fold struct {
	change               string
	limit, shown, hidden int
}

// finding reports whether f, of the severity that is printed now, is shown.
func (d *folder) finding(f *rules.Finding) bool {
	p := entry.Path(f.Subject.Path)
	if p == "" {
		return true
	}
	fr := d.frame(p, f.Change)
	var g *fold
	for _, x := range fr.groups {
		if x.change == f.Change {
			g = x
		}
	}
	if g == nil {
		g = &fold{change: strings.Clone(f.Change), limit: foldAfter}
		if d.shown >= foldAll {
			g.limit = 0
		}
		fr.groups = append(fr.groups, g)
	}
	if g.shown < g.limit {
		g.shown++
		d.shown++
		return true
	}
	g.hidden++
	return false
}

// frame returns the directory that a finding about p counts for: the topmost
// one that shared its fate, else the parent.
func (d *folder) frame(p entry.Path, change string) *frame {
	d.leave(p)
	for _, fr := range d.stack {
		if fr.change != "" && fr.change == change && fr.dir != p {
			return fr
		}
	}
	dir := p.Dir()
	for i := len(d.stack) - 1; i >= 0; i-- {
		if d.stack[i].dir == dir {
			return d.stack[i]
		}
	}
	return d.push(dir, "")
}

// push adds a directory below those that are open. What is already open and
// lies below it stays where it is: order serves only the messages.
func (d *folder) push(dir entry.Path, change string) *frame {
	// Copies: what was read is a part of its whole line.
	fr := &frame{dir: entry.Path(strings.Clone(string(dir))), change: strings.Clone(change)}
	d.stack = append(d.stack, fr)
	return fr
}

// directory takes note of a directory that was added or removed, whatever its
// severity. It is called behind finding.
func (d *folder) directory(f *rules.Finding) {
	p := entry.Path(f.Subject.Path)
	if p == "" || f.Subject.Kind != "dir" || f.Change != "added" && f.Change != "removed" {
		return
	}
	d.leave(p)
	d.push(p, f.Change)
}

// leave closes the directories that p does not lie in.
func (d *folder) leave(p entry.Path) {
	for i := len(d.stack) - 1; i >= 0 && !p.Under(d.stack[i].dir); i-- {
		d.flush(d.stack[i])
		d.stack = d.stack[:i]
	}
}

// finish closes all directories.
func (d *folder) finish() {
	for i := len(d.stack) - 1; i >= 0; i-- {
		d.flush(d.stack[i])
	}
	d.stack = nil
}

func (d *folder) flush(fr *frame) {
	for _, g := range fr.groups {
		if g.hidden == 0 {
			continue
		}
		in := "in "
		if fr.change == g.change {
			in = "below "
		}
		s := fmt.Sprintf("%s %s %s%s", group(int64(g.hidden)), or(g.change, "found"), in, Escape(string(fr.dir)))
		if g.shown > 0 {
			s = fmt.Sprintf("… and %s more %s %s%s", group(int64(g.hidden)), or(g.change, "found"), in, Escape(string(fr.dir)))
		}
		d.line(s)
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
