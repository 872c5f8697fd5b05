package baseline

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/baseline/statement"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

const agesHost = "00112233445566778899aabbccddeeff"

func someAges() *Ages {
	a := NewAges()
	for i := range a.Read {
		if i != 7 {
			a.Read[i] = time.Date(2026, 3, 1, 2, 0, i, i, time.UTC)
		}
	}
	for b := range DirBuckets {
		a.Verify(b, time.Unix(int64(b*1_000_003), 5))
	}
	return a
}

func TestAgesText(t *testing.T) {
	a := someAges()
	text := a.text(agesHost, 3, digest.Sum(nil))
	got, host, gen, st, err := parseAges(text)
	if err != nil || *got != *a || host != agesHost || gen != 3 || st != digest.Sum(nil) {
		t.Fatalf("got %v %q %d %v %v", got, host, gen, st, err)
	}
	oldest, newest := a.Span()
	if !oldest.IsZero() || !newest.Equal(a.Read[255]) {
		t.Errorf("from %v to %v", oldest, newest)
	}
	long := bytes.Index(text, []byte("dirs: ")) + 100
	for i := range text { // every byte counts
		if i > 1000 && i%7 != 0 || i > long && i < len(text)-100 && i%97 != 0 {
			continue // of what is alike, some
		}
		bad := bytes.Clone(text)
		bad[i] ^= 1
		if _, _, _, _, err := parseAges(bad); !errors.Is(err, ErrAges) {
			t.Fatalf("byte %d of %q is not missed: %v", i, text[max(0, i-20):i+1], err)
		}
		if i%173 != 0 {
			continue
		}
		if _, _, _, _, err := parseAges(text[:i]); !errors.Is(err, ErrAges) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	// The digest is no secret: another spelling with a right one is refused too.
	sign := func(s string) []byte {
		s = s[:strings.LastIndex(s, "digest: ")]
		return []byte(s + "digest: " + digest.Sum([]byte(s)).Named() + "\n")
	}
	for _, swap := range [][2]string{
		{"generation: 3", "generation: 03"}, {"generation: 3", "generation: -3"}, {"07: never", "07: Never"}, {"07: never", "07: "},
		{".000000005Z", ".5Z"}, {"02:00:05", "02:00:5"}, {"2026-03-01T02:00:09.000000009Z", "99999-03-01T02:00:09.000000009Z"},
		{"host-id: 0", "host-id: A"}, {"08: ", "8: "}, {"statement: blake3:", "statement: "}, {"ages/2", "ages/3"}, {"ages/2", "ages/1"}, {"dirs: AAAA", "dirs: AAA"}, {"dirs: AAAA", "dirs:AAAA"}, {"dirs: AAAA", "dirs: AAAAAAAA"}, {"salt: ", "salt:  "},
	} {
		bad := sign(strings.Replace(string(text), swap[0], swap[1], 1))
		if bytes.Equal(bad, text) {
			t.Fatalf("%q is not in there", swap[0])
		}
		if _, _, _, _, err := parseAges(bad); !errors.Is(err, ErrAges) {
			t.Errorf("%q for %q: %v", swap[1], swap[0], err)
		}
	}
}

func TestAgesMark(t *testing.T) {
	a, b := NewAges(), NewAges()
	long := entry.Path("/" + strings.Repeat("x", 5000))
	if a.Mark("/a") == a.Mark("/b") || a.Mark("/a") == b.Mark("/a") || a.Mark(long) == a.Mark(long+"x") {
		t.Error("a mark does not follow from salt and path")
	}
	if want := digest.Sum(append(a.Salt[:], "/etc/passwd"...)); a.Mark("/etc/passwd") != want {
		t.Error("the mark is not BLAKE3(salt ‖ path)")
	}
}

// agesStore is a store whose statements are there, without their files.
func agesStore(t *testing.T, n int) (*Store, []*statement.Statement) {
	t.Helper()
	s, err := OpenStore(t.TempDir())
	if err == nil {
		err = s.Init(Machine{})
	}
	if err != nil {
		t.Fatal(err)
	}
	host, err := s.HostID()
	if err != nil {
		t.Fatal(err)
	}
	var out []*statement.Statement
	for i := range n {
		st := &statement.Statement{HostID: host, Generation: uint64(i + 1), Entries: int64(i), Note: statement.Note{Created: time.Unix(1, 0)}}
		if i > 0 {
			st.Previous = out[i-1].Digest()
		}
		if st, err = statement.Parse(st.Text()); err == nil {
			err = s.writeFile(s.statementPath(st.Generation), st.Text(), 0o400)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, st)
	}
	return s, out
}

func TestStoreAges(t *testing.T) {
	s, gens := agesStore(t, 3)
	if _, err := s.Ages(gens[2]); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrAges) {
		t.Fatalf("without ages: %v", err)
	}
	a := someAges()
	if err := s.PutAges(a, gens[1]); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(s.agesPath()); err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info, err)
	}
	for _, st := range gens[1:] { // the same generation, and one accepted since
		if got, err := s.Ages(st); err != nil || *got != *a {
			t.Errorf("against generation %d: %v, %v", st.Generation, got, err)
		}
	}
	refused := func(what string, st *statement.Statement) {
		t.Helper()
		if _, err := s.Ages(st); !errors.Is(err, ErrAges) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("ages of a later generation", gens[0])
	other := *gens[1]
	other.Entries++
	refused("ages of another generation 2", &other)
	foreign := *gens[1]
	foreign.HostID = agesHost
	refused("ages of another host", &foreign)
	if err := os.Remove(s.statementPath(2)); err != nil {
		t.Fatal(err)
	}
	refused("ages of a generation that is gone", gens[2])

	for what, plant := range map[string]func(name string) error{
		"a FIFO":       func(n string) error { return syscall.Mkfifo(n, 0o600) },
		"a link":       func(n string) error { return os.Symlink("/etc/passwd", n) },
		"a folder":     func(n string) error { return os.MkdirAll(filepath.Join(n, "x"), 0o700) },
		"a long file":  func(n string) error { return os.WriteFile(n, make([]byte, 1<<20), 0o600) },
		"an empty one": func(n string) error { return os.WriteFile(n, nil, 0o600) },
	} {
		if err := errors.Join(os.RemoveAll(s.agesPath()), plant(s.agesPath())); err != nil {
			t.Fatal(err)
		}
		refused(what, gens[2])
		if err := s.DropAges(gens[2]); err != nil {
			t.Errorf("%s: drop: %v", what, err)
		}
	}
	if err := errors.Join(os.RemoveAll(s.agesPath()), s.PutAges(a, gens[2]), s.DropAges(gens[2])); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ages(gens[2]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a drop: %v", err)
	}
}

