package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"intact/baseline"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/digest"
)

// What shows that a stored manifest is not made up is kept beside the manifests, in
// the folder baseline.IndexesDir: each release and each index once, by the SHA-256
// that the heads of manifests name. Nothing in it is trusted: the signature, and
// each digest below it, is verified whenever a manifest is used.

func evidenceName(sum manifest.SHA256, suffix string) string {
	return hex.EncodeToString(sum[:]) + suffix
}

const (
	releaseSuffix = ".release"
	indexSuffix   = ".index"
)

// keepEvidence copies the release and the index of a proof, where they are not
// kept yet. Without a proof there is nothing to keep.
func (r *recorder) keepEvidence(p *deb.Proof) error {
	if p == nil {
		return nil
	}
	d, err := r.s.makeKept(baseline.IndexesDir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = r.copyOnce(d, p.From.Release, evidenceName(p.Release.SHA256, releaseSuffix), func(dst io.Writer, src io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(src, pgp.MaxText+1))
		if err == nil && sha256.Sum256(b) != p.Release.SHA256 {
			err = fmt.Errorf("%q was changed meanwhile", p.From.Release)
		}
		if err == nil {
			_, err = dst.Write(b)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.copyOnce(d, p.From.Index, evidenceName(p.Index.SHA256, indexSuffix), func(dst io.Writer, src io.Reader) error {
		return deb.CopyIndex(dst, p.From.Index, src, p.Index)
	})
}

// copyOnce makes a file of one of apt's lists. One that is there is made young: a
// check that runs now does not know yet what needs it.
func (r *recorder) copyOnce(d *keptDir, from, to string, copy func(io.Writer, io.Reader) error) error {
	now := r.s.env.Now()
	d.touch(to, now)
	if st, err := d.stat(to); err == nil && st.regular && st.size > 0 && !st.old(now) {
		return nil
	}
	src, err := r.lists.Dir.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return d.write(to, func(w io.Writer) error { return copy(w, src) })
}

// pruneIndexes removes the evidence that no manifest refers to any more. A hook that
// runs now keeps it before its manifest, and so what is young stays.
func (c *check) pruneIndexes() {
	if c.books == nil || c.books.lost > 0 {
		return
	}
	d, err := c.openKept(baseline.IndexesDir)
	if err != nil {
		return // there is none, or the next check tries again
	}
	defer d.Close()
	_ = d.each(func(name string) bool {
		if !stateFile.MatchString(baseline.IndexesDir + "/" + name) {
			return true
		}
		sum, ok := manifest.ParseSHA256(strings.TrimSuffix(name, filepath.Ext(name)))
		if stale := !ok || !c.books.refers[sum]; stale {
			if st, err := d.stat(name); err == nil && st.regular && st.old(c.env.Now()) {
				d.remove(name)
			}
		}
		return true
	})
}

// prove looks for what shows that manifests of the packages in keys are not made
// up. Each index is read once for all of them; what was looked for before is known.
func (b *books) prove(ctx context.Context, keys map[bookKey]bool) error {
	type place struct{ release, index manifest.SHA256 }
	wanted := map[place]map[string]*manifest.Head{}
	for k := range keys {
		for _, name := range b.names[k] {
			if _, asked := b.proven[name]; asked {
				continue
			}
			b.proven[name] = nil
			h, err := b.head(name)
			if err != nil {
				continue // damaged ones tell of themselves when they are opened
			}
			at := place{h.Chain.Release, h.Chain.Index}
			if wanted[at] == nil {
				wanted[at] = map[string]*manifest.Head{}
			}
			wanted[at][name] = h
		}
	}
	for at, heads := range wanted {
		proofs, err := b.evidence(ctx, at.release, at.index, heads)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			b.unproven = err
		}
		b.match(proofs, heads, (*deb.Proof).Vouches)
	}
	return b.fallBack(ctx, allOf(wanted))
}

func allOf[K comparable](wanted map[K]map[string]*manifest.Head) map[string]*manifest.Head {
	all := map[string]*manifest.Head{}
	for _, heads := range wanted {
		for name, h := range heads {
			all[name] = h
		}
	}
	return all
}

// fallBack looks into apt's lists for what no evidence was kept of: an index that is
// there today may list the same archive.
func (b *books) fallBack(ctx context.Context, heads map[string]*manifest.Head) error {
	for name := range heads {
		if b.proven[name] != nil {
			delete(heads, name)
		}
	}
	if len(heads) == 0 || b.lists == nil {
		return nil
	}
	proofs, _, err := deb.Lists{Dir: b.lists, Ring: b.ring(), Now: b.now}.Prove(ctx, want(heads))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		b.match(proofs, heads, func(p *deb.Proof, h *manifest.Head) bool { return p.Lists(h) && p.Release.Valid(b.now) == nil })
	}
	return nil
}

func want(heads map[string]*manifest.Head) deb.Wanted {
	w := deb.Wanted{}
	for _, h := range heads {
		w[h.Package] = append(w[h.Package], deb.Identity{Package: h.Package, Version: h.Version, Architecture: h.Architecture})
	}
	return w
}

func (b *books) match(proofs []deb.Proof, heads map[string]*manifest.Head, good func(*deb.Proof, *manifest.Head) bool) {
	for name, h := range heads {
		for i := range proofs {
			if b.proven[name] == nil && good(&proofs[i], h) {
				b.proven[name] = &proofs[i]
			}
		}
	}
}

// evidence verifies a release that was kept, and looks for packages in an index of
// it.
func (b *books) evidence(ctx context.Context, release, index manifest.SHA256, heads map[string]*manifest.Head) ([]deb.Proof, error) {
	d, err := openFolder(b.indexes)
	if err != nil {
		return nil, err
	}
	kept := &keptDir{d, b.indexes}
	defer kept.Close()
	name := evidenceName(release, releaseSuffix)
	f, err := kept.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, pgp.MaxText+1))
	if err != nil {
		return nil, err
	}
	r, err := deb.ReadRelease(name, text, b.ring(), b.now)
	if err != nil {
		return nil, err
	}
	name = evidenceName(index, indexSuffix)
	in, err := kept.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return r.Search(ctx, name, in, want(heads))
}

