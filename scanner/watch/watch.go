// Package watch says where something may have changed in the hot paths of a
// policy. What it gives are hints: an event makes somebody look, and what they
// see is the evidence. What it may have missed is hinted at as a whole and told
// with the reason.
package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// Times between attempts.
const (
	retryEvery   = 30 * time.Second // to watch what cannot be watched
	rebuildEvery = 2 * time.Second  // to start over behind an overflow
)

// maxVisits bounds the directories that wait to be walked one by one.
const maxVisits = 4096

// Options of a Watcher. The zero value is usable.
type Options struct {
	// Own, if any, says which names the caller writes itself: they give no hints.
	Own func(dir entry.Path, name []byte) bool
	// Backend says where events come from; "" is Inotify.
	Backend Kind

	quiet, most, retry time.Duration // 0: as the constants say; tests set them
	backend            func(fd int) (backend, error)
	self               int // process whose events are passed over; 0: this one
}

// Watcher watches the hot paths of a policy below one root.
type Watcher struct {
	host    string
	root    *dirfd.Root // holds the root open
	opt     Options
	ctx     context.Context // of Run
	settle  *settle
	out     chan Batch
	ready   chan struct{}
	wake    chan struct{} // the walker has something to do
	readers sync.WaitGroup
	b       backend      // nil: none
	tree    tree         // what it watches, by directory
	marked  atomic.Int64 // file systems that it watches

	mu     sync.Mutex // guards what follows
	pol    *policy.Effective
	visits cover
	anew   bool // start over with a new backend
	faulty bool // likewise with the next attempt: a walk did not end
	kind   Kind
	why    string // it is not fanotify
}

// New opens the directory called host as the root of what p says.
func New(host string, p *policy.Effective, o Options) (*Watcher, error) {
	root, err := dirfd.Open(host)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	if o.quiet == 0 {
		o.quiet, o.most = quietFor, longest
	}
	if o.retry == 0 {
		o.retry = retryEvery
	}
	if o.self == 0 {
		o.self = os.Getpid()
	}
	w := &Watcher{
		host: root.HostPath(), root: root, opt: o, pol: p, settle: newSettle(o.quiet, o.most),
		out: make(chan Batch), ready: make(chan struct{}), wake: make(chan struct{}, 1), visits: newCover(maxVisits),
	}
	w.tree.reset(nil)
	if err := w.choose(); err != nil {
		root.Close()
		return nil, fmt.Errorf("watch: %w", err)
	}
	return w, nil
}

// Batches gives what settled. A receiver may take its time: hints wait, in
// bounded memory.
func (w *Watcher) Batches() <-chan Batch { return w.out }

// Ready is closed when everything that can be watched is. The first batch has
// all that is hot: it changed before, as far as the watcher knows.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Done says that the places of a batch were looked at.
func (w *Watcher) Done(b Batch) {
	w.settle.mu.Lock()
	defer w.settle.mu.Unlock()
	w.settle.losses.done(b.losses)
}

// Losses are the places whose events may be missing now, none when all is well.
func (w *Watcher) Losses() (out []Loss) {
	w.settle.mu.Lock()
	defer w.settle.mu.Unlock()
	for _, l := range w.settle.losses.list {
		out = append(out, l.Loss)
	}
	return out
}

// Look hints at what lies at and below p.
func (w *Watcher) Look(p entry.Path) { w.settle.deep(p) }

// Watches is the number of directories that are watched, with fanotify of mounts.
func (w *Watcher) Watches() int {
	if k, _ := w.Backend(); k == Fanotify {
		return int(w.marked.Load())
	}
	return w.tree.size()
}

// SetPolicy lets another policy count from now on. All that it calls hot is
// hinted at.
func (w *Watcher) SetPolicy(p *policy.Effective) {
	w.mu.Lock()
	w.pol = p
	w.mu.Unlock()
	w.later("/")
}

func (w *Watcher) policy() *policy.Effective {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pol
}

// later has the watches at and below p put in order.
func (w *Watcher) later(p entry.Path) { w.order(func() { w.visits.add(p) }) }

func (w *Watcher) order(change func()) {
	w.mu.Lock()
	change()
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends, and returns why it did, or until nothing can be
// watched any more.
func (w *Watcher) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w.ctx = ctx
	defer w.root.Close()
	var all sync.WaitGroup
	defer all.Wait()
	defer func() {
		if w.b != nil {
			w.b.close()
		}
		w.readers.Wait()
	}()
	all.Go(func() {
		w.guardAlways(ctx, func() { w.settle.run(ctx, w.out) })
	})
	all.Go(func() {
		err := errFault
		w.guard(false, func() { err = mountChanges(ctx, func() { w.order(func() {}) }) })
		if err != nil {
			stop(fmt.Errorf("watch the mount table: %w", err))
		}
	})
	defer stop(nil)
	w.renew()
	mounts := w.walk(w.root.Mounts(), []entry.Path{"/"}, false)
	close(w.ready)
	return w.serve(mounts)
}

