package baseline

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"intact/scanner/entry"
)

// DirBuckets is into how many buckets the directories of a baseline fall.
const DirBuckets = 4096

// dirAges are kept as seconds: nobody asks for less.
type dirAges [DirBuckets]uint32

// DirBucket returns the bucket of a directory, which cannot be foretold without
// the salt either.
func (a *Ages) DirBucket(dir entry.Path) int {
	m := a.Mark(dir)
	return int(binary.BigEndian.Uint16(m[:2]) % DirBuckets)
}

// Verified is when all directories of a bucket had been held against the baseline
// last, at the earliest; zero: never.
func (a *Ages) Verified(bucket int) time.Time {
	if t := a.dirs[bucket]; t != 0 {
		return time.Unix(int64(t), 0).UTC()
	}
	return time.Time{}
}

// Verify notes that all directories of a bucket are held against the baseline from
// t on. What was noted of a later look stays.
func (a *Ages) Verify(bucket int, t time.Time) {
	if s := t.Unix(); s > 0 && s <= int64(^uint32(0)) {
		a.dirs[bucket] = max(a.dirs[bucket], uint32(s))
	}
}

// VerifyAll is Verify for every bucket.
func (a *Ages) VerifyAll(t time.Time) {
	for b := range a.dirs {
		a.Verify(b, t)
	}
}

// Forget takes back what the ages say of directories after now: a clock was put
// right, or somebody invented it.
func (a *Ages) Forget(now time.Time) {
	for b := range a.dirs {
		if a.Verified(b).After(now) {
			a.dirs[b] = 0
		}
	}
}

// Join takes what other has noted of directories, where both have one salt. It
// reports whether they do.
func (a *Ages) Join(other *Ages) bool {
	if a.Salt != other.Salt {
		return false
	}
	for b, t := range other.dirs {
		a.dirs[b] = max(a.dirs[b], t)
	}
	return true
}

// text is base64 of the times, big-endian.
func (d *dirAges) text() string {
	b := make([]byte, 0, 4*DirBuckets)
	for _, t := range d {
		b = binary.BigEndian.AppendUint32(b, t)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (d *dirAges) parse(s string) error {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 4*DirBuckets {
		return fmt.Errorf("%w: no times of directories", ErrAges)
	}
	for i := range d {
		d[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return nil
}

// StoredDir is one stored part of a directory.
type StoredDir struct {
	Dir     entry.Path
	Entries int
}

// StoredDirs yields the stored parts of all directories in key order, without
// decoding them.
func (g *Generation) StoredDirs() iter.Seq2[StoredDir, error] {
	return func(yield func(StoredDir, error) bool) {
		c, err := g.cursor(bucketDirs)
		if err != nil {
			yield(StoredDir{}, err)
			return
		}
		c.most = storedHead
		for c.next() {
			d, err := c.storedDir()
			if !yield(d, err) || err != nil {
				c.close()
				return
			}
		}
		if err := c.close(); err != nil {
			yield(StoredDir{}, err)
		}
	}
}

// storedHead is as much of a value as says how many entries it has: behind the
// head comes a name of 255 bytes at most.
const storedHead = packedHead + 300

func (c *cursor) storedDir() (d StoredDir, err error) {
	dir, _, err := entry.ParseKey(c.key)
	_, n, ok := peek(c.value)
	if err != nil || !ok {
		return d, fmt.Errorf("read baseline: %w: key %q: not a directory block", ErrDamaged, c.key)
	}
	return StoredDir{dir, n}, nil
}

// FinishIn is Finish for a scan of just the directories dirs and what belongs to
// them, see scanner.Options.Shallow, or of some names alone where there are none.
// Nothing is concluded about the rest.
func (c *Comparer) FinishIn(ctx context.Context, dirs []entry.Path) (Counts, error) {
	return c.finish(ctx, func(f *finisher, ctx context.Context) error {
		for _, d := range dirs {
			if err := f.directories(ctx, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// directories reports the entries of a directory that was not listed.
func (f *finisher) directories(ctx context.Context, dir entry.Path) error {
	key := dir.Key()
	if f.c.wasListed(key) {
		return nil
	}
	for part := uint32(0); ; part++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if b, err := f.c.g.part(key, part); b == nil || err != nil {
			return err
		}
		if err := f.directory(key, part); err != nil {
			return err
		}
	}
}
