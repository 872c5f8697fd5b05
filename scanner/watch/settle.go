package watch

import (
	"context"
	"sync"
	"time"

	"intact/scanner/entry"
)

// When hints are given on. An editor's save, a rename into place, a package that
// is unpacked come as one batch.
const (
	quietFor = 250 * time.Millisecond // nothing new came
	longest  = 500 * time.Millisecond // or this long behind the first, even so
)

// Batch is what settled. Its receiver looks at the places and says Done.
type Batch struct {
	Hints  []Hint
	losses []uint64 // whose rescan this is
	who    suspects
}

// settle collects hints and gives them on when it has been quiet. Whoever adds
// to it never waits for who receives.
type settle struct {
	quiet, most time.Duration
	wake        chan struct{} // holds one token while there may be something to give on

	mu          sync.Mutex // guards what follows
	hints       hints
	losses      losses
	who         suspects
	first, last time.Time // when hints came, since they were taken last
}

func newSettle(quiet, most time.Duration) *settle {
	return &settle{quiet: quiet, most: most, wake: make(chan struct{}, 1), hints: newHints(), who: newSuspects()}
}

// name adds a hint, and who is the reason for it; whole says that it is about all
// that lies below the name.
func (s *settle) name(dir entry.Path, name string, by *By, whole bool) {
	s.change(func() {
		s.hints.add(dir, name)
		s.who.add(dir.Join([]byte(name)), by, whole)
	})
}

func (s *settle) deep(p entry.Path) {
	s.change(func() { s.hints.addDeep(p) })
}

// change lets add change hints and losses.
func (s *settle) change(add func()) {
	func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		add()
		s.last = time.Now()
		if s.first.IsZero() {
			s.first = s.last
		}
	}()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// due is how long it takes until the hints that wait have settled.
func (s *settle) due(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.last.Add(s.quiet).Sub(now), s.first.Add(s.most).Sub(now))
}

func (s *settle) take() Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := Batch{Hints: s.hints.take(), who: s.who}
	b.losses, s.who = s.losses.issue(b.Hints), newSuspects()
	s.first, s.last = time.Time{}, time.Time{}
	return b
}

// run gives batches to out until ctx ends.
func (s *settle) run(ctx context.Context, out chan<- Batch) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		for d := s.due(time.Now()); d > 0; d = s.due(time.Now()) {
			t := time.NewTimer(d)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
		}
		b := s.take()
		if len(b.Hints) == 0 {
			continue
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return
		}
	}
}
