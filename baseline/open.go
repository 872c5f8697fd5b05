package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"intact/baseline/statement"
	"intact/scanner/digest"
)

// lockTimeout is how long an open waits for bbolt's own lock on the file,
// which nothing of ours holds once a generation is published.
const lockTimeout = 2 * time.Second

// Open verifies generation gen, 0 for the newest, and returns it. The
// statement, its place in the chain, its signature, the digest of the file and
// the root over everything in it are checked before any record can be used. The
// file is opened once. Errors wrap ErrNoBaseline, ErrDamaged, ErrForeign or
// ErrUntrusted where the baseline is to blame.
func (s *Store) Open(ctx context.Context, gen uint64) (*Generation, error) {
	latest, err := s.Latest()
	if err != nil {
		return nil, fmt.Errorf("open baseline: %w", err)
	}
	if gen == 0 {
		gen = latest
	}
	if latest == 0 {
		return nil, s.absent()
	}
	if gen > latest {
		return nil, fmt.Errorf("open baseline: %w: no generation %d, the newest is %d", ErrNoBaseline, gen, latest)
	}
	st, err := s.chained(gen)
	if err != nil {
		return nil, fmt.Errorf("open baseline: %w", err)
	}
	armor, by, err := s.judge(st)
	if errors.Is(err, ErrSelfApproved) {
		err = fmt.Errorf("%w: init --force --sign-with KEY starts over under the operator", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open baseline: %w", err)
	}
	name := s.dbPath(gen)
	f, err := openRegular(name)
	if errors.Is(err, fs.ErrNotExist) && s.wasPruned(gen, latest, st.HostID) {
		return nil, fmt.Errorf("open baseline: %w: generation %d was pruned; its statement is kept", ErrNoBaseline, gen)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open baseline %q: %w", name, cause(err))
	}
	if err != nil {
		return nil, fmt.Errorf("open baseline %q: %w: %w", name, ErrDamaged, cause(err))
	}
	if err := checkFile(ctx, f, st); err != nil {
		f.Close()
		return nil, fmt.Errorf("open baseline %q: %w", name, err)
	}
	g, err := openGeneration(ctx, f, st)
	if err != nil {
		return nil, fmt.Errorf("open baseline %q: %w", name, err)
	}
	g.armor, g.signed = armor, by
	return g, nil
}

// absent tells a store that never had a baseline from one that lost its
// statements.
func (s *Store) absent() error {
	if dbs, err := s.generations(fileSuffix); err == nil && len(dbs) > 1 {
		// One file alone is an init that was interrupted before its statement.
		return fmt.Errorf("open baseline: %w: generation files without statements", ErrDamaged)
	}
	return fmt.Errorf("open baseline in %q: %w", s.dir, ErrNoBaseline)
}

// chained reads a statement and the one before it, and checks that they belong
// together. One that started over needs none before it.
func (s *Store) chained(gen uint64) (*statement.Statement, error) {
	host, err := s.HostID()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	st, err := s.readStatement(gen, host)
	if err != nil {
		return nil, err
	}
	var prev *statement.Statement
	if gen > 1 && !st.Restart {
		if prev, err = s.readStatement(gen-1, host); err != nil {
			return nil, err
		}
	}
	if err := st.Follows(prev); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return st, nil
}

// wasPruned reports whether a later statement says that gen's file was deleted.
func (s *Store) wasPruned(gen, latest uint64, host string) bool {
	for n := gen + 1; n <= latest; n++ {
		st, err := s.readStatement(n, host)
		if err != nil {
			return false
		}
		if slices.Contains(st.Pruned, gen) {
			return true
		}
	}
	return false
}

// checkFile compares all bytes of f with the statement.
func checkFile(ctx context.Context, f *os.File, st *statement.Statement) error {
	info, err := f.Stat()
	if err != nil {
		return cause(err)
	}
	if info.Size() != st.FileSize {
		return fmt.Errorf("%w: %d bytes, the statement says %d", ErrDamaged, info.Size(), st.FileSize)
	}
	sum, err := hashFile(ctx, f, info.Size())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, cause(err))
	case sum != st.File:
		return fmt.Errorf("%w: its digest is not the one in the statement", ErrDamaged)
	}
	return nil
}

// openGeneration gives f to bbolt and verifies what is inside against st. It
// owns f: after an error it is closed.
func openGeneration(ctx context.Context, f *os.File, st *statement.Statement) (*Generation, error) {
	if err := checkPages(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	db, err := openMap(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	g := &Generation{st: st, db: db}
	if err := g.verify(ctx); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func openMap(f *os.File) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer guard(&err, "open")
	db, err = bolt.Open(f.Name(), 0, &bolt.Options{
		ReadOnly:     true,
		Timeout:      lockTimeout,
		NoStatistics: true,
		OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return db, nil
}

// verify recomputes the root and the counts, and reads policy and sets.
func (g *Generation) verify(ctx context.Context) error {
	root := newRooter()
	var entries, dirs int64
	chain := chainCheck{}
	for _, b := range bucketOrder {
		c, err := g.cursor(b)
		if err != nil {
			return err
		}
		var last []byte
		for c.next() {
			if err := context.Cause(ctx); err != nil {
				c.close()
				return err
			}
			if bytes.Compare(last, c.key) >= 0 {
				c.close()
				return fmt.Errorf("%w: keys out of order", ErrDamaged)
			}
			last = append(last[:0], c.key...)
			root.add(b, c.key, c.value)
			if b == bucketDirs {
				n, first, err := chain.add(c.key, c.value)
				if err != nil {
					c.close()
					return err
				}
				entries += int64(n)
				dirs += int64(first)
			}
		}
		if err := c.close(); err != nil {
			return err
		}
	}
	if err := chain.end(); err != nil {
		return err
	}
	g.root = root.sum()
	switch {
	case g.root != g.st.Root:
		return fmt.Errorf("%w: its root is not the one in the statement", ErrDamaged)
	case entries != g.st.Entries || dirs != g.st.Directories:
		return fmt.Errorf("%w: %d entries in %d directories, the statement says %d in %d", ErrDamaged, entries, dirs, g.st.Entries, g.st.Directories)
	}
	return g.readMeta()
}

func (g *Generation) readMeta() error {
	c, err := g.cursor(bucketMeta)
	if err != nil {
		return err
	}
	meta := map[string][]byte{}
	for c.next() {
		meta[string(c.key)] = bytes.Clone(c.value)
	}
	if err := c.close(); err != nil {
		return err
	}
	switch f := meta[metaFormat]; string(f) {
	case fileFormat:
	case firstFormat:
		return ErrFormat
	default:
		return fmt.Errorf("%w: format %q, want %q", ErrDamaged, f, fileFormat)
	}
	if len(meta) != 3 {
		return fmt.Errorf("%w: unknown metadata", ErrDamaged)
	}
	g.policy = meta[metaPolicy]
	if digest.Sum(g.policy) != g.st.Policy {
		return fmt.Errorf("%w: its policy is not the one in the statement", ErrDamaged)
	}
	if g.sets, err = decodeSets(meta[metaSets]); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}
