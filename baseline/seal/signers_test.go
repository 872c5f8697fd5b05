package seal

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"intact/scanner/strict"
)

// Everything that is wrong with a file is told at once, where it is.
func TestSignersErrors(t *testing.T) {
	s := newSigner(t, false)
	key := s.key.Line
	cert := certified(t, s, s, nil).key.Cert.Line
	blob := strings.Fields(key)[1]
	for _, tt := range []struct{ text, want string }{
		{"ann\n", "1:4: no key"},
		{"ann cert-authority\n", "1:19: no key"},
		{"ann " + key + "\nbob\n\n# c\n carl x " + key + "\n", "2:4: no key\n5:7: \"x\" is neither an option nor a type of keys: want one of cert-authority, namespaces, valid-after, valid-before"},
		{"é namespace=\"x\" " + key, `1:3: "namespace" is neither an option nor a type of keys: did you mean namespaces?`},
		{"ann no-touch-required " + key, `1:5: "no-touch-required" is neither`},
		{"ann namespaces=x " + key, "1:16: want the value in double quotes"},
		{"ann namespaces " + key, `1:5: want namespaces="…"`},
		{`ann namespaces="x ` + key, "1:16: a quote that is not closed"},
		{`ann namespaces="" ` + key, "1:17: an empty pattern"},
		{`ann namespaces="a,,b" ` + key, "1:19: an empty pattern"},
		{`ann namespaces="a",namespaces="b" ` + key, "1:20: namespaces is there twice"},
		{`ann valid-after="20260101",VALID-AFTER="20260102" ` + key, "1:28: valid-after is there twice"},
		{"ann cert-authority=\"x\" " + key, "1:5: cert-authority takes no value"},
		{"ann cert-authority, " + key, "1:19: no option behind the comma"},
		{`ann namespaces="a"x ` + key, "1:19: want a comma or a blank behind an option"},
		{`ann namespaces="a"valid-before="20260101" ` + key, "1:19: want a comma or a blank behind an option"},
		{`ann valid-after="2026",valid-before="20261301" ` + key, "1:18: \"2026\" is not a time: want YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z behind it for UTC\n1:38: \"20261301\" is not a time"},
		{`ann valid-after="20260230" ` + key, `1:18: "20260230" is not a time`},
		{`ann valid-after="2026010124" ` + key, `1:18: "2026010124" is not a time`},
		{`ann valid-after="202601012400" ` + key, `1:18: "202601012400" is not a time`},
		{`ann valid-after="19700101Z" ` + key, `1:18: "19700101Z" is not a time`},
		{`ann valid-after="+2026010" ` + key, `1:18: "+2026010" is not a time`},
		{`ann valid-after="20260102",valid-before="20260102" ` + key, "1:5: valid-before is not later than valid-after"},
		{"ann,,bob " + key, "1:5: an empty pattern"},
		{"ann,! " + key, "1:5: an empty pattern"},
		{",ann " + key, "1:1: an empty pattern"},
		{`"ann ` + key, "1:1: a quote that is not closed"},
		{`"ann"x ` + key, "1:6: want a blank behind the quoted principals"},
		{`"" ` + key, "1:2: an empty pattern"},
		{`an"n" ` + key, "1:3: a quote inside of the principals"},
		{"ann " + cert, "1:5: a certificate is no signer"},
		{"ann ssh-ed25519", "1:16: not a public key in its one encoding"},
		{"ann ssh-ed25519 " + blob[:20] + "*", "1:17: not a public key in its one encoding: not base64"},
		{"ann ssh-ed25519 " + blob[:24], "1:17: not a public key"},
		{"ann ecdsa-sha2-nistp256 " + blob, `1:25: not a public key in its one encoding: the line says "ecdsa-sha2-nistp256", the key "ssh-ed25519"`},
		{"ann ssh-rsa " + blob, `1:13: not a public key in its one encoding: the line says "ssh-rsa"`},
		{"ann ssh-ed25519\\x1b " + blob, `1:5: "ssh-ed25519\\x1b" is neither`},
		{"ann\x1b[2J " + key, "1:4: control character 0x1b"},
		{"ann \x00 " + key, "1:5: control character 0x00"},
		{"ann " + key + "\rbob " + key, fmt.Sprintf("1:%d: control character 0x0d", len(key)+5)},
		{strings.Repeat("ann\n", 150), "1:4: no key"},
		{strings.Repeat("#", MaxSigners+1), "1:1: longer than"},
	} {
		got, err := ParseSigners("f", []byte(tt.text))
		var es strict.Errors
		if !errors.As(err, &es) || got != nil {
			t.Errorf("%.60q: %v", tt.text, err)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		for i, w := range strings.Split(tt.want, "\n") {
			if i >= len(lines) || !strings.HasPrefix(lines[i], "f:"+w) {
				t.Errorf("%.60q: got\n%.200s\nwant\n%s", tt.text, err, tt.want)
				break
			}
		}
		if len(es) > maxSignerErrors+1 || strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n", ""), "\x1b\x00\r") {
			t.Errorf("%.60q: %d errors, %.60q", tt.text, len(es), err)
		}
		if n := strings.Count(tt.want, "\n") + 1; len(es) != n && !strings.HasPrefix(tt.text, "ann\nann") {
			t.Errorf("%.60q: %d errors, want %d:\n%v", tt.text, len(es), n, err)
		}
	}
}

