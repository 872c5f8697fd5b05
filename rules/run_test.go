package rules

import (
	"context"
	"errors"
	"strings"
	"testing"

	"intact/baseline/diff"
)

// fixed is a set that emits its findings.
type fixed []Finding

func (fixed) Name() string { return "fixed" }

func (s fixed) Judge(_ context.Context, _ Input, emit func(Finding) error) error {
	for _, f := range s {
		if f.Rule == "panic" {
			panic("bug")
		}
		if err := emit(f); err != nil {
			return err
		}
	}
	return nil
}

// level explains every change at its level.
type level string

func (l level) Explain(context.Context, *diff.Change) (Explanation, bool) {
	return Explanation{Source: "pkg 1", Level: string(l)}, l != ""
}

func TestRunExplains(t *testing.T) {
	c := &diff.Change{}
	for _, tc := range []struct {
		name  string
		by    Explainer
		in    Finding
		want  Severity
		known bool
	}{
		{"nobody", nil, Finding{Severity: High, Diff: c}, High, false},
		{"unexplained", level(""), Finding{Severity: High, Diff: c}, High, false},
		{"signed", level(Signed), Finding{Severity: High, Diff: c}, Info, true},
		{"local-lowers-nothing", level(Local), Finding{Severity: High, Diff: c}, High, true},
		{"no-change", level(Signed), Finding{Severity: High}, High, false},
		{"by-the-set", nil, Finding{Severity: Low, Diff: c, Explained: &Explanation{Level: Signed}}, Info, true},
	} {
		var got Finding
		err := Run(context.Background(), []Set{fixed{tc.in}}, Input{Explain: tc.by}, func(f Finding) error { got = f; return nil })
		if err != nil || got.Severity != tc.want || got.RawSeverity != tc.in.Severity || (got.Explained != nil) != tc.known || got.Set != "fixed" {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
}

func TestRunErrors(t *testing.T) {
	stop := errors.New("stop")
	err := Run(context.Background(), []Set{fixed{{}}}, Input{}, func(Finding) error { return stop })
	if !errors.Is(err, stop) || !strings.Contains(err.Error(), `"fixed"`) {
		t.Errorf("got %v", err)
	}
	n := 0
	err = Run(context.Background(), []Set{fixed{{}, {Rule: "panic"}}, fixed{{}}}, Input{}, func(Finding) error { n++; return nil })
	if err == nil || n != 1 {
		t.Errorf("a panic is not an error: %v, %d findings", err, n)
	}
}

func TestSeverityNames(t *testing.T) {
	for s := Info; s <= Critical; s++ {
		if got, err := ParseSeverity(s.String()); got != s || err != nil {
			t.Errorf("ParseSeverity(%q) = %v, %v", s, got, err)
		}
	}
	if _, err := ParseSeverity("fatal"); err == nil {
		t.Error("accepts a word that is none")
	}
}
