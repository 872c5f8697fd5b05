package baseline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"intact/baseline/diff"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// A generation file has three buckets, named by one byte, in the order in
// which they enter the root:
//
//	m  meta         format, policy and sets
//	r  rows         kind NUL key → value
//	d  directories  entry.PartKey → entry.Packed
//
// The root is the BLAKE3 of one leaf for each key, in order:
//
//	uvarint(len(k)) ‖ k ‖ BLAKE3(value)    with k = bucket name ‖ key
//
// It depends on what is stored alone, not on how bbolt lays it out: an export
// has the same root.
const (
	bucketMeta = 'm'
	bucketRows = 'r'
	bucketDirs = 'd'
)

var bucketOrder = [...]byte{bucketMeta, bucketRows, bucketDirs}

// The keys of the meta bucket, in order.
const (
	metaFormat = "format"
	metaPolicy = "policy"
	metaSets   = "sets"

	fileFormat = "intact.baseline/2"
	// firstFormat was never in a release. Its packed directories cannot be read.
	firstFormat = "intact.baseline/1"
)

// maxKey is the longest key of any bucket. bbolt refuses keys over 32,768.
const maxKey = entry.MaxKey + 256

// maxValue bounds one value; a full part of a directory with long targets and
// many attributes stays far below it.
const maxValue = 1 << 30

// rooter computes a root from leaves that come in order.
type rooter struct {
	h   *digest.Hasher
	buf []byte
}

func newRooter() *rooter { return &rooter{h: digest.New()} }

func (r *rooter) add(bucket byte, key, value []byte) {
	r.addSum(bucket, key, digest.Sum(value))
}

// addSum is add where only the digest of the value is known.
func (r *rooter) addSum(bucket byte, key []byte, sum digest.Digest) {
	r.buf = binary.AppendUvarint(r.buf[:0], uint64(len(key)+1))
	r.buf = append(r.buf, bucket)
	r.buf = append(r.buf, key...)
	r.buf = append(r.buf, sum[:]...)
	r.h.Write(r.buf)
}

func (r *rooter) sum() digest.Digest { return r.h.Sum() }

// encodeSets writes the attribute-set table: count, then masks and flags.
func encodeSets(sets entry.Sets) []byte {
	b := binary.AppendUvarint(nil, uint64(len(sets)))
	for _, s := range sets {
		b = appendSet(b, s)
	}
	return b
}

func appendSet(b []byte, s entry.Set) []byte {
	b = binary.AppendUvarint(b, uint64(s.Mask))
	b = binary.AppendUvarint(b, uint64(s.DirMask))
	var flags byte
	if s.Log {
		flags |= 1
	}
	if s.Sweep {
		flags |= 2
	}
	return append(b, flags)
}

func decodeSets(b []byte) (entry.Sets, error) {
	r := reader{b: b}
	n := r.uint()
	if n > 1<<16 {
		return nil, errors.New("too many attribute sets")
	}
	sets := entry.Sets{}
	for range n {
		if r.err != nil {
			break
		}
		sets = append(sets, r.set())
	}
	if r.err != nil || len(r.b) > 0 {
		return nil, errors.New("malformed table of attribute sets")
	}
	return sets, nil
}

// rowKey is the stored key of a row.
func rowKey(kind string, key []byte) ([]byte, error) {
	if kind == "" || bytes.IndexByte([]byte(kind), 0) >= 0 {
		return nil, fmt.Errorf("row kind %q", kind)
	}
	k := append(append([]byte(kind), 0), key...)
	if len(k) > maxKey {
		return nil, fmt.Errorf("row %s: key of %d bytes", kind, len(key))
	}
	return k, nil
}

func splitRow(k, v []byte) (diff.Row, error) {
	kind, key, ok := bytes.Cut(k, []byte{0})
	if !ok || len(kind) == 0 {
		return diff.Row{}, errors.New("malformed row key")
	}
	return diff.Row{Kind: string(kind), Key: bytes.Clone(key), Value: bytes.Clone(v)}, nil
}

// packedHead is what stands before the compared part of an entry.Packed.
const packedHead = digest.Size + 4

// peek reads the head of a stored part without decoding its entries: the
// first name of the next part (nil in the last) and the number of entries.
func peek(v []byte) (next []byte, count int, ok bool) {
	if len(v) < packedHead {
		return nil, 0, false
	}
	r := reader{b: v[packedHead:]}
	next = r.bytes()
	n := r.uint()
	if r.err != nil || n > entry.PartSize {
		return nil, 0, false
	}
	if len(next) == 0 {
		next = nil
	}
	return next, int(n), true
}

// appendPartKey does what entry.PartKey does, from the directory's key.
func appendPartKey(dst, dirKey []byte, part uint32) []byte {
	dst = append(dst, dirKey...)
	if part == 0 {
		return dst
	}
	dst = append(dst, 0, 0)
	return binary.BigEndian.AppendUint32(dst, part)
}

// dirKeyOf cuts the part number off a stored key. Only a part key holds two
// NUL bytes in a row, behind the directory's own key; the root's key is a NUL
// itself. The key must be one that entry.ParseKey takes.
func dirKeyOf(k []byte) (dirKey []byte, part uint32) {
	const tail = 6
	i := bytes.Index(k, []byte{0, 0})
	if i < 0 || len(k) <= tail {
		return k, 0
	}
	n := len(k) - tail
	return k[:n], binary.BigEndian.Uint32(k[n+2:])
}

// reader takes canonical numbers and byte strings from b; the first error
// sticks.
type reader struct {
	b   []byte
	err error
}

var errEncoding = errors.New("malformed encoding")

func (r *reader) fail() {
	r.err = errEncoding
	r.b = nil
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) attr() entry.Attr {
	v := r.uint()
	if v > uint64(entry.All|entry.Btime) {
		r.fail()
	}
	return entry.Attr(v)
}

func (r *reader) set() (s entry.Set) {
	s.Mask, s.DirMask = r.attr(), r.attr()
	f := r.byte()
	if f > 3 {
		r.fail()
	}
	s.Log, s.Sweep = f&1 != 0, f&2 != 0
	return s
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
