package baseline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// TestSizes takes ten generations of 100,000 files. Each file must stay under
// an eighth more than its live data: that is what the pages cost.
func TestSizes(t *testing.T) {
	s := newStore(t)
	b, err := s.NewBuilder(1, testSets, testPolicy)
	if err != nil {
		t.Fatal(err)
	}
	var live int64
	for blk := range synthetic(100_000) {
		if err := b.Dir(0, blk); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Commit(context.Background(), testNote); err != nil {
		t.Fatal(err)
	}
	for round := range 9 {
		g := open(t, s)
		m := tree{}
		m.file(entry.Path(fmt.Sprintf("/d%05d/new%d", round*7, round)), round)
		var picks []*diff.Change
		for p, e := range m {
			picks = append(picks, &diff.Change{Kind: diff.Added, Path: p, New: &e, NewSet: testSets[0]})
		}
		if _, err := g.Apply(context.Background(), s, seqOf(picks), nil, testNote); err != nil {
			t.Fatal(err)
		}
	}
	g := open(t, s)
	for blk, err := range g.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		p, _ := blk.Pack(nil, nil, testSets)
		live += int64(len(blk.Dir)) + int64(len(p))
	}
	infos, err := s.List()
	if err != nil || len(infos) != 10 {
		t.Fatalf("%d generations: %v", len(infos), err)
	}
	for _, in := range infos {
		if in.Size > live*9/8 || in.Size != in.Statement.FileSize {
			t.Errorf("generation %d takes %d bytes for %d", in.Generation, in.Size, live)
		}
	}
	if g.Statement().Entries != 100_009 {
		t.Errorf("%d entries", g.Statement().Entries)
	}
}

func TestRetention(t *testing.T) {
	s := newStore(t)
	if _, err := s.NewBuilder(1, testSets, testPolicy); err != nil {
		t.Fatal(err)
	}
	day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var want []uint64
	const n = 60 // one each ten days: 20 months
	for i := range n {
		b, err := s.NewBuilder(1, testSets, testPolicy)
		if err != nil {
			t.Fatal(err)
		}
		m := tree{}
		m.file("/f", i)
		blocks := m.blocks()
		if err := b.Dir(0, &blocks[0]); err != nil {
			t.Fatal(err)
		}
		note := testNote
		note.Created = day.AddDate(0, 0, 10*i)
		if _, err := b.Commit(context.Background(), note); err != nil {
			t.Fatal(err)
		}
	}
	months := map[string]bool{}
	for i := n - 1; i >= 0; i-- {
		m := day.AddDate(0, 0, 10*i).Format("2006-01")
		if first := !months[m] && len(months) < keepMonths; first || n-i <= keepNewest {
			want = append(want, uint64(i+1))
		}
		if len(months) < keepMonths {
			months[m] = true
		}
	}
	slices.Reverse(want)
	got, err := s.generations(fileSuffix)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("kept %v, want %v: %v", got, want, err)
	}
	infos, err := s.List()
	if err != nil || len(infos) != n {
		t.Fatalf("%d statements: %v", len(infos), err)
	}
	for _, in := range infos {
		if in.Err != nil || in.Present == in.Pruned {
			t.Errorf("generation %d: present %v, pruned %v, %v", in.Generation, in.Present, in.Pruned, in.Err)
		}
	}
	if bad, err := s.Verify(context.Background(), 0); err != nil || len(bad) > 0 {
		t.Errorf("verify: %v %v", bad, err)
	}
	if _, err := s.Open(context.Background(), 1); !errors.Is(err, ErrNoBaseline) {
		t.Errorf("open of a pruned generation: %v", err)
	}
}

// TestDiskFull fills a small tmpfs while a generation is written.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	s, err := OpenStore(dir + "/state")
	if err == nil {
		err = s.Init(Machine{})
	}
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, small())
	for _, n := range []int{20_000, 40_000, 200_000} { // full while spooling, writing, or both
		b, err := s.NewBuilder(1, testSets, testPolicy)
		if err != nil {
			t.Fatal(err)
		}
		for blk := range synthetic(n) {
			if err = b.Dir(0, blk); err != nil {
				break
			}
		}
		if err == nil {
			_, err = b.Commit(context.Background(), testNote)
		}
		b.Abort()
		if n > 20_000 && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d files: %v", n, err)
		}
		noLeftovers(t, s)
		g := open(t, s)
		g.Close()
	}
}

