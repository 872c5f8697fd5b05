package watch

import (
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// happened passes an event on, by each path of its directory.
func (w *Watcher) happened(at *where, e event) {
	w.one(at, e)
	for _, dir := range w.tree.also(e.path.Dir()) {
		o := e
		o.path = dir.Join([]byte(e.path.Base()))
		w.one(at, o)
	}
}

func (w *Watcher) one(at *where, e event) {
	if e.whole {
		if matters(w.policy(), e.path) {
			w.settle.deep(e.path)
		}
		return
	}
	if e.path == "/" {
		return // its own entry: nothing above it can tell
	}
	dir, name := e.path.Dir(), []byte(e.path.Base())
	s := at.in(w.policy(), dir)
	if s == nil {
		return
	}
	if s.Match(name).Hot && (w.opt.Own == nil || !w.opt.Own(dir, name)) {
		w.settle.name(dir, string(name), e.by(), e.tree)
	}
	if e.moved {
		if c := s.Enter(name); c == nil || !c.Hot() {
			return
		}
		if at.deep {
			w.settle.deep(e.path) // what lies below is watched already
		} else {
			w.later(e.path)
		}
	}
}

// where remembers the state of one directory: events mostly come from one after
// another.
type where struct {
	pol   *policy.Effective
	dir   entry.Path
	state *policy.State
	deep  bool // the backend watches whole file systems
}

func (p *where) in(pol *policy.Effective, dir entry.Path) *policy.State {
	if p.pol == pol && p.dir == dir {
		return p.state
	}
	p.pol, p.dir = pol, dir
	start := pol.Start()
	p.state = &start
	for _, c := range dir.Components() {
		if p.state = p.state.Enter([]byte(c)); p.state == nil {
			break
		}
	}
	return p.state
}
