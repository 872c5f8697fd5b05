package diff

import (
	"bytes"
	"fmt"

	"intact/scanner/entry"
)

// Entries that differ at most in these are the same to a reader: a directory's
// follow from what is in it, a file's from being written anew.
const (
	fileTraces = entry.Mtime | entry.Ctime | entry.Inode | entry.Device
	dirTraces  = fileTraces | entry.Size | entry.Nlink
	foldable   = entry.Mtime | entry.Ctime | entry.Size | entry.Nlink
)

// Join compares the entries of one directory, old from the baseline and now
// from the scan, both sorted by name and covering the same range of names. It
// calls emit for each difference in order of names. What is compared is the
// set of the old entry. The entries of emitted changes are those of the lists, not
// clones. An error is one of emit, or says that an entry refers to no set.
func Join(dir entry.Path, old, now []entry.Entry, oldSets, newSets entry.Sets, emit func(*Change) error) error {
	for len(old) > 0 || len(now) > 0 {
		var c *Change
		var err error
		switch order(old, now) {
		case -1:
			c, err = single(Removed, dir, &old[0], oldSets)
			old = old[1:]
		case 1:
			c, err = single(Added, dir, &now[0], newSets)
			now = now[1:]
		default:
			c, err = compare(dir, &old[0], &now[0], oldSets, newSets)
			old, now = old[1:], now[1:]
		}
		if err != nil {
			return fmt.Errorf("compare %q: %w", string(dir), err)
		}
		if c == nil {
			continue
		}
		if err := emit(c); err != nil {
			return err
		}
	}
	return nil
}

// order says which list has the next name: -1 old, 1 now, 0 both. One of them
// is not empty.
func order(old, now []entry.Entry) int {
	switch {
	case len(now) == 0:
		return -1
	case len(old) == 0:
		return 1
	}
	return bytes.Compare(old[0].Name, now[0].Name)
}

func setOf(e *entry.Entry, sets entry.Sets) (entry.Set, error) {
	if int(e.Set) >= len(sets) {
		return entry.Set{}, fmt.Errorf("entry %q: attribute set %d of %d", e.Name, e.Set, len(sets))
	}
	return sets[e.Set], nil
}

func single(k Kind, dir entry.Path, e *entry.Entry, sets entry.Sets) (*Change, error) {
	s, err := setOf(e, sets)
	if err != nil {
		return nil, err
	}
	c := &Change{Kind: k, Path: dir.Join(e.Name)}
	if k == Added {
		c.New, c.NewSet = e, s
	} else {
		c.Old, c.OldSet = e, s
	}
	return c, nil
}

// compare returns nil where nothing that is compared differs.
func compare(dir entry.Path, o, n *entry.Entry, oldSets, newSets entry.Sets) (*Change, error) {
	oldSet, err := setOf(o, oldSets)
	if err != nil {
		return nil, err
	}
	newSet, err := setOf(n, newSets)
	if err != nil {
		return nil, err
	}
	mask := oldSet.For(o.Kind)
	c := Change{
		Attrs:  entry.Differ(o, n, mask),
		Lost:   entry.Lost(o, n, mask),
		Gained: entry.Lost(n, o, mask),
	}
	switch {
	case c.Attrs != 0 && c.Lost == 0 && replaced(o, n, c.Attrs, mask):
		c.Kind = Replaced
	case c.Attrs != 0:
		c.Kind = Changed
	case c.Lost != 0:
		c.Kind = Unverified
	case c.Gained != 0:
		c.Kind = Regained
	default:
		return nil, nil
	}
	c.Path = dir.Join(o.Name)
	c.Old, c.OldSet = o, oldSet
	c.New, c.NewSet = n, newSet
	return &c, nil
}

// replaced reports whether n is another object than o that nobody can tell
// from it by what is compared, times apart. What it holds must have been
// verified both times: bytes that were not read are not equal.
func replaced(o, n *entry.Entry, attrs, mask entry.Attr) bool {
	if o.Kind != n.Kind || !otherObject(o, n) {
		return false
	}
	verified := mask & o.Have & n.Have
	switch o.Kind {
	case entry.Dir:
		return attrs&^dirTraces == 0
	case entry.File:
		return attrs&^fileTraces == 0 && verified&entry.Content != 0
	case entry.Symlink:
		return attrs&^fileTraces == 0 && verified&entry.Target != 0
	}
	return attrs&^fileTraces == 0
}

// otherObject reports whether o and n are known to be different objects.
func otherObject(o, n *entry.Entry) bool {
	both := o.Have & n.Have
	if both&entry.Inode != 0 && o.Inode != n.Inode {
		return true
	}
	return both&entry.Btime != 0 && o.Btime != n.Btime && o.Btime != (entry.Time{}) && n.Btime != (entry.Time{})
}
