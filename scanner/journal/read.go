package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"intact/scanner/digest"
)

// Types of objects, and the least size of each.
const (
	typeData       = 1
	typeField      = 2
	typeEntry      = 3
	typeDataTable  = 4
	typeFieldTable = 5
	typeArray      = 6
	typeTag        = 7

	entryLeast = 64
)

var least = [...]uint64{typeData: 64, typeField: 40, typeEntry: entryLeast, typeDataTable: 16, typeFieldTable: 16, typeArray: 24, typeTag: 64}

// spent bounds the sequence numbers behind the last entry that no entry has.
const spent = 1 << 16

// windowSize is how much is read at a time.
const windowSize = 256 << 10

// domain begins each stream: what is read of a journal is no other file's bytes.
const domain = "intact.journal/1\n"

// final stands in a stream behind the last object of a file that is never
// written again. Its whole content follows as a digest.
const final = "final"

// Read writes the stream of a journal of size bytes to w. name says whether the
// file is one that was put aside. An error that wraps ErrMalformed comes after
// the part of the stream that could be made. What w returns is returned.
func Read(r io.ReaderAt, size int64, name string, w io.Writer) (Facts, error) {
	h, err := readHeader(r, size)
	if err != nil {
		return h.Facts, err
	}
	k := &reader{h: h, w: w, in: window{r: r, end: size}}
	final := h.State == Archived || Unclean(name)
	if final {
		k.in.all = digest.New()
		k.in.all.Reset(size)
	}
	err = k.read(h.State != Online && !Unclean(name), Unclean(name))
	if Unclean(name) && errors.Is(err, ErrMalformed) {
		err = nil // it ends where its writer was stopped
	}
	if err == nil && final {
		err = k.seal()
	}
	return h.Facts, err
}

// ReadSettled is Read of a file that somebody may write to: begin returns where
// the stream goes, from its beginning. What is malformed is read again, as far as
// it was complete when that began, where the header is another meanwhile.
func ReadSettled(r io.ReaderAt, size int64, name string, begin func() io.Writer) (Facts, error) {
	h, err := Read(r, size, name, begin())
	for range 3 {
		if !errors.Is(err, ErrMalformed) || Unclean(name) {
			break
		}
		now, _ := ReadFacts(r, size)
		if now == h {
			break
		}
		h, err = Read(r, size, name, begin())
	}
	return h, err
}

// reader is one pass over a file.
type reader struct {
	h     header
	w     io.Writer
	in    window
	index *index
	seen  uint64 // entries
	seq   uint64 // of the last one
	buf   [64]byte
}

func malformed(at uint64, format string, args ...any) error {
	return fmt.Errorf("%w: offset %d: %s", ErrMalformed, at, fmt.Sprintf(format, args...))
}

// read reads the objects: all of them where nobody writes, else as far as the
// last entry that the header counts.
func (k *reader) read(settled, unclean bool) error {
	h := &k.h
	id := append([]byte(domain), h.File[:]...)
	id = append(append(id, h.Machine[:]...), h.Seqnum[:]...)
	id = binary.LittleEndian.AppendUint32(id, h.incompatible&(flagKeyed|flagCompact))
	if _, err := k.w.Write(id); err != nil {
		return err
	}
	var err error
	if k.index, err = newIndex(k, settled, unclean); err != nil {
		return err
	}
	if err := k.in.skip(h.start); err != nil {
		return err
	}
	for at := h.start; ; {
		if k.seen == h.Entries && (!settled || at > h.last || h.objects == 0) {
			break
		}
		if at > h.last {
			return malformed(at, "%d entries, and %d are counted", k.seen, h.Entries)
		}
		next, err := k.object(at)
		if err != nil {
			return err
		}
		at = next
	}
	// A number may be spent on an entry that could not be written.
	if h.Entries > 0 && (k.seq > h.Tail || h.Tail-k.seq > spent || k.seq != h.Tail && h.Entries == h.Tail-h.Head+1) {
		return malformed(h.last, "the last entry has number %d, not %d", k.seq, h.Tail)
	}
	return k.index.close()
}

// object reads one object and returns where the next one begins.
func (k *reader) object(at uint64) (next uint64, err error) {
	b := k.buf[:16]
	if err := k.in.take(b); err != nil {
		return 0, err
	}
	kind, flags, size := b[0], b[1], binary.LittleEndian.Uint64(b[8:])
	switch {
	case kind == 0 || int(kind) >= len(least):
		return 0, malformed(at, "an object of type %d", kind)
	case size < k.least(kind) || size > k.h.end-at:
		return 0, malformed(at, "an object of type %d with %d bytes", kind, size)
	case flags > 4 || flags == 3 || flags != 0 && kind != typeData || binary.LittleEndian.Uint64(b)>>16 != 0:
		return 0, malformed(at, "an object of type %d with flags %#x", kind, flags)
	}
	behind := kind == typeEntry && k.seen == k.h.Entries // one that came to nothing, or comes
	if !k.over() {
		if _, err := k.w.Write(b); err != nil {
			return 0, err
		}
	}
	rest := size - 16
	switch kind {
	case typeData:
		err = k.data(at, rest)
	case typeField:
		err = k.field(at, rest)
	case typeEntry:
		if behind {
			err = k.copy(rest, nil)
		} else {
			err = k.entry(at, rest)
		}
	case typeArray:
		err = k.array(at, rest)
	case typeDataTable, typeFieldTable:
		err = k.table(at, kind, rest)
	default:
		err = k.copy(rest, nil)
	}
	if err != nil {
		return 0, err
	}
	pad := -size & 7
	if err := k.in.take(b[:pad]); err != nil {
		return 0, err
	}
	for _, c := range b[:pad] {
		if c != 0 {
			return 0, malformed(at+size, "no padding")
		}
	}
	return at + size + pad, nil
}

