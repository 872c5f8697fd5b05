package app

import (
	"io"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// statusRoot is a root of which the status of dpkg is summing up while it is read.
type statusRoot struct {
	packageRoot
	sum *digest.Digest
}

// Open implements pkgdb.Root.
func (r statusRoot) Open(p entry.Path) (io.ReadCloser, error) {
	f, err := r.packageRoot.Open(p)
	if err != nil || p != "/var/lib/dpkg/status" {
		return f, err
	}
	return &summing{f, digest.New(), r.sum}, nil
}

type summing struct {
	io.ReadCloser
	hash *digest.Hasher
	sum  *digest.Digest
}

func (s *summing) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	s.hash.Write(b[:n])
	return n, err
}

func (s *summing) Close() error {
	*s.sum = s.hash.Sum()
	return s.ReadCloser.Close()
}
