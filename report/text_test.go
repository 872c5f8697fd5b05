package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"intact/rules"
)

func TestSummary(t *testing.T) {
	counts := Counts{Selected: 41234, Verified: 41234, KnownGaps: 12}
	found := Counts{Findings: [5]int64{1: 2, 3: 1}, New: 2, Pending: 1, KnownGaps: 12, PendingSince: time.Date(2026, 2, 26, 3, 0, 0, 0, time.UTC)}
	for _, c := range []struct {
		name string
		h    func(*Header)
		t    Trailer
		want string
	}{
		{"clean", nil, Trailer{Verdict: Clean, Complete: true, Counts: counts}, "intact: web1: clean, 41,234 paths verified, 12 known gaps"},
		{"findings", nil, Trailer{Verdict: Findings, Complete: true, Counts: found}, "intact: web1: 3 findings (1 high, 2 low), 2 new, 1 pending since 26 Feb; 12 known gaps"},
		{"below", nil, Trailer{Verdict: Clean, Complete: true, Counts: found}, "intact: web1: clean, 0 paths verified; 3 findings (1 high, 2 low), 2 new, 1 pending since 26 Feb below the threshold, 12 known gaps"},
		{"incomplete", nil, Trailer{Verdict: Incomplete, Counts: Counts{Unverified: 1}}, "intact: web1: incomplete; 1 path not verified"},
		{"untrusted", nil, Trailer{Verdict: Untrusted, Reason: "no baseline:\nrun intact init"}, `intact: web1: UNTRUSTED: no baseline:\nrun intact init`},
		{"error", nil, Trailer{Verdict: Failed, Reason: "disk full"}, "intact: web1: ERROR: disk full"},
		{"partial", func(h *Header) { h.Scope = ScopePartial }, Trailer{Verdict: Clean, Counts: Counts{Verified: 1}}, "intact: web1: partial check: clean, 1 path verified"},
		{"root", func(h *Header) { h.Root = "/mnt/a"; h.Host.Name = "" }, Trailer{Verdict: Clean, Counts: Counts{Verified: 1}}, "intact: check of /mnt/a: clean, 1 path verified"},
		{"quick", nil, Trailer{Verdict: Clean, Complete: true, Counts: counts, Quick: &Quick{Trusted: 30000, Files: 40000, Share: 5, Every: 30, Oldest: t0}},
			"intact: web1: clean, quick: the content of 30,000 of 40,000 files was not read, the oldest was read on 2026-03-01; 41,234 paths verified, 12 known gaps"},
		{"quick-findings", nil, Trailer{Verdict: Findings, Complete: true, Counts: found, Quick: &Quick{Trusted: 1, Files: 1, Share: 5, Every: 30, Oldest: t0}},
			"intact: web1: 3 findings (1 high, 2 low), 2 new, 1 pending since 26 Feb; 12 known gaps; quick: the content of 1 of 1 file was not read, the oldest was read on 2026-03-01"},
		{"quick-incomplete", nil, Trailer{Verdict: Incomplete, Counts: Counts{Unverified: 1}, Quick: &Quick{Trusted: 2, Files: 3, Share: 5, Every: 30}},
			"intact: web1: incomplete; 1 path not verified; quick: the content of 2 of 3 files was not read"},
		{"quick-all-read", nil, Trailer{Verdict: Clean, Complete: true, Counts: Counts{Verified: 4}, Quick: &Quick{Files: 3, Share: 5, Every: 30}},
			"intact: web1: clean, quick, but the content of all 3 files was read; 4 paths verified"},
	} {
		h := header()
		if c.h != nil {
			c.h(&h)
		}
		if got := Summary(h, c.t); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
	long := Summary(header(), Trailer{Verdict: Failed, Reason: strings.Repeat("é", 9999)})
	if n := len([]rune(long)); n > 250 {
		t.Errorf("a subject of %d runes", n)
	}
}

func TestValue(t *testing.T) {
	x := &text{TextOptions: TextOptions{Now: now, Location: time.UTC, User: names}}
	for _, c := range []struct{ name, in, want string }{
		{"mode", "0644", "rw-r--r-- (0644)"},
		{"mode", "7777", "rwsrwsrwt (7777)"},
		{"mode", "7000", "--S--S--T (7000)"},
		{"mode", "9", "9"},
		{"mode", "\x1b", `\x1b`},
		{"uid", "0", "root (0)"},
		{"uid", "7", "7"},
		{"uid", "-1", "-1"},
		{"size", "1023", "1,023 B"},
		{"size", "1024", "1.0 KiB (1,024)"},
		{"size", "1048575", "1.0 MiB (1,048,575)"},
		{"size", "9223372036854775807", "8.0 EiB (9,223,372,036,854,775,807)"},
		{"mtime", "2026-03-01T02:00:00.5Z", "2026-03-01 02:00:00 UTC (89 min ago)"},
		{"mtime", "2031-03-01T02:00:00Z", "2031-03-01 02:00:00 UTC (in 5 years)"},
		{"mtime", "0001-01-01T00:00:00Z", "0001-01-01 00:00:00 UTC (292 years ago)"},
		{"content", "blake3:" + hex64('a'), "aaaaaaaaaaaaaaaa"},
		{"content", "short\n", `short\n`},
		{"target", "a\nb", `a\nb`},
		{"target", "", `""`},
	} {
		if got := x.value(c.name, c.in, true); got != c.want {
			t.Errorf("%s %q: got %s, want %s", c.name, c.in, got, c.want)
		}
	}
	if got := relative(-1 << 63); got != "in 292 years" {
		t.Errorf("the longest time: %s", got)
	}
}

// many is a report of n low findings in directories of ten, and one critical.
func many(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Header(header())
	for i := range n {
		s := rules.Low
		if i == n/2 {
			s = rules.Critical
		}
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.content", Severity: s, Change: "changed", New: true,
			Subject: file(fmt.Sprintf("/d/%06d/%06d", i/1000, i))})
	}
	if err := w.Trailer(trailer(Findings, 1, Counts{})); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFoldingOfMany(t *testing.T) {
	const n = 50000
	lines := many(t, n)
	var out strings.Builder
	if err := Text(&out, bytes.NewReader(lines), options()); err != nil {
		t.Fatal(err)
	}
	if k := strings.Count(out.String(), "\n"); k > foldAll+foldAfter+n/1000+40 {
		t.Errorf("%d lines", k)
	}
	if !strings.Contains(out.String(), "CRITICAL  changed   /d/000025/025000\n") {
		t.Error("the critical one is hidden")
	}
	shown, folded := 0, 0
	for l := range strings.Lines(out.String()) {
		var k int
		switch {
		case strings.HasPrefix(l, "LOW       …"):
			fmt.Sscanf(l, "LOW       … and %d more changed", &k)
			folded += k
		case strings.HasPrefix(l, "LOW       changed"):
			shown++
		case strings.HasPrefix(l, "LOW"):
			fmt.Sscanf(strings.Replace(l, ",", "", 1), "LOW       %d changed", &k)
			folded += k
		}
	}
	if shown+folded != n-1 {
		t.Errorf("shown %d + folded %d, want %d", shown, folded, n-1)
	}
}

