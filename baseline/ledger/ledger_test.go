package ledger_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"intact/baseline/ledger"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/journal"
)

func sample() *ledger.Entry {
	held := ledger.Held{OK: true, Base: digest.Sum([]byte("base"))}
	return &ledger.Entry{
		HostID: "0123456789abcdef0123456789abcdef", Number: 7, Previous: digest.Sum([]byte("6")), Time: time.Unix(1_800_000_000, 6).UTC(), Signer: "SHA256:abc",
		Logs: []ledger.Log{
			{Path: "/var/log/a\n\x1b[2J\xff \"x\" held=no", Inode: 1<<64 - 1, Born: entry.Time{Sec: -1, Nsec: 999_999_999}, Length: 4096, Content: digest.Sum([]byte("x")), Held: held, Cadence: ledger.Cadence{Rotations: 3, Last: 17, Least: 86400}},
			{Path: "/var/log/b", Held: ledger.Held{}},
			{Path: "/var/log/c", Gone: true, Held: held},
			{Path: "/var/log/cut", Held: ledger.Held{Cut: true}},
			{Path: "/var/log/d", Gone: true, Held: ledger.Held{OK: true}},
		},
	}
}

// journals is sample with files of the systemd journal.
func journals() *ledger.Entry {
	e := sample()
	e.Logs[1].Journal = &journal.Facts{}
	e.Logs[3].Journal = &journal.Facts{File: journal.ID{1, 2}, Machine: journal.ID{15: 3}, Seqnum: journal.ID{4}, State: journal.Archived,
		Entries: 1 << 40, Head: 7, Tail: 1<<64 - 1, First: 1_700_000_000_000_000, Last: 1_700_000_001_000_000}
	return e
}

func TestRoundTrip(t *testing.T) {
	e := sample()
	for _, e := range []*ledger.Entry{e, journals()} {
		got, err := ledger.Parse(e.Text())
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%v: %+v, want %+v", err, got, e)
		}
	}
	// What other versions wrote and read stays so.
	if !bytes.HasPrefix(e.Text(), []byte("format: intact.ledger/1\n")) || !bytes.HasPrefix(journals().Text(), []byte("format: intact.ledger/2\n")) {
		t.Error("the format does not follow from what is in it")
	}
	next := &ledger.Entry{HostID: e.HostID, Number: 8, Previous: e.Digest(), Time: e.Time}
	if err := next.Follows(e); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*ledger.Entry){
		"number": func(n *ledger.Entry) { n.Number++ }, "host": func(n *ledger.Entry) { n.HostID = "x" }, "previous": func(n *ledger.Entry) { n.Previous[0]++ },
	} {
		n := *next
		if change(&n); !errors.Is(n.Follows(e), ledger.ErrChain) {
			t.Errorf("another %s follows", name)
		}
	}
}

// Every flipped bit and every cut is refused, also where the digest line is
// made to fit: then nothing but the one spelling is left to hold.
func TestEveryFlippedByte(t *testing.T) {
	text := journals().Text()
	for i := range text {
		b := slices.Clone(text)
		b[i] ^= 1
		if _, err := ledger.Parse(b); err == nil {
			t.Errorf("byte %d flipped: read", i)
		}
		if _, err := ledger.Parse(text[:i]); err == nil {
			t.Errorf("cut at %d: read", i)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*ledger.Entry){
		"number 0":            func(e *ledger.Entry) { e.Number = 0 },
		"first with previous": func(e *ledger.Entry) { e.Number = 1 },
		"none before":         func(e *ledger.Entry) { e.Previous = digest.Digest{} },
		"no time":             func(e *ledger.Entry) { e.Time = time.Time{} },
		"order":               func(e *ledger.Entry) { e.Logs[1], e.Logs[2] = e.Logs[2], e.Logs[1] },
		"twice":               func(e *ledger.Entry) { e.Logs[1] = e.Logs[0] },
		"relative":            func(e *ledger.Entry) { e.Logs[0].Path = "a" },
		"NUL":                 func(e *ledger.Entry) { e.Logs[4].Path = "/var/log/d\x00" },
		"negative":            func(e *ledger.Entry) { e.Logs[0].Length = -1 },
		"gone, not held":      func(e *ledger.Entry) { e.Logs[2].Held.OK = false },
	} {
		e := sample()
		change(e)
		if _, err := ledger.Parse(e.Text()); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Text())
	f.Add(journals().Text())
	first := sample()
	first.Number, first.Previous, first.Logs = 1, digest.Digest{}, nil
	f.Add(first.Text())
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		// What stands before the last line is what there is to vary.
		text := append(slices.Clone(b), "digest: "+digest.Sum(b).Named()+"\n"...)
		for _, b := range [][]byte{b, text} {
			if e, err := ledger.Parse(b); err == nil && string(e.Text()) != string(b) {
				t.Errorf("%q is another spelling of %q", b, e.Text())
			}
		}
	})
}
