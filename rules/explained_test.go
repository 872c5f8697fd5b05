package rules

import (
	"bytes"
	"testing"
)

func TestExplanationCodec(t *testing.T) {
	for _, x := range []Explanation{
		{Level: Local},
		{Source: "app \x1b[31m\n\xff 1", Level: Signed, Kind: "expect", ID: "sha256:00", By: "ci@example"},
		{Source: "app 1 → 2", Level: Attributed, Kind: "derived", When: "2026-11-27T02:30:00Z"},
		{Source: "app 1 → 2", Level: Signed, Key: "AA", Verified: "2026-11-27T02:30:00Z", Claim: HostClaimed},
		{Source: "app 1 → 2", Level: Signed, When: "2026-11-27T02:30:00Z", Key: "AA"},
	} {
		b := x.Append(nil)
		got, err := DecodeExplanation(b)
		if err != nil || *got != x {
			t.Errorf("%+v: got %+v, %v", x, got, err)
		}
		for i := range b {
			if y, err := DecodeExplanation(b[:i]); err == nil && (bytes.Equal(y.Append(nil), b) || !bytes.Equal(y.Append(nil), b[:i])) {
				t.Errorf("%+v: %d of %d bytes are taken", x, i, len(b))
			}
		}
		if _, err := DecodeExplanation(append(b, 0)); err == nil {
			t.Error("a byte behind the end is taken")
		}
	}
	if _, err := DecodeExplanation((&Explanation{Level: "certain"}).Append(nil)); err == nil {
		t.Error("a level that there is not is taken")
	}
}

func TestRank(t *testing.T) {
	order := []*Explanation{nil, {Level: Local}, {Level: Attributed}, {Level: Signed}}
	for i, x := range order {
		if x.Rank() != i {
			t.Errorf("%+v has rank %d, want %d", x, x.Rank(), i)
		}
		f := Finding{Severity: High, RawSeverity: High}
		f.Explain(x)
		if lowered := f.Severity == Info; lowered != (i == 3) || f.RawSeverity != High {
			t.Errorf("%+v: severity %v, raw %v", x, f.Severity, f.RawSeverity)
		}
	}
}

func FuzzDecodeExplanation(f *testing.F) {
	f.Add((&Explanation{Source: "app", Level: Signed, Kind: "expect"}).Append(nil))
	f.Add((&Explanation{Source: "app", Level: Signed, When: "2026"}).Append(nil))
	f.Add((&Explanation{Source: "app", Level: Signed, Key: "AA", Claim: HostClaimed}).Append(nil))
	f.Add([]byte("\x80\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := DecodeExplanation(b); err == nil && !bytes.Equal(x.Append(nil), b) {
			t.Errorf("%q is a second spelling of %+v", b, x)
		}
	})
}
