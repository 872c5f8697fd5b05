package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// What is wrong with a detached signature.
var (
	ErrMalformed  = errors.New("not one OpenPGP signature")
	ErrUnknownKey = errors.New("the key that signed is not pinned, or not one for signatures")
	ErrUnusable   = errors.New("the signature does not count")
	ErrExpired    = errors.New("the key or the signature has expired, or is not valid yet")
	ErrBad        = errors.New("the signature does not fit")
)

// maxDetached bounds a detached signature, in bytes.
const maxDetached = 64 << 10

// strong are the digests that signatures may be over.
var strong = []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

// Len is the number of pinned keys; nil has none.
func (k *Keyring) Len() int {
	if k == nil {
		return 0
	}
	return len(k.keys)
}

// VerifyDetached checks a signature, one packet without armor, of the bytes that
// signed gives. Unlike those of VerifyClear, a key counts as it is now: who can
// write both the bytes and the signature's time would make one of the days when
// an old key was valid. The errors are those above, or signed's.
func (k *Keyring) VerifyDetached(signed io.Reader, signature []byte, now time.Time) (s Signer, err error) {
	defer recovered(&err)
	sig, err := single(signature)
	if err != nil {
		return s, err
	}
	if !slices.Contains(strong, sig.Hash) {
		return s, fmt.Errorf("%w: weak: made over %v", ErrUnusable, sig.Hash)
	}
	var keys []openpgp.Key
	if k.Len() > 0 {
		keys = k.keys.KeysByIdUsage(*sig.IssuerKeyId, packet.KeyFlagSign)
	}
	if len(keys) == 0 {
		return s, fmt.Errorf("%w: %016X", ErrUnknownKey, *sig.IssuerKeyId)
	}
	for _, key := range keys {
		if err := usable(key, sig, now); err != nil {
			return s, fmt.Errorf("%w: %w", ErrUnusable, err)
		}
	}
	src := &source{r: signed}
	config := &packet.Config{Time: func() time.Time { return now }, MinRSABits: minRSA}
	_, by, err := openpgp.VerifyDetachedSignature(k.keys, src, bytes.NewReader(signature), config)
	switch {
	case src.err != nil:
		return s, src.err
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return s, ErrExpired
	case err != nil:
		return s, fmt.Errorf("%w: %v", ErrBad, err)
	}
	s = Signer{Key: keyOf(by), Made: sig.CreationTime.UTC()}
	for _, key := range keys {
		if key.Entity == by && key.PublicKey != by.PrimaryKey {
			s.Subkey = fingerprint(key.PublicKey)
		}
	}
	return s, nil
}

// single reads the only packet, a signature of bytes as they are.
func single(b []byte) (*packet.Signature, error) {
	if len(b) > maxDetached {
		return nil, fmt.Errorf("%w: over %d bytes", ErrMalformed, maxDetached)
	}
	packets := packet.NewReader(bytes.NewReader(b))
	p, err := packets.Next()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok || sig.IssuerKeyId == nil || sig.SigType != packet.SigTypeBinary {
		return nil, ErrMalformed
	}
	if _, err := packets.Next(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows it", ErrMalformed)
	}
	return sig, nil
}

// source keeps the error of what is read, which is not the signature's fault.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
