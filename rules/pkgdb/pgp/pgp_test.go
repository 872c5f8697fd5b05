package pgp_test

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"intact/rules/pkgdb/pgp"
)

var (
	made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now  = made.AddDate(0, 0, 1)
)

// at is a configuration in which it is t.
func at(t time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return t }, Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256}
}

func newKey(t testing.TB, name string, c *packet.Config) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity(name, "", name+"@example.org", c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func exported(t testing.TB, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range keys {
		if err := e.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func pinned(t testing.TB, keys ...*openpgp.Entity) *pgp.Keyring {
	t.Helper()
	k := &pgp.Keyring{}
	if len(keys) == 0 {
		return k
	}
	if err := k.Add(exported(t, keys...)); err != nil {
		t.Fatal(err)
	}
	return k
}

const text = "Origin: Test\nSHA256:\n - x\n"

func signed(t testing.TB, text string, c *packet.Config, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	var private []*packet.PrivateKey
	for _, e := range keys {
		private = append(private, e.PrivateKey)
	}
	w, err := clearsign.EncodeMulti(&b, private, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(strings.TrimSuffix(text, "\n"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func TestVerifyClear(t *testing.T) {
	a, b := newKey(t, "a", at(made)), newKey(t, "b", at(made))
	k := pinned(t, b)
	c, err := k.VerifyClear(signed(t, text, at(made.Add(time.Hour)), a, b), now)
	if err != nil || string(c.Text) != text || len(c.Signers) != 1 || len(c.Refused) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if s := c.Signers[0]; s.UID != "b <b@example.org>" || s.Key != k.Keys()[0] || len(s.Fingerprint) != 40 || !s.Made.Equal(made.Add(time.Hour)) || s.Subkey != "" {
		t.Errorf("%+v", s)
	}
	if r := c.Refused[0]; !strings.Contains(r.Reason, "not pinned") || len(r.KeyID) != 16 {
		t.Errorf("%+v", r)
	}
	if c, err := pinned(t).VerifyClear(signed(t, text, at(made), a, b), now); !errors.Is(err, pgp.ErrUnsigned) || c.Text != nil || len(c.Refused) != 2 {
		t.Errorf("no key: %+v, %v", c, err)
	}
}

// Who signs with a subkey is named by both.
func TestSubkey(t *testing.T) {
	a := newKey(t, "a", at(made))
	if err := a.AddSigningSubkey(at(made)); err != nil {
		t.Fatal(err)
	}
	sub := a.Subkeys[len(a.Subkeys)-1]
	sub.PrivateKey.PublicKey = *sub.PublicKey
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, sub.PrivateKey, at(made))
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := pinned(t, a).VerifyClear(b.Bytes(), now)
	if err != nil || c.Signers[0].Subkey == "" || c.Signers[0].Fingerprint == c.Signers[0].Subkey {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestRefused(t *testing.T) {
	year := at(made)
	year.KeyLifetimeSecs = 365 * 24 * 3600
	brief := at(made)
	brief.SigLifetimeSecs = 3600
	plain, mortal := newKey(t, "plain", at(made)), newKey(t, "mortal", year)
	revoked := newKey(t, "revoked", at(made))
	if err := revoked.RevokeKey(packet.NoReason, "", at(made.AddDate(1, 0, 0))); err != nil {
		t.Fatal(err)
	}
	rsa := at(made)
	rsa.Algorithm, rsa.RSABits = packet.PubKeyAlgoRSA, 1024
	rsa.MinRSABits = 1024
	weak := newKey(t, "weak", rsa)
	for name, tt := range map[string]struct {
		key    *openpgp.Entity
		config *packet.Config
		now    time.Time
		reason string // "" if it is good
	}{
		"good":                   {plain, at(made), now, ""},
		"key expired since":      {mortal, at(made), made.AddDate(5, 0, 0), ""},
		"key expired before":     {mortal, at(made.AddDate(2, 0, 0)), made.AddDate(5, 0, 0), "expired"},
		"before the key":         {plain, at(made.AddDate(-1, 0, 0)), now, "not made yet"},
		"in the future":          {plain, at(made.AddDate(1, 0, 0)), now, "future"},
		"signature expired":      {plain, brief, now, "expired"},
		"signature yet in force": {plain, brief, made.Add(time.Minute), ""},
		"revoked later":          {revoked, at(made), made.AddDate(2, 0, 0), "revoked"},
		"short key":              {weak, rsa, now, "weak: RSA of 1024 bits"},
	} {
		c, err := pinned(t, tt.key).VerifyClear(signed(t, text, tt.config, tt.key), tt.now)
		if tt.reason == "" {
			if err != nil || len(c.Signers) != 1 {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
			continue
		}
		if !errors.Is(err, pgp.ErrUnsigned) || c.Text != nil || len(c.Refused) != 1 || !strings.Contains(c.Refused[0].Reason, tt.reason) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// Nothing counts but what is signed, and nothing stands beside it.
func TestForm(t *testing.T) {
	a := newKey(t, "a", at(made))
	k := pinned(t, a)
	good := string(signed(t, text, at(made), a))
	end := strings.Index(good, "-----BEGIN PGP SIGNATURE")
	for name, s := range map[string]string{
		"empty":        "",
		"plain":        text,
		"before":       "Origin: Evil\n" + good,
		"empty line":   "\n" + good,
		"behind":       good + "Origin: Evil\n",
		"twice":        good + good,
		"no signature": good[:end],
		"cut":          good[:len(good)-40],
		"a header":     strings.Replace(good, "Hash:", "Comment:", 1),
		"returns":      strings.Replace(good, "Test\n", "Test\rx\n", 1),
	} {
		if c, err := k.VerifyClear([]byte(s), now); err == nil || c.Text != nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	at := strings.Index(good, "Origin")
	for i := at; i < end; i++ {
		b := []byte(good)
		b[i] ^= 1
		if c, err := k.VerifyClear(b, now); err == nil && string(c.Text) != text {
			t.Errorf("byte %d flipped: %q", i, c.Text)
		}
	}
}

func TestKeyring(t *testing.T) {
	a, b := newKey(t, "a", at(made)), newKey(t, "b", at(made))
	var armored bytes.Buffer
	for _, e := range []*openpgp.Entity{a, b} {
		w, err := armor.Encode(&armored, openpgp.PublicKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(exported(t, e))
		w.Close()
		armored.WriteByte('\n')
	}
	k := &pgp.Keyring{}
	if err := k.Add(armored.Bytes()); err != nil || len(k.Keys()) != 2 {
		t.Errorf("armored: %v, %v", k.Keys(), err)
	}
	var private bytes.Buffer
	if err := a.SerializePrivate(&private, at(made)); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{
		"empty":   nil,
		"text":    []byte("hello"),
		"keybox":  append([]byte("\x00\x00\x00\x20\x01\x01\x00\x02KBXf"), make([]byte, 100)...),
		"private": private.Bytes(),
		"cut":     exported(t, a)[:60],
		"message": signed(t, text, at(made), a),
		"armor":   armored.Bytes()[:100],
	} {
		k := &pgp.Keyring{}
		if err := k.Add(in); !errors.Is(err, pgp.ErrKeyring) || len(k.Keys()) != 0 {
			t.Errorf("%s: %v, %v", name, k.Keys(), err)
		}
	}
}

// What gpg signs is read, and what it signs over SHA-1 is refused.
func TestProgram(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("SKIPPED: gpg is not installed")
	}
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	gpg := func(stdin string, args ...string) []byte {
		t.Helper()
		c := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--no-tty", "--passphrase", ""}, args...)...)
		c.Stdin = strings.NewReader(stdin)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("gpg %q: %v\n%s", args, err, stderr.Bytes())
		}
		return out
	}
	t.Cleanup(func() {
		c := exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent")
		_ = c.Run()
	})
	gpg("", "--quick-generate-key", "Archive <a@example.org>", "rsa2048", "sign", "never")
	k := &pgp.Keyring{}
	if err := k.Add(gpg("", "--export")); err != nil {
		t.Fatal(err)
	}
	if c, err := k.VerifyClear(gpg(text, "--clearsign", "--digest-algo", "SHA512"), time.Now()); err != nil || string(c.Text) != text {
		t.Errorf("%+v, %v", c, err)
	}
	weak := gpg(text, "--clearsign", "--digest-algo", "SHA1", "--allow-weak-digest-algos")
	if c, err := k.VerifyClear(weak, time.Now()); err == nil || c.Text != nil {
		t.Errorf("SHA-1: %+v, %v", c, err)
	}
	if err := k.Add(gpg("", "--export", "--armor")); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(home, "pubring.kbx")); err == nil {
		if err := (&pgp.Keyring{}).Add(b); !errors.Is(err, pgp.ErrKeyring) || !strings.Contains(err.Error(), "keybox") {
			t.Errorf("keybox: %v", err)
		}
	}
}

func FuzzVerifyClear(f *testing.F) {
	a := newKey(f, "a", at(made))
	k := pinned(f, a)
	good := signed(f, text, at(made), a)
	f.Add(good)
	f.Add(signed(f, "", at(made), a, a))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := k.VerifyClear(b, now); err == nil && string(c.Text) != text && string(c.Text) != "\n" {
			t.Errorf("%q", c.Text)
		}
	})
}

func FuzzKeyring(f *testing.F) {
	f.Add(exported(f, newKey(f, "a", at(made))))
	f.Add([]byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDM=\n-----END PGP PUBLIC KEY BLOCK-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := &pgp.Keyring{}
		if err := k.Add(b); (err == nil) != (len(k.Keys()) > 0) {
			t.Errorf("%v, %v", k.Keys(), err)
		}
	})
}
