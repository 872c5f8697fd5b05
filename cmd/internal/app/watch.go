package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"intact/baseline"
	"intact/rules/mass"
	"intact/scanner/digest"
	"intact/scanner/policy"
	"intact/scanner/watch"
)

// watchCommand is how the watcher calls itself in locks.
const watchCommand = "watch"

const (
	lookPoll     = 50 * time.Millisecond // between attempts to take the lock
	lookPatience = 30 * time.Second      // how long a heartbeat waits for the lock
	longLook     = 10 * time.Minute      // how long others wait for a look: the first may have much to read
	lookPause    = 4 * lookPoll          // behind a look, so that others get the lock
	lookRest     = time.Second           // the pause is as long as the look was, up to this
	retryLook    = 5 * time.Second       // behind one that failed
	beatEvery    = 5 * time.Minute       // a report says that the watcher is there
	glanceEvery  = 2 * time.Second       // at the baseline: is there another?
)

// WatchOptions of Watch.
type WatchOptions struct {
	Output  Output
	Backend string           // a watch.Kind
	Reload  <-chan os.Signal // the configuration is to be read again
}

// watching is one run of Watch.
type watching struct {
	env     *Env
	o       WatchOptions
	w       *watch.Watcher
	store   *baseline.Store
	gen     uint64
	keep    baseline.Keeper
	aliases []policy.Alias // that the policy in force follows
	gaps    *pathSet       // that were told
	mine    digest.Digest  // the pending set of the last report
	links   *linkBook
	mass    *mass.Burst
	notify  notifier
	logs    logMemory
	again   *reverifier
	told    string // the state of the watches, as it was last written down

	failing string // why the last look failed, unescaped; "": it did not
}

// Watch looks at hot paths when something happened there, until ctx ends.
func Watch(ctx context.Context, e *Env, o WatchOptions) (Outcome, error) {
	if f := o.Output.Format; f != "" && f != "text" && f != "json" {
		return Outcome{}, usageError("--format: want text or json, not %q", f)
	}
	switch watch.Kind(o.Backend) {
	case watch.Inotify, watch.Fanotify, watch.Auto:
	default:
		return Outcome{}, usageError("--backend: want inotify, fanotify or auto, not %q", o.Backend)
	}
	w := &watching{env: e, o: o, gaps: newPathSet(), links: newLinkBook(), mass: mass.NewBurst(mass.Window), again: newReverifier(e), told: fmt.Sprint([]string(nil))}
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	e.Tool = s.toolDigest() // read once
	w.store = s.store
	defer w.again.shut() // behind all
	lock, sc, err := w.begin(ctx, s)
	s.close()
	if err != nil {
		return Outcome{}, err
	}
	defer lock.Unlock()
	defer w.keep.Close()
	w.w, err = watch.New(s.root.HostPath(), sc.eff, watch.Options{Own: sc.own, Backend: watch.Kind(o.Backend)})
	switch {
	case errors.Is(err, watch.ErrFanotify):
		return Outcome{}, &codeError{ExitIncomplete, err}
	case err != nil:
		return Outcome{}, &codeError{ExitUsage, err}
	}
	w.notify = newNotifier(e)
	defer w.notify.close()
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	ended := make(chan error, 1)
	all.Go(func() { ended <- w.w.Run(running) })
	all.Go(func() { w.again.run(running) })
	defer all.Wait()
	defer stop()
	return w.serve(ctx, ended)
}

// begin takes the lock of the watcher and opens the baseline, as a check does.
func (w *watching) begin(ctx context.Context, s *session) (lock *baseline.Lock, sc *scope, err error) {
	if err := s.needBaseline(); err != nil {
		return nil, nil, err
	}
	if lock, err = s.store.LockWatch(watchCommand); err != nil {
		return nil, nil, fmt.Errorf("watch: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Unlock())
		}
	}()
	sc, err = w.inForce(ctx, s)
	return lock, sc, err
}

