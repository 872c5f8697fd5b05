package posture_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/posture"
)

func knownRule(id string) bool {
	switch id {
	case "site.a", "site.b", "fim.self", "fim.content", "coverage.lost", "policy.narrowed", "trust.clone":
		return true
	}
	return false
}

func waivers(t testing.TB, text string) (*posture.Waivers, string) {
	t.Helper()
	w, ps := posture.ParseWaivers(posture.File{Name: "w.yaml", Text: []byte(text)}, day, knownRule)
	if (w == nil) != posture.Fatal(ps) {
		t.Error("neither waivers nor problems")
	}
	return w, problems(ps)
}

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseWaivers(t *testing.T) {
	w, ps := waivers(t, `intact: waivers/v1
waivers:
  - {rule: site.a, subject: "tcp/*", until: 2027-06-01, reason: the old clients, by: alice}
  - {rule: fim.content, subject_b64: L2Yv/w==, until: 2026-06-01, reason: the old clients, by: bob, evidence: "blake3:`+hex64+`"}
  - {rule: fim.self, subject: host, until: 2026-05-01, reason: the old clients, by: bob}
  - {rule: coverage.lost, subject: '/a\*', until: 2026-05-01, reason: the old clients, by: bob}
attestations:
  - {id: ups, subject: power, until: 2027-01-31, by: carol, document: "sha256:`+hex64+`"}
`)
	if ps != "" {
		t.Fatal(ps)
	}
	if len(w.List) != 4 || len(w.Attestations) != 1 || !w.List[0].Until.Equal(time.Date(2027, 6, 2, 0, 0, 0, 0, time.UTC)) || w.List[0].Place != "w.yaml:3" {
		t.Errorf("%+v", w.List[0])
	}
	c := posture.NewCover(w, day)
	for _, tt := range []struct {
		rule, subject, digest string
		ok                    bool
	}{
		{"site.a", "tcp/80", "x", true},
		{"site.a", "udp/80", "x", false},
		{"site.b", "tcp/80", "x", false},
		{"fim.content", "/f/\xff", "blake3:" + hex64, true},
		{"fim.content", "/f/\xff", "blake3:" + strings.Repeat("0", 64), false},
		{"coverage.lost", "/a*", "", false}, // its time is over
	} {
		if in, _, _ := c.Find(tt.rule, tt.subject, tt.digest); (in != nil) != tt.ok {
			t.Errorf("%+v: %v", tt, in)
		}
	}
	for text, want := range map[string]string{
		"intact: waivers/v2\n":             `w.yaml:1:9: unknown word "waivers/v2": did you mean "waivers/v1"?`,
		"intact: waivers/v1\nwaiver: []\n": `w.yaml:2:1: unknown key "waiver": did you mean "waivers"?`,
		"[]":                               `w.yaml:1:1: want a mapping, found a list`,
		"a: [":                             `w.yaml:1:1: did not find expected node content`,
	} {
		if _, ps := waivers(t, text); ps != want {
			t.Errorf("%q: %s", text, ps)
		}
	}
}

