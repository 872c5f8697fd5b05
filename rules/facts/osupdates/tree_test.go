package osupdates_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"intact/rules/facts"
	"intact/scanner/dirfd"
)

// tree is a root of literal files: "-> TARGET" is a link, "|" a FIFO.
type tree map[string]string

func (files tree) write(t testing.TB, dir string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch target, link := strings.CutPrefix(text, "-> "); {
		case link:
			err = os.Symlink(target, p)
		case text == "|":
			err = syscall.Mkfifo(p, 0o644)
		default:
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (files tree) host(t testing.TB) facts.Host {
	t.Helper()
	dir := t.TempDir()
	files.write(t, dir)
	return hostOf(t, dir)
}

func hostOf(t testing.TB, dir string) facts.Host {
	t.Helper()
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return facts.Host{Root: r}
}

// with returns the tree with more files; "" takes one away.
func (files tree) with(pairs ...string) tree {
	out := tree{}
	for k, v := range files {
		out[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if out[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
			delete(out, pairs[i])
		}
	}
	return out
}

const listsDir = "var/lib/apt/lists/"

// statusOf writes a status of dpkg of "name arch version [want]" each.
func statusOf(pkgs ...string) string {
	var b strings.Builder
	for _, p := range append(pkgs, "dpkg amd64 1.21") {
		f := strings.Fields(p)
		want := "install"
		if len(f) > 3 {
			want = f[3]
		}
		fmt.Fprintf(&b, "Package: %s\nStatus: %s ok installed\nMaintainer: m <m@example.org>\nArchitecture: %s\nVersion: %s\nDescription: d\n\n", f[0], want, f[1], f[2])
	}
	return b.String()
}

// packagesOf writes a list of packages of "name arch version [field=value…]" each.
func packagesOf(pkgs ...string) string {
	var b strings.Builder
	for _, p := range pkgs {
		f := strings.Fields(p)
		fmt.Fprintf(&b, "Package: %s\nArchitecture: %s\nVersion: %s\nMaintainer: m <m@example.org>\nFilename: pool/%s_%s.deb\nSize: 1\nSHA256: %064d\nDescription: d\n", f[0], f[1], f[2], f[0], f[2], len(p))
		for _, x := range f[3:] {
			b.WriteString(strings.Replace(x, "=", ": ", 1) + "\n")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// releaseText writes a release.
func releaseText(fields string) string {
	return "Date: Wed, 25 Nov 2026 02:22:30 UTC\nArchitectures: amd64 i386\nComponents: main\n" + fields
}

// archive is a host of Debian with a main and a security archive.
func archive() tree {
	return tree{
		"etc/apt/sources.list":                                                      "deb http://d.example/debian stable main\ndeb http://s.example/sec stable-security main\n",
		listsDir + "d.example_debian_dists_stable_InRelease":                        releaseText("Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: book\nVersion: 12.1\n"),
		listsDir + "s.example_sec_dists_stable-security_Release":                    releaseText("Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: book-security\nVersion: 12\n"),
		listsDir + "d.example_debian_dists_stable_main_binary-amd64_Packages":       packagesOf("a amd64 1.1", "b all 2.0", "c amd64 1.0", "z amd64 9"),
		listsDir + "s.example_sec_dists_stable-security_main_binary-amd64_Packages": packagesOf("a amd64 1.0.5", "c amd64 1.2"),
		"var/lib/dpkg/status":                                                       statusOf("a amd64 1.0", "b all 1.0", "c amd64 1.1", "d amd64 1"),
	}
}
