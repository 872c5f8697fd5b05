package scanner

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// Run scans everything that p selects under r and delivers it to sink, block
// by block, in no order between directories. It returns when all is
// delivered, when ctx ends (its cause is the error) or when the sink fails.
// What could not be read is a Gap, not an error.
func Run(ctx context.Context, r *dirfd.Root, p *policy.Effective, o Options, old Prior, sink Sink, obs ...Observer) (Stats, error) {
	s := newScan(ctx, r, p, o, old, sink, obs)
	for path, reason := range o.Hidden {
		s.stats.gaps.Add(1)
		s.stats.selected.Add(1)
		if err := sink.Gap(0, Gap{Path: path, Reason: reason, Subtree: true}); err != nil {
			return Stats{}, err
		}
	}
	root := r.Dir()
	state := p.Start()
	s.places.root = root
	t := &task{dir: root.Hold(), place: &place{}, path: "/", state: &state, free: s.free("/")}
	var st dirfd.Stat
	if err := root.StatSelf(&st); err != nil {
		t.release()
		s.places.close()
		return Stats{}, fmt.Errorf("scan %q: %w", r.HostPath(), err)
	}
	t.mount = mountOf(&st)
	if m := r.Mounts().ByID(st.Mount); m != nil {
		t.pseudo = pseudoFS(m.FSType)
	}
	s.push(t)
	s.workers()
	return s.result()
}

// Workers returns how many workers a scan uses when n is 0: more than cores,
// so that a slow disk always has requests outstanding.
func Workers(n int) int {
	if n > 0 {
		return min(n, 256)
	}
	return min(max(4*runtime.NumCPU(), 16), 32)
}

// scan is one run. Fields without a note are set before the workers start and
// not changed after.
type scan struct {
	ctx    context.Context
	stop   context.CancelCauseFunc
	root   *dirfd.Root
	pol    *policy.Effective
	sets   entry.Sets
	opt    Options
	limits *entry.Parts // of opt.Limit
	old    Prior
	sink   Sink
	obs    []Observer
	rate   *limiter
	links  linkTable
	places *places
	atRest time.Duration
	budget budgets

	mostWaiting int // files of one worker

	mu      sync.Mutex // guards the rest of this group
	wake    *sync.Cond
	high    []*task   // system roots, taken first, last in first out
	low     []*task   // roots with a budget
	last    []*task   // files with a lease: by now it may be broken
	leases  time.Time // when waiting for leases ends, zero before the first
	pending int       // tasks pushed and not finished
	skipped []Skip
	widened map[string]int64
	narrow  map[string]int64
	crowd   crowd

	held  atomic.Int64 // bytes of names of wide directories
	stats struct{ selected, dirs, files, bytes, gaps, trusted atomic.Int64 }
}

// tally is what a worker counted since it last added that to the scan's
// counts: cores that share a counter wait for each other.
type tally struct{ selected, files, bytes, trusted int64 }

// count adds the worker's counts to the scan's.
func (w *worker) count() {
	n := w.tally
	w.tally = tally{}
	w.stats.selected.Add(n.selected)
	w.stats.files.Add(n.files)
	w.stats.bytes.Add(n.bytes)
	w.stats.trusted.Add(n.trusted)
	w.opt.Progress.Files.Add(n.files)
	w.opt.Progress.Bytes.Add(n.bytes)
}

// task is one directory to list, the next chunk of a wide one, or one large
// file to hash for a directory that waits for it.
type task struct {
	dir    *dirfd.Dir // owned by the task; nil: to be opened
	place  *place
	path   entry.Path
	state  *policy.State
	mount  uint64
	pseudo bool // sizes do not tell the content's length (proc, sysfs)
	budget *budget
	last   bool
	only   [][]byte // Reread: just these names, and nothing below
	free   bool     // the whole directory is inside Options.Limit

	wide  *wide
	job   *job // large file: the part that waits
	index int

	segments *segments // help with a file that another worker owns
}

type objectID struct{ device, inode uint64 }