func TestBadWaivers(t *testing.T) {
	entry := func(fields ...string) string {
		m := map[string]string{"rule": "site.a", "subject": "x", "until": "2026-07-01", "reason": "long enough a reason", "by": "alice"}
		for _, f := range fields {
			k, v, _ := strings.Cut(f, "=")
			m[k] = v
		}
		var out []string
		for _, k := range []string{"rule", "subject", "subject_b64", "until", "reason", "by", "evidence"} {
			if m[k] != "" && m[k] != "-" {
				out = append(out, k+": "+m[k])
			}
		}
		return "intact: waivers/v1\nwaivers:\n  - {" + strings.Join(out, ", ") + "}\n"
	}
	if _, ps := waivers(t, entry()); ps != "" {
		t.Fatal(ps)
	}
	for fields, want := range map[string]string{
		"rule=site.z":                         "there is no rule site.z",
		"rule=waiver.unused":                  "rule waiver.unused is about waivers: it cannot be waived",
		"until=-":                             `key "until" is missing`,
		"until=2027-06-03":                    "2027-06-03 is more than 366 days ahead",
		"until=2026-13-01":                    "want a date such as 2006-01-02",
		"until=forever":                       "want a date such as 2006-01-02",
		"reason=short":                        "a reason has 10 characters or more",
		"reason='         x      '":           "a reason has 10 characters or more",
		"reason=-":                            `key "reason" is missing`,
		"reason=\"a\\nlong reason\"":          "want one line of visible text",
		"by=-":                                `key "by" is missing`,
		"by=\"\\e[31m\"":                      "want one line of visible text",
		"subject=-":                           `key "subject" is missing`,
		"subject=''":                          "an empty subject",
		"subject='[a'":                        "is no glob",
		"subject_b64=eA==":                    "subject and subject_b64 exclude one another",
		"evidence=blake3:00":                  "want a digest as reports show it",
		"rule=fim.self|subject='*'":           "rule fim.self is waived for one exact subject only, not for",
		"rule=coverage.lost|subject='/a/*'":   "rule coverage.lost is waived for one exact subject only, not for /a/*",
		"rule=policy.narrowed|subject='?'":    "rule policy.narrowed is waived for one exact subject only",
		"rule=trust.clone|subject='[a-z]'":    "rule trust.clone is waived for one exact subject only",
		"rule=fim.content|subject='/etc/**'":  "a change of files is waived for one exact path only, not for /etc/**",
		"rule=fim.content|subject=/etc/hosts": `a change of files is waived for one content only: key "evidence", the digest of the new content, is missing`,
	} {
		_, ps := waivers(t, entry(strings.Split(fields, "|")...))
		if !strings.HasPrefix(ps, "w.yaml:3:") || !strings.Contains(ps, want) {
			t.Errorf("%s: got %s, want %s", fields, ps, want)
		}
	}
	_, ps := waivers(t, "intact: waivers/v1\nattestations:\n  - {id: A b, subject: x, until: 2030-01-01, by: a, document: x}\n  - {id: ups, subject: x, until: 2026-07-01, by: a}\n  - {id: ups, subject: x, until: 2026-07-01, by: a, extra: 1}\n")
	const want = `w.yaml:3:10: A b is no id: want lower case letters, digits and -
w.yaml:3:34: 2030-01-01 is more than 366 days ahead
w.yaml:3:63: want the digest of a document: blake3: or sha256:, and 64 hex digits
w.yaml:5:10: attestation ups is there twice
w.yaml:5:53: unknown key "extra": want one of by, document, id, subject, until`
	if ps != want {
		t.Errorf("%s", ps)
	}
}

const listeners = `each: net.listeners`

func over(ports ...int64) posture.Fixed {
	var rows []listener
	for _, p := range ports {
		rows = append(rows, listener{Proto: "tcp", Port: p})
	}
	return posture.Fixed{"net.listeners": known(rows...)}
}

// run judges with waivers and returns the verdicts of subjects and the results
// about waivers.
func run(t testing.TB, facts posture.Facts, w *posture.Waivers, now time.Time) (string, *posture.Cover, map[string]posture.Result) {
	t.Helper()
	b := book(t, one(listeners, "expect: item.port == 22", `subject: item.proto + "/" + string(item.port)`)+"  - {id: site.b, title: t, severity: low, expect: net.listeners.size() < 9}\n")
	c := posture.NewCover(w, now)
	got := judge(t, b, posture.Input{Facts: facts, Now: now, Waivers: c})
	var out []string
	for _, s := range got["site.a"].Subjects {
		out = append(out, s.Name+" "+string(s.Verdict))
	}
	return strings.Join(out, ", "), c, got
}

