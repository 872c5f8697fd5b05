package seal

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/big"

	"golang.org/x/crypto/ssh"
)

// sshsigMagic begins both a signature and the bytes that are signed.
const sshsigMagic = "SSHSIG"

// The hashes of a message (PROTOCOL.sshsig §2). We write the first.
const (
	hashSHA512 = "sha512"
	hashSHA256 = "sha256"
)

// wireEnvelope is a signature without its armor, PROTOCOL.sshsig §2. Reserved
// is not covered by the signature, so it must be empty.
type wireEnvelope struct {
	Magic     [6]byte
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// wireSigned is what the key signs, PROTOCOL.sshsig §3.
type wireSigned struct {
	Magic     [6]byte
	Namespace string
	Reserved  string
	Hash      string
	Sum       []byte // of the message
}

// signature is a parsed one that is not verified yet.
type signature struct {
	key       Key
	namespace string
	hash      string
	sig       *ssh.Signature
}

// parseSignature reads an armored signature. Errors wrap ErrArmor or
// ErrKeyType, or ErrSignature where a certificate is not signed as it says.
func parseSignature(armor []byte) (signature, error) {
	blob, err := decodeArmor(armor)
	if err != nil {
		return signature{}, err
	}
	var w wireEnvelope
	if err := ssh.Unmarshal(blob, &w); err != nil || string(w.Magic[:]) != sshsigMagic {
		return signature{}, fmt.Errorf("%w: the blob is not an SSHSIG", ErrArmor)
	}
	switch {
	case w.Version != 1:
		return signature{}, fmt.Errorf("%w: version %d, want 1", ErrArmor, w.Version)
	case w.Reserved != "":
		return signature{}, fmt.Errorf("%w: the reserved field is not empty", ErrArmor)
	case w.Hash != hashSHA512 && w.Hash != hashSHA256:
		return signature{}, fmt.Errorf("%w: hash %q, want %s or %s", ErrArmor, w.Hash, hashSHA512, hashSHA256)
	}
	key, err := parseKey(w.PublicKey)
	switch {
	case errors.Is(err, ErrKeyType) || errors.Is(err, ErrSignature):
		return signature{}, fmt.Errorf("key of the signature: %w", err)
	case err != nil:
		return signature{}, fmt.Errorf("%w: key of the signature: %w", ErrArmor, err)
	}
	sig := &ssh.Signature{}
	if err := ssh.Unmarshal(w.Signature, sig); err != nil {
		return signature{}, fmt.Errorf("%w: the signature in it has no form", ErrArmor)
	}
	if err := checkForm(key.Type, sig); err != nil {
		return signature{}, err
	}
	return signature{key: key, namespace: w.Namespace, hash: w.Hash, sig: sig}, nil
}

// skTrailer is the length of what a FIDO signature carries behind its blob: a
// byte of flags and a counter (PROTOCOL.u2f).
const skTrailer = 5

// checkForm refuses a signature that could be spelled otherwise and mean the
// same.
func checkForm(keyType string, sig *ssh.Signature) error {
	rest, ecdsa := 0, false
	switch keyType {
	case ssh.KeyAlgoECDSA256:
		ecdsa = true
	case ssh.KeyAlgoSKECDSA256:
		ecdsa, rest = true, skTrailer
	case ssh.KeyAlgoSKED25519:
		rest = skTrailer
	}
	if sig.Format != keyType || len(sig.Rest) != rest {
		return fmt.Errorf("%w: signature of form %q by a key of type %q", ErrArmor, sig.Format, keyType)
	}
	if !ecdsa {
		return nil
	}
	var n struct{ R, S *big.Int }
	if err := ssh.Unmarshal(sig.Blob, &n); err != nil || n.R.Sign() <= 0 || n.S.Sign() <= 0 || !bytes.Equal(ssh.Marshal(n), sig.Blob) {
		return fmt.Errorf("%w: not the one spelling of an ECDSA signature", ErrArmor)
	}
	return nil
}

// verify reads message to its end. It checks nothing but the signature.
func (s signature) verify(message io.Reader, namespace string) error {
	if err := checkNamespace(namespace); err != nil {
		return err
	}
	if s.namespace != namespace {
		return fmt.Errorf("%w: made for %q, want %q", ErrNamespace, s.namespace, namespace)
	}
	signed, err := signedBytes(namespace, s.hash, message)
	if err != nil {
		return err
	}
	if err := s.key.public.Verify(signed, s.sig); err != nil {
		return fmt.Errorf("%w: by key %s: %w", ErrSignature, s.key.Fingerprint, err)
	}
	return nil
}

// signedBytes returns what a key signs for message.
func signedBytes(namespace, hashName string, message io.Reader) ([]byte, error) {
	var h hash.Hash
	switch hashName {
	case hashSHA512:
		h = sha512.New()
	case hashSHA256:
		h = sha256.New()
	default:
		return nil, fmt.Errorf("%w: hash %q", ErrArmor, hashName)
	}
	if _, err := io.Copy(h, message); err != nil {
		return nil, fmt.Errorf("read what is signed: %w", err)
	}
	return ssh.Marshal(wireSigned{
		Magic: [6]byte([]byte(sshsigMagic)), Namespace: namespace, Hash: hashName, Sum: h.Sum(nil),
	}), nil
}

// sign makes an armored signature. The callback signs the few bytes that stand
// for the message; its answer is verified before anybody gets it, because an
// agent may say anything and a fault in a signature can give the key away.
func sign(key Key, namespace string, message io.Reader, with func([]byte) (*ssh.Signature, error)) ([]byte, error) {
	if err := checkNamespace(namespace); err != nil {
		return nil, err
	}
	signed, err := signedBytes(namespace, hashSHA512, message)
	if err != nil {
		return nil, err
	}
	sig, err := with(signed)
	if err != nil {
		return nil, err
	}
	if err := checkForm(key.Type, sig); err != nil {
		return nil, fmt.Errorf("%w: a new signature: %w", ErrSignature, err)
	}
	if err := key.public.Verify(signed, sig); err != nil {
		return nil, fmt.Errorf("%w: a new one by key %s: %w", ErrSignature, key.Fingerprint, err)
	}
	return encodeArmor(ssh.Marshal(wireEnvelope{
		Magic: [6]byte([]byte(sshsigMagic)), Version: 1, PublicKey: key.blob,
		Namespace: namespace, Hash: hashSHA512, Signature: ssh.Marshal(sig),
	})), nil
}
