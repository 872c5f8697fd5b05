package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"intact/scanner/strict"
)

// issue makes key name with a certificate of ca.
func (b *bench) issue(name, ca, id string, serial uint64) {
	b.t.Helper()
	b.key(name, "ed25519")
	b.run("ssh-keygen", "-q", "-s", ca, "-I", id, "-n", "ann", "-z", fmt.Sprint(serial), name+".pub")
}

// ssh-keygen writes lists of every kind, and we and it come to the same
// verdict about certificates and keys.
func TestRevokedByTheirLists(t *testing.T) {
	b := newBench(t)
	b.key("ca", "ed25519")
	b.key("ca2", "ecdsa")
	b.key("plain", "ecdsa")
	b.key("rsa", "rsa")
	for i, serial := range []uint64{0, 1, 5, 7, 64, 500, 1 << 40} {
		b.issue(fmt.Sprintf("c%d", i), "ca", fmt.Sprintf("id %d", serial), serial)
	}
	b.issue("d", "ca2", "id 5", 5)
	names := []string{"plain", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "d"}
	sigs := map[string][]byte{"plain": b.sign("plain", "m")}
	for _, n := range names[1:] {
		sigs[n] = b.sign(n, "m")
	}
	signers := "ann " + b.line("plain") + "\nann cert-authority " + b.line("ca") + "\nann cert-authority " + b.line("ca2") + "\n"
	var scattered strings.Builder
	for n := uint64(1); n < 700; n += 3 { // a bitmap
		fmt.Fprintf(&scattered, "serial: %d\n", n)
	}
	for _, tt := range []struct {
		spec    string
		args    []string
		revoked string // of names
	}{
		{"", nil, ""},
		{"serial: 5\n", []string{"-s", "ca.pub"}, "c2"},
		{"serial: 5\nserial: 1099511627776\n", []string{"-s", "ca.pub"}, "c2 c6"},
		{"serial: 5-64\n", []string{"-s", "ca.pub"}, "c2 c3 c4"},
		{"serial: 6-18446744073709551615\n", []string{"-s", "ca.pub"}, "c3 c4 c5 c6"},
		{scattered.String(), []string{"-s", "ca.pub"}, "c1 c3 c4"}, // 5, 500 are not in it
		{"serial: 5\n", []string{"-s", "ca2.pub"}, "d"},
		{"id: id 5\n", []string{"-s", "ca.pub"}, "c2"},
		{"id: id 5\nid: id 0\n", []string{"-s", "ca.pub"}, "c0 c2"},
		{"key: " + b.line("plain") + "\n", nil, "plain"},
		{"key: " + b.line("c3") + "\nkey: " + b.line("rsa") + "\n", nil, "c3"},
		{"sha256: " + b.line("c4") + "\n", nil, "c4"},
		{"sha1: " + b.line("c5") + "\n", nil, "c5"},
		{"hash: " + strings.Fields(b.run("ssh-keygen", "-l", "-f", "plain.pub"))[1] + "\n", nil, "plain"},
		{"key: " + b.line("ca") + "\n", nil, "c0 c1 c2 c3 c4 c5 c6"},
		{"sha256: " + b.line("ca2") + "\n", nil, "d"},
	} {
		spec := b.write("spec", tt.spec)
		b.run("ssh-keygen", append(append([]string{"-q", "-k", "-f", "krl", "-z", "9"}, tt.args...), spec)...)
		list, err := ParseRevoked("krl", b.read("krl"))
		if err != nil {
			t.Fatalf("%.40q: %v", tt.spec, err)
		}
		b.compare(tt.spec, signers, list, "krl", names, sigs, tt.revoked)
	}
	// A certificate in the spec is revoked by its serial number.
	b.run("ssh-keygen", "-q", "-k", "-f", "krl", "-s", "ca.pub", "c1-cert.pub")
	list, err := ParseRevoked("krl", b.read("krl"))
	if err != nil {
		t.Fatal(err)
	}
	b.compare("certificate", signers, list, "krl", names, sigs, "c1")
	// A text of keys does it as well; the key of a certificate counts.
	text := "# gone\n\n" + b.line("plain") + " comment\n" + strings.TrimSpace(string(b.read("c2-cert.pub"))) + "\n" + b.line("rsa") + "\n  " + b.line("ca2") + "\n"
	b.write("list", text)
	if list, err = ParseRevoked("list", []byte(text)); err != nil {
		t.Fatal(err)
	}
	b.compare("text", signers, list, "list", names, sigs, "plain c2 d")
}

