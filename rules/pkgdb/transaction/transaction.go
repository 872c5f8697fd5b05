// Package transaction stores what a package manager was about to do, as its
// hooks saw it. It owns the format intact.transaction/1.
//
// A transaction is a text with one spelling:
//
//	intact.transaction/1
//	began 2026-11-27T02:30:00Z
//	ended 2026-11-27T02:31:12Z
//	manager apt
//	command "apt-get upgrade"
//	unchecked "APT::Get::AllowUnauthenticated"
//	problem "lists of apt: …"
//	package hostname amd64 3.23 3.23+nmu1 unpack signed 9b…-41… 77… -
//	package local-tool all - 1.0 unpack local 0c…-d2… - -
//	package dash amd64 0.5.12-2 0.5.12-3 unpack none - 5f… "provenance not captured: not a regular file"
//	end 3
//
// The columns of a package are its name, architecture, old and new version, what
// is done, the level and the name of its manifest in the folder of packages, the
// digest of the list of files that the old version had, and what went wrong. "-"
// stands for what there is not. Lines of the head whose value is empty are left
// out; ended is left out until the transaction is over.
//
// The file says what the host believed: it is not signed, and root can write
// what root likes. The manifests that it names are verified by whoever uses them.
package transaction

import (
	"errors"
	"time"

	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
)

// Format is the first line of a transaction.
const Format = "intact.transaction/1"

// Uncaptured begins the problem of a package of which no manifest was kept.
const Uncaptured = "provenance not captured: "

// Managers are the programs whose hooks write transactions.
const (
	Apt  = "apt"
	Dpkg = "dpkg"
)

// Action says what was to be done with a package.
type Action string

// The actions.
const (
	Unpack    Action = "unpack"
	Configure Action = "configure"
	Remove    Action = "remove"
)

// Transaction is one run of a package manager.
type Transaction struct {
	Name      string    // of its file; not part of the text
	Began     time.Time // whole seconds, UTC
	Ended     time.Time // zero while it runs, and where nobody saw its end
	Manager   string
	Command   string   // its command line; unescaped, "" where it is not known
	Unchecked []string // settings that let packages in which nobody vouches for
	Problems  []string // about the transaction as a whole; unescaped
	Packages  []Package
}

// Package is what happens to one package.
type Package struct {
	Name, Arch string
	Old, New   string // versions, "" where there is none
	Action     Action
	Level      manifest.Level // of Manifest; None where there is none
	Manifest   string         // its name in the folder of packages, "" for none
	List       digest.Digest  // of the old version's list of files, zero where there is none
	Problem    string         // unescaped
}

// Limits of a transaction and of a folder of them.
const (
	MaxSize      = 32 << 20 // bytes
	MaxPackages  = 1 << 16
	MaxListed    = 4096 // transactions that List reads
	MaxListBytes = 64 << 20
	MaxListPaths = 1 << 20
	maxText      = 64 << 10 // bytes of one text
	maxWord      = 1 << 10
	maxTexts     = 256
)

// Errors of a transaction.
var (
	ErrFormat    = errors.New("not a transaction of a known format")
	ErrMalformed = errors.New("malformed transaction")
)
