package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/scanner/entry"
)

// Apply writes the next generation of s: g with picks and rows taken over. A
// change is taken only where g holds its old value, byte for byte; otherwise
// the error wraps ErrConflict, names the path, and nothing is written. Changes
// that lost coverage wrap ErrNotAcceptable. If g is not the newest generation
// any more the error is ErrStale. picks may come in any order, each path once.
func (g *Generation) Apply(ctx context.Context, s *Store, picks iter.Seq2[*diff.Change, error], rows []diff.RowChange, note statement.Note) (*statement.Statement, error) {
	out, err := g.build(ctx, s, picks, rows)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	st, err := s.publish(ctx, out, g.st.Policy, note, g.st)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	return st, nil
}

// build writes the file of the next generation, under a temporary name.
func (g *Generation) build(ctx context.Context, s *Store, picks iter.Seq2[*diff.Change, error], rows []diff.RowChange) (*written, error) {
	a := applier{g: g}
	var err error
	if a.ops, err = newSpool(s.path(baselineDir), 1, 0); err != nil {
		return nil, err
	}
	defer a.close()
	if err := a.collect(ctx, picks); err != nil {
		return nil, err
	}
	if a.w, err = newFileWriter(s.tempName(), g.st.FileSize+a.ops.size); err != nil {
		return nil, err
	}
	if err := a.write(ctx, rows); err != nil {
		a.w.abort()
		return nil, err
	}
	return a.w.finish(ctx)
}

// applier merges the stored directories with the operations that the picked
// changes come down to: at one name, an old value that must be there and a new
// one that takes its place.
type applier struct {
	g    *Generation
	ops  *spool
	next func() (ref, error, bool) // the operations in order; nil at the end
	stop func()
	head *op // taken from next and not yet applied
	w    *fileWriter
	pack packer
	one  packer
}

// op is one operation. Old and new are nil where there must be, or will be,
// nothing. They point into buffers of their own.
type op struct {
	dirKey, name []byte
	change       entry.Path // that it comes of: a rename has an operation at another path too
	old          []byte     // as single makes it
	new          *entry.Entry
}

func (o *op) path() entry.Path {
	p, _, err := entry.ParseKey(o.dirKey)
	if err != nil {
		p = "/"
	}
	return p.Join(o.name)
}

func (a *applier) collect(ctx context.Context, picks iter.Seq2[*diff.Change, error]) error {
	for c, err := range picks {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if err := a.change(c); err != nil {
			return fmt.Errorf("%q: %w", string(c.Path), err)
		}
	}
	refs, err := a.ops.sorted()
	if err == nil {
		a.next, a.stop = iter.Pull2(refs)
	}
	return err
}

func (a *applier) close() {
	if a.stop != nil {
		a.stop()
	}
	a.ops.close()
}

var errBadChange = errors.New("malformed change")

// change turns c into operations.
func (a *applier) change(c *diff.Change) error {
	hasOld, hasNew := c.Old != nil, c.New != nil
	bad := false
	switch c.Kind {
	case diff.Unverified:
		return ErrNotAcceptable
	case diff.Added:
		bad = hasOld || !hasNew
	case diff.Removed:
		bad = !hasOld || hasNew
	case diff.Changed, diff.Replaced, diff.Regained, diff.Renamed:
		bad = !hasOld || !hasNew
	default:
		bad = true
	}
	switch {
	case bad:
		return errBadChange
	case c.Lost != 0:
		return ErrNotAcceptable
	case hasNew && (int(c.New.Set) >= len(a.g.sets) || a.g.sets[c.New.Set] != c.NewSet):
		return fmt.Errorf("%w: made under another policy", ErrConflict)
	case c.Kind != diff.Renamed:
		return a.add(c.Path, "", c.Old, c.OldSet, c.New)
	}
	if err := a.add(c.From, c.Path, c.Old, c.OldSet, nil); err != nil {
		return err
	}
	return a.add(c.Path, "", nil, entry.Set{}, c.New)
}

