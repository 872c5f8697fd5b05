package unpack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
)

// xz is read here and not by a module: the one that is maintained makes
// whatever dictionary a header asks for, up to 4 GiB, keeps the sizes of all
// blocks, and takes more than twice the time; the tests hold this against it. The format is that of
// https://tukaani.org/xz/xz-file-format.txt, without the filters for programs,
// which no package uses.

const (
	xzMagic  = "\xfd7zXZ\x00"
	xzFooter = "YZ"
	xzLZMA2  = 0x21 // id of the filter
	xzHeader = 12   // bytes of the header of a stream, and of its footer
)

// checks are the kinds of checksum of a block's content, by number.
var checks = map[byte]func() hash.Hash{
	0:  func() hash.Hash { return nil },
	1:  func() hash.Hash { return crc32.NewIEEE() },
	4:  func() hash.Hash { return crc64.New(crc64.MakeTable(crc64.ECMA)) },
	10: sha256.New,
}

// xzReader reads a sequence of xz streams.
type xzReader struct {
	src    *source
	memory int64

	streams int     // that were begun
	inside  bool    // a stream
	flags   [2]byte // of the stream
	sizes   sizes   // of the blocks of the stream

	block  io.Reader // nil between blocks
	size   int       // of the header of the block
	start  int64     // of its content in src
	out    int64     // bytes of it so far
	stated [2]int64  // compressed and uncompressed size by its header, -1 unknown
	check  hash.Hash // nil if there is none
}

func newXZ(src *source, memory int64) *xzReader { return &xzReader{src: src, memory: memory} }

// sizes stand for the sizes of blocks, to be compared with the index. Their
// number alone decides how much the index may hold.
type sizes struct {
	n   uint64
	sum hash.Hash
}

func (s *sizes) add(unpadded, uncompressed uint64) {
	if s.sum == nil {
		s.sum = sha256.New()
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], unpadded)
	binary.BigEndian.PutUint64(b[8:], uncompressed)
	s.sum.Write(b[:])
	s.n++
}

func (s *sizes) equal(o sizes) bool {
	return s.n == o.n && (s.n == 0 || bytes.Equal(s.sum.Sum(nil), o.sum.Sum(nil)))
}

func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := x.block.Read(p)
		x.out += int64(n)
		if x.check != nil {
			x.check.Write(p[:n])
		}
		if err == io.EOF {
			err = x.end()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes to the next block, over the end of a stream and to the next one.
func (x *xzReader) next() error {
	if !x.inside {
		return x.header()
	}
	size, err := x.src.ReadByte()
	if err != nil {
		return truncated(err)
	}
	if size != 0 {
		return x.begin(int(size)*4 + 4)
	}
	x.inside = false
	return x.index()
}

func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func damaged(what string) error { return fmt.Errorf("%w: %s", ErrDamaged, what) }

// header reads the header of a stream. io.EOF is the end after the first one.
func (x *xzReader) header() error {
	var b [xzHeader]byte
	for {
		n, err := io.ReadFull(x.src, b[:4])
		if n == 0 && err == io.EOF && x.streams > 0 {
			return io.EOF
		}
		if err != nil {
			return truncated(err)
		}
		if x.streams == 0 || binary.LittleEndian.Uint32(b[:4]) != 0 { // zeros stand between streams
			break
		}
	}
	if _, err := io.ReadFull(x.src, b[4:]); err != nil {
		return truncated(err)
	}
	switch {
	case string(b[:6]) != xzMagic:
		return damaged("no header of a stream")
	case crc32.ChecksumIEEE(b[6:8]) != binary.LittleEndian.Uint32(b[8:]):
		return damaged("checksum of the header")
	case b[6] != 0 || checks[b[7]] == nil:
		return errors.New("kind of checksum is not known")
	}
	x.flags, x.sizes = [2]byte(b[6:8]), sizes{}
	x.inside = true
	x.streams++
	return nil
}

// begin reads the header of a block, size bytes with the one that is read.
func (x *xzReader) begin(size int) error {
	b := make([]byte, size)
	b[0] = byte(size/4 - 1)
	if _, err := io.ReadFull(x.src, b[1:]); err != nil {
		return truncated(err)
	}
	if crc32.ChecksumIEEE(b[:size-4]) != binary.LittleEndian.Uint32(b[size-4:]) {
		return damaged("checksum of a block's header")
	}
	flags, rest := b[1], bytes.NewReader(b[2:size-4])
	x.stated = [2]int64{-1, -1}
	for i, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			n, err := uvarint(rest)
			if err != nil {
				return err
			}
			x.stated[i] = int64(n)
		}
	}
	id, err := uvarint(rest)
	if err != nil {
		return err
	}
	props, err := uvarint(rest)
	if err != nil {
		return err
	}
	bits, err := rest.ReadByte()
	if err != nil {
		return damaged("a block's header is too short")
	}
	if flags&0x3f != 0 || id != xzLZMA2 || props != 1 || bits > 40 {
		return errors.New("filters other than LZMA2 are not read")
	}
	for { // padding
		if c, err := rest.ReadByte(); err != nil {
			break
		} else if c != 0 {
			return damaged("a block's header has something in its padding")
		}
	}
	return x.decoder(size, bits)
}

