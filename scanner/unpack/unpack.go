// Package unpack reads compressed files and archives that a stranger may have
// made: gzip, bzip2, xz, zstd and lz4 with limits on what comes out and on what
// is held in memory, and the members of ar and tar archives with limits on
// their names and number. It is the only owner of the compression modules,
// and decodes xz itself.
//
// Everything is a stream. Nothing is written anywhere.
package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Format is how a stream is compressed.
type Format string

// The formats. Plain is a stream as it is.
const (
	Plain Format = "plain"
	Gzip  Format = "gzip"
	Bzip2 Format = "bzip2"
	XZ    Format = "xz"
	Zstd  Format = "zstd"
	LZ4   Format = "lz4"
)

// formats are the formats by how a stream begins and how a file name ends.
var formats = [...]struct {
	format Format
	magic  string
	suffix string
}{
	{Gzip, "\x1f\x8b", ".gz"},
	{Bzip2, "BZh", ".bz2"},
	{XZ, xzMagic, ".xz"},
	{Zstd, "\x28\xb5\x2f\xfd", ".zst"},
	{LZ4, "\x04\x22\x4d\x18", ".lz4"},
}

// MagicSize is how many bytes Detect looks at.
const MagicSize = 6

// Detect tells a format from the first bytes of a stream.
func Detect(head []byte) Format {
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.format
		}
	}
	return Plain
}

// ByName tells a format from the end of a file's name, and returns what stands
// before it: "data.tar" and XZ of "data.tar.xz".
func ByName(name string) (base string, f Format) {
	for _, f := range formats {
		if n := len(name) - len(f.suffix); n > 0 && name[n:] == f.suffix {
			return name[:n], f.format
		}
	}
	return name, Plain
}

// Limits bound what a stream may cost. A limit of zero is its default.
type Limits struct {
	Output int64 // bytes that come out, DefaultOutput
	Ratio  int64 // bytes that come out for each that goes in, beyond the first MiB, DefaultRatio
	Memory int64 // bytes of dictionary or window, DefaultMemory
}

// The defaults. xz -9 has a dictionary of 64 MiB, zstd --ultra -22 a window of
// 128 MiB. A file of zeros is packed 1 to 7,000 by xz, a program 1 to 10.
const (
	DefaultOutput = 16 << 30
	DefaultRatio  = 2000
	DefaultMemory = 128 << 20
)

// freeOutput is what may come out whatever the ratio, in bytes.
const freeOutput = 1 << 20

// Errors of a stream. All mean that what was read so far is not all of it and
// proves nothing.
var (
	ErrOutput    = errors.New("more comes out than is allowed")
	ErrRatio     = errors.New("packed more tightly than any honest file")
	ErrMemory    = errors.New("needs more memory than is allowed")
	ErrDamaged   = errors.New("damaged")
	ErrTruncated = errors.New("ends too early")
)

// Reader gives what comes out of a compressed stream.
type Reader struct {
	format Format
	dec    io.Reader
	close  func()
	in     *source
	out    int64
	limits Limits
	err    error // sticks
}

// NewReader begins to read r, which is compressed as f says. Close frees what
// the decoder holds. It reads ahead in r.
func NewReader(r io.Reader, f Format, l Limits) (*Reader, error) {
	l.Output = orDefault(l.Output, DefaultOutput)
	l.Ratio = orDefault(l.Ratio, DefaultRatio)
	l.Memory = orDefault(l.Memory, DefaultMemory)
	u := &Reader{format: f, in: newSource(r), limits: l, close: func() {}}
	if err := u.open(); err != nil {
		u.close()
		return nil, u.named(truncated(err))
	}
	return u, nil
}

func orDefault(n, def int64) int64 {
	if n <= 0 {
		return def
	}
	return n
}

// open makes the decoder.
func (u *Reader) open() (err error) {
	defer recovered(&err)
	switch u.format {
	case Plain:
		u.dec = u.in
	case Gzip:
		u.dec, err = gzip.NewReader(u.in.Reader)
	case Bzip2:
		u.dec = bzip2.NewReader(u.in.Reader)
	case XZ:
		u.dec = newXZ(u.in, u.limits.Memory)
	case LZ4:
		z := lz4.NewReader(u.in)
		u.dec, err = z, z.Apply(lz4.ConcurrencyOption(1)) // blocks are 8 MiB at most
	case Zstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(u.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(max(u.limits.Memory, zstd.MinWindowSize))), zstd.WithDecodeBuffersBelow(0))
		if err == nil {
			u.dec, u.close = z, z.Close
		}
	default:
		err = fmt.Errorf("format %q is not known", u.format)
	}
	return err
}

// Read gives the next bytes. After an error nothing more comes.
func (u *Reader) Read(p []byte) (int, error) {
	if u.err != nil || len(p) == 0 {
		return 0, u.err
	}
	n, err := u.decode(p)
	u.out += int64(n)
	switch {
	case u.out > u.limits.Output:
		n, err = 0, fmt.Errorf("%w: over %d bytes", ErrOutput, u.limits.Output)
	case u.out > freeOutput && u.out/u.limits.Ratio > u.in.taken() && u.format != Plain:
		n, err = 0, fmt.Errorf("%w: %d bytes out of %d", ErrRatio, u.out, u.in.taken())
	}
	if err != nil {
		u.err = u.named(err)
	}
	return n, u.err
}

func (u *Reader) decode(p []byte) (n int, err error) {
	defer recovered(&err)
	return u.dec.Read(p)
}

// recovered makes an error of a decoder's panic: what it read is damaged.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the decoder gave up: %v", ErrDamaged, p)
	}
}

// named says of which format an error is, and brings the modules' own errors to
// those of this package.
func (u *Reader) named(err error) error {
	switch {
	case err == io.EOF && (u.in.taken() > 0 || u.format == Plain):
		return io.EOF
	case err == io.EOF:
		err = ErrTruncated // nothing is not a stream
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = ErrTruncated
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = ErrMemory
	}
	return fmt.Errorf("%s: %w", u.format, err)
}

// Close frees the decoder. It does not close what is read.
func (u *Reader) Close() { u.close() }

// source is what a decoder reads from, buffered. Decoders that know its buffer
// are faster without the methods of ours around it.
type source struct {
	*bufio.Reader
	below *counter
}

func newSource(r io.Reader) *source {
	c := &counter{r: r}
	return &source{bufio.NewReaderSize(c, 64<<10), c}
}

// taken is how many bytes a decoder took.
func (s *source) taken() int64 { return s.below.n - int64(s.Buffered()) }

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
