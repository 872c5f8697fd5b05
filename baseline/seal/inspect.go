package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
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

// Marks of a private key in the form of OpenSSH, and what its text begins with:
// base64 of "openssh-key-v1".
const (
	privateBegin = "-----BEGIN OPENSSH PRIVATE KEY-----"
	privateEnd   = "-----END"
	privateMagic = "b3BlbnNzaC1rZXktdjE"
)

// PublicHalves returns the public half of every OpenSSH private key in a text,
// whatever stands around it; they stand in clear beside encrypted ones. A key
// that cannot be read is a zero Key. Types that cannot sign here are returned
// too.
func PublicHalves(text []byte) (keys []Key) {
	plain := strings.NewReplacer(`\n`, "", `\r`, "", " ", "", "\t", "", "\n", "", "\r", "") // of JSON too
	for part := range strings.SplitSeq(string(text), privateBegin) {
		body, _, _ := strings.Cut(part, privateEnd)
		// What stands before the first mark is none, and has no magic in general.
		if body = plain.Replace(body); strings.HasPrefix(body, privateMagic) {
			keys = append(keys, publicHalf(body))
		}
	}
	return keys
}

// publicHalf reads the container of PROTOCOL.key, zero if it is none.
func publicHalf(body string) Key {
	if i := strings.IndexFunc(body, notBase64); i >= 0 {
		body = body[:i]
	}
	data, err := base64.StdEncoding.DecodeString(body)
	data, ok := bytes.CutPrefix(data, []byte("openssh-key-v1\x00"))
	var w struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public               []byte
		Rest                 []byte `ssh:"rest"`
	}
	if err != nil || !ok || ssh.Unmarshal(data, &w) != nil || w.Keys != 1 {
		return Key{}
	}
	p, err := ssh.ParsePublicKey(w.Public)
	if err != nil {
		return Key{}
	}
	return plainKey(p)
}

func notBase64(r rune) bool {
	return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '+' || r == '/' || r == '=')
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
