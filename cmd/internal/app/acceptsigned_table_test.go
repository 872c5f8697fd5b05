package app

import (
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/derived"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/updates"
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

func (oneFile) Paths() iter.Seq2[entry.Path, error]      { return nil }
func (oneFile) Control(string) (s updates.Said, ok bool) { return s, false }

func (o oneFile) Chain() manifest.Chain {
	return manifest.Chain{Origin: "Debian", Suite: "stable", Codename: "forky", Key: "K", Date: o.date}
}

// noIndex is a source that says nothing of an archive.
type noIndex struct{ updates.Source }

// Each case differs in one thing from an upgrade that is accepted.
func TestSignedUpgrades(t *testing.T) {
	day := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	const ordinary = entry.Content | entry.Mode | entry.Caps
	type caseOf struct {
		u     updates.Update
		c     diff.Change
		x     *rules.Explanation
		other *diff.Change // that nothing explains
		seen  string       // of the index
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
		{"same version", func(k *caseOf) { k.u.Old.Version = "2" }, "not higher"},
		{"no version", func(k *caseOf) { k.u.Old.Version = "" }, "not higher"},
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
		{"something else", func(k *caseOf) { k.other = &diff.Change{Kind: diff.Changed, Path: "/usr/bin/b"} }, ""},
	} {
		k := &caseOf{
			u: updates.Update{Old: pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: "1"}, New: pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: "2"},
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
		w := newUpgrades([]updates.Update{k.u}, seen, day)
		if err := w.weigh(&k.c, k.x); err != nil {
			t.Fatal(err)
		}
		if k.other != nil {
			if err := w.weigh(k.other, nil); err != nil {
				t.Fatal(err)
			}
		}
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