// The life of a waiver: what it was accepted for it covers, until its time is
// over, or the evidence is another.
func TestWaiver(t *testing.T) {
	w, ps := waivers(t, "intact: waivers/v1\nwaivers:\n  - {rule: site.a, subject: 'tcp/8*', until: 2026-07-01, reason: the old clients, by: alice}\n  - {rule: site.b, subject: host, until: 2026-07-01, reason: the old clients, by: alice}\n")
	if ps != "" {
		t.Fatal(ps)
	}
	got, c, all := run(t, over(22, 80, 81, 90), w, day)
	if got != "tcp/80 waived, tcp/81 waived, tcp/90 fail" {
		t.Fatal(got)
	}
	r := all["site.a"]
	if r.Verdict != posture.Fail || r.Subjects[0].Finding.Severity != rules.Medium || !strings.Contains(r.Subjects[0].Reason, "waived until 2026-07-01 by alice: the old clients (w.yaml:3)") {
		t.Errorf("%+v", r.Subjects[0])
	}
	if u := all["waiver.unused"]; len(u.Subjects) != 1 || u.Subjects[0].Name != "site.b host" || u.Verdict != posture.Fail {
		t.Errorf("%+v", u)
	}
	// Bound to what it was accepted for: a new listener is no part of it.
	w.List = w.List[:1]
	w.List[0].Bound = c.Bindings(w.List[0])
	if len(w.List[0].Bound) != 2 {
		t.Fatal(w.List[0].Bound)
	}
	if got, _, all = run(t, over(80, 81, 88), w, day); got != "tcp/80 waived, tcp/81 waived, tcp/88 fail" {
		t.Error(got)
	}
	if _, ok := all["waiver.unused"]; ok {
		t.Error("a waiver that covers something is not unused")
	}
	// Other evidence: the finding is back, and says why.
	facts := posture.Fixed{"net.listeners": known(listener{Proto: "tcp", Port: 80, Exe: "/tmp/x"})}
	got, _, all = run(t, facts, w, day)
	if got != "tcp/80 fail" || all["site.a"].Subjects[0].Lapsed != w.List[0] || !strings.Contains(all["site.a"].Subjects[0].Finding.Reasons[1], "its evidence is not what was waived") {
		t.Errorf("%s %+v", got, all["site.a"])
	}
	if u := all["waiver.unused"]; len(u.Subjects) != 1 || !strings.Contains(u.Subjects[0].Finding.Reasons[0], "has changed") {
		t.Errorf("%+v", u)
	}
	// The last day, and the first moment after it.
	if got, _, _ := run(t, over(80), w, w.List[0].Until.Add(-1)); got != "tcp/80 waived" {
		t.Error(got)
	}
	got, _, all = run(t, over(80), w, w.List[0].Until)
	if got != "tcp/80 fail" || len(all["waiver.expired"].Subjects) != 1 || !strings.Contains(all["site.a"].Subjects[0].Finding.Reasons[1], "it ended with 2026-07-01") {
		t.Errorf("%s %+v", got, all)
	}
	// Nothing is said to be unused where the rule could not be judged.
	if _, _, all = run(t, posture.Fixed{"net.listeners": unknown(rules.Denied, "")}, w, day); len(all) != 2 {
		t.Errorf("%+v", all)
	}
	// The digest that a report shows binds a waiver to one finding.
	_, _, all = run(t, over(80), nil, day)
	w.List[0].Bound, w.List[0].Evidence = nil, all["site.a"].Subjects[0].Digest
	if got, _, _ = run(t, over(80, 81), w, day); got != "tcp/80 waived, tcp/81 fail" {
		t.Error(got)
	}
}

// A rule whose failing subjects are all waived is waived, no pass.
func TestWaivedRule(t *testing.T) {
	w, _ := waivers(t, "intact: waivers/v1\nwaivers: [{rule: site.a, subject: '*', until: 2026-07-01, reason: the old clients, by: alice}]\n")
	_, _, all := run(t, over(80), w, day)
	if r := all["site.a"]; r.Verdict != posture.Waived || !strings.HasPrefix(r.Reason, "waived until") {
		t.Errorf("%+v", r)
	}
}

func TestAttestations(t *testing.T) {
	w, ps := waivers(t, "intact: waivers/v1\nattestations:\n  - {id: ups, subject: power supply, until: 2026-07-01, by: carol, document: 'sha256:"+hex64+"'}\n  - {id: locks, subject: door, until: 2026-05-01, by: carol}\n")
	if ps != "" {
		t.Fatal(ps)
	}
	_, _, all := run(t, over(22), w, day)
	if r := all["attest.ups"]; r.Verdict != posture.Pass || !strings.Contains(r.Reason, posture.NotVerified) || !strings.Contains(r.Reason, "document sha256:") {
		t.Errorf("%+v", r)
	}
	if r := all["attest.locks"]; r.Verdict != posture.Fail || len(r.Subjects) != 1 || !strings.Contains(r.Subjects[0].Finding.Reasons[0], posture.NotVerified) {
		t.Errorf("%+v", r)
	}
	b := book(t, one(`expect: attestations.exists(a, a.id == "ups" && a.until > now)`))
	if r := judge(t, b, posture.Input{Facts: posture.Fixed{"attestations": w.Fact()}})["site.a"]; r.Verdict != posture.Pass {
		t.Errorf("%+v", r)
	}
}

