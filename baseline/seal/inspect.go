package seal

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// Inspect says which key lies in a private key file, and whether it is
// encrypted, without asking for a passphrase: the public half of an OpenSSH key
// stands beside the encrypted one. Errors are those of OpenKey.
func Inspect(path string) (k Key, encrypted bool, err error) {
	s, err := OpenKey(path, nil)
	if err == nil {
		return s.Key(), false, nil
	}
	if !errors.Is(err, ErrPassphraseNeeded) {
		return Key{}, false, err
	}
	data, err := readKeyFile(path, true)
	if err != nil {
		return Key{}, true, err
	}
	defer clear(data)
	_, err = ssh.ParseRawPrivateKey(data)
	missing, ok := errors.AsType[*ssh.PassphraseMissingError](err)
	if !ok || missing.PublicKey == nil {
		return Key{}, true, fmt.Errorf("key %q: %w: its public half cannot be read", path, ErrKeyFile)
	}
	if t := missing.PublicKey.Type(); !accepted(t) {
		return Key{}, true, fmt.Errorf("key %q: %w", path, errKeyType(t))
	}
	return plainKey(missing.PublicKey), true, nil
}

// Line is one line of a file of signers, for people.
type Line struct {
	No         int       // from 1
	Principals []string  // patterns as they are written
	Key        Key       // zero for a type that is not accepted here: the line never matches
	Authority  bool      // the key signs certificates of those who sign
	Namespaces []string  // patterns; nil: all
	After      time.Time // zero: from ever
	Before     time.Time // the last that is valid; zero: for ever
	Revoked    bool      // the key is on a list of revoked ones
}

// Usable reports whether the key is of a type that is accepted here.
func (l Line) Usable() bool { return l.Key.public != nil }

// Allows reports whether the line is for signatures in namespace.
func (l Line) Allows(namespace string) bool {
	return l.Namespaces == nil || matchList(l.Namespaces, namespace)
}

// Lines returns the lines in the order of the file. What they say is not to be
// judged by: Verify does.
func (s *Signers) Lines() []Line {
	var out []Line
	for _, l := range s.lines {
		o := Line{No: l.no, Principals: l.principals, Key: l.key, Authority: l.ca, Namespaces: l.namespaces}
		if l.after != 0 {
			o.After = time.Unix(l.after, 0)
		}
		if l.before != 0 {
			o.Before = time.Unix(l.before, 0)
		}
		for _, r := range s.revoked {
			o.Revoked = o.Revoked || o.Usable() && r.Check(l.key) != nil
		}
		out = append(out, o)
	}
	return out
}
