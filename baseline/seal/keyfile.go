package seal

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// maxKeyFile bounds the files of keys and certificates, in bytes.
const maxKeyFile = 64 << 10

// fileSigner signs with a private key in memory.
type fileSigner struct {
	key    Key
	signer ssh.Signer
}

// OpenKey reads an OpenSSH private key, what ssh-keygen writes by default
// (PROTOCOL.key). The file must be a regular one, not a link, of the effective
// user or root, and nobody else may have any right to it. If it is encrypted,
// passphrase is asked once for the file's; it is wiped after use.
//
// If path with "-cert.pub" behind it exists, it must be a certificate of this
// key, and signatures carry it.
//
// Errors wrap ErrKeyFile, ErrKeyMode, ErrKeyType, ErrPassphrase or
// ErrPassphraseNeeded, or are those of the system or of passphrase.
func OpenKey(path string, passphrase func(path string) ([]byte, error)) (Signer, error) {
	data, err := readKeyFile(path, true)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	private, err := decodePrivate(data, path, passphrase)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", path, err)
	}
	s, err := newFileSigner(private)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", path, err)
	}
	certPath := path + "-cert.pub"
	data, err = readKeyFile(certPath, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, err
	}
	if s.key, err = certify(s.key, data); err != nil {
		return nil, fmt.Errorf("certificate %q: %w", certPath, err)
	}
	return s, nil
}

func (s *fileSigner) Key() Key { return s.key }

func (s *fileSigner) Sign(namespace string, message io.Reader) ([]byte, error) {
	return sign(s.key, namespace, message, func(b []byte) (*ssh.Signature, error) {
		return s.signer.Sign(rand.Reader, b)
	})
}

// readKeyFile reads a small regular file by one descriptor. A private one must
// be closed to others.
func readKeyFile(path string, private bool) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: %q is a symbolic link", ErrKeyFile, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", quotePath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat key file: %w", quotePath(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q is not a regular file", ErrKeyFile, path)
	}
	if private {
		if err := checkClosed(path, info); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", quotePath(err))
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%w: %q is longer than %d bytes", ErrKeyFile, path, maxKeyFile)
	}
	return data, nil
}

// checkClosed refuses a private key that others could read or change.
func checkClosed(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%w: %q has no owner", ErrKeyFile, path)
	}
	if own := os.Geteuid(); int(st.Uid) != own && st.Uid != 0 {
		return fmt.Errorf("%w: %q belongs to uid %d: want uid %d or root", ErrKeyMode, path, st.Uid, own)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%w: mode %04o: chmod 0400 %q", ErrKeyMode, perm, path)
	}
	return nil
}

// quotePath replaces a path in an error of package os by its quoted form.
func quotePath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s %q: %w", p.Op, p.Path, p.Err)
	}
	return err
}

// decodePrivate returns the private key in an OpenSSH key file, a pointer or
// value of the standard library's types.
func decodePrivate(data []byte, path string, passphrase func(string) ([]byte, error)) (any, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, fmt.Errorf("%w: no private key in it", ErrKeyFile)
	case block.Type != "OPENSSH PRIVATE KEY":
		return nil, fmt.Errorf("%w: a %q, want the form of OpenSSH (ssh-keygen -p -f FILE converts it)", ErrKeyFile, block.Type)
	case !bytes.HasPrefix(data, []byte("-----BEGIN ")) || len(bytes.TrimSpace(rest)) != 0:
		return nil, fmt.Errorf("%w: text around the key", ErrKeyFile)
	}
	defer clear(block.Bytes)
	key, err := ssh.ParseRawPrivateKey(data)
	var missing *ssh.PassphraseMissingError
	if !errors.As(err, &missing) {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
		}
		return key, nil
	}
	if passphrase == nil {
		return nil, ErrPassphraseNeeded
	}
	secret, err := passphrase(path)
	if err != nil {
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	defer clear(secret)
	if len(secret) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	key, err = ssh.ParseRawPrivateKeyWithPassphrase(data, secret)
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, ErrPassphrase
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	return key, nil
}

// newFileSigner refuses keys of other types, and an ed25519 key whose public
// half is not that of its private half: what it signs would give it away.
func newFileSigner(private any) (*fileSigner, error) {
	if p, ok := private.(*ed25519.PrivateKey); ok {
		if len(*p) != ed25519.PrivateKeySize || !ed25519.NewKeyFromSeed(p.Seed()).Equal(*p) {
			return nil, fmt.Errorf("%w: its halves are of two keys", ErrKeyFile)
		}
	}
	c, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: nothing to sign with", ErrKeyFile)
	}
	signer, err := ssh.NewSignerFromSigner(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyType, err)
	}
	if t := signer.PublicKey().Type(); !accepted(t) {
		return nil, errKeyType(t)
	}
	return &fileSigner{key: plainKey(signer.PublicKey()), signer: signer}, nil
}

// certify returns k with the certificate in data.
func certify(k Key, data []byte) (Key, error) {
	c, err := ParseKey(string(data))
	switch {
	case err != nil:
		return Key{}, err
	case c.Cert == nil:
		return Key{}, fmt.Errorf("%w: a plain key", ErrKeyFile)
	case c.Line != k.Line:
		return Key{}, fmt.Errorf("%w: of another key, %s, not %s", ErrKeyFile, c.Fingerprint, k.Fingerprint)
	}
	return c, nil
}
