package diff

import (
	"fmt"
	"testing"

	"intact/scanner/entry"
)

// siblings returns n files of one directory, in order.
func siblings(n int) []entry.Entry {
	k := &clock{}
	list := make([]entry.Entry, 0, n)
	for i := range n {
		e := k.object(entry.File, fmt.Sprint(i))
		e.Name = fmt.Appendf(nil, "file-%06d", i)
		list = append(list, *e)
	}
	return list
}

// edited returns a copy of list in which every step-th content is another.
func edited(list []entry.Entry, step int) []entry.Entry {
	now := make([]entry.Entry, len(list))
	for i := range list {
		now[i] = *list[i].Clone()
		if i%step == 0 {
			now[i].Digest[0]++
			now[i].Mtime.Sec++
		}
	}
	return now
}

// BenchmarkJoin compares two directories of 30 files, the mean of a tree of
// small files: those that are equal never come this far in a check.
func BenchmarkJoin(b *testing.B) {
	const n = 30
	for _, step := range []int{1, n} {
		b.Run(fmt.Sprintf("changed=%d", (n+step-1)/step), func(b *testing.B) {
			old := siblings(n)
			now := edited(old, step)
			b.ReportAllocs()
			for b.Loop() {
				found := 0
				err := Join("/d", old, now, testSets, testSets, func(*Change) error { found++; return nil })
				if err != nil || found != (n+step-1)/step {
					b.Fatalf("%d changes, %v", found, err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}

// BenchmarkSpool takes changes through the spool, in memory and by way of
// temporary files: changed contents, and files that are gone with as many that
// are new, which are looked at for renames.
func BenchmarkSpool(b *testing.B) {
	const n = 20_000
	old := siblings(n)
	changed := edited(old, 1)
	renamed := siblings(n)
	for i := range renamed {
		renamed[i].Name = fmt.Appendf(nil, "other-%06d", i)
	}
	for _, c := range []struct {
		name  string
		now   []entry.Entry
		limit int
	}{
		{"changed", changed, DefaultLimit},
		{"changed-on-disk", changed, 1 << 20},
		{"renamed", renamed, DefaultLimit},
	} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			for b.Loop() {
				s := NewSpool(dir, 1, c.limit)
				err := Join("/d", old, c.now, testSets, testSets, func(x *Change) error { return s.Add(0, x) })
				if err != nil {
					b.Fatal(err)
				}
				if list, _ := finish(b, s); len(list) != n {
					b.Fatalf("%d changes, want %d", len(list), n)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}
