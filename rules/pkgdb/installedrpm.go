package pkgdb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"intact/rules/pkgdb/pgp"
	"intact/rules/pkgdb/rpm"
	"intact/scanner/digest"
)

// maxKept bounds what is kept of headers, in bytes. A package beyond it is one
// of which nothing is known.
const maxKept = 256 << 20

// RPM is an installed package of rpm with what vouches for it.
type RPM struct {
	Package
	Level Level
	Why   string     // it is no higher; unescaped
	By    pgp.Signer // zero where no pinned key signed
	ID    string     // "sha256:…" of what is signed
	Time  time.Time  // of the installation, by the database
	Files *rpm.Index // nil where the header contradicts itself or too much is kept

	Digests rpm.Algorithm // of Files
}

// rpmPackage says what a header is of. Keys of the database's own, which have
// no architecture, are packages there too. list is that of its paths.
func rpmPackage(h *rpm.Header) (p Package, info rpm.Package, list []byte, err error) {
	i, err := h.Info()
	if err != nil {
		return p, i, nil, err
	}
	p = Package{Kind: kindRPM, Name: i.Name, Arch: i.Arch, Version: i.EVR.String(), Status: "installed"}
	for _, s := range []string{p.Name, p.Version, cmp.Or(p.Arch, "none")} {
		if strings.ContainsAny(s, " \t\n\x00") || len(s) > 4096 {
			return p, i, nil, fmt.Errorf("package %q of architecture %q in version %q: no such names", p.Name, p.Arch, p.Version)
		}
	}
	if strings.ContainsAny(p.Name+p.Arch, ":#") { // two packages would pass for one
		return p, i, nil, fmt.Errorf("package %q of architecture %q: no such names", p.Name, p.Arch)
	}
	if list, err = h.List(&i); err != nil {
		return p, i, nil, fmt.Errorf("package %q: %w", p.Name, err)
	}
	p.Stanza = digest.Sum(h.Blob())
	if len(list) > 0 {
		p.List = digest.Sum(list)
	}
	return p, i, list, nil
}

// rpmInstalled reads the database of rpm. keep, if it is not nil, is given the
// list of each package that has one.
func rpmInstalled(ctx context.Context, r Root, keep func(sum digest.Digest, list []byte) error) (all []Package, err error) {
	err = eachHeader(ctx, r, func() { all = nil }, func(h *rpm.Header) error {
		p, _, list, err := rpmPackage(h)
		if err == nil && len(all) == maxPackages {
			err = errTooMany
		}
		if err == nil && keep != nil && len(list) > 0 {
			err = keep(p.List, list)
		}
		all = append(all, p)
		return err
	})
	return all, err
}

// RPMLists gives keep the lists of paths of all packages in the database of rpm,
// each by the digest that Package.List has of it: once a package is gone,
// nobody else has it. keep may be called again for a list that it has.
func RPMLists(ctx context.Context, r Root, keep func(sum digest.Digest, list []byte) error) error {
	_, err := rpmInstalled(ctx, r, keep)
	return err
}

func byPackage(a, b Package) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Version, b.Version))
}

// RPMs returns the installed packages of rpm that want says yes to, sorted,
// each with who vouches for it and what it holds.
func (t Trust) RPMs(ctx context.Context, r Root, want func(Package) bool) (all []RPM, err error) {
	kept := 0
	err = eachHeader(ctx, r, func() { all, kept = nil, 0 }, func(h *rpm.Header) error {
		pkg, p, _, err := rpmPackage(h)
		if err != nil || !want(pkg) {
			return err
		}
		x, err := t.rpm(h, pkg, &p)
		if err != nil {
			return err
		}
		if kept += len(h.Blob()); x.Files != nil && kept > maxKept {
			x.Level, x.Why, x.Files = Local, "too many packages changed at once", nil
		}
		all = append(all, x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b RPM) int { return byPackage(a.Package, b.Package) })
	return all, nil
}

// rpm is a package with who vouches for it and what it holds.
func (t Trust) rpm(h *rpm.Header, pkg Package, p *rpm.Package) (x RPM, err error) {
	x = RPM{Package: pkg, ID: h.ID(), Time: p.Time}
	x.Level, x.Why, x.By = t.vouch(h, p)
	if x.Level == None {
		return x, nil
	}
	if x.Files, err = h.Index(p); err != nil {
		return x, fmt.Errorf("package %q: %w", pkg.Name, err)
	}
	x.Digests = p.Digests
	return x, nil
}

// RPMState says whether all of the database of rpm is vouched for: each of its
// headers is signed by a pinned key or is one that same knows, by its digest in
// the baseline. why names the first of which that is not so. It speaks of the
// headers alone: what rpm makes of them to find them faster is not read.
func (t Trust) RPMState(ctx context.Context, r Root, same func(Package) bool) (verified bool, why string, err error) {
	first := Package{}
	err = eachHeader(ctx, r, func() { first, why = Package{}, "" }, func(h *rpm.Header) error {
		pkg, _, _, err := rpmPackage(h)
		if err != nil || same(pkg) {
			return err
		}
		reason := h.Intact()
		if reason == nil {
			_, reason = h.Signed(t.RPM, t.At)
		}
		if reason != nil && (why == "" || byPackage(pkg, first) < 0) {
			first, why = pkg, fmt.Sprintf("package %q %q: %v", pkg.Name, pkg.Version, reason)
		}
		return nil
	})
	return err == nil && why == "", why, err
}
