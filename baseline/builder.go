package baseline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// KindGap is the kind of the rows that hold known gaps.
const KindGap = "gap"

// Builder turns a scan into a generation. Dir and Gap may be called
// concurrently as scanner.Sink says; then Commit or Abort, once.
type Builder struct {
	s       *Store
	sets    entry.Sets
	policy  []byte
	dirs    *spool
	workers []packer

	mu   sync.Mutex
	gaps map[entry.Path]string // guarded by mu
	rows []diff.Row            // guarded by mu
}

var _ scanner.Sink = (*Builder)(nil)

// packer holds one worker's reusable buffers.
type packer struct {
	key, packed, scratch []byte
	_                    [64]byte
}

// pack packs b under its key. Both results are valid until the next call.
func (p *packer) pack(b *entry.Block, sets entry.Sets) (key []byte, out entry.Packed, err error) {
	for i := range b.Entries {
		if int(b.Entries[i].Set) >= len(sets) {
			return nil, nil, fmt.Errorf("directory %q: entry %q: unknown attribute set %d", b.Dir, b.Entries[i].Name, b.Entries[i].Set)
		}
	}
	p.key = b.Dir.AppendKey(p.key[:0])
	p.key = appendPartKey(p.key, nil, b.Part)
	out, p.scratch = b.Pack(p.packed[:0], p.scratch, sets)
	p.packed = out
	return p.key, out, nil
}

// NewBuilder starts a generation from a scan with that many workers. sets and
// policy (its canonical text) are stored as they are.
func (s *Store) NewBuilder(workers int, sets entry.Sets, policy []byte) (*Builder, error) {
	sp, err := newSpool(s.path(baselineDir), workers, 0)
	if err != nil {
		return nil, fmt.Errorf("build baseline: %w", err)
	}
	return &Builder{
		s: s, sets: slices.Clone(sets), policy: bytes.Clone(policy), dirs: sp,
		workers: make([]packer, max(workers, 1)), gaps: map[entry.Path]string{},
	}, nil
}

// Dir stores one part of a directory. An empty directory needs no part: its
// own entry stands in its parent.
func (b *Builder) Dir(w int, blk *entry.Block) error {
	if len(blk.Entries) == 0 {
		return nil
	}
	key, packed, err := b.workers[w].pack(blk, b.sets)
	if err != nil {
		return fmt.Errorf("build baseline: %w", err)
	}
	// A baseline that cannot be read back would show at the next check only.
	if _, err := packed.Unpack(blk.Dir, blk.Part, b.sets); err != nil {
		return fmt.Errorf("build baseline: directory %q: %w", blk.Dir, err)
	}
	if len(key) > maxKey {
		return fmt.Errorf("build baseline: directory path of %d bytes", len(key))
	}
	return b.dirs.add(w, key, packed)
}

// Gap records a known gap. Of several on one path the first reason in byte
// order stays, so that the order of arrival does not matter.
func (b *Builder) Gap(_ int, g scanner.Gap) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, ok := b.gaps[g.Path]; !ok || string(g.Reason) < r {
		b.gaps[g.Path] = string(g.Reason)
	}
	return nil
}

// AddRow stores a row beside the directories. It may be called concurrently.
func (b *Builder) AddRow(r diff.Row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, diff.Row{Kind: r.Kind, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
}

// gapKey is the row key of a gap on p. A path too long for a key is cut and
// told apart by its digest.
func gapKey(p entry.Path) []byte {
	if len(p) <= entry.MaxKey {
		return p.Key()
	}
	d := digest.Sum([]byte(p))
	return append(entry.Path(p[:entry.MaxKey-128]).Key(), "\x00\x00"+d.String()...)
}

// Commit publishes what was built as the next generation and returns its
// statement. Until it returns without error the old generation is the newest.
func (b *Builder) Commit(ctx context.Context, note statement.Note) (*statement.Statement, error) {
	defer b.Abort()
	out, err := b.write(ctx)
	if err != nil {
		return nil, fmt.Errorf("build baseline: %w", err)
	}
	st, err := b.s.publish(ctx, out, digest.Sum(b.policy), note, nil)
	if err != nil {
		return nil, fmt.Errorf("publish baseline: %w", err)
	}
	return st, nil
}

// write brings everything into order and into a generation file.
func (b *Builder) write(ctx context.Context) (*written, error) {
	if b.dirs.f == nil {
		return nil, errSpoolClosed
	}
	refs, err := b.dirs.sorted()
	if err != nil {
		return nil, err
	}
	w, err := newFileWriter(b.s.tempName(), b.dirs.size)
	if err != nil {
		return nil, err
	}
	if err := b.fill(ctx, w, refs); err != nil {
		w.abort()
		return nil, err
	}
	return w.finish(ctx)
}

func (b *Builder) fill(ctx context.Context, w *fileWriter, refs iter.Seq2[ref, error]) error {
	if err := putMeta(w, b.policy, b.sets); err != nil {
		return err
	}
	rows := slices.Clone(b.rows)
	for p, reason := range b.gaps {
		rows = append(rows, diff.Row{Kind: KindGap, Key: gapKey(p), Value: []byte(reason)})
	}
	if err := putRows(w, rows); err != nil {
		return err
	}
	var buf []byte
	for r, err := range refs {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if buf, err = b.dirs.read(r, buf); err != nil {
			return err
		}
		if err := w.put(bucketDirs, r.key, buf); err != nil {
			return err
		}
	}
	return nil
}

// Abort drops what was built. After Commit it does nothing.
func (b *Builder) Abort() { b.dirs.close() }

func putMeta(w *fileWriter, policy []byte, sets entry.Sets) error {
	return errors.Join(
		w.put(bucketMeta, []byte(metaFormat), []byte(fileFormat)),
		w.put(bucketMeta, []byte(metaPolicy), policy),
		w.put(bucketMeta, []byte(metaSets), encodeSets(sets)),
	)
}

// putRows sorts and writes rows. Kind and key together must be unique.
func putRows(w *fileWriter, rows []diff.Row) error {
	slices.SortFunc(rows, func(x, y diff.Row) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), bytes.Compare(x.Key, y.Key))
	})
	for _, r := range rows {
		k, err := rowKey(r.Kind, r.Key)
		if err != nil {
			return err
		}
		if err := w.put(bucketRows, k, r.Value); err != nil {
			return err
		}
	}
	return nil
}
