package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"crypto/ed25519"
	"encoding/pem"

	"golang.org/x/crypto/ssh"
)

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	old := syscall.Umask(0o077)
	key, err := Generate(path, "intact on web1")
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{path: 0o400, path + ".pub": 0o644} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	s, err := OpenKey(path, nil)
	if err != nil || s.Key().Line != key.Line {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(path + ".pub")
	if err != nil || string(pub) != key.Line+" intact on web1\n" {
		t.Errorf("%q, %v", pub, err)
	}
	if k, err := ParseKey(string(pub)); err != nil || k.Fingerprint != key.Fingerprint {
		t.Error(err)
	}
	private, _ := os.ReadFile(path)
	for _, again := range []string{path, strings.TrimSuffix(path, ".pub")} {
		if _, err := Generate(again, ""); !errors.Is(err, fs.ErrExist) {
			t.Errorf("again: %v", err)
		}
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, private) {
		t.Error("the key was replaced")
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	other := filepath.Join(dir, "other")
	if err := os.Symlink("nowhere", other+".pub"); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(other, ""); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := os.Lstat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Error("half a pair")
	}
	for _, comment := range []string{"a\nb", "\x1b", "\xff", strings.Repeat("c", 2000)} {
		if _, err := Generate(filepath.Join(dir, "c"), comment); !isOnly(err, ErrKeyFile) {
			t.Errorf("%.9q: %v", comment, err)
		}
	}
	if _, err := Generate(filepath.Join(dir, "no", "dir\x1b"), ""); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "\x1b") {
		t.Error(err)
	}
}

