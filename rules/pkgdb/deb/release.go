package deb

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"intact/rules/pkgdb/deb822"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/unpack"
)

// MaxIndexes bounds the indexes of packages that a release lists.
const MaxIndexes = 1 << 16

// Release is a verified InRelease file. All but its digest, its size and its
// signatures is from the signed text.
type Release struct {
	SHA256     manifest.SHA256 // of the whole file
	Size       int64
	Origin     string
	Label      string
	Suite      string
	Codename   string
	Date       time.Time
	ValidUntil time.Time // zero if it does not say
	Indexes    []Index   // of packages alone
	Signers    []pgp.Signer
	Refused    []pgp.Refused // signatures that do not count
}

// ReadRelease verifies an InRelease file, which errors call name, against
// pinned keys. pgp.ErrUnsigned says that no key vouches for it; what was wrong
// with each signature is then in the error's text.
func ReadRelease(name string, data []byte, ring *pgp.Keyring, now time.Time) (*Release, error) {
	c, err := ring.VerifyClear(data, now)
	if err != nil {
		for _, r := range c.Refused {
			err = fmt.Errorf("%w; signature by %q: %s", err, r.KeyID, r.Reason)
		}
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	r := &Release{SHA256: sha256.Sum256(data), Size: int64(len(data)), Signers: c.Signers, Refused: c.Refused}
	in := deb822.NewReader(bytes.NewReader(c.Text), name)
	s, err := in.Next()
	if err == io.EOF {
		return nil, fmt.Errorf("%q: %w: it is empty", name, ErrRelease)
	}
	if err == nil {
		err = r.take(s)
	}
	if err != nil {
		return nil, err
	}
	if _, err := in.Next(); err != io.EOF {
		return nil, fmt.Errorf("%q: %w: more than one stanza", name, ErrRelease)
	}
	return r, nil
}

// take reads the fields of the only stanza.
func (r *Release) take(s *deb822.Stanza) (err error) {
	r.Origin, r.Label, r.Suite, r.Codename = s.Get("Origin"), s.Get("Label"), s.Get("Suite"), s.Get("Codename")
	if r.Suite == "" && r.Codename == "" {
		return s.Errorf("Suite", "%w: neither suite nor codename", ErrRelease)
	}
	if r.Date, err = ParseDate(s.Get("Date")); err != nil {
		return s.Errorf("Date", "%w: date %q", ErrRelease, s.Get("Date"))
	}
	if until := s.Get("Valid-Until"); until != "" {
		if r.ValidUntil, err = ParseDate(until); err != nil {
			return s.Errorf("Valid-Until", "%w: date %q", ErrRelease, until)
		}
	}
	err = s.Lines("SHA256", func(_ int, text []byte) error {
		col := strings.Fields(string(text))
		if len(col) != 3 {
			return fmt.Errorf("%w: not digest, size and name", ErrRelease)
		}
		sum, ok := manifest.ParseSHA256(col[0])
		size, err := strconv.ParseUint(col[1], 10, 48)
		if !ok || err != nil {
			return fmt.Errorf("%w: not digest, size and name", ErrRelease)
		}
		if base, _ := unpack.ByName(path.Base(col[2])); base != "Packages" {
			return nil
		}
		if len(r.Indexes) == MaxIndexes {
			return fmt.Errorf("%w: over %d indexes", ErrTooMany, MaxIndexes)
		}
		r.Indexes = append(r.Indexes, Index{col[2], sum, int64(size)})
		return nil
	})
	if err == nil && len(r.Indexes) == 0 {
		err = s.Errorf("SHA256", "%w: no index of packages with SHA-256", ErrRelease)
	}
	return err
}

// ParseDate reads a date of RFC 2822 in UTC, which archives use alone.
func ParseDate(s string) (time.Time, error) {
	s, ok := strings.CutSuffix(s, " UTC")
	if !ok {
		s = strings.TrimSuffix(strings.TrimSuffix(s, " +0000"), " GMT")
	}
	t, err := time.Parse("Mon, _2 Jan 2006 15:04:05", s)
	return t.UTC(), err
}

// Valid returns ErrExpired where the release says that it is no longer valid.
func (r *Release) Valid(now time.Time) error {
	if !r.ValidUntil.IsZero() && now.After(r.ValidUntil) {
		return fmt.Errorf("%w: until %s", ErrExpired, r.ValidUntil.Format(time.RFC3339))
	}
	return nil
}