// inForce puts the baseline's policy and the present one in force.
func (w *watching) inForce(ctx context.Context, s *session) (*scope, error) {
	c := &check{session: s, gaps: &gapList{}}
	if w.w != nil {
		c.keep = &w.keep
	}
	if err := c.options(); err != nil {
		return nil, err
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	w.gen, w.aliases = c.gen.Statement().Generation, c.scope.all
	if w.w != nil {
		defer c.gen.Close()
	} else if err := w.again.use(s, c); err != nil { // at the beginning: it goes on with this
		return nil, err
	}
	if start := c.scope.eff.Start(); !start.Hot() {
		return nil, usageError("the policy has no hot path: mark some with hot: true")
	}
	return c.scope, nil
}

// serve does what comes, one at a time.
func (w *watching) serve(ctx context.Context, ended <-chan error) (Outcome, error) {
	beat, glance := time.NewTicker(beatEvery), time.NewTicker(glanceEvery)
	defer beat.Stop()
	defer glance.Stop()
	ready := w.w.Ready()
	var retry <-chan time.Time
	for {
		w.notify.did()
		batches, cold := w.w.Batches(), w.again.out
		if ready != nil || retry != nil {
			batches, cold = nil, nil // the line comes first
		}
		select {
		case <-ctx.Done():
			return w.stopped(ctx)
		case err := <-ended:
			if ctx.Err() != nil {
				return w.stopped(ctx)
			}
			w.beat("stopped: " + err.Error())
			return Outcome{}, err
		case <-ready:
			ready = nil
			if w.env.Verbose {
				w.env.Tell(w.source())
			}
			fmt.Fprintln(w.env.Stderr, "ready")
			w.notify.say("READY=1")
		case <-retry:
			retry = nil
		case b := <-batches:
			wait, err := w.tryBatch(ctx, b)
			if err != nil {
				return w.failed(ctx, err)
			}
			retry = time.After(wait)
		case p := <-cold:
			if err := w.cold(ctx, p); err != nil {
				return w.failed(ctx, err)
			}
			retry = time.After(lookPause)
		case <-w.again.wrong:
			w.w.Look("/") // whose report says what is wrong
		case <-w.notify.tick:
		case <-w.o.Reload:
			w.reload(ctx)
		case <-glance.C:
			w.glance(ctx)
			if err := guarded("search for names", func() error { return w.searchLinks(ctx) }); err != nil {
				w.env.TellError(err)
			}
		case <-beat.C:
			if len(w.w.Losses()) > 0 {
				w.w.Look("/") // what nothing watches is looked at all the same
			}
			w.hint(w.links.elsewhere())
			if err := guarded("baseline", func() error { return w.verify(ctx) }); err != nil {
				w.w.Look("/") // whose report says what is wrong
			}
			w.beat("heartbeat")
		}
	}
}

// open is a session of one look, with the lock that writing needs.
func (w *watching) open(ctx context.Context) (*session, error) {
	s, err := open(w.env)
	if err != nil {
		return nil, err
	}
	s.steady, s.early = true, true
	for {
		err := s.acquire(watchCommand)
		if _, held := errors.AsType[*baseline.LockedError](err); !held {
			if err != nil {
				s.close()
				return nil, err
			}
			return s, nil
		}
		select {
		case <-ctx.Done():
			s.close()
			return nil, context.Cause(ctx)
		case <-time.After(lookPoll):
			w.notify.did()
		}
	}
}

// batch looks at the places of one batch and reports what is new there.
func (w *watching) batch(ctx context.Context, b watch.Batch) error {
	err := w.look(ctx, &look{hints: b.Hints, who: b.Who, dropped: b.Dropped(), tells: b.Rescans()}, "")
	if err == nil {
		w.w.Done(b)
	}
	return err
}

// state says how the watches stand, for a report; nothing where all is well.
func (w *watching) state() (notes []string) {
	for _, l := range w.w.Losses() {
		text := fmt.Sprintf("degraded: events at and below %q may be missing: %s", l.Path, l.Reason)
		if l.Detail != "" {
			text += ": " + l.Detail
		}
		if l.Open {
			text += "; nothing watches it"
		}
		notes = append(notes, text)
	}
	if w.failing != "" {
		notes = append(notes, "degraded: the last look failed and is tried again: "+w.failing)
	}
	return notes
}

// reload reads the configuration again. Where it cannot be read, what was in force
// stays so.
func (w *watching) reload(ctx context.Context) {
	w.notify.say("RELOADING=1")
	defer w.notify.say("READY=1")
	if err := w.renew(ctx, openConfigured); err != nil {
		w.env.TellError(fmt.Errorf("reload: %w", err))
		return
	}
	w.env.Tell("reloaded")
}

// renew puts the policies of a session that opens in force.
func (w *watching) renew(ctx context.Context, open func(*Env) (*session, error)) error {
	return guarded("policy", func() error {
		s, err := open(w.env)
		if err != nil {
			return err
		}
		defer s.close()
		sc, err := w.inForce(ctx, s)
		if err == nil {
			w.setPolicy(sc.eff)
		}
		return err
	})
}

// glance looks for a generation that somebody accepted, and for a state that no
// report has yet.
func (w *watching) glance(ctx context.Context) {
	for _, p := range w.logs.ripe(time.Now()) {
		w.w.Look(p)
	}
	if fmt.Sprint(w.state()) != w.told {
		w.beat("the state of the watches changed")
	}
	n, err := w.store.Latest()
	if err != nil || n == w.gen {
		return
	}
	if w.renew(ctx, open) == nil {
		return
	}
	w.gen = n
	w.w.Look("/") // whose report says what is wrong
}
