package unpack

import (
	"encoding/binary"
	"io"
)

// The sizes of LZMA2, in bytes.
const (
	maxPacked = 1 << 16 // of a chunk
	maxChunk  = 2 << 20 // of what a chunk unpacks to
	slideRoom = 4 << 20 // behind the dictionary, so that it seldom has to be moved
	spareRoom = 8       // behind the last byte, for repeat
	firstRoom = 1 << 20 // that is made at first: most files are small
)

// lzma2 decodes a sequence of LZMA2 chunks chunk by chunk, each from memory to
// memory. What the last ones gave is the dictionary.
type lzma2 struct {
	src     *source
	dict    int    // bytes that a match may lead back
	buf     []byte // the end of what was unpacked
	r, w    int    // read up to r, unpacked up to w
	total   int64  // unpacked since the dictionary was emptied
	started bool   // the dictionary was emptied once
	props   bool   // the model has its properties
	packed  [maxPacked]byte
	err     error // sticks; io.EOF behind the last chunk
	lzma
}

func newLZMA2(src *source, dict int) *lzma2 { return &lzma2{src: src, dict: dict} }

func (d *lzma2) Read(p []byte) (int, error) {
	for d.r == d.w {
		if d.err == nil {
			d.err = d.chunk()
		}
		if d.err != nil {
			return 0, d.err
		}
	}
	n := copy(p, d.buf[d.r:d.w])
	d.r += n
	return n, nil
}

// chunk reads and unpacks the next chunk.
func (d *lzma2) chunk() error {
	control, err := d.src.ReadByte()
	if err != nil {
		return truncated(err)
	}
	if control == 0 {
		return io.EOF
	}
	if control == 1 || control >= 0xe0 {
		d.total, d.started, d.props = 0, true, false
	}
	if !d.started || control > 2 && control < 0x80 {
		return damaged("an LZMA2 chunk of no known kind")
	}
	var h [4]byte
	if control < 0x80 {
		if _, err := io.ReadFull(d.src, h[:2]); err != nil {
			return truncated(err)
		}
		n := int(binary.BigEndian.Uint16(h[:])) + 1
		d.room(n)
		if _, err := io.ReadFull(d.src, d.buf[d.w:d.w+n]); err != nil {
			return truncated(err)
		}
		d.w += n
		d.total += int64(n)
		return nil
	}
	if _, err := io.ReadFull(d.src, h[:]); err != nil {
		return truncated(err)
	}
	n := int(control&0x1f)<<16 + int(binary.BigEndian.Uint16(h[:])) + 1
	packed := int(binary.BigEndian.Uint16(h[2:])) + 1
	if err := d.reset(control); err != nil {
		return err
	}
	if _, err := io.ReadFull(d.src, d.packed[:packed]); err != nil {
		return truncated(err)
	}
	d.room(n)
	return d.unpack(n, packed)
}

// reset begins the model anew as far as the chunk asks for it.
func (d *lzma2) reset(control byte) error {
	if control >= 0xc0 {
		b, err := d.src.ReadByte()
		if err != nil {
			return truncated(err)
		}
		if !d.setProperties(b) {
			return damaged("properties of LZMA2")
		}
		d.props = true
	}
	if !d.props {
		return damaged("LZMA2 without properties")
	}
	if control >= 0xa0 {
		d.lzma.reset()
	}
	return nil
}

// room makes place for n more bytes. All that was unpacked has been read.
func (d *lzma2) room(n int) {
	n += spareRoom
	if d.w+n <= len(d.buf) {
		return
	}
	keep := int(min(int64(d.dict), d.total, int64(d.w)))
	size := len(d.buf)
	if most := d.dict + slideRoom; keep+n > size || size < most {
		size = min(max(2*size, keep+n, firstRoom), max(most, keep+n))
	}
	to := d.buf
	if size > len(d.buf) {
		to = make([]byte, size)
	}
	copy(to, d.buf[d.w-keep:d.w])
	d.buf, d.r, d.w = to, keep, keep
}

// unpack decodes a chunk of packed bytes to n bytes.
func (d *lzma2) unpack(n, packed int) error {
	if d.packed[0] != 0 || packed < 5 {
		return damaged("an LZMA2 chunk")
	}
	rc := rangeDecoder{in: &d.packed, pos: 5, width: 1<<32 - 1, code: binary.BigEndian.Uint32(d.packed[1:])}
	end, ok := d.w+n, true
	for d.w < end {
		if rc, ok = d.symbol(rc, end); !ok || rc.pos > uint32(packed) {
			return damaged("an LZMA2 chunk")
		}
	}
	rc = rc.normalize()
	if rc.pos != uint32(packed) || rc.code != 0 {
		return damaged("an LZMA2 chunk does not end where it should")
	}
	return nil
}

// symbol decodes a literal or a match. It is false where it cannot be.
func (d *lzma2) symbol(rc rangeDecoder, end int) (rangeDecoder, bool) {
	m := &d.lzma
	at := uint32(d.total) & m.pbMask
	rc, match := rc.bit(&m.isMatch[m.state][at])
	if !match {
		prev, matched := byte(0), byte(0)
		if d.total > 0 {
			prev = d.buf[d.w-1]
		}
		if m.state >= 7 {
			back := int64(m.rep[0]) + 1
			if back > d.total || back > int64(d.dict) {
				return rc, false
			}
			matched = d.buf[d.w-int(back)]
		}
		rc, d.buf[d.w] = m.literal(rc, uint32(d.total), prev, matched)
		d.w++
		d.total++
		return rc, true
	}
	rc, length := m.match(rc, at)
	back := int64(m.rep[0]) + 1
	if back > d.total || back > int64(d.dict) || length > end-d.w {
		return rc, false
	}
	d.repeat(int(back), length)
	return rc, true
}

// repeat copies length bytes from back bytes before. Up to eight bytes more are
// written behind them, where nothing is yet.
func (d *lzma2) repeat(back, length int) {
	from := d.w - back
	to := d.buf[d.w:]
	switch {
	case back < 8:
		out := d.buf[from : d.w+length]
		for i := back; i < len(out); i++ { // it repeats itself
			out[i] = out[i-back]
		}
	case length > 64 && back >= length:
		copy(to[:length], d.buf[from:])
	default:
		src := d.buf[from:]
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(src[i:]))
		}
	}
	d.w += length
	d.total += int64(length)
}
