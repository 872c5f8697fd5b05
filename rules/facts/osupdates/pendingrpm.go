package osupdates

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/rpm"
)

// rpmPackage is a package of rpm in one version: an element of primary.xml, or
// one that an advisory names.
type rpmPackage struct {
	XMLName xml.Name
	Name    string `xml:"name"`
	Arch    string `xml:"arch"`
	Version rpmEVR `xml:"version"`
}

type rpmEVR struct {
	Epoch   string `xml:"epoch,attr"`
	Version string `xml:"ver,attr"`
	Release string `xml:"rel,attr"`
}

func evrOf(epoch, version, release string) rpm.EVR {
	n, err := strconv.ParseUint(epoch, 10, 32)
	return rpm.EVR{Epoch: uint32(n), HasEpoch: err == nil && n > 0, Version: version, Release: release}
}

// advisory is an element of updateinfo.xml.
type advisory struct {
	XMLName  xml.Name
	Type     string `xml:"type,attr"`
	ID       string `xml:"id"`
	Severity string `xml:"severity"`
	Packages []struct {
		Name    string `xml:"name,attr"`
		Arch    string `xml:"arch,attr"`
		Epoch   string `xml:"epoch,attr"`
		Version string `xml:"version,attr"`
		Release string `xml:"release,attr"`
	} `xml:"pkglist>collection>package"`
}

// rpmKnown is an installed package of rpm, in its newest version, and what the
// caches have of it.
type rpmKnown struct {
	name, arch string
	evr        rpm.EVR
	best       rpm.EVR // the candidate
	from       *cache  // nil: none
	pinned     rpm.EVR // newest that an option excludes, or a repository of more weight shadows
	pinnedFrom *cache
	offered    bool  // a repository has some version of it
	weight     int64 // the priority of the first that has
}

// pendingRPM answers for rpm: from the caches of dnf, dnf5 and zypper, whose
// lists nobody vouches for here. Streams of modules are told by the releases of
// their packages: a package of none has no candidate from one.
func (h *host) pendingRPM(ctx context.Context, pkgs []pkgdb.Package) facts.Answer[Update] {
	all, missing := h.caches()
	if len(all) == 0 && h.status == "" {
		return facts.Answer[Update]{Status: rules.Absent, Reason: "nothing is kept of any repository", Via: rpmCaches}
	}
	for _, id := range missing {
		h.is(rules.Failed, fmt.Sprintf("nothing is kept of repository %q", id))
	}
	byName := map[string][]*rpmKnown{}
	for _, p := range pkgs {
		e := rpm.ParseEVR(p.Version)
		if i := slices.IndexFunc(byName[p.Name], func(k *rpmKnown) bool { return k.arch == p.Arch }); i >= 0 {
			if k := byName[p.Name][i]; e.Compare(k.evr) > 0 {
				k.evr = e
			}
			continue
		}
		byName[p.Name] = append(byName[p.Name], &rpmKnown{name: p.Name, arch: p.Arch, evr: e})
	}
	slices.SortStableFunc(all, func(a, b cache) int { return cmp.Compare(a.priority, b.priority) })
	for i := range all {
		h.add(h.readPrimary(ctx, &all[i], byName))
	}
	rows := map[*rpmKnown][]*Update{}
	for _, list := range byName {
		for _, k := range list {
			rows[k] = k.updates()
		}
	}
	advised := false
	for i := range all {
		if all[i].updateinfo != "" {
			advised = true
			h.add(h.readAdvisories(ctx, &all[i], byName, rows))
		}
	}
	if !advised {
		h.is(rules.Absent, "no repository has a list of advisories: which updates are of security is not known")
	}
	var out []Update
	for _, list := range rows {
		for _, u := range list {
			if u.Pinned && !u.Security {
				continue
			}
			slices.Sort(u.Advisories)
			u.Advisories = slices.Compact(u.Advisories)
			out = append(out, *u)
		}
	}
	slices.SortFunc(out, func(a, b Update) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Candidate, b.Candidate))
	})
	return answer(&h.problems, out, rpmCaches)
}

