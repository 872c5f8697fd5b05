// Package deb follows the chain of signatures of Debian: from a pinned key to
// the release that it signed, to the index that the release lists, to the
// archive that the index lists, to each file in the archive. What it learns it
// puts into a manifest.
//
// Nothing of a link is used before the link above it holds. Everything is a
// stream; nothing is unpacked to the disk.
package deb

import (
	"errors"
	"strings"

	"intact/rules/pkgdb/manifest"
)

// Identity names a package in one version.
type Identity struct{ Package, Version, Architecture string }

// Errors of a chain.
var (
	ErrRelease = errors.New("not a release of an archive")
	ErrExpired = errors.New("release is no longer valid")
	ErrIndex   = errors.New("index is not the one that the release lists")
	ErrArchive = errors.New("not a package of dpkg")
	ErrTooMany = errors.New("more than is allowed")
)

// Index is a file that a release lists.
type Index struct {
	Name   string // in the release, as "main/binary-amd64/Packages"
	SHA256 manifest.SHA256
	Size   int64
}

// Proof is an entry of a verified index.
type Proof struct {
	Identity
	SHA256   manifest.SHA256 // of the archive
	Size     int64           // of it, in bytes
	Filename string          // of it, below the root of the repository
	Index    Index
	Release  *Release
	From     Files
}

// Files are the names in the folder of lists that a proof was found in.
type Files struct{ Release, Index string }

// valid reports whether the three can be written into a control file.
func (id Identity) valid() bool {
	return isPackage(id.Package) && ValidVersion(id.Version) && isPackage(id.Architecture)
}

// isPackage reports whether s can be the name of a package or an architecture:
// the letters of Debian's policy, section 5.6.1.
func isPackage(s string) bool {
	if s == "" || len(s) > 255 || !isAlnum(s[0]) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 || !isAlnum(byte(r)) && !strings.ContainsRune("+-._", r) }) < 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
