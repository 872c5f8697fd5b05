package pkgdb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"intact/rules/pkgdb/rpm"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Bounds of what is remembered of one package, in bytes. A package beyond them is
// forgotten when it has another version.
const (
	MaxFormer  = 16 << 20
	maxContent = 1 << 20
)

var errFormer = errors.New("not what is remembered of a package of rpm")

// Formers gives keep what is to be remembered of the packages of rpm that want
// says yes to: the header, and those contents of its configuration files that are
// as it says. The database has the header no more once another version is there,
// and nobody has the contents. Each part begins with its size, four bytes
// big-endian. Nothing of it is believed when it comes back: the header has a
// digest in the baseline and a signature, and the contents have the header's.
// Packages that a pinned key did not sign, and those without such a content, are
// not remembered. keep may be called again for the same package.
func (t Trust) Formers(ctx context.Context, r Root, want func(Package) bool, keep func(p Package, former []byte) error) error {
	return eachHeader(ctx, r, func() {}, func(h *rpm.Header) error {
		p, info, _, err := rpmPackage(h)
		if err != nil || !want(p) {
			return err
		}
		blob := h.Blob()
		out := append(binary.BigEndian.AppendUint32(nil, uint32(len(blob))), blob...)
		size := len(out)
		if info.Digests != rpm.SHA256 || size > MaxFormer {
			return nil
		}
		for f, err := range h.Files(&info) {
			if err != nil {
				return fmt.Errorf("package %q: %w", p.Name, err)
			}
			if f.Flags&rpm.Config == 0 || f.Flags&rpm.Ghost != 0 || f.State > rpm.StateNormal || f.Kind() != entry.File || f.Size > maxContent {
				continue
			}
			if b := asPackaged(r, &f); b != nil && len(out)+4+len(b) <= MaxFormer {
				out = append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
			}
		}
		if len(out) == size {
			return nil
		}
		if l, _, _ := t.vouch(h, &info); l != Signed {
			return nil
		}
		return keep(p, out)
	})
}

// asPackaged returns the content of a file that is as its package has it, nil of
// another and of an empty one.
func asPackaged(r Root, f *rpm.File) []byte {
	in, err := r.Open(f.Path)
	if err != nil {
		return nil
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, int64(f.Size)+1))
	if sum := sha256.Sum256(b); err != nil || hex.EncodeToString(sum[:]) != f.Digest {
		return nil
	}
	return b
}

// Former reads what Formers gave of the package with that header: the package,
// and the contents by their SHA-256.
func (t Trust) Former(b []byte, stanza digest.Digest) (x RPM, contents map[[sha256.Size]byte]digest.Digest, err error) {
	if len(b) > MaxFormer {
		return x, nil, errFormer
	}
	part := func() (p []byte) {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			err = errFormer
			return nil
		}
		n := binary.BigEndian.Uint32(b)
		p, b = b[4:4+n], b[4+n:]
		return p
	}
	blob := part()
	if err != nil || digest.Sum(blob) != stanza {
		return x, nil, errFormer
	}
	h, err := rpm.Parse(blob)
	if err != nil {
		return x, nil, err
	}
	contents = map[[sha256.Size]byte]digest.Digest{}
	for err == nil && len(b) > 0 {
		if c := part(); err == nil {
			contents[sha256.Sum256(c)] = digest.Sum(c)
		}
	}
	if err != nil {
		return x, nil, err
	}
	p, info, _, err := rpmPackage(h)
	if err == nil {
		x, err = t.rpm(h, p, &info)
	}
	return x, contents, err
}
