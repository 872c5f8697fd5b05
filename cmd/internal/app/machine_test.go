package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/digest"
)

func TestKnown128(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	none := digest.Digest{}
	id := known128("machine-id", put("id", "00112233445566778899aabbccddeeff\n"))
	if id == none || id != known128("machine-id", put("upper", "00112233-4455-6677-8899-AABBCCDDEEFF\n")) {
		t.Error("two spellings of one machine-id")
	}
	if id == known128("machine-id", put("other", "33221100554477668899aabbccddeeff\n")) {
		t.Error("a machine-id has one byte order")
	}
	// SMBIOS before 2.6 has the first three fields the other way round.
	one := known128(kindProduct, put("product", "00112233-4455-6677-8899-aabbccddeeff\n"))
	two := known128(kindProduct, put("swapped", "33221100-5544-7766-8899-aabbccddeeff\n"))
	if one == none || one != two || one == known128(kindProduct, put("another", "00112233-4455-6677-8899-aabbccddeefe\n")) {
		t.Error("product UUID")
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan digest.Digest)
	for _, name := range []string{fifo, "/dev/zero", dir, put("long", string(make([]byte, 65))), put("empty", "")} {
		go func() { done <- known128("machine-id", name) }()
		select {
		case got := <-done:
			if got != none {
				t.Errorf("%s: %v", name, got)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: hangs", name)
		}
	}
}
