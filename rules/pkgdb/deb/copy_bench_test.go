package deb_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"intact/rules/pkgdb/deb"
)

// The first hook after apt update copies an index: Debian's main one has 50 MB.
func BenchmarkCopyIndex(b *testing.B) {
	var s strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&s, "Package: package-%d\nVersion: %d.%d-1\nArchitecture: amd64\nMaintainer: Somebody <somebody@example.org>\nDescription: what it does\nDepends: libc6 (>= 2.36), libx%d\nSize: %d\nSHA256: %x\n\n", i, i%7, i%13, i%900, i, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	text := []byte(s.String())
	ix := deb.Index{Name: "main/binary-amd64/Packages", SHA256: sha256.Sum256(text), Size: int64(len(text))}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := deb.CopyIndex(io.Discard, "x", bytes.NewReader(text), ix); err != nil {
			b.Fatal(err)
		}
	}
}
