package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"os"

	"intact/scanner/journal"
	"intact/scanner/journal/journaltest"
)

func lines(f *journaltest.File, n int) *journaltest.File {
	for range n {
		f.Append(fmt.Sprintf("MESSAGE=line %d", f.Seq), fmt.Sprintf("_SYSTEMD_UNIT=u%d.service", f.Seq%3), "_HOSTNAME=h", fmt.Sprintf("PRIORITY=%d", f.Seq%8))
	}
	return f
}

func stream(t *testing.T, b []byte, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := journal.Read(bytes.NewReader(b), int64(len(b)), name, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// holds reports whether a file still begins with what was known of it.
func holds(b, known []byte) bool {
	var out bytes.Buffer
	_, err := journal.Read(bytes.NewReader(b), int64(len(b)), "system.journal", &out)
	return err == nil && bytes.HasPrefix(out.Bytes(), known)
}

func TestGrowthIsSilent(t *testing.T) {
	for _, compact := range []bool{false, true} {
		f := journaltest.New(1, 2, 10, compact)
		known := stream(t, f.B, "system.journal")
		for i := range 200 {
			lines(f, 1)
			for _, s := range []journal.State{journal.Online, journal.Offline} {
				f.SetState(s)
				now := stream(t, f.B, "system.journal")
				if !bytes.HasPrefix(now, known) {
					t.Fatalf("compact %v: entry %d in state %d: the stream does not go on", compact, i, s)
				}
				known = now
			}
		}
		f.SetState(journal.Archived)
		final := stream(t, f.B, "system@x.journal")
		if !bytes.HasPrefix(final, known) || len(final) == len(known) {
			t.Errorf("compact %v: archived, and the stream is no longer", compact)
		}
		if bytes.HasPrefix(stream(t, f.SetState(journal.Offline).B, "system.journal"), final) {
			t.Errorf("compact %v: written to again, and nothing tells", compact)
		}
		h, err := journal.ReadFacts(bytes.NewReader(f.B), int64(len(f.B)))
		if err != nil || h.Entries != 200 || h.Head != 10 || h.Tail != 209 || h.Last-h.First != 199_000_000 {
			t.Errorf("%+v %v", h, err)
		}
	}
}

// Every byte of the objects counts, and of the header what tells files apart.
// The rest of the header is about the end of the file and may go on.
func TestEveryFlippedByte(t *testing.T) {
	for _, compact := range []bool{false, true} {
		f := lines(journaltest.New(1, 2, 10, compact), 12)
		known := stream(t, f.B, "system.journal")
		for at := range f.B {
			ids := at < 8 || at >= 24 && at < 56 || at >= 72 && at < 88 || at >= 168 && at < 192
			if at < 272 && !ids {
				continue
			}
			for _, bit := range []byte{1, 0x80} {
				b := bytes.Clone(f.B)
				b[at] ^= bit
				if holds(b, known) {
					t.Fatalf("compact %v: offset %d of %d, bit %#x: not noticed", compact, at, len(f.B), bit)
				}
			}
		}
		sealed := lines(journaltest.New(1, 2, 10, compact), 12).SetState(journal.Archived)
		known = stream(t, sealed.B, "system@x.journal")
		for at := range sealed.B {
			b := bytes.Clone(sealed.B)
			b[at] ^= 1
			if holds(b, known) {
				t.Fatalf("compact %v, archived: offset %d: not noticed", compact, at)
			}
		}
	}
}

// What is erased in all the ways that leave a file that can be read.
func TestErased(t *testing.T) {
	f := lines(journaltest.New(1, 2, 10, false), 30)
	known := stream(t, f.B, "system.journal")
	short := lines(journaltest.New(1, 2, 10, false), 29)
	if holds(short.B, known) {
		t.Error("the last entry is gone")
	}
	if holds(lines(short.Append("MESSAGE=another"), 5).B, known) {
		t.Error("the last entry is another")
	}
	other := lines(journaltest.New(9, 2, 10, false), 30)
	if holds(other.B, known) {
		t.Error("another file")
	}
	// Not listed any more: an entry that is there and that nobody is shown.
	b := bytes.Clone(f.B)
	array := binary.LittleEndian.Uint64(b[176:])
	copy(b[array+24:array+32], b[array+32:array+40])
	if holds(b, known) {
		t.Error("an entry is not in the list")
	}
	// The same bytes as text elsewhere in the file.
	i := bytes.Index(b, []byte("line 15"))
	b = bytes.Clone(f.B)
	copy(b[i:], "line 51")
	if holds(b, known) {
		t.Error("a message was edited")
	}
}

func TestMalformed(t *testing.T) {
	whole := lines(journaltest.New(1, 2, 1, false), 20).B
	put := func(at int, v uint64) []byte {
		b := bytes.Clone(whole)
		binary.LittleEndian.PutUint64(b[at:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": whole[:100], "signature": append([]byte("LPKSHHRX"), whole[8:]...), "cut": whole[:len(whole)-8],
		"arena": put(96, 1<<62), "header": put(88, 1<<40), "entries": put(152, 1<<60), "one more": put(152, 21), "one less": put(152, 19),
		"numbers": put(160, 3), "first": put(168, 2), "list": put(176, 1<<50), "list of nothing": put(176, 280),
		"table": put(112, 1<<40), "object of no size": put(int(binary.LittleEndian.Uint64(whole[176:]))+8, 0),
	} {
		_, err := journal.Read(bytes.NewReader(b), int64(len(b)), "system.journal", io.Discard)
		if !errors.Is(err, journal.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file that was put aside may end anywhere; what is there is its content.
func TestUnclean(t *testing.T) {
	f := lines(journaltest.New(1, 2, 1, false), 20).SetState(journal.Online)
	known := stream(t, f.B, "system.journal")
	lines(f, 5)
	torn := bytes.Clone(f.B)
	clear(torn[len(torn)-400:])
	now := stream(t, torn, "system@1-2.journal~")
	if !bytes.HasPrefix(now, known) || !bytes.Contains(now, []byte("final")) {
		t.Error("what was known is not there any more")
	}
	torn[300] ^= 1
	if bytes.Equal(stream(t, torn, "system@1-2.journal~"), now) {
		t.Error("another byte, and the same stream")
	}
}

func TestReadSettled(t *testing.T) {
	f := lines(journaltest.New(1, 2, 1, true), 20)
	old := bytes.Clone(f.B)
	lines(f, 20).SetState(journal.Online)
	// The header of before with the objects of now, then all of now.
	r := &moving{a: append(old[:272:272], f.B[272:]...), b: f.B, after: 3}
	var out *bytes.Buffer
	h, err := journal.ReadSettled(r, int64(len(f.B)), "system.journal", func() io.Writer { out = new(bytes.Buffer); return out })
	if err != nil || h.Entries != 40 || !bytes.Equal(out.Bytes(), stream(t, f.B, "system.journal")) {
		t.Errorf("%+v %v", h, err)
	}
}

// moving is a file that changes after some reads.
type moving struct {
	a, b  []byte
	after int
}

func (m *moving) ReadAt(p []byte, off int64) (int, error) {
	b := m.b
	if m.after--; m.after >= 0 {
		b = m.a
	}
	return bytes.NewReader(b).ReadAt(p, off)
}

func TestNames(t *testing.T) {
	for name, base := range map[string]string{"system.journal": "system.journal", "system@00-1-2.journal": "system.journal",
		"user-1000@1-2.journal~": "user-1000.journal", "user-1000.journal": "user-1000.journal"} {
		if !journal.Named(name) || journal.Base(name) != base {
			t.Errorf("%s: %v %s", name, journal.Named(name), journal.Base(name))
		}
	}
	if journal.Named("journal") || journal.Named("x.journal.gz") {
		t.Error("no journal")
	}
}

// What journald's own code wrote is read whole, in all forms there are.
func TestRealFiles(t *testing.T) {
	const remote = "/lib/systemd/systemd-journal-remote"
	if _, err := os.Stat(remote); err != nil {
		t.Skip("no systemd-journal-remote here: only the files of this package's own writer are read")
	}
	dir := t.TempDir()
	export := filepath.Join(dir, "export")
	write := func(from, to int) {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=00112233445566778899aabbccddeeff\nUNIT=u%d\nMESSAGE=%d %s\n\n",
				1_700_000_000_000_000+i*1000, i, i%7, i, strings.Repeat("x", i%700))
		}
		if err := os.WriteFile(export, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range [][]string{nil, {"SYSTEMD_JOURNAL_COMPACT=0"}, {"SYSTEMD_JOURNAL_COMPACT=0", "SYSTEMD_JOURNAL_KEYED_HASH=0"}} {
		file := filepath.Join(dir, fmt.Sprintf("%d.journal", len(env)))
		var known []byte
		for round := range 3 {
			write(300*round, 300*round+300)
			cmd := exec.Command(remote, "-o", file, export)
			cmd.Env = append(os.Environ(), env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			now := stream(t, b, "0.journal")
			if !bytes.HasPrefix(now, known) || len(now) == len(known) {
				t.Fatalf("%q: round %d does not go on", env, round)
			}
			known = now
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, compact := range []bool{false, true} {
		j := lines(journaltest.New(1, 2, 1, compact), 12)
		f.Add(bytes.Clone(j.B), "system.journal")
		f.Add(bytes.Clone(j.SetState(journal.Archived).B), "system@x.journal")
		f.Add(bytes.Clone(j.SetState(journal.Online).B), "system@x.journal~")
	}
	f.Add([]byte("LPKSHHRH"), "x.journal")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		var one, two bytes.Buffer
		h, err := journal.Read(bytes.NewReader(b), int64(len(b)), name, &one)
		h2, err2 := journal.Read(bytes.NewReader(b), int64(len(b)), name, &two)
		if h != h2 || (err == nil) != (err2 == nil) || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Fatalf("two reads of one file: %v, %v", err, err2)
		}
		if one.Len() > 2*len(b)+200 {
			t.Fatalf("%d bytes of a file of %d", one.Len(), len(b))
		}
	})
}

// However appends and looks alternate, growth is silent; whatever is flipped in
// what was known is not.
func TestProperty(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 40 {
		f := journaltest.New(byte(r.IntN(255)), 2, 1+r.Uint64N(1000), r.IntN(2) == 0)
		lines(f, 1+r.IntN(20))
		known, was := stream(t, f.B, "system.journal"), len(f.B)
		lines(f, r.IntN(20))
		if !holds(f.B, known) {
			t.Fatalf("seed %d: an append alarms", seed)
		}
		at := 272 + r.IntN(was-272)
		b := slices.Clone(f.B)
		b[at] ^= byte(1 + r.IntN(255))
		if holds(b, known) {
			t.Fatalf("seed %d: offset %d flipped, and nobody notices", seed, at)
		}
	}
}
