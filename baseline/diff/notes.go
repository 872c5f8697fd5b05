package diff

import (
	"encoding/binary"

	"intact/scanner/entry"
)

// notes are what Finish needs to know of a change beside its path and kind.
// They are made where it is added, in the workers of the scan, and stand behind
// its encoding in the spool, so that Finish, which is one goroutine, need not
// decode it:
//
//	the shared digests that are there, in the order of the flags ‖ flags byte
type notes struct {
	flags  byte
	shared [3][sharedSize]byte // of each reference that has its flag
}

// Flags of notes. The first are the references, in the order of Spool.refs.
const (
	hasObject  = 1 << iota // added and removed: inode, device and birth time
	hasContent             // added and removed files: content
	hasName                // inodes with several names
	isTouching             // it wrote to the directory it happened in
	isFoldable             // a directory whose own change may follow from what is in it
)

// notesOf returns the notes of a change as it was added.
func notesOf(c *Change) (n notes) {
	for i, key := range referenceKeys(c) {
		if key != nil {
			n.flags |= 1 << i
			n.shared[i] = sharedOf(key)
		}
	}
	if touches(c) {
		n.flags |= isTouching
	}
	if c.Kind == Changed && c.New != nil && c.New.Kind == entry.Dir && c.Lost == 0 && c.Attrs&^foldable == 0 {
		n.flags |= isFoldable
	}
	return n
}

// appendNoted appends c and its notes.
func appendNoted(dst []byte, c *Change) []byte {
	dst = AppendChange(dst, c)
	n := notesOf(c)
	for i := range n.shared {
		if n.flags&(1<<i) != 0 {
			dst = append(dst, n.shared[i][:]...)
		}
	}
	return append(dst, n.flags)
}

// cutNotes splits what appendNoted wrote; b is empty where it did not.
func cutNotes(b []byte) (change []byte, n notes) {
	end := len(b) - 1
	if end < 0 {
		return nil, n
	}
	n.flags = b[end]
	for i := len(n.shared) - 1; i >= 0; i-- {
		if n.flags&(1<<i) == 0 {
			continue
		}
		if end -= sharedSize; end < 0 {
			return nil, n
		}
		copy(n.shared[i][:], b[end:])
	}
	return b[:end], n
}

// kindOf returns path and kind of an encoded change; the kind is 0 if it is
// none.
func kindOf(b []byte) (path []byte, k Kind) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n >= uint64(len(b)-w) {
		return nil, 0
	}
	b = b[w:]
	return b[:n], Kind(b[n])
}
