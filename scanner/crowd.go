package scanner

import (
	"runtime"
	"sync"
	"time"
)

// crowd decides how many of the workers are at work. While the page cache has
// what is read, more than the cores can run cost time. When it has not, a disk
// wants many requests at once; a turning one, few.
type crowd struct {
	most   int // workers there are
	few    int // at work while nothing is waited for
	active int // at work
	away   int // of those, waiting for another process
	moved  bool

	met  met
	more *sync.Cond // workers that are not at work
}

// met is what reading files has met.
type met struct {
	probes, misses int64         // first reads of files, and those that found nothing in the page cache
	waits          int64         // reads from a disk
	waited         time.Duration // for them
	device         uint64        // of the last miss
}

const (
	// enoughProbes is how many first reads are looked at together.
	enoughProbes = 64
	// turningWait is a read that a turning disk takes, with the requests of a
	// few workers before it, and no other.
	turningWait = 20 * time.Millisecond
	// onTurning is how many workers a turning disk gets: one reads while the
	// other hashes.
	onTurning = 2
)

func (c *crowd) init(workers int, mu *sync.Mutex) {
	c.most, c.few = workers, min(workers, runtime.NumCPU()+1)
	c.active = c.few
	c.more = sync.NewCond(mu)
}

// allows reports whether worker i is at work.
func (c *crowd) allows(i int) bool { return i < c.active+c.away }

// learn takes what a worker met since the last time. s.mu is held.
func (s *scan) learn(m *met) {
	c, all := &s.crowd, &s.crowd.met
	c.moved = true
	all.probes += m.probes
	all.misses += m.misses
	all.waits += m.waits
	all.waited += m.waited
	if m.misses > 0 {
		all.device = m.device
	}
	*m = met{}
	if all.probes < enoughProbes {
		return
	}
	switch {
	case all.misses*8 >= all.probes && c.active <= c.few:
		n := c.most
		// With more at work the wait says how many they are, not what disk it is.
		if all.waits > 0 && all.waited/time.Duration(all.waits) > turningWait && s.root.Rotational(all.device) {
			n = min(n, onTurning)
		}
		s.setActive(n)
	case all.misses*64 < all.probes:
		s.setActive(c.few)
	}
	*all = met{}
}

// setActive changes how many are at work. s.mu is held.
func (s *scan) setActive(n int) {
	if up := n > s.crowd.active; up {
		s.crowd.more.Broadcast()
	}
	s.crowd.active = n
}

// apart runs do, which waits for another process, while another worker takes
// this one's place.
func (s *scan) apart(do func()) {
	s.mu.Lock()
	s.crowd.away++
	s.crowd.more.Broadcast()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.crowd.away--
		s.mu.Unlock()
	}()
	do()
}

// watch puts all to work when nothing moves: a disk that does not answer must
// not hold up what lies on others. It ends with end.
func (s *scan) watch(end <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if !s.crowd.moved {
			s.setActive(s.crowd.most)
		}
		s.crowd.moved = false
		s.mu.Unlock()
	}
}
