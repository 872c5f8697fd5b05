package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	want, err := Generate(plain, "comment")
	if err != nil {
		t.Fatal(err)
	}
	if k, encrypted, err := Inspect(plain); err != nil || encrypted || k.Fingerprint != want.Fingerprint {
		t.Errorf("plain: got %v, %v, %v", k.Fingerprint, encrypted, err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.WriteFile(closed, pem.EncodeToMemory(block), 0o400); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	if k, encrypted, err := Inspect(closed); err != nil || !encrypted || k.Fingerprint != ssh.FingerprintSHA256(public) {
		t.Errorf("encrypted: got %v, %v, %v", k.Fingerprint, encrypted, err)
	}
	if err := os.Chmod(closed, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Inspect(closed); !errors.Is(err, ErrKeyMode) {
		t.Errorf("open to others: got %v", err)
	}
}

func TestLines(t *testing.T) {
	k, err := Generate(filepath.Join(t.TempDir(), "k"), "c")
	if err != nil {
		t.Fatal(err)
	}
	text := "# none\nann,bob namespaces=\"a,b*\",valid-after=\"20200101Z\",valid-before=\"20210101Z\" " + k.Line + "\n\nall " + k.Line + "\nrsa ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==\n"
	s, err := ParseSigners("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Lines()
	if len(got) != 3 || got[0].No != 2 || got[1].No != 4 || got[2].No != 5 {
		t.Fatalf("got %+v", got)
	}
	if l := got[0]; !l.Usable() || !l.Allows("bx") || l.Allows("c") || l.Revoked || len(l.Principals) != 2 ||
		!l.After.Equal(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) || !l.Before.Equal(time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("first: %+v", l)
	}
	if l := got[1]; !l.Allows("anything") || !l.After.IsZero() || !l.Before.IsZero() {
		t.Errorf("second: %+v", l)
	}
	if got[2].Usable() {
		t.Error("an RSA key counts as usable")
	}
	r, err := ParseRevoked("r", []byte(k.Line+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.Revoke(r)
	if l := s.Lines(); !l[0].Revoked || l[2].Revoked {
		t.Errorf("revoked: %+v", l)
	}
}

func TestPublicHalves(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k")
	want, err := Generate(file, "c")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key := string(b)
	for name, text := range map[string]string{
		"alone": key, "inside": "a\n" + key + "b", "indented": "  " + strings.ReplaceAll(key, "\n", "\n\t "), "CRLF": strings.ReplaceAll(key, "\n", "\r\n"),
		"JSON": strings.ReplaceAll(key, "\n", `\n`), "no end": strings.SplitN(key, "-----END", 2)[0],
	} {
		if got := PublicHalves([]byte(text)); len(got) != 1 || got[0].Fingerprint != want.Fingerprint {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if got := PublicHalves([]byte(key + key)); len(got) != 2 {
		t.Errorf("two: got %v", got)
	}
	for _, text := range []string{key[:80], privateBegin + privateMagic + "A=", privateBegin + privateMagic + "!"} {
		if got := PublicHalves([]byte(text)); len(got) != 1 || got[0].Fingerprint != "" {
			t.Errorf("%q: got %v", text, got)
		}
	}
	for _, text := range []string{"", privateBegin, privateBegin + "\nx", "-----BEGIN RSA PRIVATE KEY-----\nAAAA"} {
		if got := PublicHalves([]byte(text)); len(got) != 0 {
			t.Errorf("%q: got %v", text, got)
		}
	}
}
