// Package updates explains changes of files by packages that are in another
// version than the baseline knows. It does no I/O but through what it is given,
// and verifies no signatures: Level says what those who did found.
package updates

import (
	"intact/rules/pkgdb"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Kind is the kind of the explanations that come from here.
const Kind = "package"

// Update is one package before and after.
type Update struct {
	Old, New pkgdb.Package         // Old is zero where the baseline does not have it, New where it is gone
	Level    string                // of the word of Source, a level of rules.Explanation
	ID       string                // of what Source was read from, as "sha256:…" of a package's file
	By       string                // who signed it, "" where nobody did
	When     string                // the transaction, RFC 3339; "" where it is not known
	Source   Source                // what New holds, nil where that is not known
	Gone     func(entry.Path) bool // whether Old held a path, by a list that the baseline vouches for; nil: not known
}

// Source says what a package holds. Paths are as the package spells them.
type Source interface {
	Lookup(p entry.Path) (Said, bool, error)
}

// Said is what a package says of one path.
type Said struct {
	Kind        entry.Kind
	Mode        uint16 // 07777
	UID, GID    uint32
	User, Group string // names, which decide; "" where only the numbers are known
	Size        int64  // of a file, like the digests
	SHA256      [32]byte
	BLAKE3      digest.Digest
	Known       bool   // BLAKE3 is known
	Target      string // of a symbolic link
	Caps        string // as cap_to_text(3) writes them
	HasCaps     bool   // Caps is known: empty says that there are none
	Conffile    bool   // the administrator may edit it
	Ghost       bool   // made on the host: the package only claims the name
}
