package entry

import (
	"fmt"
	"math/bits"
)

// AppendEntry appends e to dst, complete and by itself: everything in e.Have,
// whatever its attribute set compares. DecodeEntry is the inverse. Fields
// outside Have are not kept.
func AppendEntry(dst []byte, e *Entry) []byte {
	w := writer{b: dst}
	w.uint(uint64(e.Set))
	w.bytes(e.Name)
	putType(&w, e, &none)
	have := (e.Have | Type) & Applicable(e.Kind)
	w.known = have
	w.uint(uint64(have))
	for m := have &^ Type; m != 0; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].put(&w, e, &none)
	}
	if have&Content != 0 {
		w.int(e.Hashed)
	}
	return w.b
}

// DecodeEntry reads one entry that AppendEntry wrote and returns it with the
// bytes behind it. The entry's slices point into b. Errors wrap ErrPacked.
func DecodeEntry(b []byte) (*Entry, []byte, error) {
	r := reader{b: b}
	e := &Entry{}
	e.Set = uint16(r.narrow(16))
	e.Name = r.bytes()
	if r.err == nil && len(e.Name) > 0 && !validName(e.Name) {
		r.fail("name")
	}
	getType(&r, e, &none)
	have := Attr(r.narrow(32))
	if r.err != nil {
		return nil, nil, fmt.Errorf("decode entry: %w", r.err)
	}
	if have&Type == 0 || have&^Applicable(e.Kind) != 0 {
		r.fail("attributes")
	}
	e.Have, r.known = have, have
	for m := have &^ Type; m != 0 && r.err == nil; m &= m - 1 {
		table[bits.TrailingZeros32(uint32(m))].get(&r, e, &none)
	}
	if have&Content != 0 {
		if e.Hashed = r.int(); e.Hashed < 0 {
			r.fail("hashed length")
		}
	}
	if r.err != nil {
		return nil, nil, fmt.Errorf("decode entry: %w", r.err)
	}
	return e, r.b, nil
}
