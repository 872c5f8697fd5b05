package entry

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"intact/scanner/digest"
)

var testSets = Sets{
	{Mask: All, DirMask: All},
	{Mask: All &^ (Inode | Device), DirMask: All &^ (Inode | Device | Mtime | Ctime | Size | Nlink)},
	{Mask: Type | Mode | UID | GID | Content | XattrAttr | ACL | Caps | SELinux | Flags, DirMask: Type | Mode, Log: true},
	{Mask: Type, DirMask: Type},
	{Mask: Type | Mode | UID | GID | Caps, DirMask: Type | Mode | UID | GID | Caps, Sweep: true},
	// Times told apart: one is compared, the one before it only recorded.
	{Mask: Type | Size | Ctime, DirMask: Type | Mode | Ctime},
	{Mask: Type | Content | Btime, DirMask: Type | Mtime | Btime},
}

// randomEntry makes an entry as a scanner would, with extremes.
func randomEntry(r *rand.Rand, name string) Entry {
	kind := File + Kind(r.IntN(7))
	e := Entry{
		Name: []byte(name), Set: uint16(r.IntN(len(testSets))), Kind: kind,
		Have: (All|Btime)&Applicable(kind)&^Attr(r.Uint32()&r.Uint32()&r.Uint32()) | Type,
	}
	wide := func() uint64 { return r.Uint64() >> r.IntN(64) }
	when := func() Time { return Time{int64(wide()) * int64(1-2*r.IntN(2)), uint32(r.IntN(1e9))} }
	some := func() []byte {
		if r.IntN(2) == 0 {
			return nil
		}
		return []byte(strings.Repeat("\x00v", r.IntN(9)))
	}
	if kind == CharDevice || kind == BlockDevice {
		e.Rdev = wide()
	}
	put := func(a Attr, f func()) {
		if e.Have&a != 0 {
			f()
		}
	}
	put(Mode, func() { e.Mode = uint16(r.IntN(0o10000)) })
	put(UID, func() { e.UID = uint32(wide()) })
	put(GID, func() { e.GID = uint32(wide()) })
	put(Size, func() { e.Size = int64(wide() >> 1) })
	put(Mtime, func() { e.Mtime = when() })
	put(Ctime, func() { e.Ctime = when() })
	put(Btime, func() { e.Btime = when() })
	put(Inode, func() { e.Inode = wide() })
	put(Device, func() { e.Device = wide() })
	put(Nlink, func() { e.Nlink = uint32(wide()) })
	put(Flags, func() { e.Flags = uint32(wide()) })
	put(Target, func() { e.Target = append([]byte{}, some()...) })
	put(Content, func() { e.Digest, e.Hashed = digest.Sum(some()), e.Size })
	put(ACL, func() { e.ACL, e.DefACL = some(), some() })
	put(Caps, func() { e.Caps = some() })
	put(SELinux, func() { e.Label = some() })
	put(XattrAttr, func() {
		for i := range r.IntN(4) {
			e.Xattr = append(e.Xattr, Xattr{[]byte(fmt.Sprintf("user.%d", i)), uint32(wide()), digest.Sum(some())})
		}
	})
	return e
}

// neighbour makes an entry that has nearly all in common with e, as those of a
// directory have.
func neighbour(r *rand.Rand, e *Entry, name []byte) Entry {
	n := *e.Clone()
	n.Name = name
	for range r.IntN(4) {
		switch r.IntN(9) {
		case 0:
			n.Have ^= Applicable(n.Kind) & (1 << r.IntN(attrBits)) &^ Type
		case 1:
			n.Mtime.Nsec = uint32(r.IntN(1 << 30))
		case 2:
			n.Mtime.Sec += int64(r.IntN(3)) << r.IntN(63)
		case 3:
			n.Ctime = n.Mtime
		case 4:
			n.Btime = n.Ctime
		case 5:
			n.Rdev, n.Inode = 0, n.Inode+1
		case 6:
			n.UID++
		case 7:
			n.Flags, n.ACL = 0, []byte{}
		case 8:
			n.Set = uint16(r.IntN(len(testSets)))
		}
	}
	if !isDevice(n.Kind) {
		n.Rdev = 0
	}
	return n
}

