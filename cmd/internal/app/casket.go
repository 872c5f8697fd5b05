package app

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"intact/report"
	"intact/scanner/digest"
)

// casket writes an archive of evidence: tar in the PAX format, which holds any
// name and every attribute, compressed with gzip, both of the standard library:
// every responder's machine opens it. The fastest level is used, because a
// suspect host is left alone soon.
//
// The last member is MANIFEST. Its lines grow with the archive, so they wait in
// an unlinked file beside it, never on another file system.
type casket struct {
	ctx     context.Context
	raw     *summed
	zip     *gzip.Writer
	tar     *tar.Writer
	lines   *os.File
	text    *bufio.Writer // to lines
	members int64         // with content or without, but for MANIFEST
	gaps    int64
	buf     []byte
	hash    *digest.Hasher
}

const (
	casketBuffer = 256 << 10
	manifestName = "MANIFEST"
)

// newCasket begins an archive in f. dir is where an unlinked file may lie.
func newCasket(ctx context.Context, f *os.File, dir string) (*casket, error) {
	lines, err := os.CreateTemp(dir, ".evidence-*.tmp")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(lines.Name()); err != nil {
		return nil, errors.Join(err, lines.Close())
	}
	c := &casket{ctx: ctx, raw: newSummed(f), lines: lines, text: bufio.NewWriterSize(lines, 64<<10), buf: make([]byte, casketBuffer), hash: digest.New()}
	c.zip, _ = gzip.NewWriterLevel(c.raw, gzip.BestSpeed) // the level is a valid one
	c.tar = tar.NewWriter(c.zip)
	return c, nil
}

// sum returns the SHA-256 of the archive so far, in hex.
func (c *casket) sum() string { return c.raw.sum() }

// line adds a line to the MANIFEST. What comes from a disk is escaped by the
// caller.
func (c *casket) line(format string, args ...any) error {
	_, err := fmt.Fprintf(c.text, format+"\n", args...)
	return err
}

// gap notes that something could not be saved, or not for certain.
func (c *casket) gap(name, format string, args ...any) error {
	c.gaps++
	return c.line("gap %s: %s", report.Escape(name), report.Prose(fmt.Sprintf(format, args...)))
}

// header begins a member. A header that the format cannot hold is a gap, and ok
// is false then.
func (c *casket) header(h *tar.Header) (ok bool, err error) {
	h.Format = tar.FormatPAX
	if err := c.ctx.Err(); err != nil {
		return false, err
	}
	if err := c.tar.WriteHeader(h); err != nil {
		// Only what went wrong with the archive itself sticks.
		if c.tar.Flush() != nil {
			return false, err
		}
		return false, c.gap(h.Name, "%v", err)
	}
	c.members++
	return true, nil
}

// empty adds a member without content: a link or a folder.
func (c *casket) empty(h *tar.Header, word string) error {
	ok, err := c.header(h)
	if !ok || err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		return c.line("%s - - - %s -> %s", word, report.Escape(h.Name), report.Escape(h.Linkname))
	}
	return c.line("%s - - - %s", word, report.Escape(h.Name))
}

// file adds a regular file of h.Size bytes that are read from r. What r does not
// give is filled with zeros and is a gap: the size stands before the content.
func (c *casket) file(h *tar.Header, r io.Reader) error {
	h.Typeflag = tar.TypeReg
	ok, err := c.header(h)
	if !ok || err != nil {
		return err
	}
	c.hash.Reset(h.Size)
	sha := sha256.New()
	var n int64
	var cause error
	for n < h.Size && cause == nil {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		m, err := r.Read(c.buf[:min(int64(len(c.buf)), h.Size-n)])
		b := c.buf[:m]
		if _, err := c.tar.Write(b); err != nil {
			return err
		}
		sha.Write(b)
		c.hash.Write(b)
		n += int64(m)
		cause = err
	}
	if n < h.Size {
		if err := c.pad(h.Size - n); err != nil {
			return err
		}
		if cause == io.EOF {
			cause = errors.New("it became shorter while it was read")
		}
		if err := c.gap(h.Name, "only %d of %d bytes were read, zeros follow: %v", n, h.Size, cause); err != nil {
			return err
		}
	}
	return c.line("file %s %s %d %s", hex.EncodeToString(sha.Sum(nil)), c.hash.Sum(), n, report.Escape(h.Name))
}

func (c *casket) pad(n int64) error {
	clear(c.buf)
	for n > 0 {
		m, err := c.tar.Write(c.buf[:min(int64(len(c.buf)), n)])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

// bytes adds a file that is in memory.
func (c *casket) bytes(name string, b []byte, at time.Time) error {
	return c.file(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: at}, newReader(b))
}

// finish writes the MANIFEST, head before its lines, and the end of the archive.
func (c *casket) finish(head []byte) error {
	if err := c.text.Flush(); err != nil {
		return err
	}
	size, err := c.lines.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = c.lines.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	h := &tar.Header{Name: manifestName, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(head)) + size, ModTime: time.Now(), Format: tar.FormatPAX}
	if err := c.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err = c.tar.Write(head)
	if err == nil {
		_, err = io.CopyBuffer(c.tar, io.LimitReader(c.lines, size), c.buf)
	}
	return errors.Join(err, c.tar.Close(), c.zip.Close())
}

// copied adds a file of the scanning host that intact itself wrote. One that is
// not there is passed over.
func (c *casket) copied(name, from string) error {
	f, err := openQuietly(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return c.gap(name, "%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return c.gap(name, "%v", err)
	}
	return c.file(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}, f)
}

// summed passes bytes on and hashes them, as a writer or as a reader.
type summed struct {
	io.ReadWriter
	hash hash.Hash
}

func newSummed(f io.ReadWriter) *summed { return &summed{f, sha256.New()} }

func (s *summed) Write(b []byte) (int, error) {
	n, err := s.ReadWriter.Write(b)
	s.hash.Write(b[:n])
	return n, err
}

func (s *summed) Read(b []byte) (int, error) {
	n, err := s.ReadWriter.Read(b)
	s.hash.Write(b[:n])
	return n, err
}

func (s *summed) sum() string { return hex.EncodeToString(s.hash.Sum(nil)) }
