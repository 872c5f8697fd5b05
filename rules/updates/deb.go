package updates

import (
	"iter"
	"slices"

	"intact/rules/pkgdb/manifest"
	"intact/scanner/entry"
)

// Deb returns what a package of dpkg holds, by its manifest.
func Deb(m *manifest.Manifest) Source { return deb{m} }

type deb struct{ m *manifest.Manifest }

// Lookup implements Source.
func (d deb) Lookup(p entry.Path) (s Said, ok bool, err error) {
	e, ok, err := d.m.Lookup(p)
	if !ok || err != nil {
		return s, false, err
	}
	conffile := e.Conffile
	if e.Hard != "" {
		if e, err = d.m.Content(e); err != nil {
			return s, false, err
		}
	}
	return Said{Kind: e.Kind, Mode: e.Mode, UID: e.UID, GID: e.GID, User: e.Owner, Group: e.Group, Size: e.Size,
		SHA256: e.SHA256, BLAKE3: e.BLAKE3, Known: e.Kind == entry.File, Target: e.Target, Conffile: conffile}, true, nil
}

// Chain returns the evidence that the package came with.
func (d deb) Chain() manifest.Chain { return d.m.Head.Chain }

// Paths implements Source.
func (d deb) Paths() iter.Seq2[entry.Path, error] {
	return func(yield func(entry.Path, error) bool) {
		for e, err := range d.m.All() {
			if !yield(e.Path, err) || err != nil {
				return
			}
		}
	}
}

// Control implements Source.
func (d deb) Control(name string) (s Said, ok bool) {
	i := slices.IndexFunc(d.m.Head.Controls, func(c manifest.Control) bool { return c.Name == name })
	if i < 0 {
		return s, false
	}
	c := d.m.Head.Controls[i]
	return Said{Kind: entry.File, Mode: c.Mode, Size: c.Size, SHA256: c.SHA256, BLAKE3: c.BLAKE3, Known: true, User: "root", Group: "root"}, true
}
