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

// use is Reset with the choice made.
func (h *Hasher) use(wide bool) {
	h.large = wide
	h.plain.Reset()
	h.wideKernel().reset()
}

// Cut into subtrees of any size that is a power of two, the digest is the same.
func TestFold(t *testing.T) {
	h := New()
	for _, length := range []int64{group, 2 * group, 8 * group, 64 * group} {
		for _, n := range []int64{length + 1, 2*length - 1, 2 * length, 2*length + 1, 3 * length, 3*length + 1023, 4*length + 1024, 5*length + 1025, 7 * length, 8*length + group, 11*length + 5} {
			b := pattern(int(n))
			var parts []Segment
			for i := int64(0); i*length < n; i++ {
				h.ResetSegment(i, length)
				for rest := b[i*length : min(n, (i+1)*length)]; len(rest) > 0; {
					k := min(len(rest), 100_000)
					h.Write(rest[:k])
					rest = rest[k:]
				}
				parts = append(parts, h.Segment())
			}
			if got, want := Fold(parts), Sum(b); got != want {
				t.Errorf("%d bytes in segments of %d: got %s, want %s", n, length, got, want)
			}
		}
	}
	for _, size := range []int64{0, 1, minSegment, 1 << 30, minSegment * maxSegments, minSegment*maxSegments + 1, 1 << 45, 1<<63 - 1} {
		l := SegmentLength(size)
		if l < minSegment || l&(l-1) != 0 || size/l > maxSegments {
			t.Errorf("%d bytes are cut into segments of %d", size, l)
		}
	}
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
		for _, wide := range []bool{false, true} {
			h.use(wide)
			for rest := b; len(rest) > 0; {
				k := min(len(rest), 1+rnd.IntN(40000))
				h.Write(rest[:k])
				rest = rest[k:]
				if len(rest) == n/2 && h.Sum() != Sum(b[:n-len(rest)]) {
					t.Fatalf("%d of %d bytes, wide %t: running sum differs", n-len(rest), n, wide)
				}
			}
			if got := h.Sum(); got != want {
				t.Errorf("%d bytes, wide %t: got %s, want %s", n, wide, got, want)
			}
		}
	}
}

func BenchmarkKernels(b *testing.B) {
	for _, n := range []int{1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10} {
		in := pattern(n)
		for _, k := range []struct {
			name string
			wide bool
		}{{"plain", false}, {"wide", true}} {
			b.Run(fmt.Sprintf("%s/%d", k.name, n), func(b *testing.B) {
				h := New()
				b.SetBytes(int64(n))
				for b.Loop() {
					h.use(k.wide)
					h.Write(in)
					h.Sum()
				}
			})
		}
	}
}
