package app

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
)

// namesIn are the names in a folder, in order.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

// Evidence goes that no manifest refers to, and nothing else: neither what is young,
// nor what has another name, nor anything behind a link in the place of the folder.
func TestPruneIndexes(t *testing.T) {
	s := newPruneSite(t)
	c := s.opened()
	needed := manifest.SHA256{1}
	c.books = &books{refers: map[manifest.SHA256]bool{needed: true}}
	dir := filepath.Join(s.env.State, baseline.IndexesDir)
	other := filepath.Join(s.dir, "other")
	s.must(os.MkdirAll(dir, 0o700), os.Mkdir(other, 0o700))
	old, garbage := time.Now().Add(-48*time.Hour), strings.Repeat("ab", 32)
	for _, at := range []string{dir, other} {
		for _, name := range []string{garbage + ".release", garbage + ".index", evidenceName(needed, indexSuffix), evidenceName(needed, releaseSuffix), "left.tmp", "notes", garbage} {
			f := filepath.Join(at, name)
			s.must(os.WriteFile(f, []byte("x"), 0o600), os.Chtimes(f, old, old))
		}
	}
	young := strings.Repeat("cd", 32) + ".index"
	s.must(os.WriteFile(filepath.Join(dir, young), nil, 0o600))

	before := namesIn(t, other)
	s.must(os.Rename(dir, dir+".away"), os.Symlink(other, dir))
	c.pruneIndexes()
	if got := namesIn(t, other); !slices.Equal(got, before) {
		t.Errorf("through a link %q went", without(before, got))
	}
	s.must(os.Remove(dir), os.Rename(dir+".away", dir))
	all := namesIn(t, dir)
	c.pruneIndexes()
	if got, want := without(all, namesIn(t, dir)), []string{garbage + ".index", garbage + ".release", "left.tmp"}; !slices.Equal(got, want) {
		t.Errorf("went: %q, want %q", got, want)
	}
}

// What is kept already and is needed once more is young again: a check that read
// the manifests before the hook wrote its own does not remove it.
func TestKeepEvidenceAgain(t *testing.T) {
	s := newPruneSite(t)
	c := s.opened()
	c.books = &books{refers: map[manifest.SHA256]bool{}}
	r, err := c.newRecorder()
	s.must(err)
	defer r.dir.Close()
	p := &deb.Proof{Index: deb.Index{SHA256: manifest.SHA256{2}}, Release: &deb.Release{SHA256: manifest.SHA256{3}}}
	dir, old := filepath.Join(s.env.State, baseline.IndexesDir), time.Now().Add(-48*time.Hour)
	s.must(os.MkdirAll(dir, 0o700))
	for _, name := range []string{evidenceName(p.Index.SHA256, indexSuffix), evidenceName(p.Release.SHA256, releaseSuffix)} {
		at := filepath.Join(dir, name)
		s.must(os.WriteFile(at, []byte("x"), 0o600), os.Chtimes(at, old, old))
	}
	s.must(r.keepEvidence(p))
	c.pruneIndexes()
	if got := namesIn(t, dir); len(got) != 2 {
		t.Errorf("only %q is left", got)
	}
}

// A folder that is turned into a link while evidence is written is not left: what is
// written goes where the folder is.
func TestKeepOnceStays(t *testing.T) {
	s := newPruneSite(t)
	c := s.opened()
	d, err := c.makeKept(baseline.IndexesDir)
	s.must(err)
	defer d.Close()
	dir, other := filepath.Join(s.env.State, baseline.IndexesDir), filepath.Join(s.dir, "other")
	s.must(os.Mkdir(other, 0o700))
	s.must(d.write("x", func(w io.Writer) error {
		s.must(os.Rename(dir, dir+".away"), os.Symlink(other, dir))
		_, err := w.Write([]byte("evidence"))
		return err
	}))
	if got := namesIn(t, other); len(got) != 0 {
		t.Errorf("through the link: %q", got)
	}
	if b, err := os.ReadFile(dir + ".away/x"); string(b) != "evidence" {
		t.Errorf("got %q, %v", b, err)
	}
}

// apt's lists are read by descriptor: nothing waits for a FIFO, and no link in the
// place of a list is followed.
func TestAptListsOpen(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(string) error{
		"fifo": func(at string) error { return unix.Mkfifo(at, 0o600) },
		"link": func(at string) error { return os.Symlink("/etc/passwd", at) },
		"dir":  func(at string) error { return os.Mkdir(at, 0o700) },
		"file": func(at string) error { return os.WriteFile(at, []byte("x"), 0o600) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	lists, err := openAptLists(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"fifo": false, "link": false, "dir": false, "file": true, "none": false, "../x": false} {
		done := make(chan error, 1)
		go func() {
			f, err := lists.Open(name)
			if err == nil {
				f.Close()
			}
			done <- err
		}()
		select {
		case err := <-done:
			if (err == nil) != want {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: waited for", name)
		}
	}
}
