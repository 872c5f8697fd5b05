package entry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"intact/scanner/digest"
)

// reader consumes the canonical form; the first error sticks.
type reader struct {
	b     []byte
	names []byte // room for names that are not in b as they are
	known Attr   // of the entry: what a time may be told against
	err   error
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
	b := &Block{Dir: dir, Part: part}
	if err := p.UnpackTo(b, sets); err != nil {
		return nil, err
	}
	return b, nil
}

// UnpackTo is Unpack for the directory and part that b names. The entries that
// b has are overwritten, and so is all of it where there is an error.
func (p Packed) UnpackTo(b *Block, sets Sets) error {
	b.Next, b.Entries = nil, b.Entries[:0]
	if len(p) < packedHead {
		return fmt.Errorf("%w: %d bytes", ErrPacked, len(p))
	}
	n := binary.BigEndian.Uint32(p[digest.Size:])
	body := p[packedHead:]
	if uint64(n) > uint64(len(body)) {
		return fmt.Errorf("%w: compared part", ErrPacked)
	}
	c, r := reader{b: body[:n]}, reader{b: body[n:]}
	if next := c.bytes(); len(next) > 0 {
		b.Next = next
	}
	count := c.uint()
	if count > PartSize {
		return fmt.Errorf("%w: %d entries", ErrPacked, count)
	}
	b.Entries = slices.Grow(b.Entries, int(count))[:count]
	clear(b.Entries)
	var last lasts
	for i := range b.Entries {
		unpackEntry(&c, &r, b, i, &last, sets)
		if c.err != nil || r.err != nil {
			return errors.Join(c.err, r.err)
		}
	}
	if c.err != nil || len(c.b)+len(r.b) != 0 {
		return fmt.Errorf("%w: trailing bytes", ErrPacked)
	}
	if b.Next != nil && count > 0 && bytes.Compare(b.Entries[count-1].Name, b.Next) >= 0 {
		return fmt.Errorf("%w: next name out of order", ErrPacked)
	}
	return nil
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
		name = c.join(last[:n], name)
	}
	if i > 0 && (bytes.Compare(last, name) >= 0 || shared(last, name) != int(n)) {
		c.fail("names out of order")
	}
	if !validName(name) && !(len(name) == 0 && i == 0 && b.Dir == "/" && b.Part == 0) {
		c.fail("name")
	}
	return name
}

// join returns a and b as one slice, in the room that names share.
func (r *reader) join(a, b []byte) []byte {
	if need := len(a) + len(b); cap(r.names)-len(r.names) < need {
		r.names = make([]byte, 0, max(need, 512))
	}
	start := len(r.names)
	r.names = append(append(r.names, a...), b...)
	return r.names[start:len(r.names):len(r.names)]
}

// unpackEntry reads entry i into b. It undoes packEntry, and refuses whatever
// packEntry would have written otherwise.
func unpackEntry(c, r *reader, b *Block, i int, last *lasts, sets Sets) {
	e := &b.Entries[i]
	prev := &none
	if i > 0 {
		prev = &b.Entries[i-1]
	}
	name := unpackName(c, b, i)
	d := Attr(c.narrow(attrBits))
	ref := prev
	if d&Type != 0 {
		ref = c.class(e, prev, last, sets)
		e.inherit(ref)
	} else {
		*e = *prev
		if i == 0 {
			c.fail("type")
		}
	}
	if c.err != nil {
		return
	}
	e.Name, e.Hashed = name, -1
	set := sets[e.Set]
	compared := set.For(e.Kind)
	e.Have &= compared
	c.get(e, ref, e.Have&^Type, d&^Type, e.Have)
	if set.Log && e.Have&Content != 0 {
		if e.Hashed = c.int(); e.Hashed < 0 {
			c.fail("hashed length")
		}
	}
	unpackRecorded(r, e, ref, compared)
	if e.Hashed < 0 {
		e.Hashed = 0
		if e.Have&Content != 0 {
			e.Hashed = e.Size
		}
	}
	*last.of(e.Kind) = e
}

// inherit gives e, of which class was read, all else that ref has.
func (e *Entry) inherit(ref *Entry) {
	set, kind, rdev, have := e.Set, e.Kind, e.Rdev, e.Have
	*e = *ref
	e.Set, e.Kind, e.Rdev, e.Have = set, kind, rdev, have
}

// class reads set, type and what is missing into e and returns what e is told
// against.
func (r *reader) class(e, prev *Entry, last *lasts, sets Sets) *Entry {
	s := r.uint()
	if s >= uint64(len(sets)) {
		r.fail("attribute set")
		return &none
	}
	e.Set = uint16(s)
	getType(r, e, &none)
	want := sets[s].For(e.Kind) &^ Type
	missing := Attr(r.narrow(32))
	if missing&^want != 0 {
		r.fail("missing attributes")
	}
	e.Have = Type | want&^missing
	ref := classmate(*last.of(e.Kind), e.Kind, e.Set, want, missing)
	if ref == prev && ref != &none && e.Rdev == ref.Rdev {
		r.fail("the same type again")
	}
	return ref
}

// get reads the attributes m of e: those of d, and those that are always
// written. The others are as expected, and e has them from ref already, but
// for times.
func (r *reader) get(e, ref *Entry, m, d, known Attr) {
	if d&^(m&sticky) != 0 {
		r.fail("attributes")
	}
	r.known = known
	for s := m & (d | ^sticky | times); s != 0 && r.err == nil; s &= s - 1 {
		row := &table[bits.TrailingZeros32(uint32(s))]
		switch {
		case row.Bit&(d|^sticky) != 0:
			row.get(r, e, ref)
		case row.Bit&times != 0:
			*e.time(row.Bit) = expect(row.Bit, known, e, ref)
		}
	}
	if r.err == nil && unexpected(e, ref, d, known) != d {
		r.fail("an attribute as expected")
	}
}

// forget makes the recorded attributes m of e zero: a zero byte is the zero of
// every one of them.
func forget(e *Entry, m Attr) {
	if m == 0 {
		return
	}
	r := reader{b: make([]byte, bits.OnesCount32(uint32(m)))}
	for ; m != 0; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].get(&r, e, &none)
	}
}

// unpackRecorded reads the recorded part of e, whose fields are still those of
// ref.
func unpackRecorded(r *reader, e, ref *Entry, compared Attr) {
	d := turnBack(r.narrow(attrBits))
	had := recorded(ref, compared)
	rec := had
	if d&Type != 0 {
		rec = Attr(r.narrow(32))
		if rec&^(recordedBits&^compared&Applicable(e.Kind)) != 0 || rec == had && ref != &none {
			r.fail("recorded attributes")
			return
		}
		forget(e, had)
		ref = &none
	} else if ref == &none {
		r.fail("recorded attributes")
		return
	}
	e.Have |= rec
	r.get(e, ref, rec, d&^Type, e.Have)
}

func validName(n []byte) bool {
	return len(n) > 0 && bytes.IndexByte(n, 0) < 0 && bytes.IndexByte(n, '/') < 0 &&
		string(n) != "." && string(n) != ".."
}
