package baseline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"intact/scanner/digest"
)

// Keeper holds the newest generation open between uses, for who looks often. What
// was verified once is not read whole again while the statement, its signature and
// the file's inode, size and times are as they were; each value is held against its
// digest whenever it is used, and no key can go or come: both are remembered from
// the verification. The zero value is usable. It is for one goroutine.
type Keeper struct {
	g  *Generation
	of unix.Stat_t // of the file, before it was verified
}

// Open is Store.Open of the newest generation. What it returns is the Keeper's:
// closing it does nothing, and it is valid until the next Open.
func (k *Keeper) Open(ctx context.Context, s *Store) (*Generation, error) {
	if k.g != nil {
		if k.stands(s) {
			return k.g, nil
		}
		k.Close()
	}
	n, err := s.Latest()
	if err != nil || n == 0 {
		return s.Open(ctx, 0) // which says what is wrong
	}
	of, err := statOf(s.dbPath(n))
	g, openErr := s.Open(ctx, 0)
	if err != nil || openErr != nil {
		return g, openErr
	}
	if err := g.keep(ctx); err != nil {
		g.Close()
		return nil, err
	}
	k.g, k.of = g, of
	return g, nil
}

// stands reports whether the generation that is open is the newest one, signed by
// who may, in a file that nobody changed. What is wrong otherwise is found when it
// is opened anew.
func (k *Keeper) stands(s *Store) bool {
	old := k.g.st
	n, err := s.Latest()
	if err != nil || n != old.Generation || k.g.dead || k.g.Err() != nil {
		return false
	}
	st, err := s.chained(n)
	if err != nil || st.Digest() != old.Digest() {
		return false
	}
	if k.g.armor, k.g.signed, err = s.judge(st); err != nil {
		return false
	}
	now, err := statOf(s.dbPath(n))
	return err == nil && now == k.of
}

// statOf is what changes with a file, all else zero.
func statOf(name string) (of unix.Stat_t, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return of, &os.PathError{Op: "lstat", Path: name, Err: err}
	}
	of.Dev, of.Ino, of.Mode, of.Size, of.Mtim, of.Ctim = st.Dev, st.Ino, st.Mode, st.Size, st.Mtim, st.Ctim
	return of, nil
}

// Rest gives the memory of the map back until it is used again.
func (k *Keeper) Rest() {
	if k.g == nil || k.g.db == nil || k.g.dead {
		return
	}
	// Where it cannot be given back, it stays: nothing else depends on it.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, k.g.db.Info().Data, uintptr(k.of.Size), unix.MADV_DONTNEED)
}

// Close closes what is open: the next Open verifies all bytes.
func (k *Keeper) Close() error {
	if k.g == nil {
		return nil
	}
	g := k.g
	k.g, g.kept = nil, nil
	return g.Close()
}

// kept is what a verified generation holds: in the order of the file a hash of each
// key, under a seed that nobody outside knows, and the beginning of the digest of
// its value.
type kept struct {
	seed    maphash.Seed
	buckets map[byte]*keptBucket
}

type keptBucket struct {
	pairs []keptPair
	byKey []uint32 // pairs by their hashes, ascending
}

type keptPair struct {
	key uint64
	sum [16]byte
}

// errTampered means that the file changed behind its verification.
var errTampered = errors.New("it changed since it was verified")

func sumOf(value []byte) (s [16]byte) {
	d := digest.Sum(value)
	copy(s[:], d[:])
	return s
}

// keep remembers everything in g, whose root it must have.
func (g *Generation) keep(ctx context.Context) error {
	k := &kept{maphash.MakeSeed(), map[byte]*keptBucket{}}
	root := newRooter()
	for _, b := range bucketOrder {
		c, err := g.cursor(b)
		if err != nil {
			return err
		}
		kb := &keptBucket{}
		for c.next() && ctx.Err() == nil {
			d := digest.Sum(c.value)
			root.addSum(b, c.key, d)
			kb.pairs = append(kb.pairs, keptPair{maphash.Bytes(k.seed, c.key), [16]byte(d[:16])})
		}
		if err := c.close(); err != nil {
			return err
		}
		kb.index()
		k.buckets[b] = kb
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if root.sum() != g.root {
		return fmt.Errorf("read baseline: %w: %w", ErrDamaged, errTampered)
	}
	g.kept = k
	return nil
}

func (b *keptBucket) index() {
	b.pairs = slices.Clip(b.pairs)
	b.byKey = make([]uint32, len(b.pairs))
	for i := range b.byKey {
		b.byKey[i] = uint32(i)
	}
	slices.SortFunc(b.byKey, func(x, y uint32) int { return cmp.Compare(b.pairs[x].key, b.pairs[y].key) })
}

// value returns a copy of what the map has at key, nil if there is nothing. It
// panics where that is not what was verified; whoever reads the map recovers.
func (k *kept) value(bucket byte, key, stored []byte) []byte {
	b := k.buckets[bucket]
	h := maphash.Bytes(k.seed, key)
	at, known := slices.BinarySearchFunc(b.byKey, h, func(i uint32, h uint64) int { return cmp.Compare(b.pairs[i].key, h) })
	if stored == nil && !known {
		return nil
	}
	v := append([]byte{}, stored...)
	sum := sumOf(v)
	for ; known && at < len(b.byKey) && b.pairs[b.byKey[at]].key == h; at++ {
		if stored != nil && b.pairs[b.byKey[at]].sum == sum {
			return v
		}
	}
	panic(errTampered)
}

// step checks the pair that a walk over bucket is at, the n-th. A nil key is its
// end; of names the values are not read.
func (k *kept) step(bucket byte, n int, key, value []byte, names bool) error {
	b := k.buckets[bucket]
	if key == nil && n == len(b.pairs) {
		return nil
	}
	if key == nil || n >= len(b.pairs) || b.pairs[n].key != maphash.Bytes(k.seed, key) || !names && b.pairs[n].sum != sumOf(value) {
		return fmt.Errorf("read baseline: %w: %w", ErrDamaged, errTampered)
	}
	return nil
}

// beyond walks to the first pair at or behind key, past every one before it.
func (c *cursor) beyond(key []byte) bool {
	for c.next() {
		if bytes.Compare(c.key, key) >= 0 {
			return true
		}
	}
	return false
}
