package app

import (
	"math"
	"testing"
)

// Under every limit the parts together take less than half, down to what a run
// needs at the least.
func TestMemoryUnder(t *testing.T) {
	none := memoryUnder(math.MaxInt64)
	if none.workers < 256 {
		t.Errorf("without a limit: %+v", none)
	}
	for _, limit := range []int64{0, 1 << 20, 32 << 20, 64 << 20, 100 << 20, 1 << 30, 1 << 40} {
		m := memoryUnder(limit)
		if m.names > none.names || m.changes > none.changes || m.names <= 0 || m.changes <= 0 || m.workers < 1 {
			t.Errorf("%d: %+v", limit, m)
		}
		if sum := int64(m.names) + int64(m.changes) + int64(min(m.workers, 256))*perWorker; limit >= 32<<20 && sum > limit/2 {
			t.Errorf("%d: %d bytes are given away", limit, sum)
		}
	}
}

func TestPercentOf(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 1 << 40: 100} {
		if got := percentOf(live); got != want {
			t.Errorf("%d bytes alive: %d %%, want %d", live, got, want)
		}
	}
}
