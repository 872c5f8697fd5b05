package deb

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/unpack"
)

// Names in apt's folder of lists: the path of a file below the archive with
// underscores for its slashes.
const (
	releaseSuffix = "_InRelease"
	indexSuffix   = "_Packages"
)

// Lists is apt's folder of lists and whom it is held against. Nothing in it is
// trusted, nor its names.
type Lists struct {
	Dir  fs.FS
	Ring *pgp.Keyring
	Now  time.Time
}

// Prove looks for packages in every index of every release that a pinned key
// signed. Problems say which releases and indexes could not be used; they never
// make a package better known. The error is ctx's, or that of the folder.
func (l Lists) Prove(ctx context.Context, want Wanted) (proofs []Proof, problems []error, err error) {
	files, err := fs.ReadDir(l.Dir, ".")
	if err != nil {
		return nil, nil, err
	}
	releases := 0
	for _, f := range files {
		prefix, ok := strings.CutSuffix(f.Name(), releaseSuffix)
		if !ok {
			continue
		}
		releases++
		r, err := l.release(f.Name())
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, f := range files {
			if base, _ := unpack.ByName(f.Name()); !strings.HasPrefix(base, prefix+"_") || !strings.HasSuffix(base, indexSuffix) {
				continue
			}
			got, err := l.index(ctx, r, f.Name(), want)
			if ctx.Err() != nil {
				return nil, nil, context.Cause(ctx)
			}
			if err != nil {
				problems = append(problems, err)
			}
			for i := range got {
				got[i].From = Files{prefix + releaseSuffix, f.Name()}
			}
			proofs = append(proofs, got...)
		}
	}
	if releases == 0 {
		problems = append(problems, fmt.Errorf("%w: apt has no lists", ErrRelease))
	}
	return proofs, problems, nil
}

// open opens a regular file of the folder.
func (l Lists) open(name string) (fs.File, error) {
	st, err := fs.Lstat(l.Dir, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%q: %w: not a regular file", name, ErrRelease)
	}
	return l.Dir.Open(name)
}

func (l Lists) release(name string) (*Release, error) {
	f, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, pgp.MaxText+1))
	if err != nil {
		return nil, err
	}
	return ReadRelease(name, b, l.Ring, l.Now)
}

func (l Lists) index(ctx context.Context, r *Release, name string, want Wanted) ([]Proof, error) {
	f, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return r.Search(ctx, name, f, want)
}

// Head is the head of the archive's manifest: signed if a proof is about these
// very bytes and its release is valid, and else not, with the reason; and that
// proof, nil where there is none. why is the reason where no proof is about this
// package at all, "" for the usual one.
func (a *Archive) Head(proofs []Proof, now time.Time, why string) (h *manifest.Head, proof *Proof) {
	h = &manifest.Head{
		Format: "deb", Package: a.Package, Version: a.Version, Architecture: a.Architecture,
		Archive: a.SHA256, ArchiveSize: a.Size, Controls: a.Controls, Removes: a.Removes,
		Level: manifest.Local, Reason: why,
	}
	if why == "" {
		h.Reason = "no signed index lists it"
	}
	mine := slices.DeleteFunc(slices.Clone(proofs), func(p Proof) bool { return p.Identity != a.Identity })
	if len(mine) == 0 {
		return h, nil
	}
	slices.SortStableFunc(mine, func(a, b Proof) int { return b.Release.Date.Compare(a.Release.Date) })
	h.Level, h.Reason = manifest.None, "the signed index lists another archive of this version"
	for i := range mine {
		p := &mine[i]
		if p.SHA256 != a.SHA256 || p.Size != a.Size {
			continue
		}
		if err := p.Release.Valid(now); err != nil {
			h.Level, h.Reason = manifest.Local, err.Error()
			continue
		}
		h.Level, h.Reason, h.Chain = manifest.Signed, "", p.Chain(now)
		return h, p
	}
	return h, nil
}

// Chain is what a proof says of the links above it.
func (p *Proof) Chain(now time.Time) manifest.Chain { return p.chain(p.Release.Signers[0], now) }

func (p *Proof) chain(s pgp.Signer, now time.Time) manifest.Chain {
	r := p.Release
	return manifest.Chain{
		Release: r.SHA256, ReleaseSize: r.Size, Origin: r.Origin, Suite: r.Suite, Codename: r.Codename,
		Date: r.Date, ValidUntil: r.ValidUntil, Key: s.Fingerprint, Subkey: s.Subkey, UID: s.UID, SignedAt: s.Made,
		Index: p.Index.SHA256, IndexSize: p.Index.Size, IndexName: p.Index.Name, Filename: p.Filename, Verified: now.UTC().Truncate(time.Second),
	}
}

// maxReason is how many problems a reason names.
const maxReason = 4

// Unvouched makes a reason of problems, for packages that no proof is about.
func Unvouched(problems []error) string {
	if len(problems) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("no signed index lists it")
	for i, err := range problems {
		if i == maxReason {
			fmt.Fprintf(&b, "; and %d more problems", len(problems)-i)
			break
		}
		text := strings.ReplaceAll(err.Error(), "\n", "; ")
		fmt.Fprintf(&b, "; %.500s", text)
	}
	return b.String()
}