// add spools one operation under the key dirKey NUL NUL name, which sorts as
// the stored directories do. of is the path of its change, "" where that is p.
func (a *applier) add(p, of entry.Path, old *entry.Entry, oldSet entry.Set, now *entry.Entry) error {
	if q, err := entry.NewPath(string(p)); err != nil || q != p {
		return errBadChange
	}
	base := p.Base()
	if old != nil && string(old.Name) != base || now != nil && string(now.Name) != base {
		return errBadChange
	}
	key := append(append(p.Dir().Key(), 0, 0), base...)
	var v []byte
	if old != nil {
		single, err := a.single(old, oldSet)
		if err != nil {
			return err
		}
		v = append(v, single...)
	}
	v = appendBytes(nil, v)
	v = appendBytes(v, []byte(of))
	if now != nil {
		v = entry.AppendEntry(v, now)
	}
	return a.ops.add(0, key, v)
}

// single packs one entry by itself, with its set: equal bytes mean that a
// baseline holds the same of both.
func (a *applier) single(e *entry.Entry, set entry.Set) ([]byte, error) {
	one := *e
	one.Set = 0
	b := entry.Block{Dir: "/", Entries: []entry.Entry{one}}
	_, p, err := a.one.pack(&b, entry.Sets{set})
	if err != nil {
		return nil, err
	}
	return appendSet(p, set), nil
}

// peek returns the next operation, nil at the end.
func (a *applier) peek() (*op, error) {
	if a.head != nil || a.next == nil {
		return a.head, nil
	}
	r, err, ok := a.next()
	if !ok {
		a.next = nil
		return nil, nil
	}
	var v []byte
	if err == nil {
		v, err = a.ops.read(r, nil)
	}
	if err != nil {
		return nil, err
	}
	key := bytes.Clone(r.key)
	o := &op{}
	i := bytes.Index(key[1:], []byte{0, 0}) + 1
	o.dirKey, o.name = key[:i], key[i+2:]
	in := reader{b: v}
	o.old = in.bytes()
	if o.change = entry.Path(in.bytes()); o.change == "" {
		o.change = o.path()
	}
	if in.err != nil {
		return nil, errSpool
	}
	if len(in.b) > 0 {
		if o.new, _, err = entry.DecodeEntry(in.b); err != nil {
			return nil, err
		}
	}
	a.head = o
	return o, nil
}

// take ends the operation that peek returned. A second one at the same name is
// refused.
func (a *applier) take() error {
	o := a.head
	a.head = nil
	next, err := a.peek()
	if err == nil && next != nil && bytes.Equal(next.dirKey, o.dirKey) && bytes.Equal(next.name, o.name) {
		err = fmt.Errorf("%w: two changes of %q", ErrConflict, string(o.path()))
	}
	return err
}

var errSpool = errors.New("spool was damaged")

func (a *applier) write(ctx context.Context, rows []diff.RowChange) error {
	if err := putMeta(a.w, a.g.policy, a.g.sets); err != nil {
		return err
	}
	if err := a.rows(rows); err != nil {
		return err
	}
	cur, err := a.g.cursor(bucketDirs)
	if err != nil {
		return err
	}
	if err := a.dirs(ctx, cur); err != nil {
		cur.close()
		return err
	}
	return cur.close()
}

// rows writes the stored rows with the changes taken over.
func (a *applier) rows(changes []diff.RowChange) error {
	byKey := map[string]diff.RowChange{}
	for _, c := range changes {
		k, err := rowKey(c.Kind, c.Key)
		if err != nil {
			return err
		}
		if _, twice := byKey[string(k)]; twice {
			return fmt.Errorf("%w: row %s %q twice", ErrConflict, c.Kind, c.Key)
		}
		byKey[string(k)] = c
	}
	var out []diff.Row
	for r, err := range a.g.rows() {
		if err != nil {
			return err
		}
		k, _ := rowKey(r.Kind, r.Key)
		c, ok := byKey[string(k)]
		if ok {
			if c.Old == nil || !bytes.Equal(c.Old, r.Value) {
				return fmt.Errorf("%w: row %s %q", ErrConflict, r.Kind, r.Key)
			}
			delete(byKey, string(k))
			r.Value = c.New
		}
		if !ok || c.New != nil {
			out = append(out, r)
		}
	}
	for _, c := range byKey {
		if c.Old != nil || c.New == nil {
			return fmt.Errorf("%w: row %s %q", ErrConflict, c.Kind, c.Key)
		}
		out = append(out, diff.Row{Kind: c.Kind, Key: c.Key, Value: c.New})
	}
	return putRows(a.w, out)
}
