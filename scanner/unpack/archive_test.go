package unpack_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"intact/scanner/entry"
	"intact/scanner/unpack"
)

// ar makes an archive of pairs of name and content.
func ar(pairs ...string) []byte {
	b := []byte("!<arch>\n")
	for i := 0; i+1 < len(pairs); i += 2 {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", pairs[i], 0, 0, 0, "100644", len(pairs[i+1]), pairs[i+1])
		if len(pairs[i+1])%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// walkAr renders an archive.
func walkAr(b []byte) (string, error) {
	a, err := unpack.NewAr(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	var out []string
	for {
		name, size, err := a.Next()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return strings.Join(out, " "), err
		}
		content := ""
		if name != "passed-over" {
			b, err := io.ReadAll(a)
			if err != nil {
				return "", err
			}
			content = string(b)
		}
		out = append(out, fmt.Sprintf("%s:%d:%s", name, size, content))
	}
}

func TestAr(t *testing.T) {
	got, err := walkAr(ar("debian-binary", "2.0\n", "passed-over", "12345", "odd/", "123", "empty", ""))
	if want := "debian-binary:4:2.0\n passed-over:5: odd:3:123 empty:0:"; got != want || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	whole := ar("a", "123", "b", "12")
	for n := range whole {
		if got, err := walkAr(whole[:n]); err == nil && n != 8 && n != 8+60+4 {
			t.Errorf("cut to %d: %q", n, got)
		}
	}
	for name, b := range map[string][]byte{
		"empty":        nil,
		"thin":         []byte("!<thin>\n"),
		"long names":   ar("#1/20", "x"),
		"name table":   ar("//", "x"),
		"slash":        ar("a/b", "x"),
		"no name":      ar("", "x"),
		"size":         bytes.Replace(ar("a", "123"), []byte("3         `"), []byte("-3        `"), 1),
		"size in hex":  bytes.Replace(ar("a", "123"), []byte("3         `"), []byte("0x3       `"), 1),
		"huge":         bytes.Replace(ar("a", "123"), []byte("3         `"), []byte("9999999999`"), 1),
		"padding":      bytes.Replace(ar("a", "123"), []byte("123\n"), []byte("123x"), 1),
		"end of a row": bytes.Replace(ar("a", "123"), []byte("`\n"), []byte("`x"), 1),
		"crowd":        ar(strings.Split(strings.Repeat("a,b,", 100), ",")...),
	} {
		if got, err := walkAr(b); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzAr(f *testing.F) {
	f.Add(ar("debian-binary", "2.0\n", "control.tar.xz", "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := walkAr(b)
		if err == nil && len(got) > 3*len(b)+100 {
			t.Errorf("%q", got)
		}
	})
}

func archive(t testing.TB, hs ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range hs {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func walkTar(b []byte, l unpack.TarLimits) (out []unpack.Member, err error) {
	r := unpack.NewTar(bytes.NewReader(b), l)
	for {
		m, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			if _, again := r.Next(); again == nil {
				return out, fmt.Errorf("goes on after %w", err)
			}
			return out, err
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != m.Size {
			return out, fmt.Errorf("%q has %d bytes, not %d: %w", m.Path, n, m.Size, errors.Join(err, io.ErrNoProgress))
		}
		out = append(out, m)
	}
}

func TestTar(t *testing.T) {
	long := "./usr/" + strings.Repeat("n", 300)
	for _, format := range []tar.Format{tar.FormatGNU, tar.FormatPAX} {
		got, err := walkTar(archive(t,
			tar.Header{Format: format, Name: "./", Typeflag: tar.TypeDir, Mode: 0o755, Uname: "root", Gname: "root"},
			tar.Header{Format: format, Name: "./usr//./bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 1, Gid: 2, Size: 700},
			tar.Header{Format: format, Name: "usr/bin/hard", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su"},
			tar.Header{Format: format, Name: "/etc/link", Typeflag: tar.TypeSymlink, Linkname: "../../outside"},
			tar.Header{Format: format, Name: "./dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
			tar.Header{Format: format, Name: "./p\xff\x1b\n", Typeflag: tar.TypeFifo},
			tar.Header{Format: format, Name: long, Typeflag: tar.TypeReg},
		), unpack.TarLimits{})
		want := []unpack.Member{
			{Path: "/", Kind: entry.Dir, Mode: 0o755, Owner: "root", Group: "root"},
			{Path: "/usr/bin/su", Kind: entry.File, Mode: 0o4755, UID: 1, GID: 2, Size: 700},
			{Path: "/usr/bin/hard", Kind: entry.File, Hard: "/usr/bin/su"},
			{Path: "/etc/link", Kind: entry.Symlink, Target: "../../outside"},
			{Path: "/dev/null", Kind: entry.CharDevice, Major: 1, Minor: 3},
			{Path: "/p\xff\x1b\n", Kind: entry.FIFO},
			{Path: entry.Path(long[1:]), Kind: entry.File},
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v: %v, %v", format, got, err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v: got %+v, want %+v", format, got[i], want[i])
			}
		}
	}
}

func TestTarRefuses(t *testing.T) {
	plain := tar.Header{Name: "./a", Typeflag: tar.TypeReg, Size: 600}
	sparse := map[string]string{"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1", "GNU.sparse.size": "9", "GNU.sparse.numblocks": "1", "GNU.sparse.realsize": "9"}
	for name, tt := range map[string]struct {
		b      []byte
		limits unpack.TarLimits
		want   error
	}{
		"up":            {archive(t, tar.Header{Name: "./a/../../etc/passwd"}), unpack.TarLimits{}, unpack.ErrTarName},
		"up inside":     {archive(t, tar.Header{Name: "./a/../b"}), unpack.TarLimits{}, unpack.ErrTarName},
		"hard link up":  {archive(t, tar.Header{Name: "./a", Typeflag: tar.TypeLink, Linkname: "../x"}), unpack.TarLimits{}, unpack.ErrTarName},
		"no hard link":  {archive(t, tar.Header{Name: "./a", Typeflag: tar.TypeLink}), unpack.TarLimits{}, unpack.ErrTarName},
		"no target":     {archive(t, tar.Header{Name: "./a", Typeflag: tar.TypeSymlink}), unpack.TarLimits{}, unpack.ErrTar},
		"long name":     {archive(t, tar.Header{Name: "./" + strings.Repeat("n", 5000)}), unpack.TarLimits{}, unpack.ErrTarSize},
		"contiguous":    {archive(t, tar.Header{Name: "./a", Typeflag: tar.TypeCont}), unpack.TarLimits{}, unpack.ErrTarKind},
		"crowd":         {archive(t, plain, plain, plain), unpack.TarLimits{Members: 2}, unpack.ErrTarSize},
		"large":         {archive(t, plain, plain, plain), unpack.TarLimits{Size: 1500}, unpack.ErrTarSize},
		"cut":           {archive(t, plain)[:700], unpack.TarLimits{}, unpack.ErrTruncated},
		"no archive":    {bytes.Repeat([]byte("x"), 1024), unpack.TarLimits{}, unpack.ErrTar},
		"flipped":       {bytes.Replace(archive(t, plain), []byte("./a"), []byte("./b"), 1), unpack.TarLimits{}, unpack.ErrTar},
		"negative size": {negative(t, plain), unpack.TarLimits{}, unpack.ErrTar},
	} {
		if got, err := walkTar(tt.b, tt.limits); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := walkTar(withRecords(t, sparse), unpack.TarLimits{}); err == nil {
		t.Error("a sparse file was read")
	}
}

// negative makes the size -1, in base 256, with a checksum that fits.
func negative(t testing.TB, h tar.Header) []byte {
	b := archive(t, h)
	for i := 124; i < 136; i++ {
		b[i] = 0xff
	}
	resum(b)
	return b
}

func resum(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// withRecords makes an archive of one file with an extended header, which the
// writer of the standard library would refuse.
func withRecords(t testing.TB, records map[string]string) []byte {
	var body []byte
	for k, v := range records {
		n := len(k) + len(v) + 3
		for n != len(fmt.Sprint(n))+len(k)+len(v)+3 {
			n = len(fmt.Sprint(n)) + len(k) + len(v) + 3
		}
		body = fmt.Appendf(body, "%d %s=%s\n", n, k, v)
	}
	b := archive(t, tar.Header{Name: "pax", Typeflag: tar.TypeReg, Size: int64(len(body)), Format: tar.FormatUSTAR})
	b[156] = 'x'
	resum(b)
	copy(b[512:], body)
	return append(b[:len(b)-1024], archive(t, tar.Header{Name: "./a", Typeflag: tar.TypeReg, Size: 9, Format: tar.FormatUSTAR})...)
}

func FuzzTar(f *testing.F) {
	f.Add(archive(f, tar.Header{Name: "./a", Size: 3}, tar.Header{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "x"}))
	f.Add(withRecords(f, map[string]string{"path": "./b/../c", "uid": "4294967296", "size": "1"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _ := walkTar(b, unpack.TarLimits{Members: 100, Name: 200})
		for _, m := range got {
			if clean, err := entry.NewPath(string(m.Path)); err != nil || clean != m.Path || len(m.Path) > 201 || m.Kind == entry.KindUnknown {
				t.Errorf("%+v", m)
			}
		}
	})
}
