package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Key is a public key. It is read from its one encoding; the zero value is no
// key.
type Key struct {
	Type        string       // as "ssh-ed25519", that of the plain key
	Fingerprint string       // of the plain key, as "SHA256:…", what ssh-keygen -l shows
	Line        string       // of the plain key: type, blank, base64; no comment, no line end
	Cert        *Certificate // nil: none

	public ssh.PublicKey // plain
	blob   []byte        // wire form, of the certificate if there is one
}

// Certificate is what an OpenSSH certificate says (PROTOCOL.certkeys). Its
// signature by the key CA is right; whether anyone trusts that key is another
// question.
type Certificate struct {
	Serial     uint64
	ID         string
	Principals []string
	After      time.Time // zero: from ever; valid from this second
	Before     time.Time // zero: for ever; not valid in this second any more
	CA         Key
	Line       string // type, blank, base64

	after, before uint64 // seconds, as written
	user          bool
	critical      []string // names of critical options
}

// Plain returns the key without its certificate.
func (k Key) Plain() Key {
	if k.Cert != nil {
		k.Cert, k.blob = nil, k.public.Marshal()
	}
	return k
}

// accepted reports whether keys of this plain type can sign here.
func accepted(keyType string) bool {
	switch keyType {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return true
	}
	return false
}

// acceptedCert reports whether it is the type of certificates of such keys.
func acceptedCert(keyType string) bool {
	switch keyType {
	case ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01:
		return true
	}
	return false
}

// refused reports whether it is a type of OpenSSH's that we know of and do not
// accept. Lines with such keys are no mistakes.
func refused(keyType string) bool {
	switch keyType {
	case ssh.KeyAlgoRSA, "ssh-dss", ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.CertAlgoRSAv01, "ssh-dss-cert-v01@openssh.com", ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01:
		return true
	}
	return false
}

// errKeyType says which types are accepted instead.
func errKeyType(keyType string) error {
	return fmt.Errorf("%w: %q, want ssh-ed25519 or ecdsa-sha2-nistp256, plain or on a FIDO key", ErrKeyType, keyType)
}

// Errors of parseKey, wrapped by its callers in what they read.
var (
	errKeyForm  = errors.New("not a public key in its one encoding")
	errCertForm = errors.New("not a certificate")
)

// blobType returns the type that a key's wire form begins with.
func blobType(blob []byte) (string, error) {
	var w struct {
		Type string
		Rest []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(blob, &w); err != nil || w.Type == "" {
		return "", errKeyForm
	}
	return w.Type, nil
}

// parseKey reads the wire form of a key or a certificate (RFC 4253 §6.6,
// PROTOCOL.certkeys). Errors wrap ErrKeyType or ErrSignature, that of a
// certificate, or one of the above.
func parseKey(blob []byte) (Key, error) {
	t, err := blobType(blob)
	if err != nil {
		return Key{}, err
	}
	if !accepted(t) && !acceptedCert(t) {
		return Key{}, errKeyType(t)
	}
	p, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", errKeyForm, err)
	}
	c, isCert := p.(*ssh.Certificate)
	if !isCert {
		if !bytes.Equal(p.Marshal(), blob) {
			return Key{}, errKeyForm
		}
		return plainKey(p), nil
	}
	cert, err := parseCertificate(c, blob)
	if err != nil {
		return Key{}, err
	}
	k := plainKey(c.Key)
	k.Cert, k.blob = cert, bytes.Clone(blob)
	return k, nil
}

func plainKey(p ssh.PublicKey) Key {
	blob := p.Marshal()
	return Key{
		Type: p.Type(), Fingerprint: ssh.FingerprintSHA256(p), Line: keyLine(p.Type(), blob),
		public: p, blob: blob,
	}
}

func keyLine(keyType string, blob []byte) string {
	return keyType + " " + base64.StdEncoding.EncodeToString(blob)
}

// parseCertificate verifies that c is signed by the key it names, over the
// bytes as they are in blob.
func parseCertificate(c *ssh.Certificate, blob []byte) (*Certificate, error) {
	if !accepted(c.SignatureKey.Type()) {
		return nil, fmt.Errorf("its certificate is signed: %w", errKeyType(c.SignatureKey.Type()))
	}
	ca := plainKey(c.SignatureKey)
	tail := ssh.Marshal(struct{ Sig []byte }{ssh.Marshal(c.Signature)})
	signed, ok := bytes.CutSuffix(blob, tail)
	if !ok {
		return nil, errCertForm
	}
	if err := checkForm(ca.Type, c.Signature); err != nil {
		return nil, fmt.Errorf("%w: %w", errCertForm, err)
	}
	if err := c.SignatureKey.Verify(signed, c.Signature); err != nil {
		return nil, fmt.Errorf("%w: that of the certificate: %w", ErrSignature, err)
	}
	out := &Certificate{
		Serial: c.Serial, ID: c.KeyId, Principals: c.ValidPrincipals, CA: ca, Line: keyLine(c.Type(), blob),
		after: c.ValidAfter, before: c.ValidBefore, user: c.CertType == ssh.UserCert,
		critical: slices.Sorted(maps.Keys(c.CriticalOptions)),
	}
	if c.ValidAfter != 0 {
		out.After = unixTime(c.ValidAfter)
	}
	if c.ValidBefore != ssh.CertTimeInfinity {
		out.Before = unixTime(c.ValidBefore)
	}
	return out, nil
}

// unixTime never goes beyond what a time.Time can show.
func unixTime(seconds uint64) time.Time {
	return time.Unix(int64(min(seconds, math.MaxInt64>>8)), 0).UTC()
}

// ParseKey reads one line in the form of authorized_keys, without options: the
// type, the base64 and perhaps a comment. It may be a certificate. Errors wrap
// ErrKeyType or ErrKeyFile.
func ParseKey(line string) (Key, error) {
	line = strings.TrimSpace(line)
	if strings.ContainsAny(line, "\r\n\x00") {
		return Key{}, fmt.Errorf("%w: more than one line", ErrKeyFile)
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return Key{}, fmt.Errorf("%w: not a public key", ErrKeyFile)
	}
	blob, err := keyBlob(fields[0], fields[1])
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	k, err := parseKey(blob)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	return k, nil
}

// keyBlob decodes the base64 of a key whose line says that it is of keyType.
func keyBlob(keyType, text string) ([]byte, error) {
	blob, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(blob) != text {
		return nil, fmt.Errorf("%w: not base64", errKeyForm)
	}
	t, err := blobType(blob)
	if err != nil {
		return nil, err
	}
	if t != keyType {
		return nil, fmt.Errorf("%w: the line says %q, the key %q", errKeyForm, keyType, t)
	}
	return blob, nil
}