// compare asks both, for all times.
func (b *bench) compare(what, text string, list *Revoked, file string, names []string, sigs map[string][]byte, revoked string) {
	b.t.Helper()
	signers := mustSigners(b.t, text)
	signers.Revoke(nil)
	signers.Revoke(list)
	for _, n := range names {
		wanted := strings.Contains(" "+revoked+" ", " "+n+" ")
		for _, when := range []time.Time{{}, time.Unix(1e9, 0)} {
			_, err := signers.Verify(strings.NewReader("m"), sigs[n], Want{Namespace: testNamespace, Principal: "ann", At: when})
			if wanted != isOnly(err, ErrRevoked) || !wanted && err != nil {
				b.t.Errorf("%.40q: %s: %v, want it revoked: %v", what, n, err, wanted)
			}
		}
		if theirs := b.accepts(text, sigs[n], "m", "ann", "-r", file); theirs == wanted {
			b.t.Errorf("%.40q: %s: ssh-keygen accepts it: %v", what, n, theirs)
		}
	}
}

// field is a string of RFC 4251.
func field(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

func u64(n ...uint64) (out []byte) {
	for _, n := range n {
		out = binary.BigEndian.AppendUint64(out, n)
	}
	return out
}

func section(kind byte, body ...[]byte) []byte {
	return append([]byte{kind}, field(bytes.Join(body, nil))...)
}

func krl(sections ...[]byte) []byte {
	head := bytes.Join([][]byte{[]byte(krlMagic), {0, 0, 0, 1}, u64(1, 2, 0), field(nil), field([]byte("comment"))}, nil)
	return append(head, bytes.Join(sections, nil)...)
}

// certs is a section for all authorities.
func certs(sub ...[]byte) []byte {
	return section(krlCertificates, append([][]byte{field(nil), field(nil)}, sub...)...)
}

func TestKRL(t *testing.T) {
	ca, s := newSigner(t, false), newSigner(t, true)
	key := certified(t, s, ca, nil).key // serial 7, id "id"
	for _, tt := range []struct {
		name    string
		data    []byte
		revoked bool
		err     bool
	}{
		{"empty", krl(), false, false},
		{"all authorities, serial", krl(certs(section(krlSerialList, u64(3, 7)))), true, false},
		{"all authorities, another serial", krl(certs(section(krlSerialList, u64(3, 8)))), false, false},
		{"all authorities, id", krl(certs(section(krlKeyID, field([]byte("id"))))), true, false},
		{"another id", krl(certs(section(krlKeyID, field([]byte("id2"))))), false, false},
		{"ranges", krl(certs(section(krlSerialRange, u64(9, 12)), section(krlSerialRange, u64(1, 20)), section(krlSerialRange, u64(2, 3)))), true, false},
		{"ranges around it", krl(certs(section(krlSerialRange, u64(8, math.MaxUint64)), section(krlSerialRange, u64(1, 6)))), false, false},
		{"bitmap", krl(certs(section(krlSerialBitmap, u64(2), field([]byte{0x20})))), true, false},
		{"bitmap beside it", krl(certs(section(krlSerialBitmap, u64(2), field([]byte{0x5f})))), false, false},
		{"bitmap of two bytes", krl(certs(section(krlSerialBitmap, u64(0), field([]byte{1, 0x80})))), true, false},
		{"bitmap too short", krl(certs(section(krlSerialBitmap, u64(0), field([]byte{0x7e})))), false, false},
		{"bitmap of nothing", krl(certs(section(krlSerialBitmap, u64(0), field(nil)))), false, false},
		{"bitmap behind it", krl(certs(section(krlSerialBitmap, u64(8), field([]byte{0x7f})))), false, false},
		{"two sections", krl(certs(section(krlSerialList, u64(1))), certs(section(krlSerialList, u64(7)))), true, false},
		{"authority", krl(section(krlCertificates, field(ca.key.blob), field(nil), section(krlSerialList, u64(7)))), true, false},
		{"other authority", krl(section(krlCertificates, field(s.key.blob), field(nil), section(krlSerialList, u64(7)))), false, false},
		{"explicit key of the authority", krl(section(krlKeys, field(s.key.blob[:30]), field(ca.key.blob))), true, false},
		{"extension", krl(section(krlExtension, field([]byte("x")), []byte{0}, field(nil)), section(krlKeys, field(s.key.blob))), true, false},
		{"critical extension", krl(section(krlExtension, field([]byte("x")), []byte{1}, field(nil))), false, true},
		{"extension of certificates", krl(certs(section(krlCertExtension, field([]byte("x")), []byte{0}, field(nil)), section(krlSerialList, u64(7)))), true, false},
		{"critical extension of certificates", krl(certs(section(krlCertExtension, field([]byte("x")), []byte{1}, field(nil)))), false, true},
		{"signature", krl(section(krlKeys, field(s.key.blob)), append(append([]byte{krlSignature}, field([]byte("k"))...), field([]byte("s"))...)), true, false},
		{"behind a signature", krl(append(append([]byte{krlSignature}, field(nil)...), field(nil)...), section(krlKeys)), false, true},
		{"version", append([]byte(krlMagic), 0, 0, 0, 2), false, true},
		{"magic only", []byte(krlMagic), false, true},
		{"unknown section", krl(section(6)), false, true},
		{"unknown section of certificates", krl(certs(section(0x24))), false, true},
		{"serial 0", krl(certs(section(krlSerialList, u64(0)))), false, true},
		{"range from 0", krl(certs(section(krlSerialRange, u64(0, 9)))), false, true},
		{"range backwards", krl(certs(section(krlSerialRange, u64(9, 8)))), false, true},
		{"half a range", krl(certs(section(krlSerialRange, u64(9)))), false, true},
		{"bitmap with 0", krl(certs(section(krlSerialBitmap, u64(0), field([]byte{1})))), false, true},
		{"bitmap wraps", krl(certs(section(krlSerialBitmap, u64(math.MaxUint64-6), field([]byte{0x7f})))), false, true},
		{"bitmap below 0", krl(certs(section(krlSerialBitmap, u64(1), field([]byte{0x80})))), false, true},
		{"long bitmap", krl(certs(section(krlSerialBitmap, u64(1), field(make([]byte, maxBitmap+1))))), false, true},
		{"short fingerprint", krl(section(krlSHA256, field(make([]byte, 20)))), false, true},
		{"long fingerprint", krl(section(krlSHA1, field(make([]byte, 32)))), false, true},
		{"certificate as explicit key", krl(section(krlKeys, field(key.blob))), false, true},
		{"certificate as authority", krl(section(krlCertificates, field(key.blob), field(nil))), false, true},
		{"empty explicit key", krl(section(krlKeys, field(nil))), false, true},
		{"claims 4 GiB", append(krl(), krlKeys, 0xff, 0xff, 0xff, 0xff), false, true},
		{"claims too much", append(krl(), krlKeys, 0, 0, 0, 9), false, true},
		{"half a length", append(krl(), krlKeys, 0), false, true},
		{"too long", append(krl(), make([]byte, MaxRevoked)...), false, true},
	} {
		r, err := ParseRevoked("krl", tt.data)
		if tt.err || err != nil {
			if !tt.err || !isOnly(err, ErrRevocations) || r != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err := r.Check(key); (err != nil) != tt.revoked || err != nil && !isOnly(err, ErrRevoked) {
			t.Errorf("%s: %v", tt.name, err)
		}
		for n := range tt.data { // whatever is cut off is missed, or ends where a section ends
			if cut, err := ParseRevoked("krl", tt.data[:n]); err == nil && tt.revoked && n > 0 && cut.Check(key) != nil && !strings.Contains(tt.name, "two") && !strings.Contains(tt.name, "signature") {
				t.Errorf("%s: cut at %d still revokes", tt.name, n)
			}
		}
	}
}

// Serial number 0 means that a certificate has none.
func TestSerialZeroIsNone(t *testing.T) {
	k := certified(t, newSigner(t, false), newSigner(t, false), func(c *ssh.Certificate) { c.Serial = 0 }).key
	r, err := ParseRevoked("krl", krl(certs(section(krlSerialRange, u64(1, math.MaxUint64)))))
	if err != nil || r.Check(k) != nil {
		t.Error(err, r.Check(k))
	}
}

func TestRevokedText(t *testing.T) {
	good := newSigner(t, false).key
	for text, want := range map[string]string{
		"":                             "",
		good.Line:                      "",
		"# x\r\n" + good.Line + "\r\n": "",
		"ssh-rsa AAAA\n\nhello\n":      "r:1:9: ",
		"SSHKRL\n":                     "r:1:1: ",
		"ann " + good.Line + "\n":      "r:1:1: ",
		"\x1b[2J\n":                    `r:1:1: "\x1b[2J"`,
		good.Line[:40] + "\n":          "r:1:13: ",
	} {
		r, err := ParseRevoked("r", []byte(text))
		if want == "" {
			if err != nil || (text != "") != (r.Check(good) != nil) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		var es strict.Errors
		if !errors.As(err, &es) || !strings.HasPrefix(err.Error(), want) || r != nil {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
