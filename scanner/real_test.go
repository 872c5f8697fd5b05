package scanner_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// The digests of ten thousand files of this machine, most of them long at rest,
// are those of the reference program, or where that is missing our own over the
// whole content.
func TestRealFiles(t *testing.T) {
	const want = 10_000
	var names []string
	var roots []entry.Path
	for _, dir := range []string{"/etc", "/usr/bin", "/usr/include", "/usr/share/doc", "/usr/share/man", "/usr/share/perl", "/usr/lib"} {
		if len(names) == want {
			break
		}
		roots = append(roots, entry.Path(dir))
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if len(names) == want {
				return fs.SkipAll
			}
			if err != nil || !d.Type().IsRegular() || strings.ContainsAny(p, "\\\n\r") {
				return nil
			}
			if f, err := os.Open(p); err == nil {
				f.Close()
				names = append(names, p)
			}
			return nil
		})
	}
	if len(names) < want/2 {
		t.Logf("only %d files here", len(names))
	}
	sums := reference(t, names)
	pol := policy.AdHoc(roots)
	eff, err := policy.Union(pol, pol, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	k := newTaken(t, eff)
	if _, err := scanner.Run(context.Background(), r, eff, scanner.Options{}, nil, k); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, b := range k.blocks {
		for i := range b.Entries {
			e := &b.Entries[i]
			sum, ok := sums[string(b.Dir.Join(e.Name))]
			if !ok {
				continue
			}
			if seen++; e.Digest != sum {
				t.Errorf("%s: digest %s, want %s", b.Dir.Join(e.Name), e.Digest, sum)
			}
		}
	}
	if seen != len(names) {
		t.Errorf("%d files were scanned of %d", seen, len(names))
	}
}

// reference returns the digests of files by name.
func reference(t *testing.T, names []string) map[string]digest.Digest {
	t.Helper()
	sums := map[string]digest.Digest{}
	b3sum, err := exec.LookPath("b3sum")
	if err != nil {
		t.Log("b3sum is not installed: our own digests are the reference")
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			sums[n] = digest.Sum(b)
		}
		return sums
	}
	c := exec.Command("xargs", "-0", b3sum, "--")
	c.Stdin = strings.NewReader(strings.Join(names, "\x00"))
	out, err := c.Output()
	if err != nil {
		t.Fatalf("b3sum: %v", err)
	}
	for line := range bytes.Lines(out) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), "  ")
		if sums[name], err = digest.Parse(sum); err != nil {
			t.Fatalf("b3sum says %q", line)
		}
	}
	return sums
}
