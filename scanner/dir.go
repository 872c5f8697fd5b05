package scanner

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// worker holds what one goroutine reuses from directory to directory.
type worker struct {
	*scan
	id     int
	hash   *digest.Hasher
	buf    []byte
	zeros  []byte
	names  dirfd.Names
	xattrs dirfd.Xattrs
	block  []entry.Entry
	prior  priorDir
	tally  tally
	met    met
	wary   int // see readCached
	// waiting are files of the present listing.
	waiting []waiting
	began   time.Time // work on the present task
}

// job is one part of a directory on its way to the sink, or a chunk of a wide
// one.
type job struct {
	block   entry.Block
	place   *place
	mount   uint64
	pseudo  bool
	waiting atomic.Int32 // large files not yet hashed, plus one while the part is being filled
	later   []later      // by index of the entry
}

// later is a file that is left to a task of its own.
type later struct {
	name   dirfd.Name // nil: the entry is complete
	leased bool       // wait for the lease first
	probed bool       // as in opening
	cold   bool
}

func (w *worker) do(t *task) {
	defer func() {
		if r := recover(); r != nil {
			w.recovered(Gap{Path: t.path, Subtree: true}, r)
		}
		w.abandon()
		t.release()
	}()
	w.began = time.Now()
	switch {
	case t.segments != nil:
		w.takeSegments(t.segments)
	case t.job != nil:
		w.largeFile(t)
	case t.wide != nil:
		w.chunk(t.wide)
	default:
		w.directory(t)
	}
}

// recovered makes g of a bug in the handling of one object.
func (w *worker) recovered(g Gap, r any) {
	g.Reason, g.Detail = ReasonPanic, fmt.Sprintf("%v at %s", r, firstFrame(debug.Stack()))
	w.gap(g)
}

// sinkPanic ends the scan if the sink panics: what it was given is lost.
func (w *worker) sinkPanic() {
	if r := recover(); r != nil {
		w.fail(fmt.Errorf("%s: %v at %s", ReasonPanic, r, firstFrame(debug.Stack())))
	}
}

// deliver gives b to the sink.
func (w *worker) deliver(b *entry.Block) {
	defer w.sinkPanic()
	w.fail(w.sink.Dir(w.id, b))
}

// gap reports g; an object that is delivered as well is counted there.
func (w *worker) gap(g Gap) {
	w.stats.gaps.Add(1)
	if g.Attrs == 0 {
		w.stats.selected.Add(1)
	}
	defer w.sinkPanic()
	w.fail(w.sink.Gap(w.id, g))
}

func (w *worker) directory(t *task) {
	if t.budget.exhausted() {
		w.overBudget(t)
		// What has a rule of its own further down is still looked up by name.
		if t.state = t.state.Rest(); t.state == nil || lists(t.state) {
			return
		}
	}
	if !w.openTask(t) {
		return
	}
	w.stats.dirs.Add(1)
	runs, ok := w.list(t)
	if !ok {
		return
	}
	points := w.root.Mounts().In(t.path)
	if runs != nil || w.names.Len() >= entry.PartSize { // "/" itself is one entry more
		w.spread(t, points, runs)
		return
	}
	l := listing{w: w, t: t, points: points, deep: new(atomic.Bool)}
	l.begin(w.block)
	if l.whole() {
		l.self()
	}
	for i := range w.names.Len() {
		if w.ctx.Err() != nil {
			break
		}
		l.one(w.names.Name(i), w.names.Kind(i))
	}
	l.settle()
	if w.ctx.Err() == nil {
		w.finish(l.job, t.dir, t.budget)
	}
	w.block = l.job.block.Entries
	t.budget.spend(w.names.Len())
}