// head reads what a manifest says of itself.
func (b *books) head(name string) (*manifest.Head, error) {
	f, _, err := openStored(filepath.Join(b.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := manifest.ReadHead(f)
	return &h, err
}

// contradicts reports whether a manifest that was written just now says another
// thing of the archive than one that was kept.
func contradicts(written string, sum digest.Digest, kept string) bool {
	f, size, err := openStored(written)
	if err != nil {
		return false
	}
	defer f.Close()
	now, err := manifest.Open(sum, f, size)
	if err != nil {
		return false
	}
	was, g, err := readStored(kept)
	if err != nil {
		return false
	}
	defer g.Close()
	return was.Body() != now.Body()
}

// split finds archives of which several manifests are kept that do not say the
// same: one of them is forged, so that none counts. Those that are damaged say
// nothing.
func (b *books) split() {
	by := map[string][]string{}
	key := map[string]bookKey{}
	for _, list := range []map[bookKey][]string{b.names, b.weak} {
		for k, names := range list {
			for _, n := range names {
				archive, _, _ := strings.Cut(n, "-")
				by[archive], key[archive] = append(by[archive], n), k
			}
		}
	}
	for archive, names := range by {
		if len(names) < 2 {
			continue
		}
		var first *digest.Digest
		for _, n := range names {
			m, f, err := readStored(filepath.Join(b.dir, n))
			if err != nil {
				continue
			}
			body := m.Body()
			f.Close()
			if first == nil {
				first = &body
			} else if *first != body {
				b.distrust(key[archive], archive, "several manifests are kept of its file, and they do not say the same: one of them is forged")
				break
			}
		}
	}
}

// distrust makes sure that no manifest of an archive counts.
func (b *books) distrust(k bookKey, archive, why string) {
	b.forged = append(b.forged, forgery{k, why})
	for _, list := range []map[bookKey][]string{b.names, b.weak} {
		for k, names := range list {
			var left []string
			for _, n := range names {
				if !strings.HasPrefix(n, archive+"-") {
					left = append(left, n)
				}
			}
			list[k] = left
		}
	}
}

// forgery is a manifest that somebody made up.
type forgery struct {
	key bookKey
	why string
}
