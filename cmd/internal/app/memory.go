package app

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return func() {}
	}
	old := debug.SetGCPercent(percentOf(live[0].Value.Uint64()))
	return func() { debug.SetGCPercent(old) }
}

// percentOf is how much a heap may grow, in percent of what is alive. The
// runtime takes at least 4 MiB for alive.
func percentOf(live uint64) int {
	return int(min(max(garbage*100/max(live, 4<<20), 100), 400))
}