func (k *reader) least(kind byte) uint64 {
	if kind == typeData && k.h.compact() {
		return least[kind] + 8
	}
	return least[kind]
}

// over reports whether the stream is at its end: what stands behind the last
// entry may be of one that comes.
func (k *reader) over() bool { return k.seen == k.h.Entries }

// copy takes n bytes as they are. each, unless nil, sees them too, in pieces of
// whole items.
func (k *reader) copy(n uint64, each func(b []byte) error) error {
	for n > 0 {
		b, err := k.in.some(n)
		if err != nil {
			return err
		}
		if each != nil {
			if len(b) > 16 {
				b = b[:len(b)&^15]
			}
			if err := each(b); err != nil {
				return err
			}
		}
		if !k.over() {
			if _, err := k.w.Write(b); err != nil {
				return err
			}
		}
		k.in.pass(len(b))
		n -= uint64(len(b))
	}
	return nil
}

func (k *reader) keep(b []byte) error {
	if k.over() {
		return nil
	}
	_, err := k.w.Write(b)
	return err
}

// data reads a datum: its hash, the datum of the same field before it, and its
// payload never change.
func (k *reader) data(at, rest uint64) error {
	n := k.least(typeData) - 16
	b := k.buf[:n]
	if err := k.in.take(b); err != nil {
		return err
	}
	if err := k.keep(b[:8]); err != nil {
		return err
	}
	if err := k.keep(b[16:24]); err != nil {
		return err
	}
	if err := k.index.datum(at, b); err != nil {
		return err
	}
	return k.copy(rest-n, nil)
}

func (k *reader) field(at, rest uint64) error {
	b := k.buf[:24]
	if err := k.in.take(b); err != nil {
		return err
	}
	if err := k.keep(b[:8]); err != nil {
		return err
	}
	if err := k.index.field(at, b); err != nil {
		return err
	}
	return k.copy(rest-24, nil)
}

// entry reads an entry, of which nothing ever changes.
func (k *reader) entry(at, rest uint64) error {
	b := k.buf[:48]
	if err := k.in.take(b); err != nil {
		return err
	}
	seq, when := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	switch {
	case k.seen == 0 && (seq != k.h.Head || when != k.h.First):
		return malformed(at, "the first entry has number %d, not %d, or another time than the header says", seq, k.h.Head)
	case k.seen > 0 && seq <= k.seq:
		return malformed(at, "number %d follows %d", seq, k.seq)
	}
	width := uint64(16)
	if k.h.compact() {
		width = 4
	}
	if (rest-48)%width != 0 {
		return malformed(at, "an entry of %d bytes", rest)
	}
	if err := k.keep(b); err != nil {
		return err
	}
	k.index.entry(at)
	err := k.copy(rest-48, func(b []byte) error {
		for ; len(b) > 0; b = b[width:] {
			if width == 4 {
				k.index.refers(at, uint64(binary.LittleEndian.Uint32(b)))
			} else {
				k.index.refers(at, binary.LittleEndian.Uint64(b))
			}
		}
		return nil
	})
	k.seq = seq
	k.seen++
	return err
}

// array reads an array of entries: its size never changes.
func (k *reader) array(at, rest uint64) error {
	b := k.buf[:8]
	if err := k.in.take(b); err != nil {
		return err
	}
	item := k.h.item()
	if (rest-8)%item != 0 {
		return malformed(at, "an array of %d bytes", rest)
	}
	a := k.index.array(at, binary.LittleEndian.Uint64(b))
	err := k.in.each(rest-8, func(b []byte) {
		for ; len(b) > 0; b = b[item:] {
			if item == 4 {
				a.holds(uint64(binary.LittleEndian.Uint32(b)))
			} else {
				a.holds(binary.LittleEndian.Uint64(b))
			}
		}
	})
	if err != nil {
		return err
	}
	return a.close()
}

func (k *reader) table(at uint64, kind byte, rest uint64) error {
	t, buckets := k.h.dataHash, k.index.byData
	if kind == typeFieldTable {
		t, buckets = k.h.fieldHash, k.index.byField
	}
	if t.off != at+16 || t.size != rest {
		return malformed(at, "a hash table where the header has none")
	}
	i := 0
	return k.in.each(rest, func(b []byte) {
		for ; len(b) >= 16; b = b[16:] {
			if i < len(buckets) {
				buckets[i] = chain{next: binary.LittleEndian.Uint64(b), tail: binary.LittleEndian.Uint64(b[8:])}
			}
			i++
		}
	})
}

// seal ends the stream of a file that is never written again.
func (k *reader) seal() error {
	if err := k.in.skip(uint64(k.in.end)); err != nil {
		return err
	}
	sum := k.in.all.Sum()
	b := binary.LittleEndian.AppendUint64([]byte(final), uint64(k.in.end))
	_, err := k.w.Write(append(b, sum[:]...))
	return err
}