// decoder makes the decoder of a block, its dictionary first held to the limit.
func (x *xzReader) decoder(size int, bits byte) error {
	dict := (2 | int64(bits&1)) << (bits/2 + 11)
	if dict > x.memory {
		return fmt.Errorf("%w: a dictionary of %d bytes", ErrMemory, dict)
	}
	x.size, x.start, x.out = size, x.src.taken(), 0
	x.check = checks[x.flags[1]]()
	x.block = newLZMA2(x.src, int(dict))
	return nil
}

// end checks what follows the content of a block.
func (x *xzReader) end() error {
	packed := x.src.taken() - x.start
	if x.stated[0] >= 0 && x.stated[0] != packed || x.stated[1] >= 0 && x.stated[1] != x.out {
		return damaged("size of a block")
	}
	var b [3 + sha256.Size]byte
	pad, sum := int(-packed&3), 0
	if x.check != nil {
		sum = x.check.Size()
	}
	if _, err := io.ReadFull(x.src, b[:pad+sum]); err != nil {
		return truncated(err)
	}
	if string(b[:pad]) != "\x00\x00\x00"[:pad] {
		return damaged("padding of a block")
	}
	if x.check != nil {
		want := x.check.Sum(nil)
		if sum < sha256.Size { // CRCs stand the other way round
			for i, j := 0, sum-1; i < j; i, j = i+1, j-1 {
				want[i], want[j] = want[j], want[i]
			}
		}
		if !bytes.Equal(want, b[pad:pad+sum]) {
			return damaged("checksum of the content")
		}
	}
	x.sizes.add(uint64(x.size)+uint64(packed)+uint64(sum), uint64(x.out))
	x.block = nil
	return nil
}

// index reads the index behind the blocks and the footer.
func (x *xzReader) index() error {
	sum := crc32.NewIEEE()
	sum.Write([]byte{0})
	in := &summed{src: x.src, sum: sum, n: 1}
	n, err := uvarint(in)
	if err != nil {
		return err
	}
	if n != x.sizes.n {
		return damaged("number of blocks in the index")
	}
	var have sizes
	for range n {
		unpadded, err := uvarint(in)
		if err != nil {
			return err
		}
		size, err := uvarint(in)
		if err != nil {
			return err
		}
		have.add(unpadded, size)
	}
	for in.n&3 != 0 {
		if b, err := in.ReadByte(); err != nil {
			return truncated(err)
		} else if b != 0 {
			return damaged("padding of the index")
		}
	}
	var b [4 + xzHeader]byte
	if _, err := io.ReadFull(x.src, b[:]); err != nil {
		return truncated(err)
	}
	foot := b[4:]
	switch {
	case !have.equal(x.sizes):
		return damaged("index")
	case binary.LittleEndian.Uint32(b[:]) != sum.Sum32():
		return damaged("checksum of the index")
	case binary.LittleEndian.Uint32(foot) != crc32.ChecksumIEEE(foot[4:10]), string(foot[10:]) != xzFooter,
		[2]byte(foot[8:10]) != x.flags, (int64(binary.LittleEndian.Uint32(foot[4:]))+1)*4 != in.n+4:
		return damaged("footer")
	}
	return nil
}

// summed is the part of a source that the checksum of the index covers.
type summed struct {
	src *source
	sum hash.Hash32
	n   int64
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.src.ReadByte()
	if err == nil {
		s.sum.Write([]byte{b})
		s.n++
	}
	return b, err
}

// uvarint reads a number of at most 63 bits in its only spelling.
func uvarint(r io.ByteReader) (n uint64, err error) {
	for shift := 0; shift < 63; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, truncated(err)
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if b == 0 && shift > 0 {
				break
			}
			return n, nil
		}
	}
	return 0, damaged("a number")
}
