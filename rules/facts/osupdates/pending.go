package osupdates

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/deb822"
)

// maxVersions bounds the versions of one package in all lists.
const maxVersions = 4096

// Update is a package of which a newer version is known than the one that is
// installed.
type Update struct {
	Name      string `cel:"name"`
	Arch      string `cel:"arch"` // of the installed one
	Installed string `cel:"installed"`
	Candidate string `cel:"candidate"` // what the package manager would install
	Origin    string `cel:"origin"`    // of the candidate's archive, as its release says
	Label     string `cel:"label"`     // likewise
	Suite     string `cel:"suite"`     // likewise; of rpm the id of the repository
	List      string `cel:"list"`      // that knows the candidate, absolute inside the root
	// Security says that a version above the installed one, up to the candidate,
	// comes from an archive of security updates, or has a security advisory.
	Security   bool     `cel:"security"`
	Severity   string   `cel:"severity"`   // of the gravest advisory, of rpm alone; "" if none
	Advisories []string `cel:"advisories"` // their ids, of rpm alone
	Held       bool     `cel:"held"`       // dpkg was told to keep the installed one
	Phased     bool     `cel:"phased"`     // rolled out step by step, and this host is not yet among those that get it
	// Pinned says that the candidate is a security update that the package manager
	// does not take: preferences, an excluding option or a repository of more weight
	// keep it back. Beside it there may be a row of the one that it takes.
	Pinned bool `cel:"pinned"`
}

// version is one version of a package.
type version struct {
	text   string
	all    bool  // of architecture "all", for apt another one than the same for one architecture
	from   []int // indexes that have it, in order
	src    string
	srcVer string
	phase  int // percentage of hosts that get it
}

// known is an installed package and what the lists have of it.
type known struct {
	pkgdb.Package
	arch     string // the host's own for "all"
	versions []version
}

// Pending computes which updates wait: of dpkg from the lists of apt as apt
// itself does, with pins, phasing and holds; of rpm from the caches of dnf. What
// no list knows cannot wait: how fresh the lists are is Lists' answer.
func Pending(ctx context.Context, on facts.Host) facts.Answer[Update] {
	h := &host{Host: on}
	pkgs, ok := h.packages(ctx)
	switch {
	case !ok && h.status == "":
		return facts.Answer[Update]{Status: rules.Absent, Reason: pkgdb.ErrNoDatabase.Error()}
	case !ok:
		return answer[Update](&h.problems, nil, "package database")
	case len(pkgs) > 0 && pkgs[0].Kind == "rpm":
		return h.pendingRPM(ctx, pkgs)
	}
	return h.pendingDeb(ctx, pkgs)
}

// pendingDeb answers for dpkg and apt.
func (h *host) pendingDeb(ctx context.Context, pkgs []pkgdb.Package) facts.Answer[Update] {
	conf := h.readAptConf()
	h.refuseMoved(conf)
	native, archs := h.archs(conf, pkgs)
	l := h.aptLists(archs)
	if len(l.indexes) == 0 && h.status == "" {
		return facts.Answer[Update]{Status: rules.Absent, Reason: "apt has no lists of packages", Via: string(aptListsDir)}
	}
	for _, m := range l.missing {
		h.is(rules.Failed, fmt.Sprintf("apt has no lists of %q", m))
	}
	byName := h.installedByName(pkgs, native)
	for i := range l.indexes {
		h.add(h.readIndex(ctx, l, i, byName, native))
	}
	// The status of dpkg is an index of its own, behind all others.
	l.indexes = append(l.indexes, index{status: true})
	status := len(l.indexes) - 1
	p := policy{pins: h.pins(conf), indexes: l.indexes, native: native, phase: h.phasing(conf), phasePolicy: conf.yes("APT::Get::Phase-Policy", false)}
	p.prioritize()
	var rows []Update
	for _, list := range byName {
		if err := context.Cause(ctx); err != nil {
			h.add(err)
			break
		}
		for _, k := range list {
			k.add(version{text: k.Version, all: k.Arch == "all", from: []int{status}, phase: 100})
			rows = append(rows, p.updates(k)...)
			h.unsaid(p.indexes, k)
		}
	}
	slices.SortFunc(rows, func(a, b Update) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Candidate, b.Candidate))
	})
	return answer(&h.problems, rows, string(aptListsDir))
}

// unsaid says of an archive without a release that has a newer version: whether
// that is a security update nobody knows.
func (h *host) unsaid(indexes []index, k *known) {
	for i := range k.versions {
		v := &k.versions[i]
		for _, f := range v.from {
			if x := &indexes[f]; x.rel == nil && !x.status && !x.doubted && deb.Compare(v.text, k.Version) > 0 {
				x.doubted = true
				h.is(rules.Failed, fmt.Sprintf("no release says whether the updates of %q are security updates", x.file))
			}
		}
	}
}