// What people have seen stands; another rule, subject or evidence is new.
func TestStanding(t *testing.T) {
	b := book(t, one(listeners, "expect: item.port == 22", "subject: string(item.port)", "severity_when: [{if: item.port == 80, severity: high}]"))
	first := judge(t, b, posture.Input{Facts: over(80, 81)})["site.a"].Subjects
	since := day.AddDate(0, 0, -45)
	shown := []posture.Shown{
		{"site.a", "80", first[0].Digest, rules.High, since}, {"site.a", "80", first[0].Digest, rules.High, day},
		{"site.a", "81", first[1].Digest, rules.Critical, since.AddDate(0, 0, 1)}, {"site.a", "82", first[1].Digest, rules.High, since},
	}
	var tally posture.Tally
	r := judge(t, b, posture.Input{Facts: over(80, 81, 82), Standing: posture.NewStanding(shown, day.AddDate(0, 0, -1))})["site.a"]
	tally.Add(r)
	if tally.New != 1 || tally.Standing != 2 || !tally.Oldest.Equal(since) || r.Verdict != posture.Fail {
		t.Errorf("%+v", tally)
	}
	if s := r.Subjects[0]; s.Finding.New || !s.Stands() || s.Named || !s.Standing.Equal(since) {
		t.Errorf("%+v", s)
	}
	if s := r.Subjects[2]; !s.Finding.New || s.Stands() {
		t.Errorf("%+v", s)
	}
	shown[0].Severity = rules.Medium // it is graver now than what people have seen
	if s := judge(t, b, posture.Input{Facts: over(80), Standing: posture.NewStanding(shown[:1], day)})["site.a"].Subjects[0]; !s.Finding.New || s.Stands() {
		t.Errorf("%+v", s)
	}
}

// High and critical ones are named again every 30 days, and once only.
func TestNamedAgain(t *testing.T) {
	const d = 24 * time.Hour
	since := day
	for _, tt := range []struct {
		last, now time.Duration
		sev       rules.Severity
		want      bool
	}{
		{0, d, rules.High, false},
		{29 * d, 30*d - 1, rules.High, false},
		{29 * d, 30 * d, rules.High, true},
		{29 * d, 30 * d, rules.Medium, false},
		{30 * d, 31 * d, rules.Critical, false},
		{31 * d, 95 * d, rules.Critical, true},
		{95 * d, 94 * d, rules.High, true}, // the clock was set back
		{-d, d, rules.High, false},         // accepted after the last check
		{-d, 30 * d, rules.High, true},
	} {
		if got := posture.NewStanding(nil, since.Add(tt.last)).Due(tt.sev, since, since.Add(tt.now)); got != tt.want {
			t.Errorf("%v → %v %v: got %v", tt.last, tt.now, tt.sev, got)
		}
	}
	if !posture.NewStanding(nil, time.Time{}).Due(rules.High, since, since.Add(d)) {
		t.Error("without a check before, all are named")
	}
}

func FuzzWaivers(f *testing.F) {
	f.Add([]byte("intact: waivers/v1\nwaivers:\n  - {rule: site.a, subject: 'tcp/8*', until: 2026-07-01, reason: the old clients, by: alice}\n"))
	f.Add([]byte("intact: waivers/v1\nwaivers:\n  - {rule: fim.content, subject_b64: L2Y=, until: 2026-07-01, reason: the old clients, by: a, evidence: 'blake3:" + hex64 + "'}\n"))
	f.Add([]byte("intact: waivers/v1\nattestations:\n  - {id: ups, subject: x, until: 2026-07-01, by: a}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, ps := posture.ParseWaivers(posture.File{Name: "f", Text: text}, day, knownRule)
		if w == nil {
			if len(ps) == 0 {
				t.Fatal("refused without a reason")
			}
			return
		}
		c := posture.NewCover(w, day)
		for _, x := range w.List {
			if x.Until.After(day.Add(367 * 24 * time.Hour)) {
				t.Fatalf("%+v", x)
			}
			for _, subject := range []string{"", "x", "tcp/80", "/f", "*", x.Subject} {
				c.Find(x.Rule, subject, x.Evidence)
			}
			if x.Text() == "" {
				t.Fatal("no text")
			}
		}
		for _, r := range c.Rest() {
			for _, s := range r.Subjects {
				for _, reason := range s.Finding.Reasons {
					if strings.ContainsAny(reason, "\n\x1b") {
						t.Fatalf("%q", reason)
					}
				}
			}
		}
	})
}

func ExampleTally() {
	var t posture.Tally
	t.Add(posture.Result{Verdict: posture.Pass})
	t.Add(posture.Result{Verdict: posture.Unknown})
	t.Add(posture.Result{Verdict: posture.NotApplicable})
	fmt.Println(t.Known())
	// Output: 1 2
}
