package watching

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// SoakOptions of Soak.
type SoakOptions struct {
	For     time.Duration
	Seed    uint64
	Writers int
	Pace    time.Duration // between two changes of a writer; 0: full speed
	Bind    bool          // bind mounts too, as root
	Hard    bool          // hard links too
	// Beside is how often a check runs beside; the changes of the second one are
	// accepted, and behind the third one the watcher is killed and started again. 0: never.
	Beside time.Duration
	Quiet  time.Duration // how long nothing may happen until it has settled; 0: 3 s
	Most   time.Duration // how long that may take; 0: 3 minutes
	Log    func(format string, args ...any)
}

// SoakResult is what Soak saw.
type SoakResult struct {
	Changes  int64 // made
	Reports  int   // of the watcher
	Findings int64 // in them
	Degraded int64 // reports with a note that events may be missing
	Checks   int   // that ran beside
	Pending  int   // paths that differ at the end
	Settled  time.Duration
	CPU      time.Duration
	Memory   int64    // most, in bytes
	Wrong    []string // where watcher and check do not agree; none is how it should be
}

// Soak lets writers change the hot folder at random while intact watches, and
// compares what it reported with what a check finds afterwards.
func Soak(ctx context.Context, h *Host, o SoakOptions) (r SoakResult, err error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Quiet == 0 {
		o.Quiet = 3 * time.Second
	}
	if o.Most == 0 {
		o.Most = 3 * time.Minute
	}
	if err := h.Prepare(); err != nil {
		return r, err
	}
	defer h.unmount()
	if err := os.MkdirAll(filepath.Join(h.Hot(), "links"), 0o755); err != nil {
		return r, err
	}
	var done, made atomic.Int64
	list := make([]*writer, o.Writers)
	for i := range list {
		list[i] = &writer{host: h, rand: rand.New(rand.NewPCG(o.Seed, uint64(i))), done: &done, bind: o.Bind, hard: o.Hard, made: &made}
	}
	for range 3000 { // something to begin with
		list[0].step()
	}
	if err := h.unmount(); err != nil {
		return r, err
	}
	if err := h.Init(ctx); err != nil {
		return r, err
	}
	told := newTold()
	w, err := h.Watch(ctx, told.take)
	if err != nil {
		return r, err
	}
	defer func() { w.kill() }()
	done.Store(0)
	r.Checks, err = run(ctx, list, o, func(turn int) error {
		o.Log("%d changes, %d reports, %d paths told", done.Load(), w.Reports(), told.size())
		report, err := h.run(ctx, 1, "check", "--format", "json")
		if err := firstOf(err, told.tookStored(report)); err != nil {
			return err
		}
		switch turn {
		case 2:
			told.accept()
			_, err = h.run(ctx, 0, "accept", "--all", "--reason", "in the middle")
		case 3:
			r.Reports, r.CPU = w.Reports(), w.CPU()
			w.kill()
			if report, err = h.run(ctx, 0, "report", "show", "--format", "json"); err == nil {
				err = told.tookStored(report) // it may have been stored and not printed
			}
			if err == nil {
				w, err = h.Watch(ctx, told.take)
			}
		}
		return err
	})
	if err != nil {
		return r, err
	}
	r.Changes = done.Load()
	if err := h.unmount(); err != nil {
		return r, err
	}
	begin := time.Now()
	if err := w.Quiet(ctx, o.Quiet, o.Most); err != nil {
		return r, err
	}
	r.Settled = time.Since(begin) - o.Quiet
	r.Reports, r.CPU = r.Reports+w.Reports(), r.CPU+w.CPU()
	_, r.Memory = w.Memory()
	r.Findings, r.Degraded = told.counts()
	r.Pending, r.Wrong, err = h.compare(ctx, told)
	if err != nil {
		return r, err
	}
	return r, w.Stop()
}

// run lets the writers write until the time is over, and beside them does what is
// to be done now and then. It returns how often that was.
func run(ctx context.Context, list []*writer, o SoakOptions, beside func(turn int) error) (n int, err error) {
	until, stop := context.WithTimeout(ctx, o.For)
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for _, w := range list {
		all.Go(func() {
			for until.Err() == nil {
				w.step()
				if o.Pace > 0 {
					time.Sleep(o.Pace)
				}
			}
		})
	}
	for {
		var next <-chan time.Time
		if o.Beside > 0 {
			next = time.After(o.Beside)
		}
		select {
		case <-next:
			n++
			if err := beside(n); err != nil {
				stop()
				return n, err
			}
		case <-until.Done():
			return n, ctx.Err()
		}
	}
}

// detach unmounts point, whose path may be longer than the kernel takes: trees
// that are moved into each other for minutes grow deep.
func detach(point string) error {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	for _, name := range strings.Split(point, "/") {
		if name == "" || err != nil {
			continue
		}
		var next int
		next, err = unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		fd = next
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", fd), unix.MNT_DETACH)
}

// unmount ends all mounts below the root, the last one first.
func (h *Host) unmount() error {
	for range 1000 {
		text, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return err
		}
		root, err := filepath.EvalSymlinks(h.Root())
		if err != nil {
			return err
		}
		var points []string
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], root+"/") {
				points = append(points, f[4])
			}
		}
		if len(points) == 0 {
			return nil
		}
		for _, p := range slices.Backward(points) {
			// One below it may have gone with it: the next turn tells.
			_ = detach(p)
		}
	}
	return fmt.Errorf("mounts below %q do not go away", h.Root())
}
