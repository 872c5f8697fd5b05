package deb_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/deb822"
	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/unpack"
)

// file is one member of a tar archive: its header and its content.
type file struct {
	tar.Header
	content string
}

func reg(name, content string) file {
	return file{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Uname: "root", Gname: "root"}, content}
}

func tarred(t testing.TB, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		f.Size = int64(len(f.content))
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, f.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

// ar makes an archive of pairs of name and content.
func ar(pairs ...string) []byte {
	b := []byte("!<arch>\n")
	for i := 0; i < len(pairs); i += 2 {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", pairs[i], 0, 0, 0, "100644", len(pairs[i+1]), pairs[i+1])
		if len(pairs[i+1])%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

const control = "Package: tool\nVersion: 1.2-3\nArchitecture: amd64\nDescription: a tool\n of two lines\n"

// debOf makes a package with the files.
func debOf(t testing.TB, files ...file) []byte {
	t.Helper()
	return ar("debian-binary", "2.0\n",
		"control.tar.gz", gzipped(tarred(t, reg("./control", control), reg("./conffiles", "/etc/tool.conf\nremove-on-upgrade /etc/old\n"), reg("./md5sums", "x"))),
		"data.tar.gz", gzipped(tarred(t, files...)))
}

func record(b []byte) (*deb.Archive, *manifest.Manifest, error) {
	out := manifest.NewBuilder("")
	defer out.Close()
	a, err := deb.Record(context.Background(), "x.deb", bytes.NewReader(b), out)
	if err != nil {
		return nil, nil, err
	}
	var text bytes.Buffer
	head, _ := a.Head(nil, now, "")
	name, err := out.Write(&text, head)
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.Open(name, bytes.NewReader(text.Bytes()), int64(text.Len()))
	return a, m, err
}

func TestRecord(t *testing.T) {
	suid := reg("./usr/bin/su", "program")
	suid.Mode = 0o4755
	b := debOf(t,
		file{tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		reg("./etc/tool.conf", "conf"), suid,
		file{tar.Header{Name: "./usr/bin/su2", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su", Mode: 0o4755}, ""},
		file{tar.Header{Name: "./usr/lib/l", Typeflag: tar.TypeSymlink, Linkname: "../../x", Mode: 0o777}, ""},
		file{tar.Header{Name: "./dev/b", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 1, Mode: 0o660, Gname: "disk", Gid: 6}, ""},
	)
	a, m, err := record(b)
	if err != nil {
		t.Fatal(err)
	}
	if a.Identity != (deb.Identity{Package: "tool", Version: "1.2-3", Architecture: "amd64"}) || a.Size != int64(len(b)) || a.SHA256 != sha256.Sum256(b) {
		t.Errorf("%+v", a)
	}
	if id, err := deb.Identify(context.Background(), "x", bytes.NewReader(b)); err != nil || id != a.Identity {
		t.Errorf("%+v, %v", id, err)
	}
	if h := m.Head; h.Level != manifest.Local || h.Reason != "no signed index lists it" || len(h.Controls) != 3 || h.Controls[0].Name != "conffiles" ||
		len(h.Removes) != 1 || h.Removes[0] != "/etc/old" || h.Controls[2].SHA256 != sha256.Sum256([]byte("x")) {
		t.Errorf("%+v", m.Head)
	}
	want := []manifest.Entry{
		{Path: "/", Kind: entry.Dir, Mode: 0o755},
		{Path: "/dev/b", Kind: entry.BlockDevice, Mode: 0o660, GID: 6, Group: "disk", Major: 8, Minor: 1},
		{Path: "/etc/tool.conf", Kind: entry.File, Conffile: true, Mode: 0o644, Owner: "root", Group: "root", Size: 4, SHA256: sha256.Sum256([]byte("conf")), BLAKE3: digest.Sum([]byte("conf"))},
		{Path: "/usr/bin/su", Kind: entry.File, Mode: 0o4755, Owner: "root", Group: "root", Size: 7, SHA256: sha256.Sum256([]byte("program")), BLAKE3: digest.Sum([]byte("program"))},
		{Path: "/usr/bin/su2", Kind: entry.File, Hard: "/usr/bin/su", Mode: 0o4755},
		{Path: "/usr/lib/l", Kind: entry.Symlink, Target: "../../x", Mode: 0o777},
	}
	i := 0
	for e, err := range m.All() {
		if err != nil || i == len(want) || e != want[i] {
			t.Fatalf("entry %d: %+v, %v", i, e, err)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d entries", i)
	}
}

// Whatever is wrong with an archive, there is no manifest of it.
func TestRecordRefuses(t *testing.T) {
	data := gzipped(tarred(t, reg("./a", "x")))
	ctl := gzipped(tarred(t, reg("./control", control)))
	with := func(text string) string { return gzipped(tarred(t, reg("./control", text))) }
	bomb := gzipped(tarred(t, reg("./zeros", string(make([]byte, 64<<20)))))
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":            {nil, unpack.ErrAr},
		"no member":        {ar(), deb.ErrArchive},
		"old format":       {ar("debian-binary", "0.939\n", "control.tar.gz", ctl, "data.tar.gz", data), deb.ErrArchive},
		"wrong order":      {ar("debian-binary", "2.0\n", "data.tar.gz", data, "control.tar.gz", ctl), deb.ErrArchive},
		"no data":          {ar("debian-binary", "2.0\n", "control.tar.gz", ctl), deb.ErrArchive},
		"two data":         {ar("debian-binary", "2.0\n", "control.tar.gz", ctl, "data.tar.gz", data, "data.tar.gz", data), deb.ErrArchive},
		"two control":      {ar("debian-binary", "2.0\n", "control.tar.gz", ctl, "control.tar.gz", ctl, "data.tar.gz", data), deb.ErrArchive},
		"other format":     {ar("debian-binary", "2.0\n", "control.tar.rar", ctl, "data.tar.gz", data), deb.ErrArchive},
		"misnamed":         {ar("debian-binary", "2.0\n", "control.tar.xz", ctl, "data.tar.gz", data), unpack.ErrDamaged},
		"no control file":  {ar("debian-binary", "2.0\n", "control.tar.gz", gzipped(tarred(t, reg("./md5sums", ""))), "data.tar.gz", data), deb.ErrArchive},
		"control twice":    {ar("debian-binary", "2.0\n", "control.tar.gz", gzipped(tarred(t, reg("./control", control), reg("control", control))), "data.tar.gz", data), deb.ErrArchive},
		"deep control":     {ar("debian-binary", "2.0\n", "control.tar.gz", gzipped(tarred(t, reg("./x/control", control))), "data.tar.gz", data), deb.ErrArchive},
		"no version":       {ar("debian-binary", "2.0\n", "control.tar.gz", with("Package: tool\nArchitecture: all\n"), "data.tar.gz", data), deb.ErrArchive},
		"name":             {ar("debian-binary", "2.0\n", "control.tar.gz", with(strings.Replace(control, "tool", "../tool", 1)), "data.tar.gz", data), deb.ErrArchive},
		"field twice":      {ar("debian-binary", "2.0\n", "control.tar.gz", with(control+"Package: y\n"), "data.tar.gz", data), deb822.ErrDuplicate},
		"conffiles":        {ar("debian-binary", "2.0\n", "control.tar.gz", gzipped(tarred(t, reg("./control", control), reg("./conffiles", "etc/x\n"))), "data.tar.gz", data), deb.ErrArchive},
		"traversal":        {debOf(t, reg("./usr/../../etc/passwd", "x")), unpack.ErrTarName},
		"a file twice":     {debOf(t, reg("./a", "x"), reg("a", "y")), manifest.ErrDuplicate},
		"through a link":   {debOf(t, file{tar.Header{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, ""}, reg("./l/passwd", "x")), manifest.ErrBelow},
		"hard link out":    {debOf(t, file{tar.Header{Name: "./l", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}, ""}), manifest.ErrHard},
		"bomb of a bomb":   {ar("debian-binary", "2.0\n", "control.tar.gz", bomb, "data.tar.gz", data), deb.ErrArchive},
		"large control":    {ar("debian-binary", "2.0\n", "control.tar.gz", with(control+strings.Repeat(" x\n", 2<<20)), "data.tar.gz", data), deb.ErrTooMany},
		"damaged checksum": {bytes.Replace(debOf(t, reg("./a", "x")), []byte(data[len(data)-8:]), []byte("12345678"), 1), nil},
	} {
		a, m, err := record(tt.b)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) && !(name == "misnamed" && err != nil) {
			t.Errorf("%s: %+v, %+v, %v", name, a, m, err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := deb.Record(ctx, "x", bytes.NewReader(debOf(t)), manifest.NewBuilder("")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// However a package is cut, it is refused; members with an underscore are not.
func TestTruncated(t *testing.T) {
	b := debOf(t, reg("./a", "some content"))
	for n := range b {
		if _, _, err := record(b[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes", n, len(b))
		}
	}
	extra := ar("debian-binary", "2.0\n", "_x", "1", "control.tar", tarred(t, reg("control", control)), "data.tar", tarred(t), "_gpgorigin", "x")
	if _, m, err := record(extra); err != nil || m.Len != 0 {
		t.Errorf("with more members: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(debOf(f, reg("./etc/tool.conf", "x"), file{tar.Header{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "x"}, ""}))
	f.Add(ar("debian-binary", "2.0\n", "control.tar", tarred(f, reg("control", control)), "data.tar", tarred(f, reg("./a", "b"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, m, err := record(b)
		if err == nil && (a.SHA256 != sha256.Sum256(b) || m.Head.Level != manifest.Local || m.Head.Package == "") {
			t.Errorf("%+v", m.Head)
		}
	})
}

// What programs packed is read, with each compression of dpkg.
func TestDpkgDeb(t *testing.T) {
	for _, comp := range []string{"xz", "zstd", "gzip", "none"} {
		b := built(t, "tool", "1.2-3", comp, map[string]string{"usr/bin/tool": "program", "etc/tool.conf": "conf"})
		a, m, err := record(b)
		if err != nil {
			t.Errorf("%s: %v", comp, err)
			continue
		}
		if e, ok, _ := m.Lookup("/etc/tool.conf"); !ok || !e.Conffile || e.Owner != "root" || a.Package != "tool" {
			t.Errorf("%s: %+v", comp, e)
		}
	}
}

// BenchmarkRecord says how many bytes of a package a core takes in a second.
func BenchmarkRecord(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var files []file
	for i := range 200 {
		var text bytes.Buffer
		for text.Len() < 50_000 {
			fmt.Fprintf(&text, "line %d of %x\n", i, r.Uint32N(1<<20))
		}
		files = append(files, reg(fmt.Sprintf("./usr/share/f%d", i), text.String()))
	}
	data := tarred(b, files...)
	for _, comp := range []string{"xz", "zstd", "gzip"} {
		b.Run(comp, func(b *testing.B) {
			if _, err := exec.LookPath(comp); err != nil {
				b.Skipf("SKIPPED: %s is not installed", comp)
			}
			c := exec.Command(comp, "-c")
			c.Stdin = strings.NewReader(data)
			packed, err := c.Output()
			if err != nil {
				b.Fatal(err)
			}
			suffix := map[string]string{"xz": ".xz", "zstd": ".zst", "gzip": ".gz"}[comp]
			whole := ar("debian-binary", "2.0\n", "control.tar", tarred(b, reg("control", control)), "data.tar"+suffix, string(packed))
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				if _, _, err := record(whole); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
