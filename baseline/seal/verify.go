package seal

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Want is what a signature is asked for.
type Want struct {
	Namespace string
	Principal string    // "": anyone who may sign in the namespace
	At        time.Time // when it was signed, as far as known; zero: now
	Line      time.Time // when its line must be valid too, whatever the certificate says; zero: At alone
}

// Identity is who made a signature.
type Identity struct {
	Key        Key
	Principals []string // Want.Principal; without it those of the certificate that may sign, or the patterns of the line
	Line       int      // of the file of signers, from 1
}

// Verify says whether armor is a signature of message by somebody who may give
// it. All of these must be right, else the error wraps what stands behind:
// the form (ErrArmor, ErrKeyType), the signature itself (ErrSignature), its
// namespace (ErrNamespace), that nothing of it is revoked (ErrRevoked), and one
// line of the file with the key, or with the authority of its certificate
// (ErrSigner), the principal (ErrPrincipal), the namespace (ErrScope) and the
// time (ErrNotYet, ErrExpired). A certificate must be one of a user, without
// critical options, because none means anything here (ErrCertificate), name
// the principal (ErrPrincipal) and be valid at that time. If no line will do,
// the error is that of the line that came furthest.
//
// A plain key on a line does not stand for signatures that carry a
// certificate, and no authority for those without: as ssh-keygen has it.
func (s *Signers) Verify(message io.Reader, armor []byte, want Want) (Identity, error) {
	key, err := Check(message, armor, want.Namespace)
	if err != nil {
		return Identity{}, err
	}
	for _, r := range s.revoked {
		if err := r.Check(key); err != nil {
			return Identity{}, err
		}
	}
	if want.At.IsZero() {
		want.At = time.Now()
	}
	best, bestErr := nobody, fmt.Errorf("%w: key %s", ErrSigner, describe(key))
	for i := range s.lines {
		l := &s.lines[i]
		names, came, err := l.judge(key, want)
		if err == nil {
			return Identity{Key: key, Principals: names, Line: l.no}, nil
		}
		if came > best {
			best, bestErr = came, fmt.Errorf("line %d of the signers: %w", l.no, err)
		}
	}
	return Identity{}, bestErr
}

// How far a line came before it refused a signature.
const (
	nobody = iota // another key
	knownKey
	rightCertificate
	rightPrincipal
	rightScope
)

// judge says whether a line allows a signature whose form is right, and who
// made it.
func (l *signerLine) judge(key Key, want Want) (names []string, came int, err error) {
	if !l.has(key) {
		return nil, nobody, ErrSigner
	}
	if err := checkCertificate(key.Cert); err != nil {
		return nil, knownKey, err
	}
	if names = l.names(key.Cert, want.Principal); len(names) == 0 {
		return nil, rightCertificate, fmt.Errorf("%w: want %q, key %s", ErrPrincipal, want.Principal, describe(key))
	}
	if !l.allows(want.Namespace) {
		return nil, rightPrincipal, fmt.Errorf("%w: %q, key %s", ErrScope, want.Namespace, describe(key))
	}
	if err := l.checkTime(want.At); err != nil {
		return nil, rightScope, err
	}
	if !want.Line.IsZero() {
		if err := l.checkTime(want.Line); err != nil {
			return nil, rightScope, err
		}
	}
	if err := key.Cert.checkTime(want.At); err != nil {
		return nil, rightScope, err
	}
	return names, rightScope, nil
}

// has reports whether the line speaks of this key or of its authority.
func (l *signerLine) has(key Key) bool {
	switch {
	case l.key.public == nil || l.ca != (key.Cert != nil):
		return false
	case l.ca:
		return l.key.Line == key.Cert.CA.Line
	}
	return l.key.Line == key.Line
}

// names returns those who may have made a signature: want alone, or if it is
// "" all that the line and the certificate allow.
func (l *signerLine) names(c *Certificate, want string) []string {
	switch {
	case want != "" && !matchList(l.principals, want), c != nil && want != "" && !slices.Contains(c.Principals, want):
		return nil
	case want != "":
		return []string{want}
	case c == nil && l.allowsAnyone():
		return slices.Clone(l.principals)
	case c == nil:
		return nil
	}
	var out []string
	for _, p := range c.Principals {
		if p != "" && matchList(l.principals, p) {
			out = append(out, p)
		}
	}
	return out
}

// checkTime compares whole seconds; the last is valid too.
func (l *signerLine) checkTime(at time.Time) error {
	switch sec := at.Unix(); {
	case l.after != 0 && sec < l.after:
		return fmt.Errorf("%w: the line is valid from %s, the signature is of %s", ErrNotYet, stamp(time.Unix(l.after, 0)), stamp(at))
	case l.before != 0 && sec > l.before:
		return fmt.Errorf("%w: the line was valid to %s, the signature is of %s", ErrExpired, stamp(time.Unix(l.before, 0)), stamp(at))
	}
	return nil
}

// checkCertificate refuses what is not for signing; nil is right.
func checkCertificate(c *Certificate) error {
	switch {
	case c == nil:
		return nil
	case !c.user:
		return fmt.Errorf("%w: %q is not one of a user", ErrCertificate, c.ID)
	case len(c.critical) > 0:
		return fmt.Errorf("%w: %q has the critical option %q", ErrCertificate, c.ID, c.critical[0])
	case len(c.Principals) == 0:
		return fmt.Errorf("%w: certificate %q names nobody", ErrPrincipal, c.ID)
	}
	return nil
}

// checkTime compares whole seconds; that of the end is not valid any more
// (sshkey_cert_check_authority of OpenSSH). A nil certificate is always valid.
func (c *Certificate) checkTime(at time.Time) error {
	if c == nil {
		return nil
	}
	sec := uint64(max(at.Unix(), 0))
	switch {
	case sec < c.after:
		return fmt.Errorf("%w: certificate %q is valid from %s, the signature is of %s", ErrNotYet, c.ID, stamp(c.After), stamp(at))
	case c.before != math.MaxUint64 && sec >= c.before:
		return fmt.Errorf("%w: certificate %q was valid to %s, the signature is of %s", ErrExpired, c.ID, stamp(c.Before), stamp(at))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// describe names a key for a message.
func describe(k Key) string {
	if k.Cert == nil {
		return k.Fingerprint
	}
	return fmt.Sprintf("%s with certificate %q, serial %d, of authority %s", k.Fingerprint, k.Cert.ID, k.Cert.Serial, k.Cert.CA.Fingerprint)
}
