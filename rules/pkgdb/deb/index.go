package deb

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"

	"intact/rules/pkgdb/deb822"
	"intact/rules/pkgdb/manifest"
	"intact/scanner/unpack"
)

// Limits of a search.
const (
	MaxWanted = 1 << 17 // packages in one search
	maxProofs = 8       // entries for one package of an index
	maxIndex  = 4 << 30 // bytes of an index
)

// Wanted is a set of packages to look for.
type Wanted map[string][]Identity // by name

// Want makes the set of ids.
func Want(ids ...Identity) Wanted {
	w := Wanted{}
	for _, id := range ids {
		w[id.Package] = append(w[id.Package], id)
	}
	return w
}

// measured digests and counts what passes.
type measured struct {
	r   io.Reader
	sum hash.Hash
	n   int64
}

func measure(r io.Reader) *measured { return &measured{r: r, sum: sha256.New()} }

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.sum.Write(p[:n])
	m.n += int64(n)
	return n, err
}

func (m *measured) digest() (d manifest.SHA256) {
	m.sum.Sum(d[:0])
	return d
}

// Search reads an index of packages, which errors call name, to its end and
// returns what it says of the packages that are wanted. The index may be
// compressed in any way: it is the one that the release lists if either its
// bytes or what they unpack to are. Before that is known nothing is returned.
func (r *Release) Search(ctx context.Context, name string, src io.Reader, want Wanted) ([]Proof, error) {
	if len(want) > MaxWanted {
		return nil, fmt.Errorf("%w: %d packages wanted", ErrTooMany, len(want))
	}
	packed := measure(src)
	head := bufio.NewReaderSize(packed, 64<<10)
	magic, err := head.Peek(unpack.MagicSize)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	format := unpack.Detect(magic)
	z, err := unpack.NewReader(head, format, unpack.Limits{Output: r.largest()})
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	defer z.Close()
	text := measure(z)
	proofs, err := search(ctx, deb822.NewReader(text, name), want)
	if at := (*deb822.LineError)(nil); err != nil && !errors.As(err, &at) {
		err = fmt.Errorf("read %q: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	for _, in := range []*measured{text, packed} { // what stands behind the last stanza too
		if _, err := io.Copy(io.Discard, in); err != nil {
			return nil, fmt.Errorf("read %q: %w", name, err)
		}
	}
	ix, ok := r.listed(text, packed, format)
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, ErrIndex)
	}
	for i := range proofs {
		proofs[i].Index, proofs[i].Release = ix, r
	}
	return proofs, nil
}

// largest is how many bytes an index may have.
func (r *Release) largest() int64 {
	n := int64(0)
	for _, ix := range r.Indexes {
		if path.Base(ix.Name) != "Packages" {
			return maxIndex // the release may list this one compressed alone
		}
		n = max(n, ix.Size)
	}
	return min(n, maxIndex)
}

// listed returns the index of the release that was read.
func (r *Release) listed(text, packed *measured, format unpack.Format) (Index, bool) {
	whole, raw := text.digest(), packed.digest()
	for _, ix := range r.Indexes {
		_, f := unpack.ByName(ix.Name)
		switch {
		case f == unpack.Plain && ix.SHA256 == whole && ix.Size == text.n,
			f != unpack.Plain && f == format && ix.SHA256 == raw && ix.Size == packed.n:
			return ix, true
		}
	}
	return Index{}, false
}

// search looks through the stanzas.
func search(ctx context.Context, in *deb822.Reader, want Wanted) (out []Proof, err error) {
	have := map[Identity]int{}
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s, err := in.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		name, _ := s.Bytes("Package")
		ids := want[string(name)]
		if len(ids) == 0 {
			continue
		}
		id := Identity{string(name), s.Get("Version"), s.Get("Architecture")}
		if !slices.Contains(ids, id) {
			continue
		}
		p, err := take(s, id)
		if err != nil {
			return nil, err
		}
		if have[id]++; have[id] <= maxProofs {
			out = append(out, p)
		}
	}
}

// take makes a proof of the stanza of a package that is wanted.
func take(s *deb822.Stanza, id Identity) (Proof, error) {
	size, err := strconv.ParseUint(s.Get("Size"), 10, 48)
	sum, ok := manifest.ParseSHA256(s.Get("SHA256"))
	if err != nil || !ok {
		return Proof{}, s.Errorf("SHA256", "%w: %s has no size or no SHA-256", ErrIndex, id.Package)
	}
	return Proof{Identity: id, SHA256: sum, Size: int64(size), Filename: s.Get("Filename")}, nil
}
