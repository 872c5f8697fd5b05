package pkgdb

import "intact/scanner/digest"

// Package is one that the database has, in one version. The database is a
// claim: who can replace a file can replace what it says.
type Package struct {
	Kind                string // "dpkg" or "rpm"
	Name, Arch, Version string
	Status              string        // of dpkg: the third word of its Status, as "installed"; of rpm "installed"
	Stanza              digest.Digest // of its stanza in the status of dpkg, of its header in the database of rpm
	List                digest.Digest // of the sorted list of its paths, each with a NUL behind it; zero where it has none
}
