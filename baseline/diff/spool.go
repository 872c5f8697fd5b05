package diff

import (
	"context"
	"errors"
	"fmt"

	"intact/scanner/entry"
)

// DefaultLimit is how many bytes of changes a Spool keeps in memory.
const DefaultLimit = 32 << 20

// ErrClosed is returned by a Spool that was closed or finished.
var ErrClosed = errors.New("spool is closed")

// Spool collects the changes of a check in any order, then gives them back in
// the order of the tree, paired, folded and tied together. Beyond its limit it
// works in unlinked temporary files, so its memory does not grow with the
// number of changes.
//
//	Add … Add  →  sorted runs  →  merge, rewrite  →  one tape in tree order
//	tape  →  sorted references (24 bytes each)  →  pairs and links  →  marks on the tape
type Spool struct {
	raw     []*Sorter // by worker, each owned by it until Finish
	tape    tape
	refs    references
	folding []openDir // above the change that Finish is at
	done    bool
}

// openDir is a directory whose change can fold, on the way down to the change
// that is looked at.
type openDir struct {
	path   entry.Path
	at     int64
	folded bool
}

// NewSpool makes a spool for that many workers. limit is in bytes, 0 for
// DefaultLimit. Temporary files are made in tmpdir ("" for the system's), only
// when the limit is passed; Close removes them.
func NewSpool(tmpdir string, workers, limit int) *Spool {
	if limit <= 0 {
		limit = DefaultLimit
	}
	s := &Spool{tape: tape{dir: tmpdir, limit: limit / 4}}
	workers = max(workers, 1)
	for range workers {
		s.raw = append(s.raw, NewSorter(tmpdir, limit/2/workers, compareEncodings))
	}
	s.refs = newReferences(tmpdir, limit/4/3)
	return s
}

// Add takes a change from worker w. It keeps nothing of c. Calls with
// different w may run concurrently.
func (s *Spool) Add(w int, c *Change) error {
	if s.done {
		return ErrClosed
	}
	if w < 0 || w >= len(s.raw) {
		return fmt.Errorf("spool a change: worker %d of %d", w, len(s.raw))
	}
	return s.raw[w].Add(func(dst []byte) []byte { return AppendChange(dst, c) })
}

// Finish sorts what was added, gives every change as it was added to rewrite
// (which may be nil), then pairs, folds and ties. rewrite may alter everything
// but the path; a change whose Kind it sets to 0 is left out. Finish is called
// once, after all Adds; the result is valid until Close.
func (s *Spool) Finish(ctx context.Context, rewrite func(*Change) error) (*Result, error) {
	if s.done {
		return nil, ErrClosed
	}
	s.done = true
	if err := s.write(ctx, rewrite); err != nil {
		return nil, err
	}
	if err := s.pair(ctx); err != nil {
		return nil, err
	}
	if err := s.tie(ctx); err != nil {
		return nil, err
	}
	r := &Result{tape: &s.tape}
	return r, r.settle(ctx)
}

// write puts the changes on the tape in order and collects the references.
func (s *Spool) write(ctx context.Context, rewrite func(*Change) error) error {
	n := 0
	for b, err := range Merge(s.raw...) {
		if err != nil {
			return err
		}
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c, err := DecodeChange(b)
		if err != nil {
			return err
		}
		if rewrite != nil {
			if err := rewrite(c); err != nil {
				return err
			}
			if c.Kind == 0 {
				continue
			}
		}
		var at int64
		if rewrite != nil || c.Folded || c.Links != nil || c.LinkOf != "" {
			c.Folded, c.Links, c.LinkOf = false, nil, ""
			at, err = s.tape.append(c)
		} else {
			at, err = s.tape.appendEncoded(b)
		}
		if err != nil {
			return err
		}
		if err := s.fold(c, at); err != nil {
			return err
		}
		if err := s.refs.add(c, at); err != nil {
			return err
		}
	}
	for _, r := range s.raw {
		if err := r.Close(); err != nil {
			return fmt.Errorf("close spool: %w", err)
		}
	}
	return nil
}

// fold marks the directory that c happened in, if its own change can follow
// from that. A directory comes before what is in it.
func (s *Spool) fold(c *Change, at int64) error {
	for k := len(s.folding); k > 0 && !c.Path.Under(s.folding[k-1].path); k-- {
		s.folding = s.folding[:k-1]
	}
	if k := len(s.folding); k > 0 && touches(c) {
		if top := &s.folding[k-1]; !top.folded && top.path == c.Path.Dir() && top.path != c.Path {
			top.folded = true
			err := s.tape.update(top.at, func(h *header) { h.flags |= folded })
			if err != nil {
				return err
			}
		}
	}
	if c.Kind == Changed && c.New != nil && c.New.Kind == entry.Dir && c.Lost == 0 && c.Attrs&^foldable == 0 {
		s.folding = append(s.folding, openDir{c.Path, at, false})
	}
	return nil
}

// touches reports whether c wrote to the directory it happened in.
func touches(c *Change) bool {
	switch c.Kind {
	case Added, Removed, Replaced, Renamed:
		return true
	case Changed:
		return c.Attrs&entry.Type != 0 || c.Old != nil && c.New != nil && otherObject(c.Old, c.New)
	}
	return false
}

// Close removes the temporary files. Results are of no use after it.
func (s *Spool) Close() error {
	s.done = true
	errs := []error{s.tape.close(), s.refs.close()}
	for _, r := range s.raw {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}
