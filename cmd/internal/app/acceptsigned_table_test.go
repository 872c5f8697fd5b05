package app

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/derived"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/updates"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// oneFile is a package with one file, from an index of the time.
type oneFile struct {
	path entry.Path
	date time.Time
}

func (o oneFile) Lookup(p entry.Path) (updates.Said, bool, error) {
	return updates.Said{Kind: entry.File}, p == o.path, nil
}

func (o oneFile) Paths() iter.Seq2[entry.Path, error] {
	return func(yield func(entry.Path, error) bool) { yield(o.path, nil) }
}

func (oneFile) Control(string) (s updates.Said, ok bool) { return s, false }

func (o oneFile) Chain() manifest.Chain {
	return manifest.Chain{Origin: "Debian", Suite: "stable", Codename: "forky", Key: "K", Date: o.date}
}

// broken is a source that cannot be read to its end.
type broken struct{ oneFile }

func (b broken) Paths() iter.Seq2[entry.Path, error] {
	return func(yield func(entry.Path, error) bool) { yield("", errors.New("damaged")) }
}

// noIndex is a source that says nothing of an archive.
type noIndex struct{ updates.Source }

// caseOf is one upgrade, a change, and what is around it.
type caseOf struct {
	u     updates.Update
	c     diff.Change
	x     *rules.Explanation
	other *diff.Change // that nothing explains
	seen  string       // of the index
	under *baseline.Delegation
}

