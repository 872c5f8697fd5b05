package scanner

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// child delivers a directory's own entry and pushes the task that lists it.
func (l *listing) child(n dirfd.Name, d policy.Decision, state *policy.State, st *dirfd.Stat, mount uint64, pseudo bool) {
	path := l.t.path.Join(n.Bytes())
	if l.w.opt.hidden(path) {
		return
	}
	sel := l.count(d)
	set := entry.Set{}
	if sel {
		set = l.w.sets[d.Set]
		sel = !set.Sweep // a sweep keeps no directories
	}
	enter, free := l.below(path, n.Bytes(), sel, mount)
	if l.t.only != nil || !enter {
		state = nil
	}
	var open *dirfd.Dir
	const fdAttrs = entry.XattrAttr | entry.ACL | entry.SELinux | entry.Flags
	if sel && set.For(entry.Dir)&fdAttrs != 0 || state != nil && l.w.places.room() {
		var err error
		open, err = l.t.dir.OpenDir(n)
		if err == unix.EACCES && !sel && !lists(state) {
			open, err = l.t.dir.OpenPath(n)
		}
		if err != nil {
			l.closedDir(n, d, sel, set, state, st, err)
			return
		}
		defer func() { open.Release() }()
		seen := objectID{st.Device, st.Inode}
		if err := open.StatSelf(st); err != nil || (objectID{st.Device, st.Inode}) != seen {
			l.w.gap(Gap{Path: path, Reason: ReasonReplaced, Subtree: true})
			return
		}
	}
	if sel {
		e := l.slot(n.Bytes(), d)
		st.Fill(e)
		if open != nil {
			l.w.openedMeta(e, set, open.FD(), path)
		}
		l.keep(e, d)
	}
	if state == nil {
		return
	}
	if len(path) > entry.MaxKey {
		if l.deep.CompareAndSwap(false, true) {
			l.w.gap(Gap{Path: l.t.path, Reason: ReasonPathTooLong, Detail: "directories in it have longer paths than a baseline holds", Subtree: true})
		}
		return
	}
	at := &place{parent: l.t.place, name: bytes.Clone(n), seen: objectID{st.Device, st.Inode}, mount: mountOf(st)}
	t := &task{place: at, path: path, state: state, mount: mount, pseudo: pseudo, free: free, budget: l.w.budget.of(d, path, l.t.budget)}
	if open != nil {
		l.w.places.keep(at, open)
	}
	l.w.places.keep(l.t.place, l.t.dir) // last: it serves all its children
	l.w.push(t)
}

// closedDir delivers what is known of a directory that cannot be opened.
func (l *listing) closedDir(n dirfd.Name, d policy.Decision, sel bool, set entry.Set, state *policy.State, st *dirfd.Stat, err error) {
	path := l.t.path.Join(n.Bytes())
	if errors.Is(err, unix.ENOENT) {
		return
	}
	var missing entry.Attr
	if sel {
		e := l.slot(n.Bytes(), d)
		st.Fill(e)
		l.w.namedMeta(e, set, l.t.dir, n, l.t.path)
		missing = set.For(entry.Dir) &^ e.Have
		l.keep(e, d)
	}
	if missing != 0 {
		l.w.gap(Gap{Path: path, Reason: reasonOf(err), Detail: detailOf(err), Attrs: missing, Subtree: state != nil})
		return
	}
	if state != nil {
		l.w.gap(Gap{Path: path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
	}
}

// lists reports whether a directory in that state must be listed; else looking
// up names in it is enough.
func lists(state *policy.State) bool {
	if state == nil {
		return false
	}
	_, list := state.Names()
	return list
}
