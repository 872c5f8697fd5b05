package diff

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// tape holds the changes in order, each behind a header that later passes
// write to. It lives in memory up to limit bytes, then in an unlinked file.
type tape struct {
	dir   string
	limit int

	tail    []byte // what is not in the file yet
	file    *os.File
	flushed int64 // bytes in the file
}

// header precedes each change on the tape. The places are those of other
// changes on it, plus one: zero means none.
type header struct {
	length uint32 // of the encoded change
	flags  byte
	count  int64 // Renamed: entries that moved along
	from   int64 // an added change paired with the removed one there
	leader int64 // another name of the inode there
	next   int64 // the next name of this inode
}

const headerSize = 4 + 1 + 4*8

// Flags of a header.
const (
	gone   = 1 << iota // the removed half of a pair
	folded             // as Change.Folded
)

const flushSize = 1 << 18

func (h *header) put(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, h.length)
	b = append(b, h.flags)
	for _, v := range [...]int64{h.count, h.from, h.leader, h.next} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func (h *header) get(b []byte) {
	h.length = binary.BigEndian.Uint32(b)
	h.flags = b[4]
	for i, v := range [...]*int64{&h.count, &h.from, &h.leader, &h.next} {
		*v = int64(binary.BigEndian.Uint64(b[5+8*i:]))
	}
}

func (t *tape) size() int64 { return t.flushed + int64(len(t.tail)) }

// append adds what AppendChange has encoded and returns its place.
func (t *tape) append(b []byte) (int64, error) {
	at := t.size()
	h := header{length: uint32(len(b))}
	t.tail = append(h.put(t.tail), b...)
	if t.file == nil && len(t.tail) <= t.limit || t.file != nil && len(t.tail) < flushSize {
		return at, nil
	}
	return at, t.flush()
}

func (t *tape) flush() error {
	if t.file == nil {
		f, err := unlinked(t.dir)
		if err != nil {
			return err
		}
		t.file = f
	}
	if _, err := t.file.WriteAt(t.tail, t.flushed); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	t.flushed += int64(len(t.tail))
	if cap(t.tail) > 4*flushSize {
		t.tail = nil
	}
	t.tail = t.tail[:0]
	return nil
}

// ReadAt implements io.ReaderAt over file and tail.
func (t *tape) ReadAt(p []byte, at int64) (n int, err error) {
	if at < t.flushed {
		n, err = t.file.ReadAt(p[:min(int64(len(p)), t.flushed-at)], at)
		if err != nil || n == len(p) {
			return n, err
		}
		at += int64(n)
	}
	if at-t.flushed < int64(len(t.tail)) {
		n += copy(p[n:], t.tail[at-t.flushed:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// header reads the header at a place.
func (t *tape) header(at int64) (h header, err error) {
	var b [headerSize]byte
	if _, err := t.ReadAt(b[:], at); err != nil {
		return h, fmt.Errorf("read spool: %w", err)
	}
	h.get(b[:])
	return h, nil
}

// update changes the header at a place.
func (t *tape) update(at int64, edit func(*header)) error {
	h, err := t.header(at)
	if err != nil {
		return err
	}
	edit(&h)
	var b [headerSize]byte
	h.put(b[:0])
	if at >= t.flushed {
		copy(t.tail[at-t.flushed:], b[:])
		return nil
	}
	if _, err := t.file.WriteAt(b[:], at); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

// change reads the change at a place, as it was added.
func (t *tape) change(at int64) (*Change, error) {
	h, err := t.header(at)
	if err != nil {
		return nil, err
	}
	b := make([]byte, h.length)
	if _, err := t.ReadAt(b, at+headerSize); err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	return DecodeChange(b)
}

// each calls do for every change in order until it returns false. The bytes
// are its own. do may update headers up to the one it was called for.
func (t *tape) each(do func(at int64, h header, b []byte) (bool, error)) error {
	end := t.size()
	in := bufio.NewReaderSize(io.NewSectionReader(t, 0, end), 1<<16)
	var hb [headerSize]byte
	for at := int64(0); at < end; {
		if _, err := io.ReadFull(in, hb[:]); err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
		var h header
		h.get(hb[:])
		b := make([]byte, h.length)
		if _, err := io.ReadFull(in, b); err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
		on, err := do(at, h, b)
		if err != nil || !on {
			return err
		}
		at += headerSize + int64(h.length)
	}
	return nil
}

func (t *tape) close() error {
	t.tail = nil
	if t.file == nil {
		return nil
	}
	f := t.file
	t.file = nil
	return f.Close()
}
