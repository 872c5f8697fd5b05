// Package diff compares what was with what is. It is pure: it knows neither
// the store nor why a change matters.
package diff

import (
	"intact/scanner/entry"
)

// Kind says what happened to a path.
type Kind uint8

// The kinds of change.
const (
	Added Kind = iota + 1
	Removed
	Changed    // attributes in Attrs differ
	Renamed    // From → Path
	Replaced   // another object with the same bytes and attributes
	Unverified // verified in the baseline, not now: Lost, Reason
	Regained   // a gap in the baseline, readable now
)

var kindNames = [...]string{"", "added", "removed", "changed", "renamed", "replaced", "unverified", "regained"}

// String returns the word of the report format.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// Change is one difference between the baseline and the scan.
//
// Old and New are complete entries, nil where there is none. Both are nil only
// when Kind is Unverified and a whole subtree was not seen: Count then says how
// many entries of the baseline lie there.
type Change struct {
	Kind   Kind
	Path   entry.Path
	From   entry.Path // Renamed: the old path
	Attrs  entry.Attr // compared attributes that differ
	Lost   entry.Attr // compared attributes that were known and are not now
	Gained entry.Attr // compared attributes that were unknown and are known now
	Reason string     // Unverified: why, as in scanner.Reason
	Count  int64      // Renamed: entries that moved along below a directory; Unverified: see above
	// Folded marks a directory whose only differences (mtime, ctime, size,
	// nlink) follow from an entry added, removed, renamed or replaced directly
	// in it, and an entry that moved along with a renamed directory. It is not
	// reported by itself and is accepted with what it follows from.
	Folded bool
	Old    *entry.Entry
	New    *entry.Entry
	OldSet entry.Set // the attribute sets of Old and New
	NewSet entry.Set
	Links  []entry.Path // other changed names of the same inode, at most MaxLinks
	// LinkOf is set where Path is another name of the inode at LinkOf, with the
	// same change: the change at LinkOf stands for both in findings, accept
	// takes both.
	LinkOf entry.Path
}

// MaxLinks bounds Change.Links.
const MaxLinks = 16

// Row is a fact stored beside the directories: a mount, an alias, a known gap,
// a posture fact. Kind and Key together are unique.
type Row struct {
	Kind  string
	Key   []byte
	Value []byte
}

// RowChange is a difference between stored and present rows of one kind. Old
// or New is nil where the row was added or removed.
type RowChange struct {
	Kind string
	Key  []byte
	Old  []byte
	New  []byte
}
