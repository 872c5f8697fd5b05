package deb822_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"intact/rules/pkgdb/deb822"
)

// read renders a file: fields asked for, stanzas after each other.
func read(text string, names ...string) (out []string, err error) {
	r := deb822.NewReader(strings.NewReader(text), "control")
	for {
		s, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		row := fmt.Sprintf("%d/%d", s.Line(), s.Len())
		for _, n := range names {
			row += fmt.Sprintf(" %q", s.Get(n))
			if err := s.Lines(n, func(line int, text []byte) error {
				row += fmt.Sprintf(" %d=%s", line, text)
				return nil
			}); err != nil {
				return out, err
			}
		}
		out = append(out, row)
	}
}

func TestReader(t *testing.T) {
	got, err := read("\n\nPackage: dash \nConffiles:\n /etc/a 1\n\t/etc/b:c 2\nEmpty:\n\n\nPACKAGE: x:y\n  .\nLast: 1", "package", "Conffiles", "Last")
	want := []string{`3/3 "dash" "/etc/a 1\n\t/etc/b:c 2" 5=/etc/a 1 6=/etc/b:c 2 ""`, `10/2 "x:y\n  ." 11=. "" "1"`}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := read(""); got != nil || err != nil {
		t.Errorf("empty: %q, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]struct {
		line int
		err  error
	}{
		"A: 1\nb\n":           {2, deb822.ErrSyntax},
		" a\n":                {1, deb822.ErrSyntax},
		"A: 1\n\n b\n":        {3, deb822.ErrSyntax},
		"A: 1\n \nB: 1\n":     {2, deb822.ErrBlank},
		"A: 1\nB: 2\na: 3\n":  {3, deb822.ErrDuplicate},
		"# c\nA: 1\n":         {1, deb822.ErrSyntax},
		"A: 1\n-----BEGIN: x": {2, deb822.ErrSyntax},
		": 1\n":               {1, deb822.ErrSyntax},
		"A B: 1\n":            {1, deb822.ErrSyntax},
		"A\x1b: 1\n":          {1, deb822.ErrSyntax},
		"A: \x00\n":           {1, deb822.ErrSyntax},
		"A: 1\nB: " + strings.Repeat("x", deb822.MaxStanza): {2, deb822.ErrTooLarge},
		many():                             {257, deb822.ErrTooLarge},
		strings.Repeat("n", 200) + ": 1\n": {1, deb822.ErrSyntax},
	} {
		got, err := read(text)
		var at *deb822.LineError
		if !errors.Is(err, want.err) && !errors.As(err, &at) || !errors.Is(err, want.err) {
			t.Errorf("%.40q: %v, %v", text, got, err)
		} else if errors.As(err, &at); at.Line != want.line && want.err != deb822.ErrTooLarge || at.Name != "control" {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func many() string {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "F%d: x\n", i)
	}
	return b.String()
}

// The database of a Debian host is read to its end.
func TestStatus(t *testing.T) {
	b, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		t.Skip("SKIPPED: no dpkg on this host")
	}
	got, err := read(string(b), "Package")
	if want := strings.Count("\n"+string(b), "\nPackage:"); err != nil || len(got) != want {
		t.Errorf("%d of %d packages, %v", len(got), want, err)
	}
}

// What is read is what stands there: each value lies in the file.
func FuzzReader(f *testing.F) {
	f.Add("Package: dash\nConffiles:\n /etc/a 1\n /b\n\nPackage: x\n")
	f.Add("SHA256:\n ab 12 main/binary-amd64/Packages\nA: b: c\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := deb822.NewReader(strings.NewReader(text), "x")
		for {
			s, err := r.Next()
			if err != nil {
				if _, again := r.Next(); again != err {
					t.Error("an error does not stick")
				}
				return
			}
			if s.Len() == 0 || !strings.Contains(text, s.Get("Package")) {
				t.Errorf("%d fields, %q", s.Len(), s.Get("Package"))
			}
			_ = s.Lines("SHA256", func(n int, line []byte) error {
				if !strings.Contains(text, string(line)) || n <= s.Line() {
					t.Errorf("line %d: %q", n, line)
				}
				return nil
			})
		}
	})
}

func BenchmarkReader(b *testing.B) {
	text := strings.Repeat("Package: dash\nVersion: 0.5.12-2\nArchitecture: amd64\nDepends: libc6 (>= 2.36)\nDescription: shell\n longer text\nFilename: pool/main/d/dash/dash_0.5.12-2_amd64.deb\nSize: 91848\nSHA256: 33ea40061da2f1a861ec46212b2b6a34f0776a049b1f0f0abce2fb8cb994258f\n\n", 10000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r := deb822.NewReader(strings.NewReader(text), "x")
		for {
			s, err := r.Next()
			if err != nil {
				break
			}
			if v, _ := s.Bytes("Package"); len(v) == 0 {
				b.Fatal("no package")
			}
		}
	}
}

func TestHandWritten(t *testing.T) {
	const text = "# c\n\nTypes: deb\n# between\nURIs: a\n#in a field\n  b\n \t\nSuites: s\n\n#c\n"
	r := deb822.NewHandWritten(strings.NewReader(text), "x.sources")
	s, err := r.Next()
	if err != nil || s.Line() != 3 || s.Get("URIs") != "a\n  b" || s.Get("Suites") != "s" {
		t.Fatalf("got %+v, %v", s, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("comments alone are a stanza: %v", err)
	}
}

func TestParse(t *testing.T) {
	s, err := deb822.Parse([]byte("A: 1\nB: 2"), "x", 7)
	if err != nil || s.Line() != 7 || s.Get("B") != "2" {
		t.Errorf("got %+v, %v", s, err)
	}
	var at *deb822.LineError
	if _, err := deb822.Parse([]byte("A: 1\nb\n"), "x", 7); !errors.As(err, &at) || at.Line != 8 {
		t.Errorf("got %v", err)
	}
}
