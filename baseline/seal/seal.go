// Package seal signs exact bytes and says who signed them. A signature is an
// armored SSHSIG (PROTOCOL.sshsig of OpenSSH), so that "ssh-keygen -Y verify"
// on any server checks it too.
//
// Accepted are the keys ssh-ed25519, ecdsa-sha2-nistp256, their FIDO forms
// sk-ssh-ed25519@openssh.com and sk-ecdsa-sha2-nistp256@openssh.com, and
// OpenSSH certificates of these that are signed by one of these. A FIDO key
// must have been touched, whatever a certificate says. RSA, DSA and the other
// curves are refused (ErrKeyType).
//
// Every signature has one spelling: what is read is decoded, encoded again and
// compared, so that no byte of a stored signature can change unseen.
//
// Signing:
//
//	s, err := seal.OpenKey("/etc/intact/key", nil)   // or seal.Agent("", "SHA256:…")
//	armor, err := s.Sign("intact-report@v1", report)
//
// Verifying:
//
//	who, err := seal.ParseSigners(name, data)        // OpenSSH's allowed_signers
//	who.Revoke(revoked)                              // a KRL or a list of keys
//	id, err := who.Verify(report, armor, seal.Want{Namespace: "intact-report@v1", At: t})
//
// The package starts no process, and messages are streamed whatever their size.
package seal

import (
	"errors"
	"fmt"
	"io"
)

// Errors of reading a signature and of what it says by itself.
var (
	ErrArmor     = errors.New("not an armored SSH signature in its one spelling")
	ErrKeyType   = errors.New("key type not accepted")
	ErrNamespace = errors.New("signature is for another namespace")
	ErrSignature = errors.New("signature does not match")
)

// Errors of opening and using a key.
var (
	ErrKeyFile          = errors.New("unusable key file")
	ErrKeyMode          = errors.New("key file is open to others")
	ErrPassphraseNeeded = errors.New("key file is encrypted and no passphrase can be asked for")
	ErrPassphrase       = errors.New("wrong passphrase")
	ErrAgent            = errors.New("ssh-agent")
)

// Errors of Signers.Verify beyond those of the signature itself: it is right,
// but its key is not trusted for this.
var (
	ErrSigner      = errors.New("signer is not known")
	ErrPrincipal   = errors.New("signer is not the wanted principal")
	ErrScope       = errors.New("signer may not sign in this namespace")
	ErrNotYet      = errors.New("signer was not valid yet")
	ErrExpired     = errors.New("signer was not valid any more")
	ErrCertificate = errors.New("certificate is not one for signing")
	ErrRevoked     = errors.New("signer is revoked")
)

// ErrRevocations is wrapped by errors of ParseRevoked in a binary list.
var ErrRevocations = errors.New("malformed key revocation list")

// Signer signs with one key. It is safe for concurrent use.
type Signer interface {
	// Sign reads message to its end and returns the armored signature in
	// namespace, a word of printable ASCII.
	Sign(namespace string, message io.Reader) (armor []byte, err error)
	// Key returns the public key, with the certificate that signatures carry.
	Key() Key
}

// Check says whether armor is a right signature of message in namespace, and
// by which key. It does not say whether anyone trusts that key, as "ssh-keygen
// -Y check-novalidate". Errors wrap ErrArmor, ErrKeyType, ErrNamespace or
// ErrSignature, or are those of message.
func Check(message io.Reader, armor []byte, namespace string) (Key, error) {
	s, err := parseSignature(armor)
	if err != nil {
		return Key{}, err
	}
	if err := s.verify(message, namespace); err != nil {
		return Key{}, err
	}
	return s.key, nil
}

// maxNamespace bounds the length of a namespace, in bytes.
const maxNamespace = 255

// checkNamespace refuses what could not be written in a file of signers.
func checkNamespace(ns string) error {
	if ns == "" || len(ns) > maxNamespace {
		return fmt.Errorf("%w: %d bytes long, want 1 to %d", ErrNamespace, len(ns), maxNamespace)
	}
	for i := range len(ns) {
		if c := ns[i]; c <= ' ' || c > '~' || c == '"' || c == ',' {
			return fmt.Errorf("%w: %q is not one word of printable ASCII", ErrNamespace, ns)
		}
	}
	return nil
}
