package entry

import (
	"bytes"
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

// writer appends the canonical form. The deltas run over the entries of a
// block, separately in each part.
type writer struct {
	b    []byte
	prev deltas
}

type deltas struct {
	inode, device uint64
	mtime         int64
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
	var last []byte
	for i := range b.Entries {
		e := &b.Entries[i]
		n := shared(last, e.Name)
		c.uint(uint64(n))
		c.bytes(e.Name[n:])
		last = e.Name
		packEntry(&c, &r, e, sets[e.Set])
	}
	head := c.b[start : start+packedHead]
	body := c.b[start+packedHead:]
	sum := digest.Sum(body)
	copy(head, sum[:])
	binary.BigEndian.PutUint32(head[digest.Size:], uint32(len(body)))
	return append(c.b, r.b...), r.b
}

func packEntry(c, r *writer, e *Entry, set Set) {
	mask := set.For(e.Kind)
	c.uint(uint64(e.Set))
	putType(c, e)
	want := mask &^ Type
	c.uint(uint64(want &^ e.Have))
	for m := want & e.Have; m != 0; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].put(c, e)
	}
	if set.Log && want&e.Have&Content != 0 {
		c.int(e.Hashed)
	}
	rec := recordedBits & e.Have &^ mask
	r.uint(uint64(rec))
	for m := rec; m != 0; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].put(r, e)
	}
}

func shared(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// reader consumes the canonical form; the first error sticks.
type reader struct {
	b    []byte
	prev deltas
	err  error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrPacked, what)
		r.b = nil
	}
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail("number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v := r.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("length")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte { return r.take(r.uint()) }

func (r *reader) optional() []byte {
	n := r.uint()
	if n == 0 || r.err != nil {
		return nil
	}
	return r.take(n - 1)
}

// narrow reads a number that must fit in n bits.
func (r *reader) narrow(n int) uint64 {
	v := r.uint()
	if v>>n != 0 {
		r.fail("number out of range")
		return 0
	}
	return v
}

// Unpack decodes p, the value stored for (dir, part). The entries' slices
// point into p. Every length is checked; names must be sorted, unique and
// free of NUL and '/'. It does not verify the digest: see Verify.
func (p Packed) Unpack(dir Path, part uint32, sets Sets) (*Block, error) {
	if len(p) < packedHead {
		return nil, fmt.Errorf("%w: %d bytes", ErrPacked, len(p))
	}
	n := binary.BigEndian.Uint32(p[digest.Size:])
	body := p[packedHead:]
	if uint64(n) > uint64(len(body)) {
		return nil, fmt.Errorf("%w: compared part", ErrPacked)
	}
	c, r := reader{b: body[:n]}, reader{b: body[n:]}
	b := &Block{Dir: dir, Part: part}
	if next := c.bytes(); len(next) > 0 {
		b.Next = next
	}
	count := c.uint()
	if count > PartSize {
		return nil, fmt.Errorf("%w: %d entries", ErrPacked, count)
	}
	b.Entries = make([]Entry, count)
	for i := range b.Entries {
		unpackEntry(&c, &r, b, i, sets)
		if err := errors.Join(c.err, r.err); err != nil {
			return nil, err
		}
	}
	if c.err != nil || len(c.b)+len(r.b) != 0 {
		return nil, fmt.Errorf("%w: trailing bytes", ErrPacked)
	}
	if b.Next != nil && count > 0 && bytes.Compare(b.Entries[count-1].Name, b.Next) >= 0 {
		return nil, fmt.Errorf("%w: next name out of order", ErrPacked)
	}
	return b, nil
}

// unpackName reads the name of entry i, which follows that of entry i-1.
func unpackName(c *reader, b *Block, i int) []byte {
	var last []byte
	if i > 0 {
		last = b.Entries[i-1].Name
	}
	n := c.uint()
	name := c.bytes()
	if n > uint64(len(last)) {
		c.fail("shared prefix")
		return nil
	}
	if n > 0 {
		name = append(append(make([]byte, 0, int(n)+len(name)), last[:n]...), name...)
	}
	if i > 0 && (bytes.Compare(last, name) >= 0 || shared(last, name) != int(n)) {
		c.fail("names out of order")
	}
	if !validName(name) && !(len(name) == 0 && i == 0 && b.Dir == "/" && b.Part == 0) {
		c.fail("name")
	}
	return name
}

func unpackEntry(c, r *reader, b *Block, i int, sets Sets) {
	e := &b.Entries[i]
	e.Name = unpackName(c, b, i)
	s := c.uint()
	if s >= uint64(len(sets)) {
		c.fail("attribute set")
		return
	}
	e.Set = uint16(s)
	set := sets[s]
	getType(c, e)
	if c.err != nil {
		return
	}
	mask := set.For(e.Kind)
	want := mask &^ Type
	missing := Attr(c.narrow(32))
	if missing&^want != 0 {
		c.fail("missing attributes")
	}
	e.Have = Type | want&^missing
	for m := want &^ missing; m != 0 && c.err == nil; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].get(c, e)
	}
	e.Hashed = -1
	if set.Log && e.Have&Content != 0 {
		if e.Hashed = c.int(); e.Hashed < 0 {
			c.fail("hashed length")
		}
	}
	rec := Attr(r.narrow(32))
	if rec&^(recordedBits&^mask&Applicable(e.Kind)) != 0 {
		r.fail("recorded attributes")
	}
	for m := rec; m != 0 && r.err == nil; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].get(r, e)
	}
	e.Have |= rec
	if e.Hashed < 0 {
		e.Hashed = 0
		if e.Have&Content != 0 {
			e.Hashed = e.Size
		}
	}
}

func validName(n []byte) bool {
	return len(n) > 0 && bytes.IndexByte(n, 0) < 0 && bytes.IndexByte(n, '/') < 0 &&
		string(n) != "." && string(n) != ".."
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
