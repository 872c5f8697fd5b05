package baseline

import (
	"bytes"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// dirPairs holds the changed parts of directories against each other, as they
// come in key order. Parts that do not change are not seen, so the others must
// show that nothing hides between them: the parts of a directory are numbered
// without a hole on both sides, each begins with the name that the one before
// announced, and next to an unchanged part both sides have the same limits.
type dirPairs struct {
	sets entry.Sets
	emit func(*diff.Change) error

	dir      []byte // key, nil before the first
	path     entry.Path
	part     uint32
	shut     bool // the last part did not change
	old, now partSide
	scratch  [2][]byte

	entries, dirs int64 // that the new values have more than the old
}

// partSide is one side of a directory: the entries that wait for the other side,
// and how the parts go on.
type partSide struct {
	queue []entry.Entry
	next  []byte // first name of the part that must follow, nil: none may
}

// step goes on to the part of key.
func (d *dirPairs) step(key []byte) error {
	path, part, err := entry.ParseKey(key)
	if err != nil {
		return refused("directory: %w", err)
	}
	dir, _ := dirKeyOf(key)
	if d.dir != nil && bytes.Equal(dir, d.dir) {
		if part != d.part+1 {
			return refused("directory %q lacks part %d", string(path), d.part+1)
		}
		d.part = part
		return nil
	}
	if err := d.end(); err != nil {
		return err
	}
	if part != 0 {
		return refused("directory %q lacks part 0", string(path))
	}
	d.dir, d.path, d.part, d.shut = bytes.Clone(dir), path, 0, false
	return nil
}

// end ends the directory.
func (d *dirPairs) end() error {
	if d.dir == nil || d.shut {
		return nil
	}
	if d.old.next != nil || d.now.next != nil {
		return refused("directory %q lacks part %d", string(d.path), d.part+1)
	}
	return d.join(true)
}

// unchanged takes a part that is the same on both sides, and not shown.
func (d *dirPairs) unchanged(key []byte) error {
	if err := d.step(key); err != nil {
		return err
	}
	if d.part > 0 && !d.shut {
		if d.old.next == nil || d.now.next == nil || !bytes.Equal(d.old.next, d.now.next) {
			return refused("directory %q: part %d cannot follow", string(d.path), d.part)
		}
		if err := d.join(true); err != nil {
			return err
		}
	}
	d.shut = true
	d.old.next, d.now.next = nil, nil
	return nil
}

// changed takes a part with what is in it; nil where there is none.
func (d *dirPairs) changed(key, old, now []byte) error {
	if err := d.step(key); err != nil {
		return err
	}
	o, err := d.take(&d.old, old)
	if err != nil {
		return err
	}
	n, err := d.take(&d.now, now)
	if err != nil {
		return err
	}
	if d.shut && (o == nil || n == nil || !bytes.Equal(o.Entries[0].Name, n.Entries[0].Name)) {
		return refused("directory %q: part %d begins elsewhere", string(d.path), d.part)
	}
	d.shut = false
	d.count(o, -1)
	d.count(n, 1)
	return d.join(false)
}

// take decodes one side's part and queues it.
func (d *dirPairs) take(s *partSide, value []byte) (*entry.Block, error) {
	if d.part > 0 && !d.shut && (value == nil) != (s.next == nil) {
		return nil, refused("directory %q: part %d", string(d.path), d.part)
	}
	if value == nil {
		s.next = nil
		return nil, nil
	}
	b, err := entriesOf(d.path, d.part, bytes.Clone(value), d.sets)
	if err != nil {
		return nil, err
	}
	if s.next != nil && !bytes.Equal(s.next, b.Entries[0].Name) {
		return nil, refused("directory %q: part %d begins elsewhere", string(d.path), d.part)
	}
	s.next = b.Next
	s.queue = append(s.queue, b.Entries...)
	return b, nil
}

func (d *dirPairs) count(b *entry.Block, sign int64) {
	if b == nil {
		return
	}
	d.entries += sign * int64(len(b.Entries))
	if b.Part == 0 {
		d.dirs += sign
	}
}

// join compares what is queued, up to the name that both sides have come to; all
// of it at the end of a run of parts.
func (d *dirPairs) join(all bool) error {
	i, j := len(d.old.queue), len(d.now.queue)
	if !all {
		if d.old.next != nil {
			j, _ = search(d.now.queue, d.old.next)
		}
		if d.now.next != nil {
			i, _ = search(d.old.queue, d.now.next)
		}
	}
	old, now := d.old.queue[:i], d.now.queue[:j]
	emitted := 0
	err := diff.Join(d.path, old, now, d.sets, d.sets, func(c *diff.Change) error {
		emitted++
		return d.emit(c)
	})
	if err != nil {
		return err
	}
	if name, n := d.differing(old, now); n != emitted {
		return refused("%q differs in what is not compared", string(d.path.Join(name)))
	}
	d.old.queue, d.now.queue = rest(d.old.queue, i), rest(d.now.queue, j)
	return nil
}

// rest returns what is behind the first n entries, in an array of its own once
// little of it is left.
func rest(list []entry.Entry, n int) []entry.Entry {
	if n == len(list) {
		return nil
	}
	return append([]entry.Entry(nil), list[n:]...)
}

// differing counts the names whose entries are not the same in every byte, and
// returns the last of both sides that nothing compared tells apart.
func (d *dirPairs) differing(old, now []entry.Entry) (hidden []byte, n int) {
	for len(old) > 0 || len(now) > 0 {
		switch o := orderOf(old, now); {
		case o < 0:
			old = old[1:]
			n++
		case o > 0:
			now = now[1:]
			n++
		default:
			x, y := &old[0], &now[0]
			d.scratch[0], d.scratch[1] = entry.AppendEntry(d.scratch[0][:0], x), entry.AppendEntry(d.scratch[1][:0], y)
			if !bytes.Equal(d.scratch[0], d.scratch[1]) {
				n++
				mask := d.sets[x.Set].For(x.Kind)
				if entry.Differ(x, y, mask) == 0 && entry.Lost(x, y, mask) == 0 && entry.Lost(y, x, mask) == 0 {
					hidden = x.Name
				}
			}
			old, now = old[1:], now[1:]
		}
	}
	return hidden, n
}

// orderOf says which list has the next name: below 0 old, above 0 now, 0 both.
func orderOf(old, now []entry.Entry) int {
	switch {
	case len(now) == 0:
		return -1
	case len(old) == 0:
		return 1
	}
	return bytes.Compare(old[0].Name, now[0].Name)
}
