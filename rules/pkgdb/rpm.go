package pkgdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"intact/rules/pkgdb/pgp"
	"intact/rules/pkgdb/rpm"
	"intact/scanner/entry"
)

// rpmFolders are where the database may be; one of them may be a link to the
// other.
var rpmFolders = [...]entry.Path{"/var/lib/rpm", "/usr/lib/sysimage/rpm"}

// rpmTries is how often a database is read that changes meanwhile.
const rpmTries = 3

// rpmOwners answers by the database of rpm, all packages in one pass.
func (t Trust) rpmOwners(ctx context.Context, r Root, paths []entry.Path) ([]Answer, error) {
	q := &rpmQuery{trust: t, wanted: map[entry.Path][]int{}, out: make([]Answer, len(paths))}
	err := q.spell(r, paths)
	if err == nil {
		err = eachHeader(ctx, r, func() { q.out = make([]Answer, len(paths)) }, q.header)
	}
	return concluded(ctx, q.out, len(paths), err)
}

// rpmQuery is one run over a database of rpm.
type rpmQuery struct {
	trust  Trust
	out    []Answer
	wanted map[entry.Path][]int // by what a header may say
}

// spell notes under which names packages may list the paths: through a link in
// "/" or in "/usr" too, /bin or /usr/sbin on a merged-usr system.
func (q *rpmQuery) spell(r Root, paths []entry.Path) error {
	links, err := Links(r)
	if err != nil {
		return err
	}
	for i, p := range paths {
		q.want(p, i)
		for link, to := range links {
			if p.Under(to) && to != "/" {
				q.want(link+p[len(to):], i)
			}
		}
	}
	return nil
}

func (q *rpmQuery) want(p entry.Path, i int) {
	if have := q.wanted[p]; len(have) < maxAliases && !slices.Contains(have, i) {
		q.wanted[p] = append(have, i)
	}
}

// eachHeader calls do for each package of the database of rpm, and begin
// before. Where the database changes meanwhile all that was seen does not
// count: it begins again.
func eachHeader(ctx context.Context, r Root, begin func(), do func(*rpm.Header) error) error {
	dir, err := rpmFolder(r)
	if err != nil {
		return err
	}
	for range rpmTries {
		begin()
		if err = rpm.Each(ctx, sources(r, dir), do); !errors.Is(err, rpm.ErrChanging) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("rpm database in %q: %w", dir, err)
	}
	return nil
}

// rpmFolder finds the folder that holds the database. Where each of them has one of
// its own nobody can tell which of them rpm goes by.
func rpmFolder(r Root) (found entry.Path, err error) {
	var at entry.Path
	for _, dir := range rpmFolders {
		if !rpm.There(sources(r, dir)) {
			continue
		}
		real, _, err := r.Real(dir)
		if err != nil {
			return "", fmt.Errorf("rpm database in %q: %w", dir, err)
		}
		if found != "" && real != at {
			return "", fmt.Errorf("rpm databases in %q and in %q", found, dir)
		}
		if found == "" {
			found, at = dir, real
		}
	}
	if found == "" {
		return "", fmt.Errorf("no rpm database in %q or %q", rpmFolders[0], rpmFolders[1])
	}
	return found, nil
}

// sources opens files of a folder that are read in any order.
func sources(r Root, dir entry.Path) rpm.Folder {
	return func(name string) (rpm.Source, error) {
		f, err := r.Open(dir.Join([]byte(name)))
		if err != nil {
			return nil, err
		}
		if s, ok := f.(rpm.Source); ok {
			return s, nil
		}
		f.Close()
		return nil, errors.New("cannot be read in any order")
	}
}

// header claims what a package lists of the paths that were asked for.
func (q *rpmQuery) header(h *rpm.Header) error {
	p, err := h.Info()
	if err != nil {
		return err
	}
	var vouched *Owner
	for f, err := range h.Files(&p) {
		if err != nil {
			return fmt.Errorf("package %q: %w", p.Name, err)
		}
		for _, i := range q.wanted[f.Path] {
			if vouched == nil {
				vouched = q.trust.owner(h, &p)
			}
			o := *vouched
			o.file(&f, &p)
			q.claim(i, &o)
		}
	}
	return nil
}

// claim gives a path one more owner, unless the package lists it under another
// spelling.
func (q *rpmQuery) claim(i int, o *Owner) {
	a := &q.out[i]
	for _, have := range a.Owners {
		if have.Package == o.Package && have.Version == o.Version {
			return
		}
	}
	if len(a.Owners) == maxOwners {
		a.More++
		return
	}
	a.Owners = append(a.Owners, *o)
}

// owner says what package it is and who says so.
func (t Trust) owner(h *rpm.Header, p *rpm.Package) *Owner {
	o := &Owner{Package: p.Name, Arch: p.Arch, Version: p.EVR.String(), Status: "installed", Vendor: p.Vendor, Installed: p.Time}
	if p.Arch != "" {
		o.Package += "." + p.Arch
	}
	var s pgp.Signer
	o.Level, o.Why, s = t.vouch(h, p)
	o.Key = s.Fingerprint
	return o
}

// vouch says how far a header can be trusted, why no further, and which pinned
// key signed it.
func (t Trust) vouch(h *rpm.Header, p *rpm.Package) (l Level, why string, by pgp.Signer) {
	if err := h.Intact(); err != nil {
		return None, err.Error(), by
	}
	by, err := h.Signed(t.RPM, t.At)
	switch {
	case err != nil:
		return Local, err.Error(), by
	case p.Count > 0 && p.Digests != rpm.SHA256:
		why = fmt.Sprintf("signed, but its digests of files are %s", p.Digests)
		if !p.Digests.Weak() {
			why += ", which are not compared"
		}
		return Local, why, by
	}
	return Signed, "", by
}

// file says what the package has at the path.
func (o *Owner) file(f *rpm.File, p *rpm.Package) {
	o.Listed = f.Path
	o.Conffile = f.Flags&rpm.Config != 0
	o.Ghost = f.Flags&rpm.Ghost != 0
	o.Loose = f.Verify&rpm.VerifyDigest == 0
	o.Displaced = f.State > rpm.StateNormal
	if o.Ghost || o.Displaced {
		return // it says nothing of what is there
	}
	switch p.Digests {
	case rpm.MD5:
		o.MD5 = f.Digest
	case rpm.SHA256:
		o.SHA256 = f.Digest
	}
	o.File = &File{User: f.User, Group: f.Group, Target: f.Target, Caps: f.Caps}
	if f.Verify&rpm.VerifyMode != 0 {
		mode := uint16(f.Mode)
		o.File.Mode = &mode
	}
}

// concluded sorts the owners and names the states.
func concluded(ctx context.Context, out []Answer, n int, err error) ([]Answer, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		out = make([]Answer, n)
	}
	for i := range out {
		slices.SortFunc(out[i].Owners, func(a, b Owner) int { // they come in no order
			return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version))
		})
		switch {
		case err != nil:
			out[i] = Answer{State: Unknown, Reason: err.Error()}
		case len(out[i].Owners) > 0:
			out[i].State = Owned
		default:
			out[i].State = NoOwner
		}
	}
	return out, nil
}
