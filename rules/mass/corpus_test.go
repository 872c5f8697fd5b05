package mass

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

// tree is content by path.
type tree map[string][]byte

func stream(seed int) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed)))
}

func noise(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = stream(seed).Read(b) // never fails
	return b
}

// prose is n bytes of words, other ones for each seed.
func prose(seed, n int) []byte {
	b := make([]byte, 0, n+16)
	b = fmt.Appendf(b, "line %d\n", seed)
	for len(b) < n {
		b = append(b, vocabulary[seed%len(vocabulary):min(len(vocabulary), seed%len(vocabulary)+n-len(b))]...)
		seed = (7*seed + 13) % 65537
	}
	return b[:n]
}

var vocabulary = func() (b []byte) {
	r := rand.New(stream(0))
	words := strings.Fields("the of server größe and listen port user = true # value , path to äußerst interval naïve 80 0.0.0.0")
	for len(b) < 20000 {
		b = append(b, words[r.IntN(len(words))]...)
		b = append(b, " \n"[r.IntN(8)/7])
	}
	return b
}()

func packed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func document(t testing.TB, seed, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	f, err := w.Create("word/document.xml")
	if err == nil {
		_, err = f.Write(prose(seed, n))
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func picture(t testing.TB, seed, n int) []byte {
	t.Helper()
	out := bytes.NewBufferString("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x01\x00\x08\x02\x00\x00\x00")
	w, err := zlib.NewWriterLevel(out, zlib.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(noise(seed, n)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func paper(seed, n int) []byte {
	return fmt.Appendf(nil, "%%PDF-1.7\n1 0 obj<</Length %d>>stream\n%s\nendstream\n%%%%EOF\n", n, noise(seed, n))
}

func elf(seed, n int) []byte { return append([]byte("\x7fELF\x02\x01\x01"), prose(seed, n)...) }

// office is n files of the kinds people work with, in five directories.
func office(t testing.TB, n int) tree {
	t.Helper()
	all := tree{}
	for i := range n {
		dir := fmt.Sprintf("/srv/share/d%d", i%5)
		size := 1000 + i%7*1311
		switch i / 5 % 4 {
		case 0:
			all[fmt.Sprintf("%s/notes%d.txt", dir, i)] = prose(i, size)
		case 1:
			all[fmt.Sprintf("%s/scan%d.png", dir, i)] = picture(t, i, size)
		case 2:
			all[fmt.Sprintf("%s/paper%d.pdf", dir, i)] = paper(i, size)
		default:
			all[fmt.Sprintf("%s/letter%d.docx", dir, i)] = document(t, i, size)
		}
	}
	return all
}

// seal encrypts b; only blocks of 4 KiB that are wanted.
func seal(t testing.TB, name string, b []byte, want func(block int) bool) []byte {
	t.Helper()
	key := sha256.Sum256([]byte(name))
	c, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	s := cipher.NewCTR(c, key[:aes.BlockSize])
	out := bytes.Clone(b)
	for i := 0; i < len(out); i += 4096 {
		if end := min(i+4096, len(out)); want(i / 4096) {
			s.XORKeyStream(out[i:end], out[i:end])
		}
	}
	return out
}

func whole(int) bool       { return true }
func headOnly(i int) bool  { return i == 0 }
func sixteenth(i int) bool { return i%16 == 7 }

// sealed is what an encryptor makes of files; rename gives the name that it writes.
func sealed(t testing.TB, before tree, rename func(string) string, want func(int) bool) tree {
	t.Helper()
	after := tree{}
	for p, b := range before {
		after[rename(p)] = seal(t, p, b, want)
	}
	return after
}

func same(p string) string     { return p }
func appended(p string) string { return p + ".lckd2" }
func other(p string) string    { return strings.TrimSuffix(p, path.Ext(p)) + ".lckd2" }
func drawn(p string) string {
	return fmt.Sprintf("%s/%x", path.Dir(p), sha256.Sum256([]byte(p)))
}