// Each case differs in one thing from an upgrade that is accepted.
func TestSignedUpgrades(t *testing.T) {
	day := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	const ordinary = entry.Content | entry.Mode | entry.Caps
	under := func(packages, suites string) *baseline.Delegation {
		return &baseline.Delegation{Packages: []string{packages}, Suites: []string{suites}}
	}
	for _, tt := range []struct {
		name string
		edit func(*caseOf)
		held string // "": taken
	}{
		{"ordinary", func(*caseOf) {}, ""},
		{"same index", func(k *caseOf) { k.seen = "date=2026-11-27T00:00:00Z" }, ""},
		{"older index", func(k *caseOf) { k.seen = "date=2026-11-27T00:00:01Z" }, "older than one"},
		{"index row that is none", func(k *caseOf) { k.seen = "date=yesterday" }, "which index"},
		{"index of tomorrow", func(k *caseOf) { k.u.Source = oneFile{"/usr/bin/a", day.Add(48 * time.Hour)} }, "future"},
		{"no index", func(k *caseOf) { k.u.Source = noIndex{oneFile{}} }, "no signed index"},
		{"new package", func(k *caseOf) { k.u.Old = pkgdb.Package{} }, "does not have it"},
		{"removed package", func(k *caseOf) { k.u.New = pkgdb.Package{} }, "removed"},
		{"downgrade", func(k *caseOf) { k.u.Old.Version = "3" }, "not higher"},
		{"same version", func(k *caseOf) { k.u.Old.Version, k.u.Old.List = "2", digest.Sum(nil) }, "not higher"},
		{"version 2.0 for 1:1", func(k *caseOf) { k.u.Old.Version, k.u.New.Version = "1:1", "2.0" }, "not higher"},
		{"no version", func(k *caseOf) { k.u.Old.Version = "" }, "not higher"},
		{"put on hold", func(k *caseOf) { k.u.New.Status = pkgdb.Held }, "is held"},
		{"on hold before", func(k *caseOf) { k.u.Old.Status, k.u.New.Status = pkgdb.Held, pkgdb.Held }, ""},
		{"half configured", func(k *caseOf) { k.u.New.Status = "half-configured" }, "not fully installed"},
		{"other architecture", func(k *caseOf) { k.u.Old.Arch = "i386" }, "only packages"},
		{"rpm", func(k *caseOf) { k.u.Old.Kind, k.u.New.Kind = "rpm", "rpm" }, "only packages"},
		{"unsigned", func(k *caseOf) { k.u.Level = rules.Local }, "no signature"},
		{"attributed file", func(k *caseOf) { k.x.Level = rules.Attributed }, "not as the package"},
		{"other package's word", func(k *caseOf) { k.x.ID = "sha256:2" }, "another package"},
		{"attributed cache", func(k *caseOf) { k.x.Level, k.x.Kind = rules.Attributed, derived.Kind }, ""},
		{"attributed record", func(k *caseOf) { k.x.Level, k.x.Kind = rules.Attributed, updates.KindState }, ""},
		{"setuid", func(k *caseOf) { k.c.New.Mode = 0o4755 }, "setuid"},
		{"setgid added", func(k *caseOf) { k.c.Kind, k.c.Old, k.c.New.Mode = diff.Added, nil, 0o2755 }, "setuid"},
		{"setuid as before", func(k *caseOf) { k.c.Old.Mode, k.c.New.Mode = 0o4755, 0o4755 }, ""},
		{"unknown mode", func(k *caseOf) { k.c.New.Have = entry.Content }, "mode"},
		{"capability", func(k *caseOf) { k.c.New.Caps = []byte{1} }, "capabilities"},
		{"unit", func(k *caseOf) { k.c.Kind, k.c.Old, k.c.Path = diff.Added, nil, "/lib/systemd/system/a.service" }, "unit"},
		{"enabled unit", func(k *caseOf) {
			k.c.Kind, k.c.Old, k.c.Path = diff.Added, nil, "/etc/systemd/system/multi-user.target.wants/a.service"
			k.c.New.Kind = entry.Symlink
		}, "unit"},
		{"changed unit", func(k *caseOf) { k.c.Path = "/usr/lib/systemd/system/a.service" }, ""},
		{"keys", func(k *caseOf) { k.c.Path = "/root/.ssh/authorized_keys" }, "lets somebody in"},
		{"unverified", func(k *caseOf) { k.c.Lost = entry.Content }, "verified"},
		{"a file that differs", func(k *caseOf) { k.other = &diff.Change{Kind: diff.Changed, Path: "/usr/bin/a"} }, "not explained"},
		{"its name before usrmerge", func(k *caseOf) {
			k.u.Source = oneFile{"/bin/a", day}
			k.other = &diff.Change{Kind: diff.Changed, Path: "/usr/bin/a"}
		}, "not explained"},
		{"moved away", func(k *caseOf) { k.other = &diff.Change{Kind: diff.Renamed, From: "/usr/bin/a", Path: "/tmp/a"} }, "not explained"},
		{"a removal that nothing explains", func(k *caseOf) {
			k.u.Held = slices.Values([]entry.Path{"/usr/bin/gone"})
			k.other = &diff.Change{Kind: diff.Removed, Path: "/usr/bin/gone", Old: &entry.Entry{Kind: entry.File}}
		}, "not explained"},
		{"a source that breaks", func(k *caseOf) { k.u.Source = broken{oneFile{"/usr/bin/a", day}} }, "cannot be read"},
		{"delegated", func(k *caseOf) { k.under = under("a*", "forky") }, ""},
		{"delegated by suite", func(k *caseOf) { k.under = under("a", "stable") }, ""},
		{"other package delegated", func(k *caseOf) { k.under = under("b", "stable") }, "does not cover it"},
		{"other suite delegated", func(k *caseOf) { k.under = under("*", "stable-security") }, "does not cover the suite stable"},
		{"something else", func(k *caseOf) { k.other = &diff.Change{Kind: diff.Changed, Path: "/usr/bin/b"} }, ""},
	} {
		k := &caseOf{
			u: updates.Update{Old: pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: "1", Status: "installed"}, New: pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: "2", Status: "installed"},
				Level: rules.Signed, ID: "sha256:1", Source: oneFile{"/usr/bin/a", day}},
			c: diff.Change{Kind: diff.Changed, Path: "/usr/bin/a", Old: &entry.Entry{Kind: entry.File, Have: ordinary, Mode: 0o755}, New: &entry.Entry{Kind: entry.File, Have: ordinary, Mode: 0o755}},
			x: &rules.Explanation{Level: rules.Signed, Kind: updates.Kind, ID: "sha256:1"},
		}
		tt.edit(k)
		k.x.Source = k.u.Title()
		var seen []diff.Row
		if k.seen != "" {
			seen = []diff.Row{{Kind: rowIndex, Key: []byte("Debian\x00stable\x00forky\x00K"), Value: []byte(k.seen)}}
		}
		w, err := newUpgrades(t.Context(), []updates.Update{k.u}, seen, day, updates.Host{Links: map[entry.Path]entry.Path{"/bin": "/usr/bin"}}, k.under)
		if err != nil {
			t.Fatal(err)
		}
		w.weigh(&k.c, k.x)
		if k.other != nil {
			w.weigh(k.other, nil)
		}
		w.weighed()
		u := w.by[k.x.Source]
		if (u.held == "") != (tt.held == "") || !strings.Contains(u.held, tt.held) {
			t.Errorf("%s: held %q", tt.name, u.held)
		}
		signed := k.x.Level == rules.Signed
		if got := w.takes(k.x); got != (tt.held == "" && signed) {
			t.Errorf("%s: takes %v", tt.name, got)
		}
		if n := len(w.rows()); n != 0 && (tt.held != "" || k.seen != "") {
			t.Errorf("%s: %d index rows", tt.name, n)
		}
		if got := w.takesRow([]byte("dpkg a:amd64")); got != (tt.held == "") {
			t.Errorf("%s: takes the row: %v", tt.name, got)
		}
	}
}