// list fills w.names with the sorted names that matter in t's directory. Very
// many are in runs instead.
func (w *worker) list(t *task) (runs *dirfd.Runs, ok bool) {
	w.names.Reset()
	literal, all := t.state.Names()
	switch {
	case t.only != nil:
		for _, n := range t.only {
			w.names.Add(string(n))
		}
	case !all:
		for _, n := range literal {
			w.names.Add(n)
		}
	default:
		var bad int
		var err error
		limit := max(w.opt.NameMemory-int(w.held.Load()), w.opt.NameMemory/16)
		runs, bad, err = t.dir.ListSorted(&w.names, w.opt.TempDir, limit)
		if err == nil && bad > 0 {
			err = fmt.Errorf("%d impossible names in the listing: %w", bad, unix.EUCLEAN)
		}
		if err != nil {
			w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
			if runs == nil && w.names.Len() == 0 {
				return nil, false
			}
		}
		return runs, true
	}
	w.names.Sort()
	w.names.Unique()
	return nil, true
}

// listing builds one part of a directory, or one chunk of a wide one.
type listing struct {
	w      *worker
	t      *task
	points map[string]bool // names here that are mount points
	job    *job
	deep   *atomic.Bool // a child's path was too long: said once
}

// begin starts with room as the entries' memory.
func (l *listing) begin(room []entry.Entry) {
	l.job = &job{place: l.t.place, mount: l.t.mount, pseudo: l.t.pseudo}
	l.job.block = entry.Block{Dir: l.t.path, Entries: room[:0]}
}

// whole reports whether "/" itself belongs to the listing.
func (l *listing) whole() bool { return l.t.path == "/" && l.t.only == nil && l.t.free }

// self delivers "/" itself.
func (l *listing) self() {
	d := l.w.pol.Self()
	if !l.count(d) {
		return
	}
	e := l.slot(nil, d)
	var st dirfd.Stat
	if err := l.t.dir.StatSelf(&st); err != nil {
		l.w.gap(Gap{Path: "/", Reason: reasonOf(err), Detail: detailOf(err)})
		l.drop()
		return
	}
	st.Fill(e)
	l.w.openedMeta(e, l.w.sets[d.Set], l.t.dir.FD(), "/")
	l.keep(e, d)
}

