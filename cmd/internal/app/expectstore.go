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
	name  string // in the state folder: the SHA-256 in hex
	text  []byte
	armor []byte
}

// expectFile is a file in the folder of manifests.
func (s *session) expectFile(name string) string {
	return filepath.Join(s.store.Dir(), baseline.ExpectDir, name)
}

// sealedManifest verifies a signature and then reads what was signed. file is
// what errors call it.
func (s *session) sealedManifest(file string, text, armor []byte) (*sealed, error) {
	sum := sha256.Sum256(text)
	m := &sealed{name: hex.EncodeToString(sum[:]), text: text, armor: armor}
	m.ID = "sha256:" + m.name
	var err error
	if m.Signer, err = s.manifestSigner(text, armor); err != nil {
		return nil, fmt.Errorf("%q: %w: %w", file, errManifest, err)
	}
	m.Manifest, err = expect.Parse(file, text)
	return m, err
}

// manifestSigner returns the principal of the trusted signers that signed a
// manifest. No key of a host counts: who is root there has it. The signature is
// judged at the time that the manifest gives itself, else now.
func (s *session) manifestSigner(text, armor []byte) (string, error) {
	if s.store.Trust == nil || s.store.Trust.Operators == nil {
		return "", fmt.Errorf("%w: no trusted_signers are configured", seal.ErrSigner)
	}
	if len(armor) == 0 {
		return "", errors.New("it has no signature")
	}
	at := s.env.Now()
	if made := expect.Created(text); !made.IsZero() && made.Before(at) {
		at = made
	}
	id, err := s.store.Trust.Operators.Verify(bytes.NewReader(text), armor, seal.Want{Namespace: expect.Namespace, At: at})
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(id.Principals, baseline.IsOperator); i >= 0 {
		return id.Principals[i], nil
	}
	return "", fmt.Errorf("%w: the key is of %q", seal.ErrPrincipal, id.Principals)
}

// manifests returns those of the state folder that count, and what is wrong with
// the others: who can write there can put anything there.
func (s *session) manifests() (list []expect.Source, wrong []error) {
	names, err := s.manifestNames()
	if err != nil {
		return nil, []error{err}
	}
	room := int64(maxManifestBytes)
	for _, name := range names {
		if len(list)+len(wrong) == maxManifests {
			return list, append(wrong, fmt.Errorf("there are %d of them, %d at most count", len(names), maxManifests))
		}
		m, err := s.storedManifest(name, room)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("sha256:%s: %w", name, err))
			continue
		}
		room -= int64(len(m.text))
		list = append(list, m.Source)
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
