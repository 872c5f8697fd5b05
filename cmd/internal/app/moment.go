package app

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// momentForms are the local times that a person types, the longest first.
var momentForms = [...]string{"2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}

// parseMoment reads a point in time:
//
//	2026-11-26T22:21:15Z            RFC 3339, with a fraction or an offset too
//	2026-11-26[ 22:21[:15]]         local time; a date alone is its first instant
//	90s 30m 24h 7d 2w 1d12h         back from now; a day has 24 hours
func parseMoment(s string, now time.Time, loc *time.Location) (time.Time, error) {
	if t, ok := parsePoint(s, loc); ok {
		return t, nil
	}
	if back, ok := parseBack(s); ok {
		return now.Add(-back), nil
	}
	return time.Time{}, fmt.Errorf("%q: want a time as 2006-01-02T15:04:05Z, 2006-01-02 15:04:05, 2006-01-02 15:04 or 2006-01-02, or how long ago as 90m, 24h, 7d or 1d12h", s)
}

// parseUntil is parseMoment for a time to come: 4h is in four hours.
func parseUntil(s string, now time.Time, loc *time.Location) (time.Time, error) {
	if t, ok := parsePoint(s, loc); ok {
		return t, nil
	}
	if ahead, ok := parseBack(s); ok {
		return now.Add(ahead), nil
	}
	return time.Time{}, fmt.Errorf("%q: want a time as 2006-01-02T15:04:05Z, 2006-01-02 15:04:05, 2006-01-02 15:04 or 2006-01-02, or how long from now as 90m, 4h, 2d or 1d12h", s)
}

// parsePoint reads what parseMoment reads and now does not matter to.
func parsePoint(s string, loc *time.Location) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, true
	}
	for _, form := range momentForms {
		// time.Parse takes "1:02" for "01:02", and a fraction that no form has.
		if t, err := time.ParseInLocation(form, s, loc); err == nil && len(s) == len(form) {
			return t, true
		}
	}
	return time.Time{}, false
}

// backUnits are the units of parseBack, the largest first.
var backUnits = [...]struct {
	letter byte
	is     time.Duration
}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}

// parseBack reads whole numbers with units, each unit smaller than the one
// before it.
func parseBack(s string) (sum time.Duration, ok bool) {
	next := 0 // of backUnits
	for s != "" {
		digits := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 1 || digits > 9 {
			return 0, false
		}
		n := time.Duration(0)
		for _, c := range s[:digits] {
			n = 10*n + time.Duration(c-'0')
		}
		for next < len(backUnits) && backUnits[next].letter != s[digits] {
			next++
		}
		if next == len(backUnits) || n > (math.MaxInt64-sum)/backUnits[next].is {
			return 0, false
		}
		sum += n * backUnits[next].is
		next++
		s = s[digits+1:]
		ok = true
	}
	return sum, ok
}
