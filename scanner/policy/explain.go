package policy

import (
	"slices"

	"intact/scanner/entry"
)

// Explanation says why a path is checked or not.
type Explanation struct {
	Path     entry.Path
	Selected bool
	Rule     *Rule      // deciding rule, nil where an exclude or nothing decides
	Exclude  *Exclude   // the exclude that hides the path
	At       entry.Path // where the deciding line matched: the path or a directory above it
	// Lost holds the other lines that matched, strongest first.
	Lost []Match
}

// Match is a line of a policy that matched a path or a directory above it.
type Match struct {
	Rule    *Rule
	Exclude *Exclude
	At      entry.Path
}

// Explain returns the line of p that decides for a path, which need not exist,
// and the lines that lost. It tries every line at every directory on the way,
// without the automaton that a scan uses; both must agree. Expand the homes
// first.
func (p *Policy) Explain(path entry.Path) Explanation {
	type hit struct {
		*line
		depth int
	}
	var hits []hit
	names := path.Components()
	users := userHomes(p.homes)
	for _, l := range p.lines() {
		homes := p.homes
		if l.exclude != nil {
			homes = users
		}
		if depth, ok := l.deepest(names, homes); ok {
			hits = append(hits, hit{l, depth})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		switch {
		case a.depth != b.depth:
			return b.depth - a.depth
		case a.beats(b.line):
			return -1
		case b.beats(a.line):
			return 1
		}
		return 0
	})
	x := Explanation{Path: path}
	for i, h := range hits {
		m := Match{h.rule, h.exclude, ancestor(names[:h.depth])}
		if i > 0 {
			x.Lost = append(x.Lost, m)
			continue
		}
		x.Selected, x.Rule, x.Exclude, x.At = m.Rule != nil, m.Rule, m.Exclude, m.At
	}
	return x
}

func ancestor(names []string) entry.Path {
	p := entry.Path("/")
	for _, n := range names {
		p = p.Join([]byte(n))
	}
	return p
}

// lines compiles p; lines that do not compile are left out.
func (p *Policy) lines() []*line {
	var lines []*line
	for i := range p.Rules {
		if c, err := compile(p.Rules[i].Pattern); err == nil {
			lines = append(lines, &line{pattern: c, rule: &p.Rules[i]})
		}
	}
	for i := range p.Excludes {
		if c, err := compile(p.Excludes[i].Pattern); err == nil {
			lines = append(lines, &line{pattern: c, exclude: &p.Excludes[i]})
		}
	}
	return lines
}

// deepest returns how many of names lead to the deepest directory at which the
// pattern matches and governs the path that names is.
func (p *pattern) deepest(names []string, homes []entry.Path) (depth int, ok bool) {
	starts := []int{0}
	if p.home {
		starts = nil
		for _, h := range homes {
			if c := h.Components(); len(c) <= len(names) && slices.Equal(c, names[:len(c)]) {
				starts = append(starts, len(c))
			}
		}
	}
	for depth := len(names); depth >= 0; depth-- {
		if p.below && depth == len(names) {
			continue
		}
		for _, from := range starts {
			if from <= depth && p.matches(names[from:depth]) {
				return depth, true
			}
		}
	}
	return 0, false
}

// matches reports whether the components match these names exactly, without
// regard to below.
func (p *pattern) matches(names []string) bool {
	can := make([]bool, len(names)+1) // the components so far match names[:i]
	can[0] = true
	for _, c := range p.comps {
		next := make([]bool, len(names)+1)
		for i := range can {
			switch {
			case c.star:
				next[i] = can[i] || i > 0 && next[i-1]
			case i == 0 || !can[i-1]:
			case c.glob != nil:
				next[i] = match(c.glob, []byte(names[i-1]))
			default:
				next[i] = c.name == names[i-1]
			}
		}
		can = next
	}
	return can[len(names)]
}

// Warnings names the lines of p that can have no effect: rules that an exclude
// of the same path always hides, and excludes of what no rule selects.
func (p *Policy) Warnings() []string {
	lines := p.lines()
	hidden := map[string]*Exclude{}
	for _, l := range lines {
		if l.exclude != nil {
			hidden[l.norm] = l.exclude
		}
	}
	var w []string
	for _, l := range lines {
		if l.rule != nil {
			if x := hidden[l.norm]; x != nil {
				w = append(w, l.rule.String()+" can never match: hidden by "+x.String())
			}
			continue
		}
		// An exclude with wildcards may hide something wherever rules can select.
		at := l.at(sampleHome)
		if l.literal() && !slices.ContainsFunc(lines, func(r *line) bool {
			return r.rule != nil && (!r.literal() || at.Under(r.at(sampleHome)) || r.at(sampleHome).Under(at))
		}) {
			w = append(w, l.exclude.String()+" hides nothing: no path selects anything there")
		}
	}
	return w
}

// sampleHome stands for some home where two policies are looked at without a
// host.
const sampleHome entry.Path = "/home/~"
