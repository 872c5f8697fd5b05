package entry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"intact/scanner/digest"
)

// Entries that differ only in what is recorded are equal to a check.
func TestRecordedIsNotCompared(t *testing.T) {
	differ := 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 11))
		b := randomBlock(r)
		before, _ := b.Pack(nil, nil, testSets)
		for i := range b.Entries {
			e := &b.Entries[i]
			other := randomEntry(r, "n")
			free := recordedBits &^ testSets[e.Set].For(e.Kind)
			for _, row := range (free & other.Have).Rows() {
				row.get(&reader{b: single(row, &other), known: row.Bit}, e, &none)
			}
			e.Have ^= free & Attr(r.Uint32()) & Applicable(e.Kind)
		}
		after, _ := b.Pack(nil, nil, testSets)
		if before.Compared() != after.Compared() {
			t.Errorf("seed %d: a difference that is only recorded is compared", seed)
		}
		if !bytes.Equal(before, after) {
			differ++
		}
	}
	if differ < 300 {
		t.Errorf("only %d blocks of 500 differ at all", differ)
	}
}

// single is one attribute of e by itself.
func single(row Info, e *Entry) []byte {
	w := writer{known: row.Bit}
	row.put(&w, e, &none)
	return w.b
}

var extremeTimes = []Time{
	{}, {0, 1}, {-1, 0}, {1, 0}, {1, 5}, {2, 5}, {2, 4}, {-1, 999_999_999}, {0, 999_999_999}, {0, second}, {5, second}, {5, 1<<30 - 1},
	{1_700_000_000, 123_456_789}, {1_700_000_000, 0}, {maxDelta - 1, 0}, {maxDelta, 0}, {maxDelta, 1}, {-maxDelta, 0}, {1 - maxDelta, 999_999_999},
	{math.MaxInt64, 999_999_999}, {math.MaxInt64, 0}, {math.MinInt64, 0}, {math.MinInt64, 1}, {math.MinInt64, 1<<30 - 1}, {math.MaxInt64 - 3, 7},
}

func TestTimesAgainstEachOther(t *testing.T) {
	for _, ref := range extremeTimes {
		codes := map[string]Time{}
		for _, want := range extremeTimes {
			var w writer
			w.time(want, ref)
			r := reader{b: w.b}
			if got := r.time(ref); got != want || r.err != nil || len(r.b) > 0 {
				t.Errorf("%v against %v: got %v, %v, %d bytes left", want, ref, got, r.err, len(r.b))
			}
			if other, twice := codes[string(w.b)]; twice {
				t.Errorf("%v and %v have one code against %v", want, other, ref)
			}
			codes[string(w.b)] = want
		}
	}
	for _, tc := range []struct {
		t    Time
		size int
	}{
		{Time{1_700_000_000, 123_456_789}, 1}, {Time{1_700_000_000, 127_456_789}, 4}, {Time{1_700_000_000, 123_456_790}, 1},
		{Time{1_700_000_031, 123_456_789}, 1}, {Time{1_690_000_000, 123_456_789}, 4}, {Time{1_600_000_000, 0}, 9}, {Time{math.MaxInt64, 0}, 12},
	} {
		var w writer
		if w.time(tc.t, Time{1_700_000_000, 123_456_789}); len(w.b) != tc.size {
			t.Errorf("%v takes %d bytes, want %d", tc.t, len(w.b), tc.size)
		}
	}
}

// handmade is a block of two files, a and b of set 4: mode, uid, gid and caps
// are compared; size, times and so on are recorded. Every field is a piece of
// the packed form.
type handmade struct {
	names         [2]string // shared, length, name
	first, second []uint64  // compared
	recA, recB    []uint64  // recorded
}

const madeRecorded = Size | Mtime | Ctime | Inode | Btime

func canonical() handmade {
	return handmade{
		names:  [2]string{"\x00\x01a", "\x01\x01b"},
		first:  []uint64{uint64(Type | Mode), 4, uint64(File), uint64(GID), 0o644},
		second: []uint64{uint64(Mode), 0o755},
		recA:   []uint64{turn(Type | Mtime | Btime), uint64(madeRecorded), 7<<2 | 1, 100 << 1, 2<<2 | 1},
		recB:   []uint64{turn(Ctime), 3 << 2, 1 << 1},
	}
}

