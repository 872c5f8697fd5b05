// Package pgp says who signed a text with OpenPGP, by keys that are pinned: it
// knows the keys that it was given and looks nowhere else. It is the only owner
// of the OpenPGP module. It verifies and never signs.
//
// A key counts as it was at the time that the signature states, so that an old
// release stays good when its key expires. A key that was ever revoked does not
// count at all.
package pgp

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Limits, in bytes and in number.
const (
	MaxKeyring    = 16 << 20
	MaxText       = 32 << 20 // of a signed text with its signatures
	MaxSignatures = 32       // of one text
	minRSA        = 2048     // bits
	maxSkew       = 24 * time.Hour
)

// Errors of a keyring and of a signed text.
var (
	ErrKeyring  = errors.New("not a keyring of public keys")
	ErrClear    = errors.New("not one clear-signed text with nothing before or behind it")
	ErrUnsigned = errors.New("no good signature of a pinned key")
)

// Keyring is a set of pinned keys.
type Keyring struct{ keys openpgp.EntityList }

// Key names a key of a keyring.
type Key struct {
	Fingerprint string // of the primary key, upper-case hex
	UID         string // its user id, unescaped
}

// Add pins the keys of a file as gpg --export writes it, binary or armored.
func (k *Keyring) Add(b []byte) error {
	if len(b) > MaxKeyring {
		return fmt.Errorf("%w: over %d bytes", ErrKeyring, MaxKeyring)
	}
	if len(b) > 12 && string(b[8:12]) == "KBXf" {
		return fmt.Errorf("%w: a keybox; write its keys with gpg --export", ErrKeyring)
	}
	blocks, err := dearmored(b)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrKeyring, err)
	}
	var keys openpgp.EntityList
	for _, b := range blocks {
		got, err := readKeys(b)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrKeyring, err)
		}
		keys = append(keys, got...)
	}
	if len(keys) == 0 {
		return fmt.Errorf("%w: no key in it", ErrKeyring)
	}
	for _, e := range keys {
		if e.PrivateKey != nil {
			return fmt.Errorf("%w: it holds a private key", ErrKeyring)
		}
		if self, _ := e.PrimarySelfSignature(); self == nil {
			return fmt.Errorf("%w: key %X does not sign itself", ErrKeyring, e.PrimaryKey.Fingerprint)
		}
	}
	k.keys = append(k.keys, keys...)
	return nil
}

const endOfKeys = "-----END PGP PUBLIC KEY BLOCK-----"

// dearmored returns the blocks of an armored file, the file itself if it is not
// armored.
func dearmored(b []byte) (out [][]byte, err error) {
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN ")) {
		return [][]byte{b}, nil
	}
	for len(bytes.TrimSpace(b)) > 0 {
		i := bytes.Index(b, []byte(endOfKeys))
		if i < 0 {
			return nil, errors.New("its armor has no end")
		}
		i += len(endOfKeys)
		block, err := armor.Decode(bytes.NewReader(b[:i]))
		if err != nil {
			return nil, err
		}
		if block.Type != openpgp.PublicKeyType {
			return nil, fmt.Errorf("a block of %q", block.Type)
		}
		body, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, err
		}
		out, b = append(out, body), b[i:]
	}
	return out, nil
}

func readKeys(b []byte) (keys openpgp.EntityList, err error) {
	defer recovered(&err)
	return openpgp.ReadKeyRing(bytes.NewReader(b))
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the decoder gave up: %v", p)
	}
}

// Keys lists what is pinned.
func (k *Keyring) Keys() []Key {
	var out []Key
	for _, e := range k.keys {
		out = append(out, keyOf(e))
	}
	return out
}

func keyOf(e *openpgp.Entity) Key {
	out := Key{Fingerprint: fingerprint(e.PrimaryKey)}
	if _, id := e.PrimarySelfSignature(); id != nil {
		out.UID = id.Name
	} else if names := slices.Sorted(maps.Keys(e.Identities)); len(names) > 0 {
		out.UID = names[0]
	}
	return out
}

func fingerprint(k *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(k.Fingerprint))
}

// Signer is a pinned key whose signature is good.
type Signer struct {
	Key
	Subkey string    // fingerprint of the key that signed, if it is not the primary one
	Made   time.Time // as the signature states it
}

// Refused is a signature that does not count.
type Refused struct {
	KeyID  string // upper-case hex, "" if the signature does not say
	Reason string
}

// Clear is a clear-signed text.
type Clear struct {
	Text    []byte // what is signed, its lines ending in \n
	Signers []Signer
	Refused []Refused
}

