package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Generation is an opened, verified generation. It is immutable and safe for
// concurrent use until Close.
type Generation struct {
	st      *statement.Statement
	sets    entry.Sets
	policy  []byte
	root    digest.Digest
	db      *bolt.DB
	armor   []byte // signature of the statement, nil if there is none
	signed  Signed
	foreign bool  // it was read from an export
	kept    *kept // nil: a Keeper does not hold it

	mu   sync.Mutex
	free []*view // idle read transactions
	all  []*view
	dead bool // bbolt met a fault while it held its own locks

	fault atomic.Pointer[error] // first fault met where no error could be returned
}

var _ scanner.Prior = (*Generation)(nil)

// view is one read transaction; bbolt's are not safe for concurrent use.
type view struct {
	tx   *bolt.Tx
	dirs *bolt.Bucket
	key  []byte
	kept *kept // of the generation
}

// Close releases the file. Nothing that came from g's map may be used after.
func (g *Generation) Close() error {
	if g.kept != nil {
		return nil // see Keeper
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, v := range g.all {
		if !g.dead {
			v.tx.Rollback()
		}
	}
	g.all, g.free = nil, nil
	if g.db == nil || g.dead {
		return nil // what is left of a dead map ends with the process
	}
	err := g.db.Close()
	g.db = nil
	return err
}

// Signed says who signed the statement. It is empty in a store without Trust
// and for an export, which its reader judges.
func (g *Generation) Signed() Signed { return g.signed }

// Imported reports whether g was read from an export.
func (g *Generation) Imported() bool { return g.foreign }

// Signature returns the armored signature of the statement, nil if there is none.
func (g *Generation) Signature() []byte { return g.armor }

// Statement returns what was said of this generation.
func (g *Generation) Statement() *statement.Statement { return g.st }

// Root returns the root digest, recomputed when the file was opened.
func (g *Generation) Root() digest.Digest { return g.root }

// Sets returns the attribute-set table. It must not be changed.
func (g *Generation) Sets() entry.Sets { return g.sets }

// Policy returns the canonical policy text. It must not be changed.
func (g *Generation) Policy() []byte { return g.policy }

// Dir returns the stored part of a directory. key is the directory's own key or
// that of the part itself: no key is both.
// The value lies in the mapped file: it is valid until Close, and reading it
// may fault if the disk fails. Faults are made panics of the calling
// goroutine, which must recover. It implements scanner.Prior.
func (g *Generation) Dir(key []byte, part uint32) (p entry.Packed, found bool) {
	debug.SetPanicOnFault(true)
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read baseline: %w: %v", ErrDamaged, p)
		}
		if err != nil {
			p, found = nil, false
			g.fault.CompareAndSwap(nil, &err)
		}
	}()
	v, err := g.view()
	if err != nil {
		return nil, false
	}
	b := v.get(key, part)
	g.done(v)
	return entry.Packed(b), b != nil
}

// Err returns the first fault met by Dir, which cannot return it.
func (g *Generation) Err() error {
	if e := g.fault.Load(); e != nil {
		return *e
	}
	return nil
}

// view takes an idle read transaction or begins one. A view that met a panic
// is not given back.
func (g *Generation) view() (*view, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.free); n > 0 {
		v := g.free[n-1]
		g.free = g.free[:n-1]
		v.kept = g.kept
		return v, nil
	}
	if g.db == nil {
		return nil, errors.New("read baseline: it is closed")
	}
	if g.dead {
		return nil, fmt.Errorf("read baseline: %w: its file cannot be read", ErrDamaged)
	}
	g.dead = true // until Begin returned: a fault in it leaves bbolt locked
	tx, err := g.db.Begin(false)
	g.dead = false
	if err != nil {
		return nil, fmt.Errorf("read baseline: %w: %w", ErrDamaged, err)
	}
	v := &view{tx: tx, kept: g.kept}
	g.all = append(g.all, v)
	if v.dirs = tx.Bucket([]byte{bucketDirs}); v.dirs == nil {
		return nil, fmt.Errorf("read baseline: %w: no directories", ErrDamaged)
	}
	return v, nil
}

func (g *Generation) done(v *view) {
	g.mu.Lock()
	g.free = append(g.free, v)
	g.mu.Unlock()
}

// get returns a stored part, in the map or, where that was verified a while ago, as
// a copy that is held against what it was.
func (v *view) get(dirKey []byte, part uint32) []byte {
	key := dirKey
	if part == 0 || !bytes.Contains(dirKey, []byte{0, 0}) {
		v.key = appendPartKey(v.key[:0], dirKey, part)
		key = v.key
	}
	stored := v.dirs.Get(key)
	if v.kept != nil {
		return v.kept.value(bucketDirs, key, stored)
	}
	return stored
}

// Rows returns the stored rows of one kind in key order.
func (g *Generation) Rows(kind string) ([]diff.Row, error) {
	var out []diff.Row
	for r, err := range g.rows() {
		if err != nil {
			return nil, err
		}
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out, nil
}

// rows yields all rows in stored order.
func (g *Generation) rows() iter.Seq2[diff.Row, error] {
	return func(yield func(diff.Row, error) bool) {
		c, err := g.cursor(bucketRows)
		if err != nil {
			yield(diff.Row{}, err)
			return
		}
		for c.next() {
			r, err := splitRow(c.key, c.value)
			if err != nil {
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if !yield(r, err) || err != nil {
				c.close()
				return
			}
		}
		if err := c.close(); err != nil {
			yield(diff.Row{}, err)
		}
	}
}
