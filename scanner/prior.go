package scanner

import (
	"bytes"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// prefix is what the baseline knows of a log: the digest of its first bytes.
type prefix struct {
	sum    digest.Digest
	hashed int64
}

// priorDir caches the stored parts of the directory that is being scanned.
type priorDir struct {
	dir   entry.Path
	parts []*entry.Block
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

// before returns the stored entry of dir/name, nil if there is none.
func (w *worker) before(dir entry.Path, name []byte) *entry.Entry {
	if w.old == nil {
		return nil
	}
	if w.prior.dir != dir {
		w.prior = priorDir{dir: dir, parts: storedParts(w.old, dir, w.sets)}
	}
	for _, b := range w.prior.parts {
		for i := range b.Entries {
			if bytes.Equal(b.Entries[i].Name, name) {
				return &b.Entries[i]
			}
		}
	}
	return nil
}

func storedParts(old Prior, dir entry.Path, sets entry.Sets) (parts []*entry.Block) {
	for part := uint32(0); ; part++ {
		p, ok := old.Dir(entry.PartKey(dir, part), part)
		if !ok {
			return parts
		}
		b, err := p.Unpack(dir, part, sets)
		if err != nil {
			return parts // the store reports damage itself
		}
		parts = append(parts, b)
		if b.Next == nil {
			return parts
		}
	}
}
