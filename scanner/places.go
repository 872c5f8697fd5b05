package scanner

import (
	"container/list"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
)

// place is a directory in which, or below which, work waits, and how to find
// it again if it is not open any more.
type place struct {
	parent *place // nil where the scan began: that is always open
	name   dirfd.Name
	seen   objectID // what the listing of parent found under name
	mount  uint64
	open   *list.Element // guarded by places.mu: nil if it is not kept open
}

// is reports whether d is the directory that was seen there.
func (p *place) is(d *dirfd.Dir, st *dirfd.Stat) error {
	if err := d.StatSelf(st); err != nil {
		return err
	}
	if (objectID{st.Device, st.Inode}) != p.seen || mountOf(st) != p.mount {
		return errReplaced
	}
	return nil
}

// errReplaced says that a directory above waiting work is not where it was.
var errReplaced = errors.New("another directory is in its place")

// places keeps directories open for work that waits, no more than limit of
// them: those used longest ago are closed, and found again when they are
// needed, one name at a time from the nearest directory above that is open,
// each compared with what was seen. A deep tree has any number of directories
// with work left in them.
type places struct {
	root  *dirfd.Dir // where the scan began
	limit int

	mu   sync.Mutex
	kept *list.List // of kept, used longest ago first; guarded by mu
}

type kept struct {
	at  *place
	dir *dirfd.Dir
}

// descriptors returns how many may be open, and how many of them directories
// that wait, under the limits of the process.
func descriptors() (all, waiting int) {
	all = 1024
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		all = int(min(lim.Cur, 1<<20))
	}
	return all, max(min(256, all/4), 4)
}

func newPlaces(limit int) *places { return &places{limit: limit, kept: list.New()} }

// keep keeps d open for p, with a reference of its own.
func (c *places) keep(p *place, d *dirfd.Dir) {
	if p.parent == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.open != nil {
		c.kept.MoveToBack(p.open)
		return
	}
	for c.kept.Len() >= c.limit {
		c.drop(c.kept.Front().Value.(*kept))
	}
	p.open = c.kept.PushBack(&kept{p, d.Hold()})
}

// drop closes k unless somebody uses it. The caller holds mu.
func (c *places) drop(k *kept) {
	c.kept.Remove(k.at.open)
	k.at.open = nil
	k.dir.Release()
}

// room reports whether a directory can be kept without closing another.
func (c *places) room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept.Len() < c.limit
}

// get returns p's directory with a reference for the caller, nil if it is not
// open. With last it is not kept any longer.
func (c *places) get(p *place, last bool) *dirfd.Dir {
	if p.parent == nil {
		return c.root.Hold()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.open == nil {
		return nil
	}
	k := p.open.Value.(*kept)
	d := k.dir.Hold()
	if c.kept.MoveToBack(p.open); last {
		c.drop(k)
	}
	return d
}

// reach returns p's directory, for looking up names, with a reference for the
// caller.
func (c *places) reach(p *place) (*dirfd.Dir, error) {
	var down []*place
	d := c.get(p, false)
	for d == nil {
		down = append(down, p)
		p = p.parent
		d = c.get(p, false)
	}
	for i := len(down) - 1; i >= 0; i-- {
		p := down[i]
		next, err := d.OpenPath(p.name)
		d.Release()
		if err == nil {
			if err = p.is(next, new(dirfd.Stat)); err != nil {
				next.Release()
			}
		}
		if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
			err = errReplaced
		}
		if err != nil {
			return nil, fmt.Errorf("find %q again: %w", p.name.Bytes(), err)
		}
		if d = next; i < c.limit/4 { // the work above p comes next
			c.keep(p, d)
		}
	}
	return d, nil
}

// close closes everything, the root of the scan too.
func (c *places) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.kept.Len() > 0 {
		c.drop(c.kept.Front().Value.(*kept))
	}
	c.root.Release()
}

// openTask opens the task's directory unless it was handed over open, and
// checks that it is the one that was listed.
func (w *worker) openTask(t *task) bool {
	if w.opt.Pace != nil {
		w.opt.Pace(w.ctx, 0)
	}
	if t.dir != nil {
		return true
	}
	if t.dir = w.places.get(t.place, true); t.dir != nil {
		return true
	}
	parent, err := w.places.reach(t.place.parent)
	if err != nil {
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
		return false
	}
	defer parent.Release()
	d, err := parent.OpenDir(t.place.name)
	if err == unix.EACCES && !lists(t.state) {
		d, err = parent.OpenPath(t.place.name)
	}
	if err != nil {
		if err == unix.ENOENT {
			return false // the parent's entry tells; what was below is gone
		}
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
		return false
	}
	t.dir = d
	var st dirfd.Stat
	if err := t.place.is(d, &st); err != nil {
		w.gap(Gap{Path: t.path, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
		return false
	}
	return true
}