func newScan(ctx context.Context, r *dirfd.Root, p *policy.Effective, o Options, old Prior, sink Sink, obs []Observer) *scan {
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	o.Workers = Workers(o.Workers)
	if o.NameMemory <= 0 {
		o.NameMemory = 16 << 20
	}
	ctx, stop := context.WithCancelCause(ctx)
	s := &scan{ctx: ctx, stop: stop, root: r, pol: p, sets: p.Sets(), opt: o, old: old, sink: sink, obs: obs,
		limits: entry.NewParts(o.Limit), rate: newLimiter(o.MaxRate, o.Pace), widened: map[string]int64{}, narrow: map[string]int64{}}
	if s.atRest = o.atRest; s.atRest == 0 {
		s.atRest = atRest
	}
	all, waiting := descriptors()
	s.places = newPlaces(waiting)
	// Each worker has a file and three directories open at most, and files that
	// wait for the disk.
	s.opt.Workers = max(1, min(s.opt.Workers, all/8))
	s.mostWaiting = max(1, min(mostWaiting, all/4/s.opt.Workers))
	s.crowd.init(s.opt.Workers, &s.mu)
	if o.Trust != nil {
		s.crowd.few, s.crowd.active = s.opt.Workers, s.opt.Workers // what is not read does not tell where it lies
	}
	s.wake = sync.NewCond(&s.mu)
	return s
}

func (s *scan) workers() {
	var wg sync.WaitGroup
	release := context.AfterFunc(s.ctx, func() {
		s.mu.Lock()
		s.wakeAll()
		s.mu.Unlock()
	})
	defer release()
	end := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(end) })
	defer watch.Wait()
	defer close(end)
	for i := range s.opt.Workers {
		wg.Go(func() { s.work(i) })
	}
	wg.Wait()
	for _, t := range slices.Concat(s.high, s.low, s.last) { // left over after an early end
		t.release()
	}
	s.places.close()
}

func (s *scan) work(i int) {
	if s.opt.Idle {
		Idle()
	}
	w := &worker{scan: s, id: i, hash: digest.New(), wary: wary}
	for {
		t := s.next(i)
		if t == nil {
			return
		}
		w.do(t)
		w.count()
		s.mu.Lock()
		s.learn(&w.met)
		s.pending--
		if s.pending == 0 {
			s.wakeAll()
		}
		s.mu.Unlock()
	}
}

// wakeAll lets every worker see that the scan has ended. s.mu is held.
func (s *scan) wakeAll() {
	s.wake.Broadcast()
	s.crowd.more.Broadcast()
}

func (s *scan) next(worker int) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.ctx.Err() != nil || s.pending == 0 {
			return nil
		}
		if !s.crowd.allows(worker) {
			s.wake.Signal() // this one may have been woken for a task
			s.crowd.more.Wait()
			continue
		}
		for _, q := range []*[]*task{&s.high, &s.low, &s.last} {
			if n := len(*q); n > 0 {
				t := (*q)[n-1]
				(*q)[n-1] = nil
				*q = (*q)[:n-1]
				return t
			}
		}
		s.wake.Wait()
	}
}

func (s *scan) push(t *task) {
	s.mu.Lock()
	s.pending++
	switch {
	case t.last:
		s.last = append(s.last, t)
	case t.budget == nil:
		s.high = append(s.high, t)
	default:
		s.low = append(s.low, t)
	}
	s.mu.Unlock()
	s.wake.Signal()
}

func (t *task) release() {
	if t.dir != nil {
		t.dir.Release()
		t.dir = nil
	}
	if t.wide != nil {
		t.wide.leave()
		t.wide = nil
	}
}

func (s *scan) fail(err error) {
	if err != nil {
		s.stop(err)
	}
}

func (s *scan) result() (Stats, error) {
	cause := context.Cause(s.ctx)
	s.stop(nil)
	st := Stats{
		Selected: s.stats.selected.Load(), Dirs: s.stats.dirs.Load(), Files: s.stats.files.Load(),
		Bytes: s.stats.bytes.Load(), Gaps: s.stats.gaps.Load(), Trusted: s.stats.trusted.Load(),
		Skipped: s.skipped, Widened: s.widened, Narrowed: s.narrow,
	}
	if cause != nil && !errors.Is(cause, context.Canceled) {
		return st, fmt.Errorf("scan: %w", cause)
	}
	return st, cause
}

// limiter bounds the rate of content read. A nil limiter does not limit.
type limiter struct {
	pace func(ctx context.Context, n int) // nil: by rate
	mu   sync.Mutex
	rate float64   // bytes per second
	free time.Time // guarded by mu: when the next byte may be read
}

func newLimiter(rate int64, pace func(context.Context, int)) *limiter {
	if rate <= 0 && pace == nil {
		return nil
	}
	return &limiter{rate: float64(rate), pace: pace}
}

// wait blocks until n more bytes may be read.
func (l *limiter) wait(ctx context.Context, n int) {
	if l == nil || n <= 0 {
		return
	}
	if l.pace != nil {
		l.pace(ctx, n)
		return
	}
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	d := l.free.Sub(now)
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	l.mu.Unlock()
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