func TestFolderStaysSmall(t *testing.T) {
	f := folder{line: func(string) {}}
	for i := range 100000 {
		f.finding(&rules.Finding{Change: "changed", Subject: file(fmt.Sprintf("/a/%06d/b/c/%d", i, i))})
		if len(f.stack) > 6 {
			t.Fatalf("%d directories are open", len(f.stack))
		}
	}
}

func TestVerboseAndColor(t *testing.T) {
	o := options()
	o.Verbose, o.Color = true, true
	var out strings.Builder
	if err := Text(&out, bytes.NewReader(build(t, "folding")), o); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "…") && strings.Contains(out.String(), "more added") {
		t.Error("folded although verbose")
	}
	if !strings.HasPrefix(out.String(), "\x1b[1;31mintact: ") {
		t.Errorf("no colour: %.40q", out.String())
	}
	plain := strings.NewReplacer("\x1b[1;31m", "", "\x1b[33m", "", "\x1b[36m", "", "\x1b[0m", "").Replace(out.String())
	if bad := visible(strings.ReplaceAll(plain, "\n", "")); bad != "" {
		t.Error(bad)
	}
}

func BenchmarkText(b *testing.B) {
	var t testing.T
	lines := many(&t, 100000)
	for b.Loop() {
		if err := Text(&strings.Builder{}, bytes.NewReader(lines), options()); err != nil {
			b.Fatal(err)
		}
	}
}
