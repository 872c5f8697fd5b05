package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/rules/expect"
)

// Bounds of the manifests in the state folder: a check holds all of them in
// memory and asks each about each change.
const (
	maxManifests     = 64
	maxManifestBytes = 100 << 20
	maxManifestSeal  = 64 << 10 // bytes of a signature
)

// errManifest means that a manifest is not signed by somebody who may.
var errManifest = errors.New("manifest is not signed by whom it should be")

// sealed is a manifest whose signature was verified.
type sealed struct {
	expect.Source
	name     string // in the state folder: the SHA-256 in hex
	size     int64  // of its text
	text     []byte // nil in the list of those that count: it was read
	armor    []byte
	unproved bool // it counts by the time that it gives itself alone: the certificate of its signer is not valid now
}

// expectFile is a file in the folder of manifests.
func (s *session) expectFile(name string) string {
	return filepath.Join(s.store.Dir(), baseline.ExpectDir, name)
}

// sealedManifest verifies a signature and then reads what was signed. file is
// what errors call it.
func (s *session) sealedManifest(file string, text, armor []byte) (*sealed, error) {
	sum := sha256.Sum256(text)
	m := &sealed{name: hex.EncodeToString(sum[:]), size: int64(len(text)), text: text, armor: armor}
	m.ID = "sha256:" + m.name
	var err error
	if m.Signer, m.unproved, err = s.manifestSigner(text, armor); err != nil {
		return nil, fmt.Errorf("%q: %w: %w", file, errManifest, err)
	}
	m.Manifest, err = expect.Parse(file, text)
	return m, err
}

// manifestSigner returns the principal of the trusted signers that signed a
// manifest. No key of a host counts: who is root there has it. The line of the
// signer must be valid now and at the time that the manifest gives itself, so that
// who has a retired key cannot use it by another time. A certificate is judged at
// that time alone: those of builds are valid for minutes. unproved says that it is
// not valid now.
func (s *session) manifestSigner(text, armor []byte) (signer string, unproved bool, err error) {
	if s.store.Trust == nil || s.store.Trust.Operators == nil {
		return "", false, fmt.Errorf("%w: no trusted_signers are configured", seal.ErrSigner)
	}
	if len(armor) == 0 {
		return "", false, errors.New("it has no signature")
	}
	now := s.env.Now()
	want := seal.Want{Namespace: expect.Namespace, At: now, Line: now}
	if made := expect.Created(text); !made.IsZero() && made.Before(now) {
		want.At = made
	}
	id, err := s.store.Trust.Operators.Verify(bytes.NewReader(text), armor, want)
	if err != nil {
		return "", false, err
	}
	i := slices.IndexFunc(id.Principals, baseline.IsOperator)
	if i < 0 {
		return "", false, fmt.Errorf("%w: the key is of %q", seal.ErrPrincipal, id.Principals)
	}
	if id.Key.Cert != nil {
		want.At = now
		_, err := s.store.Trust.Operators.Verify(bytes.NewReader(text), armor, want)
		unproved = err != nil
	}
	return id.Principals[i], unproved, nil
}

// brokenManifests counts the manifests that do not count, and keeps why the first does
// not: there may be any number of them.
type brokenManifests struct {
	n     int
	first error
}

func (b *brokenManifests) add(err error) {
	if b.n++; b.first == nil {
		b.first = err
	}
}

// words is a note about them, "" where there are none.
func (b *brokenManifests) words() string {
	switch b.n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("a manifest of what is expected explains nothing: %v", b.first)
	}
	return fmt.Sprintf("%d manifests of what is expected explain nothing, see intact expect --list; the first: %v", b.n, b.first)
}

// manifests returns those of the state folder that count, and what is wrong with
// the others, which take no place from them: who can write there can put anything
// there.
func (s *session) manifests() (list []*sealed, wrong brokenManifests) {
	names, err := s.manifestNames()
	if err != nil {
		wrong.add(err)
		return nil, wrong
	}
	room := int64(maxManifestBytes)
	for _, name := range names {
		m, err := s.storedManifest(name, room)
		if err == nil && len(list) == maxManifests {
			err = fmt.Errorf("%d at most count", maxManifests)
		}
		if err != nil {
			wrong.add(fmt.Errorf("sha256:%s: %w", name, err))
			continue
		}
		room -= m.size
		m.text, m.armor = nil, nil
		list = append(list, m)
	}
	return list, wrong
}

// manifestNames lists the manifests of the state folder in order.
func (s *session) manifestNames() (names []string, err error) {
	list, err := os.ReadDir(s.expectFile(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range list {
		if isManifestName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func isManifestName(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// storedManifest reads one of the state folder, of at most so many bytes.
func (s *session) storedManifest(name string, limit int64) (*sealed, error) {
	text, err := readOpened(s.expectFile(name), min(limit, expect.MaxSize), nil)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != name {
		return nil, fmt.Errorf("%w: its bytes do not have that digest", errManifest)
	}
	armor, err := readOpened(s.expectFile(name)+".sig", maxManifestSeal, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s.sealedManifest("sha256:"+name, text, armor)
}

// storeManifest puts a manifest into the state folder. It counts when it has its
// name, and its signature is there before.
func (s *session) storeManifest(m *sealed) error {
	if err := os.MkdirAll(s.expectFile(""), 0o700); err != nil {
		return err
	}
	if err := putFile(s.expectFile(m.name)+".sig", m.armor, 0o600); err != nil {
		return err
	}
	return putFile(s.expectFile(m.name), m.text, 0o600)
}

// forgetManifest removes a manifest, then its signature.
func (s *session) forgetManifest(name string) error {
	if err := os.Remove(s.expectFile(name)); err != nil {
		return err
	}
	if err := os.Remove(s.expectFile(name) + ".sig"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweepManifests removes signatures that a kill left without their manifest.
func (s *session) sweepManifests() {
	list, _ := os.ReadDir(s.expectFile("")) // none: nothing to sweep
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), ".sig")
		if !ok || !isManifestName(name) {
			continue
		}
		if _, err := os.Lstat(s.expectFile(name)); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(s.expectFile(e.Name())) // it is only one too many
		}
	}
}
