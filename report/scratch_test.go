package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"intact/rules"
)

// What is read into room that was used before is what a fresh record holds,
// errors too, and nothing of the records before is kept.
func TestScratch(t *testing.T) {
	hostile := "/x\xff\n\"y"
	list := []rules.Finding{
		{Set: "s", Rule: "r", Subject: file("/a"), Reasons: []string{"a", hostile, "c"}, Attack: []string{"T1", "T2"}, Links: []string{hostile},
			Attributes: []rules.Value{{Name: "mode", Old: "1", OldKnown: true}, {Name: "size"}, {Name: "target", New: hostile, NewKnown: true}}},
		{Set: "s", Rule: "r", Subject: file("/b"), Reasons: []string{hostile}},
		{Set: "s", Rule: "r", Subject: file("/c"), Attributes: []rules.Value{{Name: "size", New: "4", NewKnown: true}}, Reasons: []string{"x", "y"}},
		{Set: "s", Rule: "r", Subject: file("/d")},
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Header(header())
	for _, f := range list {
		w.Finding(f)
	}
	if err := w.Trailer(trailer(Findings, 1, Counts{})); err != nil {
		t.Fatal(err)
	}
	var scratch rules.Finding
	for line := range strings.Lines(b.String()) {
		if !isFinding(line) {
			continue
		}
		fresh, again := Record{}, Record{Finding: emptied(&scratch)}
		_, err := decodeInto(&fresh, strings.TrimSuffix(line, "\n"), nil)
		_, err2 := decodeInto(&again, strings.TrimSuffix(line, "\n"), nil)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if again.Finding != &scratch || fmt.Sprintf("%+v", *fresh.Finding) != fmt.Sprintf("%+v", scratch) {
			t.Errorf("got  %+v\nwant %+v", scratch, *fresh.Finding)
		}
	}
	for _, v := range scratch.Attributes[:cap(scratch.Attributes)] {
		if v != (rules.Value{}) {
			t.Errorf("%+v is kept", v)
		}
	}
	for _, s := range append(scratch.Reasons[:cap(scratch.Reasons)], scratch.Attack[:cap(scratch.Attack)]...) {
		if s != "" {
			t.Errorf("%q is kept", s)
		}
	}
}
