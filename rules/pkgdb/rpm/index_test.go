package rpm

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"intact/scanner/entry"
)

// An index says what the header says, after the header is gone too.
func TestIndex(t *testing.T) {
	for _, n := range []string{"rsa.hdr", "ed.hdr", "md5.hdr", "unsigned.hdr"} {
		blob := fixture(t, n)
		h := parsed(t, blob)
		p, files, err := said(h)
		if err != nil {
			t.Fatal(err)
		}
		x, err := h.Index(&p)
		if err != nil {
			t.Fatal(err)
		}
		clear(blob)
		paths := 0
		for p, err := range x.Paths() {
			if err != nil || p != files[paths].Path {
				t.Errorf("%s: path %q, %v", n, p, err)
			}
			paths++
		}
		if paths != len(files) {
			t.Errorf("%s: %d paths of %d", n, paths, len(files))
		}
		for _, want := range files {
			got, ok, err := x.Lookup(want.Path)
			if got.State = 0; err != nil || !ok || got != want { // said leaves it out
				t.Errorf("%s: %q: %+v, %v, %v", n, want.Path, got, ok, err)
			}
		}
		if f, ok, err := x.Lookup("/usr/bin/none"); ok || err != nil {
			t.Errorf("%s: %+v, %v", n, f, err)
		}
	}
}

// many is a header of before rpm 4 with n files, all of one name if same.
func many(t *testing.T, n int, same bool) *Header {
	blob := append([]byte{0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 3, 232, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1}, "old\x00"...)
	var names []byte
	for i := range n {
		name := "/bin/"
		for j := i; !same && j > 0; j /= 26 {
			name += string(rune('a' + j%26))
		}
		names = append(append(names, name...), "x\x00"...)
	}
	return parsed(t, with(blob, tagOldFilenames, typeStrings, uint32(n), names))
}

func TestIndexMany(t *testing.T) {
	h := many(t, 5000, false)
	p, files, err := said(h)
	if err != nil {
		t.Fatal(err)
	}
	x, err := h.Index(&p)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range files {
		got, ok, err := x.Lookup(want.Path)
		if got.State = 0; err != nil || !ok || got != want { // said leaves it out
			t.Fatalf("%+v: %+v, %v, %v", want, got, ok, err)
		}
	}
	list, err := h.List(&p)
	if err != nil || bytes.Count(list, []byte{0}) != 5000 || !bytes.HasPrefix(list, []byte("/bin/aabx\x00/bin/aacx\x00")) {
		t.Errorf("list of %d bytes, %v", len(list), err)
	}

	h = many(t, 300, true)
	p, _, _ = said(h)
	if x, err = h.Index(&p); err != nil {
		t.Fatal(err)
	}
	if f, ok, err := x.Lookup("/bin/x"); ok || !errors.Is(err, ErrHeader) {
		t.Errorf("a path that stands twice: %+v, %v", f, err)
	}
}

func TestLongPath(t *testing.T) {
	blob := append([]byte{0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 3, 232, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1}, "old\x00"...)
	h := parsed(t, with(blob, tagOldFilenames, typeStrings, 1, []byte("/"+strings.Repeat("a", maxPath)+"\x00")))
	if _, _, err := said(h); !errors.Is(err, ErrHeader) {
		t.Error(err)
	}
}

func TestID(t *testing.T) {
	h := parsed(t, fixture(t, "rsa.hdr"))
	want, err := h.text(tagSHA256)
	if err != nil || h.ID() != "sha256:"+want {
		t.Errorf("%s, not %s", h.ID(), want)
	}
	if f := (&File{Mode: 0o104755}); f.Kind() != entry.File {
		t.Error(f.Kind())
	}
}