// Nothing is replaced, even where a name was taken after it was looked at.
func TestWriteNewReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := writeNew(path, []byte("a"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, []byte("b"), 0o400); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if data, _ := os.ReadFile(path); string(data) != "a" {
		t.Errorf("%q", data)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

func TestTheyReadOurKey(t *testing.T) {
	b := newBench(t)
	key, err := Generate(b.path("k"), "c")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(b.run("ssh-keygen", "-y", "-f", "k")); len(got) < 2 || strings.Join(got[:2], " ") != key.Line {
		t.Errorf("%q", got)
	}
	if got := b.run("ssh-keygen", "-l", "-f", "k.pub"); !strings.Contains(got, key.Fingerprint+" c (ED25519)") {
		t.Errorf("%q", got)
	}
	id, err := mustSigners(t, "ann "+key.Line).Verify(strings.NewReader("m"), b.theirs("k", "m"), want("ann"))
	if err != nil || id.Key.Fingerprint != key.Fingerprint {
		t.Error(err)
	}
}

func TestKeyFileRights(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k")
	if _, err := Generate(path, ""); err != nil {
		t.Fatal(err)
	}
	for mode := range fs.FileMode(0o1000) {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKey(path, nil)
		switch {
		case mode&0o077 != 0 && mode&0o400 != 0:
			if !isOnly(err, ErrKeyMode) || !strings.Contains(err.Error(), "chmod 0400 \""+path) {
				t.Errorf("%04o: %v", mode, err)
			}
		case mode&0o077 == 0 && mode&0o400 != 0 && err != nil:
			t.Errorf("%04o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink("k", link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, fifo, dir} {
		if _, err := OpenKey(name, nil); !isOnly(err, ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenKey(filepath.Join(dir, "no\x1b"), nil); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "\x1b") {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a key file of another user needs root")
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(path, nil); !isOnly(err, ErrKeyMode) {
		t.Errorf("of another user: %v", err)
	}
}

func TestKeyFileForms(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k")
	if _, err := Generate(path, ""); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	i := bytes.LastIndex(block.Bytes, ssh.Marshal(struct{ N uint32 }{64}))
	seed := bytes.Clone(block.Bytes)
	seed[i+4] ^= 1 // of the private half alone
	half := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: seed})
	for name, data := range map[string]string{
		"empty": "", "public": "ssh-ed25519 AAAA\n", "text before": "x\n" + string(good), "text behind": string(good) + "x", "two": string(good) + string(good),
		"cut": string(good[:len(good)/2]), "other form": strings.ReplaceAll(string(good), "OPENSSH", "EC"), "long": string(good) + strings.Repeat("\n", maxKeyFile), "halves of two keys": string(half),
	} {
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKey(path, nil); !isOnly(err, ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The halves are compared by us, not only by the parser.
	_, a, _ := ed25519.GenerateKey(nil)
	_, b, _ := ed25519.GenerateKey(nil)
	mixed := append(bytes.Clone(a[:32]), b[32:]...)
	if _, err := newFileSigner((*ed25519.PrivateKey)(&mixed)); !isOnly(err, ErrKeyFile) {
		t.Error(err)
	}
}

func TestPassphrase(t *testing.T) {
	b := newBench(t)
	b.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-a", "4", "-f", "k")
	answer := func(text string) func(string) ([]byte, error) {
		return func(path string) ([]byte, error) {
			if path != b.path("k") {
				t.Errorf("asked for %q", path)
			}
			return []byte(text), nil
		}
	}
	if _, err := OpenKey(b.path("k"), nil); !isOnly(err, ErrPassphraseNeeded) {
		t.Error(err)
	}
	for _, wrong := range []string{"open sesamf", "", "x"} {
		if _, err := OpenKey(b.path("k"), answer(wrong)); !isOnly(err, ErrPassphrase) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := OpenKey(b.path("k"), func(string) ([]byte, error) { return nil, os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	secret := []byte("open sesame")
	s, err := OpenKey(b.path("k"), func(string) ([]byte, error) { return secret, nil })
	if err != nil {
		t.Fatal(err)
	}
	if strings.Trim(string(secret), "\x00") != "" {
		t.Error("the passphrase stays in memory")
	}
	armor, err := s.Sign(testNamespace, strings.NewReader("m"))
	if err != nil || !b.accepts("ann "+b.line("k"), armor, "m", "ann") {
		t.Error(err)
	}
	// A key that is not encrypted asks nothing.
	b.key("plain", "ecdsa")
	if _, err := OpenKey(b.path("plain"), func(string) ([]byte, error) { t.Error("asked"); return nil, nil }); err != nil {
		t.Error(err)
	}
}

func TestCertificateBesideTheKey(t *testing.T) {
	b := newBench(t)
	b.key("ca", "ecdsa")
	b.key("other", "ed25519")
	b.issue("k", "ca", "who\x1b", 77)
	good := b.read("k-cert.pub")
	s := b.signer("k")
	c := s.Key().Cert
	if c == nil || c.Serial != 77 || c.ID != "who\x1b" || len(c.Principals) != 1 || c.CA.Line != b.line("ca") || !c.After.IsZero() || !c.Before.IsZero() || !strings.HasPrefix(string(good), c.Line) {
		t.Fatalf("%+v", c)
	}
	if !b.accepts("ann cert-authority "+b.line("ca"), b.sign("k", "m"), "m", "ann") {
		t.Error("ssh-keygen refuses what the certificate signs")
	}
	b.run("ssh-keygen", "-q", "-s", "ca", "-I", "i", "-n", "ann", "-V", "20260102030405Z:20270102030405Z", "other.pub")
	if c := b.signer("other").Key().Cert; c.After.UTC().Format("20060102150405") != "20260102030405" || c.Before.UTC().Format("20060102150405") != "20270102030405" {
		t.Errorf("%+v", c)
	}
	for name, text := range map[string]string{
		"of another key": string(b.read("other-cert.pub")), "a plain key": b.line("k"), "nothing": "", "cut": string(good[:200]), "two": string(good) + string(good),
	} {
		b.write("k-cert.pub", text)
		if _, err := OpenKey(b.path("k"), nil); !isOnly(err, ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(os.Remove(b.path("k-cert.pub")), os.Symlink("other-cert.pub", b.path("k-cert.pub"))); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(b.path("k"), nil); !isOnly(err, ErrKeyFile) {
		t.Error(err)
	}
}
