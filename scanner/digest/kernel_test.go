package digest

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// lengths stand around every boundary of blocks, chunks, groups and subtrees.
func lengths() []int {
	var l []int
	for _, at := range []int{0, 64, 1024, 2048, 4096, 8192, group, 2 * group, 3 * group, 4 * group, 5 * group, 7 * group, 8 * group, 16 * group, 17 * group, 64 * group} {
		for d := -65; d <= 65; d += 13 {
			if at+d >= 0 {
				l = append(l, at+d)
			}
		}
		l = append(l, at, at+1, max(at-1, 0))
	}
	for n := range 70 {
		l = append(l, n*333)
	}
	return l
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func TestKernelsAgree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	h := New()
	for _, n := range lengths() {
		b := pattern(n)
		want := Sum(b)
		for _, size := range []int64{0, wideFrom} {
			h.Reset(size)
			for rest := b; len(rest) > 0; {
				k := min(len(rest), 1+rnd.IntN(40000))
				h.Write(rest[:k])
				rest = rest[k:]
				if len(rest) == n/2 && h.Sum() != Sum(b[:n-len(rest)]) {
					t.Fatalf("%d of %d bytes, kernel for %d: running sum differs", n-len(rest), n, size)
				}
			}
			if got := h.Sum(); got != want {
				t.Errorf("%d bytes, kernel for %d: got %s, want %s", n, size, got, want)
			}
		}
	}
}

func BenchmarkKernels(b *testing.B) {
	for _, n := range []int{1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10} {
		in := pattern(n)
		for _, k := range []struct {
			name string
			size int64
		}{{"plain", 0}, {"wide", wideFrom}} {
			b.Run(fmt.Sprintf("%s/%d", k.name, n), func(b *testing.B) {
				h := New()
				b.SetBytes(int64(n))
				for b.Loop() {
					h.Reset(k.size)
					h.Write(in)
					h.Sum()
				}
			})
		}
	}
}
