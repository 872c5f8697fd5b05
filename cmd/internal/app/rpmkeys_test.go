package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"intact/cmd/internal/config"
)

// Keys in a file that others can write do not count, and that is said.
func TestRPMKeysWritable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o666); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	s := &session{env: &Env{Stderr: &stderr}, cfg: &config.Config{}}
	s.cfg.Packages.RPMKeys = []string{name}
	s.rpmKeys()
	if !strings.Contains(stderr.String(), "its keys do not count") || !strings.Contains(stderr.String(), "writ") {
		t.Errorf("%q", stderr.String())
	}
}
