// Package updates explains changes of files by packages that are in another
// version than the baseline knows. It does no I/O but through what it is given,
// and verifies no signatures: Level says what those who did found.
package updates

import (
	"cmp"
	"context"
	"iter"

	"intact/rules"
	"intact/rules/pkgdb"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// The kinds of the explanations that come from here.
const (
	Kind      = "package" // the package holds the path
	KindState = "state"   // the package manager's own record of it
)

// Update is one package before and after.
type Update struct {
	Old, New pkgdb.Package // Old is zero where the baseline does not have it, New where it is gone
	Level    string        // of the word of Source, a level of rules.Explanation
	ID       string        // of what Source was read from, as "sha256:…" of a package's file
	By       string        // who signed it, "" where nobody did
	When     string        // the transaction, RFC 3339; "" where it is not known
	Key      string        // fingerprint of the pinned key that signed, "" where none did
	Verified string        // RFC 3339: when the host verified what it cannot show any more, "" where it can
	Record   string        // which record of a package manager has it, for people; "" where none is known
	Source   Source        // what New holds, nil where that is not known

	// Was is what Old held, by a signed manifest; nil: not known.
	Was Source

	// Held are the paths of Old, by a list that the baseline vouches for; nil:
	// not known.
	Held iter.Seq[entry.Path]
}

// Source says what a package holds. Paths are as the package spells them.
type Source interface {
	Lookup(p entry.Path) (Said, bool, error)
	Paths() iter.Seq2[entry.Path, error] // each once, in any order
	// Control returns what the package manager keeps of the package in a file of
	// its own, by the file's extension, as "postinst".
	Control(name string) (Said, bool)
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

// Host is what the root says of itself. The baseline vouches for Diverted and
// Overrides: who does not know that they are as it has them leaves them out.
type Host struct {
	Links     map[entry.Path]entry.Path // folders through which packages spell paths, /bin to /usr/bin
	Diverted  map[entry.Path]Diversion  // by the path that packages list
	Overrides map[entry.Path]Override   // of dpkg-statoverride(1)
	// Doubted says that there are diversions or overrides which the baseline does
	// not vouch for: nothing is signed then.
	Doubted bool
	User    func(uid uint32) string // "" where it has none
	Group   func(gid uint32) string
	// Named says that the baseline vouches for User and Group. Else who edits the
	// accounts says whose a file is, and what names anybody but root is attributed.
	Named bool

	// Was returns what the baseline has at a path.
	Was func(p entry.Path) (*entry.Entry, bool)
	// Listed reports whether the package database lists a path now, for any
	// package, or cannot say: then it did not go with one. Nil: nothing is listed.
	Listed func(p entry.Path) bool
	// Read returns the content that the scan saw, at most limit bytes. False
	// means that the very same content could not be had.
	Read func(ctx context.Context, p entry.Path, seen *entry.Entry, limit int64) ([]byte, bool)
	// Settled reports whether the status of dpkg with this content says just what
	// the baseline and the updates say.
	Settled func(status digest.Digest) bool
	// SettledBefore is Settled for the status that dpkg keeps of before.
	SettledBefore func(status digest.Digest) bool
	// Vouched reports whether this file is the database of rpm, and all that it
	// says of packages is signed, or as the baseline has it.
	Vouched func(ctx context.Context, p entry.Path) bool

	Contents rules.Contents
}

// Diversion is one of dpkg-divert(1).
type Diversion struct {
	To entry.Path
	By string // the package whose file stays at the path, ":" for the administrator
}

// Override is one of dpkg-statoverride(1).
type Override struct {
	User, Group string
	Mode        uint16
}

// Gone reports whether nothing of the package is there any more but what an
// administrator may have edited.
func (u *Update) Gone() bool { return u.New.Name == "" || u.New.Status == pkgdb.ConfigFiles }

// kind is the package manager's.
func (u *Update) kind() string { return cmp.Or(u.New.Kind, u.Old.Kind) }

// Title names the update for people.
func (u *Update) Title() string {
	if u.Record != "" {
		return u.step() + ", " + u.Record
	}
	return u.step()
}

func (u *Update) step() string {
	switch {
	case u.Gone():
		return cmp.Or(u.Old.Name, u.New.Name) + " " + cmp.Or(u.Old.Version, u.New.Version) + " removed"
	case u.Old.Name == "":
		return u.New.Name + " " + u.New.Version
	case u.Old.Version == u.New.Version:
		return u.New.Name + " " + u.New.Version + ", as packaged"
	}
	return u.New.Name + " " + u.Old.Version + " → " + u.New.Version
}

// Explanation is what the update says of a change that it accounts for.
func (u *Update) Explanation(kind string) rules.Explanation {
	e := rules.Explanation{Source: u.Title(), Level: u.Level, Kind: kind, ID: u.ID, By: u.By, When: u.When, Key: u.Key, Verified: u.Verified}
	if e.Verified != "" {
		e.Claim = rules.HostClaimed
	}
	return e
}
