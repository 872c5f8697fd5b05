package statement

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"intact/scanner/digest"
)

func sample() *Statement {
	return &Statement{
		HostID: "0123456789abcdef0123456789abcdef", Generation: 3, Previous: digest.Sum([]byte("p")), File: digest.Sum([]byte("f")), FileSize: 9,
		Root: digest.Sum([]byte("r")), Policy: digest.Sum(nil), Directories: 2, Entries: 5, Pruned: []uint64{1, 2},
		Note: Note{HostName: "a\x1b\n\"", Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), ToolVersion: "1", Report: "id", Approver: "é\xff", Authority: Operator, Signer: "SHA256:x", Reason: "\u202e"},
	}
}

func TestRoundTrip(t *testing.T) {
	first := sample()
	first.Generation, first.Previous, first.File, first.Pruned = 1, digest.Digest{}, digest.Digest{}, nil
	delegated := sample()
	delegated.Delegation = digest.Sum([]byte("d"))
	for _, s := range []*Statement{sample(), first, delegated} {
		s.Restart = s.Generation == 3
		got, err := Parse(s.Text())
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%v\n%+v\n%+v", err, got, s)
		}
		for i, c := range s.Text() {
			if c != '\n' && (c < ' ' || c > '~') {
				t.Errorf("byte %#x at %d", c, i)
			}
		}
	}
}

func TestLongTextIsCut(t *testing.T) {
	s := sample()
	s.Reason, s.Approver, s.Report, s.HostName, s.ToolVersion = strings.Repeat("\xff", 9999), strings.Repeat("\x01", 9999), strings.Repeat("\xff", 9999), strings.Repeat("é", 9999), strings.Repeat("\xff", 9999)
	got, err := Parse(s.Text())
	if err != nil || len(got.Reason) != MaxText || !bytes.Equal(got.Text(), s.Text()) {
		t.Fatal(err)
	}
}

func TestEveryByteCounts(t *testing.T) {
	good := sample().Text()
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := Parse(bad); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrDigest) && !errors.Is(err, ErrFormat) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
		if _, err := Parse(good[:i]); err == nil {
			t.Fatalf("cut at %d is taken", i)
		}
	}
}

// TestOneSpelling gives texts whose digest is right and whose spelling is not.
func TestOneSpelling(t *testing.T) {
	good := string(sample().Text())
	for _, r := range [][2]string{
		{"generation: 3", "generation: +3"}, {"generation: 3", "generation: 03"}, {"generation: 3", "generation: 0"},
		{"entries: 5", "entries: -5"}, {"pruned: 1 2", "pruned: 2 1"}, {"pruned: 1 2", "pruned: 1 1"}, {"pruned: 1 2", "pruned: 1  2"},
		{`report: "id"`, "report: `id`"}, {`report: "id"`, `report: "\x69d"`}, {`report: "id"`, "report: id"},
		{"05.000000006Z", "05.0000000060Z"}, {"05.000000006Z", "05.000000006+00:00"}, {"host-id: 0", "host-id: A"},
		{"restart: no", "restart: 0"}, {"restart: no", "restart: "}, {"restart: no\n", ""}, {"reason:", "Reason:"}, {"authority: operator", "authority: root"}, {"authority: operator", "authority: "}, {"format: intact.statement/2", "format: intact.statement/3"},
		{"root: ", "root: none\nroot: "}, {"file-size", "file_size"},
		{"reason: ", "delegation: none\nreason: "}, {"signer: ", "delegation: " + digest.Sum(nil).Named() + "\nsigner: "},
	} {
		text := strings.Replace(good, r[0], r[1], 1)
		if text == good {
			t.Fatalf("%q is not in the text", r[0])
		}
		body := text[:strings.LastIndex(text, "\ndigest: ")+1]
		text = body + "digest: " + digest.Sum([]byte(body)).Named() + "\n"
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q is taken: %v", r[1], err)
		}
	}
}

func TestFollows(t *testing.T) {
	first := sample()
	first.Generation, first.Previous = 1, digest.Digest{}
	next := func(change func(*Statement)) *Statement {
		s := sample()
		s.Generation, s.Previous = 2, first.Digest()
		change(s)
		return s
	}
	tests := []struct {
		name string
		s    *Statement
		prev *Statement
		ok   bool
	}{
		{"first", first, nil, true},
		{"second", next(func(*Statement) {}), first, true},
		{"second-alone", next(func(*Statement) {}), nil, false},
		{"first-behind-first", first, first, false},
		{"number", next(func(s *Statement) { s.Generation = 3 }), first, false},
		{"host", next(func(s *Statement) { s.HostID = strings.Repeat("a", 32) }), first, false},
		{"digest", next(func(s *Statement) { s.Previous[0]++ }), first, false},
		{"restart", next(func(s *Statement) { s.Restart = true }), first, true},
		{"restart-alone", next(func(s *Statement) { s.Restart = true }), nil, true},
		{"restart-behind-lost", next(func(s *Statement) { s.Restart, s.Previous = true, digest.Digest{} }), first, true},
		{"restart-first", next(func(s *Statement) { s.Restart, s.Generation, s.Previous = true, 1, digest.Digest{} }), nil, false},
	}
	for _, tt := range tests {
		err := tt.s.Follows(tt.prev)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrChain) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestShort(t *testing.T) {
	if got := sample().Short(); len(got) != 24 || strings.Count(got, " ") != 4 {
		t.Errorf("%q", got)
	}
}

func TestPin(t *testing.T) {
	d := sample().Root
	for _, s := range []string{d.String(), d.Named(), Short(d), " " + Short(d) + "\n", strings.ToUpper(d.String()), d.String()[:20], d.String()[:63]} {
		p, err := ParsePin(s)
		if err != nil || !p.Matches(d) || p.Matches(sample().File) {
			t.Errorf("%q: %q, %v", s, p, err)
		}
	}
	for _, s := range []string{"", d.String()[:19], d.String() + "0", "sha256:" + d.String(), "g" + d.String()[1:], "/etc/root"} {
		if p, err := ParsePin(s); err == nil || p.Matches(d) {
			t.Errorf("%q is taken", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Text())
	delegated := sample()
	delegated.Delegation = digest.Sum(nil)
	f.Add(delegated.Text())
	f.Add([]byte("format: intact.statement/1\n"))
	f.Add([]byte("format: intact.statement/2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err == nil && !bytes.Equal(s.Text(), b) {
			t.Error("another spelling is taken")
		}
	})
}
