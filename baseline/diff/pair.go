package diff

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// A reference is 24 bytes: 16 of a digest of what two changes must share, and
// the big-endian place of the change on the tape, doubled, plus one for the
// added side. Sorted, equal digests stand together, in tree order.
const (
	sharedSize    = 16
	referenceSize = sharedSize + 8
)

// maxGroup bounds how many candidates are looked at together. More than that
// are left as they are: no honest rename has them.
const maxGroup = 1 << 20

// references are the sorted references of a spool, in the order of the flags of
// notes.
type references [3]*Sorter

func newReferences(dir string, limit int) (r references) {
	for i := range r {
		r[i] = NewSorter(dir, limit, bytes.Compare)
	}
	return r
}

func (r references) objects() *Sorter  { return r[0] } // added and removed, by inode, device and birth time
func (r references) contents() *Sorter { return r[1] } // added and removed files, by content
func (r references) names() *Sorter    { return r[2] } // changes of inodes with several names

func (r references) close() error {
	return errors.Join(r[0].Close(), r[1].Close(), r[2].Close())
}

// add takes the references of a change of kind k at a place.
func (r references) add(k Kind, n *notes, at int64) error {
	for i := range r {
		if n.flags&(1<<i) == 0 {
			continue
		}
		side := uint64(0)
		if k == Added && r[i] != r.names() {
			side = 1
		}
		err := r[i].Add(func(dst []byte) []byte {
			dst = append(dst, n.shared[i][:]...)
			return binary.BigEndian.AppendUint64(dst, uint64(at)<<1|side)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sharedOf returns what stands for key in a reference.
func sharedOf(key []byte) (b [sharedSize]byte) {
	sum := digest.Sum(key)
	copy(b[:], sum[:])
	return b
}

// referenceKeys returns what a change must share with another to be paired or
// tied with it, in the order of references; nil where nothing is.
func referenceKeys(c *Change) (keys [3][]byte) {
	keys[2] = nameKey(c)
	e := c.Old
	if c.Kind == Added {
		e = c.New
	}
	if c.Kind != Added && c.Kind != Removed || e == nil {
		return keys
	}
	keys[0] = objectKey(e)
	if e.Kind == entry.File && e.Have&entry.Content != 0 && e.Hashed > 0 {
		keys[1] = binary.AppendVarint(e.Digest[:], e.Hashed)
	}
	return keys
}

// objectKey names an object for all its life: inode numbers are used again at
// once, together with the birth time they are not. Nil where it is not known.
func objectKey(e *entry.Entry) []byte {
	const need = entry.Inode | entry.Device | entry.Btime
	if e.Have&need != need || e.Btime == (entry.Time{}) {
		return nil
	}
	b := identity([]byte{byte(e.Kind)}, e)
	b = binary.AppendVarint(b, e.Btime.Sec)
	return binary.AppendUvarint(b, uint64(e.Btime.Nsec))
}

func identity(b []byte, e *entry.Entry) []byte {
	b = binary.AppendUvarint(b, e.Inode)
	return binary.AppendUvarint(b, e.Device)
}

// nameKey is what changes of several names of one inode share: the same
// objects before and after, and the same attributes. Nil where c's object has
// one name only or its identity is not known.
func nameKey(c *Change) []byte {
	const need = entry.Inode | entry.Device
	b := []byte{byte(c.Kind)}
	several := false
	for _, e := range [...]*entry.Entry{c.Old, c.New} {
		if e == nil {
			b = append(b, 0)
			continue
		}
		if e.Have&need != need || e.Kind == entry.Dir {
			return nil
		}
		several = e.Have&entry.Nlink != 0 && e.Nlink > 1
		b = identity(append(b, byte(e.Kind)), e)
	}
	if !several {
		return nil
	}
	for _, a := range [...]entry.Attr{c.Attrs, c.Lost, c.Gained} {
		b = binary.AppendUvarint(b, uint64(a))
	}
	return append(b, c.Reason...)
}

// groups calls do with the places of each group of equal references that has
// two members at least, removed and added ones apart, each in tree order.
func groups(ctx context.Context, s *Sorter, do func(removed, added []int64) error) error {
	var last [sharedSize]byte
	var sides [2][]int64
	flush := func() error {
		n := len(sides[0]) + len(sides[1])
		if n < 2 || n > maxGroup {
			return nil
		}
		return do(sides[0], sides[1])
	}
	n := 0
	for b, err := range Merge(s) {
		if err != nil {
			return err
		}
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !bytes.Equal(last[:], b[:sharedSize]) {
			if err := flush(); err != nil {
				return err
			}
			copy(last[:], b)
			sides[0], sides[1] = sides[0][:0], sides[1][:0]
		}
		v := binary.BigEndian.Uint64(b[sharedSize:referenceSize])
		if len(sides[0])+len(sides[1]) <= maxGroup {
			sides[v&1] = append(sides[v&1], int64(v>>1))
		}
	}
	return flush()
}

// pair finds the renamed: the same object first, then the same content where
// exactly one file left and one came.
func (s *Spool) pair(ctx context.Context) error {
	if err := groups(ctx, s.refs.objects(), s.pairObjects); err != nil {
		return err
	}
	return groups(ctx, s.refs.contents(), s.pairContents)
}

// nameMatching bounds the groups in which names are compared.
const nameMatching = 256

// pairObjects pairs the names of one object. With several names on each side
// equal last components go together, the rest in order: any pairing is true.
func (s *Spool) pairObjects(removed, added []int64) error {
	if len(removed) == 0 || len(added) == 0 {
		return nil
	}
	if len(removed)*len(added) > 1 && len(removed)+len(added) <= nameMatching {
		var err error
		if removed, added, err = s.pairNames(removed, added); err != nil {
			return err
		}
	}
	for i := range min(len(removed), len(added)) {
		if err := s.mark(removed[i], added[i]); err != nil {
			return err
		}
	}
	return nil
}

// pairNames pairs what has the same last component and returns the rest.
func (s *Spool) pairNames(removed, added []int64) (restRemoved, restAdded []int64, err error) {
	base := map[string][]int64{}
	for _, at := range added {
		c, err := s.tape.change(at)
		if err != nil {
			return nil, nil, err
		}
		base[c.Path.Base()] = append(base[c.Path.Base()], at)
	}
	taken := map[int64]bool{}
	for _, at := range removed {
		c, err := s.tape.change(at)
		if err != nil {
			return nil, nil, err
		}
		same := base[c.Path.Base()]
		if len(same) == 0 {
			restRemoved = append(restRemoved, at)
			continue
		}
		base[c.Path.Base()] = same[1:]
		taken[same[0]] = true
		if err := s.mark(at, same[0]); err != nil {
			return nil, nil, err
		}
	}
	for _, at := range added {
		if !taken[at] {
			restAdded = append(restAdded, at)
		}
	}
	return restRemoved, restAdded, nil
}

// pairContents pairs files by content, where that is not ambiguous.
func (s *Spool) pairContents(removed, added []int64) error {
	if len(removed) == 0 || len(added) == 0 {
		return nil
	}
	var left [2][]int64
	for side, list := range [...][]int64{removed, added} {
		for _, at := range list {
			h, err := s.tape.header(at)
			if err != nil {
				return err
			}
			if h.flags&gone == 0 && h.from == 0 {
				left[side] = append(left[side], at)
			}
		}
		if len(left[side]) != 1 {
			return nil
		}
	}
	return s.mark(left[0][0], left[1][0])
}

// mark makes a removed and an added change one renamed.
func (s *Spool) mark(removed, added int64) error {
	s.counts.Removed--
	s.counts.Added--
	s.counts.Renamed++
	if err := s.tape.update(removed, func(h *header) { h.flags |= gone }); err != nil {
		return err
	}
	return s.tape.update(added, func(h *header) { h.from = removed + 1 })
}

// tie chains the changes that are one change of an inode with several names.
// The renamed are left alone: each tells another move.
func (s *Spool) tie(ctx context.Context) error {
	return groups(ctx, s.refs.names(), func(names, _ []int64) error {
		var last int64
		var leader int64
		for _, at := range names {
			h, err := s.tape.header(at)
			if err != nil {
				return err
			}
			if h.flags&gone != 0 || h.from != 0 {
				continue
			}
			if leader == 0 {
				leader, last = at+1, at
				continue
			}
			if err := s.tape.update(at, func(h *header) { h.leader = leader }); err != nil {
				return err
			}
			if err := s.tape.update(last, func(h *header) { h.next = at + 1 }); err != nil {
				return err
			}
			last = at
			s.counts.Linked++
		}
		return nil
	})
}
