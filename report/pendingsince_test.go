package report

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPendingSince: a trailer says since when something is pending, and says
// it truly; one of before there was the field is read all the same.
func TestPendingSince(t *testing.T) {
	text, err := os.ReadFile("testdata/findings/want.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`,"pending_since":"([^"]*)"`)
	m := field.FindSubmatch(text)
	if m == nil {
		t.Fatal("the trailer does not say since when")
	}
	read := func(b []byte) (tr Trailer, err error) {
		for rec, err := range Read(bytes.NewReader(b)) {
			if err != nil {
				return tr, err
			}
			if rec.Trailer != nil {
				tr = *rec.Trailer
			}
		}
		return tr, nil
	}
	tr, err := read(text)
	if at, _ := time.Parse(time.RFC3339Nano, string(m[1])); err != nil || !tr.Counts.PendingSince.Equal(at) || at.IsZero() {
		t.Errorf("%v, %v", tr.Counts.PendingSince, err)
	}
	old := field.ReplaceAll(text, nil)
	if tr, err = read(old); err != nil || !tr.Counts.PendingSince.IsZero() || tr.Counts.Pending == 0 {
		t.Errorf("an older report: %v, %v", tr.Counts, err)
	}
	var out strings.Builder
	if err := Text(&out, bytes.NewReader(old), TextOptions{}); err != nil || strings.Contains(strings.SplitN(out.String(), "\n", 2)[0], "since") {
		t.Errorf("text of an older report: %v", err)
	}
	for _, other := range []string{`,"pending_since":"2020-01-01T00:00:00Z"`, `,"pending_since":null`, `,"pending_since":"yesterday"`} {
		if _, err := read(field.ReplaceAll(text, []byte(other))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s is read", other)
		}
	}
}

func TestSinceWords(t *testing.T) {
	h := Header{Started: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
	for want, at := range map[string]time.Time{
		"":                   {},
		" since 1 Jan":       time.Date(2026, 1, 1, 5, 0, 0, 0, time.UTC),
		" since 31 Dec 2025": time.Date(2026, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)),
	} {
		if got := sinceWords(h, at); got != want {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
}
