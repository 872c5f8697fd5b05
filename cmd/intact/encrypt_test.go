package main

import (
	"archive/zip"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands about mass encryption:
//
//	office DIR N        make N texts, pictures, papers and letters in five folders
//	encrypt STYLE DIR   encrypt the files below DIR with AES: place; beside, to another name, and
//	                    the old one removed; renamed, in place and then renamed
//	seenmass DIR HOST   wait until each file below DIR, HOST on the disk, and each that is
//	                    gone there, has a finding, and one critical one says that they
//	                    are encrypted; no others may be there

// sealedEnd is what encrypted files get at the end of their names.
const sealedEnd = ".lckd2"

func encryptCommands() map[string]func(*testscript.TestScript, []string) {
	return map[string]func(*testscript.TestScript, []string){
		"office": func(ts *testscript.TestScript, args []string) {
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			for i := range n {
				ts.Check(officeFile(ts.MkAbs(args[0]), i))
			}
		},
		"encrypt": func(ts *testscript.TestScript, args []string) {
			for _, f := range filesBelow(ts, ts.MkAbs(args[1])) {
				ts.Check(encryptFile(args[0], f))
			}
		},
	}
}

// officeFile makes the file i of an office below dir.
func officeFile(dir string, i int) error {
	prose := bytes.Repeat(fmt.Appendf(nil, "of paper %d it is said that the server müsse listen\n", i), 100+i)
	drawn := make([]byte, 5000+97*i)
	_, _ = rand.Read(drawn) // never fails
	var end string
	var b bytes.Buffer
	switch i % 4 {
	case 0:
		end = ".txt"
		b.Write(prose)
	case 1:
		end = ".png"
		b.WriteString("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
		b.Write(drawn)
	case 2:
		end = ".pdf"
		fmt.Fprintf(&b, "%%PDF-1.7\n1 0 obj<</Length %d>>stream\n%s\nendstream\n%%%%EOF\n", len(drawn), drawn)
	default:
		end = ".docx"
		z := zip.NewWriter(&b)
		w, err := z.Create("word/document.xml")
		if err == nil {
			_, err = w.Write(append(prose, drawn...))
		}
		if err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	name := filepath.Join(dir, fmt.Sprintf("d%d", i%5), fmt.Sprintf("f\n\x1b[31m\xff%d%s", i, end))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

func filesBelow(ts *testscript.TestScript, dir string) (list []string) {
	ts.Check(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, p)
		}
		return err
	}))
	return list
}

// encryptFile encrypts file in a style.
func encryptFile(style, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	key := make([]byte, 32+aes.BlockSize)
	_, _ = rand.Read(key) // never fails
	c, err := aes.NewCipher(key[:32])
	if err != nil {
		return err
	}
	cipher.NewCTR(c, key[32:]).XORKeyStream(b, b)
	switch style {
	case "place":
		return writeAt(file, 0, b)
	case "beside":
		if err := os.WriteFile(file+sealedEnd, b, 0o644); err != nil {
			return err
		}
		return os.Remove(file)
	case "renamed":
		if err := writeAt(file, 0, b); err != nil {
			return err
		}
		return os.Rename(file, file+sealedEnd)
	}
	return fmt.Errorf("there is no style %q", style)
}

func (w *watcher) seenMass(ts *testscript.TestScript, args []string) {
	dir, host := args[0], ts.MkAbs(args[1])
	there, gone := map[string]bool{}, map[string]bool{} // that no finding told of yet
	for _, f := range filesBelow(ts, host) {
		p := dir + strings.TrimPrefix(f, host)
		there[p] = true
		if old, ok := strings.CutSuffix(p, sealedEnd); ok {
			gone[old] = true
		}
	}
	judged, told := 0, 0
	w.until(ts, fmt.Sprintf("mass encryption of %d files", len(there)), func(list []record) bool {
		for ; judged < len(list); judged++ {
			r := list[judged]
			if r.Type != "finding" {
				continue
			}
			path, err := raw(r.Subject.Path, r.Subject.PathB64)
			ts.Check(err)
			from, err := raw(r.From, r.FromB64)
			ts.Check(err)
			w.again(ts, r)
			switch {
			case r.Rule == "fim.mass-encryption" && r.Severity == "critical" && path == dir:
				told++
			case r.Severity == "critical" || !strings.HasPrefix(path, dir+"/"):
				ts.Fatalf("not wanted: %q", describe(ts, r))
			case r.Change == "removed":
				delete(gone, path)
			default:
				delete(there, path)
				delete(gone, from)
			}
		}
		if told > 1 {
			ts.Fatalf("told %d times", told)
		}
		return len(there)+len(gone) == 0 && told == 1
	})
}
