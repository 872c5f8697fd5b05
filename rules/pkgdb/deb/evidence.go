package deb

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"slices"

	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
	"intact/scanner/unpack"
)

// Evidence of a stored manifest is the release that was signed and the index that
// it lists, both by their digests. With these a manifest cannot be made up for a
// package that no pinned key's index lists: only what an archive holds whose digest
// is listed remains the word of the host that read it.

// CopyIndex writes a copy of an index, which errors call name, that Search takes
// for ix: packed as it is, else with gzip. Whatever is not ix is ErrIndex; what was
// written is no use then.
func CopyIndex(dst io.Writer, name string, src io.Reader, ix Index) error {
	packed := measure(io.LimitReader(src, maxIndex))
	head := bufio.NewReaderSize(packed, 64<<10)
	magic, err := head.Peek(unpack.MagicSize)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read %q: %w", name, err)
	}
	format := unpack.Detect(magic)
	var text *measured
	if format == unpack.Plain {
		z, err := gzip.NewWriterLevel(dst, gzip.BestSpeed)
		if err != nil {
			return err
		}
		text = measure(head)
		if _, err := io.Copy(z, text); err != nil {
			return fmt.Errorf("copy %q: %w", name, err)
		}
		if err := z.Close(); err != nil {
			return fmt.Errorf("copy %q: %w", name, err)
		}
	} else {
		both := io.TeeReader(head, dst)
		z, err := unpack.NewReader(both, format, unpack.Limits{Output: maxIndex})
		if err != nil {
			return fmt.Errorf("read %q: %w", name, err)
		}
		defer z.Close()
		text = measure(z)
		for _, in := range []io.Reader{text, both} {
			if _, err := io.Copy(io.Discard, in); err != nil {
				return fmt.Errorf("copy %q: %w", name, err)
			}
		}
	}
	if _, ok := (&Release{Indexes: []Index{ix}}).listed(text, packed, format); !ok {
		return fmt.Errorf("%q: %w", name, ErrIndex)
	}
	return nil
}

// Vouches reports whether a proof shows all of the evidence that a head has: the
// same archive of the same package, from the same index of the same release, which
// a pinned key signed that the head names.
func (p *Proof) Vouches(h *manifest.Head) bool {
	if !p.Lists(h) || p.Release.Valid(h.Chain.Verified) != nil {
		return false
	}
	for _, s := range p.Release.Signers {
		if p.chain(s, h.Chain.Verified) == h.Chain {
			return true
		}
	}
	return false
}

// Lists reports whether a proof is about the archive that a head names.
func (p *Proof) Lists(h *manifest.Head) bool {
	return p.Identity == Identity{h.Package, h.Version, h.Architecture} && p.SHA256 == h.Archive && p.Size == h.ArchiveSize
}

// Same reports whether an archive of dpkg, read again from r, holds what a manifest
// says that is called sum. other says that it is not the archive that head names:
// then it says nothing of the manifest. Temporary files are made in dir.
func Same(ctx context.Context, name string, r io.Reader, head manifest.Head, sum digest.Digest, dir string) (same, other bool, err error) {
	out := manifest.NewBuilder(dir)
	defer out.Close()
	a, err := Record(ctx, name, r, out)
	if err != nil {
		return false, false, err
	}
	if a.SHA256 != head.Archive || a.Size != head.ArchiveSize {
		return false, true, nil
	}
	if a.Identity != (Identity{head.Package, head.Version, head.Architecture}) || !slices.Equal(a.Controls, head.Controls) || !slices.Equal(a.Removes, head.Removes) {
		return false, false, nil
	}
	got, err := out.Write(io.Discard, &head)
	return err == nil && got == sum, false, err
}