func TestSignersForms(t *testing.T) {
	key := newSigner(t, false).key.Line
	for text, n := range map[string]int{
		"": 0, "\n\n": 0, "# x": 0, "  # x\n": 0, "ann " + key: 1, "\t ann \t " + key + " \t a comment \"with quotes\n": 1, "ann " + key + "\r\nbob " + key + "\r\n": 2,
		`"a b,c" ` + key: 1, `ann namespaces="a b\"c" ` + key: 1, `ann cert-authority,valid-after="20260101",valid-before="20260102UTC",namespaces="*" ` + key: 1,
		"\xff " + key: 1, "ann ssh-dss AAAAB3NzaC1kc3M=\n": 1,
	} {
		s, err := ParseSigners("f", []byte(text))
		if err != nil || len(s.lines) != n {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Times without a zone are those of the reader, as ssh-keygen has it.
func TestTimesOfSigners(t *testing.T) {
	key := newSigner(t, false).key.Line
	for text, want := range map[string]time.Time{
		"20260102": time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local), "202601020304": time.Date(2026, 1, 2, 3, 4, 0, 0, time.Local),
		"20260102030405": time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), "20260102030405Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"20260102z": time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), "202601020304utc": time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC),
	} {
		s := mustSigners(t, `ann valid-after="`+text+`" `+key)
		if got := s.lines[0].after; got != want.Unix() {
			t.Errorf("%s: %v, want %v", text, time.Unix(got, 0), want)
		}
	}
}

func TestMatchPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"?", "", false}, {"?", "a", true}, {"??", "a", false}, {"a*c", "abbc", true},
		{"a*c", "abbcd", false}, {"*c", "abcc", true}, {"a*b*c", "a1b2b3c", true}, {"a*b*c", "a1c2b", false}, {"**a", "a", true}, {"a**", "a", true}, {"A", "a", false},
		{"*@example.org", "ann@example.org", true}, {"*@example.org", "ann@example.org.evil", false}, {"[a]", "a", false}, {`\*`, "*", false},
	} {
		if got := matchPattern(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q, %q: %v", tt.pattern, tt.s, got)
		}
	}
	start := time.Now()
	if matchPattern(strings.Repeat("*a", 5000), strings.Repeat("a", 5000)+"b") {
		t.Error("it ends in b")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("a hostile pattern takes %v", d)
	}
}

// Lines on which ssh-keygen and we must agree that they are right, or wrong.
func TestAgreementOnLines(t *testing.T) {
	b := newBench(t)
	b.key("k", "ed25519")
	armor, key := b.sign("k", "m"), b.line("k")
	for _, line := range []string{
		"ann KEY", "ann\tKEY", "  ann KEY c d", `"ann" KEY`, `"x y,ann" KEY`, `ann namespaces="*" KEY`, `ann NAMESPACES="*" KEY`, `ann namespaces=* KEY`, `ann namespaces="* KEY`,
		`ann namespaces="*",namespaces="*" KEY`, `ann namespaces="*", KEY`, `ann namespaces="*"x KEY`, `ann cert-authority=1 KEY`, `ann foo KEY`, `ann foo="x" KEY`,
		`ann valid-after="20200101" KEY`, `ann valid-after=20200101 KEY`, `ann valid-after="2020010" KEY`, `ann valid-after="20201301" KEY`, `ann valid-after="20200101Z" KEY`,
		`ann valid-after="202001010000" KEY`, `ann valid-after="20200101000000z" KEY`, `ann valid-after="20200101UTC" KEY`, `ann valid-after="2020010100" KEY`, `ann valid-after="" KEY`,
		`ann valid-after="20200101",valid-before="20200101" KEY`, `ann valid-after="20200101",valid-before="20990101" KEY`, `ann valid-after="20200102",valid-before="20200101" KEY`,
		`ann valid-after="20200101",valid-after="20200102" KEY`, "ann", `ann "KEY"`, `"ann KEY`, `ann namespaces="intact-report@v1\"" KEY`, "ann ssh-ed25519 AAAA", "ann KEY\r",
	} {
		text := strings.ReplaceAll(line, "KEY", key) + "\n"
		theirs := b.accepts(text, armor, "m", "ann")
		signers, err := ParseSigners("f", []byte(text))
		if err == nil {
			_, err = signers.Verify(strings.NewReader("m"), armor, want("ann"))
		}
		if (err == nil) != theirs {
			t.Errorf("%s: ssh-keygen accepts it: %v, we: %v", line, theirs, err)
		}
	}
}
