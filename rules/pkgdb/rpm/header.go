// Package rpm reads the database of installed packages of rpm(8): what each
// package holds, and whether a pinned key signed that.
//
// The database is a table of headers, one a package, as SQLite keeps it
// (rpmdb.sqlite with its -wal), in rpm's own format ndb (Packages.db), or as a
// hash table of Berkeley DB (Packages, rpm before 4.16). All are read by code of
// this package, by descriptor, in bounded memory, and nothing is written.
//
// A header is two big-endian numbers, il and dl, il index entries of 16 bytes
// (tag, type, offset, count) and dl bytes of values. The first entry is a
// region: it spans the entries and values of the package as it was built, and
// those bytes, behind rpm's magic number, are what a signature is of. What rpm
// adds at installation, times, states and the signatures, stands behind.
// An intruder may have written all of it.
package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrHeader is a header that no rpm wrote.
var ErrHeader = errors.New("malformed header")

// Bounds of a header, in entries and bytes: those of the largest packages by
// far.
const (
	MaxHeader  = 64 << 20
	maxEntries = 4096
	entrySize  = 16
	introSize  = 8
)

// magic stands before a header in a package, and is signed with it.
var magic = [8]byte{0x8e, 0xad, 0xe8, 0x01}

// Header is one package's. It refers to the bytes that it was parsed from.
type Header struct {
	index  []byte // entries, the region's first
	store  []byte // their values
	nsig   int    // entries that the region spans, itself included; 0: no region
	dsig   int    // bytes of store that it spans, its trailer included
	region uint32 // its tag
	values []value
	beside uint32 // a tag of content that does not stand in the region, 0 if none
}

// value is one entry, its bytes known to lie inside of the store.
type value struct {
	tag, kind, count uint32
	data             []byte
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrHeader, fmt.Sprintf(format, args...))
}

// Parse reads a header as the database holds it. Errors wrap ErrHeader.
func Parse(blob []byte) (*Header, error) {
	if len(blob) < introSize || len(blob) > MaxHeader {
		return nil, malformed("%d bytes", len(blob))
	}
	il, dl := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	if il == 0 || il > maxEntries || uint64(introSize)+uint64(il)*entrySize+uint64(dl) != uint64(len(blob)) {
		return nil, malformed("%d entries and %d bytes do not make %d", il, dl, len(blob))
	}
	cut := introSize + int(il)*entrySize
	h := &Header{index: blob[introSize:cut], store: blob[cut:], values: make([]value, 0, il)}
	first := 0
	switch tag, _, _, _ := h.entry(0); tag {
	case tagImmutable, tagImage:
		if err := h.span(); err != nil {
			return nil, err
		}
		first = 1
	case tagSignatures:
		return nil, malformed("a signature header")
	}
	end := 0
	for i := first; i < int(il); i++ {
		v, next, err := h.value(i, end)
		if err != nil {
			return nil, fmt.Errorf("%w, entry %d", err, i)
		}
		h.values = append(h.values, v)
		end = next
	}
	return h, h.outside()
}

// entry returns what entry i of the index says.
func (h *Header) entry(i int) (tag, kind uint32, off int32, count uint32) {
	b := h.index[i*entrySize:]
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), int32(binary.BigEndian.Uint32(b[8:])), binary.BigEndian.Uint32(b[12:])
}

// span reads how far the region goes: its entry leads to a trailer in the
// store, which is an entry itself and counts the region's back from its end.
func (h *Header) span() error {
	tag, kind, off, count := h.entry(0)
	if kind != typeBin || count != entrySize || off < 0 || int64(off)+entrySize > int64(len(h.store)) {
		return malformed("region at %d, count %d", off, count)
	}
	t := h.store[off:]
	back := int32(binary.BigEndian.Uint32(t[8:]))
	if binary.BigEndian.Uint32(t) != tag || binary.BigEndian.Uint32(t[4:]) != typeBin || binary.BigEndian.Uint32(t[12:]) != entrySize {
		return malformed("region without its trailer")
	}
	n := -int64(back)
	if n < entrySize || n%entrySize != 0 || n > int64(len(h.index)) {
		return malformed("region of %d bytes of entries", n)
	}
	h.region, h.nsig, h.dsig = tag, int(n/entrySize), int(off)+entrySize
	return nil
}

