package pkgdb_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"testing"

	"intact/rules/pkgdb"
	"intact/scanner/digest"
)

// remembered returns what is remembered of the signed package of small.sqlite,
// with that as its configuration file.
func remembered(t testing.TB, trust pkgdb.Trust, content string) (p pkgdb.Package, former []byte) {
	t.Helper()
	r := image(t, "/var/lib/rpm", "rpmdb.sqlite", data(t, "small.sqlite"))
	if err := os.MkdirAll(r.dir+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.dir+"/etc/sample.conf", []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	err := trust.Formers(ctx, r, all, func(x pkgdb.Package, b []byte) error { p, former = x, b; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return p, former
}

// What is remembered is the header and what is as it says, and nothing that was
// edited since is believed.
func TestFormer(t *testing.T) {
	trust := keys(t, "rsa.asc")
	const conf = "conf\n"
	p, former := remembered(t, trust, conf)
	if former == nil {
		t.Fatal("nothing is remembered")
	}
	x, contents, err := trust.Former(former, p.Stanza)
	if err != nil || x.Package != p || x.Level != pkgdb.Signed || len(contents) != 1 || contents[sha256.Sum256([]byte(conf))] != digest.Sum([]byte(conf)) {
		t.Fatalf("%+v, %v, %v", x, contents, err)
	}
	if x, _, err := (pkgdb.Trust{At: trust.At}).Former(former, p.Stanza); err != nil || x.Level != pkgdb.Local {
		t.Errorf("without a key: %v, %v", x.Level, err)
	}
	if _, b := remembered(t, trust, "edited"); b != nil {
		t.Errorf("an edited file is remembered: %d bytes", len(b))
	}
	if _, b := remembered(t, keys(t, "brief.asc"), conf); b != nil {
		t.Errorf("remembered without a signature: %d bytes", len(b))
	}
	header := 4 + int(binary.BigEndian.Uint32(former))
	for i := range former {
		b := bytes.Clone(former)
		b[i] ^= 1
		x, contents, err := trust.Former(b, p.Stanza)
		if err == nil && (x.Package != p || i < header || contents[sha256.Sum256([]byte(conf))] != (digest.Digest{})) {
			t.Fatalf("byte %d: %+v, %v", i, x, contents)
		}
	}
	for n := range former {
		if _, _, err := trust.Former(former[:n], p.Stanza); (err == nil) != (n == header) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
	if _, _, err := trust.Former(former, digest.Sum(nil)); err == nil {
		t.Error("another package's")
	}
	if _, _, err := trust.Former(make([]byte, pkgdb.MaxFormer+1), p.Stanza); err == nil {
		t.Error("too much")
	}
}

func FuzzFormer(f *testing.F) {
	trust := keys(f, "rsa.asc")
	p, former := remembered(f, trust, "conf\n")
	f.Add(former)
	f.Fuzz(func(t *testing.T, b []byte) {
		x, contents, err := trust.Former(b, p.Stanza)
		if err == nil && (x.Package != p || len(contents) > len(b)/4) {
			t.Fatalf("%+v, %d contents", x, len(contents))
		}
	})
}
