// Package digest computes BLAKE3-256 digests. It is the only owner of the
// BLAKE3 modules: everything else sees the Digest type and the functions here.
package digest

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/zeebo/blake3"
)

// Size is the length of a digest in bytes.
const Size = 32

// Digest is a BLAKE3-256 digest.
type Digest [Size]byte

// ErrFormat is returned by Parse.
var ErrFormat = errors.New("digest is not 64 lower-case hex digits")

// String returns the digest in lower-case hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Named returns the digest with its algorithm, "blake3:" and lower-case hex.
func (d Digest) Named() string { return "blake3:" + d.String() }

// NamedOrNone is Named, or "none" of the zero digest.
func (d Digest) NamedOrNone() string {
	if d == (Digest{}) {
		return "none"
	}
	return d.Named()
}

// Parse reads lower-case hex, with or without the "blake3:" prefix.
func Parse(s string) (d Digest, err error) {
	s = strings.TrimPrefix(s, "blake3:")
	if len(s) != 2*Size || strings.ToLower(s) != s {
		return d, ErrFormat
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return d, ErrFormat
	}
	return d, nil
}

// Sum returns the digest of b.
func Sum(b []byte) Digest { return blake3.Sum256(b) }

// Hasher digests a stream. It is not safe for concurrent use; a worker owns
// one and resets it between files.
type Hasher struct {
	plain *blake3.Hasher
	wide  *wide // made when first needed
	large bool  // this input goes to wide
}

// New returns a hasher for input of unknown size.
func New() *Hasher { return &Hasher{plain: blake3.New()} }

// Reset forgets what was written. size is how much is expected, in bytes; it
// chooses the kernel, never the digest.
func (h *Hasher) Reset(size int64) {
	h.large = size >= wideFrom && wideWins()
	if !h.large {
		h.plain.Reset()
		return
	}
	h.wideKernel().reset()
}

func (h *Hasher) wideKernel() *wide {
	if h.wide == nil {
		h.wide = new(wide)
	}
	return h.wide
}

// Write adds b. It never fails.
func (h *Hasher) Write(b []byte) (int, error) {
	if h.large {
		h.wide.write(b)
		return len(b), nil
	}
	return h.plain.Write(b)
}

// Sum returns the digest of what was written so far; more may be written.
func (h *Hasher) Sum() (d Digest) {
	if h.large {
		return h.wide.sum()
	}
	h.plain.Sum(d[:0])
	return d
}