// value checks entry i and cuts its bytes out. Values follow each other in the
// order of their entries, so no byte is looked at twice.
func (h *Header) value(i, end int) (v value, next int, err error) {
	tag, kind, off, count := h.entry(i)
	limit := len(h.store)
	switch {
	case i < h.nsig:
		limit = h.dsig - entrySize
	case h.nsig > 0 && i == h.nsig:
		end = h.dsig
	}
	if tag < 64 || kind == typeNull || int(kind) >= len(width) || count == 0 {
		return v, 0, malformed("tag %d, type %d, count %d", tag, kind, count)
	}
	if int64(off) < int64(end) || int64(off) > int64(limit) {
		return v, 0, malformed("tag %d at %d, not in %d … %d", tag, off, end, limit)
	}
	rest := h.store[off:limit]
	w := width[kind]
	if w > 1 && int(off)%w != 0 {
		return v, 0, malformed("tag %d at %d is not aligned", tag, off)
	}
	if kind == typeString && count != 1 {
		return v, 0, malformed("tag %d: %d strings in one", tag, count)
	}
	size := uint64(count) * uint64(w)
	if w == 0 {
		n, ok := stringsSize(rest, count)
		if !ok {
			return v, 0, malformed("tag %d: strings without an end", tag)
		}
		size = uint64(n)
	}
	if size > uint64(len(rest)) {
		return v, 0, malformed("tag %d: %d values in %d bytes", tag, count, len(rest))
	}
	return value{tag, kind, count, rest[:size]}, int(off) + int(size), nil
}

// stringsSize is the size of count strings that end in NUL.
func stringsSize(b []byte, count uint32) (n int, ok bool) {
	if uint64(count) > uint64(len(b)) {
		return 0, false
	}
	for range count {
		i := bytes.IndexByte(b[n:], 0)
		if i < 0 {
			return 0, false
		}
		n += i + 1
	}
	return n, true
}

// outside makes sure that no tag stands twice on one side of the region's end,
// and looks for content behind it.
func (h *Header) outside() error {
	in, out := map[uint32]bool{}, map[uint32]bool{}
	for i, v := range h.values {
		side := out
		if i+1 < h.nsig {
			side = in
		}
		if side[v.tag] {
			return malformed("tag %d stands twice", v.tag)
		}
		side[v.tag] = true
	}
	for _, tag := range content {
		if out[tag] && h.nsig > 0 {
			h.beside = tag
		}
	}
	return nil
}

// find returns the value of a tag: what stands behind the region is what rpm
// itself goes by, and h.beside tells of it.
func (h *Header) find(tag uint32) (value, bool) {
	for i := len(h.values) - 1; i >= 0; i-- {
		if h.values[i].tag == tag {
			return h.values[i], true
		}
	}
	return value{}, false
}

// text returns a string, "" if there is none.
func (h *Header) text(tag uint32) (string, error) {
	v, ok := h.find(tag)
	if !ok {
		return "", nil
	}
	if v.kind != typeString && v.kind != typeI18n && (v.kind != typeStrings || v.count != 1) {
		return "", malformed("tag %d is no string", tag)
	}
	return string(v.data[:bytes.IndexByte(v.data, 0)]), nil
}

// number returns an integer and whether there is one.
func (h *Header) number(tag uint32) (uint64, bool, error) {
	v, ok := h.find(tag)
	if !ok {
		return 0, false, nil
	}
	if v.count != 1 || !v.integers() {
		return 0, false, malformed("tag %d is no number", tag)
	}
	return v.at(0), true, nil
}

func (v value) integers() bool { return v.kind >= typeChar && v.kind <= typeInt64 }

// at returns integer i.
func (v value) at(i int) uint64 {
	switch v.kind {
	case typeInt16:
		return uint64(binary.BigEndian.Uint16(v.data[2*i:]))
	case typeInt32:
		return uint64(binary.BigEndian.Uint32(v.data[4*i:]))
	case typeInt64:
		return binary.BigEndian.Uint64(v.data[8*i:])
	}
	return uint64(v.data[i])
}