func randomBlock(r *rand.Rand) *Block {
	b := &Block{Dir: "/d"}
	names := map[string]bool{}
	for range r.IntN(12) {
		n := strings.Repeat("ab", r.IntN(3)) + string(rune('a'+r.IntN(20))) + []string{"", "\xff", "\n", "-"}[r.IntN(4)]
		names[n] = true
	}
	if r.IntN(3) == 0 {
		b.Dir, names[""] = "/", true
	}
	for n := range names {
		b.Entries = append(b.Entries, randomEntry(r, n))
	}
	slices.SortFunc(b.Entries, func(x, y Entry) int { return bytes.Compare(x.Name, y.Name) })
	for i := range b.Entries {
		if i > 0 && r.IntN(3) > 0 {
			b.Entries[i] = neighbour(r, &b.Entries[r.IntN(i)], b.Entries[i].Name)
		}
	}
	if r.IntN(4) == 0 {
		b.Next = []byte("zz")
	}
	return b
}

// stored returns what a block keeps of e: what its set compares, and what is
// recorded beside.
func stored(e *Entry) *Entry {
	s := e.Clone()
	set := testSets[e.Set]
	s.Have &= set.For(e.Kind) | recordedBits
	if !(set.Log && s.Have&Content != 0) {
		s.Hashed = 0
		if s.Have&Content != 0 && s.Have&Size != 0 {
			s.Hashed = e.Size
		}
	}
	return s
}

// equalEntries compares all that is known of two entries.
func equalEntries(a, b *Entry) bool {
	return bytes.Equal(a.Name, b.Name) && a.Set == b.Set && a.Kind == b.Kind && a.Have == b.Have &&
		Differ(a, b, All|Btime) == 0
}

func TestPackUnpack(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		b := randomBlock(r)
		p, _ := b.Pack([]byte("before"), nil, testSets)
		p = p[len("before"):]
		if err := p.Verify(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := p.Unpack(b.Dir, 0, testSets)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(got.Next, b.Next) || len(got.Entries) != len(b.Entries) {
			t.Fatalf("seed %d: got %+v", seed, got)
		}
		for i := range b.Entries {
			if want := stored(&b.Entries[i]); !equalEntries(&got.Entries[i], want) {
				t.Errorf("seed %d:\n got %+v\nwant %+v", seed, got.Entries[i], *want)
			}
			for _, row := range table {
				if e := &got.Entries[i]; e.Have&row.Bit == 0 && !row.Equal(e, &Entry{}) {
					t.Errorf("seed %d: %s is not known, but something is in it: %+v", seed, row.Name, *e)
				}
			}
		}
	}
}

// The compared digest depends on what is compared and on nothing else.
func TestComparedDigest(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		b := randomBlock(r)
		if len(b.Entries) == 0 {
			continue
		}
		before, _ := b.Pack(nil, nil, testSets)
		i := r.IntN(len(b.Entries))
		e := b.Entries[i].Clone()
		other := randomEntry(r, string(e.Name))
		other.Set, other.Kind, other.Rdev = e.Set, e.Kind, e.Rdev
		other.Have = other.Have&Applicable(e.Kind) | Type
		b.Entries[i] = other
		after, _ := b.Pack(nil, nil, testSets)
		mask := testSets[e.Set].For(e.Kind)
		same := Differ(e, &other, mask) == 0 && Lost(e, &other, mask) == 0 && Lost(&other, e, mask) == 0
		if got := before.Compared() == after.Compared(); got != same {
			t.Errorf("seed %d: compared digests equal: %v, attributes equal: %v", seed, got, same)
		}
	}
}

