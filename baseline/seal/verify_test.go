package seal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Each check of Verify, with a signature that this check alone refuses.
func TestVerifyRefuses(t *testing.T) {
	s, ca, other := newSigner(t, false), newSigner(t, true), newSigner(t, false)
	at := time.Date(2026, 3, 4, 5, 6, 7, 999, time.UTC)
	sec := uint64(at.Unix())
	plain := func(options string) string { return "ann " + options + " " + s.key.Line + "\n" }
	byCA := func(options string) string { return "ann,bob cert-authority" + options + " " + ca.key.Line + "\n" }
	cert := func(change func(*ssh.Certificate)) *fileSigner { return certified(t, s, ca, change) }
	tests := []struct {
		name    string
		signers string
		by      *fileSigner
		who     string
		err     error
	}{
		{"plain key", plain(""), s, "ann", nil},
		{"plain key, no principal wanted", plain(""), s, "", nil},
		{"no lines", "", s, "ann", ErrSigner},
		{"another key", plain(""), other, "ann", ErrSigner},
		{"another principal", plain(""), s, "bob", ErrPrincipal},
		{"another principal is longer", plain(""), s, "anna", ErrPrincipal},
		{"another case", plain(""), s, "Ann", ErrPrincipal},
		{"excluded", "*,!ann " + s.key.Line + "\n", s, "ann", ErrPrincipal},
		{"not excluded", "*,!ann " + s.key.Line + "\n", s, "bob", nil},
		{"only excluded", "!bob " + s.key.Line + "\n", s, "", ErrPrincipal},
		{"namespace", plain(`namespaces="file,intact-baseline@v1"`), s, "ann", ErrScope},
		{"namespace pattern", plain(`namespaces="intact-*"`), s, "ann", nil},
		{"namespace excluded", plain(`namespaces="intact-*,!intact-report@v1"`), s, "ann", ErrScope},
		{"no namespace", plain(`namespaces="!x"`), s, "ann", ErrScope},
		{"second before", plain(`valid-after="20260304050608Z"`), s, "ann", ErrNotYet},
		{"first second", plain(`valid-after="20260304050607Z"`), s, "ann", nil},
		{"last second", plain(`valid-before="20260304050607Z"`), s, "ann", nil},
		{"second after", plain(`valid-before="20260304050606Z"`), s, "ann", ErrExpired},
		{"second line", "ann " + other.key.Line + "\n" + plain(""), s, "ann", nil},
		{"line for another principal first", strings.Replace(plain(""), "ann", "bob", 1) + plain(""), s, "ann", nil},
		{"an authority does not sign", "ann cert-authority " + s.key.Line + "\n", s, "ann", ErrSigner},

		{"certificate", byCA(""), cert(nil), "ann", nil},
		{"certificate, no principal wanted", byCA(""), cert(nil), "", nil},
		{"no authority", "ann " + ca.key.Line + "\n", cert(nil), "ann", ErrSigner},
		{"key of the certificate is listed", plain(""), cert(nil), "ann", ErrSigner},
		{"another authority", "ann cert-authority " + other.key.Line + "\n", cert(nil), "ann", ErrSigner},
		{"certificate of a host", byCA(""), cert(func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), "ann", ErrCertificate},
		{"certificate of type 3", byCA(""), cert(func(c *ssh.Certificate) { c.CertType = 3 }), "ann", ErrCertificate},
		{"principal not in the certificate", byCA(""), cert(nil), "bob", ErrPrincipal},
		{"principal not on the line", byCA(""), cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"eve"} }), "eve", ErrPrincipal},
		{"nobody of the certificate on the line", byCA(""), cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"eve"} }), "", ErrPrincipal},
		{"certificate names nobody", byCA(""), cert(func(c *ssh.Certificate) { c.ValidPrincipals = nil }), "ann", ErrPrincipal},
		{"certificate names nobody, none wanted", byCA(""), cert(func(c *ssh.Certificate) { c.ValidPrincipals = nil }), "", ErrPrincipal},
		{"pattern in the certificate", byCA(""), cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"*"} }), "ann", ErrPrincipal},
		{"critical option", byCA(""), cert(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "x"} }), "ann", ErrCertificate},
		{"extension", byCA(""), cert(func(c *ssh.Certificate) { c.Extensions = map[string]string{"x@y": "z", "permit-pty": ""} }), "ann", nil},
		{"certificate, namespace", byCA(`,namespaces="file"`), cert(nil), "ann", ErrScope},
		{"certificate, line too early", byCA(`,valid-after="20260304050608Z"`), cert(nil), "ann", ErrNotYet},
		{"certificate, line too late", byCA(`,valid-before="20260304050606Z"`), cert(nil), "ann", ErrExpired},
		{"certificate too early", byCA(""), cert(func(c *ssh.Certificate) { c.ValidAfter = sec + 1 }), "ann", ErrNotYet},
		{"certificate's first second", byCA(""), cert(func(c *ssh.Certificate) { c.ValidAfter = sec }), "ann", nil},
		{"certificate's last second", byCA(""), cert(func(c *ssh.Certificate) { c.ValidBefore = sec + 1 }), "ann", nil},
		{"certificate too late", byCA(""), cert(func(c *ssh.Certificate) { c.ValidBefore = sec }), "ann", ErrExpired},
		{"certificate from the far future", byCA(""), cert(func(c *ssh.Certificate) { c.ValidAfter = 1 << 63 }), "ann", ErrNotYet},
	}
	for _, tt := range tests {
		signers := mustSigners(t, tt.signers)
		_, err := signers.Verify(strings.NewReader("m"), mustSign(t, tt.by, "m"), Want{Namespace: testNamespace, Principal: tt.who, At: at})
		if tt.err == nil && err != nil || tt.err != nil && !isOnly(err, tt.err) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.err)
		}
		if strings.Contains(tt.name, "names nobody") && !strings.Contains(err.Error(), "names nobody") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if strings.ContainsAny(fmt.Sprint(err), "\n\x1b") {
			t.Errorf("%s: %q", tt.name, err)
		}
	}
}

