package posture

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		p, s string
		want bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b\n\xff", true}, {"a*c", "abbc", true}, {"a*c", "abcb", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"[a-c]x", "bx", true}, {"[!a-c]x", "bx", false}, {"[!a-c]x", "dx", true},
		{`\*`, "*", true}, {`\*`, "a", false}, {"[]]", "]", true}, {"[a-]", "-", true}, {"*.*.*", "a.b.c", true}, {"*a", "aab", false},
		{"[", "[", false}, {`a\`, "a", false}, {"**", "x", true}, {"*[b]", "ab", true},
	} {
		if got := pattern(tt.p).match(tt.s); got != tt.want {
			t.Errorf("%q %q: got %v", tt.p, tt.s, got)
		}
	}
	for p, want := range map[string]string{"a": "a", `\*`: "*", "a*": "-", "[a]": "-", `a\`: "-", "?": "-"} {
		got, ok := pattern(p).exact()
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: %q", p, got)
		}
	}
	// Many stars end in time.
	if pattern(strings.Repeat("*a", 50)).match(strings.Repeat("a", 10000) + "b") {
		t.Error("matched")
	}
}

// Where path.Match has no separators to mind it says the same.
func FuzzPattern(f *testing.F) {
	f.Add("a*[b-d]?", "axbc")
	f.Fuzz(func(t *testing.T, p, s string) {
		valid := pattern(p).valid() == ""
		got := pattern(p).match(s)
		if e, ok := pattern(p).exact(); ok && valid && got != (e == s) {
			t.Fatalf("%q %q: exact and %v", p, s, got)
		}
		if strings.ContainsAny(p+s, "/![\\") || strings.ContainsFunc(p+s, func(r rune) bool { return r > 126 }) {
			return
		}
		if want, err := path.Match(p, s); err == nil && want != got {
			t.Fatalf("%q %q: got %v", p, s, got)
		}
	})
}

func TestVersionLess(t *testing.T) {
	ordered := []string{"", "7", "9.2", "9.2p1", "9.8", "9.08p1", "9.10", "10.0p2"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := versionLess(a, b); got != (i < j) {
				t.Errorf("%q < %q: %v", a, b, got)
			}
		}
	}
}

func TestUnder(t *testing.T) {
	for _, tt := range []struct {
		p, dir string
		want   bool
	}{{"/tmp/x", "/tmp", true}, {"/tmp", "/tmp/", true}, {"/tmpx", "/tmp", false}, {"/a", "/", true}, {"", "/tmp", false}} {
		if under(tt.p, tt.dir) != tt.want {
			t.Errorf("%+v", tt)
		}
	}
}

func TestProse(t *testing.T) {
	for s, want := range map[string]string{"a\tb\n": `a\x09b\x0a`, "\x1b[31m": `\x1b[31m`, "é ≤": "é ≤", "\u202e\xff\u00a0": `\u202e\xff\u00a0`, "\U000e0001": `\U000e0001`} {
		if got := prose(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
	if got := prose(strings.Repeat("x", 5000)); len(got) > maxMessage+3 {
		t.Error(len(got))
	}
}

func TestTechniques(t *testing.T) {
	for id, want := range map[string]string{"T1110": "T1110", "T1562.004": "T1686", "T1070.002": "T1685.006", "T1685.004": "T1685.004", "": "", "#": "", "T1562 T1685": "", "T0000": ""} {
		if now, ok := technique(id); now != want || ok != (want != "") {
			t.Errorf("%q: %q %v", id, now, ok)
		}
	}
	// An id that was given up leads to one that is there.
	for l := range strings.Lines(attackList) {
		if _, now, moved := strings.Cut(strings.TrimSpace(l), " "); moved && !strings.HasPrefix(l, "#") {
			if again, ok := technique(now); !ok || again != now {
				t.Errorf("%s", l)
			}
		}
	}
	for _, e := range elsewhere {
		for _, id := range e.Refs.Attack {
			if now, ok := technique(id); !ok || now != id {
				t.Errorf("%s: %s", e.ID, id)
			}
		}
	}
	if !strings.Contains(sshAlgorithms, SSHAlgorithmsDate) {
		t.Error("the table of algorithms does not say its date")
	}
}

// Every id that a rule names is one of ATT&CK v19, and every one of a page is one
// of it or leads to one.
func TestTechniquesNamed(t *testing.T) {
	if !strings.Contains(attackList, attackDate) {
		t.Error("the list of techniques does not say its date")
	}
	files := map[string]string{}
	for _, f := range Builtin() {
		files[f.Name] = string(f.Text)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(err, len(pages))
	}
	for _, p := range pages {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[p] = string(text)
	}
	n := 0
	for name, text := range files {
		for _, id := range regexp.MustCompile(`\bT1[0-9]{3}(\.[0-9]{3})?\b`).FindAllString(text, -1) {
			n++
			if now, ok := technique(id); !ok || now != id && strings.HasPrefix(name, "builtin/") {
				t.Errorf("%s: %s is no technique of ATT&CK v19 (%s)", name, id, now)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d ids", n)
	}
}

func TestSSHAlgorithms(t *testing.T) {
	for name, want := range map[string]bool{"3des-cbc": true, "ssh-rsa": true, "rsa-sha2-512": false, "chacha20-poly1305@openssh.com": false, "": false, "cbc": false} {
		if weakSSH(name) != want {
			t.Errorf("%q", name)
		}
	}
	if !quantumSafe("mlkem768x25519-sha256") || quantumSafe("curve25519-sha256") {
		t.Error("key exchanges")
	}
}
