// Package floor measures what reading and hashing a tree costs at the least on
// this machine: the system calls that no scanner can do without, made from
// plain loops, and BLAKE3 over as many bytes from memory. What a scanner takes
// beyond their sum is its own.
package floor

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Cost is what one part of the floor took.
type Cost struct {
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"` // user and system, of all threads
}

// Result is one measurement of a tree.
type Result struct {
	Threads int   `json:"threads"`
	Dirs    int   `json:"dirs"`   // with the top
	Files   int   `json:"files"`  // regular ones that were read
	Others  int   `json:"others"` // entries of all other types, directories too
	Bytes   int64 `json:"bytes"`  // that were read
	Errors  int   `json:"errors"` // calls that failed: those entries are not part of the floor
	Calls   Cost  `json:"calls"`
	Hash    Cost  `json:"hash"` // zero where it was not asked for
}

// Options say how to measure.
type Options struct {
	Threads int          // operating-system threads that read
	Hashers int          // goroutines that hash; 0: hashing is not part of the floor
	Before  func() error // called when the directories are known, before the clock starts; may be nil
}

// Measure lists the directories below top, which is not part of the floor, and
// then measures.
func Measure(top string, o Options) (r Result, err error) {
	if o.Threads < 1 || o.Hashers < 0 {
		return r, fmt.Errorf("measure the floor: %d threads and %d hashers", o.Threads, o.Hashers)
	}
	tree, err := list(top)
	if err != nil {
		return r, fmt.Errorf("list %q: %w", top, err)
	}
	defer tree.close()
	if o.Before != nil {
		if err := o.Before(); err != nil {
			return r, err
		}
	}
	// Nothing is freed while the clock runs, and a collection would stop
	// threads that wait for the disk inside a raw system call.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), o.Threads, o.Hashers)))

	var sizes [][]int64
	r.Calls, err = timed(func() { r.count(tree, o.Threads, &sizes) })
	if err != nil {
		return r, err
	}
	r.Threads, r.Dirs = o.Threads, len(tree.dirs)
	if o.Hashers > 0 {
		w := newWork(slices.Concat(sizes...))
		r.Hash, err = timed(func() { w.hash(o.Hashers) })
	}
	return r, err
}

// count reads the tree on so many threads and adds up what they found.
func (r *Result) count(t *tree, threads int, sizes *[][]int64) {
	readers := make([]reader, threads)
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			// A raw call keeps its P: each reader has both to itself.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			readers[i].sizes = make([]int64, 0, t.files)
			readers[i].run(t, &next)
		})
	}
	all.Wait()
	for i := range readers {
		x := &readers[i]
		r.Files += len(x.sizes)
		r.Others += x.others
		r.Bytes += x.bytes
		r.Errors += x.errors
		*sizes = append(*sizes, x.sizes)
	}
}

func timed(do func()) (c Cost, err error) {
	before, err := processTime()
	if err != nil {
		return c, err
	}
	start := time.Now()
	do()
	c.Wall = time.Since(start)
	after, err := processTime()
	c.CPU = after - before
	return c, err
}

func processTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read own CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
