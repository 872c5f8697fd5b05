package entry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"intact/scanner/digest"
)

// ErrPacked is wrapped by every error of Unpack: the bytes are not what Pack
// writes.
var ErrPacked = errors.New("malformed directory block")

// Packed is a stored directory part; see the package documentation.
type Packed []byte

const packedHead = digest.Size + 4

// Compared returns the digest of the compared part, zero if p is too short.
func (p Packed) Compared() (d digest.Digest) {
	if len(p) >= digest.Size {
		copy(d[:], p)
	}
	return d
}

// Next returns the first name of the part that follows p, nil if p is the last
// part or too short to tell. It points into p.
func (p Packed) Next() []byte {
	if len(p) < packedHead {
		return nil
	}
	r := reader{b: p[packedHead:]}
	if next := r.bytes(); len(next) > 0 {
		return next
	}
	return nil
}

// recordedBits are the attributes kept although they are not compared.
const recordedBits = Mode | UID | GID | Size | Mtime | Ctime | Inode | Nlink | Device | Btime

// sticky are the attributes that often are as expected: they are written only
// where they are not.
const sticky = (All | Btime) &^ (Inode | Target | Content)

// attrBits is how many attributes there are.
const attrBits = 18

// none is what an entry is told against that is the first of its class. It is
// never written to.
var none Entry

// classmate returns ref if it is of the same class as an entry of that kind and
// set that lacks missing: the same attributes are compared of both, and the
// same of them are known. None stands for every other.
func classmate(ref *Entry, kind Kind, set uint16, want, missing Attr) *Entry {
	if ref == nil || ref.Kind != kind || ref.Set != set || want&^ref.Have != missing {
		return &none
	}
	return ref
}

// lasts are the last entries of a block so far, by kind. Those of some other
// kind than e differ from it in most that files of one directory have in
// common.
type lasts [8]*Entry

func (l *lasts) of(k Kind) **Entry { return &l[k%8] }

// recorded returns the attributes of e that are kept although they are not
// compared.
func recorded(e *Entry, compared Attr) Attr { return recordedBits & e.Have &^ compared }

// unexpected returns the sticky attributes of m that must be written.
func unexpected(e, ref *Entry, m, known Attr) (d Attr) {
	for s := m & sticky &^ times; s != 0; s &= s - 1 {
		if row := &table[bits.TrailingZeros32(uint32(s))]; !row.Equal(e, ref) {
			d |= row.Bit
		}
	}
	return d | unexpectedTimes(e, ref, m, known)
}

// writer appends the canonical form.
type writer struct {
	b     []byte
	known Attr // of the entry: what a time may be told against
}

func (w *writer) uint(v uint64) { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)   { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) bytes(v []byte) {
	w.uint(uint64(len(v)))
	w.b = append(w.b, v...)
}

// optional tells nil (0) from empty (1).
func (w *writer) optional(v []byte) {
	if v == nil {
		w.uint(0)
		return
	}
	w.uint(uint64(len(v)) + 1)
	w.b = append(w.b, v...)
}

// Pack appends the canonical packed form of b to dst and returns it. The
// entries must be sorted by name and refer to sets. scratch is a reusable
// buffer for the recorded part; the grown buffer is returned with the result.
func (b *Block) Pack(dst, scratch []byte, sets Sets) (Packed, []byte) {
	start := len(dst)
	c := writer{b: append(dst, make([]byte, packedHead)...)}
	r := writer{b: scratch[:0]}
	c.bytes(b.Next)
	c.uint(uint64(len(b.Entries)))
	var last lasts
	prev := &none
	for i := range b.Entries {
		e := &b.Entries[i]
		n := shared(prev.Name, e.Name)
		c.uint(uint64(n))
		c.bytes(e.Name[n:])
		packEntry(&c, &r, e, prev, *last.of(e.Kind), sets[e.Set])
		*last.of(e.Kind) = e
		prev = e
	}
	head := c.b[start : start+packedHead]
	body := c.b[start+packedHead:]
	sum := digest.Sum(body)
	copy(head, sum[:])
	binary.BigEndian.PutUint32(head[digest.Size:], uint32(len(body)))
	return append(c.b, r.b...), r.b
}

// packEntry writes e, which follows prev; last is the last entry of its kind.
// What goes to c must not depend on what is only recorded, neither of e nor of
// any other entry: recorded attributes would be compared.
func packEntry(c, r *writer, e, prev, last *Entry, set Set) {
	compared := set.For(e.Kind)
	want := compared &^ Type
	have := want & e.Have
	ref := classmate(last, e.Kind, e.Set, want, want&^e.Have)
	c.known = have
	d := unexpected(e, ref, have, have)
	if ref == &none || ref != prev || e.Rdev != ref.Rdev && isDevice(e.Kind) {
		c.uint(uint64(d | Type))
		c.uint(uint64(e.Set))
		putType(c, e, ref)
		c.uint(uint64(want &^ e.Have))
	} else {
		c.uint(uint64(d))
	}
	c.put(e, ref, have&(d|^sticky))
	if set.Log && have&Content != 0 {
		c.int(e.Hashed)
	}

	rec := recorded(e, compared)
	r.known = have | rec
	if ref == &none || recorded(ref, compared) != rec {
		d = unexpected(e, &none, rec, r.known)
		r.uint(turn(d | Type))
		r.uint(uint64(rec))
		r.put(e, &none, rec&(d|^sticky))
		return
	}
	d = unexpected(e, ref, rec, r.known)
	r.uint(turn(d))
	r.put(e, ref, rec&(d|^sticky))
}

// put writes the attributes m of e.
func (w *writer) put(e, ref *Entry, m Attr) {
	for ; m != 0; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].put(w, e, ref)
	}
}

// turn makes the time of birth, the last attribute and often the only one that
// is not as expected in the recorded part, the lowest bit: one byte is enough.
func turn(a Attr) uint64 { return uint64(a&^Btime)<<1 | uint64(a/Btime) }

func turnBack(v uint64) Attr { return Attr(v>>1) | Attr(v&1)*Btime }

func shared(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Verify recomputes the digest of the compared part.
func (p Packed) Verify() error {
	if len(p) < packedHead {
		return fmt.Errorf("%w: %d bytes", ErrPacked, len(p))
	}
	n := binary.BigEndian.Uint32(p[digest.Size:])
	if uint64(n) > uint64(len(p)-packedHead) {
		return fmt.Errorf("%w: compared part", ErrPacked)
	}
	if digest.Sum(p[packedHead:packedHead+int(n)]) != p.Compared() {
		return fmt.Errorf("%w: digest of the compared part", ErrPacked)
	}
	return nil
}
