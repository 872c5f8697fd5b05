package baseline

import (
	"bytes"
	"context"
	"fmt"

	"intact/scanner/entry"
)

// dirs streams the stored directories, changed where operations say so.
func (a *applier) dirs(ctx context.Context, cur *cursor) error {
	for have := cur.next(); ; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		o, err := a.peek()
		if err != nil {
			return err
		}
		if !have && o == nil {
			return nil
		}
		order := 1
		if have {
			dir, _ := dirKeyOf(cur.key)
			order = -1
			if o != nil {
				order = bytes.Compare(dir, o.dirKey)
			}
		}
		if order >= 0 {
			have, err = a.directory(cur, order == 0, have, o.dirKey)
		} else if err = a.w.put(bucketDirs, cur.key, cur.value); err == nil {
			have = cur.next()
		}
		if err != nil {
			return err
		}
	}
}

// directory rewrites one directory; stored says that cur stands at its first
// part. It returns whether cur stands at a pair afterwards.
func (a *applier) directory(cur *cursor, stored, have bool, dirKey []byte) (bool, error) {
	dir, _, err := entry.ParseKey(dirKey)
	if err != nil {
		return have, errBadChange
	}
	out := cutter{dir: dir, put: a.put}
	for stored {
		b, err := a.g.decode(cur.key, bytes.Clone(cur.value))
		if err != nil {
			return have, err
		}
		for i := range b.Entries {
			e := &b.Entries[i]
			if err := a.before(dirKey, e.Name, &out); err != nil {
				return have, err
			}
			if err := a.at(dirKey, e, &out); err != nil {
				return have, err
			}
		}
		have = cur.next()
		stored = false
		if have {
			next, _ := dirKeyOf(cur.key)
			stored = bytes.Equal(next, dirKey)
		}
	}
	if err := a.before(dirKey, nil, &out); err != nil {
		return have, err
	}
	return have, out.end()
}

// before applies the operations in front of name, nil for all: nothing is
// stored there.
func (a *applier) before(dirKey, name []byte, out *cutter) error {
	for {
		o, err := a.peek()
		if o == nil || err != nil {
			return err
		}
		if !bytes.Equal(o.dirKey, dirKey) || name != nil && bytes.Compare(o.name, name) >= 0 {
			return nil
		}
		if len(o.old) > 0 {
			return fmt.Errorf("%w: %q is not in it", ErrConflict, string(o.path()))
		}
		if err := a.take(); err != nil {
			return err
		}
		if err := out.add(o.new); err != nil {
			return err
		}
	}
}

// at passes the stored entry e on, or what the operation at its name makes of
// it.
func (a *applier) at(dirKey []byte, e *entry.Entry, out *cutter) error {
	o, err := a.peek()
	if err != nil {
		return err
	}
	if o == nil || !bytes.Equal(o.dirKey, dirKey) || !bytes.Equal(o.name, e.Name) {
		return out.add(e)
	}
	have, err := a.single(e, a.g.sets[e.Set])
	if err != nil {
		return err
	}
	if !bytes.Equal(have, o.old) {
		return fmt.Errorf("%w: %q", ErrConflict, string(o.path()))
	}
	if err := a.take(); err != nil {
		return err
	}
	if o.new == nil {
		return nil
	}
	return out.add(o.new)
}

func (a *applier) put(b *entry.Block) error {
	key, packed, err := a.pack.pack(b, a.g.sets)
	if err != nil {
		return err
	}
	return a.w.put(bucketDirs, key, packed)
}

// cutter cuts one directory's entries, which come in order, into parts as a
// scan does.
type cutter struct {
	dir  entry.Path
	part uint32
	list []entry.Entry
	put  func(*entry.Block) error
}

func (c *cutter) add(e *entry.Entry) error {
	if len(c.list) == entry.PartSize {
		if err := c.flush(e.Name); err != nil {
			return err
		}
	}
	c.list = append(c.list, *e)
	return nil
}

func (c *cutter) flush(next []byte) error {
	err := c.put(&entry.Block{Dir: c.dir, Part: c.part, Next: next, Entries: c.list})
	c.part++
	c.list = c.list[:0]
	return err
}

// end writes the last part. A directory without entries has none.
func (c *cutter) end() error {
	if len(c.list) == 0 {
		return nil
	}
	return c.flush(nil)
}