// VerifyClear reads a clear-signed text, RFC 9580 section 7. One good signature
// of a pinned key is enough; what is wrong with the others is said. With
// ErrUnsigned there is no text: Refused alone is filled in.
func (k *Keyring) VerifyClear(data []byte, now time.Time) (c Clear, err error) {
	defer recovered(&err)
	if len(data) > MaxText {
		return Clear{}, fmt.Errorf("%w: over %d bytes", ErrClear, MaxText)
	}
	if !bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return Clear{}, ErrClear
	}
	block, rest := clearsign.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 || bytes.IndexByte(block.Plaintext, '\r') >= 0 || block.ArmoredSignature.Type != openpgp.SignatureType {
		return Clear{}, ErrClear
	}
	packets := packet.NewOpaqueReader(block.ArmoredSignature.Body)
	for n := 0; ; n++ {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		if err != nil || n == MaxSignatures {
			return Clear{Refused: c.Refused}, fmt.Errorf("%w: its signatures are damaged, or over %d", ErrClear, MaxSignatures)
		}
		s, id, err := k.verify(block.Bytes, p, now)
		if err != nil {
			c.Refused = append(c.Refused, Refused{id, err.Error()})
			continue
		}
		c.Signers = append(c.Signers, s)
	}
	if len(c.Signers) == 0 {
		return Clear{Refused: c.Refused}, ErrUnsigned
	}
	c.Text = append(block.Plaintext, '\n')
	return c, nil
}

// verify judges one signature of a text. It returns the id of the key that it
// names.
func (k *Keyring) verify(text []byte, p *packet.OpaquePacket, now time.Time) (s Signer, id string, err error) {
	defer recovered(&err)
	parsed, err := p.Parse()
	if err != nil {
		return s, "", fmt.Errorf("cannot be read: %v", err)
	}
	sig, ok := parsed.(*packet.Signature)
	if !ok {
		return s, "", errors.New("not a signature")
	}
	if sig.IssuerKeyId == nil {
		return s, "", errors.New("does not say whose it is")
	}
	id = fmt.Sprintf("%016X", *sig.IssuerKeyId)
	if sig.SigType != packet.SigTypeText {
		return s, id, errors.New("not a signature of a text")
	}
	if !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}, sig.Hash) {
		return s, id, fmt.Errorf("weak: made over %v", sig.Hash)
	}
	keys := k.keys.KeysByIdUsage(*sig.IssuerKeyId, packet.KeyFlagSign)
	if len(keys) == 0 {
		return s, id, errors.New("key is not pinned, or not one for signatures")
	}
	var all []error
	for _, key := range keys {
		if err := usable(key, sig, now); err != nil {
			all = append(all, err)
			continue
		}
		if err := good(key, text, p, sig.CreationTime); err != nil {
			all = append(all, err)
			continue
		}
		s = Signer{Key: keyOf(key.Entity), Made: sig.CreationTime.UTC()}
		if key.PublicKey != key.Entity.PrimaryKey {
			s.Subkey = fingerprint(key.PublicKey)
		}
		return s, id, nil
	}
	return s, id, all[0]
}

// usable says why a key or a signature is not to be used, whatever was signed.
func usable(key openpgp.Key, sig *packet.Signature, now time.Time) error {
	for _, pk := range []*packet.PublicKey{key.PublicKey, key.Entity.PrimaryKey} {
		switch pk.PubKeyAlgo {
		case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
			if bits, err := pk.BitLength(); err != nil || bits < minRSA {
				return fmt.Errorf("weak: RSA of %d bits", bits)
			}
		case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
		default:
			return fmt.Errorf("weak: public key algorithm %d", pk.PubKeyAlgo)
		}
	}
	if len(key.Entity.Revocations) > 0 || len(key.Revocations) > 0 {
		return errors.New("key is revoked")
	}
	if sig.CreationTime.After(now.Add(maxSkew)) {
		return errors.New("made in the future")
	}
	if sig.SigLifetimeSecs != nil && *sig.SigLifetimeSecs > 0 && now.After(sig.CreationTime.Add(time.Duration(*sig.SigLifetimeSecs)*time.Second)) {
		return errors.New("expired")
	}
	return nil
}

// good verifies a signature with one key, which counts as it was at the time at.
func good(key openpgp.Key, text []byte, p *packet.OpaquePacket, at time.Time) error {
	var raw bytes.Buffer
	if err := p.Serialize(&raw); err != nil {
		return err
	}
	_, _, err := openpgp.VerifyDetachedSignature(openpgp.EntityList{key.Entity}, bytes.NewReader(text), &raw,
		&packet.Config{Time: func() time.Time { return at }, MinRSABits: minRSA})
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return errors.New("key had expired, or was not made yet")
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return errors.New("key is revoked")
	case err != nil:
		return fmt.Errorf("bad: %v", err)
	}
	return nil
}
