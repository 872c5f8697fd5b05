package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/crypto/ssh"
)

// all are the errors that a caller may ask for.
var all = []error{
	ErrArmor, ErrKeyType, ErrNamespace, ErrSignature, ErrKeyFile, ErrKeyMode, ErrPassphraseNeeded, ErrPassphrase, ErrAgent,
	ErrSigner, ErrPrincipal, ErrScope, ErrNotYet, ErrExpired, ErrCertificate, ErrRevoked, ErrRevocations,
}

// isOnly reports whether err wraps want, and for a refusal by Verify nothing
// else that would mislead.
func isOnly(err, want error) bool {
	for _, e := range all {
		if e != want && e != ErrKeyFile && e != ErrAgent && errors.Is(err, e) {
			return false
		}
	}
	return errors.Is(err, want)
}

func newSigner(t testing.TB, curve bool) *fileSigner {
	t.Helper()
	var private any
	if curve {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private = k
	} else {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private = &k
	}
	s, err := newFileSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSign(t testing.TB, s Signer, message string) []byte {
	t.Helper()
	armor, err := s.Sign(testNamespace, strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	return armor
}

// certified gives a signer a certificate of ca.
func certified(t testing.TB, s, ca *fileSigner, change func(*ssh.Certificate)) *fileSigner {
	t.Helper()
	c := &ssh.Certificate{
		Key: s.key.public, Serial: 7, CertType: ssh.UserCert, KeyId: "id", ValidPrincipals: []string{"ann"},
		ValidBefore: ssh.CertTimeInfinity,
	}
	if change != nil {
		change(c)
	}
	names := c.ValidPrincipals
	if len(names) == 0 {
		c.ValidPrincipals = []string{"placeholder"} // the library refuses none
	}
	if err := c.SignCert(rand.Reader, ca.signer); err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		c.ValidPrincipals, c.Signature = nil, nil
		b := c.Marshal()
		var err error
		if c.Signature, err = ca.signer.Sign(rand.Reader, b[:len(b)-4]); err != nil {
			t.Fatal(err)
		}
	}
	k, err := parseKey(c.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return &fileSigner{key: k, signer: s.signer}
}

// Every single-byte change of what is signed and of the signature is refused.
func TestEveryByteCounts(t *testing.T) {
	const message = "every byte of this counts\n"
	ca := newSigner(t, false)
	for name, s := range map[string]*fileSigner{
		"ed25519": newSigner(t, false), "ecdsa": newSigner(t, true), "certificate": certified(t, newSigner(t, false), ca, nil),
		"certificate of ecdsa": certified(t, newSigner(t, true), newSigner(t, true), nil),
	} {
		armor := mustSign(t, s, message)
		text := "ann " + s.key.Line + "\n"
		if s.key.Cert != nil {
			text = "ann cert-authority " + s.key.Cert.CA.Line + "\n"
		}
		signers := mustSigners(t, text)
		if _, err := signers.Verify(strings.NewReader(message), armor, want("ann")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range armor {
			for bit := range 8 {
				bad := bytes.Clone(armor)
				bad[i] ^= 1 << bit
				if _, err := signers.Verify(strings.NewReader(message), bad, want("ann")); err == nil {
					t.Errorf("%s: bit %d of byte %d of the armor changed: accepted", name, bit, i)
				}
				if _, err := Check(strings.NewReader(message), bad, testNamespace); err == nil {
					t.Errorf("%s: bit %d of byte %d of the armor changed: checked", name, bit, i)
				}
			}
			if _, err := Check(strings.NewReader(message), armor[:i], testNamespace); !isOnly(err, ErrArmor) {
				t.Errorf("%s: cut at %d: %v", name, i, err)
			}
		}
		for i := range message {
			for bit := range 8 {
				bad := []byte(message)
				bad[i] ^= 1 << bit
				if _, err := signers.Verify(bytes.NewReader(bad), armor, want("ann")); !isOnly(err, ErrSignature) {
					t.Errorf("%s: bit %d of byte %d of the message changed: %v", name, bit, i, err)
				}
			}
		}
	}
}

func TestArmorHasOneSpelling(t *testing.T) {
	s := newSigner(t, false)
	good := string(mustSign(t, s, "m"))
	body := strings.TrimSuffix(strings.TrimPrefix(good, ArmorBegin), ArmorEnd)
	flat := strings.ReplaceAll(body, "\n", "")
	for name, bad := range map[string]string{
		"nothing": "", "text before": "x\n" + good, "text behind": good + "x", "line behind": good + "\n", "no line end": strings.TrimSuffix(good, "\n"),
		"CRLF": strings.ReplaceAll(good, "\n", "\r\n"), "one line": ArmorBegin + flat + "\n" + ArmorEnd,
		"64 columns": ArmorBegin + flat[:64] + "\n" + flat[64:] + "\n" + ArmorEnd, "blank line": ArmorBegin + "\n" + body + ArmorEnd,
		"blank": ArmorBegin + " " + body + ArmorEnd, "header": ArmorBegin + "Comment: x\n\n" + body + ArmorEnd,
		"twice": good + good, "no end": strings.TrimSuffix(good, ArmorEnd),
		"public key instead": s.key.Line + "\n",
	} {
		if _, err := Check(strings.NewReader("m"), []byte(bad), testNamespace); !isOnly(err, ErrArmor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"eA\n", "eA=\n", "eB==\n", "eA==", "eA==\n\n", "e-==\n"} { // "eA==\n" is the one spelling of "x"
		if _, err := decodeArmor([]byte(ArmorBegin + bad + ArmorEnd)); !isOnly(err, ErrArmor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := decodeArmor(encodeArmor(make([]byte, MaxArmor))); !isOnly(err, ErrArmor) {
		t.Errorf("long: %v", err)
	}
	for n := range 400 { // all line ends
		blob := bytes.Repeat([]byte{byte(n)}, n)
		if got, err := decodeArmor(encodeArmor(blob)); err != nil || !bytes.Equal(got, blob) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// An envelope that says something else inside of a right armor is refused.
func TestEnvelopeIsStrict(t *testing.T) {
	for _, curve := range []bool{false, true} {
		s := newSigner(t, curve)
		blob, err := decodeArmor(mustSign(t, s, "m"))
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(w *wireEnvelope){
			"nothing": func(*wireEnvelope) {}, "magic": func(w *wireEnvelope) { w.Magic[0] = 's' }, "version 2": func(w *wireEnvelope) { w.Version = 2 },
			"version 0": func(w *wireEnvelope) { w.Version = 0 }, "reserved": func(w *wireEnvelope) { w.Reserved = "x" },
			"hash": func(w *wireEnvelope) { w.Hash = "sha1" }, "key": func(w *wireEnvelope) { w.PublicKey = append(bytes.Clone(w.PublicKey), 0) },
			"signature": func(w *wireEnvelope) { w.Signature = append(bytes.Clone(w.Signature), 0) },
			"no key":    func(w *wireEnvelope) { w.PublicKey = nil }, "no signature": func(w *wireEnvelope) { w.Signature = nil },
			"format": func(w *wireEnvelope) {
				w.Signature = ssh.Marshal(ssh.Signature{Format: "ssh-rsa", Blob: make([]byte, 64)})
			},
			"leading zeros": func(w *wireEnvelope) {
				var sig ssh.Signature
				_ = ssh.Unmarshal(w.Signature, &sig)
				n := binary.BigEndian.Uint32(sig.Blob)
				long := binary.BigEndian.AppendUint32(nil, n+1)
				long = append(append(long, 0), sig.Blob[4:]...)
				w.Signature = ssh.Marshal(ssh.Signature{Format: sig.Format, Blob: long})
			},
		} {
			var w wireEnvelope
			if err := ssh.Unmarshal(blob, &w); err != nil {
				t.Fatal(err)
			}
			change(&w)
			_, err := Check(strings.NewReader("m"), encodeArmor(ssh.Marshal(w)), testNamespace)
			if name == "nothing" && err == nil || isOnly(err, ErrArmor) || name == "leading zeros" && !curve && isOnly(err, ErrSignature) {
				continue
			}
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Check(strings.NewReader("m"), encodeArmor(append(blob, 0)), testNamespace); !isOnly(err, ErrArmor) {
			t.Errorf("trailing byte: %v", err)
		}
	}
}

func TestNamespace(t *testing.T) {
	s := newSigner(t, false)
	armor := mustSign(t, s, "m")
	for _, ns := range []string{"intact-baseline@v1", "", "intact-report@v1 ", "Intact-report@v1", "a b", "a\n", "\x00", "é", strings.Repeat("n", 256)} {
		if _, err := Check(strings.NewReader("m"), armor, ns); !isOnly(err, ErrNamespace) {
			t.Errorf("check in %q: %v", ns, err)
		}
		if _, err := s.Sign(ns, strings.NewReader("m")); ns != "intact-baseline@v1" && ns != "Intact-report@v1" && !isOnly(err, ErrNamespace) {
			t.Errorf("sign in %q: %v", ns, err)
		}
	}
}

func TestReadErrorOfTheMessage(t *testing.T) {
	s := newSigner(t, false)
	broken := io.MultiReader(strings.NewReader("m"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := s.Sign(testNamespace, broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	broken = io.MultiReader(strings.NewReader("m"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := Check(broken, mustSign(t, s, "m"), testNamespace); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A key that signs something else than it was asked for is found out.
func TestNewSignatureIsVerified(t *testing.T) {
	s := newSigner(t, false)
	_, err := sign(s.key, testNamespace, strings.NewReader("m"), func(b []byte) (*ssh.Signature, error) {
		return s.signer.Sign(rand.Reader, append(b, 0))
	})
	if !isOnly(err, ErrSignature) {
		t.Error(err)
	}
}

// zeros is a long message that takes no memory.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestMessagesStream(t *testing.T) {
	const size = 200 << 20
	s := newSigner(t, false)
	start := time.Now()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	armor, err := s.Sign(testNamespace, io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Check(io.LimitReader(zeros{}, size), armor, testNamespace); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated for two times %d", n, size)
	}
	t.Logf("%d MiB signed and verified in %v", size>>20, time.Since(start))
	if _, err := Check(io.LimitReader(zeros{}, size-1), armor, testNamespace); !isOnly(err, ErrSignature) {
		t.Errorf("one byte less: %v", err)
	}
}

// fido plays a FIDO key (PROTOCOL.u2f): it signs with flags of its own.
type fido struct {
	key   Key
	flags byte
	ed    ed25519.PrivateKey
	ec    *ecdsa.PrivateKey
}

func newFIDO(t *testing.T, curve bool) *fido {
	t.Helper()
	f := &fido{flags: 1}
	var blob []byte
	if curve {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		f.ec, blob = k, ssh.Marshal(struct {
			Type, Curve string
			Point       []byte
			Application string
		}{ssh.KeyAlgoSKECDSA256, "nistp256", point, "ssh:"})
	} else {
		pub, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		f.ed, blob = k, ssh.Marshal(struct {
			Type        string
			Key         []byte
			Application string
		}{ssh.KeyAlgoSKED25519, pub, "ssh:"})
	}
	var err error
	if f.key, err = parseKey(blob); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fido) sign(data []byte) (*ssh.Signature, error) {
	app, sum := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	rest := []byte{f.flags, 0, 0, 0, 9}
	signed := append(append(bytes.Clone(app[:]), rest...), sum[:]...)
	if f.ed != nil {
		return &ssh.Signature{Format: f.key.Type, Blob: ed25519.Sign(f.ed, signed), Rest: rest}, nil
	}
	digest := sha256.Sum256(signed)
	r, s, err := ecdsa.Sign(rand.Reader, f.ec, digest[:])
	return &ssh.Signature{Format: f.key.Type, Blob: ssh.Marshal(struct{ R, S *big.Int }{r, s}), Rest: rest}, err
}

func (f *fido) armor(t *testing.T, message string) []byte {
	t.Helper()
	signed, err := signedBytes(testNamespace, hashSHA512, strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := f.sign(signed)
	if err != nil {
		t.Fatal(err)
	}
	return encodeArmor(ssh.Marshal(wireEnvelope{
		Magic: [6]byte([]byte(sshsigMagic)), Version: 1, PublicKey: f.key.blob, Namespace: testNamespace, Hash: hashSHA512, Signature: ssh.Marshal(sig),
	}))
}

// A FIDO key must have been touched, and its flags and counter are signed.
func TestFIDO(t *testing.T) {
	for _, curve := range []bool{false, true} {
		f := newFIDO(t, curve)
		signers := mustSigners(t, "ann "+f.key.Line+"\n")
		armor := f.armor(t, "m")
		if _, err := signers.Verify(strings.NewReader("m"), armor, want("ann")); err != nil {
			t.Errorf("%s: %v", f.key.Type, err)
		}
		for i := range armor {
			bad := bytes.Clone(armor)
			bad[i] ^= 1
			if _, err := Check(strings.NewReader("m"), bad, testNamespace); err == nil {
				t.Errorf("%s: byte %d changed: accepted", f.key.Type, i)
			}
		}
		for _, flags := range []byte{0, 4} {
			f.flags = flags
			if _, err := signers.Verify(strings.NewReader("m"), f.armor(t, "m"), want("ann")); !isOnly(err, ErrSignature) {
				t.Errorf("%s, flags %d: %v", f.key.Type, flags, err)
			}
		}
		f.flags = 5
		if _, err := sign(f.key, testNamespace, strings.NewReader("m"), f.sign); err != nil {
			t.Errorf("%s: %v", f.key.Type, err)
		}
		if b := newBench(t); !b.accepts("ann "+f.key.Line+"\n", armor, "m", "ann") {
			t.Errorf("%s: ssh-keygen refuses it", f.key.Type)
		}
	}
}
