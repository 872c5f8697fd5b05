package app

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// zeros is no chance at all: the first buckets are chosen.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

type seeded struct{ *rand.ChaCha8 }

func TestChoose(t *testing.T) {
	now := time.Date(2026, 11, 20, 3, 30, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, c := range []struct {
		name  string
		share int
		every int
		read  func(i int) time.Time
		want  func(i int) bool // besides those drawn
		drawn int
	}{
		{"fresh", 5, 30, func(int) time.Time { return now.Add(-day) }, nil, 13},
		{"one-percent", 1, 30, func(int) time.Time { return now.Add(-day) }, nil, 3},
		{"all", 100, 30, func(int) time.Time { return now.Add(-day) }, nil, 256},
		{"just-in-time", 5, 30, func(int) time.Time { return now.Add(-30 * day) }, nil, 13},
		{"too-old", 5, 30, func(i int) time.Time { return now.Add(-30*day - time.Duration(i&1)) }, func(i int) bool { return i&1 == 1 }, 13},
		{"never", 5, 365, func(i int) time.Time {
			if i == 200 {
				return time.Time{}
			}
			return now
		}, func(i int) bool { return i == 200 }, 13},
		{"future", 5, 30, func(i int) time.Time { return now.Add(time.Duration(i) - 255) }, nil, 13},
		{"clock-back", 5, 30, func(i int) time.Time { return now.Add(time.Duration(i) - 100) }, func(i int) bool { return i > 100 }, 13},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := quick{on: true, set: config.Quick{Share: c.share, Every: c.every}, start: now, ages: baseline.NewAges()}
			for i := range q.ages.Read {
				q.ages.Read[i] = c.read(i)
			}
			q.choose(zeros{})
			for i, got := range q.whole {
				want := i < c.drawn || c.want != nil && c.want(i)
				if got != want {
					t.Errorf("bucket %d: chosen %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestChooseByChance(t *testing.T) {
	var seed [32]byte
	random := seeded{rand.NewChaCha8(seed)}
	now := time.Now()
	var times [baseline.AgeBuckets]int
	const rounds = 2000
	for range rounds {
		q := quick{on: true, set: config.Quick{Share: 5, Every: 30}, start: now, ages: baseline.NewAges()}
		for i := range q.ages.Read {
			q.ages.Read[i] = now
		}
		q.choose(random)
		n := 0
		for i, whole := range q.whole {
			if whole {
				n++
				times[i]++
			}
		}
		if n != 13 {
			t.Fatalf("%d buckets chosen, want 13", n)
		}
	}
	for i, n := range times { // 102 expected, deviation 10
		if n < 50 || n > 160 {
			t.Errorf("bucket %d was chosen %d times of %d", i, n, rounds)
		}
	}
	// Without chance, or without --quick, everything is read.
	for _, q := range []*quick{{on: true, set: config.Quick{Share: 5, Every: 30}}, {}} {
		q.start, q.ages = now, baseline.NewAges()
		for i := range q.ages.Read {
			q.ages.Read[i] = now
		}
		q.choose(bytes.NewReader([]byte("short")))
		for i, whole := range q.whole {
			if !whole {
				t.Fatalf("bucket %d is not read", i)
			}
		}
	}
	if (*quick)(nil).trust() != nil || (&quick{}).trust() != nil {
		t.Error("a check that is not quick trusts")
	}
}

// A file is trusted only if the last read of its bucket cannot have missed what
// was written under its times.
func TestTrustedTimes(t *testing.T) {
	read := time.Date(2026, 11, 20, 3, 30, 0, 500, time.UTC)
	at := func(d time.Duration) entry.Time {
		u := read.Add(d)
		return entry.Time{Sec: u.Unix(), Nsec: uint32(u.Nanosecond())}
	}
	old, long := at(-settled-1), at(-1000*time.Hour)
	told := &marks{}
	for _, c := range []struct {
		name         string
		mtime, ctime entry.Time
		change       func(q *quick)
		want         bool
	}{
		{"old", long, long, nil, true},
		{"just-old-enough", old, old, nil, true},
		{"ctime-at-the-limit", old, at(-settled), nil, false},
		{"mtime-at-the-limit", at(-settled), old, nil, false},
		{"ctime-after", long, at(time.Second), nil, false},
		{"mtime-in-the-future", at(time.Hour), long, nil, false},
		{"two-seconds-before", at(-2 * time.Second), at(-2 * time.Second), nil, false},
		{"chosen", long, long, func(q *quick) { q.whole[q.ages.Mark("/d/f")[0]] = true }, false},
		{"another-chosen", long, long, func(q *quick) { q.whole[q.ages.Mark("/d/f")[0]+1] = true }, true},
		{"bucket-never-read", long, long, func(q *quick) { q.ages.Read[q.ages.Mark("/d/f")[0]] = time.Time{} }, false},
		{"reported", long, long, func(q *quick) { told.add(q.ages.Mark("/d/f")); q.told = told }, false},
		{"another-reported", long, long, func(q *quick) { q.told = &marks{}; q.told.add(digest.Sum([]byte("x"))) }, true},
		{"fat", long, long, func(q *quick) { q.keeps["/d"] = false }, false},
		{"fat-beside", long, long, func(q *quick) { q.keeps["/e"] = false }, true},
		{"bind-of-one-file", long, long, func(q *quick) { q.keeps["/d/f"] = false }, false},
		{"disk-below-fat", long, long, func(q *quick) { q.keeps["/"] = false; q.keeps["/d"] = true }, true},
		{"no-mount-table", long, long, func(q *quick) { q.keeps = nil }, false},
	} {
		q := &quick{on: true, ages: baseline.NewAges(), keeps: map[entry.Path]bool{"/": true}}
		for i := range q.ages.Read {
			q.ages.Read[i] = read
		}
		if c.change != nil {
			c.change(q)
		}
		e := &entry.Entry{Name: []byte("f"), Kind: entry.File, Mtime: c.mtime, Ctime: c.ctime}
		if got := q.trust()("/d", e); got != c.want {
			t.Errorf("%s: trusted %v, want %v", c.name, got, c.want)
		}
		if used := q.used[q.ages.Mark("/d/f")[0]].Load(); used != c.want {
			t.Errorf("%s: noted as trusted: %v", c.name, used)
		}
	}
}

func TestUnread(t *testing.T) {
	e := func(change func(*entry.Entry)) *entry.Entry {
		e := &entry.Entry{Name: []byte("f"), Kind: entry.File, Have: entry.Content | entry.Size, Size: 3, Inode: 4, Device: 5, Mtime: entry.Time{Sec: 6}, Ctime: entry.Time{Sec: 7}, Digest: digest.Sum(nil)}
		if change != nil {
			change(e)
		}
		return e
	}
	other := func(e *entry.Entry) { e.Digest[0]++ }
	for _, c := range []struct {
		name string
		kind diff.Kind
		a, b *entry.Entry
		want bool
	}{
		{"below-the-times", diff.Changed, e(nil), e(other), true},
		{"unread-content", diff.Changed, e(nil), e(func(e *entry.Entry) { e.Have = entry.Size }), true},
		{"lost", diff.Unverified, e(nil), e(func(e *entry.Entry) { e.Have = 0 }), true},
		{"gone-subtree", diff.Unverified, nil, nil, false},
		{"mode", diff.Changed, e(nil), e(func(e *entry.Entry) { e.Mode = 1 }), false},
		{"edited", diff.Changed, e(nil), e(func(e *entry.Entry) { other(e); e.Ctime.Nsec++ }), false},
		{"now-a-link", diff.Changed, e(nil), e(func(e *entry.Entry) { e.Kind = entry.Symlink; e.Have = 0 }), false},
		{"never-known", diff.Unverified, e(func(e *entry.Entry) { e.Have = entry.Size }), e(nil), false},
		{"added", diff.Added, nil, e(nil), false},
		{"removed", diff.Removed, e(nil), nil, false},
	} {
		if got := unread(&diff.Change{Kind: c.kind, Old: c.a, New: c.b}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// The oldest reading that the report names is one of a file that was trusted.
func TestQuickOutcome(t *testing.T) {
	read := time.Date(2026, 11, 20, 3, 30, 0, 0, time.UTC)
	q := &quick{on: true, set: config.Quick{Share: 5, Every: 30}, ages: baseline.NewAges()}
	for i := range q.ages.Read {
		q.ages.Read[i] = read.Add(time.Duration(i) * time.Hour)
	}
	if got := q.outcome(scanner.Stats{}); *got != (report.Quick{Share: 5, Every: 30}) {
		t.Errorf("without a trusted file: %+v", got)
	}
	q.used[200].Store(true)
	q.used[40].Store(true)
	q.files.Store(9)
	if got := q.outcome(scanner.Stats{Trusted: 7}); *got != (report.Quick{Trusted: 7, Files: 9, Share: 5, Every: 30, Oldest: q.ages.Read[40]}) {
		t.Errorf("got %+v", got)
	}
	q.on = false
	if q.outcome(scanner.Stats{}) != nil || (*quick)(nil).outcome(scanner.Stats{}) != nil {
		t.Error("a full check says that it was quick")
	}
}