// count books what only one of the two policies selects and reports whether
// the baseline's policy selects.
func (l *listing) count(d policy.Decision) bool {
	if d.Wider == "" && d.Narrower == "" {
		return d.Select
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if d.Wider != "" {
		l.w.widened[d.Wider]++
	}
	if d.Narrower != "" {
		l.w.narrow[d.Narrower]++
	}
	return d.Select
}

// slot returns the next entry of the part, to be kept or dropped.
func (l *listing) slot(name []byte, d policy.Decision) *entry.Entry {
	b := &l.job.block
	b.Entries = append(b.Entries, entry.Entry{Name: name, Set: d.Set})
	return &b.Entries[len(b.Entries)-1]
}

func (l *listing) drop() {
	b := &l.job.block
	b.Entries = b.Entries[:len(b.Entries)-1]
}

// keep accepts the entry of the last slot.
func (l *listing) keep(e *entry.Entry, d policy.Decision) {
	for _, o := range l.w.obs { // first: if one panics the entry is taken back
		o.Entry(l.w.id, l.t.path, e)
	}
	l.w.tally.selected++
	if e.Kind == entry.File {
		l.w.tally.files++
	}
}

// leave notes that entry i of the job is left to a task of its own.
func (j *job) leave(i int, f later) {
	for len(j.later) <= i {
		j.later = append(j.later, later{})
	}
	j.later[i] = f
}

// finish delivers part j, or a copy of it once its large files are hashed. The
// memory of its entries is the caller's again.
func (w *worker) finish(j *job, dir *dirfd.Dir, b *budget) {
	if len(j.later) == 0 {
		w.deliver(&j.block)
		return
	}
	if dir != nil {
		w.places.keep(j.place, dir)
	}
	c := &job{place: j.place, mount: j.mount, pseudo: j.pseudo, later: j.later}
	c.block = entry.Block{Dir: j.block.Dir, Part: j.block.Part, Next: bytes.Clone(j.block.Next), Entries: make([]entry.Entry, len(j.block.Entries))}
	for i := range c.block.Entries {
		c.block.Entries[i] = *j.block.Entries[i].Clone()
	}
	c.waiting.Store(1)
	for i, f := range c.later {
		if f.name != nil {
			c.waiting.Add(1)
			w.push(&task{job: c, index: i, path: c.block.Dir.Join(f.name.Bytes()), budget: b, last: f.leased})
		}
	}
	w.partDone(c)
}

// partDone delivers a part when nothing of it is waited for any more.
func (w *worker) partDone(j *job) {
	if j.waiting.Add(-1) == 0 && w.ctx.Err() == nil {
		w.deliver(&j.block)
	}
}

// one handles one name of the listing.
func (l *listing) one(n dirfd.Name, kind entry.Kind) {
	name := n.Bytes()
	if !l.t.free && !l.w.leads(l.t.path.Join(name)) {
		return
	}
	if l.w.opt.Own != nil && !l.points[string(name)] && l.w.opt.Own(l.t.path, name) && l.inert(n) {
		return
	}
	d := l.t.state.Match(name)
	var child *policy.State
	if kind == entry.Dir || kind == entry.KindUnknown || l.points[string(name)] {
		child = l.t.state.Enter(name)
	}
	if !d.Select && child == nil && d.Wider == "" {
		return
	}
	have := len(l.job.block.Entries)
	defer func() {
		if r := recover(); r != nil {
			l.job.block.Entries = l.job.block.Entries[:min(have, len(l.job.block.Entries))]
			l.w.recovered(Gap{Path: l.t.path.Join(name), Subtree: kind == entry.Dir}, r)
		}
	}()
	switch {
	case l.points[string(name)]:
		l.mountPoint(n, d, child)
	case kind == entry.File:
		l.file(n, d)
	default:
		l.stated(n, d, child)
	}
}

// Inert reports whether an object is a regular file without any execute, setuid
// or setgid bit.
func Inert(k entry.Kind, mode uint16) bool { return k == entry.File && mode&0o6111 == 0 }

// inert reports whether a name is an Inert file, or gone.
func (l *listing) inert(n dirfd.Name) bool {
	var st dirfd.Stat
	err := l.t.dir.Stat(n, true, &st)
	return err == unix.ENOENT || err == nil && Inert(st.Kind, st.Mode)
}

// stated handles what must be looked at before anything else: directories,
// links, special files, and names of unknown kind.
func (l *listing) stated(n dirfd.Name, d policy.Decision, child *policy.State) {
	var st dirfd.Stat
	// What the kernel remembers is enough, and asks no server that was mounted
	// here since the mount table was read.
	if err := l.t.dir.Stat(n, true, &st); err != nil {
		l.lost(n, d, err)
		return
	}
	if mountOf(&st) != l.t.mount {
		l.crossing(n, d, child, &st)
		return
	}
	switch st.Kind {
	case entry.Dir:
		if child == nil {
			child = l.t.state.Enter(n.Bytes())
		}
		l.child(n, d, child, &st, l.t.mount, l.t.pseudo)
	case entry.File:
		l.file(n, d)
	default:
		l.special(n, d, &st)
	}
}

// lost reports a name that could not be looked at. One that is gone by now is
// simply not there.
func (l *listing) lost(n dirfd.Name, d policy.Decision, err error) {
	if err == unix.ENOENT || err == unix.ENOTDIR || !d.Select {
		return
	}
	l.w.gap(Gap{Path: l.t.path.Join(n.Bytes()), Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
}

// special delivers links, FIFOs, sockets and devices, which are never opened.
func (l *listing) special(n dirfd.Name, d policy.Decision, st *dirfd.Stat) {
	if !l.count(d) {
		return
	}
	set := l.w.sets[d.Set]
	if set.Sweep && !SweepKeeps(st.Kind, st.Mode) {
		return
	}
	e := l.slot(n.Bytes(), d)
	st.Fill(e)
	if st.Kind == entry.Symlink && set.For(st.Kind)&entry.Target != 0 {
		t, err := l.t.dir.Readlink(n)
		if err == nil {
			e.Target = t
			e.Have |= entry.Target
		} else {
			l.w.gap(Gap{Path: l.t.path.Join(n.Bytes()), Reason: reasonOf(err), Detail: detailOf(err), Attrs: entry.Target})
		}
	}
	l.w.namedMeta(e, set, l.t.dir, n, l.t.path)
	l.keep(e, d)
}