// readPrimary looks for newer versions in the packages of a repository. Caches
// come in the order of priority: what one of more weight has, others do not give.
func (h *host) readPrimary(ctx context.Context, c *cache, byName map[string][]*rpmKnown) error {
	var excluded []*pattern
	for _, g := range c.exclude {
		p, err := newPattern(g)
		if err != nil {
			return fmt.Errorf("repository %q: %w", c.repo.Suite, err)
		}
		excluded = append(excluded, p)
	}
	return h.eachElement(ctx, c.primary, packages, "package", func(raw []byte) bool { return namesOne(raw, byName) }, func(raw []byte) error {
		var p rpmPackage
		if err := decode(raw, &p); err != nil {
			return err
		}
		for _, k := range byName[p.Name] {
			k.offer(c, &p, slices.ContainsFunc(excluded, func(g *pattern) bool { return g.match(p.Name) }))
		}
		return nil
	})
}

// namesOne reports whether an element has a name that is installed, without
// reading it as XML: most are not, and a list has tens of thousands.
func namesOne(raw []byte, byName map[string][]*rpmKnown) bool {
	for {
		_, rest, ok := bytes.Cut(raw, []byte("<name>"))
		if !ok {
			return false
		}
		name, _, _ := bytes.Cut(rest, []byte("<"))
		if byName[string(name)] != nil || bytes.IndexByte(name, '&') >= 0 {
			return true
		}
		raw = rest
	}
}

// offer takes a version of a repository into account.
func (k *rpmKnown) offer(c *cache, p *rpmPackage, excluded bool) {
	e := evrOf(p.Version.Epoch, p.Version.Version, p.Version.Release)
	switch {
	case p.Arch != k.arch && p.Arch != "noarch" && k.arch != "noarch", p.Arch == "src", p.Arch == "nosrc":
		return
	case strings.Contains(e.Release, ".module") && !strings.Contains(k.evr.Release, ".module"):
		return
	case excluded, k.offered && k.weight < c.priority:
		if e.Compare(k.evr) > 0 && (k.pinnedFrom == nil || e.Compare(k.pinned) > 0) {
			k.pinned, k.pinnedFrom = e, c
		}
		return
	}
	k.offered, k.weight = true, c.priority
	if e.Compare(k.evr) <= 0 {
		return
	}
	if k.from == nil || e.Compare(k.best) > 0 {
		k.best, k.from = e, c
	}
}

// updates makes the rows: of the candidate, and of what is above it and not taken.
func (k *rpmKnown) updates() (out []*Update) {
	row := func(e rpm.EVR, c *cache, pinned bool) {
		out = append(out, &Update{Name: k.name, Arch: k.arch, Installed: k.evr.String(), Candidate: e.String(), Suite: c.repo.Suite, List: string(c.primary), Pinned: pinned})
	}
	if k.from != nil {
		row(k.best, k.from, false)
	}
	if k.pinnedFrom != nil && (k.from == nil || k.pinned.Compare(k.best) > 0) {
		row(k.pinned, k.pinnedFrom, true)
	}
	return out
}

// severities orders the words of advisories, the gravest last.
var severities = []string{"", "none", "low", "moderate", "medium", "important", "high", "critical"}

// readAdvisories marks the updates that a security advisory asks for: one about a
// version above the installed one, up to the candidate.
func (h *host) readAdvisories(ctx context.Context, c *cache, byName map[string][]*rpmKnown, rows map[*rpmKnown][]*Update) error {
	security := func(raw []byte) bool {
		head, _, _ := bytes.Cut(raw, []byte(">"))
		return bytes.Contains(head, []byte("security"))
	}
	return h.eachElement(ctx, c.updateinfo, advisories, "update", security, func(raw []byte) error {
		var a advisory
		if err := decode(raw, &a); err != nil || a.Type != "security" {
			return err
		}
		for _, p := range a.Packages {
			e := evrOf(p.Epoch, p.Version, p.Release)
			for _, k := range byName[p.Name] {
				if p.Arch == k.arch || p.Arch == "noarch" || k.arch == "noarch" {
					advise(rows[k], k.evr, e, &a)
				}
			}
		}
		return nil
	})
}

// advise marks the first row that brings a version, or one above it.
func advise(list []*Update, installed, e rpm.EVR, a *advisory) {
	if e.Compare(installed) <= 0 {
		return
	}
	for _, u := range list {
		if e.Compare(rpm.ParseEVR(u.Candidate)) > 0 {
			continue
		}
		u.Security = true
		if len(u.Advisories) < maxVersions {
			u.Advisories = append(u.Advisories, a.ID)
		}
		if s := strings.ToLower(a.Severity); slices.Index(severities, s) > slices.Index(severities, u.Severity) {
			u.Severity = s
		}
		return
	}
}
