package report

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	type line struct {
		Path string `json:"path"`
		Raw  []byte `json:"path_b64,omitempty"`
	}
	for _, s := range []string{"plain", hostile, "\u202e\U000e0001", "ünï", "\xff", "", "a\u2028b"} {
		var l line
		l.Path, l.Raw = Coded(s)
		b, err := Line(l)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSuffix(string(b), "\n")
		if needsEscape(text, false) || strings.Contains(text, "\n") {
			t.Errorf("%q: not harmless: %q", s, text)
		}
		var back line
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		got := back.Path
		if back.Raw != nil {
			got = string(back.Raw)
		}
		if got != s || (back.Raw == nil) != utf8.ValidString(s) {
			t.Errorf("%q comes back as %q", s, got)
		}
	}
}
