package app

import "math"

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
