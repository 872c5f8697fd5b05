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
	scan   *scan
	held   int64
	deep   atomic.Bool // a child's path was too long: said once
	ahead  int         // chunks taken and not joined, at most: they are kept in memory

	mu     sync.Mutex   // guards the rest
	users  int          // tasks that wait or run
	names  *dirfd.Names // what is not in runs
	runs   *dirfd.Runs
	next   int          // name
	ended  bool         // all names are taken
	taken  int          // chunks
	joined int          // chunks
	done   map[int]*job // chunks that wait for one before them
	parked bool         // no task waits: too far ahead
	part   *job         // being filled
	free   [][]entry.Entry
}

// spread makes the names just listed in t the work of all workers.
func (w *worker) spread(t *task, points map[string]bool, runs *dirfd.Runs) {
	d := &wide{t: *t, points: points, scan: w.scan, names: w.names.Detach(), runs: runs, ahead: 2 * w.opt.Workers, done: map[int]*job{}}
	d.held = int64(d.names.Size())
	w.held.Add(d.held)
	d.t.dir = nil
	w.places.keep(t.place, t.dir)
	d.part = &job{block: entry.Block{Dir: t.path, Entries: d.slice(entry.PartSize)}}
	w.push(d.task())
}

// task returns a task that takes the next chunk. d.mu is held, or d is not
// shared yet.
func (d *wide) task() *task {
	d.users++
	return &task{wide: d, path: d.t.path, budget: d.t.budget}
}

// leave ends the use of d by one task; the last gives its names back.
func (d *wide) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users--; d.users > 0 {
		return
	}
	d.scan.held.Add(-d.held)
	d.names, d.done, d.free = nil, nil, nil
	if d.runs != nil {
		d.runs.Close()
		d.runs = nil
	}
}

// chunk is the number at of the chunks of a wide directory: the names from up
// to to of a list.
type chunk struct {
	names    *dirfd.Names
	at       int
	from, to int
}

// take returns the next chunk and the task for the one behind it. ok is false
// where nothing may be taken now. With an error the rest of the names is lost.
func (d *wide) take() (c chunk, next *task, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parked = d.taken-d.joined >= d.ahead; d.parked {
		return c, nil, false, nil
	}
	c.at = d.taken
	d.taken++
	if d.runs != nil {
		c.names = &dirfd.Names{}
		err = d.runs.Next(c.names, chunkSize)
		c.to = c.names.Len()
		d.ended = err != nil || d.runs.Done()
	} else {
		c.names, c.from = d.names, d.next
		c.to = min(c.from+chunkSize, d.names.Len())
		d.next = c.to
		d.ended = c.to == d.names.Len()
	}
	if !d.ended {
		next = d.task()
	}
	return c, next, true, err
}

// chunk does the next chunk of a wide directory.
func (w *worker) chunk(d *wide) {
	c, next, ok, err := d.take()
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
	defer func() { w.join(d, c.at, l.job, t.dir) }() // whatever happens: others wait for it
	defer func() {
		if r := recover(); r != nil {
			w.recovered(Gap{Path: t.path, Subtree: true}, r)
		}
	}()
	if err != nil {
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
	}
	if t.dir, err = w.places.reach(t.place); err != nil {
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
		return
	}
	if c.at == 0 && l.whole() {
		l.self()
	}
	if t.budget.exhausted() {
		w.overBudget(&t)
		if t.state = t.state.Rest(); t.state == nil || lists(t.state) {
			return
		}
	}
	for i := c.from; i < c.to && w.ctx.Err() == nil; i++ {
		l.one(c.names.Name(i), c.names.Kind(i))
	}
	l.settle()
	t.budget.spend(c.to - c.from)
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
	if d.joined == d.taken && d.ended {
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
