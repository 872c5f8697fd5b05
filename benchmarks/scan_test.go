package benchmarks

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"intact/benchmarks/corpus"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// packing is a Sink that packs every block and forgets it: the scan without
// the store.
type packing struct {
	sets  entry.Sets
	buf   [256][2][]byte // by worker
	files atomic.Int64
	gaps  atomic.Int64
}

func (p *packing) Dir(w int, b *entry.Block) error {
	for i := range b.Entries {
		if b.Entries[i].Kind == entry.File {
			p.files.Add(1)
		}
	}
	p.buf[w][0], p.buf[w][1] = b.Pack(p.buf[w][0][:0], p.buf[w][1], p.sets)
	return nil
}

func (p *packing) Gap(int, scanner.Gap) error { p.gaps.Add(1); return nil }

// BenchmarkScan walks, reads, hashes and packs a tree that is in the page cache.
func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		kind  corpus.Kind
		count int
	}{{corpus.Small, 5_000}, {corpus.Tiny, 20_000}, {corpus.Wide, 20_000}} {
		b.Run(string(c.kind), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "tree")
			spec, err := corpus.Default(c.kind)
			if err != nil {
				b.Fatal(err)
			}
			spec.Count = c.count
			if _, _, err := corpus.Ensure(b.Context(), dir, spec); err != nil {
				b.Fatal(err)
			}
			scan(b, dir, int64(c.count)+1) // and the marker
		})
	}
}

func scan(b *testing.B, dir string, files int64) {
	r, err := dirfd.Open("/")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	pol := policy.AdHoc([]entry.Path{entry.Path(dir)})
	eff, err := policy.Union(pol, pol, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p := &packing{sets: eff.Sets()}
		if _, err := scanner.Run(b.Context(), r, eff, scanner.Options{}, nil, p); err != nil {
			b.Fatal(err)
		}
		if p.files.Load() != files || p.gaps.Load() > 0 {
			b.Fatalf("%d files, want %d; %d gaps", p.files.Load(), files, p.gaps.Load())
		}
	}
	b.ReportMetric(float64(files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

// The sizes are the mean of tiny, the median and the mean of small, and a file
// that takes several reads.
func BenchmarkDigest(b *testing.B) {
	in := make([]byte, 1<<20)
	for i := range in {
		in[i] = byte(i * 7)
	}
	for _, n := range []int{200, 3_000, 15_000, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			h := digest.New()
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				h.Reset(int64(n))
				h.Write(in[:n])
				h.Sum()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}
