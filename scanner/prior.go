package scanner

import (
	"bytes"
	"slices"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// prefix is what the baseline knows of a log: the digest of its first bytes.
type prefix struct {
	sum    digest.Digest
	hashed int64
}

// priorDir caches the stored part that held the last name asked for.
type priorDir struct {
	dir   entry.Path
	key   []byte
	block *entry.Block // nil: nothing is stored
}

// logPrefix returns the stored prefix of a log, nil if there is none.
func (w *worker) logPrefix(set entry.Set, dir entry.Path, name []byte) *prefix {
	if !set.Log {
		return nil
	}
	e := w.before(dir, name)
	if e == nil || e.Kind != entry.File || e.Have&entry.Content == 0 {
		return nil
	}
	return &prefix{e.Digest, e.Hashed}
}

// trustAttrs are what must be as it was for content to be trusted unread.
const trustAttrs = entry.Size | entry.Mtime | entry.Ctime | entry.Inode | entry.Device

// trusted takes the stored digest of a file that Options.Trust does not want
// to be read.
func (w *worker) trusted(e *entry.Entry, set entry.Set, st *dirfd.Stat, t *task) bool {
	if w.opt.Trust == nil || set.Log || t.pseudo {
		return false
	}
	old := w.before(t.path, e.Name)
	const need = trustAttrs | entry.Content
	if old == nil || old.Kind != entry.File || old.Have&need != need || old.Hashed != st.Size ||
		old.Size != st.Size || old.Mtime != st.Mtime || old.Ctime != st.Ctime || old.Inode != st.Inode || old.Device != st.Device ||
		!w.opt.Trust(t.path, old) {
		return false
	}
	e.Digest, e.Hashed = old.Digest, old.Hashed
	e.Have |= entry.Content
	w.tally.trusted++
	return true
}

// before returns the stored entry of dir/name, nil if there is none. It is
// valid until the next call.
func (w *worker) before(dir entry.Path, name []byte) *entry.Entry {
	if w.old == nil {
		return nil
	}
	p := &w.prior
	if p.dir != dir || !p.holds(name) {
		p.dir = "" // no path: what follows may panic
		p.key = dir.AppendKey(p.key[:0])
		p.block = storedPart(w.old, p.key, dir, name, w.sets)
		p.dir = dir
	}
	if p.block == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(p.block.Entries, name, func(e entry.Entry, n []byte) int { return bytes.Compare(e.Name, n) })
	if !ok {
		return nil
	}
	return &p.block.Entries[i]
}

// holds reports whether name can only be in the cached part.
func (p *priorDir) holds(name []byte) bool {
	if p.block == nil {
		return true // nothing is stored of this directory, under any name
	}
	first := p.block.Part > 0 && (len(p.block.Entries) == 0 || bytes.Compare(name, p.block.Entries[0].Name) < 0)
	return !first && (p.block.Next == nil || bytes.Compare(name, p.block.Next) < 0)
}

// storedPart returns the stored part of a directory in which name would be.
// Damage gives nil: the store reports it itself.
func storedPart(old Prior, key []byte, dir entry.Path, name []byte, sets entry.Sets) *entry.Block {
	// beyond reports whether name stands behind part i, or there is no part i.
	beyond := func(i uint32) (after, missing bool) {
		p, ok := old.Dir(key, i)
		if !ok {
			return false, true
		}
		next := p.Next()
		return next != nil && bytes.Compare(name, next) >= 0, false
	}
	lo, hi := uint32(0), uint32(0) // name is not before part lo, and not behind part hi
	for step := uint32(1); ; step *= 2 {
		after, missing := beyond(hi)
		if missing && hi == 0 {
			return nil
		}
		if !after {
			break
		}
		lo = hi + 1
		hi += step
	}
	for lo < hi {
		mid := lo + (hi-lo)/2
		if after, _ := beyond(mid); after {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	p, ok := old.Dir(key, lo)
	if !ok {
		return nil
	}
	b, err := p.Unpack(dir, lo, sets)
	if err != nil {
		return nil
	}
	return b
}
