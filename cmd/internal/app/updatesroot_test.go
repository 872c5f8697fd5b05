package app

import (
	"os"
	"testing"

	"intact/rules/pkgdb"
	"intact/scanner/digest"
)

// A status beside a journal is not what counts, and settles nothing.
func TestStatusBesideJournal(t *testing.T) {
	s := newPruneSite(t)
	c := s.opened()
	read := func() (sum digest.Digest) {
		t.Helper()
		if _, err := pkgdb.Installed(t.Context(), statusRoot{packageRoot{c.root}, &sum, dpkgStatus}); err != nil {
			t.Fatal(err)
		}
		return sum
	}
	status, err := os.ReadFile(s.dir + "/host/var/lib/dpkg/status")
	s.must(err)
	if got := read(); got != digest.Sum(status) {
		t.Errorf("alone: got %v", got)
	}
	s.must(os.Mkdir(s.dir+"/host/var/lib/dpkg/updates", 0o755))
	if got := read(); got != digest.Sum(status) {
		t.Errorf("beside an empty journal: got %v", got)
	}
	s.must(os.WriteFile(s.dir+"/host/var/lib/dpkg/updates/0000", status, 0o644))
	if got := read(); got != (digest.Digest{}) {
		t.Errorf("beside a journal: got %v", got)
	}
}