// A certificate that its authority did not sign is refused before anybody asks
// who the authority is.
func TestForgedCertificate(t *testing.T) {
	s, ca, other := newSigner(t, false), newSigner(t, false), newSigner(t, false)
	good := certified(t, s, ca, nil)
	c, err := ssh.ParsePublicKey(good.key.blob)
	if err != nil {
		t.Fatal(err)
	}
	forged := c.(*ssh.Certificate)
	forged.ValidPrincipals = []string{"ann", "root"}
	good.key.blob = forged.Marshal()
	if _, err := Check(strings.NewReader("m"), mustSign(t, good, "m"), testNamespace); !isOnly(err, ErrSignature) {
		t.Errorf("edited: %v", err)
	}
	forged = certifiedRaw(t, s, other)
	forged.SignatureKey = ca.key.public
	good.key.blob = forged.Marshal()
	if _, err := Check(strings.NewReader("m"), mustSign(t, good, "m"), testNamespace); !isOnly(err, ErrSignature) {
		t.Errorf("signed by another: %v", err)
	}
	// The certificate of one key does not serve a signature by another.
	good = certified(t, s, ca, nil)
	_, err = Check(strings.NewReader("m"), mustSign(t, good, "m"), testNamespace)
	if err != nil {
		t.Fatal(err)
	}
	stolen := certified(t, s, ca, nil)
	if _, err = (&fileSigner{key: stolen.key, signer: other.signer}).Sign(testNamespace, strings.NewReader("m")); !isOnly(err, ErrSignature) {
		t.Errorf("certificate of another key: %v", err)
	}
}

func certifiedRaw(t *testing.T, s, ca *fileSigner) *ssh.Certificate {
	t.Helper()
	c, err := ssh.ParsePublicKey(certified(t, s, ca, nil).key.blob)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*ssh.Certificate)
}

func TestIdentity(t *testing.T) {
	s, ca := newSigner(t, false), newSigner(t, false)
	signers := mustSigners(t, "# who\n\nann,*@example.org,!eve@example.org "+s.key.Line+" comment\nb*,!bob cert-authority "+ca.key.Line+"\n")
	c := certified(t, s, ca, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"bob", "bea", "ann", "ben"} })
	for _, tt := range []struct {
		by    *fileSigner
		who   string
		names []string
		line  int
	}{
		{s, "", []string{"ann", "*@example.org", "!eve@example.org"}, 3},
		{s, "x@example.org", []string{"x@example.org"}, 3},
		{c, "", []string{"bea", "ben"}, 4},
		{c, "ben", []string{"ben"}, 4},
	} {
		id, err := signers.Verify(strings.NewReader("m"), mustSign(t, tt.by, "m"), want(tt.who))
		if err != nil || !slices.Equal(id.Principals, tt.names) || id.Line != tt.line || id.Key.Line != s.key.Line || (id.Key.Cert != nil) != (tt.by == c) {
			t.Errorf("%q: %+v, %v", tt.who, id, err)
		}
	}
	if p := c.key.Plain(); p.Cert != nil || p.Line != s.key.Line || string(p.blob) != string(s.key.blob) {
		t.Errorf("%+v", p)
	}
}

