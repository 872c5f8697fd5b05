package rpm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// memory is a Source; grow makes it look written to at each look.
type memory struct {
	*bytes.Reader
	at   *time.Time
	grow bool
}

func (m memory) Close() error               { return nil }
func (m memory) Stat() (fs.FileInfo, error) { return m, nil }
func (m memory) Size() int64                { return m.Reader.Size() }
func (m memory) Name() string               { return "" }
func (m memory) Mode() fs.FileMode          { return 0 }
func (m memory) IsDir() bool                { return false }
func (m memory) Sys() any                   { return nil }
func (m memory) ModTime() time.Time {
	if m.grow {
		*m.at = m.at.Add(time.Second)
	}
	return *m.at
}

// folder holds the files of a database.
type folder map[string][]byte

func (d folder) open(name string) (Source, error) {
	b, ok := d[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memory{Reader: bytes.NewReader(b), at: new(time.Time)}, nil
}

// rows are the headers of a database.
func rows(d folder) (out [][]byte, err error) {
	err = Each(context.Background(), d.open, func(h *Header) error {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(h.index)/entrySize))
		b = binary.BigEndian.AppendUint32(b, uint32(len(h.store)))
		out = append(out, append(append(b, h.index...), h.store...))
		return nil
	})
	return out, err
}

func same(t *testing.T, what string, d folder, want ...string) {
	t.Helper()
	got, err := rows(d)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	var w [][]byte
	for _, n := range want {
		w = append(w, fixture(t, n))
	}
	if !reflect.DeepEqual(got, w) {
		t.Errorf("%s: got %d headers, not those of %v", what, len(got), want)
	}
}

// small.sqlite has pages of 512 bytes, so that every header goes on elsewhere;
// wal.sqlite knows one package, and its log says that another took its place.
func TestSQLite(t *testing.T) {
	same(t, "small", folder{sqliteName: fixture(t, "small.sqlite")}, "rsa.hdr", "ed.hdr", "unsigned.hdr")
	db, log := fixture(t, "wal.sqlite"), fixture(t, "wal.sqlite-wal")
	both := folder{sqliteName: db, sqliteName + walSuffix: log}
	same(t, "log", both, "rsa.hdr")
	same(t, "without log", folder{sqliteName: db}, "unsigned.hdr")
	same(t, "empty log", folder{sqliteName: db, sqliteName + walSuffix: nil}, "unsigned.hdr")

	// Whatever is cut off or flipped, each transaction counts as a whole.
	before, both2 := fixture(t, "unsigned.hdr"), fixture(t, "rsa.hdr")
	states := [][][]byte{{before}, {before, both2}, {both2}}
	seen := map[int]bool{}
	try := func(what string, n int, log []byte) {
		got, err := rows(folder{sqliteName: db, sqliteName + walSuffix: log})
		i := slices.IndexFunc(states, func(s [][]byte) bool { return reflect.DeepEqual(s, got) })
		if err != nil || i < 0 {
			t.Fatalf("log %s at %d: %d headers, %v", what, n, len(got), err)
		}
		seen[i] = true
	}
	step := 1
	if testing.Short() {
		step = 37
	}
	for n := 0; n < len(log); n += step {
		try("cut", n, log[:n])
	}
	if len(seen) != 2 { // the last one is that of the whole log
		t.Errorf("states seen: %v", seen)
	}
	for n := walHeader; n < len(log); n += step {
		b := bytes.Clone(log)
		b[n] ^= 0x10
		try("flipped", n, b)
	}
}

