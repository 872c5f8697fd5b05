package scanner

import (
	"context"
	"crypto/sha256"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// SHA256 reads p once more, by descriptor, and returns the SHA-256 of its
// content. seen is what the scan found of it, with content: the BLAKE3 of the
// very bytes that were read now must be seen.Digest, else the error wraps
// ErrMoved. ErrOneView is wrapped where it is on a file system that can hang,
// of which nothing is asked here.
func (t *Twice) SHA256(ctx context.Context, p entry.Path, seen *entry.Entry) (sum [sha256.Size]byte, err error) {
	f, err := t.open(p)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	cold := seen.Size > 0 && !f.Cached(0, seen.Size)
	f.Sequential()
	sha := sha256.New()
	blake := digest.New()
	blake.Reset(seen.Size)
	buf := make([]byte, min(int64(bufferSize), seen.Size+1))
	for off := int64(0); ; {
		n, err := f.ReadAt(buf, off)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return sum, err
		}
		if n == 0 {
			break
		}
		if off += int64(n); off > seen.Size {
			return sum, ErrMoved // or it grows for ever
		}
		_, _ = sha.Write(buf[:n]) // never fails, hash.Hash
		_, _ = blake.Write(buf[:n])
		t.rate.wait(ctx, n)
	}
	if cold {
		f.Drop(0, seen.Size)
	}
	if blake.Sum() != seen.Digest {
		return sum, ErrMoved
	}
	return [sha256.Size]byte(sha.Sum(nil)), nil
}
