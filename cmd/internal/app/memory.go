package app

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// memory is what the parts of a run may take whose need grows with the host.
type memory struct {
	names   int // bytes of names of directories
	changes int // bytes of changes
	workers int // at most
}

// perWorker is about what one worker's buffers take.
const perWorker = 1 << 20

// memoryUnder divides the soft limit of the Go runtime (GOMEMLIMIT), so that
// the heap stays well below it; math.MaxInt64 says that there is none.
func memoryUnder(limit int64) memory {
	m := memory{names: 16 << 20, changes: 16 << 20, workers: math.MaxInt}
	if limit == math.MaxInt64 {
		return m
	}
	m.names = int(min(int64(m.names), max(limit/8, 1<<20)))
	m.changes = int(min(int64(m.changes), max(limit/8, 1<<20)))
	m.workers = int(max(limit/4/perWorker, 1))
	return m
}

// garbage is what may be left lying between two collections where little else
// is in memory.
const garbage = 16 << 20

// collectLess lets the garbage collector run less often until undo is called,
// for work that keeps little and leaves much behind: at its least heap of 4 MiB
// it would run all the time. GOGC and GOMEMLIMIT have the last word.
func collectLess() (undo func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	runtime.GC() // what the scan needed is no longer alive
	l := &lessGarbage{}
	l.before = debug.SetGCPercent(l.measure())
	l.watch()
	return l.undo
}

// lessGarbage sets the pace of the collector anew behind each collection: what
// packages say is learnt while the work is going on, and then more is alive.
type lessGarbage struct {
	mu           sync.Mutex
	done         bool
	before, pace int
}

// measure says how much the heap may grow beyond what is alive now, in percent.
func (l *lessGarbage) measure() int {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(live); live[0].Value.Kind() == metrics.KindUint64 {
		l.pace = percentOf(live[0].Value.Uint64())
	} else {
		l.pace = 100
	}
	return l.pace
}

// watch waits for the next collection, which finds that nothing holds the mark.
func (l *lessGarbage) watch() {
	type mark struct{ _ [32]byte }
	runtime.AddCleanup(new(mark), func(l *lessGarbage) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.done {
			return
		}
		if old := l.pace; l.measure() != old {
			debug.SetGCPercent(l.pace)
		}
		l.watch()
	}, l)
}

func (l *lessGarbage) undo() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	debug.SetGCPercent(l.before)
}

// percentOf is how much a heap may grow, in percent of what is alive. The
// runtime takes at least 4 MiB for alive.
func percentOf(live uint64) int {
	return int(min(max(garbage*100/max(live, 4<<20), 100), 400))
}