func TestSQLiteRefused(t *testing.T) {
	good := fixture(t, "small.sqlite")
	for n := 0; n < len(good); n += 64 {
		if got, err := rows(folder{sqliteName: good[:n]}); !errors.Is(err, ErrDatabase) {
			t.Fatalf("first %d bytes: %d headers, %v", n, len(got), err)
		}
	}
	want, err := rows(folder{sqliteName: good})
	if err != nil {
		t.Fatal(err)
	}
	// The format has no checksums: a flipped byte may go unnoticed here, and be
	// found by the signature. It makes no further headers and no other errors.
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x01
		got, err := rows(folder{sqliteName: b})
		if err != nil && !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrHeader) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if len(got) > len(want) {
			t.Errorf("byte %d: %d headers", i, len(got))
		}
	}
	root := 0 // page that the table begins on
	for i := 512; i < len(good); i += 512 {
		if good[i] == innerPage || good[i] == leafPage && root == 0 {
			root = i
		}
	}
	loop := bytes.Clone(good)
	loop[root] = innerPage
	binary.BigEndian.PutUint16(loop[root+3:], 0)
	binary.BigEndian.PutUint32(loop[root+8:], uint32(root/512+1))
	if _, err := rows(folder{sqliteName: loop}); !errors.Is(err, ErrDatabase) {
		t.Errorf("a page below itself: %v", err)
	}
	// A row goes on in the page that it went on in already.
	endless := bytes.Clone(good)
	chain := 0
	for i := 512; i < len(good); i += 512 {
		if next := binary.BigEndian.Uint32(good[i:]); good[i] == 0 && next > 0 && int(next) <= len(good)/512 {
			chain = i
			binary.BigEndian.PutUint32(endless[i:], uint32(i/512+1))
			break
		}
	}
	if _, err := rows(folder{sqliteName: endless}); chain == 0 || err == nil || !strings.Contains(err.Error(), "used twice") {
		t.Errorf("a page behind itself, %d: %v", chain, err)
	}
	rolled := bytes.Clone(good)
	rolled[18], rolled[19] = 1, 1
	if _, err := rows(folder{sqliteName: rolled, sqliteName + journalSuffix: []byte{0xd9}}); !errors.Is(err, ErrAmid) {
		t.Errorf("with a journal: %v", err)
	}
}

// ndb makes a database of rpm's own format.
func ndb(blobs ...[]byte) []byte {
	le := binary.LittleEndian
	words := func(n ...uint32) (b []byte) {
		for _, x := range n {
			b = le.AppendUint32(b, x)
		}
		return b
	}
	out := words(ndbMagic, 0, 7, 1, uint32(len(blobs)+1), 0, 0, 0)
	var body []byte
	for i, b := range blobs {
		at := ndbPage/ndbBlock + len(body)/ndbBlock
		one := append(words(ndbHeadMagic, uint32(i+1), 99, uint32(len(b))), b...)
		for (len(one)+ndbTail)%ndbBlock != 0 {
			one = append(one, 0)
		}
		one = append(one, words(adler32.Checksum(one), uint32(len(b)), ndbTailMagic)...)
		body = append(body, one...)
		out = append(out, words(ndbSlotMagic, uint32(i+1), uint32(at), uint32(len(one)/ndbBlock))...)
	}
	for len(out) < ndbPage {
		out = append(out, words(ndbSlotMagic, 0, 0, 0)...)
	}
	return append(out, body...)
}

