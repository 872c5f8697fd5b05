package app

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/transaction"
)

// pruneSite is a root with a package database of one package, and a state folder.
type pruneSite struct {
	t    *testing.T
	dir  string
	env  Env
	seen map[string]string // manifests by a word
}

func newPruneSite(t *testing.T) *pruneSite {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &pruneSite{t: t, dir: dir, seen: map[string]string{}}
	s.env = Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Version: "test", Now: time.Now,
		Config: dir + "/intact.yaml", State: dir + "/state", Root: dir + "/host"}
	s.must(os.WriteFile(s.env.Config, []byte("version: 1\npaths:\n  - {path: /etc, attributes: config}\n"), 0o600),
		os.MkdirAll(dir+"/host/etc", 0o755), os.WriteFile(dir+"/host/etc/x", nil, 0o644), os.MkdirAll(dir+"/host/var/lib/dpkg/info", 0o755))
	s.installed("1")
	if _, err := Init(t.Context(), &s.env, InitOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *pruneSite) must(errs ...error) {
	s.t.Helper()
	for _, err := range errs {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *pruneSite) installed(version string) {
	s.t.Helper()
	s.must(os.WriteFile(s.dir+"/host/var/lib/dpkg/status", fmt.Appendf(nil, "Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: %s\n", version), 0o644))
}

// put stores a manifest of a version of tool that was written so long ago.
func (s *pruneSite) put(word, version string, ago time.Duration) (archive string) {
	s.t.Helper()
	h := &manifest.Head{Format: "2.0", Package: "tool", Version: version, Architecture: "all", Level: manifest.Local, Reason: "test " + word, ArchiveSize: 1}
	copy(h.Archive[:], word)
	m := manifest.NewBuilder(s.dir)
	defer m.Close()
	var b bytes.Buffer
	sum, err := m.Write(&b, h)
	s.must(err)
	archive = hex.EncodeToString(h.Archive[:])
	s.store(word, archive+"-"+sum.String(), b.Bytes(), ago)
	return archive
}

func (s *pruneSite) store(word, name string, b []byte, ago time.Duration) {
	s.t.Helper()
	at := filepath.Join(s.env.State, baseline.PackagesDir, name)
	when := time.Now().Add(-ago)
	s.must(os.WriteFile(at, b, 0o600), os.Chtimes(at, when, when))
	s.seen[word] = at
}

// left lists by their words the manifests that are there.
func (s *pruneSite) left() (words []string) {
	for w, at := range s.seen {
		if _, err := os.Stat(at); err == nil {
			words = append(words, w)
		}
	}
	slices.Sort(words)
	return words
}

// opened is a check that has its baseline.
func (s *pruneSite) opened() *check {
	s.t.Helper()
	se, err := open(&s.env)
	s.must(err)
	c := &check{session: se, gaps: &gapList{}}
	s.must(c.open(s.t.Context()))
	s.t.Cleanup(func() { c.gen.Close(); c.close() })
	return c
}

const never = 100 * 365 * 24 * time.Hour

// Manifests go by age and amount, and none that something may need: neither what is
// installed or in the baseline, nor in an older generation that is kept, nor what a
// hook saw or what explains a change that waits.
func TestPrunePackages(t *testing.T) {
	s := newPruneSite(t)
	s.installed("2")
	if _, err := Check(t.Context(), &s.env, CheckOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Accept(t.Context(), &s.env, AcceptOptions{Packages: []string{"tool"}, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	s.installed("3")
	const old = 91 * 24 * time.Hour
	s.put("nothing", "0", old)
	s.put("former", "1", old)
	s.put("baseline", "2", old)
	s.put("installed", "3", old)
	s.put("young", "8", old-7*24*time.Hour)
	s.put("future", "8", -365*24*time.Hour)
	s.put("now", "8", 0)
	s.store("damaged", strings.Repeat("ee", 32)+"-"+strings.Repeat("ff", 32), []byte("garbage"), old)
	pending := s.put("pending", "7", old)
	seen := s.put("seen", "6", old)
	c := s.opened()
	x := &rules.Explanation{Kind: "package", Source: "tool", ID: "sha256:" + pending, Level: rules.Signed}
	row := baseline.PendingRow{RowChange: diff.RowChange{Kind: rowPackage, Key: []byte("dpkg tool:all"), New: []byte("x")}, FirstSeen: time.Now(), Explained: x.Append(nil)}
	host, err := c.store.HostID()
	s.must(err)
	_, err = c.store.SavePending(t.Context(), baseline.PendingHeader{HostID: host, Generation: 2, Report: "r", Created: time.Now().UTC()}, func(func(baseline.PendingChange, error) bool) {}, []baseline.PendingRow{row})
	s.must(err)
	at := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	s.must(c.putTransaction(&transaction.Transaction{Began: at, Ended: at, Manager: transaction.Apt, Packages: []transaction.Package{
		{Name: "tool", Arch: "all", New: "6", Action: transaction.Unpack, Level: manifest.Local, Manifest: filepath.Base(s.seen["seen"])}}}))
	_ = seen

	all := s.left()
	c.prunePackages(t.Context(), manifestBounds{never, 1000, math.MaxInt64})
	if got := without(all, s.left()); !slices.Equal(got, []string{"future"}) {
		t.Errorf("without bounds %q went", got)
	}
	c.pruneKept(t.Context()) // as a check does
	if got := without(all, s.left()); !slices.Equal(got, []string{"damaged", "future", "nothing"}) {
		t.Errorf("by age %q went", got)
	}
	if st, err := os.Stat(s.seen["former"]); err != nil || time.Since(st.ModTime()) > time.Hour {
		t.Error("what an older generation knows is looked at again at each check")
	}
	// Beyond the amount older generations do not count; what is young may be of a hook
	// that runs.
	s.put("former", "1", old)
	c.prunePackages(t.Context(), manifestBounds{never, 2, math.MaxInt64})
	if got, want := s.left(), []string{"baseline", "installed", "now", "pending", "seen"}; !slices.Equal(got, want) {
		t.Errorf("by amount: got %q, want %q", got, want)
	}
	s.put("a", "10", 40*time.Hour)
	s.put("b", "10", 50*time.Hour)
	c.prunePackages(t.Context(), manifestBounds{never, 6, math.MaxInt64})
	if got := s.left(); !slices.Contains(got, "a") || slices.Contains(got, "b") {
		t.Errorf("not the oldest went: %q", got)
	}
	c.prunePackages(t.Context(), manifestBounds{never, 1000, 1})
	if got, want := s.left(), []string{"baseline", "installed", "now", "pending", "seen"}; !slices.Equal(got, want) {
		t.Errorf("by length: got %q, want %q", got, want)
	}
}

// Where nobody can tell what is installed, nothing goes.
func TestPrunePackagesBlind(t *testing.T) {
	s := newPruneSite(t)
	s.put("old", "0", 200*24*time.Hour)
	s.must(os.WriteFile(s.dir+"/host/var/lib/dpkg/status", []byte("garbage\n"), 0o644))
	c := s.opened()
	c.pruneKept(t.Context())
	if got := s.left(); len(got) != 1 {
		t.Error("it went")
	}
	s.installed("1")
	c.pruneKept(t.Context())
	if got := s.left(); len(got) != 0 {
		t.Error("it stays")
	}
}

// without are the words of a that are not in b.
func without(a, b []string) (gone []string) {
	for _, w := range a {
		if !slices.Contains(b, w) {
			gone = append(gone, w)
		}
	}
	return gone
}
