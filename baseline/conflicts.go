package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// Conflict is a change that Apply refuses, because the generation does not hold
// its old value.
type Conflict struct {
	Path entry.Path // of the change
	At   entry.Path // where the other value is: a rename has two ends
	// Same says that the generation holds what the change would make of At: it
	// was accepted before.
	Same bool
}

// Conflicts tells the changes among picks whose old value is not what g holds;
// those alone make Apply fail with ErrConflict. Conflicts come in the order of
// At, so a rename may be told twice. What else Apply would refuse is an error
// here too. Nothing is written but temporary files in the folder of s.
func (g *Generation) Conflicts(ctx context.Context, s *Store, picks iter.Seq2[*diff.Change, error], tell func(Conflict) error) error {
	a := applier{g: g}
	var err error
	if a.ops, err = newSpool(s.path(baselineDir), 1, 0); err != nil {
		return fmt.Errorf("find conflicts: %w", err)
	}
	defer a.close()
	fit := func(yield func(*diff.Change, error) bool) {
		for c, err := range picks {
			if err == nil && !g.knowsSet(c) {
				if err = tell(Conflict{Path: c.Path, At: c.Path}); err == nil {
					continue
				}
			}
			if !yield(c, err) {
				return
			}
		}
	}
	if err := a.collect(ctx, fit); err != nil {
		return fmt.Errorf("find conflicts: %w", err)
	}
	if err := a.conflicts(ctx, tell); err != nil {
		return fmt.Errorf("find conflicts: %w", err)
	}
	return nil
}

// knowsSet reports whether what is new of c was read under an attribute set
// that g has in the same place.
func (g *Generation) knowsSet(c *diff.Change) bool {
	return c.New == nil || int(c.New.Set) < len(g.sets) && g.sets[c.New.Set] == c.NewSet
}

func (a *applier) conflicts(ctx context.Context, tell func(Conflict) error) error {
	at := place{g: a.g}
	for {
		o, err := a.peek()
		if err == nil {
			err = context.Cause(ctx)
		}
		if o == nil || err != nil {
			return err
		}
		e, err := at.find(o.dirKey, o.name)
		if err != nil {
			return err
		}
		var have []byte
		if e != nil {
			if have, err = a.single(e, a.g.sets[e.Set]); err != nil {
				return err
			}
		}
		if !bytes.Equal(have, o.old) {
			have = bytes.Clone(have) // single has one buffer
			same, err := a.makes(o, have)
			if err == nil {
				err = tell(Conflict{o.change, o.path(), same})
			}
			if err != nil {
				return err
			}
		}
		if err := a.take(); err != nil {
			return err
		}
	}
}

// makes reports whether have, as single makes it, is what o would put there.
func (a *applier) makes(o *op, have []byte) (bool, error) {
	if o.new == nil {
		return len(have) == 0, nil
	}
	now, err := a.single(o.new, a.g.sets[o.new.Set])
	return bytes.Equal(now, have), err
}

// place finds stored entries that are asked for in stored order. The part that
// the last one stood in is kept decoded.
type place struct {
	g    *Generation
	dir  []byte
	part uint32
	room partRoom
	have *entry.Block // nil: nothing is stored there
}

// find returns the stored entry, nil if there is none. It is valid until the
// next call.
func (p *place) find(dirKey, name []byte) (*entry.Entry, error) {
	n, err := p.g.partOf(dirKey, name)
	if err != nil {
		return nil, err
	}
	if p.dir == nil || p.part != n || !bytes.Equal(p.dir, dirKey) {
		if p.have, err = p.g.partIn(&p.room, dirKey, n); err != nil {
			return nil, err
		}
		p.dir, p.part = bytes.Clone(dirKey), n
	}
	if p.have == nil {
		return nil, nil
	}
	if i, ok := search(p.have.Entries, name); ok {
		return &p.have.Entries[i], nil
	}
	return nil, nil
}

// RowConflicts returns those of changes that Apply would refuse because g does
// not hold their old value, and says of each whether g holds the new one.
func (g *Generation) RowConflicts(changes []diff.RowChange) (list []diff.RowChange, same []bool, err error) {
	type held struct {
		value []byte
		is    bool
	}
	now := map[string]held{}
	for _, c := range changes {
		k, err := rowKey(c.Kind, c.Key)
		if err != nil {
			return nil, nil, err
		}
		now[string(k)] = held{}
	}
	for r, err := range g.rows() {
		if err != nil {
			return nil, nil, err
		}
		k, err := rowKey(r.Kind, r.Key)
		if err != nil {
			return nil, nil, err
		}
		if _, asked := now[string(k)]; asked {
			now[string(k)] = held{r.Value, true}
		}
	}
	for _, c := range changes {
		k, _ := rowKey(c.Kind, c.Key)
		h := now[string(k)]
		is := func(v []byte) bool { return h.is == (v != nil) && bytes.Equal(h.value, v) }
		if c.Old == nil && c.New == nil {
			return nil, nil, errors.Join(ErrConflict, errBadChange)
		}
		if !is(c.Old) {
			list, same = append(list, c), append(same, is(c.New))
		}
	}
	return list, same, nil
}
