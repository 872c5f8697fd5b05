package seal

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testNamespace = "intact-report@v1"

// bench is a folder with keys, and the programs of OpenSSH.
type bench struct {
	t   *testing.T
	dir string
}

// newBench skips the test, in words that a reader of the log finds, where
// OpenSSH is missing.
func newBench(t *testing.T) *bench {
	t.Helper()
	for _, tool := range []string{"ssh-keygen", "ssh-agent", "ssh-add"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: agreement with OpenSSH needs %s", tool)
		}
	}
	return &bench{t, t.TempDir()}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

func (b *bench) read(name string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// try runs a program in the folder.
func (b *bench) try(stdin []byte, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir, c.Stdin = b.dir, bytes.NewReader(stdin)
	c.Env = append(os.Environ(), "LC_ALL=C", "SSH_ASKPASS_REQUIRE=never")
	out, err := c.CombinedOutput()
	return string(out), err
}

func (b *bench) run(name string, args ...string) string {
	b.t.Helper()
	out, err := b.try(nil, name, args...)
	if err != nil {
		b.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// key makes a key pair of a type.
func (b *bench) key(name, keyType string) {
	b.t.Helper()
	args := []string{"-q", "-t", keyType, "-N", "", "-C", "", "-f", name}
	if keyType == "rsa" {
		args = append(args, "-b", "2048")
	}
	b.run("ssh-keygen", args...)
}

// line returns the public key of name, without its line end.
func (b *bench) line(name string) string { return strings.TrimSpace(string(b.read(name + ".pub"))) }

// signer opens a private key.
func (b *bench) signer(name string) Signer {
	b.t.Helper()
	s, err := OpenKey(b.path(name), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) sign(name, message string) []byte {
	b.t.Helper()
	armor, err := b.signer(name).Sign(testNamespace, strings.NewReader(message))
	if err != nil {
		b.t.Fatal(err)
	}
	return armor
}

// theirs signs with ssh-keygen.
func (b *bench) theirs(name, message string, args ...string) []byte {
	b.t.Helper()
	m := b.write("message-of-theirs", message)
	_ = os.Remove(m + ".sig")
	b.run("ssh-keygen", append([]string{"-q", "-Y", "sign", "-f", name, "-n", testNamespace}, append(args, m)...)...)
	return b.read("message-of-theirs.sig")
}

// accepts asks ssh-keygen -Y verify.
func (b *bench) accepts(signers string, armor []byte, message, principal string, args ...string) bool {
	b.t.Helper()
	b.write("signers-of-theirs", signers)
	b.write("signature-of-theirs", string(armor))
	args = append([]string{"-Y", "verify", "-f", "signers-of-theirs", "-s", "signature-of-theirs", "-n", testNamespace, "-I", principal}, args...)
	_, err := b.try([]byte(message), "ssh-keygen", args...)
	return err == nil
}

// at is the option that gives ssh-keygen the time of a signature.
func at(t time.Time) string { return "-Overify-time=" + t.UTC().Format("20060102150405") + "Z" }

func mustSigners(t testing.TB, text string) *Signers {
	t.Helper()
	s, err := ParseSigners("signers", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func want(principal string) Want { return Want{Namespace: testNamespace, Principal: principal} }

// What we sign, ssh-keygen accepts, and refuses where anything was edited.
func TestTheyVerifyOurs(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa"} {
		b := newBench(t)
		b.key("k", kind)
		armor := b.sign("k", "the message\n")
		signers := "ann@example.org " + b.line("k") + "\n"
		if !b.accepts(signers, armor, "the message\n", "ann@example.org") {
			t.Errorf("%s: ssh-keygen refuses what we sign", kind)
		}
		if b.accepts(signers, armor, "the massage\n", "ann@example.org") {
			t.Errorf("%s: ssh-keygen accepts another message", kind)
		}
		for i := len(ArmorBegin) + 60; i < len(armor)-len(ArmorEnd)-4; i += 13 {
			bad := bytes.Clone(armor)
			if bad[i]++; b.accepts(signers, bad, "the message\n", "ann@example.org") {
				t.Errorf("%s: ssh-keygen accepts byte %d changed", kind, i)
			}
		}
		b.write("ours", string(armor))
		for _, ns := range []string{testNamespace, "other"} {
			_, err := b.try([]byte("the message\n"), "ssh-keygen", "-Y", "check-novalidate", "-n", ns, "-s", "ours")
			if (err == nil) != (ns == testNamespace) {
				t.Errorf("%s: check-novalidate in %q: %v", kind, ns, err)
			}
		}
	}
}

// What ssh-keygen signs, we accept, in the one spelling that we write too.
func TestWeVerifyTheirs(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa"} {
		for _, hash := range []string{hashSHA512, hashSHA256} {
			b := newBench(t)
			b.key("k", kind)
			signers := mustSigners(t, "ann@example.org "+b.line("k")+"\n")
			armor := b.theirs("k", "m", "-Ohashalg="+hash)
			id, err := signers.Verify(strings.NewReader("m"), armor, want("ann@example.org"))
			if err != nil || id.Key.Line != b.line("k") || id.Line != 1 {
				t.Errorf("%s, %s: %+v, %v", kind, hash, id, err)
			}
			if got, err := Check(strings.NewReader("m"), armor, testNamespace); err != nil || !strings.Contains(b.run("ssh-keygen", "-l", "-f", "k.pub"), got.Fingerprint) {
				t.Errorf("%s, %s: %q, %v", kind, hash, got.Fingerprint, err)
			}
		}
	}
}

// RSA keys of OpenSSH are refused, to open and to verify.
func TestRSAIsRefused(t *testing.T) {
	b := newBench(t)
	b.key("k", "rsa")
	if _, err := OpenKey(b.path("k"), nil); !isOnly(err, ErrKeyType) {
		t.Errorf("open: %v", err)
	}
	armor := b.theirs("k", "m")
	if _, err := Check(strings.NewReader("m"), armor, testNamespace); !isOnly(err, ErrKeyType) {
		t.Errorf("check: %v", err)
	}
	// A line with it is none of ours, and no mistake.
	b.key("e", "ed25519")
	signers := mustSigners(t, "ann "+b.line("k")+"\nbob "+b.line("e")+"\n")
	if _, err := signers.Verify(strings.NewReader("m"), b.sign("e", "m"), want("bob")); err != nil {
		t.Error(err)
	}
	// Who named somebody is governed, whatever the key is worth.
	if got := signers.Principals("x"); len(got) != 2 || got[0] != "ann" || got[1] != "bob" {
		t.Errorf("%q may sign", got)
	}
	b.run("ssh-keygen", "-q", "-s", "k", "-I", "i", "-n", "ann", "e.pub")
	if _, err := OpenKey(b.path("e"), nil); !isOnly(err, ErrKeyType) {
		t.Errorf("certificate by an RSA authority: %v", err)
	}
}
