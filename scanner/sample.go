package scanner

import (
	"context"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Sampler reads parts of files that a scan has read, again and by descriptor. It
// keeps the directory of the last one open, so it is cheap where files come in the
// order of the tree. It is for one goroutine.
type Sampler struct {
	twice *Twice
	dir   *dirfd.Dir // of path, nil: none
	path  entry.Path
}

// Sampler returns one that must be closed.
func (t *Twice) Sampler() *Sampler { return &Sampler{twice: t} }

// Close closes what is open.
func (s *Sampler) Close() {
	if s.dir != nil {
		s.dir.Release()
		s.dir = nil
	}
}

// Sample opens p and has look read parts of it. seen is what the scan found of it.
// Where size, times or inode are not those of seen, before or after, the error
// wraps ErrMoved and what look concluded must not be used; ErrOneView is wrapped
// where it is on a file system that can hang. What was not in the page cache is
// dropped again.
func (s *Sampler) Sample(ctx context.Context, p entry.Path, seen *entry.Entry, look func(read func(b []byte, off int64) error) error) error {
	if dir := p.Dir(); s.dir == nil || s.path != dir {
		s.Close()
		d, err := s.twice.openDir(dir)
		if err != nil {
			return err
		}
		s.dir, s.path = d, dir
	}
	f, err := s.twice.openIn(s.dir, p)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unmoved(f, seen); err != nil {
		return err
	}
	err = look(func(b []byte, off int64) error {
		s.twice.rate.wait(ctx, len(b))
		return readWarily(ctx, f, b, off)
	})
	if err != nil {
		return err
	}
	return unmoved(f, seen)
}

// readWarily fills b from off and leaves the page cache as it was. A file that is
// shorter is ErrMoved.
func readWarily(ctx context.Context, f dirfd.File, b []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, cold, err := f.ReadCached(b, off)
	if cold {
		f.Random() // nothing is read ahead
		defer f.Drop(off, int64(len(b)))
	}
	for err == nil && n < len(b) {
		var more int
		if more, err = f.ReadAt(b[n:], off+int64(n)); err == nil && more == 0 {
			err = ErrMoved
		}
		n += more
	}
	return err
}
