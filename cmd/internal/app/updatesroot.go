package app

import (
	"context"
	"io"
	"slices"

	"intact/rules/pkgdb"
	"intact/rules/updates"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// statusRoot is a root of which the status of dpkg is summing up while it is read.
type statusRoot struct {
	packageRoot
	sum    *digest.Digest
	status entry.Path // the file that stands for the status
}

const (
	dpkgStatusOld = entry.Path("/var/lib/dpkg/status-old")
	dpkgUpdates   = entry.Path("/var/lib/dpkg/updates")
)

// Open implements pkgdb.Root.
func (r statusRoot) Open(p entry.Path) (io.ReadCloser, error) {
	if p.Under(dpkgUpdates) && p != dpkgUpdates {
		// The status alone is not what counts, and vouches for nothing.
		*r.sum = digest.Digest{}
	}
	if p != dpkgStatus {
		return r.packageRoot.Open(p)
	}
	f, err := r.packageRoot.Open(r.status)
	if err != nil {
		return nil, err
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

// settledBefore reports whether the copy that dpkg keeps of the status before has
// the content d, and says nothing of packages but what the baseline knows, is true
// now but for how far dpkg had got, or is about one of the updates.
func (c *check) settledBefore(ctx context.Context, d digest.Digest, u *updating) bool {
	var sum digest.Digest
	list, err := pkgdb.Installed(ctx, statusRoot{c.packagesIn(), &sum, dpkgStatusOld})
	if err != nil || sum != d {
		return false
	}
	known := map[digest.Digest]bool{}
	for _, p := range c.before {
		known[p.Stanza] = true
	}
	for _, p := range c.installed {
		known[p.Stanza], known[p.Body] = true, true
	}
	delete(known, digest.Digest{})
	for i := range list {
		if !known[list[i].Stanza] && !known[list[i].Body] && !slices.ContainsFunc(u.list, func(u updates.Update) bool { return u.New.Name == list[i].Name || u.Old.Name == list[i].Name }) {
			return false
		}
	}
	return true
}

// doubted reports whether a file has something in it, or had, that the baseline does
// not vouch for.
func (c *check) doubted(p entry.Path) bool {
	if _, ok := c.vouchedFile(p); ok {
		return false
	}
	if e, _, had := c.gen.Lookup(p); had && (e.Have&entry.Content == 0 || e.Size > 0) {
		return true
	}
	f, err := c.root.OpenFile(p)
	if err != nil {
		return !absent(err)
	}
	defer f.Close()
	st, err := f.Stat()
	return err != nil || st.Size() > 0
}
