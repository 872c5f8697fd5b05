package baseline

import (
	"bytes"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"

	bolt "go.etcd.io/bbolt"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// cursor walks one bucket in key order. key and value are copies, valid until
// the next step: what uses them can neither fault nor change the map.
type cursor struct {
	g     *Generation
	v     *view
	c     *bolt.Cursor
	begun bool
	names bool // leave value empty
	b     byte // the bucket
	n     int  // steps until now
	most  int  // bytes of a value that are wanted, 0: all
	key   []byte
	value []byte
	err   error
}

func (g *Generation) cursor(bucket byte) (c *cursor, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer guard(&err, "read baseline")
	v, err := g.view()
	if err != nil {
		return nil, err
	}
	b := v.tx.Bucket([]byte{bucket})
	if b == nil {
		return nil, fmt.Errorf("read baseline: %w: no bucket %q", ErrDamaged, bucket)
	}
	return &cursor{g: g, v: v, c: b.Cursor(), b: bucket}, nil
}

// next steps to the next pair; false at the end or after an error.
func (c *cursor) next() bool {
	return c.step(func() (k, v []byte) {
		if !c.begun {
			c.begun = true
			return c.c.First()
		}
		return c.c.Next()
	})
}

// seek steps to the first pair at or behind key.
func (c *cursor) seek(key []byte) bool {
	if c.v.kept != nil {
		return c.beyond(key)
	}
	return c.step(func() (k, v []byte) {
		c.begun = true
		return c.c.Seek(key)
	})
}

func (c *cursor) step(move func() (k, v []byte)) bool {
	if c.err != nil {
		return false
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer guard(&c.err, "read baseline")
	k, v := move()
	if k == nil {
		if c.v.kept != nil {
			c.err = c.v.kept.step(c.b, c.n, nil, nil, true)
		}
		return false
	}
	if v == nil {
		c.err = fmt.Errorf("read baseline: %w: a bucket inside a bucket", ErrDamaged)
		return false
	}
	c.key = append(c.key[:0], k...)
	if !c.names {
		if c.most > 0 && len(v) > c.most {
			v = v[:c.most]
		}
		c.value = append(c.value[:0], v...)
	}
	if c.v.kept != nil {
		c.err = c.v.kept.step(c.b, c.n, c.key, c.value, c.names)
	}
	c.n++
	return c.err == nil
}

// close gives the transaction back and returns what went wrong.
func (c *cursor) close() error {
	if c.v != nil && c.err == nil {
		c.g.done(c.v)
	}
	c.v = nil
	return c.err
}

// chainCheck verifies that keys are well-formed and that the parts of each
// directory are complete, while they pass in key order.
type chainCheck struct {
	dir  []byte
	part uint32
	next []byte // first name of the part that must follow, nil if none
}

// add takes one stored part. It returns the number of its entries, and 1 as
// first if a directory begins with it.
func (c *chainCheck) add(key, value []byte) (n, first int, err error) {
	if _, _, err := entry.ParseKey(key); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	dir, part := dirKeyOf(key)
	next, n, ok := peek(value)
	if !ok || n == 0 {
		return 0, 0, fmt.Errorf("%w: key %q: not a directory block", ErrDamaged, key)
	}
	if c.next != nil {
		if !bytes.Equal(dir, c.dir) || part != c.part+1 {
			return 0, 0, fmt.Errorf("%w: directory %q lacks part %d", ErrDamaged, c.dir, c.part+1)
		}
	} else if part != 0 {
		return 0, 0, fmt.Errorf("%w: directory %q has a part %d too many", ErrDamaged, dir, part)
	}
	if part == 0 {
		first = 1
	}
	c.dir, c.part = append(c.dir[:0], dir...), part
	c.next = nil
	if next != nil {
		c.next = bytes.Clone(next)
	}
	return n, first, nil
}

func (c *chainCheck) end() error {
	if c.next != nil {
		return fmt.Errorf("%w: directory %q lacks part %d", ErrDamaged, c.dir, c.part+1)
	}
	return nil
}

// Entries yields all stored parts in key order, decoded. A block is valid
// until the next one. A part that cannot be decoded is yielded as an error; the
// rest follows.
func (g *Generation) Entries() iter.Seq2[*entry.Block, error] {
	return func(yield func(*entry.Block, error) bool) {
		c, err := g.cursor(bucketDirs)
		if err != nil {
			yield(nil, err)
			return
		}
		for c.next() {
			if !yield(g.decode(c.key, c.value)) {
				c.close()
				return
			}
		}
		if err := c.close(); err != nil {
			yield(nil, err)
		}
	}
}

// decode verifies and unpacks a copy of a stored part.
func (g *Generation) decode(key, value []byte) (*entry.Block, error) {
	b := new(entry.Block)
	if err := g.decodeTo(b, key, value); err != nil {
		return nil, err
	}
	return b, nil
}

// decodeTo is decode into b, whose entries are overwritten.
func (g *Generation) decodeTo(b *entry.Block, key, value []byte) (err error) {
	if b.Dir, b.Part, err = entry.ParseKey(key); err != nil {
		return fmt.Errorf("read baseline: %w: %w", ErrDamaged, err)
	}
	p := entry.Packed(value)
	if err = p.Verify(); err == nil {
		err = p.UnpackTo(b, g.sets)
	}
	if err != nil {
		return fmt.Errorf("read baseline: directory %q: %w: %w", b.Dir, ErrDamaged, err)
	}
	return nil
}

// same reports whether a stored part has the compared digest of now.
func (g *Generation) same(dirKey []byte, part uint32, now entry.Packed) (eq bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer guard(&err, "read baseline")
	v, err := g.view()
	if err != nil {
		return false, err
	}
	old := v.get(dirKey, part)
	eq = len(old) >= digest.Size && bytes.Equal(old[:digest.Size], now[:digest.Size])
	g.done(v)
	return eq, nil
}

// part returns a decoded copy of one stored part, nil if there is none.
func (g *Generation) part(dirKey []byte, part uint32) (*entry.Block, error) {
	return g.partIn(new(partRoom), dirKey, part)
}

// partRoom is what one stored part is decoded in. The zero value is usable.
type partRoom struct {
	value []byte
	block entry.Block
}

// maxRoom bounds the entries that are kept room for, one worker each.
const maxRoom = 128

// partIn is part in room, whose block it returns.
func (g *Generation) partIn(room *partRoom, dirKey []byte, part uint32) (*entry.Block, error) {
	if cap(room.block.Entries) > maxRoom {
		*room = partRoom{}
	}
	v, err := g.copyOf(room.value[:0], dirKey, part)
	if v == nil || err != nil {
		return nil, err
	}
	room.value = v
	if err := g.decodeTo(&room.block, appendPartKey(nil, dirKey, part), v); err != nil {
		return nil, err
	}
	return &room.block, nil
}

// copyOf returns a copy of a stored value in dst, nil if there is none.
func (g *Generation) copyOf(dst, dirKey []byte, part uint32) (out []byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer guard(&err, "read baseline")
	v, err := g.view()
	if err != nil {
		return nil, err
	}
	if stored := v.get(dirKey, part); stored != nil {
		out = append(append(dst, stored...), 0)[:len(stored)] // never nil
	}
	g.done(v)
	return out, nil
}

// Lookup returns the stored entry of path and its attribute set. The entry is
// the caller's. Damage shows as absence: see Err.
func (g *Generation) Lookup(path entry.Path) (*entry.Entry, entry.Set, bool) {
	dir, name := path.Dir(), []byte(path.Base())
	e, err := g.find(dir.Key(), name)
	if err != nil {
		g.fault.CompareAndSwap(nil, &err)
		return nil, entry.Set{}, false
	}
	if e == nil {
		return nil, entry.Set{}, false
	}
	return e.Clone(), g.sets[e.Set], true
}

// LookupNames finds entries of one directory by their names, which are sorted,
// and reads each stored part once. Of names that the baseline lacks nothing is
// returned, of one that is damaged neither: see Err.
func (g *Generation) LookupNames(dir entry.Path, names [][]byte) (found []entry.Entry) {
	key := dir.Key()
	for len(names) > 0 {
		n, err := g.partOf(key, names[0])
		var b *entry.Block
		if err == nil {
			b, err = g.part(key, n)
		}
		if err != nil {
			g.fault.CompareAndSwap(nil, &err)
			return nil
		}
		if b == nil {
			return found
		}
		for len(names) > 0 && (b.Next == nil || bytes.Compare(names[0], b.Next) < 0) {
			if i, ok := search(b.Entries, names[0]); ok {
				found = append(found, *b.Entries[i].Clone())
			}
			names = names[1:]
		}
	}
	return found
}

// Names returns the names in a directory, none where there is no such one. What
// is damaged is left out: see Err.
func (g *Generation) Names(dir entry.Path) (names []string) {
	key := dir.Key()
	for n := uint32(0); ; n++ {
		b, err := g.part(key, n)
		if err != nil {
			g.fault.CompareAndSwap(nil, &err)
		}
		if b == nil || err != nil {
			return names
		}
		for i := range b.Entries {
			names = append(names, string(b.Entries[i].Name))
		}
	}
}

func (g *Generation) find(dirKey, name []byte) (*entry.Entry, error) {
	n, err := g.partOf(dirKey, name)
	if err != nil {
		return nil, err
	}
	b, err := g.part(dirKey, n)
	if b == nil || err != nil {
		return nil, err
	}
	i, ok := search(b.Entries, name)
	if !ok {
		return nil, nil
	}
	return &b.Entries[i], nil
}

func search(list []entry.Entry, name []byte) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(e entry.Entry, n []byte) int { return bytes.Compare(e.Name, n) })
}

// partOf returns the number of the stored part whose range holds name. Parts
// are found by doubling and halving: a directory may have thousands.
func (g *Generation) partOf(dirKey, name []byte) (n uint32, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer guard(&err, "read baseline")
	v, err := g.view()
	if err != nil {
		return 0, err
	}
	// behind reports that name lies behind part i.
	behind := func(i uint32) bool {
		next, _, _ := peek(v.get(dirKey, i))
		return next != nil && bytes.Compare(name, next) >= 0
	}
	lo, hi := uint32(0), uint32(1)
	for behind(hi - 1) {
		lo, hi = hi, hi*2
		if hi > 1<<30 {
			return 0, fmt.Errorf("read baseline: %w: too many parts", ErrDamaged)
		}
	}
	for lo < hi-1 {
		mid := lo + (hi-lo)/2
		if behind(mid - 1) {
			lo = mid
		} else {
			hi = mid
		}
	}
	g.done(v)
	return lo, nil
}
