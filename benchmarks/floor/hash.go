package floor

import (
	"sync"
	"sync/atomic"

	"intact/scanner/digest"
)

const (
	pieceSize = 4 << 20 // of a long file; smaller than what makes one core wait for another
	takeBytes = 1 << 20 // that a hasher takes from the list at once, at the least
)

// work is a list of lengths to hash, cut into takes of similar size.
type work struct {
	pieces []int64
	ends   []int // of each take in pieces
	next   atomic.Int64
	hashed atomic.Int64 // bytes
}

// newWork cuts long files into pieces, so that one of them keeps all cores
// busy too. Empty files have a digest that need not be computed.
func newWork(sizes []int64) *work {
	w := &work{pieces: make([]int64, 0, len(sizes))}
	var sum int64
	for _, size := range sizes {
		for ; size > 0; size -= pieceSize {
			piece := min(size, pieceSize)
			w.pieces = append(w.pieces, piece)
			if sum += piece; sum >= takeBytes {
				w.ends = append(w.ends, len(w.pieces))
				sum = 0
			}
		}
	}
	if sum > 0 {
		w.ends = append(w.ends, len(w.pieces))
	}
	return w
}

// hash digests every piece by itself, from a buffer that stays in the cache.
func (w *work) hash(hashers int) {
	var all sync.WaitGroup
	for range hashers {
		all.Go(func() {
			h, buf := digest.New(), make([]byte, readSize)
			for i := range buf {
				buf[i] = byte(i * 7)
			}
			w.take(h, buf)
		})
	}
	all.Wait()
}

func (w *work) take(h *digest.Hasher, buf []byte) {
	var sum int64
	defer func() { w.hashed.Add(sum) }()
	for {
		i := int(w.next.Add(1) - 1)
		if i >= len(w.ends) {
			return
		}
		first := 0
		if i > 0 {
			first = w.ends[i-1]
		}
		for _, size := range w.pieces[first:w.ends[i]] {
			h.Reset(size)
			for left := size; left > 0; left -= readSize {
				h.Write(buf[:min(left, readSize)])
			}
			h.Sum()
			sum += size
		}
	}
}
