package watch

import (
	"errors"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// deepest is how many directories are held open at a time; what lies deeper is
// walked from the root anew.
const deepest = 128

// visit brings the watches at and below some paths in line with what is there.
type visit struct {
	*Watcher
	root *dirfd.Root
	pol  *policy.Effective
	todo []entry.Path // to be visited too: what lies very deep, what lost its watch
	lost bool         // something could not be watched
}

// at watches what is at and below p now. Where something was known there, or is,
// it is hinted at as a whole, behind the watches: events were missed meanwhile.
// again says that nothing happened to p: it is tried once more.
func (v *visit) at(p entry.Path, known, again bool) {
	v.lost = false
	d, state := v.reach(p)
	there := d != nil
	if there {
		defer d.Release()
		v.below(p, d, state, 0)
	}
	v.settle.mu.Lock()
	missed := !v.lost && v.settle.losses.stand(p)
	v.settle.mu.Unlock()
	if missed || !again && (known || there) {
		v.settle.deep(p)
	}
}

// reach opens p, where that is a directory that matters; else it is nil.
func (v *visit) reach(p entry.Path) (*dirfd.Dir, *policy.State) {
	start := v.pol.Start()
	state := &start
	d := v.root.Dir()
	here := entry.Path("/")
	for _, c := range p.Components() {
		var next *dirfd.Dir
		var child *policy.State
		if n, err := dirfd.NewName(c); err == nil {
			next, child = v.enter(d, here, n, state)
		}
		d.Release()
		if next == nil {
			return nil, nil
		}
		d, state = next, child
		here = here.Join([]byte(c))
	}
	if !state.Hot() {
		d.Release()
		return nil, nil
	}
	return d, state
}

// enter opens the directory called n in dir, where something in it is to be
// watched; else it is nil.
func (v *visit) enter(d *dirfd.Dir, dir entry.Path, n dirfd.Name, state *policy.State) (*dirfd.Dir, *policy.State) {
	child := state.Enter(n.Bytes())
	path := dir.Join(n.Bytes())
	if m := v.root.Mounts().At(path); m != nil {
		var ok bool
		if _, child, ok = v.pol.OnMount(path, m.FSType, state.Match(n.Bytes()), child); !ok {
			return nil, nil
		}
		if dirfd.CanHang(m.FSType) && child != nil && child.Hot() {
			v.lose(Loss{Path: path, Reason: ReasonHangs, Detail: m.FSType, Open: true})
			return nil, nil
		}
	}
	if child == nil || !child.Hot() {
		return nil, nil
	}
	next, err := d.OpenDir(n)
	switch {
	case err == nil:
		return next, child
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, nil // there is no such directory: the one above tells when there is
	}
	v.lose(Loss{Path: path, Reason: ReasonUnwatched, Detail: err.Error(), Open: true})
	return nil, nil
}

// below watches the directory open as d, then lists it and goes on below: what
// comes between the two is seen by one of them.
func (v *visit) below(p entry.Path, d *dirfd.Dir, state *policy.State, depth int) {
	if v.ctx.Err() != nil {
		return
	}
	if !v.watch(p, d) {
		return
	}
	names, list := state.Names()
	var l dirfd.Names
	if !list {
		for _, n := range names {
			l.Add(n)
		}
	} else if _, err := d.List(&l); err != nil && !errors.Is(err, unix.ENOENT) {
		v.lose(Loss{Path: p, Reason: ReasonUnwatched, Detail: err.Error(), Open: true})
	}
	for i := range l.Len() {
		n := l.Name(i)
		if k := l.Kind(i); k != entry.Dir && k != entry.KindUnknown && list {
			continue
		}
		v.inside(p, d, n, state, depth)
	}
}

// inside goes on in the directory called n in p, if that is one that matters.
func (v *visit) inside(p entry.Path, d *dirfd.Dir, n dirfd.Name, state *policy.State, depth int) {
	next, child := v.enter(d, p, n, state)
	if next == nil {
		return
	}
	defer next.Release()
	path := p.Join(n.Bytes())
	if depth >= deepest {
		v.todo = append(v.todo, path)
	} else {
		v.below(path, next, child, depth+1)
	}
}

// watch adds one watch. It reports whether it stands.
func (v *visit) watch(p entry.Path, d *dirfd.Dir) bool {
	err := v.tree.watch(p, d)
	switch {
	case err == nil:
		return true
	case p != "/" && (errors.Is(err, errElse) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)):
		return false // it was replaced in this moment: the directory above tells of that
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENOMEM):
		v.lose(Loss{Path: p, Reason: ReasonLimit, Detail: "fs.inotify.max_user_watches", Open: true})
	case errors.Is(err, unix.ENOSYS):
		v.lost = true // no backend: told where it could not be made
	default:
		v.lose(Loss{Path: p, Reason: ReasonUnwatched, Detail: err.Error(), Open: true})
	}
	return false
}

// lose notes a place that is not watched. The first time it is to be looked at.
func (v *visit) lose(l Loss) {
	v.lost = true
	v.settle.change(func() { v.settle.losses.add(l) })
}