// checkPacked: what Unpack accepts is what Pack writes.
func checkPacked(t *testing.T, dir Path, p []byte) {
	b, err := Packed(p).Unpack(dir, 0, testSets)
	if err != nil {
		if !errors.Is(err, ErrPacked) {
			t.Fatalf("an error of another kind: %v", err)
		}
		return
	}
	again, _ := b.Pack(nil, nil, testSets)
	// Unpack leaves the digest to Verify.
	if !bytes.Equal(again[digest.Size:], p[digest.Size:]) {
		t.Fatalf("accepted\n%x but packs to\n%x", p, []byte(again))
	}
}

func TestEveryFlippedByte(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 5))
		b := randomBlock(r)
		good, _ := b.Pack(nil, nil, testSets)
		for i := range good {
			for _, x := range []byte{1, 0x80, byte(1 + r.IntN(255))} {
				bad := slices.Clone(good)
				bad[i] ^= x
				checkPacked(t, b.Dir, bad)
				if bad.Verify() != nil {
					continue
				}
				got, err := bad.Unpack(b.Dir, 0, testSets)
				if err != nil {
					continue
				}
				same := len(got.Entries) == len(b.Entries)
				for j := range b.Entries {
					same = same && equalEntries(&got.Entries[j], stored(&b.Entries[j]))
				}
				if same {
					t.Errorf("seed %d: byte %d ^ %#x is not noticed", seed, i, x)
				}
			}
		}
		for n := range good {
			if good[:n].Verify() == nil {
				if _, err := good[:n].Unpack(b.Dir, 0, testSets); err == nil {
					t.Errorf("seed %d: accepted %d bytes of %d", seed, n, len(good))
				}
			}
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	entry := func(n string) Entry { return Entry{Name: []byte(n), Kind: File, Have: Type, Set: 3} }
	log := Entry{Name: []byte("l"), Kind: File, Have: Type | Content, Set: 2, Hashed: -2}
	for _, tc := range []struct {
		name string
		dir  Path
		b    Block
	}{
		{"order", "/d", Block{Entries: []Entry{entry("b"), entry("a")}}},
		{"twice", "/d", Block{Entries: []Entry{entry("a"), entry("a")}}},
		{"slash", "/d", Block{Entries: []Entry{entry("a/b")}}},
		{"nul", "/d", Block{Entries: []Entry{entry("a\x00")}}},
		{"dot", "/d", Block{Entries: []Entry{entry(".")}}},
		{"dot-dot", "/d", Block{Entries: []Entry{entry("..")}}},
		{"no-name-below-root", "/d", Block{Entries: []Entry{entry("")}}},
		{"next-before-last", "/d", Block{Entries: []Entry{entry("b")}, Next: []byte("b")}},
		{"negative-length-of-a-log", "/d", Block{Entries: []Entry{log}}},
		{"too-many", "/d", Block{Entries: make([]Entry, PartSize+1)}},
	} {
		p, _ := tc.b.Pack(nil, nil, testSets)
		if _, err := p.Unpack(tc.dir, 0, testSets); !errors.Is(err, ErrPacked) {
			t.Errorf("%s: got %v, want %v", tc.name, err, ErrPacked)
		}
	}
	root := Block{Entries: []Entry{entry(""), entry("a")}}
	p, _ := root.Pack(nil, nil, testSets)
	if _, err := p.Unpack("/", 0, testSets); err != nil {
		t.Errorf("the root's own entry: %v", err)
	}
	if _, err := p.Unpack("/", 0, testSets[:3]); err == nil {
		t.Error("an attribute set that is not there is accepted")
	}
}

func FuzzUnpack(f *testing.F) {
	for seed := range uint64(8) {
		p, _ := randomBlock(rand.New(rand.NewPCG(seed, 6))).Pack(nil, nil, testSets)
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		Packed(p).Verify()
		checkPacked(t, "/", p)
		checkPacked(t, "/d", p)
	})
}

