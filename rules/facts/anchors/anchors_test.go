package anchors

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
	"intact/scanner/dirfd"
)

// authority makes a certificate that signs itself.
func authority(t testing.TB, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestCollect(t *testing.T) {
	one, two, three, four := authority(t, "one"), authority(t, "two\x1b[31m"), authority(t, "three"), authority(t, "four")
	a := Collect(context.Background(), facttest.Image(t, map[string]string{
		"etc/ca-certificates.conf":                  "# c\nmozilla/one.crt\n!mozilla/two.crt\n",
		"usr/share/ca-certificates/mozilla/one.crt": block("CERTIFICATE", one),
		"usr/share/ca-certificates/mozilla/two.crt": block("CERTIFICATE", two),
		"usr/local/share/ca-certificates/three.crt": "text\n" + block("CERTIFICATE", three) + "-----BEGIN CERTIFICATE-----\nbroken\n" + block("TRUSTED CERTIFICATE", append(slices.Clone(four), 0x30, 0)),
		"etc/pki/ca-trust/source/anchors/four.der":  string(four),
		"etc/ssl/certs/one.pem":                     facttest.Link("/usr/share/ca-certificates/mozilla/one.crt"),
		"etc/ssl/certs/0123abcd.0":                  facttest.Link("one.pem"),
		"etc/ssl/certs/gone.pem":                    facttest.Link("/no/where"),
		"etc/ssl/certs/ca-certificates.crt":         block("CERTIFICATE", one) + block("CERTIFICATE", three) + block("PRIVATE KEY", []byte("x")) + block("CERTIFICATE", []byte("none")),
		"etc/ssl/certs/java":                        "binary",
	}))
	var got []string
	for _, r := range a.Rows {
		got = append(got, fmt.Sprintf("%s %d t%t l%t s%t w%t m%t", r.Subject, len(r.Files), r.Trusted, r.Local, r.Shipped, r.Selected, r.Malformed))
	}
	slices.Sort(got)
	want := []string{" 1 ttrue lfalse sfalse wfalse mtrue", "CN=four 2 tfalse ltrue sfalse wfalse mfalse", "CN=one 4 ttrue lfalse strue wtrue mfalse", "CN=three 2 ttrue ltrue sfalse wfalse mfalse", "CN=two\x1b[31m 1 tfalse lfalse strue wfalse mfalse"}
	if !slices.Equal(got, want) || a.Status != rules.OK {
		t.Errorf("%s %s\n got %q\nwant %q", a.Status, a.Reason, got, want)
	}
	facttest.Keys(t, a.Rows)
	facttest.Tags(t, Anchor{})
}

func TestHostile(t *testing.T) {
	big := block("CERTIFICATE", authority(t, "x"))
	for name, c := range map[string]struct {
		files  map[string]string
		status rules.Status
	}{
		"none":   {nil, rules.Absent},
		"fifo":   {map[string]string{"etc/ssl/certs/a": facttest.Fifo, "etc/ssl/certs/b": big}, rules.OK}, // is no file, and nobody reads it
		"huge":   {map[string]string{"etc/ssl/certs/a": strings.Repeat("x", maxFile+1)}, rules.Failed},
		"begins": {map[string]string{"etc/ssl/certs/a": strings.Repeat("-----BEGIN CERTIFICATE-----\n", maxFile/28)}, rules.OK},
		"circle": {map[string]string{"etc/ssl/certs/a": facttest.Link("."), "etc/ssl/certs/b": facttest.Link("b")}, rules.Failed},
		"total":  {map[string]string{"etc/ssl/certs/a": facttest.Link("/x"), "x": strings.Repeat("x", maxFile)}, rules.OK},
	} {
		// What takes a minute ends as a time-out, which nothing here expects.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if a := Collect(ctx, facttest.Image(t, c.files)); a.Status != c.status {
			t.Errorf("%s: %s %s", name, a.Status, a.Reason)
		}
		cancel()
	}
}

// TestThisHost holds the store of this host against openssl, and the clock.
func TestThisHost(t *testing.T) {
	r, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a := Collect(context.Background(), facts.Host{Root: r, Live: true})
	if a.Status == rules.Absent {
		t.Skip("SKIPPED: this host has no store of certificates")
	}
	if a.Status != rules.OK || len(a.Rows) == 0 {
		t.Fatalf("%s %s, %d rows", a.Status, a.Reason, len(a.Rows))
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("SKIPPED: there is no openssl to hold fingerprints against")
	}
	for _, c := range a.Rows[:min(5, len(a.Rows))] {
		for _, f := range c.Files {
			if strings.HasSuffix(f, "ca-certificates.crt") || strings.HasSuffix(f, "bundle.crt") || strings.HasSuffix(f, "bundle.pem") {
				continue
			}
			out, err := exec.Command("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", f).Output()
			_, sum, _ := bytes.Cut(bytes.TrimSpace(out), []byte("="))
			if got := strings.ToLower(strings.ReplaceAll(string(sum), ":", "")); err != nil || got != c.Fingerprint {
				t.Errorf("%s: %s, openssl: %s %v", f, c.Fingerprint, got, err)
			}
		}
	}
}

func FuzzCertificates(f *testing.F) {
	f.Add([]byte(block("CERTIFICATE", authority(f, "x"))))
	f.Add([]byte(block("TRUSTED CERTIFICATE", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})))
	f.Add([]byte{0x30, 0x03, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, der := range certificates(b) {
			if len(der) > len(b) {
				t.Errorf("%d bytes of %d", len(der), len(b))
			}
			x509.ParseCertificate(der)
		}
	})
}

func BenchmarkCollect(b *testing.B) {
	r, err := dirfd.Open("/")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for b.Loop() {
		Collect(context.Background(), facts.Host{Root: r, Live: true})
	}
}
