package scanner

import (
	"context"

	"intact/scanner/entry"
)

// Sample opens p once more, by descriptor, and has look read parts of it. seen is
// what the scan found of it. Where size, times or inode are not those of seen, before
// or after, the error wraps ErrMoved and what look concluded must not be used;
// ErrOneView is wrapped where it is on a file system that can hang. What was not in the
// page cache is dropped again.
func (t *Twice) Sample(ctx context.Context, p entry.Path, seen *entry.Entry, look func(read func(b []byte, off int64) error) error) error {
	f, err := t.open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unmoved(f, seen); err != nil {
		return err
	}
	cold := seen.Size > 0 && !f.Cached(0, seen.Size)
	f.Random() // nothing is read ahead
	err = look(func(b []byte, off int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.rate.wait(ctx, len(b))
		for at := 0; at < len(b); {
			n, err := f.ReadAt(b[at:], off+int64(at))
			if err == nil && n == 0 {
				err = ErrMoved
			}
			if err != nil {
				return err
			}
			at += n
		}
		return nil
	})
	if cold {
		f.Drop(0, seen.Size)
	}
	if err != nil {
		return err
	}
	return unmoved(f, seen)
}