func TestEntryByItself(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 7))
		e := randomEntry(r, "n")
		b := AppendEntry(nil, &e)
		got, rest, err := DecodeEntry(append(b, 1, 2))
		if err != nil || len(rest) != 2 || !equalEntries(got, &e) {
			t.Errorf("seed %d: %v, %d bytes left\n got %+v\nwant %+v", seed, err, len(rest), got, e)
		}
		for n := range b {
			if _, _, err := DecodeEntry(b[:n:n]); !errors.Is(err, ErrPacked) {
				t.Fatalf("seed %d: accepts %d bytes of %d: %v", seed, n, len(b), err)
			}
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for seed := range uint64(8) {
		e := randomEntry(rand.New(rand.NewPCG(seed, 8)), "n")
		f.Add(AppendEntry(nil, &e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := DecodeEntry(b)
		if err != nil {
			return
		}
		if again := AppendEntry(nil, e); !bytes.Equal(again, b[:len(b)-len(rest)]) {
			t.Fatalf("accepted %x but encodes to %x", b, again)
		}
	})
}

func TestCloneSharesNothing(t *testing.T) {
	for seed := range uint64(50) {
		e := randomEntry(rand.New(rand.NewPCG(seed, 9)), "n")
		want := AppendEntry(nil, &e)
		c := e.Clone()
		for _, s := range [][]byte{e.Name, e.Target, e.ACL, e.DefACL, e.Caps, e.Label} {
			for i := range s {
				s[i]++
			}
		}
		for i := range e.Xattr {
			e.Xattr[i].Name[0]++
			e.Xattr[i].Size++
		}
		if !bytes.Equal(AppendEntry(nil, c), want) {
			t.Errorf("seed %d: the clone changed", seed)
		}
	}
}

func TestDifferAndLost(t *testing.T) {
	a := Entry{Kind: File, Have: All &^ Target, Mode: 0o644, Hashed: 3}
	for _, tc := range []struct {
		name         string
		edit         func(*Entry)
		mask         Attr
		differ, lost Attr
	}{
		{"equal", func(e *Entry) {}, All, 0, 0},
		{"empty-capability", func(e *Entry) { e.Caps = []byte{} }, All, Caps, 0},
		{"empty-acl", func(e *Entry) { e.DefACL = []byte{} }, All, ACL, 0},
		{"hashed-less", func(e *Entry) { e.Hashed = 2 }, All, Content, 0},
		{"not-in-the-mask", func(e *Entry) { e.Mode = 1 }, All &^ Mode, 0, 0},
		{"unknown-now", func(e *Entry) { e.Mode = 1; e.Have &^= Mode | UID }, All, 0, Mode | UID},
		{"type-alone", func(e *Entry) { e.Kind, e.Mode, e.Have = Dir, 1, Type }, All, Type, 0},
		{"xattr-name", func(e *Entry) { e.Xattr = []Xattr{{Name: []byte("a")}} }, All, XattrAttr, 0},
	} {
		b := *a.Clone()
		tc.edit(&b)
		if d, l := Differ(&a, &b, tc.mask), Lost(&a, &b, tc.mask); d != tc.differ || l != tc.lost {
			t.Errorf("%s: differ %v lost %v, want %v and %v", tc.name, d, l, tc.differ, tc.lost)
		}
	}
}

func TestAttrTable(t *testing.T) {
	for i, row := range Table() {
		if row.Bit != 1<<i {
			t.Errorf("%s stands in row %d", row.Name, i)
		}
		got, ok := ParseAttr(row.Name)
		if want := row.Bit & All; got != want || ok != (want != 0) {
			t.Errorf("ParseAttr(%q) = %v, %v", row.Name, got, ok)
		}
	}
	if _, ok := ParseAttr("nothing"); ok {
		t.Error("parses what is not there")
	}
	for k := File; k <= BlockDevice; k++ {
		if got, ok := ParseKind(k.String()); got != k || !ok {
			t.Errorf("ParseKind(%q) = %v, %v", k, got, ok)
		}
	}
}
