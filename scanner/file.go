package scanner

import (
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

const (
	// bufferSize holds most files whole and stays in the second-level cache.
	bufferSize = 256 << 10
	// largeSize is the size from which a file is a task of its own, so that
	// the files of one directory keep all workers busy.
	largeSize = 8 << 20
	// readTries is how often a file that changes while it is read is read.
	readTries = 3
	// sparseSize is the size from which holes are looked for.
	sparseSize = 1 << 20
	// atRest is longer than one call of write(2) may take.
	atRest = time.Minute
)

// openAttrs are the attributes that need the file open.
const openAttrs = entry.Content | entry.XattrAttr | entry.ACL | entry.Caps | entry.SELinux | entry.Flags

// file handles a name that the listing called a regular file.
func (l *listing) file(n dirfd.Name, d policy.Decision) {
	if !l.count(d) {
		return
	}
	set := l.w.sets[d.Set]
	if set.Sweep {
		l.swept(n, d, set)
		return
	}
	if set.For(entry.File)&openAttrs == 0 {
		l.unopened(n, d, set, nil)
		return
	}
	f, err := l.t.dir.OpenFile(n)
	if err == unix.EAGAIN {
		l.leased(n, d)
		return
	}
	if err != nil {
		l.unopened(n, d, set, err)
		return
	}
	o := opening{File: f}
	held := false
	defer func() {
		if !held {
			f.Close()
		}
	}()
	l.peek(&o, set)
	if !o.whole {
		if err := f.Stat(&o.st); err != nil {
			l.lost(n, d, err)
			return
		}
	}
	if o.st.Kind != entry.File || mountOf(&o.st) != l.t.mount {
		l.unopened(n, d, set, nil) // replaced since it was listed: look at it by name
		return
	}
	e := l.slot(n.Bytes(), d)
	o.st.Fill(e)
	if o.st.Size >= largeSize && set.For(entry.File)&entry.Content != 0 {
		l.later(d, e, later{name: n, probed: o.probed, cold: o.cold})
		return
	}
	if o.cold {
		held = true
		l.wait(n, d, &o)
		return
	}
	l.w.opened(e, set, &o, l.t, n)
	l.keep(e, d)
}

// opening is a file on its way from open to close.
type opening struct {
	dirfd.File
	st     dirfd.Stat
	head   int  // bytes that the worker's buffer holds, from the beginning
	whole  bool // they are all of it
	probed bool // it is known whether the page cache holds it
	cold   bool // nothing of it was in the page cache before
}

// peekSize is the size below which a file is read before anything else is
// asked of it.
const peekSize = 32 << 10

// peek reads a small file and looks at it once, afterwards: if it last changed
// before the scan came here, nothing moved while it was read. In every other
// case the file is left as it was opened. What may have taken the place of the
// regular file that was listed gives nothing to pread(2): links and sockets are
// not opened, FIFOs cannot seek, directories cannot be read. A device can only
// be put there by who owns the machine.
func (l *listing) peek(o *opening, set entry.Set) {
	w := l.w
	if set.Log || set.For(entry.File)&entry.Content == 0 || l.t.pseudo || l.t.budget != nil || w.opt.Trust != nil {
		return
	}
	w.prepare()
	n, cold, err := w.readCached(o.File, w.buf[:peekSize], 0)
	o.probed, o.cold = err == nil, cold
	w.met.probes++
	if cold || err != nil {
		return
	}
	if n == peekSize {
		o.head = n
		return
	}
	err = o.Stat(&o.st)
	o.whole = err == nil && o.st.Kind == entry.File && o.st.Size == int64(n) && !w.recent(&o.st)
}

// later leaves a file to a task of its own.
func (l *listing) later(d policy.Decision, e *entry.Entry, f later) {
	l.keep(e, d)
	f.name = append(dirfd.Name(nil), f.name...)
	l.job.leave(len(l.job.block.Entries)-1, f)
}

// leased leaves a file that somebody holds a lease on, fcntl(2) F_SETLEASE, to
// the end of the scan. The kernel breaks the lease meanwhile.
func (l *listing) leased(n dirfd.Name, d policy.Decision) {
	l.w.mu.Lock()
	if l.w.leases.IsZero() {
		l.w.leases = time.Now().Add(leaseLimit)
	}
	l.w.mu.Unlock()
	var st dirfd.Stat
	if err := l.t.dir.Stat(n, false, &st); err != nil {
		l.lost(n, d, err)
		return
	}
	if st.Kind != entry.File || mountOf(&st) != l.t.mount {
		l.w.gap(Gap{Path: l.t.path.Join(n.Bytes()), Reason: ReasonReplaced})
		return
	}
	e := l.slot(n.Bytes(), d)
	st.Fill(e)
	l.later(d, e, later{name: n, leased: true})
}

// largeFile does what file left to be done.
func (w *worker) largeFile(t *task) {
	j := t.job
	defer w.partDone(j)
	e := &j.block.Entries[t.index]
	set := w.sets[e.Set]
	n := j.later[t.index].name
	missing := set.For(entry.File) & openAttrs
	defer func() {
		if r := recover(); r != nil {
			e.Have &^= entry.Content
			w.recovered(Gap{Path: t.path, Attrs: set.For(entry.File) &^ e.Have}, r)
		}
	}()
	f, err := w.open(j.place, n)
	if err != nil {
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Attrs: missing})
		return
	}
	defer f.Close()
	f.Sequential()
	o := opening{File: f, probed: j.later[t.index].probed, cold: j.later[t.index].cold}
	st := &o.st
	if err := f.Stat(st); err != nil || st.Kind != entry.File || st.Inode != e.Inode || st.Device != e.Device {
		w.gap(Gap{Path: t.path, Reason: ReasonReplaced, Attrs: missing})
		return
	}
	st.Fill(e)
	in := &task{path: j.block.Dir, pseudo: j.pseudo, budget: t.budget}
	w.opened(e, set, &o, in, n)
}

