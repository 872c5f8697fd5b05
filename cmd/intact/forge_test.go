package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"intact/scanner/digest"
)

// forge writes what an intruder with root would like a package to hold:
//
//	forge DIR PACKAGE VERSION PATH FILE [beside] [unlisted]
//
// The stored manifest of that package says then that PATH is as FILE is. The right
// one goes, but with beside; with unlisted the archive has another digest.
func cmdForge(ts *testscript.TestScript, args []string) {
	if len(args) < 5 {
		ts.Fatalf("usage: forge DIR PACKAGE VERSION PATH FILE [beside] [unlisted]")
	}
	dir := ts.MkAbs(args[0])
	content, err := os.ReadFile(ts.MkAbs(args[4]))
	ts.Check(err)
	list, err := os.ReadDir(dir)
	ts.Check(err)
	found := false
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		ts.Check(err)
		if !bytes.Contains(b, []byte("\npackage "+args[1]+"\nversion "+args[2]+"\n")) {
			continue
		}
		found = true
		archive, _, _ := strings.Cut(f.Name(), "-")
		lines := strings.Split(string(b), "\n")
		for i, l := range lines {
			if col := strings.Fields(l); len(col) > 9 && strings.HasSuffix(l, " "+args[3]) {
				col[6], col[7], col[8] = fmt.Sprint(len(content)), fmt.Sprintf("sha256:%x", sha256.Sum256(content)), digest.Sum(content).Named()
				lines[i] = strings.Join(col, " ")
			}
		}
		text := strings.Join(lines, "\n")
		if slices.Contains(args[5:], "unlisted") {
			other := fmt.Sprintf("%x", sha256.Sum256([]byte(archive)))
			text, archive = strings.ReplaceAll(text, archive, other), other
		}
		if !slices.Contains(args[5:], "beside") {
			ts.Check(os.Remove(filepath.Join(dir, f.Name())))
		}
		ts.Check(os.WriteFile(filepath.Join(dir, archive+"-"+digest.Sum([]byte(text)).String()), []byte(text), 0o600))
	}
	if !found {
		ts.Fatalf("no manifest of %s %s", args[1], args[2])
	}
}
