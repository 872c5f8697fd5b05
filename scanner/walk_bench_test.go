package scanner

import (
	"context"
	"os"
	"sync/atomic"
	"testing"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// packing is a Sink that packs every block and forgets it.
type packing struct {
	sets    entry.Sets
	buf     [256][2][]byte
	entries atomic.Int64
	gaps    atomic.Int64
}

func (p *packing) Dir(w int, b *entry.Block) error {
	p.entries.Add(int64(len(b.Entries)))
	p.buf[w][0], p.buf[w][1] = b.Pack(p.buf[w][0][:0], p.buf[w][1], p.sets)
	return nil
}

func (p *packing) Gap(int, Gap) error { p.gaps.Add(1); return nil }

// BenchmarkScan scans the tree named by INTACT_BENCH_TREE, by default /usr/bin.
func BenchmarkScan(b *testing.B) {
	tree := os.Getenv("INTACT_BENCH_TREE")
	if tree == "" {
		tree = "/usr/bin"
	}
	r, err := dirfd.Open("/")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	pol := policy.AdHoc([]entry.Path{entry.Path(tree)})
	eff, err := policy.Union(pol, pol, nil)
	if err != nil {
		b.Fatal(err)
	}
	var n int64
	for b.Loop() {
		p := &packing{sets: eff.Sets()}
		st, err := Run(context.Background(), r, eff, Options{}, nil, p)
		if err != nil {
			b.Fatal(err)
		}
		n += p.entries.Load()
		b.SetBytes(st.Bytes)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}