// leaseLimit is how long a scan waits for leases, all together: longer than the
// kernel's default of 45 s for breaking one.
const leaseLimit = 50 * time.Second

// open opens a file for reading and waits for its lease to be broken.
func (w *worker) open(at *place, n dirfd.Name) (dirfd.File, error) {
	dir, err := w.places.reach(at)
	if err != nil {
		return dirfd.File{}, err
	}
	defer dir.Release()
	w.mu.Lock()
	until := w.leases
	w.mu.Unlock()
	f, err := dir.OpenFile(n)
	for err == unix.EAGAIN && time.Now().Before(until) {
		t := time.NewTimer(250 * time.Millisecond)
		select {
		case <-t.C:
		case <-w.ctx.Done():
			t.Stop()
			return f, err
		}
		f, err = dir.OpenFile(n)
	}
	return f, err
}

// unopened delivers a file of which only the metadata is asked, or that could
// not be opened because of cause.
func (l *listing) unopened(n dirfd.Name, d policy.Decision, set entry.Set, cause error) {
	var st dirfd.Stat
	if err := l.t.dir.Stat(n, false, &st); err != nil {
		l.lost(n, d, err)
		return
	}
	if mountOf(&st) != l.t.mount {
		l.crossing(n, d, l.t.state.Enter(n.Bytes()), &st)
		return
	}
	if st.Kind == entry.Dir {
		l.child(n, d, l.t.state.Enter(n.Bytes()), &st, l.t.mount, l.t.pseudo)
		return
	}
	if st.Kind != entry.File {
		l.special(n, d, &st)
		return
	}
	e := l.slot(n.Bytes(), d)
	st.Fill(e)
	l.w.namedMeta(e, set, l.t.dir, n, l.t.path)
	if missing := set.For(entry.File) &^ e.Have; missing != 0 {
		g := Gap{Path: l.t.path.Join(n.Bytes()), Reason: ReasonReplaced, Attrs: missing}
		if cause != nil {
			g.Reason, g.Detail = reasonOf(cause), detailOf(cause)
		}
		l.w.gap(g)
	}
	l.keep(e, d)
}

// opened reads everything that set asks of an open file into e.
func (w *worker) opened(e *entry.Entry, set entry.Set, o *opening, t *task, n dirfd.Name) {
	st := &o.st
	w.openedMeta(e, set, o.FD(), t.path)
	if set.For(entry.File)&entry.Content == 0 {
		return
	}
	if w.trusted(e, set, st, t) {
		return
	}
	var link *claimed
	if !set.Log { // a log is held against its own old prefix
		link = w.links.claim(st)
	}
	if link.known(e, st) {
		return
	}
	read := false
	defer func() { link.settle(e, st, read) }() // whatever happens: others wait for it
	if o.whole {
		w.inBuffer(e, st.Size)
		read = true
		return
	}
	reason, detail := w.content(e, set, o, t)
	read = reason == ""
	if reason != "" && w.ctx.Err() == nil {
		w.gap(Gap{Path: t.path.Join(e.Name), Reason: reason, Detail: detail, Attrs: entry.Content})
	}
}

// inBuffer digests a file of n bytes that peek has read.
func (w *worker) inBuffer(e *entry.Entry, n int64) {
	w.hash.Reset(n)
	r := reading{w: w}
	r.add(w.buf[:n])
	e.Digest, e.Hashed = w.hash.Sum(), n
	e.Have |= entry.Content
}

// content hashes the file and looks again afterwards: a digest counts only if
// nothing moved meanwhile. A log may have grown behind what was read.
func (w *worker) content(e *entry.Entry, set entry.Set, o *opening, t *task) (Reason, string) {
	f, st := o.File, &o.st
	log := w.follows(set, t)
	for range readTries {
		if w.recent(st) {
			o.head = 0 // it may have been another
			f.Settle()
		}
		old := w.logPrefix(set, t.path, e.Name)
		if set.Log && !t.pseudo && hollow(st, old) {
			return ReasonHoles, ""
		}
		sum, hashed, err := w.readAs(o, t, set, e.Name, old, log)
		if w.ctx.Err() != nil {
			return ReasonVanished, ""
		}
		if err != nil {
			return reasonOf(err), detailOf(err)
		}
		var after dirfd.Stat
		if err := f.Stat(&after); err != nil {
			return reasonOf(err), detailOf(err)
		}
		grown := set.Log && after.Size >= st.Size && after.Inode == st.Inode
		if hashed >= 0 && (st.Same(&after) || grown || t.pseudo) {
			e.Digest, e.Hashed = sum, hashed
			if t.pseudo && !set.Log {
				e.Hashed = e.Size // as it is stored, whatever could be read
			}
			e.Have |= entry.Content
			if log != nil {
				log.Entry = e
				w.opt.Logs.Saw(w.id, t.path, log)
			}
			return "", ""
		}
		*st, o.head = after, 0
		meta := e.Have & (xattrAttrs | entry.Flags)
		st.Fill(e)
		e.Have |= meta
	}
	return ReasonBusy, ""
}

// recent reports whether the file may have been written to during this scan.
// What is not recent is older than any write that is still going on.
func (w *worker) recent(st *dirfd.Stat) bool {
	return w.began.Sub(time.Unix(st.Ctime.Sec, 0)) < w.atRest
}
