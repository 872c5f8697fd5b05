package app

import (
	"testing"
	"time"
)

func TestParseMoment(t *testing.T) {
	loc := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 26, 22, 0, 0, 7, loc)
	local := func(h, m, s int) time.Time { return time.Date(2026, 11, 2, h, m, s, 0, loc) }
	tests := []struct {
		in   string
		want time.Time // zero: refused
	}{
		{"2026-11-02T03:04:05Z", time.Date(2026, 11, 2, 3, 4, 5, 0, time.UTC)},
		{"2026-11-02T03:04:05.000000009-01:00", time.Date(2026, 11, 2, 4, 4, 5, 9, time.UTC)},
		{"2026-11-02", local(0, 0, 0)},
		{"2026-11-02 03:04", local(3, 4, 0)},
		{"2026-11-02 03:04:05", local(3, 4, 5)},
		{"24h", now.Add(-24 * time.Hour)},
		{"7d", now.Add(-7 * 24 * time.Hour)},
		{"2w", now.Add(-14 * 24 * time.Hour)},
		{"1d12h", now.Add(-36 * time.Hour)},
		{"90m", now.Add(-90 * time.Minute)},
		{"0s", now},
		{in: ""}, {in: "now"}, {in: "24"}, {in: "-24h"}, {in: "h"}, {in: "1h1h"}, {in: "1h1d"}, {in: "1.5h"}, {in: "1ms"}, {in: "24H"},
		{in: "999999999w"}, {in: "100000w100000d"}, {in: "1000000000000s"}, {in: "24h "}, {in: " 24h"}, {in: "２h"},
		{in: "2026-11-02T03:04:05"}, {in: "2026-13-01"}, {in: "2026-02-30"}, {in: "2026-11-2"}, {in: "2026-11-02 3:04"},
		{in: "2026-11-02 03:04:05.5"}, {in: "2026-11-02 25:00"}, {in: "02.11.2026"}, {in: "1d\x00"},
	}
	for _, tt := range tests {
		got, err := parseMoment(tt.in, now, loc)
		if (err == nil) == tt.want.IsZero() || !got.Equal(tt.want) {
			t.Errorf("%q: got %v, %v, want %v", tt.in, got, err, tt.want)
		}
	}
}

func FuzzParseMoment(f *testing.F) {
	for _, s := range []string{"24h", "1d12h", "2026-11-02", "2026-11-02 03:04:05", "2026-11-02T03:04:05.5Z", "999999999w9d", "1m1s"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 26, 22, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		back, ok := parseBack(s)
		if ok && back < 0 {
			t.Errorf("%q is %v ago", s, back)
		}
		got, err := parseMoment(s, now, time.UTC)
		if ok && (err != nil || !got.Equal(now.Add(-back))) {
			t.Errorf("%q: got %v, %v, want %v back", s, got, err, back)
		}
		if err == nil && !ok && len(s) < len(time.DateOnly) {
			t.Errorf("%q is %v", s, got)
		}
	})
}
