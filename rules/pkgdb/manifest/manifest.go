// Package manifest stores what a package holds: each path with type, mode,
// owner, digests and targets, and beside it the evidence that a distribution
// vouches for all this. It owns the format intact.manifest/1.
//
// A manifest is a text. It is named by the BLAKE3 of its bytes, has one
// spelling, and its entries stand in tree order, so that it can be joined with
// changes in one pass and looked up in without being held in memory.
//
//	intact.manifest/1
//	format deb
//	package hostname
//	version 3.23+nmu1
//	architecture amd64
//	level signed
//	archive sha256:… 10500
//	release sha256:… 151075
//	origin Debian
//	suite oldstable
//	codename bookworm
//	date 2026-07-11T10:16:37Z
//	key B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8
//	uid Debian Archive Automatic Signing Key (12/bookworm) <…>
//	signed-at 2026-07-11T10:17:11Z
//	index sha256:… 50060337
//	index-name main/binary-amd64/Packages
//	filename pool/main/h/hostname/hostname_3.23+nmu1_amd64.deb
//	verified 2026-11-27T02:30:00Z
//	control 0644 612 sha256:… blake3:… md5sums
//
//	dir 0755 0 0 root root /usr/bin
//	file 0755 0 0 root root 22680 sha256:… blake3:… /usr/bin/hostname
//	link 0777 0 0 root root hostname /usr/bin/domainname
//	end 3
//
// Lines of the head whose value is empty are left out. Bytes that are not
// printable ASCII, and the backslash, are written \xhh; among columns so is the
// blank. A name of an owner that is not known is "-".
package manifest

import (
	"errors"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Format is the first line of a manifest.
const Format = "intact.manifest/1"

// Level says how far what a manifest says can be believed.
type Level string

// The levels. Signed means that every link of a chain from a pinned key to the
// archive was verified on this host at one time: who was root then can have
// forged it. Local means that the archive was read and nobody vouches for it.
// None means that something contradicts it.
const (
	Signed Level = "signed"
	Local  Level = "local"
	None   Level = "none"
)

// SHA256 is a digest as archives list them.
type SHA256 [32]byte

// Head is what is known of the package as a whole.
type Head struct {
	Format       string // "deb"
	Package      string
	Version      string
	Architecture string
	Level        Level
	Reason       string // why it is not signed
	Archive      SHA256 // of the package's file
	ArchiveSize  int64
	Chain        Chain // zero unless Level is Signed
	Controls     []Control
	Removes      []entry.Path // configuration that the package takes away, sorted
}

// Chain is the evidence of a signed package, from the key to the archive.
type Chain struct {
	Release     SHA256 // of the signed file
	ReleaseSize int64
	Origin      string
	Suite       string
	Codename    string
	Date        time.Time // of the release, by itself
	ValidUntil  time.Time // zero if the release does not say
	Key         string    // fingerprint of the primary key
	Subkey      string    // of the key that signed, if it is another
	UID         string
	SignedAt    time.Time // as the signature states it
	Index       SHA256    // of the index as the release lists it
	IndexSize   int64
	IndexName   string
	Filename    string    // of the archive in the index
	Verified    time.Time // when this was verified
}

// Control is a file of the package manager's own, which it keeps beside its
// database.
type Control struct {
	Name   string
	Mode   uint16
	Size   int64
	SHA256 SHA256
	BLAKE3 digest.Digest
}

// Entry is one path of a package. Nothing is resolved: neither links above it
// nor diversions.
type Entry struct {
	Path         entry.Path
	Kind         entry.Kind
	Conffile     bool       // the administrator may edit it; only of a File
	Hard         entry.Path // the path that a hard link is another name of, "" if it is none
	Target       string     // of a Symlink
	Mode         uint16
	UID, GID     uint32
	Owner, Group string // names, "" where they are not known
	Size         int64  // of a File, like the digests; zero of a hard link
	SHA256       SHA256
	BLAKE3       digest.Digest
	Major, Minor uint32 // of a device
}

// Limits of a manifest.
const (
	MaxEntries  = 1 << 20
	MaxControls = 256
	MaxRemoves  = 4096
	maxLine     = 64 << 10
	maxHead     = 1 << 20 // bytes
	maxLinks    = 1 << 16 // hard links of one package
)

// Errors of a manifest.
var (
	ErrDigest    = errors.New("manifest is not the one of that name")
	ErrFormat    = errors.New("not a manifest of a known format")
	ErrMalformed = errors.New("malformed manifest")
)

// Errors of a package that cannot be what it says.
var (
	ErrDuplicate = errors.New("package holds a path twice")
	ErrBelow     = errors.New("package holds a path below one that is no directory")
	ErrHard      = errors.New("package holds a hard link to what is no file of its own")
	ErrTooMany   = errors.New("package holds too much")
	ErrEntry     = errors.New("package holds what cannot be written down")
)