// serve does what is ordered.
func (w *Watcher) serve(mounts *dirfd.Mounts) error {
	retry := time.NewTicker(w.opt.retry)
	defer retry.Stop()
	var renewed time.Time
	for {
		select {
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		case <-retry.C:
			w.again(mounts)
			continue
		case <-w.wake:
		}
		w.mu.Lock()
		anew := w.anew
		w.mu.Unlock()
		if wait := time.Until(renewed.Add(rebuildEvery)); anew && wait > 0 {
			select {
			case <-w.ctx.Done():
				return context.Cause(w.ctx)
			case <-time.After(wait):
			}
		}
		w.mu.Lock()
		w.anew = false
		todo := w.visits.take()
		w.mu.Unlock()
		if anew {
			w.renew()
			renewed = time.Now()
			todo = []entry.Path{"/"}
		}
		mounts = w.walk(mounts, todo, false)
	}
}

// again tries once more to watch what nothing watches.
func (w *Watcher) again(mounts *dirfd.Mounts) {
	w.mu.Lock()
	faulty := w.faulty
	w.faulty = false
	w.mu.Unlock()
	if (w.b == nil || faulty) && !w.renew() {
		return
	}
	w.settle.mu.Lock()
	open := w.settle.losses.open()
	w.settle.mu.Unlock()
	if len(open) > 0 {
		w.walk(mounts, open, true)
	}
}

// renew starts over with a new backend that watches nothing yet. It reports
// whether there is one.
func (w *Watcher) renew() bool {
	if w.b != nil {
		w.b.close() // first: both together could need more watches than there are
	}
	d := w.root.Dir()
	b, err := w.make(d.FD())
	d.Release()
	if err != nil {
		b = nil
		w.settle.change(func() {
			w.settle.losses.add(Loss{Path: "/", Reason: ReasonUnavailable, Detail: err.Error(), Open: true})
			w.settle.hints.addDeep("/")
		})
	}
	w.b = b
	dirs, _ := b.(byDirectory)
	w.tree.reset(dirs)
	if b != nil {
		w.readers.Go(func() { w.read(b) })
	}
	return b != nil
}

// walk visits paths, and the mounts that changed since old. It returns the
// mount table that it went by.
func (w *Watcher) walk(old *dirfd.Mounts, paths []entry.Path, again bool) (now *dirfd.Mounts) {
	now = old
	w.guard(true, func() { now = w.walked(old, paths, again) })
	return now
}

func (w *Watcher) walked(old *dirfd.Mounts, paths []entry.Path, again bool) *dirfd.Mounts {
	root, err := dirfd.Open(w.host)
	if err != nil {
		w.settle.change(func() {
			w.settle.losses.add(Loss{Path: "/", Reason: ReasonBackend, Detail: err.Error(), Open: true})
		})
		return old
	}
	defer root.Close()
	v := &visit{Watcher: w, root: root, pol: w.policy()}
	for _, p := range mountsMoved(old, root.Mounts()) {
		if matters(v.pol, p) {
			v.settle.change(func() {
				v.settle.losses.add(Loss{Path: p, Reason: ReasonMoved})
				v.settle.hints.addDeep(p)
			})
			paths = append(paths, p)
		}
	}
	// A directory that moved is forgotten where it was before it is watched where
	// it is: the kernel would take it for watched.
	known := make([]bool, len(paths))
	for i, p := range paths {
		if known[i] = w.tree.find(p, false) != nil; !again {
			v.todo = append(v.todo, w.tree.forget(p)...)
		}
	}
	if b, ok := w.b.(byFileSystem); ok {
		v.fileSystems(b, paths, again)
		return root.Mounts()
	}
	for i, p := range paths {
		v.at(p, known[i], again)
	}
	for i := 0; i < len(v.todo); i++ { // it grows
		v.at(v.todo[i], true, false)
	}
	return root.Mounts()
}

// read takes events from b until it is closed. It never waits for anybody.
func (w *Watcher) read(b backend) {
	defer func() {
		if p := recover(); p != nil {
			w.broken(ReasonFault, fmt.Sprint(p))
		}
	}()
	var at where
	_, at.deep = b.(byFileSystem)
	for {
		e, err := b.next()
		switch {
		case errors.Is(err, errClosed):
			return
		case errors.Is(err, errOverflow):
			w.broken(ReasonOverflow, "")
		case err != nil:
			w.broken(ReasonBackend, err.Error())
		default:
			w.happened(&at, e)
		}
	}
}

// broken starts over: what is lost may be that a directory moved.
func (w *Watcher) broken(r Reason, detail string) {
	w.settle.change(func() { w.settle.losses.add(Loss{Path: "/", Reason: r, Detail: detail}) })
	w.order(func() { w.anew = true })
}

// Rescans reports whether the batch makes losses good.
func (b Batch) Rescans() bool { return len(b.losses) > 0 }

// Again takes a batch back whose places could not be looked at.
func (w *Watcher) Again(b Batch) {
	w.settle.change(func() {
		for _, h := range b.Hints {
			if h.Deep {
				w.settle.hints.addDeep(h.Dir)
			}
			for _, n := range h.Names {
				w.settle.hints.add(h.Dir, string(n))
			}
		}
		w.settle.losses.reissue(b.losses)
		w.settle.who.merge(b.who)
	})
}