func (h handmade) pack() Packed {
	c, r := writer{b: make([]byte, packedHead)}, writer{}
	c.bytes(nil)
	c.uint(2)
	for i, list := range [][]uint64{h.first, h.second} {
		c.b = append(c.b, h.names[i]...)
		for _, v := range list {
			c.uint(v)
		}
	}
	for _, v := range append(h.recA, h.recB...) {
		r.uint(v)
	}
	binary.BigEndian.PutUint32(c.b[digest.Size:], uint32(len(c.b)-packedHead))
	return append(c.b, r.b...)
}

func TestOneSpelling(t *testing.T) {
	b, err := canonical().pack().Unpack("/d", 0, testSets)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := b.Pack(nil, nil, testSets)
	x, y := b.Entries[0], b.Entries[1]
	if !bytes.Equal(again[digest.Size:], canonical().pack()[digest.Size:]) || string(y.Name) != "ab" || x.Mode != 0o644 || y.Mode != 0o755 ||
		x.Mtime.Sec != 7 || x.Ctime != x.Mtime || x.Btime.Sec != 9 || x.Inode != 100 || y.Inode != 101 || y.Mtime != x.Mtime || y.Ctime.Nsec != 3 || y.Btime != y.Ctime {
		t.Fatalf("%+v", b.Entries)
	}
	for _, tc := range []struct {
		name string
		edit func(*handmade)
	}{
		{"prefix-not-shared", func(h *handmade) { h.names[1] = "\x00\x02ab" }},
		{"first-without-class", func(h *handmade) { h.first = []uint64{uint64(Mode), 0o644} }},
		{"class-again", func(h *handmade) { h.second = []uint64{uint64(Type | Mode), 4, uint64(File), uint64(GID), 0o755} }},
		{"mode-as-before", func(h *handmade) { h.second[1] = 0o644 }},
		{"nobody-as-nobody", func(h *handmade) {
			h.first = []uint64{uint64(Type | Mode | UID), 4, uint64(File), uint64(GID), 0o644, 0}
		}},
		{"always-written", func(h *handmade) { h.second[0] |= uint64(Content) }},
		{"not-compared", func(h *handmade) { h.second = append(h.second, 0); h.second[0] |= uint64(Size) }},
		{"missing", func(h *handmade) { h.second = []uint64{uint64(GID | Mode), 0o755, 1} }},
		{"not-compared-missing", func(h *handmade) { h.first[3] |= uint64(Size) }},
		{"no-attribute", func(h *handmade) { h.second[0] |= 1 << attrBits }},
		{"recorded-first-without-class", func(h *handmade) { h.recA = []uint64{0} }},
		{"recorded-class-again", func(h *handmade) { h.recB = append([]uint64{turn(Type | Ctime), uint64(madeRecorded)}, h.recB[1:]...) }},
		{"recorded-compared", func(h *handmade) { h.recA[1] |= uint64(Mode) }},
		{"recorded-other", func(h *handmade) { h.recA[1] |= uint64(Content) }},
		{"recorded-zero", func(h *handmade) {
			h.recA = []uint64{turn(Type | Size | Mtime | Btime), uint64(madeRecorded), 0, 7<<2 | 1, 100 << 1, 2<<2 | 1}
		}},
		{"recorded-no-attribute", func(h *handmade) { h.recB[0] |= 1 << (attrBits + 1) }},
		{"time-as-before", func(h *handmade) { h.recB = []uint64{turn(Mtime | Ctime), 0, 3 << 2, 1 << 1} }},
		{"change-at-modification", func(h *handmade) { h.recB[1] = 0 }},
		{"birth-at-change", func(h *handmade) { h.recA[4] = 0 }},
		{"seconds-as-nanoseconds", func(h *handmade) { h.recA[2] = zigzag(7*second) << 1 }},
		{"near-but-alone", func(h *handmade) { h.recA = append(append(h.recA[:2:2], 1, 7, 0), h.recA[3:]...) }},
		{"far-as-seconds", func(h *handmade) { h.recA[2] = zigzag(maxDelta)<<1 | 1 }},
		{"far-as-nanoseconds", func(h *handmade) { h.recA[2] = zigzag(maxDelta*second+1) << 1 }},
		{"wide-nanoseconds", func(h *handmade) { h.recA = append(append(h.recA[:2:2], 1, 7, 1<<30), h.recA[3:]...) }},
		{"too-short", func(h *handmade) { h.recB = h.recB[:2] }},
		{"too-long", func(h *handmade) { h.recB = append(h.recB, 0) }},
	} {
		h := canonical()
		tc.edit(&h)
		if _, err := h.pack().Unpack("/d", 0, testSets); !errors.Is(err, ErrPacked) {
			t.Errorf("%s: got %v, want %v", tc.name, err, ErrPacked)
		}
	}
	p := canonical().pack()
	for i := packedHead; i < len(p); i++ { // no number may end in a byte of nothing
		if p[i] < 0x80 {
			long := append(append(append(Packed{}, p[:i]...), p[i]|0x80, 0), p[i+1:]...)
			if n := binary.BigEndian.Uint32(p[digest.Size:]); i < packedHead+int(n) {
				binary.BigEndian.PutUint32(long[digest.Size:], n+1)
			}
			if b, err := long.Unpack("/d", 0, testSets); err == nil {
				t.Errorf("byte %d longer than need be: %+v", i, b.Entries)
			}
		}
	}
}

