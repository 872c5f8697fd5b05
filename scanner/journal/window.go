package journal

import (
	"io"

	"intact/scanner/digest"
)

// window reads a file from its beginning to its end.
type window struct {
	r   io.ReaderAt
	end int64          // of the file
	off int64          // of what stands behind buf
	all *digest.Hasher // of everything that was read, nil: not wanted
	buf []byte
	mem []byte
}

// some returns what stands next, n bytes at most and 16 at least where there are
// as many. It is valid until the next call; pass goes on.
func (s *window) some(n uint64) ([]byte, error) {
	if len(s.buf) < 16 && uint64(len(s.buf)) < n {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	return s.buf[:min(uint64(len(s.buf)), n)], nil
}

func (s *window) pass(n int) { s.buf = s.buf[n:] }

// fill reads more behind what is left.
func (s *window) fill() error {
	if s.mem == nil {
		s.mem = make([]byte, min(windowSize, s.end))
	}
	left := copy(s.mem, s.buf)
	want := min(int64(len(s.mem)-left), s.end-s.off)
	if want <= 0 {
		return io.ErrUnexpectedEOF
	}
	n, err := s.r.ReadAt(s.mem[left:left+int(want)], s.off)
	if int64(n) < want {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if s.all != nil {
		_, _ = s.all.Write(s.mem[left : left+n]) // never fails, hash.Hash
	}
	s.off += want
	s.buf = s.mem[:left+n]
	return nil
}

// take fills b.
func (s *window) take(b []byte) error {
	for len(b) > 0 {
		have, err := s.some(uint64(len(b)))
		if err != nil {
			return err
		}
		n := copy(b, have)
		s.pass(n)
		b = b[n:]
	}
	return nil
}

// each gives do the next n bytes, in pieces of whole items of up to 16 bytes.
func (s *window) each(n uint64, do func(b []byte)) error {
	for n > 0 {
		b, err := s.some(n)
		if err != nil {
			return err
		}
		if len(b) > 16 {
			b = b[:len(b)&^15]
		}
		do(b)
		s.pass(len(b))
		n -= uint64(len(b))
	}
	return nil
}

// skip goes on to offset at.
func (s *window) skip(at uint64) error {
	here := uint64(s.off) - uint64(len(s.buf))
	for here < at {
		b, err := s.some(at - here)
		if err != nil {
			return err
		}
		s.pass(len(b))
		here += uint64(len(b))
	}
	return nil
}
