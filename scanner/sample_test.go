package scanner_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"intact/scanner"
	"intact/scanner/entry"
)

// What is read is what the scan has seen, or there is an error: also where it
// changes between two reads.
func TestSample(t *testing.T) {
	dir, root := diskDir(t)
	sampler := scanner.NewTwice(root, 0).Sampler()
	defer sampler.Close()
	name := filepath.Join(dir, "f\n\xff")
	content := bytes.Repeat([]byte("0123456789abcdef"), 9000)
	write := func(b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 1000)
	sample := func(ctx context.Context, seen *entry.Entry, between func()) error {
		return sampler.Sample(ctx, entry.Path(name), seen, func(read func([]byte, int64) error) error {
			if err := read(got, 77); err != nil {
				return err
			}
			between()
			return read(got, int64(len(content)-len(got)))
		})
	}
	nothing := func() {}
	write(content)
	seen := seenFile(t, name)
	if err := sample(t.Context(), seen, nothing); err != nil || !bytes.Equal(got, content[len(content)-len(got):]) {
		t.Errorf("%v: %q", err, got[:16])
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := sample(stopped, seen, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	mine := errors.New("mine")
	if err := sampler.Sample(t.Context(), entry.Path(name), seen, func(func([]byte, int64) error) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("the error of look: %v", err)
	}
	for what, do := range map[string]func(){
		"longer":   func() { write(append(content, 'x')) },
		"shorter":  func() { write(content[:100]) },
		"replaced": func() { _ = os.Remove(name); write(content) },
		"a link":   func() { _ = os.Remove(name); _ = os.Symlink("/etc/passwd", name) },
		"gone":     func() { _ = os.Remove(name) },
	} {
		_ = os.Remove(name) // it may be gone
		write(content)
		seen := seenFile(t, name)
		if err := sample(t.Context(), seen, do); !errors.Is(err, scanner.ErrMoved) && (what == "longer" || what == "shorter") {
			t.Errorf("%s meanwhile: %v", what, err)
		}
		if err := sample(t.Context(), seen, nothing); !errors.Is(err, scanner.ErrMoved) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
