package rpm

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"intact/rules/pkgdb/pgp"
)

// Why a header is not signed by a pinned key.
var (
	ErrNoKeys    = errors.New("no key is pinned")
	ErrUnsigned  = errors.New("the header carries no signature of itself")
	ErrNoRegion  = errors.New("a package of before rpm 4.0: its header is not what was signed")
	ErrBeside    = errors.New("the database says otherwise than the signed part of the header")
	ErrOwnDigest = errors.New("the header does not have its own digest")
)

// maxSignatures bounds those of one header that are tried.
const maxSignatures = 16

// signed gives the bytes that a signature of the header is of.
func (h *Header) signed() io.Reader {
	var intro [introSize]byte
	put := func(b []byte, n int) { b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n) }
	put(intro[:], h.nsig)
	put(intro[4:], h.dsig)
	return io.MultiReader(bytes.NewReader(magic[:]), bytes.NewReader(intro[:]), bytes.NewReader(h.index[:h.nsig*entrySize]), bytes.NewReader(h.store[:h.dsig]))
}

// Intact compares the header with the digests of itself that came with the
// package. They are as easy to write as the header: an error says that
// something is wrong, nil says nothing. It wraps ErrOwnDigest.
func (h *Header) Intact() error {
	if h.nsig == 0 || h.region != tagImmutable {
		return nil
	}
	for _, d := range []struct {
		tag  uint32
		name string
		sum  hash.Hash
	}{{tagSHA1Header, "SHA-1", sha1.New()}, {tagSHA256, "SHA-256", sha256.New()}, {tagSHA3_256, "SHA3-256", sha3.New256()}} {
		want, err := h.text(d.tag)
		if err != nil {
			return err
		}
		if want == "" {
			continue
		}
		if _, err := io.Copy(d.sum, h.signed()); err != nil {
			return err
		}
		if hex.EncodeToString(d.sum.Sum(nil)) != strings.ToLower(want) {
			return fmt.Errorf("%w: %s", ErrOwnDigest, d.name)
		}
	}
	return nil
}

// Signed finds the signature of a pinned key over the part of the header that
// says what the package is and holds, and returns whose it is. The error is the
// best reason that was met why there is none.
func (h *Header) Signed(keys *pgp.Keyring, at time.Time) (pgp.Signer, error) {
	switch {
	case h.nsig == 0 || h.region != tagImmutable:
		return pgp.Signer{}, ErrNoRegion
	case h.beside != 0:
		return pgp.Signer{}, fmt.Errorf("%w: tag %d", ErrBeside, h.beside)
	}
	list, err := h.signatures()
	if err != nil {
		return pgp.Signer{}, err
	}
	if len(list) == 0 {
		return pgp.Signer{}, ErrUnsigned
	}
	if keys.Len() == 0 {
		return pgp.Signer{}, ErrNoKeys
	}
	var first error
	for _, b := range list {
		s, err := keys.VerifyDetached(h.signed(), b, at)
		if err == nil {
			return s, nil
		}
		// What a pinned key failed at says more than that others signed too.
		if first == nil || errors.Is(first, pgp.ErrUnknownKey) {
			first = err
		}
	}
	return pgp.Signer{}, first
}

// signatures returns those of the header alone. Those of header and payload
// cannot be checked without the package.
func (h *Header) signatures() (list [][]byte, err error) {
	for _, tag := range []uint32{tagRSAHeader, tagDSAHeader} {
		v, ok := h.find(tag)
		if !ok {
			continue
		}
		if v.kind != typeBin {
			return nil, malformed("tag %d is no signature", tag)
		}
		list = append(list, v.data)
	}
	v, ok := h.find(tagOpenPGP)
	if !ok {
		return list, nil
	}
	if v.kind != typeStrings || v.count > maxSignatures {
		return nil, malformed("tag %d: %d signatures", tagOpenPGP, v.count)
	}
	for rest := v.data; len(rest) > 0; {
		b, err := base64.StdEncoding.DecodeString(cut(&rest))
		if err != nil {
			return nil, malformed("tag %d: %v", tagOpenPGP, err)
		}
		list = append(list, b)
	}
	return list, nil
}
