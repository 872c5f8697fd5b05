package derived

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"intact/scanner/unpack"
)

// Bounds of an initramfs.
const (
	maxImage    = 256 << 20 // bytes, packed
	maxUnpacked = 2 << 30
	maxMembers  = 50_000
	maxName     = 4096
	maxSegments = 16
	cpioHeader  = 110
)

// The types of cpio members, in the mode.
const (
	cpioType = 0o170000
	cpioDir  = 0o040000
	cpioFile = 0o100000
	cpioLink = 0o120000
	cpioChar = 0o020000
)

var errImage = errors.New("malformed initramfs")

// member is one of an archive in the format "newc", with or without checksum.
type member struct {
	name         string
	mode         uint32
	uid, gid     uint32
	nlink        uint32
	size         uint32
	inode        uint32
	major, minor uint32 // of a device node
}

// readImage calls each for the members of an initramfs: archives one behind the
// other with NUL bytes between, of which the last may be compressed. content is
// read to its end afterwards, whatever each took of it.
func readImage(b []byte, each func(m *member, content io.Reader) error) error {
	in := &image{r: bufio.NewReader(bytes.NewReader(b)), each: each}
	if err := in.segments(); err == nil || err != errPacked {
		return err
	}
	format := formatOf(b[in.at:])
	z, err := unpack.NewReader(bytes.NewReader(b[in.at:]), format, unpack.Limits{Output: maxUnpacked})
	if err != nil {
		return err
	}
	defer z.Close()
	in.r, in.at, in.inside = bufio.NewReaderSize(z, 64<<10), 0, true
	return in.segments()
}

// errPacked says that what follows is compressed.
var errPacked = errors.New("compressed")

// formatOf tells how an image is packed. The kernel's lz4 has a format of its
// own, which the decoder knows.
func formatOf(b []byte) unpack.Format {
	if bytes.HasPrefix(b, []byte{0x02, 0x21, 0x4c, 0x18}) {
		return unpack.LZ4
	}
	return unpack.Detect(b[:min(len(b), unpack.MagicSize)])
}

type image struct {
	r        *bufio.Reader
	at       int64 // bytes taken of r
	inside   bool  // what was compressed
	segs     int
	members  int
	each     func(*member, io.Reader) error
	complete bool // an archive ended with its trailer
}

// segments reads archives until the end, or until something compressed.
func (in *image) segments() error {
	for {
		c, err := in.r.ReadByte()
		if err == io.EOF && in.complete {
			return nil
		}
		if err != nil {
			return errImage
		}
		in.at++
		if c == 0 {
			continue
		}
		if err := in.r.UnreadByte(); err != nil {
			return errImage
		}
		in.at--
		head, _ := in.r.Peek(6)
		if !bytes.HasPrefix(head, []byte("07070")) {
			if !in.inside && formatOf(head) != unpack.Plain {
				in.complete = false
				return errPacked
			}
			return errImage
		}
		if in.segs++; in.segs > maxSegments || in.at%4 != 0 {
			return errImage
		}
		if err := in.archive(); err != nil {
			return err
		}
		in.complete = true
	}
}

// archive reads one archive up to its trailer.
func (in *image) archive() error {
	for {
		m, err := in.header()
		if err != nil {
			return err
		}
		if m.name == "TRAILER!!!" {
			if m.size != 0 {
				return errImage
			}
			return nil
		}
		if in.members++; in.members > maxMembers {
			return errImage
		}
		content := &io.LimitedReader{R: in.r, N: int64(m.size)}
		if err := in.each(m, content); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil || content.N != 0 {
			return errImage
		}
		in.at += int64(m.size)
		if err := in.align(); err != nil {
			return err
		}
	}
}

// header reads the header and the name of a member.
func (in *image) header() (*member, error) {
	var h [cpioHeader]byte
	if _, err := io.ReadFull(in.r, h[:]); err != nil {
		return nil, errImage
	}
	in.at += cpioHeader
	if magic := string(h[:6]); magic != "070701" && magic != "070702" {
		return nil, errImage
	}
	var f [13]uint32
	for i := range f {
		v, err := strconv.ParseUint(string(h[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return nil, errImage
		}
		f[i] = uint32(v)
	}
	m := &member{inode: f[0], mode: f[1], uid: f[2], gid: f[3], nlink: f[4], size: f[6], major: f[9], minor: f[10]}
	if f[11] < 2 || f[11] > maxName {
		return nil, errImage
	}
	name := make([]byte, f[11])
	if _, err := io.ReadFull(in.r, name); err != nil {
		return nil, errImage
	}
	in.at += int64(len(name))
	m.name = strings.TrimSuffix(string(name), "\x00")
	if len(m.name) != len(name)-1 || strings.IndexByte(m.name, 0) >= 0 {
		return nil, errImage
	}
	return m, in.align()
}

// align skips the NUL bytes up to the next multiple of four.
func (in *image) align() error {
	for ; in.at%4 != 0; in.at++ {
		if c, err := in.r.ReadByte(); err != nil || c != 0 {
			return errImage
		}
	}
	return nil
}
