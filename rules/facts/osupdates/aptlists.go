package osupdates

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/deb822"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/entry"
)

const (
	aptListsDir = entry.Path("/var/lib/apt/lists")
	maxIndexes  = 1 << 12 // that are read
	maxLookups  = 1 << 18 // of names that a list may have
)

var errRelease = errors.New("not a release of an archive")

// release is what an InRelease or Release file says. Nobody vouches for it here.
type release struct {
	file                                    entry.Path
	origin, label, suite, codename, version string
	notAutomatic, butAutomaticUpgrades      bool
	date, until                             time.Time // zero where it does not say
}

// security reports whether an archive's updates are security updates: by the
// label of Debian's archive, or by the suite, as Ubuntu, its ESM and Debian name
// theirs. What an URI says is not asked.
func (r *release) security() bool {
	return r.label == "Debian-Security" || strings.HasSuffix(r.suite, "-security") || strings.HasSuffix(r.codename, "-security")
}

// index is one list of packages that apt reads, or the status of dpkg.
type index struct {
	source    *source
	rel       *release // nil where the archive has none
	uri       string   // of the archive
	file      entry.Path
	component string
	arch      string
	site      string
	status    bool
	doubted   bool // it was said that it has no release
	priority  int
}

// nothing is what an archive without a release says.
var nothing release

func (x *index) release() *release {
	switch {
	case x.status:
		return &release{suite: "now"}
	case x.rel == nil:
		return &nothing
	}
	return x.rel
}

// lists is what apt has of the enabled sources of binary packages.
type lists struct {
	sources  []source
	releases map[string]*release // by the name of the archive, see listName
	indexes  []index
	missing  []string // archives without any list
}

// aptLists finds the lists of each source, as apt names them.
func (h *host) aptLists(archs []string) *lists {
	l := &lists{sources: h.sources(), releases: map[string]*release{}}
	have := map[string]bool{}
	for _, n := range h.list(aptListsDir, maxNames, false) {
		have[n] = true
	}
	seen := map[string]bool{}
	looked := 0
	for i := range l.sources {
		s := &l.sources[i]
		if !s.enabled || s.kind != "deb" {
			continue
		}
		found := false
		for _, arch := range append(s.archs(archs), "all") {
			uri := s.base(arch)
			name := listName(uri)
			rel := h.releaseOf(l, have, name)
			components := s.components
			if len(components) == 0 {
				components = []string{""}
			}
			if looked += len(components); looked > maxLookups {
				h.add(fmt.Errorf("%w: over %d lists to look for", errTooMany, maxLookups))
				return l
			}
			for _, c := range components {
				file := listName(uri + indexPath(c, arch))
				packed := packedName(have, file)
				if packed == "" {
					continue
				}
				if found = true; seen[file] {
					continue
				}
				seen[file] = true
				if len(l.indexes) == maxIndexes {
					h.add(fmt.Errorf("%w: over %d lists", errTooMany, maxIndexes))
					return l
				}
				l.indexes = append(l.indexes, index{source: s, rel: rel, uri: uri, file: aptListsDir.Join([]byte(packed)), component: c, arch: arch, site: site(s.uri)})
			}
		}
		if !found {
			l.missing = append(l.missing, s.uri+" "+s.suite)
		}
	}
	return l
}

// indexPath is where the list of a component lies below the release; that of a
// flat archive, which has no components, lies beside it.
func indexPath(component, arch string) string {
	if component == "" {
		return "Packages"
	}
	return component + "/binary-" + arch + "/Packages"
}

// packedName returns the name of the file under which a list is there, plain or
// compressed.
func packedName(have map[string]bool, name string) string {
	for _, suffix := range [...]string{"", ".lz4", ".zst", ".gz", ".xz", ".bz2"} {
		if have[name+suffix] {
			return name + suffix
		}
	}
	return ""
}

// releaseOf returns the release of an archive, nil if there is none.
func (h *host) releaseOf(l *lists, have map[string]bool, name string) *release {
	if r, ok := l.releases[name]; ok {
		return r
	}
	l.releases[name] = nil
	for _, kind := range [...]string{"InRelease", "Release"} {
		if !have[name+kind] {
			continue
		}
		p := aptListsDir.Join([]byte(name + kind))
		b, ok := h.read(p, pgp.MaxText)
		if !ok {
			continue
		}
		r, err := parseReleaseFile(p, b)
		if err != nil {
			h.add(err)
			continue
		}
		l.releases[name] = r
		return r
	}
	return nil
}

// parseReleaseFile reads the only stanza of a release, clear-signed or not.
func parseReleaseFile(p entry.Path, b []byte) (*release, error) {
	in := deb822.NewReader(bytes.NewReader(clearText(b)), string(p))
	s, err := in.Next()
	if err == io.EOF {
		return nil, fmt.Errorf("%q: %w: it is empty", p, errRelease)
	}
	if err != nil {
		return nil, err
	}
	r := &release{
		file: p, origin: s.Get("Origin"), label: s.Get("Label"), suite: s.Get("Suite"), codename: s.Get("Codename"), version: s.Get("Version"),
		notAutomatic: truth(s.Get("NotAutomatic"), false), butAutomaticUpgrades: truth(s.Get("ButAutomaticUpgrades"), false),
	}
	for _, d := range []struct {
		name string
		at   *time.Time
	}{{"Date", &r.date}, {"Valid-Until", &r.until}} {
		if text := s.Get(d.name); text != "" {
			if *d.at, err = deb.ParseDate(text); err != nil {
				return nil, s.Errorf(d.name, "%w: date %.80q", errRelease, text)
			}
		}
	}
	return r, nil
}

// clearText returns what stands between the armor of a clear-signed text, the
// text itself if it is none.
func clearText(b []byte) []byte {
	rest, ok := bytes.CutPrefix(b, []byte("-----BEGIN PGP SIGNED MESSAGE-----"))
	if !ok {
		return b
	}
	_, rest, _ = bytes.Cut(rest, []byte("\n\n")) // the headers of the armor
	rest, _, _ = bytes.Cut(rest, []byte("\n-----BEGIN PGP SIGNATURE"))
	if bytes.HasPrefix(rest, []byte("- ")) || bytes.Contains(rest, []byte("\n- ")) {
		rest = bytes.ReplaceAll(bytes.TrimPrefix(slices.Clone(rest), []byte("- ")), []byte("\n- "), []byte("\n"))
	}
	return rest
}
