package rpm

import (
	"context"
	"encoding/binary"
)

// The write-ahead log of SQLite ("Database File Format", 4). Big-endian header:
// magic, version, page size, checkpoint number, two salts, two checksums. Each
// frame is a header (page, pages of the database after a commit or 0, the
// salts, the checksums so far) and a page.
const (
	walMagic   = 0x377f0682 // with 1 added, checksums are of big-endian words
	walVersion = 3007000
	walHeader  = 32
	walFrame   = 24
	maxFrames  = 1 << 20
)

// wal is a log as far as transactions of it are complete.
type wal struct {
	file     Source
	header   [walHeader]byte
	pageSize int
	pages    uint32           // of the database after the last commit; 0: no commit
	at       map[uint32]int64 // where the newest version of a page stands
	frames   int              // up to the last commit
}

// sums are the two running checksums.
type sums struct {
	a, b  uint32
	order binary.ByteOrder
}

func (s *sums) add(p []byte) {
	for ; len(p) >= 8; p = p[8:] {
		s.a += s.order.Uint32(p) + s.b
		s.b += s.order.Uint32(p[4:]) + s.a
	}
}

func (s *sums) match(b []byte) bool {
	return binary.BigEndian.Uint32(b) == s.a && binary.BigEndian.Uint32(b[4:]) == s.b
}

// readWAL finds the pages of complete transactions. What follows the last one,
// or a first frame that is not of this log, is what SQLite ignores too.
func readWAL(ctx context.Context, f Source, pageSize int) (*wal, error) {
	w := &wal{file: f, pageSize: pageSize, at: map[uint32]int64{}}
	if n, _ := f.ReadAt(w.header[:], 0); n < walHeader {
		return w, nil
	}
	be := binary.BigEndian
	magic := be.Uint32(w.header[:])
	s := sums{order: binary.LittleEndian}
	if magic&1 == 1 {
		s.order = be
	}
	s.add(w.header[:24])
	if magic&^1 != walMagic || be.Uint32(w.header[4:]) != walVersion || !s.match(w.header[24:]) {
		return w, nil
	}
	if size := be.Uint32(w.header[8:]); size != uint32(pageSize) {
		return nil, broken("log with pages of %d bytes, database with pages of %d", size, pageSize)
	}
	type seen struct {
		page uint32
		at   int64
	}
	var since []seen // the last commit
	buf := make([]byte, walFrame+pageSize)
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if n > maxFrames {
			return nil, broken("log of over %d pages", maxFrames)
		}
		off := walHeader + int64(n-1)*int64(len(buf))
		if got, _ := f.ReadAt(buf, off); got < len(buf) {
			return w, nil
		}
		page, after := be.Uint32(buf), be.Uint32(buf[4:])
		if page == 0 || string(buf[8:16]) != string(w.header[16:24]) {
			return w, nil
		}
		s.add(buf[:8])
		s.add(buf[walFrame:])
		if !s.match(buf[16:24]) {
			return w, nil
		}
		since = append(since, seen{page, off + walFrame})
		if after == 0 {
			continue
		}
		for _, x := range since {
			w.at[x.page] = x.at
		}
		w.pages, w.frames, since = after, n, since[:0]
	}
}
