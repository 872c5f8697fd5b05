package watch

import (
	"errors"
	"fmt"
	"slices"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// Kind is a source of events.
type Kind string

// The kinds. Auto is Fanotify where the kernel and the privileges allow that for
// all file systems with hot paths, else Inotify.
const (
	Inotify  Kind = "inotify"
	Fanotify Kind = "fanotify"
	Auto     Kind = "auto"
)

// Backend says where events come from, and why not from fanotify where that was
// wished for; "" where it was not.
func (w *Watcher) Backend() (k Kind, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kind, w.why
}

// choose finds out which kind can be had.
func (w *Watcher) choose() error {
	w.kind = w.opt.Backend
	if w.opt.backend != nil || w.kind != Auto && w.kind != Fanotify {
		return nil
	}
	d := w.root.Dir()
	defer d.Release()
	f, err := newFanotify(d.FD(), w.opt.self)
	if err == nil {
		defer f.close()
		v := &visit{Watcher: w, root: w.root, pol: w.pol}
		places := v.places()
		for i, e := range f.arrange(places) {
			if e != nil {
				err = fmt.Errorf("%q: %w", places[i].path, e)
				break
			}
		}
		release(places)
	}
	switch {
	case err == nil:
		w.kind = Fanotify
	case w.kind == Fanotify:
		return err
	default:
		w.kind, w.why = Inotify, err.Error()
	}
	return nil
}

// make is the backend of the kind that was chosen.
func (w *Watcher) make(fd int) (backend, error) {
	if w.opt.backend != nil {
		return w.opt.backend(fd)
	}
	if k, _ := w.Backend(); k == Fanotify {
		return newFanotify(fd, w.opt.self)
	}
	return newInotify(fd)
}

// places opens the mounts that something hot may lie on.
func (v *visit) places() (out []place) {
	paths := []entry.Path{"/"}
	for _, m := range v.root.Mounts().Below() {
		if matters(v.pol, m.Point) {
			paths = append(paths, m.Point)
		}
	}
	for _, p := range paths {
		if d, _ := v.reach(p); d != nil {
			out = append(out, place{p, d})
		}
	}
	return out
}

func release(list []place) {
	for _, p := range list {
		p.dir.Release()
	}
}

// fileSystems watches the file systems that hot paths lie on. Paths are hinted at
// behind that, as at does.
func (v *visit) fileSystems(b byFileSystem, paths []entry.Path, again bool) {
	places := v.places()
	defer release(places)
	var refused []entry.Path
	for i, err := range b.arrange(places) {
		if err == nil {
			continue
		}
		if v.fall(places[i].path, err) {
			return
		}
		refused = append(refused, places[i].path)
		v.lose(Loss{Path: places[i].path, Reason: ReasonUnwatched, Detail: err.Error(), Open: true})
	}
	v.marked.Store(int64(len(places) - len(refused)))
	for _, p := range paths {
		var missed bool
		if !slices.ContainsFunc(refused, func(r entry.Path) bool { return p.Under(r) || r.Under(p) }) && !v.hangs(p) {
			v.settle.mu.Lock()
			missed = v.settle.losses.stand(p)
			v.settle.mu.Unlock()
		}
		if missed || !again && matters(v.pol, p) {
			v.settle.deep(p)
		}
	}
}

// fall goes on with inotify where a file system turned up that fanotify cannot
// watch, if it was not fanotify that was asked for.
func (v *visit) fall(p entry.Path, err error) bool {
	if v.opt.Backend != Auto || v.opt.backend != nil || !errors.Is(err, ErrFanotify) {
		return false
	}
	v.order(func() { v.kind, v.why, v.anew = Inotify, fmt.Sprintf("%q: %v", p, err), true })
	return true
}

// hangs reports whether p lies on a file system that nothing is opened on, or has
// such a one below it.
func (v *visit) hangs(p entry.Path) bool {
	for _, m := range v.root.Mounts().Below() {
		if dirfd.CanHang(m.FSType) && (p.Under(m.Point) || m.Point.Under(p)) && matters(v.pol, m.Point) {
			return true
		}
	}
	return false
}

// matters reports whether something hot may lie at or below p.
func matters(pol *policy.Effective, p entry.Path) bool {
	start := pol.Start()
	s := &start
	for _, c := range p.Components() {
		if s = s.Enter([]byte(c)); s == nil {
			return pol.Decide(p).Hot
		}
	}
	return s.Hot() || pol.Decide(p).Hot
}