// A write that fails leaves the ages that were there.
func TestPutAgesFails(t *testing.T) {
	s, gens := agesStore(t, 1)
	a := someAges()
	if err := s.PutAges(a, gens[0]); err != nil {
		t.Fatal(err)
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	err := s.PutAges(NewAges(), gens[0])
	if e := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); e != nil {
		t.Fatal(e)
	}
	if err == nil {
		t.Fatal("no descriptor was free, and nothing failed")
	}
	if got, err := s.Ages(gens[0]); err != nil || *got != *a {
		t.Errorf("the old ages are gone: %v, %v", got, err)
	}
}

func FuzzAges(f *testing.F) {
	good := someAges().text(agesHost, 3, digest.Sum(nil))
	f.Add(good)
	f.Add(NewAges().text(agesHost, 1, digest.Digest{}))
	f.Add([]byte{})
	f.Add(good[:len(good)-1])
	f.Add(bytes.Replace(good, []byte("never"), []byte("2026-02-30T02:00:00.000000000Z"), 1))
	f.Add(bytes.Repeat([]byte("\n"), 5+AgeBuckets+2))
	f.Add(someAges().spelled(agesFirst, agesHost, 3, digest.Sum(nil)))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, host, gen, st, err := parseAges(text)
		if err != nil {
			if !errors.Is(err, ErrAges) || a != nil {
				t.Errorf("got %v, %v", a, err)
			}
			return
		}
		if !bytes.Equal(a.text(host, gen, st), text) && !bytes.Equal(a.spelled(agesFirst, host, gen, st), text) {
			t.Error("another spelling was read")
		}
	})
}
