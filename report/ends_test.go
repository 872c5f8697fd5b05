package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/rules"
)

// endsReport is a report with so many findings, its trailer with reason.
func endsReport(t *testing.T, findings int, reason string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	err := w.Header(Header{ID: "aa11", Kind: KindCheck, Scope: ScopeFull, Root: "/", Seq: 7})
	for range findings {
		if err == nil {
			err = w.Finding(rules.Finding{Set: "integrity", Rule: "fim.added", Subject: rules.Subject{Kind: "file", Path: "/x"}, FirstSeen: time.Unix(1, 0)})
		}
	}
	if err == nil {
		err = w.Trailer(Trailer{Verdict: Findings, Reason: reason, Pending: "blake3:" + strings.Repeat("0", 64)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEnds(t *testing.T) {
	whole := string(endsReport(t, 50, ""))
	header, rest, _ := strings.Cut(whole, "\n")
	last := whole[strings.LastIndex(whole[:len(whole)-1], "\n")+1:]
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"whole", whole, nil},
		{"no-findings", string(endsReport(t, 0, "")), nil},
		{"long-trailer", string(endsReport(t, 3, strings.Repeat("é", 50_000))), nil},
		{"empty", "", ErrTruncated},
		{"newline", "\n", ErrFormat},
		{"header-alone", header + "\n", ErrTruncated},
		{"half-a-header", header[:20], ErrTruncated},
		{"no-header", rest, ErrOrder},
		{"trailer-alone", last, ErrOrder},
		{"no-trailer", strings.TrimSuffix(whole, last), ErrTruncated},
		{"no-newline", whole[:len(whole)-1], ErrTruncated},
		{"half-a-trailer", whole[:len(whole)-40] + "\n", ErrFormat},
		{"behind-the-trailer", whole + "\n", ErrFormat},
		{"text-behind-the-trailer", whole + "x", ErrTruncated},
		{"two-trailers-in-a-line", whole[:len(whole)-1] + last, ErrFormat},
		{"another-spelling", strings.Replace(whole, `{"type":"trailer",`, `{"type":"trailer", `, 1), ErrFormat},
		{"nothing-but-zeros", whole + strings.Repeat("\x00", 1<<20), ErrTruncated},
		{"line-too-long", header + "\n" + strings.Repeat("x", MaxLine) + "\n", ErrTooLong},
		{"longest-line", header + "\n" + strings.Repeat("x", MaxLine-1) + "\n", ErrFormat},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Stored{Seq: 7, Path: filepath.Join(t.TempDir(), "r")}
			if err := os.WriteFile(s.Path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			h, tr, err := s.Ends()
			if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err == nil && (h.ID != "aa11" || !strings.HasPrefix(tr.Pending, "blake3:")) {
				t.Errorf("got %+v, %+v", h, tr)
			}
		})
	}
}

// What stands between the ends is not read: damage there is told by a Reader.
func TestEndsAlone(t *testing.T) {
	b := endsReport(t, 9000, "")
	copy(b[len(b)/2:], "\n\n\n")
	s := Stored{Seq: 7, Path: filepath.Join(t.TempDir(), "r")}
	if err := os.WriteFile(s.Path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Ends(); err != nil {
		t.Error(err)
	}
	for _, err := range Read(bytes.NewReader(b)) {
		if err != nil {
			return
		}
	}
	t.Error("the damage in the middle went unseen")
}

func TestEndsOfLinks(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "r")
	if err := errors.Join(os.WriteFile(name, endsReport(t, 1, ""), 0o600), os.Symlink(name, name+".l")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (Stored{Path: name + ".l"}).Ends(); err == nil {
		t.Error("follows a link")
	}
}
