package digest

import (
	"sync"
	"time"

	"github.com/zeebo/blake3"
)

// wideFrom is the input size from which the wide kernel can be the faster one:
// it compresses a whole group at a time, however little there is.
const wideFrom = group

// wideWins reports whether the wide kernel is the faster one on this machine.
// Its vectors are twice as long, but some processors take twice as long for
// them: from 1.4 times faster to 1.2 times slower was seen. So both are tried,
// once, for a fraction of a millisecond. It decides about time alone: the
// digests are the same.
var wideWins = sync.OnceValue(func() bool {
	const size = 256 << 10 // as files are read
	in := make([]byte, size)
	plain, w := blake3.New(), new(wide)
	best := [2]time.Duration{time.Hour, time.Hour}
	for range 4 { // in turn, and the best of each: others use the machine too
		start := time.Now()
		plain.Reset()
		plain.Write(in)
		var d Digest
		plain.Sum(d[:0])
		middle := time.Now()
		w.reset()
		w.write(in)
		w.sum()
		best[0] = min(best[0], middle.Sub(start))
		best[1] = min(best[1], time.Since(middle))
	}
	return best[1] < best[0]
})