// TestInterrupted commits over what an interrupted commit left.
func TestInterrupted(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	rewrite(t, s.dbPath(2), []byte("half"))
	g := open(t, s)
	if g.Statement().Generation != 1 {
		t.Fatal("a file without a statement counts")
	}
	if st := commit(t, s, small()); st.Generation != 2 {
		t.Fatal("numbering")
	}
	open(t, s)
	fi, err := os.Stat(s.dbPath(2))
	if err != nil || fi.Mode().Perm() != 0o400 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
}

// synthetic yields blocks of 30 files each, n files in all.
func synthetic(n int) func(yield func(*entry.Block) bool) {
	return func(yield func(*entry.Block) bool) {
		b := &entry.Block{Entries: make([]entry.Entry, 30)}
		for d := 0; n > 0; d++ {
			b.Dir = entry.Path(fmt.Sprintf("/d%05d", d))
			b.Entries = b.Entries[:min(n, 30)]
			n -= len(b.Entries)
			for i := range b.Entries {
				k := uint64(d*30 + i)
				e := &b.Entries[i]
				*e = entry.Entry{
					Name: fmt.Appendf(e.Name[:0], "file%02d.dat", i), Kind: entry.File, Have: entry.Applicable(entry.File), Mode: 0o644,
					Size: int64(k % 9000), Inode: k, Device: 3, Nlink: 1, Mtime: entry.Time{Sec: int64(k) * 77, Nsec: uint32(k)},
				}
				e.Hashed = e.Size
				for j := range digest.Size { // no two alike, none compressible
					e.Digest[j] = byte(k*0x9E3779B97F4A7C15>>(j%8*8)) ^ byte(j)
				}
			}
			if !yield(b) {
				return
			}
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		s := newStore(b)
		w, err := s.NewBuilder(1, testSets, testPolicy)
		if err != nil {
			b.Fatal(err)
		}
		for blk := range synthetic(n) {
			if err := w.Dir(0, blk); err != nil {
				b.Fatal(err)
			}
		}
		st, err := w.Commit(context.Background(), testNote)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(st.FileSize)/n, "bytes/file")
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "files/s")
}

func BenchmarkCompare(b *testing.B) {
	const n = 1_000_000
	s := newStore(b)
	w, err := s.NewBuilder(1, testSets, testPolicy)
	if err != nil {
		b.Fatal(err)
	}
	for blk := range synthetic(n) {
		if err := w.Dir(0, blk); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Commit(context.Background(), testNote); err != nil {
		b.Fatal(err)
	}
	var opened time.Duration
	for b.Loop() {
		start := time.Now()
		g, err := s.Open(context.Background(), 0)
		if err != nil {
			b.Fatal(err)
		}
		opened += time.Since(start)
		c := g.Compare(&memSpool{}, 1)
		for blk := range synthetic(n) {
			if err := c.Dir(0, blk); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := c.Finish(context.Background()); err != nil {
			b.Fatal(err)
		}
		g.Close()
	}
	b.ReportMetric(opened.Seconds()/float64(b.N), "s/open")
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "files/s")
}

// Only a store that is told to starts over, and needs nothing of what was there.
func TestRestart(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	commit(t, s, small())
	rewrite(t, s.statementPath(2), []byte("damaged\n"))
	b, err := s.NewBuilder(1, testSets, testPolicy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(context.Background(), testNote); !errors.Is(err, ErrDamaged) {
		t.Errorf("without being told: %v", err)
	}
	s.Restart = true
	st := commit(t, s, small())
	s.Restart = false
	if st.Generation != 3 || !st.Restart || st.Previous != (digest.Digest{}) || !strings.Contains(st.Reason, "started over from generation 2") {
		t.Errorf("got %s", st.Text())
	}
	if err := os.Remove(s.statementPath(2)); err != nil {
		t.Fatal(err)
	}
	open(t, s)
	if next := commit(t, s, small()); next.Restart || next.Previous != st.Digest() {
		t.Errorf("got %s", next.Text())
	}
	infos, err := s.List()
	if err != nil || len(infos) != 4 || infos[0].Err != nil || infos[1].Err == nil || infos[2].Err != nil || infos[3].Err != nil {
		t.Errorf("got %+v, %v", infos, err)
	}
}