// A directory as package managers leave it: one date of the contents, unpacked
// one file after the other. Of what a file takes 32 bytes are its digest, 12
// its name.
func TestPackedSize(t *testing.T) {
	sets := Sets{{Mask: All &^ (Inode | Device), DirMask: All &^ (Inode | Device | Mtime | Ctime | Size | Nlink)}}
	for _, tc := range []struct {
		name  string
		times func(i uint32) (m, c, b Time)
		limit int // bytes of 30 files
	}{
		{"written-once", func(i uint32) (m, c, b Time) {
			m = Time{1_700_000_000, 183_356 + i/4*4_000_000}
			return m, m, m
		}, 1670},
		{"unpacked", func(i uint32) (m, c, b Time) {
			return Time{1_600_000_000, 0}, Time{1_700_000_000, 183_356 + i*1_234_567}, Time{1_700_000_000, 123_456 + i*1_234_567}
		}, 1850},
	} {
		b := &Block{Dir: "/usr/share/example"}
		for i := range uint32(30) {
			e := Entry{
				Name: fmt.Appendf(nil, "%02d-example.txt", i), Kind: File, Have: (All | Btime) &^ Target, Mode: 0o644, Nlink: 1,
				Size: 1000 + 37*int64(i), Hashed: 1000 + 37*int64(i), Inode: 3_031_771 + uint64(i*7%30), Device: 0xfe00,
			}
			e.Mtime, e.Ctime, e.Btime = tc.times(i)
			e.Digest = digest.Sum(e.Name)
			b.Entries = append(b.Entries, e)
		}
		p, _ := b.Pack(nil, nil, sets)
		if len(p) > tc.limit || len(p) < tc.limit-100 {
			t.Errorf("%s: %d bytes, want %d at most and not much less", tc.name, len(p), tc.limit)
		}
	}
}

// A block that is used again holds nothing of what was in it before.
func TestUnpackTo(t *testing.T) {
	var room Block
	for seed := range uint64(500) {
		b := randomBlock(rand.New(rand.NewPCG(seed, 7)))
		p, _ := b.Pack(nil, nil, testSets)
		want, err := p.Unpack(b.Dir, 0, testSets)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		room.Dir, room.Part = b.Dir, 0
		if err := p.UnpackTo(&room, testSets); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(want.Entries) == 0 {
			want.Entries, room.Entries = nil, nil
		}
		if !reflect.DeepEqual(*want, room) {
			t.Fatalf("seed %d:\n got %+v\nwant %+v", seed, room, *want)
		}
		if err := p[:len(p)-1].UnpackTo(&room, testSets); err == nil {
			t.Errorf("seed %d: accepts what was cut off", seed)
		}
	}
}
