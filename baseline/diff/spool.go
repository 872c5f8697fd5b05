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
//	Add … Add  →  sorted runs with notes  →  merge, rewrite  →  one tape in tree order
//	tape  →  sorted references (24 bytes each)  →  pairs and links  →  marks on the tape
type Spool struct {
	raw     []*Sorter // by worker, each owned by it until Finish
	tape    tape
	refs    references
	folding []openDir // above the change that Finish is at
	counts  Counts
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
	return s.raw[w].Add(func(dst []byte) []byte { return appendNoted(dst, plain(c)) })
}

// plain returns c without what Finish finds out.
func plain(c *Change) *Change {
	if !c.Folded && c.Links == nil && c.LinkOf == "" {
		return c
	}
	p := *c
	p.Folded, p.Links, p.LinkOf = false, nil, ""
	return &p
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
	r := &Result{&s.tape, s.counts}
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
		if rewrite != nil {
			if b, err = rewritten(b, rewrite); err != nil {
				return err
			}
			if b == nil {
				continue
			}
		}
		if err := s.record(b); err != nil {
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

// rewritten returns what rewrite makes of b, a change with its notes; nil if it
// is left out.
func rewritten(b []byte, rewrite func(*Change) error) ([]byte, error) {
	b, _ = cutNotes(b)
	c, err := DecodeChange(b)
	if err != nil {
		return nil, err
	}
	if err := rewrite(c); err != nil || c.Kind == 0 {
		return nil, err
	}
	return appendNoted(nil, plain(c)), nil
}

// record puts a change, which has its notes behind it, on the tape.
func (s *Spool) record(b []byte) error {
	b, n := cutNotes(b)
	path, kind := kindOf(b)
	count := int64(0)
	if kind == Unverified {
		c, err := DecodeHead(b)
		if err != nil {
			return err
		}
		count = c.Count
	}
	if !s.counts.add(kind, count) {
		return fmt.Errorf("%w: %d bytes", ErrEncoding, len(b))
	}
	at, err := s.tape.append(b)
	if err != nil {
		return err
	}
	if len(s.folding) > 0 || n.flags&isFoldable != 0 {
		if err := s.fold(entry.Path(path), &n, at); err != nil {
			return err
		}
	}
	return s.refs.add(kind, &n, at)
}

// fold marks the directory that the change at path happened in, if its own
// change can follow from that. A directory comes before what is in it.
func (s *Spool) fold(path entry.Path, n *notes, at int64) error {
	for k := len(s.folding); k > 0 && !path.Under(s.folding[k-1].path); k-- {
		s.folding = s.folding[:k-1]
	}
	if k := len(s.folding); k > 0 && n.flags&isTouching != 0 {
		if top := &s.folding[k-1]; !top.folded && top.path == path.Dir() && top.path != path {
			top.folded = true
			s.counts.Folded++
			err := s.tape.update(top.at, func(h *header) { h.flags |= folded })
			if err != nil {
				return err
			}
		}
	}
	if n.flags&isFoldable != 0 {
		s.folding = append(s.folding, openDir{path, at, false})
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
