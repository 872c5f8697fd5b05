package report

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// withCoverage is a stored report whose trailer has another member.
func withCoverage(t *testing.T, member string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/findings/want.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.LastIndex(text, []byte(`,"finished":`))
	return append(append(bytes.Clone(text[:i]), `,"coverage":`+member...), text[i:]...)
}

const someCoverage = `{"every_seconds":86400,"roots":[{"path":"/etc","entries":12,"day":12,"oldest":"2026-03-01T02:00:00.000000000Z"},` +
	`{"path":"/usr/\\x1b[31m\\n\\xff","path_b64":"L3Vzci8bWzMxbQr/","entries":1234567,"day":3,"oldest":null}]}`

func TestCoverage(t *testing.T) {
	text := withCoverage(t, someCoverage)
	var got *Coverage
	for rec, err := range Read(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Trailer != nil {
			got = rec.Trailer.Coverage
		}
	}
	if got == nil || got.Every != 86400 || len(got.Roots) != 2 || got.Roots[0] != (CoveredRoot{"/etc", 12, 12, time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}) ||
		got.Roots[1] != (CoveredRoot{"/usr/\x1b[31m\n\xff", 1234567, 3, time.Time{}}) {
		t.Fatalf("got %+v", got)
	}
	for _, tt := range []struct{ swap, by, want string }{
		{"", "", `15 of 1,234,579 paths verified within a day, some of /usr/\x1b[31m\n\xff never; verified again by a watcher every 24h0m0s`},
		{`"oldest":null`, `"oldest":"2026-02-01T02:00:00.000000000Z"`, `the oldest, of /usr/\x1b[31m\n\xff, 2026-02-01 02:00:00 UTC; verified`},
		{`86400`, `0`, `never; a watcher does not verify again`},
	} {
		var out strings.Builder
		if err := Text(&out, bytes.NewReader(withCoverage(t, strings.Replace(someCoverage, tt.swap, tt.by, 1))), TextOptions{}); err != nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q is not in: %v %s", tt.want, err, out.String())
		}
	}
	for _, bad := range []string{`null`, `{}`, strings.Replace(someCoverage, `"day":3,`, "", 1), strings.Replace(someCoverage, "86400", `"1d"`, 1), strings.Replace(someCoverage, `null`, `"long ago"`, 1)} {
		failed := false
		for _, err := range Read(bytes.NewReader(withCoverage(t, bad))) {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("%s is read", bad)
		}
	}
}
