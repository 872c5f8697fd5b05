package scanner

import (
	"context"
	"errors"
	"fmt"
	"io"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Errors of Twice.LookAgain: there was no second look.
var (
	// ErrOneView says that a file can be read through the page cache only.
	ErrOneView = errors.New("it can be read through the page cache only")
	// ErrMoved says that the file is not the one that was scanned any more, or
	// changed meanwhile.
	ErrMoved = errors.New("it changed after it was scanned")
)

// Twice looks again at files that a scan has read, past the page cache: who
// writes to the disk below a mounted file system changes what the next boot
// gets, and nothing that the page cache shows until then. It is safe for
// concurrent use.
type Twice struct {
	root *dirfd.Root
	rate *limiter
}

// NewTwice looks at files of r; it reads at most maxRate bytes a second, 0 does
// not limit.
func NewTwice(r *dirfd.Root, maxRate int64) *Twice {
	return &Twice{root: r, rate: newLimiter(maxRate, nil)}
}

// NewTwicePaced is NewTwice at a pace as of Options.Pace.
func NewTwicePaced(r *dirfd.Root, pace func(ctx context.Context, n int)) *Twice {
	return &Twice{root: r, rate: newLimiter(0, pace)}
}

// LookAgain reads p past the page cache. seen is what the scan found of it, with
// content. It returns the digest of what the disk holds. Where that is not
// seen.Digest, the page cache was read again and still gives seen.Digest, while
// size and times were those of seen before and after: the two views of one file
// differ. Errors wrap ErrOneView, ErrMoved, or say why it could not be read.
func (t *Twice) LookAgain(ctx context.Context, p entry.Path, seen *entry.Entry) (disk digest.Digest, err error) {
	f, err := t.open(p)
	if err != nil {
		return disk, err
	}
	defer f.Close()
	if err := unmoved(f, seen); err != nil {
		return disk, err
	}
	way, _ := f.PastCache()
	if way != dirfd.Direct { // it takes the other view with it
		if err := t.cached(ctx, f, seen); err != nil {
			return disk, err
		}
	}
	if disk, err = t.past(ctx, f, seen.Size); err != nil {
		return disk, err
	}
	if err := unmoved(f, seen); err != nil || disk == seen.Digest {
		return disk, err
	}
	if way == dirfd.Direct {
		err = t.cached(ctx, f, seen)
	} else {
		var again digest.Digest
		if again, err = t.past(ctx, f, seen.Size); err == nil && again != disk {
			err = ErrMoved
		}
	}
	if err == nil {
		err = unmoved(f, seen)
	}
	return disk, err
}

// open opens p by descriptor, one name at a time. Nothing is asked of a file
// system that can hang.
func (t *Twice) open(p entry.Path) (f dirfd.File, err error) {
	d, err := t.openDir(p.Dir())
	if err != nil {
		return f, err
	}
	defer d.Release()
	return t.openIn(d, p)
}

// openDir opens the directory p so.
func (t *Twice) openDir(p entry.Path) (*dirfd.Dir, error) {
	d := t.root.Dir()
	at := entry.Path("/")
	for _, c := range p.Components() {
		at = at.Join([]byte(c))
		n, _, err := t.safe(d, at)
		if err != nil {
			d.Release()
			return nil, err
		}
		next, err := d.OpenPath(n)
		d.Release()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMoved, err)
		}
		d = next
	}
	return d, nil
}

// openIn opens the regular file p in its directory d.
func (t *Twice) openIn(d *dirfd.Dir, p entry.Path) (f dirfd.File, err error) {
	if p == "/" {
		return f, ErrMoved
	}
	n, kind, err := t.safe(d, p)
	if err != nil {
		return f, err
	}
	if kind != entry.File {
		return f, ErrMoved
	}
	return d.OpenFile(n)
}

// safe looks at the last name of p in its directory d. The error wraps ErrOneView
// where it is on a file system of which nothing is to be asked.
func (t *Twice) safe(d *dirfd.Dir, p entry.Path) (n dirfd.Name, k entry.Kind, err error) {
	if n, err = dirfd.NewName(p.Base()); err != nil {
		return n, k, err
	}
	if m := t.root.Mounts().At(p); m != nil && dirfd.CanHang(m.FSType) {
		return n, k, fmt.Errorf("%w: %s can hang", ErrOneView, m.FSType)
	}
	var st dirfd.Stat
	if err := d.Stat(n, true, &st); err != nil {
		return n, k, fmt.Errorf("%w: %w", ErrMoved, err)
	}
	if m := t.root.Mounts().ByID(st.Mount); m == nil && t.root.Mounts().Known() || m != nil && (pseudoFS(m.FSType) || dirfd.CanHang(m.FSType)) {
		return n, k, ErrOneView
	}
	return n, st.Kind, nil
}

// unmoved returns ErrMoved if f is not as it was seen.
func unmoved(f dirfd.File, seen *entry.Entry) error {
	var st dirfd.Stat
	if err := f.Stat(&st); err != nil {
		return err
	}
	if st.Kind != entry.File || st.Inode != seen.Inode || st.Device != seen.Device || st.Size != seen.Size || st.Mtime != seen.Mtime || st.Ctime != seen.Ctime {
		return ErrMoved
	}
	return nil
}

// past returns the digest of size bytes of what the disk holds.
func (t *Twice) past(ctx context.Context, f dirfd.File, size int64) (digest.Digest, error) {
	h := digest.New()
	h.Reset(size)
	err := f.ReadPast(size, func(b []byte) error {
		t.rate.wait(ctx, len(b))
		h.Write(b)
		return ctx.Err()
	})
	switch {
	case errors.Is(err, dirfd.ErrThroughCache):
		err = fmt.Errorf("%w: %w", ErrOneView, err)
	case err == io.ErrUnexpectedEOF:
		err = ErrMoved
	}
	return h.Sum(), err
}

// cached returns ErrMoved if the page cache does not show what was seen.
func (t *Twice) cached(ctx context.Context, f dirfd.File, seen *entry.Entry) error {
	h := digest.New()
	h.Reset(seen.Size)
	buf := make([]byte, bufferSize)
	for off := int64(0); off < seen.Size; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), seen.Size-off)], off)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrMoved
		}
		t.rate.wait(ctx, n)
		h.Write(buf[:n])
		off += int64(n)
	}
	if h.Sum() != seen.Digest {
		return ErrMoved
	}
	return nil
}
