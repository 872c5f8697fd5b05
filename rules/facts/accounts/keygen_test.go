package accounts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// generated makes a key by ssh-keygen, and returns its line, size and
// fingerprint as that says them.
func generated(t *testing.T, kind, bits string) (line, size, print string) {
	t.Helper()
	tool, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("SKIPPED: no ssh-keygen")
	}
	p := filepath.Join(t.TempDir(), "key")
	args := []string{"-q", "-t", kind, "-N", "", "-C", "some body", "-f", p}
	if bits != "0" {
		args = append(args, "-b", bits)
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(p + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-l", "-f", p+".pub").Output()
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(out))
	return strings.TrimSpace(string(b)), f[0], f[1]
}
