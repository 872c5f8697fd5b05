package app

import (
	"context"
	"crypto/rand"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"intact/baseline"
)

const (
	// calmRate is how many bytes of content a second are read while a pass keeps
	// its time; one that is late reads faster by as many times as it is turns late.
	calmRate = 16 << 20
	// hurry is how many times faster it goes while what comes next was not verified
	// for longer than a pass: after an outage, and where nothing is known.
	hurry = 4
	// jitter is the share of a pass by which the order of turns cannot be foretold.
	jitter = 4
)

// turn is one bucket of a pass.
type turn struct {
	bucket  int
	overdue bool
}

// passOrder puts every bucket that has directories once into an order that nobody
// can foretell, the longest not verified before the others but for the jitter.
func passOrder(a *baseline.Ages, buckets *[baseline.DirBuckets]int, every time.Duration, now time.Time) []turn {
	var seed [32]byte
	rand.Read(seed[:]) // never fails, crypto/rand
	random := mrand.New(mrand.NewChaCha8(seed))
	type drawn struct {
		turn
		at time.Time
	}
	var all []drawn
	for b, n := range buckets {
		if n == 0 {
			continue
		}
		at := a.Verified(b)
		d := drawn{turn{b, now.Sub(at) > every}, at}
		if !at.IsZero() {
			d.at = at.Add(time.Duration(random.Int64N(int64(every/jitter) + 1)))
		}
		all = append(all, d)
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(x, y drawn) int { return x.at.Compare(y.at) })
	out := make([]turn, len(all))
	for i, d := range all {
		out[i] = d.turn
	}
	return out
}

// pacer makes a pass give way: to time, and to looks, which go before.
type pacer struct {
	mu   sync.Mutex
	held int           // guarded by mu: looks that go before
	open chan struct{} // guarded by mu: closed when held is 0 again
	late float64       // guarded by mu: turns that the pass is late
	free time.Time     // guarded by mu: when the next byte may be read
}

// hold lets the pass wait until release.
func (p *pacer) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held++; p.held == 1 {
		p.open = make(chan struct{})
	}
}

func (p *pacer) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held--; p.held == 0 {
		close(p.open)
	}
}

// pace is scanner.Options.Pace.
func (p *pacer) pace(ctx context.Context, n int) {
	p.mu.Lock()
	for p.held > 0 {
		open := p.open
		p.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
	}
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	wait := p.free.Sub(now)
	rate := calmRate * (1 + p.late)
	p.free = p.free.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	p.mu.Unlock()
	sleep(ctx, wait)
}

// sleep waits for d, or until ctx ends. It reports whether ctx did not.
func sleep(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// pass has do done for each turn, spread over every. Turns that come late are done
// one after another until the time is made good. It ends early with ctx, and where
// do says so.
func (p *pacer) pass(ctx context.Context, every time.Duration, order []turn, do func(i int) bool) {
	if len(order) == 0 {
		return
	}
	slot := every / time.Duration(len(order))
	due := time.Now()
	for i, t := range order {
		if t.overdue {
			due = due.Add(slot / hurry)
		} else {
			due = due.Add(slot)
		}
		wait := time.Until(due)
		p.mu.Lock()
		p.late = max(0, -wait.Seconds()/max(slot.Seconds(), 1e-9))
		p.mu.Unlock()
		if !sleep(ctx, wait) || !do(i) {
			return
		}
	}
}
