package app

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/report"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// What comes out of the sorter, on disk or not, is what sorting in memory gives.
func TestMomentsAreSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seconds := []int64{math.MinInt64, -1, 0, 1, 1772330400, math.MaxInt64}
	names := []string{"/", "/a", "/a/b", "/a-b", "/a\n|\x1b", "/\xff\xfe", "/z/" + strings.Repeat("n", 200)}
	for _, memory := range []int{1, 500, 1 << 20} {
		p := &page{timeline: &timeline{}, sorter: diff.NewSorter(t.TempDir(), memory, compareMoments)}
		defer p.sorter.Close()
		var want []report.Moment
		for i := range 2000 {
			m := report.Moment{
				Time: entry.Time{Sec: seconds[r.IntN(len(seconds))], Nsec: r.Uint32N(3)},
				Path: entry.Path(names[r.IntN(len(names))]), Which: report.MACB(1 + r.IntN(15)), Marks: report.Mark(r.IntN(1 << 8)),
				Entry: &entry.Entry{Kind: entry.File, Have: statAttrs | entry.Btime, Mode: uint16(r.IntN(0o10000)), Size: r.Int64(), Inode: uint64(i)},
			}
			if err := p.put(appendTime(nil, m.Time), m.Path, m.Which, m.Marks, m.Entry); err != nil {
				t.Fatal(err)
			}
			want = append(want, m)
		}
		slices.SortStableFunc(want, func(a, b report.Moment) int {
			switch {
			case a.Time.Before(b.Time):
				return -1
			case b.Time.Before(a.Time):
				return 1
			}
			return bytes.Compare(a.Path.Key(), b.Path.Key())
		})
		var got []report.Moment
		for b, err := range diff.Merge(p.sorter) {
			if err != nil {
				t.Fatal(err)
			}
			m, err := parseSorted(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, *m)
		}
		// Equal keys may come in any order: they are compared as sets.
		tie := func(a, b report.Moment) int {
			if a.Time != b.Time || a.Path != b.Path {
				return 0
			}
			return int(a.Entry.Inode) - int(b.Entry.Inode)
		}
		slices.SortStableFunc(got, tie)
		slices.SortStableFunc(want, tie)
		if len(got) != len(want) {
			t.Fatalf("memory %d: %d moments of %d", memory, len(got), len(want))
		}
		for i := range want {
			g, w := got[i], want[i]
			if g.Time != w.Time || g.Path != w.Path || g.Which != w.Which || g.Marks != w.Marks || g.Entry.Inode != w.Entry.Inode || g.Entry.Size != w.Entry.Size || g.Entry.Mode != w.Entry.Mode {
				t.Fatalf("memory %d: moment %d is %+v, want %+v", memory, i, g, w)
			}
		}
	}
}

func TestMalformedRecords(t *testing.T) {
	p := &page{timeline: &timeline{}, sorter: diff.NewSorter("", 1<<20, compareMoments)}
	e := &entry.Entry{Kind: entry.File}
	if err := p.put(appendTime(nil, entry.Time{Sec: 1}), "/a", 1, 0, e); err != nil {
		t.Fatal(err)
	}
	for b := range diff.Merge(p.sorter) {
		for n := range len(b) {
			if _, err := parseSorted(b[:n]); err == nil {
				t.Errorf("%d of %d bytes are read as a record", n, len(b))
			}
		}
	}
}

func TestTimesSet(t *testing.T) {
	at := func(sec int64, nsec uint32) entry.Time { return entry.Time{Sec: sec, Nsec: nsec} }
	all := entry.Mtime | entry.Ctime | entry.Btime
	now := at(1000, 0)
	tests := []struct {
		name    string
		m, c, b entry.Time
		have    entry.Attr
		want    report.Mark
	}{
		{"made", at(500, 7), at(500, 7), at(500, 7), all, 0},
		{"unpacked, with nanoseconds", at(100, 7), at(500, 7), at(500, 6), all, 0},
		{"a whole second before its birth", at(100, 0), at(500, 7), at(500, 6), all, report.MarkWholeSecond},
		{"a file system of whole seconds", at(100, 0), at(500, 0), at(500, 0), all, 0},
		{"a whole second after its birth", at(600, 0), at(700, 7), at(500, 6), all, 0},
		{"no birth", at(100, 0), at(500, 7), at(0, 0), entry.Mtime | entry.Ctime, 0},
		{"modified tomorrow", at(1000, 1), at(500, 7), at(500, 6), all, report.MarkFuture},
		{"changed tomorrow", at(500, 1), at(1001, 7), at(500, 1), all, report.MarkFuture},
		{"now is not the future", at(1000, 0), at(1000, 0), at(1000, 0), all, 0},
		{"changed before it was born", at(500, 1), at(400, 1), at(500, 1), all, report.MarkBeforeBirth},
	}
	for _, tt := range tests {
		e := &entry.Entry{Kind: entry.File, Have: tt.have, Mtime: tt.m, Ctime: tt.c, Btime: tt.b}
		if got := timesSet(e, now); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got.Words(), tt.want.Words())
		}
	}
}

// since belongs to a window, until does not.
func TestWindow(t *testing.T) {
	now := time.Date(2026, 11, 26, 22, 0, 0, 0, time.UTC)
	w, err := (&TimelineOptions{Since: "2026-11-26T10:00:00Z", Until: "2026-11-26T11:00:00Z"}).window(now)
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[time.Duration]bool{-1: false, 0: true, time.Hour - 1: true, time.Hour: false} {
		if got := w.has(timeOf(time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC).Add(offset))); got != want {
			t.Errorf("%v behind since: got %v, want %v", offset, got, want)
		}
	}
	for _, o := range []TimelineOptions{{}, {Since: "x"}, {Since: "1h", Until: "x"}, {Since: "1h", Until: "2h"}, {Since: "1h", Until: "1h"}, {Since: "1h", Format: "csv"}} {
		if _, err := o.window(now); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// A mount that is scanned by another process gets the policy as a text: what
// comes of it must be the same.
func TestBareIsCanonical(t *testing.T) {
	want := bare(policy.Default())
	got, err := policy.ParseCanonical(want.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rules) != len(want.Rules) {
		t.Fatalf("%d rules of %d", len(got.Rules), len(want.Rules))
	}
	for _, p := range []*policy.Policy{want, got} {
		for i := range p.Rules {
			if s := p.Rules[i].Set; s != p.Rules[0].Set || s.Mask != statAttrs || s.Sweep || s.Log {
				t.Errorf("rule %s compares %+v", p.Rules[i].Pattern, s)
			}
		}
	}
	if got.Rules[0].Set != want.Rules[0].Set {
		t.Errorf("got %+v, want %+v", got.Rules[0].Set, want.Rules[0].Set)
	}
}
