package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"intact/baseline"
	"intact/scanner/entry"
)

// Every bucket that has directories has one turn, the longest not verified first but
// for what chance decides.
func TestPassOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	now := time.Unix(1_800_000_000, 0)
	const every = 24 * time.Hour
	for range 20 {
		a := baseline.NewAges()
		var buckets [baseline.DirBuckets]int
		want := map[int]bool{}
		for range random.IntN(3000) {
			b := random.IntN(len(buckets))
			buckets[b]++
			want[b] = true
			if random.IntN(4) > 0 {
				a.Verify(b, now.Add(-time.Duration(random.Int64N(int64(3*every)))))
			}
		}
		got := passOrder(a, &buckets, every, now)
		if len(got) != len(want) {
			t.Fatalf("%d turns, want %d", len(got), len(want))
		}
		var newest time.Time
		for _, x := range got {
			if !want[x.bucket] {
				t.Fatalf("bucket %d has no turn to have, or has two", x.bucket)
			}
			delete(want, x.bucket)
			at := a.Verified(x.bucket)
			if at.Before(newest.Add(-every / jitter)) {
				t.Fatalf("bucket of %v behind one of %v", at, newest)
			}
			newest = later(newest, at)
			if x.overdue != (now.Sub(at) > every) {
				t.Fatalf("bucket of %v: overdue %v", at, x.overdue)
			}
		}
		if again := passOrder(a, &buckets, every, now); len(got) > 50 && slices.Equal(got, again) {
			t.Fatal("the order can be foretold")
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestPass(t *testing.T) {
	turns := make([]turn, 24)
	for i := range turns {
		turns[i] = turn{bucket: i, overdue: i < 4}
	}
	synctest.Test(t, func(t *testing.T) {
		p, begin := &pacer{}, time.Now()
		var at []time.Duration
		p.pass(context.Background(), 24*time.Hour, turns, func(i int) bool {
			at = append(at, time.Since(begin))
			if i == 10 { // takes longer than its time
				time.Sleep(3*time.Hour + time.Minute)
			}
			return true
		})
		for i, got := range at {
			want := time.Duration(i-3) * time.Hour // four were late: they came in one hour
			switch {
			case i < 4:
				want = time.Duration(i+1) * 15 * time.Minute
			default:
				want += time.Hour
			}
			if i > 10 && i < 14 { // one after another until the time is made good
				want = at[10] + 3*time.Hour + time.Minute
			}
			if got != want {
				t.Errorf("turn %d after %v, want %v", i, got, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{}
		ctx, stop := context.WithCancel(context.Background())
		n := 0
		go func() {
			time.Sleep(150 * time.Minute)
			stop()
		}()
		p.pass(ctx, 24*time.Hour, turns[4:8], func(int) bool { n++; return true })
		if n != 0 {
			t.Errorf("%d turns of 6 hours in 2", n)
		}
		p.pass(context.Background(), time.Hour, turns, func(int) bool { n++; return n < 3 })
		if n != 3 {
			t.Errorf("%d turns, want 3: it was told to end", n)
		}
	})
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, begin, ctx := &pacer{}, time.Now(), context.Background()
		for range 10 * calmRate >> 18 {
			p.pace(ctx, 1<<18)
		}
		if d := time.Since(begin).Round(100 * time.Millisecond); d != 10*time.Second {
			t.Errorf("%d bytes took %v, want 10 s", 10*calmRate, d)
		}
		p.late = 9
		begin = time.Now()
		for range 100 * calmRate >> 18 {
			p.pace(ctx, 1<<18)
		}
		if d := time.Since(begin).Round(100 * time.Millisecond); d != 10*time.Second {
			t.Errorf("nine turns late %d bytes took %v, want 10 s", 100*calmRate, d)
		}
		// A look goes before, and a second one.
		p.hold()
		p.hold()
		done := make(chan struct{})
		go func() { p.pace(ctx, 1); close(done) }()
		p.release()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it went on beside a look")
		default:
		}
		p.release()
		<-done
		ended, stop := context.WithCancel(ctx)
		p.hold()
		go func() { time.Sleep(time.Second); stop() }()
		p.pace(ended, 1)
	})
}

// againSite is a host of n directories with a file each, whose clock is now.
func againSite(t *testing.T, n int, now *time.Time) (e *Env, tree string) {
	t.Helper()
	dir := t.TempDir()
	tree = filepath.Join(dir, "tree")
	for i := range n {
		d := filepath.Join(tree, fmt.Sprintf("d%02d", i))
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "f"), fmt.Appendf(nil, "text %d", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "intact.yaml")
	if err := os.WriteFile(config, []byte("version: 1\npaths: [{path: /, attributes: [type, content, mode]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e = &Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Version: "test", Now: func() time.Time { return *now },
		Config: config, State: filepath.Join(dir, "state"), Root: tree, Facts: Nowhere(), Workers: 2}
	if o, err := Init(context.Background(), e, InitOptions{Output: Output{Silent: true}}); err != nil || o.Exit() != 0 {
		t.Fatalf("init: %v, %v", o, err)
	}
	return e, tree
}

func reopened(t *testing.T, e *Env) *reverifier {
	t.Helper()
	r := newReverifier(e)
	if err := r.reopen(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.shut)
	return r
}

func (r *reverifier) order() []turn {
	return passOrder(r.ages, &r.table.buckets, r.set.Every, r.env.Now())
}

func (r *reverifier) kept(t *testing.T) {
	t.Helper()
	s, err := open(r.env)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.acquire(watchCommand); err != nil {
		t.Fatal(err)
	}
	if err := r.save(s); err != nil {
		t.Fatal(err)
	}
}

// A pass verifies every directory once; one that is interrupted goes on behind a
// restart with what it did not come to.
func TestReverifyRestart(t *testing.T) {
	start := time.Now()
	now := start
	e, _ := againSite(t, 40, &now)
	r := reopened(t, e)
	now = start.Add(10 * time.Hour)
	order := r.order()
	if err := r.draw(order); err != nil {
		t.Fatal(err)
	}
	dirs := map[entry.Path]int{}
	for _, list := range r.hand {
		for _, d := range list {
			dirs[d]++
		}
	}
	if len(dirs) != 41 || len(order) < 30 {
		t.Fatalf("%d directories in %d turns, want 41", len(dirs), len(order))
	}
	for d, n := range dirs {
		if n != 1 {
			t.Errorf("%q %d times", d, n)
		}
	}
	half := len(order) / 2
	for _, x := range order[:half] {
		if err := r.piece(context.Background(), x.bucket); err != nil {
			t.Fatal(err)
		}
	}
	r.kept(t)

	now = start.Add(11 * time.Hour)
	r = reopened(t, e)
	again := r.order()
	if len(again) != len(order) {
		t.Fatalf("%d turns, want %d", len(again), len(order))
	}
	left := map[int]bool{}
	for _, x := range order[half:] {
		left[x.bucket] = true
	}
	for _, x := range again[:len(left)] {
		if !left[x.bucket] {
			t.Fatalf("bucket %d comes again before others came once", x.bucket)
		}
	}
	now = start.Add(26 * time.Hour)
	v := r.coverage()
	var all, day int64
	for _, root := range v.Roots {
		all, day = all+root.Entries, day+root.Day
	}
	if all != 81 || day == 0 || day == all || !v.Roots[0].Oldest.Equal(start.Truncate(time.Second)) {
		t.Errorf("coverage %+v of %d, %d", v, all, day)
	}
	for _, x := range again {
		if err := r.draw([]turn{x}); err != nil {
			t.Fatal(err)
		}
		if err := r.piece(context.Background(), x.bucket); err != nil {
			t.Fatal(err)
		}
	}
	if v = r.coverage(); v.Roots[0].Day != 81 || !v.Roots[0].Oldest.Equal(now.Truncate(time.Second)) {
		t.Errorf("coverage %+v", v)
	}
	r.kept(t)
	// What is of the future is none, and what is damaged is nothing known.
	now = start.Add(time.Hour)
	r = reopened(t, e)
	if r.kept(t); !r.ages.Verified(again[0].bucket).IsZero() {
		t.Error("it was verified in the future")
	}
	if err := os.WriteFile(filepath.Join(e.State, "baseline", "ages"), bytes.Repeat([]byte("\x1b[31m\n"), 9), 0o600); err != nil {
		t.Fatal(err)
	}
	r = reopened(t, e)
	if v = r.coverage(); v.Roots[0].Day != 0 || !v.Roots[0].Oldest.IsZero() || !r.order()[0].overdue || len(r.words()) != 2 {
		t.Errorf("damaged ages: %+v, %q", v, r.words())
	}
}

// A file that takes longer than its turn waits for looks between two buffers, and
// ends with the watcher.
func TestReverifyHuge(t *testing.T) {
	now := time.Now()
	e, tree := againSite(t, 1, &now)
	huge := make([]byte, 12<<20)
	for i := range huge {
		huge[i] = byte(i >> 10)
	}
	if err := os.WriteFile(filepath.Join(tree, "d00", "f"), huge, 0o644); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if o, err := Init(context.Background(), e, InitOptions{Force: true, Output: Output{Silent: true}}); err != nil {
		t.Fatalf("init: %v, %v", o, err)
	}
	r := reopened(t, e)
	synctest.Test(t, func(t *testing.T) {
		r.out = make(chan places)
		verify := func(ctx context.Context) <-chan error {
			done := make(chan error, 1)
			go func() {
				clean, err := r.verify(ctx, []entry.Path{"/d00"})
				if err == nil && !clean {
					err = fmt.Errorf("not clean")
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		r.pacer.hold()
		done := verify(context.Background())
		if len(done) > 0 {
			t.Fatalf("it did not wait for the look: %v", <-done)
		}
		r.pacer.release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancelCause(context.Background())
		r.pacer.hold()
		done = verify(ctx)
		stop(io.ErrClosedPipe)
		synctest.Wait()
		if len(done) != 1 {
			t.Fatal("it does not end")
		}
		if err := <-done; err == nil {
			t.Error("it was verified")
		}
		r.pacer.release()
	})
}