// moved are the places that are read here as apt has them by default.
var moved = []string{"Dir", "Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Etc", "Dir::Etc::sourcelist", "Dir::Etc::sourceparts", "Dir::Etc::preferences", "Dir::Etc::preferencesparts", "Dir::Etc::main", "Dir::Etc::parts", "RootDir"}

// refuseMoved says so where apt was told to read from elsewhere.
func (h *host) refuseMoved(conf *aptConf) {
	for _, name := range moved {
		if s, ok := conf.find(name); ok && s.Value != "" {
			h.is(rules.Failed, fmt.Sprintf("%q:%d has apt read elsewhere (%s %q): that is not followed", s.File, s.Line, s.Name, s.Value))
		}
	}
}

// archs returns the host's own architecture, and all that apt asks for.
func (h *host) archs(conf *aptConf, pkgs []pkgdb.Package) (native string, all []string) {
	if s, ok := conf.find("APT::Architecture"); ok {
		native = s.Value
	}
	for _, p := range pkgs {
		if native == "" && p.Name == "dpkg" && p.Arch != "all" {
			native = p.Arch
		}
	}
	if native == "" {
		h.is(rules.Failed, "the architecture of this host is not known: dpkg itself is not installed")
	}
	all = append(all, native)
	foreign := conf.items("APT::Architectures")
	if b, ok := h.read("/var/lib/dpkg/arch", maxConfig); ok && len(foreign) == 0 {
		foreign = strings.Fields(string(b))
	}
	for _, a := range foreign {
		if !slices.Contains(all, a) && len(all) < maxDepth {
			all = append(all, a)
		}
	}
	return native, all
}

// installedByName gives what is installed by name. Of what is only configured
// there is no version that could be old.
func (h *host) installedByName(pkgs []pkgdb.Package, native string) map[string][]*known {
	out := make(map[string][]*known, len(pkgs))
	for _, p := range pkgs {
		if p.Status == "config-files" {
			continue
		}
		k := &known{Package: p, arch: p.Arch}
		if k.arch == "all" || k.arch == "" {
			k.arch = native
		}
		out[p.Name] = append(out[p.Name], k)
	}
	return out
}

// readIndex gives the installed packages the versions that a list has of them.
func (h *host) readIndex(ctx context.Context, l *lists, i int, byName map[string][]*known, native string) error {
	x := &l.indexes[i]
	f, err := h.Root.OpenFile(x.file)
	if err != nil {
		return err
	}
	defer f.Close()
	wanted := func(name []byte) bool { return byName[string(name)] != nil }
	return eachStanza(ctx, string(x.file), f, wanted, func(raw []byte, line int) error {
		h.add(x.take(raw, line, i, byName, native)) // one that is damaged hides no others
		return nil
	})
}

// take gives the installed packages what one stanza has of them.
func (x *index) take(raw []byte, line, i int, byName map[string][]*known, native string) error {
	s, err := deb822.Parse(raw, string(x.file), line)
	if err != nil {
		return err
	}
	name, arch, v := s.Get("Package"), s.Get("Architecture"), s.Get("Version")
	if !deb.ValidVersion(v) {
		return s.Errorf("Version", "package %q: %.80q is no version", name, v)
	}
	ver := versionOf(s, name, v, i)
	if ver.all = arch == "all"; ver.all {
		arch = native
	}
	for _, k := range byName[name] {
		if k.arch == arch && !k.add(ver) {
			return s.Errorf("Version", "%w: over %d versions of %q", errTooMany, maxVersions, name)
		}
	}
	return nil
}

// versionOf reads the fields that matter to the choice.
func versionOf(s *deb822.Stanza, name, v string, from int) version {
	out := version{text: v, from: []int{from}, src: name, srcVer: v, phase: 100}
	if src := s.Get("Source"); src != "" {
		var ver string
		out.src, ver, _ = strings.Cut(src, " ")
		if ver = strings.Trim(ver, " ()"); ver != "" {
			out.srcVer = ver
		}
	}
	if n, err := strconv.Atoi(s.Get("Phased-Update-Percentage")); err == nil && n >= 0 && n < 100 {
		out.phase = n
	}
	return out
}

// add takes a version in, with a list of its own of where it is from; false if there are too many. Of one that is there
// already only where it comes from is new.
func (k *known) add(v version) bool {
	for i := range k.versions {
		if old := &k.versions[i]; old.text == v.text && old.all == v.all {
			if !slices.Contains(old.from, v.from[0]) {
				old.from = append(old.from, v.from[0])
			}
			old.phase = min(old.phase, v.phase)
			return true
		}
	}
	if len(k.versions) == maxVersions {
		return false
	}
	v.from = slices.Clone(v.from)
	k.versions = append(k.versions, v)
	return true
}
