package scanner

import (
	"fmt"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// hidden reports whether p was announced as a gap before the scan.
func (o *Options) hidden(p entry.Path) bool {
	_, ok := o.Hidden[p]
	return ok
}

// free reports whether all of directory p is looked at.
func (s *scan) free(p entry.Path) bool {
	if s.opt.Shallow {
		return s.limits.Is(p)
	}
	return s.limits.Hold(p)
}

// below says of a directory in the listing whether it is entered, and whether all
// of it is looked at then. In a shallow scan one that Prior has nothing of belongs
// to the one it stands in, unless it came since: then it is told by itself. Of
// another mount that Prior has nothing of no directory is answerable.
func (l *listing) below(p entry.Path, name []byte, selected bool, mount uint64) (enter, free bool) {
	w := l.w
	switch {
	case w.opt.Flat:
		return len(w.limits.Names(p)) > 0, false
	case !w.opt.Shallow:
		return true, w.free(p)
	}
	if w.limits.Is(p) {
		return true, true
	}
	if l.t.free && w.old != nil && mount == l.t.mount {
		_, stored := w.old.Dir(p.Key(), 0)
		if !stored && (!selected || w.before(l.t.path, name) != nil) {
			return true, true
		}
	}
	return w.leads(p), false
}

// leads reports whether p is a limit, or lies above one.
func (s *scan) leads(p entry.Path) bool { return s.limits.Lead(p) }

// mountPoint handles a name that the mount table calls a mount point. Nothing
// is asked of the file system mounted there before its type is known.
func (l *listing) mountPoint(n dirfd.Name, d policy.Decision, child *policy.State) {
	path := l.t.path.Join(n.Bytes())
	if l.w.opt.hidden(path) {
		return
	}
	m := l.w.root.Mounts().At(path)
	if m == nil || l.canHang(m.FSType, path) {
		l.foreign(n, d, child, m, path)
		return
	}
	var st dirfd.Stat
	if err := l.t.dir.Stat(n, true, &st); err != nil {
		l.lost(n, d, err)
		return
	}
	if mountOf(&st) == l.t.mount { // unmounted since the table was read
		l.stated(n, d, child)
		return
	}
	l.crossing(n, d, child, &st)
}

// crossing enters another mount, if the policy wants it.
func (l *listing) crossing(n dirfd.Name, d policy.Decision, child *policy.State, st *dirfd.Stat) {
	path := l.t.path.Join(n.Bytes())
	if l.w.opt.hidden(path) {
		return
	}
	m := l.w.root.Mounts().ByID(st.Mount)
	if m == nil && l.w.root.Mounts().Known() {
		if reachable := d.Select || l.t.state.Enter(n.Bytes()) != nil; reachable {
			l.w.gap(Gap{Path: path, Reason: ReasonHidden, Detail: "mounted while the scan ran", Subtree: true})
		}
		return
	}
	fstype := ""
	if m != nil {
		fstype = m.FSType
	}
	d, child, ok := l.wanted(n, d, child, m, path)
	if !ok {
		return
	}
	if m != nil && l.canHang(fstype, path) {
		l.foreign(n, d, child, m, path)
		return
	}
	switch st.Kind {
	case entry.Dir:
		l.child(n, d, child, st, mountOf(st), pseudoFS(fstype))
	case entry.File:
		l.boundFile(n, d, st, pseudoFS(fstype))
	default:
		l.special(n, d, st)
	}
}

// wanted tells what is selected on the mount m at path. On one that the policy
// passes over that is only what a rule names there, the mount point itself or
// something below it; where there is nothing, ok is false and that is booked.
func (l *listing) wanted(n dirfd.Name, d policy.Decision, child *policy.State, m *dirfd.Mount, path entry.Path) (_ policy.Decision, _ *policy.State, ok bool) {
	if child == nil {
		child = l.t.state.Enter(n.Bytes())
	}
	if m == nil {
		return d, child, true
	}
	if d, child, ok = l.w.pol.OnMount(path, m.FSType, d, child); !ok {
		l.passOver(path, m.FSType)
	}
	return d, child, ok
}

// passOver books a mount that is not entered.
func (l *listing) passOver(path entry.Path, fstype string) {
	l.w.mu.Lock()
	l.w.skipped = append(l.w.skipped, Skip{path, fstype})
	l.w.mu.Unlock()
	if l.w.old != nil && l.covers(path) {
		l.w.gap(Gap{Path: path, Reason: ReasonHidden, Subtree: true})
	}
}

// covers reports whether the baseline knows something at or below path.
func (l *listing) covers(path entry.Path) bool {
	if _, ok := l.w.old.Dir(path.Key(), 0); ok {
		return true
	}
	return l.w.before(l.t.path, []byte(path.Base())) != nil
}

// boundFile delivers a file that is itself a mount point.
func (l *listing) boundFile(n dirfd.Name, d policy.Decision, st *dirfd.Stat, pseudo bool) {
	mount, was := l.t.mount, l.t.pseudo
	l.t.mount, l.t.pseudo = mountOf(st), pseudo
	l.file(n, d)
	l.t.mount, l.t.pseudo = mount, was
}

// foreign handles a file system that can hang: it is never touched by this
// process.
func (l *listing) foreign(n dirfd.Name, d policy.Decision, child *policy.State, m *dirfd.Mount, path entry.Path) {
	fstype := "unknown"
	if m != nil {
		fstype = m.FSType
	}
	d, child, ok := l.wanted(n, d, child, m, path)
	if !ok || !d.Select && child == nil {
		return
	}
	if l.w.opt.Isolate == nil || l.t.only != nil {
		l.w.gap(Gap{Path: path, Reason: ReasonUnsupported, Detail: fmt.Sprintf("file system %s can hang and is not scanned in this process", fstype), Subtree: true})
		return
	}
	w := l.w
	var own *entry.Entry
	var err error
	w.apart(func() {
		own, err = w.opt.Isolate(w.ctx, Isolated{Path: path, FSType: fstype}, w.id, isolatedSink{w.sink, w.scan})
	})
	if err != nil {
		if w.ctx.Err() == nil {
			w.gap(Gap{Path: path, Reason: ReasonTimeout, Detail: err.Error(), Subtree: true})
		}
		return
	}
	if own != nil && d.Select {
		e := l.slot(n.Bytes(), d)
		*e = *own
		l.keep(e, d)
	}
}

// isolatedSink counts what another process found as this scan's own.
type isolatedSink struct {
	Sink
	s *scan
}

func (i isolatedSink) Dir(w int, b *entry.Block) error {
	i.s.stats.dirs.Add(1)
	i.s.stats.selected.Add(int64(len(b.Entries)))
	for k := range b.Entries {
		if e := &b.Entries[k]; e.Kind == entry.File {
			i.s.stats.files.Add(1)
			if e.Have&entry.Content != 0 {
				i.s.stats.bytes.Add(e.Size)
			}
		}
	}
	return i.Sink.Dir(w, b)
}

func (i isolatedSink) Gap(w int, g Gap) error {
	i.s.stats.gaps.Add(1)
	if g.Attrs == 0 {
		i.s.stats.selected.Add(1)
	}
	return i.Sink.Gap(w, g)
}

// canHang reports whether the mount at path must be left to another process.
func (l *listing) canHang(fstype string, path entry.Path) bool {
	return dirfd.CanHang(fstype) && path != l.w.opt.Enter
}
