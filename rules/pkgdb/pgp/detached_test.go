package pgp_test

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"intact/rules/pkgdb/pgp"
)

// detachedKey makes one, and its public half as packets.
func detachedKey(t testing.TB, c packet.Config) (*openpgp.Entity, []byte) {
	t.Helper()
	c.Time = func() time.Time { return made }
	e, err := openpgp.NewEntity("Packager", "", "p@example.org", &c)
	if err != nil {
		t.Fatal(err)
	}
	return e, public(t, e)
}

func public(t testing.TB, e *openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sign(t testing.TB, e *openpgp.Entity, text string, h crypto.Hash) []byte {
	t.Helper()
	var b bytes.Buffer
	c := &packet.Config{DefaultHash: h, Time: func() time.Time { return made.Add(time.Hour) }}
	if err := openpgp.DetachSign(&b, e, strings.NewReader(text), c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDetached(t *testing.T) {
	const text = "what was signed"
	ed := packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}
	good, goodPub := detachedKey(t, ed)
	other, _ := detachedKey(t, ed)
	brief := ed
	brief.KeyLifetimeSecs = 86400
	short, shortPub := detachedKey(t, brief)
	small, smallPub := detachedKey(t, packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 1024})
	dead, _ := detachedKey(t, ed)
	if err := dead.RevokeKey(packet.NoReason, "", &packet.Config{Time: func() time.Time { return made.Add(2 * time.Hour) }}); err != nil {
		t.Fatal(err)
	}
	pinned := &pgp.Keyring{}
	for _, b := range [][]byte{goodPub, shortPub, smallPub, public(t, dead)} {
		if err := pinned.Add(b); err != nil {
			t.Fatal(err)
		}
	}
	year := made.AddDate(1, 0, 0)
	fine := sign(t, good, text, crypto.SHA256)
	for _, tt := range []struct {
		name string
		sig  []byte
		text string
		at   time.Time
		want error
	}{
		{"good", fine, text, year, nil},
		{"other-text", fine, text + ".", year, pgp.ErrBad},
		{"not-pinned", sign(t, other, text, crypto.SHA256), text, year, pgp.ErrUnknownKey},
		{"in-time", sign(t, short, text, crypto.SHA256), text, made.Add(2 * time.Hour), nil},
		{"expired", sign(t, short, text, crypto.SHA256), text, year, pgp.ErrExpired},
		{"revoked", sign(t, dead, text, crypto.SHA256), text, year, pgp.ErrUnusable},
		{"future", fine, text, made.AddDate(0, 0, -2), pgp.ErrUnusable},
		{"rsa-1024", sign(t, small, text, crypto.SHA256), text, year, pgp.ErrUnusable},
		{"no-packet", nil, text, year, pgp.ErrMalformed},
		{"a-key", goodPub, text, year, pgp.ErrMalformed},
		{"two", append(bytes.Clone(fine), fine...), text, year, pgp.ErrMalformed},
		{"large", append(bytes.Clone(fine), make([]byte, 64<<10)...), text, year, pgp.ErrMalformed},
	} {
		s, err := pinned.VerifyDetached(strings.NewReader(tt.text), tt.sig, tt.at)
		if !errors.Is(err, tt.want) || (err == nil) != (s.Fingerprint != "") {
			t.Errorf("%s: got %v, %v, want %v", tt.name, s, err, tt.want)
		}
	}
	if _, err := pinned.VerifyDetached(iotest.ErrReader(errors.ErrUnsupported), fine, year); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, pgp.ErrBad) {
		t.Errorf("what cannot be read: %v", err)
	}
	var none *pgp.Keyring
	if _, err := none.VerifyDetached(strings.NewReader(text), fine, year); !errors.Is(err, pgp.ErrUnknownKey) {
		t.Errorf("no keyring: %v", err)
	}
	// Every flipped bit is noticed where it matters: none makes another text good.
	for i := range len(fine) * 8 {
		b := bytes.Clone(fine)
		b[i/8] ^= 1 << (i % 8)
		if _, err := pinned.VerifyDetached(strings.NewReader("another text"), b, year); err == nil {
			t.Fatalf("bit %d", i)
		}
	}
}

// Signatures of gpg itself, of which one is over SHA-1.
func TestDetachedByGPG(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("SKIPPED: no gpg: apt-get install gnupg")
	}
	dir, err := os.MkdirTemp("", "gpg") // the agent's socket has a short name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	gpg := func(in string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", dir, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v", args, err)
		}
		return out
	}
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run() })
	gpg("", "--quick-gen-key", "p@example.org", "rsa2048", "sign", "0")
	k := &pgp.Keyring{}
	if err := k.Add(gpg("", "--export", "--armor")); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(time.Hour) // the signatures are made after this line
	if s, err := k.VerifyDetached(strings.NewReader("x"), gpg("x", "--detach-sign", "--digest-algo", "SHA512"), at); err != nil || s.Subkey != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := k.VerifyDetached(strings.NewReader("x"), gpg("x", "--detach-sign", "--digest-algo", "SHA1"), at); !errors.Is(err, pgp.ErrUnusable) {
		t.Errorf("SHA-1: %v", err)
	}
	if _, err := k.VerifyDetached(strings.NewReader("x"), gpg("x", "--detach-sign", "--textmode"), at); !errors.Is(err, pgp.ErrMalformed) {
		t.Errorf("of a text: %v", err)
	}
}

func FuzzDetached(f *testing.F) {
	e, pub := detachedKey(f, packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	f.Add(pub, sign(f, e, "x", crypto.SHA256))
	f.Add(public(f, e), sign(f, e, "y", crypto.SHA512))
	pinned := &pgp.Keyring{}
	if err := pinned.Add(pub); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, keys, sig []byte) {
		if _, err := pinned.VerifyDetached(strings.NewReader("never signed"), sig, made); err == nil {
			t.Fatal("verified")
		}
		k := &pgp.Keyring{}
		if err := k.Add(keys); (err == nil) != (k.Len() > 0) {
			t.Fatalf("%d keys, %v", k.Len(), err)
		}
	})
}
