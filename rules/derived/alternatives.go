package derived

import (
	"context"
	"strconv"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// Where update-alternatives keeps what it knows, and its bounds.
const (
	recordsDir = "/var/lib/dpkg/alternatives"
	chosenDir  = "/etc/alternatives"

	maxRecord  = 1 << 20
	maxRecords = 5000
	maxLinks   = 50_000 // of all groups
)

// A record of update-alternatives is lines:
//
//	auto or manual
//	LINK
//	NAME and LINK of each slave, then an empty line
//	TARGET, PRIORITY and the slaves' targets (empty: none) of each choice
//	an empty line
type group struct {
	name    string
	auto    bool
	links   []groupLink // the master's first
	choices []choice
}

type groupLink struct {
	name string // in /etc/alternatives
	link entry.Path
}

type choice struct {
	priority int
	targets  []string // as links; "" where a slave has none
}

// parseGroup reads the record called name.
func parseGroup(name string, b []byte) (*group, bool) {
	if len(b) > maxRecord || !strings.HasSuffix(string(b), "\n") || name == "" {
		return nil, false
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) < 4 || lines[0] != "auto" && lines[0] != "manual" {
		return nil, false
	}
	g := &group{name: name, auto: lines[0] == "auto"}
	add := func(name, link string) bool {
		p, ok := clean(link)
		g.links = append(g.links, groupLink{name, p})
		return ok && name != "" && name != "." && name != ".." && !strings.Contains(name, "/") && strings.IndexByte(name, 0) < 0
	}
	if !add(name, lines[1]) {
		return nil, false
	}
	lines = lines[2:]
	for len(lines) > 0 && lines[0] != "" {
		if len(lines) < 2 || !add(lines[0], lines[1]) {
			return nil, false
		}
		lines = lines[2:]
	}
	if len(lines) == 0 {
		return nil, false
	}
	lines = lines[1:]
	for len(lines) > 1 {
		n := len(g.links) + 1
		if len(lines) < n+1 {
			return nil, false
		}
		prio, err := strconv.Atoi(lines[1])
		if err != nil || lines[0] == "" {
			return nil, false
		}
		c := choice{prio, append([]string{lines[0]}, lines[2:n]...)}
		for _, t := range c.targets {
			if _, ok := clean(t); !ok && t != "" {
				return nil, false
			}
		}
		g.choices = append(g.choices, c)
		lines = lines[n:]
	}
	return g, len(lines) == 1 && lines[0] == "" && len(g.choices) > 0
}

// best gives what the group selects by itself: of equal priorities the first.
func (g *group) best() choice {
	best := g.choices[0]
	for _, c := range g.choices[1:] {
		if c.priority > best.priority {
			best = c
		}
	}
	return best
}

// groupsOf reads all records once. A record that is malformed or cannot be had
// is left out: then nothing follows from it.
func (x *explainer) groupsOf(ctx context.Context) map[string]*group {
	if x.groups != nil {
		return x.groups
	}
	x.groups, x.links = map[string]*group{}, map[entry.Path]string{}
	files, ok := x.list(ctx, recordsDir, maxRecords)
	if !ok {
		return x.groups
	}
	for _, p := range files {
		g, _ := x.group(ctx, p)
		if g == nil {
			continue
		}
		for _, l := range g.links {
			_, twice := x.groups[l.name]
			_, linked := x.links[l.link]
			if twice || linked || len(x.links) >= maxLinks {
				x.groups[l.name], x.links[l.link] = nil, "" // two records claim it
				continue
			}
			x.groups[l.name], x.links[l.link] = g, l.name
		}
	}
	if ctx.Err() != nil {
		groups := x.groups
		x.groups = nil
		return groups
	}
	return x.groups
}

// group reads a record, and says whether it is as it was.
func (x *explainer) group(ctx context.Context, p entry.Path) (g *group, same bool) {
	var b []byte
	ok := false
	if _, same = x.world.Verified(ctx, p); same {
		b, ok = x.world.Reference(ctx, p, maxRecord)
	} else if e, there := x.world.Look(ctx, p); there && e.Kind == entry.File {
		b, ok = x.world.Read(ctx, p, e, maxRecord)
	}
	if !ok {
		return nil, false
	}
	if g, ok = parseGroup(p.Base(), b); !ok {
		return nil, false
	}
	return g, same
}

// groupFor finds the group that has the link called name.
func (x *explainer) groupFor(ctx context.Context, name string) (*group, bool) {
	g := x.groupsOf(ctx)[name]
	if g == nil {
		if _, lists := x.world.(Lister); lists {
			return nil, false
		}
		return x.group(ctx, recordsDir+"/"+entry.Path(name)) // a master's link
	}
	_, same := x.world.Verified(ctx, recordsDir+"/"+entry.Path(g.name))
	return g, same
}

// alternative: a link of /etc/alternatives leads to what the record selects by
// its highest priority. A record that has changed vouches for no priority, so
// that the link is attributed then.
func (x *explainer) alternative(ctx context.Context, c *diff.Change) answer {
	g, same := x.groupFor(ctx, c.Path.Base())
	if g == nil || !g.auto {
		return nothing
	}
	for i, l := range g.links {
		if l.name != c.Path.Base() {
			continue
		}
		target := g.best().targets[i]
		if target == "" || target != string(c.New.Target) || !x.owned(ctx, entry.Path(target)) {
			return nothing
		}
		a := answer{level: rules.Signed, sources: []entry.Path{entry.Path(target)}}
		if !same {
			a.level = rules.Attributed
		}
		return a
	}
	return nothing
}

// record: every target is a verified file of a package, and the links stand.
// Nobody vouches for the priorities and for which names are alternatives.
func (x *explainer) record(ctx context.Context, c *diff.Change) answer {
	b, ok := x.read(ctx, c, maxRecord)
	if !ok {
		return nothing
	}
	g, ok := parseGroup(c.Path.Base(), b)
	if !ok || !g.auto || !x.linked(ctx, g.links[0]) {
		return nothing
	}
	a := weak
	for _, ch := range g.choices {
		for _, t := range ch.targets {
			if t == "" {
				continue
			}
			if ctx.Err() != nil || len(a.sources) >= maxSources || !x.owned(ctx, entry.Path(t)) {
				return nothing
			}
			a.sources = append(a.sources, entry.Path(t))
		}
	}
	return a
}

// linked reports whether a link of a group leads into /etc/alternatives.
func (x *explainer) linked(ctx context.Context, l groupLink) bool {
	for _, p := range names(l.link) {
		if e, ok := x.world.Look(ctx, p); ok {
			return e.Kind == entry.Symlink && string(e.Target) == chosenDir+"/"+l.name
		}
	}
	return false
}

// names are the names that p has where /usr is merged.
func names(p entry.Path) []entry.Path {
	if alias, ok := merged(p); ok {
		return []entry.Path{p, alias}
	}
	return []entry.Path{p}
}

// master: a new link into /etc/alternatives, where a record has it. What was
// something else than a link, or is a package's own, is not replaced by one.
func (x *explainer) master(ctx context.Context, c *diff.Change) answer {
	name := strings.TrimPrefix(string(c.New.Target), chosenDir+"/")
	if c.Old != nil && c.Old.Kind != entry.Symlink || strings.Contains(name, "/") {
		return nothing
	}
	for i := range x.transactions {
		if t := &x.transactions[i]; t.Holds != nil && holds(t, c.Path) {
			return nothing
		}
	}
	g, same := x.groupFor(ctx, name)
	if g == nil || !g.auto {
		return nothing
	}
	for i, l := range g.links {
		target := g.best().targets[i]
		alias, _ := merged(l.link)
		if l.name != name || l.link != c.Path && alias != c.Path || target == "" || !x.owned(ctx, entry.Path(target)) {
			continue
		}
		chosen, ok := x.world.Look(ctx, chosenDir+"/"+entry.Path(name))
		if !ok || chosen.Kind != entry.Symlink || string(chosen.Target) != target {
			return nothing
		}
		a := answer{level: rules.Signed, sources: []entry.Path{entry.Path(target)}}
		if !same {
			a.level = rules.Attributed
		}
		return a
	}
	return nothing
}
