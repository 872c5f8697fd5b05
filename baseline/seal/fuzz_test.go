package seal

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"intact/scanner/strict"
)

// What parses has one spelling, and nobody's signature becomes another's.
func FuzzArmor(f *testing.F) {
	ca := newSigner(f, false)
	for _, s := range []*fileSigner{newSigner(f, false), newSigner(f, true), certified(f, newSigner(f, false), ca, nil)} {
		armor := mustSign(f, s, "m")
		blob, _ := decodeArmor(armor)
		f.Add(armor)
		f.Add(blob)
	}
	f.Add([]byte(ArmorBegin + ArmorEnd))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, armor := range [][]byte{data, encodeArmor(data)} { // as it is, and as the blob
			s, err := parseSignature(armor)
			if err != nil {
				if !errors.Is(err, ErrArmor) && !errors.Is(err, ErrKeyType) && !errors.Is(err, ErrSignature) {
					t.Fatalf("%v", err)
				}
				continue
			}
			again := encodeArmor(ssh.Marshal(wireEnvelope{
				Magic: [6]byte([]byte(sshsigMagic)), Version: 1, PublicKey: s.key.blob, Namespace: s.namespace, Hash: s.hash, Signature: ssh.Marshal(s.sig),
			}))
			if !bytes.Equal(again, armor) {
				t.Fatalf("another spelling:\n%s\n%s", armor, again)
			}
			if _, err := Check(strings.NewReader("another message"), armor, testNamespace); err == nil {
				t.Fatal("accepted")
			}
		}
	})
}

func FuzzSigners(f *testing.F) {
	s, ca := newSigner(f, false), newSigner(f, true)
	cert := certified(f, s, ca, nil)
	armor := mustSign(f, cert, "m")
	f.Add([]byte("ann " + s.key.Line + " c\r\n# c\n\n*,!b cert-authority,namespaces=\"a*,!b\",valid-after=\"20260101Z\",valid-before=\"202701010000\" " + ca.key.Line + "\n"))
	f.Add([]byte(`"a b" namespaces="x\"y" ` + s.key.Line))
	f.Add([]byte("ann ssh-rsa AAAAB3NzaC1yc2E=\nann " + cert.key.Cert.Line))
	f.Add([]byte("ann namespaces=,x=\" ssh-dss A\n,\"\n!"))
	f.Fuzz(func(t *testing.T, data []byte) {
		signers, err := ParseSigners("f", data)
		if err != nil {
			var es strict.Errors
			if !errors.As(err, &es) || len(es) == 0 || len(es) > maxSignerErrors+1 {
				t.Fatalf("%v", err)
			}
			lines := bytes.Split(data, []byte("\n"))
			for _, e := range es {
				if e.Line < 1 || e.Line > len(lines) || e.Col < 1 || e.Col > len(lines[e.Line-1])+1 || strings.ContainsAny(e.Msg, "\x00\x1b\n") {
					t.Fatalf("%+v", e)
				}
			}
			return
		}
		if more := mustSigners(t, string(data)+"\n# x"); len(data) < MaxSigners-4 && len(more.lines) != len(signers.lines) {
			t.Fatal("a comment changes what is before it")
		}
		id, err := signers.Verify(strings.NewReader("m"), armor, want(""))
		if err == nil && (!bytes.Contains(data, []byte(ca.key.Line[20:])) || len(id.Principals) != 1 || id.Principals[0] != "ann") {
			t.Fatalf("%+v", id)
		}
		if err == nil && len(signers.Principals(testNamespace)) == 0 {
			t.Fatal("somebody signs, and nobody may")
		}
	})
}

func FuzzRevoked(f *testing.F) {
	s, ca := newSigner(f, true), newSigner(f, false)
	key := certified(f, s, ca, nil).key
	f.Add([]byte("# x\n" + s.key.Line + "\n" + key.Cert.Line + "\nssh-dss AAAAB3NzaC1kc3M=\n"))
	f.Add(krl(certs(section(krlSerialList, u64(7, 8)), section(krlSerialRange, u64(9, 20)), section(krlSerialBitmap, u64(2), field([]byte{0x20, 1})), section(krlKeyID, field([]byte("id"))))))
	f.Add(krl(section(krlCertificates, field(ca.key.blob), field(nil), section(krlSerialList, u64(7)), section(krlCertExtension, field(nil), []byte{0}, field(nil)))))
	f.Add(krl(section(krlKeys, field(s.key.blob)), section(krlSHA1, field(make([]byte, 20))), section(krlSHA256, field(make([]byte, 32))), section(krlExtension, field(nil), []byte{0}, field(nil)),
		append(append([]byte{krlSignature}, field(nil)...), field(nil)...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRevoked("f", data)
		var es strict.Errors
		switch {
		case err == nil:
			if err := r.Check(key); err != nil && !errors.Is(err, ErrRevoked) {
				t.Fatal(err)
			}
			for _, c := range r.certs {
				for i := 1; i < len(c.serials); i++ {
					if c.serials[i].low <= c.serials[i-1].high {
						t.Fatal("ranges out of order")
					}
				}
				if c.hasSerial(0) {
					t.Fatal("number 0 is revoked")
				}
			}
		case r != nil || !errors.Is(err, ErrRevocations) && !errors.As(err, &es):
			t.Fatalf("%v", err)
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	path := f.TempDir() + "/k"
	key, err := Generate(path, "c")
	if err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	block, _ := pem.Decode(data)
	f.Add(data)
	f.Add(block.Bytes)
	f.Add([]byte(key.Line + " c\n"))
	f.Add([]byte(certified(f, newSigner(f, true), newSigner(f, false), nil).key.Cert.Line + "\n"))
	f.Add(ssh.Marshal(struct{ Type, Key string }{"ssh-ed25519", strings.Repeat("k", 32)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The key derivation takes as long as the file says, so no passphrase.
		for _, file := range [][]byte{data, pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: data})} {
			private, err := decodePrivate(bytes.Clone(file), "f", nil)
			if err != nil {
				if !errors.Is(err, ErrKeyFile) && !errors.Is(err, ErrPassphraseNeeded) {
					t.Fatal(err)
				}
				continue
			}
			s, err := newFileSigner(private)
			if err != nil {
				continue
			}
			if _, err := Check(strings.NewReader("m"), mustSign(t, s, "m"), testNamespace); err != nil {
				t.Fatal(err)
			}
		}
		if k, err := ParseKey(string(data)); err == nil {
			again, err := ParseKey(k.Line)
			if err != nil || again.Fingerprint != k.Fingerprint || !strings.Contains(string(data), keyLine("", k.blob)[1:]) {
				t.Fatalf("%+v, %v", again, err)
			}
		} else if !errors.Is(err, ErrKeyFile) {
			t.Fatal(err)
		}
		if k, err := parseKey(data); err == nil && !bytes.Equal(k.blob, data) {
			t.Fatal("another spelling")
		}
	})
}
