package scanner

import (
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
)

// segmentsFrom is the size from which the content of one file is read by
// several workers.
const segmentsFrom = 64 << 20

// segments is the content of one file that several workers read: each takes
// the next segment until there is none. The owner of the file waits for those
// that were taken, not for workers that are busy elsewhere.
type segments struct {
	f      dirfd.File
	size   int64
	length int64
	sparse bool
	budget *budget

	cold   []bool       // segments of which nothing was in the page cache
	next   atomic.Int64 // segment to be taken
	left   atomic.Int64 // segments not done
	failed atomic.Pointer[error]
	parts  []digest.Segment // each written by who took it
	done   chan struct{}    // closed when left is 0
}

// readSegments digests a large file with the help of workers that have nothing
// else to do. It returns what read returns.
func (w *worker) readSegments(o *opening, t *task) (digest.Digest, int64, error) {
	st := &o.st
	s := &segments{f: o.File, size: st.Size, length: digest.SegmentLength(st.Size), sparse: sparse(st), budget: t.budget, done: make(chan struct{})}
	n := (st.Size + s.length - 1) / s.length
	s.parts, s.cold = make([]digest.Segment, n), make([]bool, n)
	for i := range n { // before anything is read, or read-ahead would count
		s.cold[i] = !o.Cached(i*s.length, s.length)
	}
	if o.probed {
		s.cold[0] = o.cold // the probe may have begun to read it
	}
	if slices.Contains(s.cold, true) {
		// The kernel would read ahead into a segment that was dropped already.
		o.Random()
	}
	s.left.Store(n)
	for range min(int64(w.opt.Workers), n) - 1 {
		w.push(&task{path: t.path, segments: s})
	}
	w.takeSegments(s)
	<-s.done
	if err := s.failed.Load(); err != nil {
		if *err == io.ErrUnexpectedEOF {
			return digest.Digest{}, -1, nil
		}
		return digest.Digest{}, 0, *err
	}
	return digest.Fold(s.parts), st.Size, nil
}

// takeSegments reads segments until all are taken. After a failure the rest
// are passed over.
func (w *worker) takeSegments(s *segments) {
	for {
		i := s.next.Add(1) - 1
		if i >= int64(len(s.parts)) {
			return
		}
		if s.failed.Load() == nil {
			if err := w.readSegment(s, i); err != nil {
				s.failed.CompareAndSwap(nil, &err)
			}
		}
		if s.left.Add(-1) == 0 {
			close(s.done)
		}
	}
}

func (w *worker) readSegment(s *segments, i int64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v at %s", errPanic, r, firstFrame(debug.Stack()))
		}
	}()
	w.prepare()
	start := i * s.length
	r := reading{w: w, f: s.f, start: start, off: start, size: s.size, sparse: s.sparse, budget: s.budget, probed: true, cold: s.cold[i], ahead: start, end: min(start+s.length, s.size)}
	w.hash.ResetSegment(i, s.length)
	err = r.to(r.end)
	r.done()
	s.parts[i] = w.hash.Segment()
	return err
}
