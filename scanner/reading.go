package scanner

import (
	"errors"
	"io"
	"time"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
)

// read digests st.Size bytes, or up to the end of a pseudo file. It returns
// hashed -1 if the file was shorter. If old is set and the file's first
// old.hashed bytes have old.sum, it returns just that pair.
func (w *worker) read(o *opening, t *task, old *prefix) (sum digest.Digest, hashed int64, err error) {
	f, st, pseudo := o.File, &o.st, t.pseudo
	if st.Size == 0 && !pseudo {
		return digest.Sum(nil), 0, nil
	}
	if st.Size >= segmentsFrom && !pseudo && old == nil {
		return w.readSegments(o, t)
	}
	w.prepare()
	w.hash.Reset(st.Size)
	r := reading{w: w, f: f, size: st.Size, pseudo: pseudo, budget: t.budget, sparse: !pseudo && sparse(st), probed: o.probed, cold: o.cold}
	if o.head > 0 && int64(o.head) <= st.Size { // not with an old prefix: see peek
		r.add(w.buf[:o.head])
	}
	if old != nil && old.hashed <= st.Size {
		if err := r.to(old.hashed); err != nil {
			return sum, 0, err
		}
		if w.hash.Sum() == old.sum {
			r.done()
			return old.sum, old.hashed, nil
		}
	}
	err = r.to(st.Size)
	r.done()
	if err == io.ErrUnexpectedEOF {
		return sum, -1, nil
	}
	return w.hash.Sum(), r.off, err
}

// prepare makes the worker's buffer when it is first needed.
func (w *worker) prepare() {
	if w.buf == nil {
		w.buf = make([]byte, bufferSize)
	}
}

// sparse reports whether looking for holes may save reading.
func sparse(st *dirfd.Stat) bool { return st.Size >= sparseSize && int64(st.Blocks)*512 < st.Size }

// errPanic is a bug in reading a file that several workers share.
var errPanic = errors.New("internal error")

// errBudget ends the reading of a file whose root has used up its time.
var errBudget = errors.New("budget exhausted")

// reading is one pass over a file, or over a part of it.
type reading struct {
	w      *worker
	f      dirfd.File
	start  int64
	off    int64
	size   int64
	pseudo bool
	budget *budget
	sparse bool
	probed bool  // it is known whether the page cache holds it
	cold   bool  // nothing of it was in the page cache before
	ahead  int64 // end of what was asked to be read ahead, in one of several segments
	end    int64 // of the segment
	data   int64
	hole   int64 // [data, hole) is the extent at or after off, when sparse
}

// to hashes up to offset end. io.ErrUnexpectedEOF says that the file is
// shorter.
func (r *reading) to(end int64) error {
	for r.off < end || r.pseudo {
		if err := r.w.ctx.Err(); err != nil {
			return err
		}
		if r.budget.overtime() {
			return errBudget
		}
		if r.sparse && r.off >= r.hole {
			var err error
			if r.data, r.hole, err = r.f.NextData(r.off, r.size); err != nil {
				r.sparse = false // the file system cannot tell: read the zeros
			}
		}
		if r.sparse && r.off < r.data {
			r.zero(min(r.data, end))
			continue
		}
		want := min(int64(bufferSize), end-r.off)
		if r.pseudo {
			want = bufferSize
		} else if r.sparse {
			want = min(want, r.hole-r.off)
		}
		n, err := r.next(r.w.buf[:want])
		if err != nil {
			return err
		}
		if n == 0 {
			if r.pseudo {
				return nil
			}
			return io.ErrUnexpectedEOF
		}
		r.add(r.w.buf[:n])
	}
	return nil
}

func (r *reading) next(b []byte) (int, error) {
	if !r.probed && !r.pseudo {
		r.probed = true
		n, cold, err := r.w.readCached(r.f, b, r.off)
		if !cold {
			return n, err
		}
		r.cold = true
	}
	r.readAhead()
	if !r.cold {
		return r.f.ReadAt(b, r.off)
	}
	start := time.Now()
	n, err := r.f.ReadAt(b, r.off)
	r.w.met.waits++
	r.w.met.waited += time.Since(start)
	return n, err
}

// wary is how many files after a cold one, and how many at the beginning, are
// asked for what the page cache holds of them before they are read.
const wary = 256

// readCached is File.ReadCached for a worker that may be among cold files. The
// kernel begins to fetch what it does not have before it answers, and a disk
// can be faster than that: what was cold then looks warm, and would stay in the
// page cache.
func (w *worker) readCached(f dirfd.File, b []byte, off int64) (n int, cold bool, err error) {
	fetched := false
	if w.wary > 0 {
		w.wary--
		fetched = !f.Cached(off, int64(len(b)))
	}
	n, cold, err = f.ReadCached(b, off)
	if fetched && n > 0 {
		n, cold = 0, true
	}
	if cold {
		w.wary = wary
	}
	return n, cold, err
}

// aheadStep is what one request asks to be read ahead: the kernel takes no more
// than about that much.
const aheadStep = 1 << 20

// readAhead keeps the disk busy for a segment. The kernel's own reading ahead
// follows one reader a file, and would go beyond the segment.
func (r *reading) readAhead() {
	for r.cold && r.ahead < r.end && r.ahead < r.off+aheadStep {
		n := min(aheadStep, r.end-r.ahead)
		r.f.Ahead(r.ahead, n)
		r.ahead += n
	}
}

func (r *reading) add(b []byte) {
	r.w.hash.Write(b)
	r.off += int64(len(b))
	if r.w.tally.bytes += int64(len(b)); r.w.tally.bytes >= bufferSize {
		r.w.count() // a large file is seen getting on
	}
	r.w.rate.wait(r.w.ctx, len(b))
}

// zero hashes a hole without reading it.
func (r *reading) zero(end int64) {
	if r.w.zeros == nil {
		r.w.zeros = make([]byte, bufferSize)
	}
	n := min(end-r.off, int64(len(r.w.zeros)))
	r.w.hash.Write(r.w.zeros[:n])
	r.off += n
}

// done gives the page cache back as it was: what was cold is dropped.
func (r *reading) done() {
	if r.cold {
		r.f.Drop(r.start, r.off-r.start)
	}
}