func TestPrincipals(t *testing.T) {
	a, b := newSigner(t, false).key.Line, newSigner(t, true).key.Line
	signers := mustSigners(t, `ann,*@ops `+a+`
bob,ann namespaces="intact-accept@v1" `+b+`
!eve `+a+`
carl cert-authority,namespaces="intact-*,!intact-report@v1",valid-before="20000101" `+b+"\n")
	for ns, want := range map[string]string{
		"intact-accept@v1": "ann *@ops bob carl", "intact-report@v1": "ann *@ops", "file": "ann *@ops", "intact-baseline@v1": "ann *@ops carl",
	} {
		if got := strings.Join(signers.Principals(ns), " "); got != want {
			t.Errorf("%s: %s, want %s", ns, got, want)
		}
	}
	if got := mustSigners(t, `bob namespaces="x" `+b).Principals("y"); got != nil {
		t.Errorf("%q", got)
	}
}

// ssh-keygen and we come to the same verdict, whatever the certificate, line
// and time.
func TestAgreementOnTrust(t *testing.T) {
	b := newBench(t)
	for _, k := range []string{"ann", "ca", "other"} {
		b.key(k, "ed25519")
	}
	b.key("ec", "ecdsa")
	certs := map[string][]string{
		"good":     {"-n", "ann,bob", "-z", "7", "-V", "20260101Z:20270101Z"},
		"forever":  {"-n", "ann"},
		"nobody":   {},
		"host":     {"-h", "-n", "ann"},
		"ecdsa-ca": {"-n", "ann", "-s2"},
		"ext":      {"-n", "ann", "-O", "extension:a@b=", "-O", "extension:c@d=e", "-O", "clear"},
	}
	sigs := map[string][]byte{"plain": b.theirs("ann", "m")}
	for name, args := range certs {
		ca := "ca"
		if name == "ecdsa-ca" {
			ca, args = "ec", args[:2]
		}
		b.run("cp", "ann", name)
		b.run("cp", "ann.pub", name+".pub")
		b.run("ssh-keygen", append(append([]string{"-q", "-s", ca, "-I", "id of " + name}, args...), name+".pub")...)
		sigs[name] = b.theirs(name+"-cert.pub", "m")
		ours := b.sign(name, "m")
		if string(ours) != string(sigs[name]) { // ed25519 is deterministic
			t.Errorf("%s: we sign otherwise than ssh-keygen", name)
		}
	}
	lines := map[string]string{
		"plain": "ann " + b.line("ann"), "tab": "ann\t" + b.line("ann"), "ca": "ann cert-authority " + b.line("ca"), "ec": "a* cert-authority " + b.line("ec"),
		"case": "ann Cert-Authority,NameSpaces=\"intact-*\" " + b.line("ca"), "quoted": `"ann,b b" ` + b.line("ann"), "crlf": "ann " + strings.TrimSpace(b.line("ann")) + "\r",
		"scope": `ann cert-authority,namespaces="file" ` + b.line("ca"), "after": `ann cert-authority,valid-after="20260601Z" ` + b.line("ca"),
		"before": `ann valid-before="20260601Z" ` + b.line("ann"), "window": `ann valid-after="202605312359Z",valid-before="20260601000001Z" ` + b.line("ann"),
		"not": "*,!ann " + b.line("ann"), "other": "ann cert-authority " + b.line("other"), "ca unmarked": "ann " + b.line("ca"), "?": "a?? " + b.line("ann"),
		"local": `ann valid-after="20260601" ` + b.line("ann"),
	}
	times := []time.Time{
		time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 6, 1, 0, 0, 1, 0, time.UTC), time.Date(2026, 6, 1, 0, 0, 2, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	accepted, total := 0, 0
	for lineName, line := range lines {
		signers := mustSigners(t, line+"\n")
		for sigName, armor := range sigs {
			for i, when := range times {
				if i != 2 && sigName != "good" && !strings.Contains(line, "valid-") {
					continue // time does not matter
				}
				_, err := signers.Verify(strings.NewReader("m"), armor, Want{Namespace: testNamespace, Principal: "ann", At: when})
				theirs := b.accepts(line+"\n", armor, "m", "ann", at(when))
				if total++; theirs {
					accepted++
				}
				if (err == nil) != theirs {
					t.Errorf("line %s, signature %s, at %v: ssh-keygen accepts: %v, we: %v", lineName, sigName, when, theirs, err)
				}
			}
		}
	}
	if accepted < 30 || accepted > total/2 {
		t.Errorf("%d of %d accepted: the cases say little", accepted, total)
	}
}

// A critical option means nothing to a signature. ssh-keygen passes over it.
func TestCriticalOptionOfTheirs(t *testing.T) {
	b := newBench(t)
	b.key("ann", "ed25519")
	b.key("ca", "ed25519")
	b.run("ssh-keygen", "-q", "-s", "ca", "-I", "i", "-n", "ann", "-O", "force-command=x", "ann.pub")
	_, err := mustSigners(t, "ann cert-authority "+b.line("ca")).Verify(strings.NewReader("m"), b.theirs("ann-cert.pub", "m"), want("ann"))
	if !isOnly(err, ErrCertificate) || !errors.Is(err, ErrCertificate) {
		t.Error(err)
	}
}
