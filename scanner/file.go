package scanner

import (
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/digest"
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
	// inFlight is longer than one call of write(2) may take.
	inFlight = time.Minute
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
	defer f.Close()
	var st dirfd.Stat
	if err := f.Stat(&st); err != nil {
		l.lost(n, d, err)
		return
	}
	if st.Kind != entry.File || mountOf(&st) != l.t.mount {
		l.unopened(n, d, set, nil) // replaced since it was listed: look at it by name
		return
	}
	e := l.slot(n.Bytes(), d)
	st.Fill(e)
	if st.Size >= largeSize && set.For(entry.File)&entry.Content != 0 {
		l.later(n, d, e, false)
		return
	}
	l.w.opened(e, set, f, &st, l.t, n)
	l.keep(e, d)
}

// later leaves a file to a task of its own.
func (l *listing) later(n dirfd.Name, d policy.Decision, e *entry.Entry, leased bool) {
	l.keep(e, d)
	l.large = true
	i := len(l.job.block.Entries) - 1
	for len(l.job.later) <= i {
		l.job.later = append(l.job.later, later{})
	}
	l.job.later[i] = later{append(dirfd.Name(nil), n...), leased}
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
	l.later(n, d, e, true)
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
	f, err := w.open(j.dir, n)
	if err != nil {
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Attrs: missing})
		return
	}
	defer f.Close()
	f.Sequential()
	var st dirfd.Stat
	if err := f.Stat(&st); err != nil || st.Kind != entry.File || st.Inode != e.Inode || st.Device != e.Device {
		w.gap(Gap{Path: t.path, Reason: ReasonReplaced, Attrs: missing})
		return
	}
	st.Fill(e)
	in := &task{path: j.block.Dir, pseudo: j.pseudo, budget: t.budget}
	w.opened(e, set, f, &st, in, n)
}

// leaseLimit is how long a scan waits for leases, all together: longer than the
// kernel's default of 45 s for breaking one.
const leaseLimit = 50 * time.Second

// open opens a file for reading and waits for its lease to be broken.
func (w *worker) open(dir *dirfd.Dir, n dirfd.Name) (dirfd.File, error) {
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
func (w *worker) opened(e *entry.Entry, set entry.Set, f dirfd.File, st *dirfd.Stat, t *task, n dirfd.Name) {
	w.openedMeta(e, set, f.FD(), t.path)
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
	reason, detail := w.content(e, set, f, st, t)
	read = reason == ""
	if reason != "" && w.ctx.Err() == nil {
		w.gap(Gap{Path: t.path.Join(e.Name), Reason: reason, Detail: detail, Attrs: entry.Content})
	}
}

// content hashes the file and looks again afterwards: a digest counts only if
// nothing moved meanwhile. A log may have grown behind what was read.
func (w *worker) content(e *entry.Entry, set entry.Set, f dirfd.File, st *dirfd.Stat, t *task) (Reason, string) {
	for range readTries {
		if time.Since(time.Unix(st.Ctime.Sec, 0)) < inFlight {
			f.Settle()
		}
		sum, hashed, err := w.read(f, st, t, w.logPrefix(set, t.path, e.Name))
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
			return "", ""
		}
		*st = after
		meta := e.Have & (xattrAttrs | entry.Flags)
		st.Fill(e)
		e.Have |= meta
	}
	return ReasonBusy, ""
}

// read digests st.Size bytes, or up to the end of a pseudo file. It returns
// hashed -1 if the file was shorter. If old is set and the file's first
// old.hashed bytes have old.sum, it returns just that pair.
func (w *worker) read(f dirfd.File, st *dirfd.Stat, t *task, old *prefix) (sum digest.Digest, hashed int64, err error) {
	pseudo := t.pseudo
	if st.Size == 0 && !pseudo {
		return digest.Sum(nil), 0, nil
	}
	if st.Size >= segmentsFrom && !pseudo && old == nil {
		return w.readSegments(f, st, t)
	}
	w.prepare()
	w.hash.Reset(st.Size)
	r := reading{w: w, f: f, size: st.Size, pseudo: pseudo, budget: t.budget, sparse: !pseudo && sparse(st)}
	if old != nil && old.hashed <= st.Size {
		if err := r.to(old.hashed); err != nil {
			return sum, 0, err
		}
		if w.hash.Sum() == old.sum {
			r.done()
			return old.sum, old.hashed, nil
		}
	}
	err = r.to(st.Size)
	r.done()
	if err == io.ErrUnexpectedEOF {
		return sum, -1, nil
	}
	return w.hash.Sum(), r.off, err
}