// Of a version that the baseline has, only what was made from it goes along, and
// nobody hears of it while nothing waits.
func TestSignedAgain(t *testing.T) {
	day := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	p := pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: "2"}
	u := updates.Update{Old: p, New: p, Level: rules.Signed, ID: "sha256:1", Source: oneFile{"/usr/bin/a", day}}
	newer := []diff.Row{{Kind: rowIndex, Key: []byte("Debian\x00stable\x00forky\x00K"), Value: []byte("date=2026-12-01T00:00:00Z")}}
	said := func(kind, level string) *rules.Explanation {
		return &rules.Explanation{Source: u.Title(), Level: level, Kind: kind, ID: u.ID}
	}
	change := &diff.Change{Kind: diff.Changed, Path: "/etc/ld.so.cache", Old: &entry.Entry{Kind: entry.File}, New: &entry.Entry{Kind: entry.File, Have: entry.Mode}}
	for _, tt := range []struct {
		name        string
		x           *rules.Explanation
		under       *baseline.Delegation
		takes, some bool
		stays       int
	}{
		{"made from it", said(derived.Kind, rules.Signed), nil, true, true, 0},
		{"attributed", said(derived.Kind, rules.Attributed), nil, false, false, 0},
		{"its own file", said(updates.Kind, rules.Signed), nil, false, false, 0},
		{"a file of another", nil, nil, false, false, 0},
		{"not covered", said(derived.Kind, rules.Signed), &baseline.Delegation{Packages: []string{"b"}, Suites: []string{"stable"}}, false, false, 1},
	} {
		w, err := newUpgrades(t.Context(), []updates.Update{u}, newer, day, updates.Host{}, tt.under)
		if err != nil {
			t.Fatal(err)
		}
		w.weigh(change, tt.x)
		w.weighed()
		if w.takes(tt.x) != tt.takes || w.some() != tt.some || len(w.stays()) != tt.stays || w.count()+len(w.rows()) != 0 || w.takesRow([]byte("dpkg a:amd64")) {
			t.Errorf("%s: takes %v, some %v, stays %q, %d counted", tt.name, w.takes(tt.x), w.some(), w.stays(), w.count())
		}
	}
}
