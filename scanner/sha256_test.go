package scanner_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"intact/scanner"
	"intact/scanner/entry"
)

// The SHA-256 is of the bytes that the scan digested, whatever their number, or
// there is none.
func TestSHA256(t *testing.T) {
	dir, root := diskDir(t)
	twice := scanner.NewTwice(root, 0)
	name := filepath.Join(dir, "f\n\xff")
	sum := func(seen *entry.Entry) ([sha256.Size]byte, error) {
		return twice.SHA256(context.Background(), entry.Path(name), seen)
	}
	for _, size := range []int{0, 1, 4096, 1 << 20, 1<<20 + 1, 5<<20 + 7} {
		b := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		seen := seenFile(t, name)
		if got, err := sum(seen); err != nil || got != sha256.Sum256(b) {
			t.Errorf("%d bytes: %x, %v", size, got, err)
		}
		// Times alone say nothing about content.
		if err := os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if got, err := sum(seen); err != nil || got != sha256.Sum256(b) {
			t.Errorf("%d bytes, touched: %x, %v", size, got, err)
		}
		for what, other := range map[string][]byte{"longer": append(bytes.Clone(b), 'x'), "other": append(bytes.Clone(b[:max(size-1, 0)]), '!'), "shorter": b[:size/2]} {
			if size == 0 && what == "shorter" {
				continue
			}
			if err := os.WriteFile(name, other, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := sum(seen); !errors.Is(err, scanner.ErrMoved) {
				t.Errorf("%d bytes, %s: %v", size, what, err)
			}
		}
	}
	seen := seenFile(t, name)
	for what, do := range map[string]func() error{
		"gone": func() error { return os.Remove(name) },
		"link": func() error { return os.Symlink("/etc/passwd", name) },
	} {
		if what == "link" {
			_ = os.Remove(name) // gone already, or not
		}
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if _, err := sum(seen); !errors.Is(err, scanner.ErrMoved) {
			t.Errorf("%s: %v", what, err)
		}
		_ = os.Remove(name)
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := twice.SHA256(ctx, entry.Path(name), seenFile(t, name)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