// prepare makes the worker's buffer when it is first needed.
func (w *worker) prepare() {
	if w.buf == nil {
		w.buf = make([]byte, bufferSize)
	}
}

// sparse reports whether looking for holes may save reading.
func sparse(st *dirfd.Stat) bool { return st.Size >= sparseSize && int64(st.Blocks)*512 < st.Size }

// errPanic is a bug in reading a file that several workers share.
var errPanic = errors.New("internal error")

// errBudget ends the reading of a file whose root has used up its time.
var errBudget = errors.New("budget exhausted")

// reading is one pass over a file, or over a part of it.
type reading struct {
	w      *worker
	f      dirfd.File
	start  int64
	off    int64
	size   int64
	pseudo bool
	budget *budget
	sparse bool
	probed bool  // it is known whether the page cache holds it
	cold   bool  // nothing of it was in the page cache before
	ahead  int64 // end of what was asked to be read ahead, in one of several segments
	end    int64 // of the segment
	data   int64
	hole   int64 // [data, hole) is the extent at or after off, when sparse
}

// to hashes up to offset end. io.ErrUnexpectedEOF says that the file is
// shorter.
func (r *reading) to(end int64) error {
	for r.off < end || r.pseudo {
		if err := r.w.ctx.Err(); err != nil {
			return err
		}
		if r.budget.overtime() {
			return errBudget
		}
		if r.sparse && r.off >= r.hole {
			var err error
			if r.data, r.hole, err = r.f.NextData(r.off, r.size); err != nil {
				r.sparse = false // the file system cannot tell: read the zeros
			}
		}
		if r.sparse && r.off < r.data {
			r.zero(min(r.data, end))
			continue
		}
		want := min(int64(bufferSize), end-r.off)
		if r.pseudo {
			want = bufferSize
		} else if r.sparse {
			want = min(want, r.hole-r.off)
		}
		n, err := r.next(r.w.buf[:want])
		if err != nil {
			return err
		}
		if n == 0 {
			if r.pseudo {
				return nil
			}
			return io.ErrUnexpectedEOF
		}
		r.add(r.w.buf[:n])
	}
	return nil
}

func (r *reading) next(b []byte) (int, error) {
	if !r.probed && !r.pseudo {
		r.probed = true
		n, cold, err := r.f.ReadCached(b, r.off)
		if !cold {
			return n, err
		}
		r.cold = true
	}
	r.readAhead()
	return r.f.ReadAt(b, r.off)
}

// aheadStep is what one request asks to be read ahead: the kernel takes no more
// than about that much.
const aheadStep = 1 << 20

// readAhead keeps the disk busy for a segment. The kernel's own reading ahead
// follows one reader a file, and would go beyond the segment.
func (r *reading) readAhead() {
	for r.cold && r.ahead < r.end && r.ahead < r.off+aheadStep {
		n := min(aheadStep, r.end-r.ahead)
		r.f.Ahead(r.ahead, n)
		r.ahead += n
	}
}

func (r *reading) add(b []byte) {
	r.w.hash.Write(b)
	r.off += int64(len(b))
	r.w.stats.bytes.Add(int64(len(b)))
	r.w.opt.Progress.Bytes.Add(int64(len(b)))
	r.w.rate.wait(r.w.ctx, len(b))
}

// zero hashes a hole without reading it.
func (r *reading) zero(end int64) {
	if r.w.zeros == nil {
		r.w.zeros = make([]byte, bufferSize)
	}
	n := min(end-r.off, int64(len(r.w.zeros)))
	r.w.hash.Write(r.w.zeros[:n])
	r.off += n
}

// done gives the page cache back as it was: what was cold is dropped.
func (r *reading) done() {
	if r.cold {
		r.f.Drop(r.start, r.off-r.start)
	}
}
