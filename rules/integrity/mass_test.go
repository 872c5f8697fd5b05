package integrity

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"intact/rules"
	"intact/rules/mass"
	"intact/scanner/entry"
)

// The finding is critical whatever there is to say, and what it says holds nothing
// that a terminal obeys.
func TestMassEncryption(t *testing.T) {
	v := &mass.Verdict{Files: 2400, Kinds: []mass.KindCount{{Kind: ".txt", Files: 40}, {Kind: "text", Files: 3}}, NumKinds: 9, Dirs: 12, Common: "/srv/\x1b[m",
		Examples: []entry.Path{"/srv/\x1b[m/a\nb", "/srv/\x1b[m/\u202ex\xff.txt"}, Since: time.Date(2026, 3, 1, 12, 0, 5, 0, time.FixedZone("", 3600))}
	f := MassEncryption(v, true)
	if f.Set != "integrity" || f.Rule != "fim.mass-encryption" || f.Severity != rules.Critical || f.RawSeverity != rules.Critical || f.Count != 2400 ||
		f.Subject != (rules.Subject{Kind: "dir", Path: "/srv/\x1b[m"}) || f.Change != "" || f.Diff != nil || !slices.Equal(f.Attack, []string{"T1486"}) {
		t.Errorf("%+v", f)
	}
	want := []string{
		"2400 files that should be text or of a known format look like random bytes since 2026-03-01T11:00:05Z",
		"by the names they had: .txt 40, text 3, 7 more, in 12 directories",
		`for example "/srv/\x1b[m/a\nb", "/srv/\x1b[m/\u202ex\xff.txt"`,
	}
	if !slices.Equal(f.Reasons, want) {
		t.Errorf("%q", f.Reasons)
	}
	for _, r := range f.Reasons {
		if strings.ContainsFunc(r, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", r)
		}
	}
	if r := MassEncryption(v, false).Reasons[0]; !strings.HasSuffix(r, "random bytes since the baseline") {
		t.Errorf("%q", r)
	}
}

// Each rule is in docs/report.md, and its techniques are in the list of ATT&CK.
func TestTableIsTrue(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return "\n" + string(b)
	}
	doc, list := read("docs/report.md"), read("rules/posture/attack.txt")
	for _, r := range Rules() {
		if !strings.Contains(doc, "\n| `"+r.ID+"` | ") {
			t.Errorf("docs/report.md has no row of %s", r.ID)
		}
		for _, id := range r.Attack {
			if !strings.Contains(list, "\n"+id+"\n") {
				t.Errorf("%s: %s is not in the list", r.ID, id)
			}
		}
	}
}