func TestNDB(t *testing.T) {
	good := ndb(fixture(t, "rsa.hdr"), fixture(t, "ed.hdr"))
	same(t, "ndb", folder{ndbName: good}, "rsa.hdr", "ed.hdr")
	same(t, "no package", folder{ndbName: ndb()})
	for i := range good {
		if i >= 2*ndbSlot+2*ndbSlot && i < ndbPage || i >= 8 && i < 12 || i >= 16 && i < 32 {
			continue // slots that are free, numbers that are not used
		}
		b := bytes.Clone(good)
		b[i] ^= 0x01
		if got, err := rows(folder{ndbName: b}); !errors.Is(err, ErrDatabase) {
			t.Fatalf("byte %d: %d headers, %v", i, len(got), err)
		}
	}
	for n := range good {
		if _, err := rows(folder{ndbName: good[:n]}); !errors.Is(err, ErrDatabase) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
	twice := bytes.Clone(good)
	copy(twice[3*ndbSlot:4*ndbSlot], twice[2*ndbSlot:])
	if _, err := rows(folder{ndbName: twice}); !errors.Is(err, ErrDatabase) {
		t.Errorf("one package twice: %v", err)
	}
}

func TestEach(t *testing.T) {
	if _, err := rows(folder{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	db := fixture(t, "small.sqlite")
	busy := func(name string) (Source, error) {
		if name != sqliteName {
			return nil, fs.ErrNotExist
		}
		return memory{bytes.NewReader(db), new(time.Time), true}, nil
	}
	if err := Each(context.Background(), busy, func(*Header) error { return nil }); !errors.Is(err, ErrChanging) {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := Each(ctx, folder{sqliteName: db}.open, func(*Header) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	mine := errors.New("enough")
	if err := Each(context.Background(), folder{sqliteName: db}.open, func(*Header) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
}

func FuzzSQLite(f *testing.F) {
	f.Add(fixture(f, "small.sqlite"), []byte{})
	f.Add(fixture(f, "wal.sqlite"), fixture(f, "wal.sqlite-wal"))
	f.Fuzz(func(t *testing.T, db, log []byte) {
		got, err := rows(folder{sqliteName: db, sqliteName + walSuffix: log})
		bounded(t, len(db)+len(log), got, err)
	})
}

func FuzzNDB(f *testing.F) {
	f.Add(ndb(fixture(f, "rsa.hdr"), fixture(f, "ed.hdr")))
	f.Fuzz(func(t *testing.T, db []byte) {
		got, err := rows(folder{ndbName: db})
		bounded(t, len(db), got, err)
	})
}

// bounded: no byte of a file is in two headers.
func bounded(t *testing.T, size int, got [][]byte, err error) {
	if err != nil && !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrHeader) {
		t.Fatal(err)
	}
	total := 0
	for _, b := range got {
		total += len(b)
	}
	if total > size {
		t.Fatalf("%d bytes of headers in %d bytes", total, size)
	}
}

// logOf makes a log of whole pages, all in one transaction.
func logOf(pages map[uint32][]byte, after uint32) []byte {
	be, size := binary.BigEndian, 0
	for _, p := range pages {
		size = len(p)
	}
	s := sums{order: be}
	var out []byte
	for _, n := range []uint32{walMagic + 1, walVersion, uint32(size), 0, 7, 8} {
		out = be.AppendUint32(out, n)
	}
	s.add(out)
	out = be.AppendUint32(be.AppendUint32(out, s.a), s.b)
	for i, n := range slices.Sorted(maps.Keys(pages)) {
		frame := be.AppendUint32(nil, n)
		if frame = be.AppendUint32(frame, 0); i == len(pages)-1 {
			be.PutUint32(frame[4:], after)
		}
		s.add(frame)
		s.add(pages[n])
		frame = be.AppendUint64(frame, 7<<32|8)
		out = append(be.AppendUint32(be.AppendUint32(append(out, frame...), s.a), s.b), pages[n]...)
	}
	return out
}

// SQLite does not tell whose log it is: whole pages of another database take the
// place of all that was there, a part of them makes no database.
func TestForeignLog(t *testing.T) {
	db, other := fixture(t, "history.sqlite"), fixture(t, "small.sqlite")
	all := map[uint32][]byte{}
	for i := 0; i < len(other); i += 512 {
		all[uint32(i/512+1)] = other[i : i+512]
	}
	n := uint32(len(all))
	same(t, "all of another", folder{sqliteName: db, sqliteName + walSuffix: logOf(all, n)}, "rsa.hdr", "ed.hdr", "unsigned.hdr")
	for part := uint32(1); part < n; part++ {
		delete(all, n+1-part)
		log := logOf(all, n)
		if got, err := rows(folder{sqliteName: db, sqliteName + walSuffix: log}); !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrHeader) {
			t.Errorf("%d pages of another: %d headers, %v", len(all), len(got), err)
		}
	}
	if _, err := rows(folder{sqliteName: db, sqliteName + walSuffix: logOf(map[uint32][]byte{1: make([]byte, 1024)}, 1)}); !errors.Is(err, ErrDatabase) {
		t.Errorf("a log of other pages: %v", err)
	}
	rolled := bytes.Clone(other) // as if it had no log
	rolled[18], rolled[19] = 1, 1
	if _, err := rows(folder{sqliteName: rolled, sqliteName + walSuffix: logOf(map[uint32][]byte{1: db[:512]}, n)}); !errors.Is(err, ErrDatabase) {
		t.Errorf("a log that is not expected: %v", err)
	}
}
