package scanner

import (
	"sync"
	"sync/atomic"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// chunkSize is how many names of a wide directory a worker takes at once.
const chunkSize = entry.PartSize / 4

// wide is a directory of so many names that all workers share it. Each takes
// the next chunk of the names; what comes of the chunks is joined in their
// order and cut into parts by the entries that were kept. So the blocks are
// those that one worker alone would deliver.
type wide struct {
	t      task // without a directory of its own
	points map[string]bool
	names  *dirfd.Names
	deep   atomic.Bool // a child's path was too long: said once
	ahead  int         // chunks taken and not joined, at most: they are kept in memory

	mu     sync.Mutex   // guards the rest
	next   int          // name
	taken  int          // chunks
	joined int          // chunks
	done   map[int]*job // chunks that wait for one before them
	parked bool         // no task waits: too far ahead
	part   *job         // being filled
	free   [][]entry.Entry
}

// spread makes the names just listed in t the work of all workers.
func (w *worker) spread(t *task, points map[string]bool) {
	d := &wide{t: *t, points: points, names: w.names.Detach(), ahead: 2 * w.opt.Workers, done: map[int]*job{}}
	d.t.dir = nil
	w.places.keep(t.place, t.dir)
	d.part = &job{block: entry.Block{Dir: t.path, Entries: d.slice(entry.PartSize)}}
	w.push(d.task())
}

// task returns a task that takes the next chunk.
func (d *wide) task() *task {
	return &task{wide: d, path: d.t.path, budget: d.t.budget}
}

// take returns the next chunk, names from up to to, and the task for the one
// behind it, if it may be taken already. ok is false where there is nothing to
// take now.
func (d *wide) take() (at, from, to int, next *task, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parked = d.taken-d.joined >= d.ahead; d.parked {
		return 0, 0, 0, nil, false
	}
	at, from = d.taken, d.next
	to = min(from+chunkSize, d.names.Len())
	d.taken++
	if d.next = to; to < d.names.Len() {
		next = d.task()
	}
	return at, from, to, next, true
}

// chunk does the next chunk of a wide directory.
func (w *worker) chunk(d *wide) {
	at, from, to, next, ok := d.take()
	if !ok {
		return
	}
	if next != nil {
		w.push(next) // before what lies below: that is done first, so that little of it waits
	}
	t := d.t
	defer t.release()
	l := listing{w: w, t: &t, points: d.points, deep: &d.deep}
	l.begin(d.entries())
	defer func() { w.join(d, at, l.job, t.dir) }() // whatever happens: others wait for it
	defer func() {
		if r := recover(); r != nil {
			w.recovered(Gap{Path: t.path, Subtree: true}, r)
		}
	}()
	var err error
	if t.dir, err = w.places.reach(t.place); err != nil {
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
		return
	}
	if at == 0 && l.whole() {
		l.self()
	}
	if t.budget.exhausted() {
		w.overBudget(&t)
		if t.state = t.state.Rest(); t.state == nil || lists(t.state) {
			return
		}
	}
	for i := from; i < to && w.ctx.Err() == nil; i++ {
		l.one(d.names.Name(i), d.names.Kind(i))
	}
	t.budget.spend(to - from)
}

// join takes chunk j, cuts what is complete by now into parts and delivers
// them.
func (w *worker) join(d *wide, at int, j *job, dir *dirfd.Dir) {
	if w.ctx.Err() != nil {
		return
	}
	ready, next := d.join(at, j)
	if next != nil {
		w.push(next)
	}
	for _, p := range ready {
		p.place, p.mount, p.pseudo = d.t.place, d.t.mount, d.t.pseudo
		w.finish(p, dir, d.t.budget)
		d.reuse(p.block.Entries)
	}
}

func (d *wide) join(at int, j *job) (ready []*job, next *task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done[at] = j
	for {
		j := d.done[d.joined]
		if j == nil {
			break
		}
		delete(d.done, d.joined)
		d.joined++
		ready = d.cut(ready, j)
	}
	if d.joined == d.taken && d.next == d.names.Len() {
		return append(ready, d.part), nil
	}
	if d.parked && d.taken-d.joined < d.ahead {
		d.parked = false
		next = d.task()
	}
	return ready, next
}

// cut moves the entries of a chunk to the part that is being filled. One that
// is full ends before the next entry.
func (d *wide) cut(ready []*job, j *job) []*job {
	list := j.block.Entries
	for i := range list {
		p := d.part
		if len(p.block.Entries) == entry.PartSize {
			p.block.Next = list[i].Name
			ready = append(ready, p)
			p = &job{block: entry.Block{Dir: p.block.Dir, Part: p.block.Part + 1, Entries: d.slice(entry.PartSize)}}
			d.part = p
		}
		if i < len(j.later) && j.later[i].name != nil {
			p.leave(len(p.block.Entries), j.later[i])
		}
		p.block.Entries = append(p.block.Entries, list[i])
	}
	clear(list) // what the entries point to is the part's now
	d.free = append(d.free, list[:0])
	return ready
}

// slice returns an empty slice for n entries. d.mu is held, or d is not shared
// yet.
func (d *wide) slice(n int) []entry.Entry {
	for i, s := range d.free {
		if cap(s) == n {
			d.free[i] = d.free[len(d.free)-1]
			d.free = d.free[:len(d.free)-1]
			return s
		}
	}
	return make([]entry.Entry, 0, n)
}

// entries returns room for the entries of a chunk, with that of "/" itself.
func (d *wide) entries() []entry.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.slice(chunkSize + 1)
}

// reuse takes back the entries of a part that was delivered.
func (d *wide) reuse(list []entry.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(list)
	d.free = append(d.free, list[:0])
}
