package watching

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// arrivals are when findings about paths came first.
type arrivals struct {
	mu   sync.Mutex
	at   map[string]time.Time
	want string // only paths that begin so count
	done chan struct{}
	left int
}

func newArrivals(want string, n int) *arrivals {
	return &arrivals{at: map[string]time.Time{}, want: want, done: make(chan struct{}), left: n}
}

func (a *arrivals) take(l *Line) {
	if l.Type != "finding" || !strings.HasPrefix(l.Name(), a.want) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.at[l.Name()]; known {
		return
	}
	a.at[l.Name()] = time.Now()
	if a.left--; a.left == 0 {
		close(a.done)
	}
}

func (a *arrivals) wait(ctx context.Context, w *Watcher, most time.Duration) error {
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ended:
		return fmt.Errorf("intact watch ended: %w: %s", w.err, w.Said())
	case <-time.After(most):
		a.mu.Lock()
		defer a.mu.Unlock()
		return fmt.Errorf("%d findings did not come within %v", a.left, most)
	}
}

// LatencyResult is how long a report takes, from the end of the change to the line
// of the finding.
type LatencyResult struct {
	Changes           int
	Median, P99, Most time.Duration
	CPU               time.Duration // of the watcher, for all of them
	Reports           int
}

// Latency makes rate changes a second, each of another file, for a while.
func Latency(ctx context.Context, h *Host, rate int, last time.Duration) (r LatencyResult, err error) {
	if err := h.Prepare(); err != nil {
		return r, err
	}
	n := int(last.Seconds() * float64(rate))
	name := func(i int) string { return fmt.Sprintf("/hot/d%d/f%d", i%50, i) }
	for i := range n {
		if err := os.MkdirAll(filepath.Dir(h.Root()+name(i)), 0o755); err != nil {
			return r, err
		}
		if err := os.WriteFile(h.Root()+name(i), []byte("before"), 0o644); err != nil {
			return r, err
		}
	}
	if err := h.Init(ctx); err != nil {
		return r, err
	}
	came := newArrivals("/hot/", n)
	w, err := h.Watch(ctx, came.take)
	if err != nil {
		return r, err
	}
	defer w.kill()
	if err := w.Quiet(ctx, time.Second, time.Minute); err != nil {
		return r, err
	}
	spent := w.CPU()
	made := make([]time.Time, n)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for i := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, ctx.Err()
		}
		if err := os.WriteFile(h.Root()+name(i), []byte("and behind it"), 0o644); err != nil {
			return r, err
		}
		made[i] = time.Now()
	}
	if err := came.wait(ctx, w, time.Minute); err != nil {
		return r, err
	}
	took := make([]time.Duration, n)
	for i := range n {
		took[i] = came.at[name(i)].Sub(made[i])
	}
	slices.Sort(took)
	r = LatencyResult{Changes: n, Median: took[n/2], P99: took[n*99/100], Most: took[n-1], CPU: w.CPU() - spent, Reports: w.Reports()}
	return r, w.Stop()
}

// BurstResult is what Burst saw.
type BurstResult struct {
	Files, Dirs int
	Made        time.Duration // the files
	Found       time.Duration // all of them, from the first one on
	Degraded    bool          // events were lost, and a rescan found the rest
	CPU         time.Duration
	Memory      int64 // most, in bytes
}

// Burst makes that many files in that many directories as fast as it can.
func Burst(ctx context.Context, h *Host, files, dirs int) (r BurstResult, err error) {
	if err := h.Prepare(); err != nil {
		return r, err
	}
	for i := range dirs {
		if err := os.Mkdir(filepath.Join(h.Hot(), fmt.Sprintf("d%d", i)), 0o755); err != nil {
			return r, err
		}
	}
	if err := h.Init(ctx); err != nil {
		return r, err
	}
	came, notes := newArrivals("/hot/", files), newTold()
	w, err := h.Watch(ctx, func(l *Line) {
		came.take(l)
		if l.Type != "finding" {
			notes.take(l)
		}
	})
	if err != nil {
		return r, err
	}
	defer w.kill()
	if err := w.Quiet(ctx, time.Second, time.Minute); err != nil {
		return r, err
	}
	begin, spent := time.Now(), w.CPU()
	for i := range files {
		name := filepath.Join(h.Hot(), fmt.Sprintf("d%d", i%dirs), fmt.Sprintf("f%d", i))
		if err := os.WriteFile(name, []byte("new"), 0o644); err != nil {
			return r, err
		}
	}
	made := time.Since(begin)
	if err := came.wait(ctx, w, 2*time.Minute); err != nil {
		return r, err
	}
	r = BurstResult{Files: files, Dirs: dirs, Made: made, Found: time.Since(begin), CPU: w.CPU() - spent}
	_, r.Memory = w.Memory()
	_, degraded := notes.counts()
	r.Degraded = degraded > 0
	return r, w.Stop()
}

// IdleResult is what a watcher costs that has nothing to do.
type IdleResult struct {
	Dirs   int
	Ready  time.Duration // until the watches stand
	CPU    time.Duration // in For
	For    time.Duration
	Memory int64 // resident, in bytes
	Most   int64 // while it began
}

// Idle watches that many directories for a while, in which nothing happens.
func Idle(ctx context.Context, h *Host, dirs int, last time.Duration) (r IdleResult, err error) {
	if err := h.Prepare(); err != nil {
		return r, err
	}
	for i := range dirs {
		name := filepath.Join(h.Hot(), fmt.Sprintf("d%d", i/1000), fmt.Sprintf("e%d", i/50%20), fmt.Sprintf("f%d", i%50))
		if err := os.MkdirAll(name, 0o755); err != nil {
			return r, err
		}
	}
	if err := h.Init(ctx); err != nil {
		return r, err
	}
	begin := time.Now()
	w, err := h.Watch(ctx, func(*Line) {})
	if err != nil {
		return r, err
	}
	defer w.kill()
	r.Dirs, r.For, r.Ready = dirs, last, time.Since(begin)
	if err := w.Quiet(ctx, 5*time.Second, 2*time.Minute); err != nil {
		return r, err
	}
	spent := w.CPU()
	select {
	case <-time.After(last):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	r.CPU = w.CPU() - spent
	r.Memory, r.Most = w.Memory()
	return r, w.Stop()
}
