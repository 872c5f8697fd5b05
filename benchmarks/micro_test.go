// Package benchmarks holds micro-benchmarks of the hot path. The benchmarks of
// whole programs are in cmd/bench.
package benchmarks

import (
	"fmt"
	"testing"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// block returns a directory of n files as a package manager leaves them:
// one owner, one mode, neighbouring inodes, the same few times.
func block(n int) *entry.Block {
	b := &entry.Block{Dir: "/usr/share/example"}
	for i := range n {
		name := fmt.Appendf(nil, "file-%04d.txt", i)
		when := entry.Time{Sec: 1_700_000_000 + int64(i%3), Nsec: uint32(i * 1_000)}
		b.Entries = append(b.Entries, entry.Entry{
			Name: name, Kind: entry.File, Have: entry.All | entry.Btime,
			Mode: 0o644, Nlink: 1, Size: int64(100 * i), Hashed: int64(100 * i),
			Inode: 1_000_000 + uint64(i), Device: 0xfe00,
			Mtime: when, Ctime: when, Btime: when, Digest: digest.Sum(name),
		})
	}
	return b
}

// The sizes are files a directory: of a root file system on average, of the
// tiny corpus, and of a full part.
var sizes = []int{9, 30, entry.PartSize}

func BenchmarkPack(b *testing.B) {
	sets := entry.Sets{{Mask: entry.All, DirMask: entry.All}}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			in := block(n)
			var packed entry.Packed
			var scratch []byte
			b.ReportAllocs()
			for b.Loop() {
				packed, scratch = in.Pack(packed[:0], scratch, sets)
			}
			report(b, n, len(packed))
		})
	}
}

func BenchmarkUnpack(b *testing.B) {
	sets := entry.Sets{{Mask: entry.All, DirMask: entry.All}}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			in := block(n)
			packed, _ := in.Pack(nil, nil, sets)
			b.ReportAllocs()
			for b.Loop() {
				out, err := packed.Unpack(in.Dir, 0, sets)
				if err != nil || len(out.Entries) != n {
					b.Fatalf("%d entries, %v", len(out.Entries), err)
				}
			}
			report(b, n, len(packed))
		})
	}
}

func report(b *testing.B, files, size int) {
	b.ReportMetric(float64(files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
	b.ReportMetric(float64(size)/float64(files), "bytes/file")
}
