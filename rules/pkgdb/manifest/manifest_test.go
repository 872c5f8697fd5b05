package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

var when = time.Date(2026, 7, 11, 10, 16, 37, 0, time.UTC)

func head() *manifest.Head {
	return &manifest.Head{
		Format: "deb", Package: "tool", Version: "1:2.0-1", Architecture: "amd64", Level: manifest.Signed,
		Archive: manifest.SHA256{1}, ArchiveSize: 10500,
		Chain: manifest.Chain{
			Release: manifest.SHA256{2}, ReleaseSize: 5, Origin: "Debian", Suite: "stable", Codename: "book\x1bworm", Date: when,
			Key: "AB12", UID: "Archive  Key\n<a@example.org>", SignedAt: when.Add(time.Minute),
			Index: manifest.SHA256{3}, IndexSize: 7, IndexName: "main/binary-amd64/Packages", Filename: "pool/t.deb", Verified: when.Add(time.Hour),
		},
		Controls: []manifest.Control{
			{Name: "md5sums", Mode: 0o644, Size: 9, SHA256: manifest.SHA256{4}, BLAKE3: digest.Digest{5}},
			{Name: "post inst", Mode: 0o755, Size: 0},
		},
		Removes: []entry.Path{"/etc/old", "/etc/old 2"},
	}
}

func entries() []manifest.Entry {
	f := manifest.Entry{Kind: entry.File, Mode: 0o755, Owner: "root", Group: "root", Size: 3, SHA256: manifest.SHA256{7}, BLAKE3: digest.Digest{8}}
	with := func(p entry.Path, change func(*manifest.Entry)) manifest.Entry {
		e := f
		e.Path = p
		change(&e)
		return e
	}
	plain := func(k entry.Kind) func(*manifest.Entry) {
		return func(e *manifest.Entry) { *e = manifest.Entry{Path: e.Path, Kind: k, Mode: 0o777} }
	}
	return []manifest.Entry{ // in tree order
		with("/", plain(entry.Dir)),
		with("/dev/c", func(e *manifest.Entry) {
			*e = manifest.Entry{Path: e.Path, Kind: entry.CharDevice, Major: 1, Minor: 4294967295}
		}),
		with("/dev/p", plain(entry.FIFO)),
		with("/etc/tool.conf", func(e *manifest.Entry) { e.Conffile = true; e.Owner = "-"; e.Group = "" }),
		with("/usr", plain(entry.Dir)),
		with("/usr/bin", plain(entry.Dir)),
		with("/usr/bin/\x1b\n\\ \xff\u202e", func(*manifest.Entry) {}),
		with("/usr/bin/hard", func(e *manifest.Entry) {
			e.Hard, e.Size, e.SHA256, e.BLAKE3 = "/usr/bin/su", 0, manifest.SHA256{}, digest.Digest{}
		}),
		with("/usr/bin/link", func(e *manifest.Entry) { plain(entry.Symlink)(e); e.Target = "../a b\xff" }),
		with("/usr/bin/su", func(e *manifest.Entry) { e.Mode = 0o4755; e.UID = 4294967295 }),
		with("/usr-x", func(*manifest.Entry) {}),
	}
}

func build(t testing.TB, h *manifest.Head, list []manifest.Entry) ([]byte, digest.Digest, error) {
	t.Helper()
	b := manifest.NewBuilder(t.TempDir())
	defer b.Close()
	for i := len(list) - 1; i >= 0; i-- { // in any order
		if err := b.Add(&list[i]); err != nil {
			return nil, digest.Digest{}, err
		}
	}
	var out bytes.Buffer
	name, err := b.Write(&out, h)
	return out.Bytes(), name, err
}

func open(b []byte, name digest.Digest) (*manifest.Manifest, error) {
	return manifest.Open(name, bytes.NewReader(b), int64(len(b)))
}

func all(t testing.TB, m *manifest.Manifest) (out []manifest.Entry) {
	t.Helper()
	for e, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	b, name, err := build(t, head(), entries())
	if err != nil || name != digest.Sum(b) {
		t.Fatal(err)
	}
	m, err := open(b, name)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if !reflect.DeepEqual(m.Head, *head()) {
		t.Errorf("got %+v", m.Head)
	}
	if got := all(t, m); !reflect.DeepEqual(got, entries()) || m.Len != len(got) {
		t.Errorf("got %+v", got)
	}
	for _, want := range entries() {
		if got, ok, err := m.Lookup(want.Path); !ok || err != nil || got != want {
			t.Errorf("%q: %+v, %v, %v", want.Path, got, ok, err)
		}
	}
	for _, p := range []entry.Path{"/a", "/usr/bin/sudo", "/usr/bin/su/x", "/zz", "/usr/lib"} {
		if got, ok, err := m.Lookup(p); ok || err != nil {
			t.Errorf("%q: %+v, %v", p, got, err)
		}
	}
	hard, _, _ := m.Lookup("/usr/bin/hard")
	if e, err := m.Content(hard); err != nil || e.Path != "/usr/bin/su" || e.SHA256 != (manifest.SHA256{7}) {
		t.Errorf("%+v, %v", e, err)
	}
	for _, c := range b {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("%q stands in the text", c)
		}
	}
}

// A word stands for each kind that a package can hold.
func TestKinds(t *testing.T) {
	for k := range entry.BlockDevice + 3 {
		e := manifest.Entry{Path: "/x", Kind: k}
		if k == entry.Symlink {
			e.Target = "y"
		}
		_, _, err := build(t, head(), []manifest.Entry{e})
		if want := k == entry.KindUnknown || k == entry.Socket || k > entry.BlockDevice; (err != nil) != want {
			t.Errorf("%v: %v", k, err)
		}
	}
}

// The bytes are part of the format: whoever changes them makes a new version.
func TestSpelling(t *testing.T) {
	b, _, err := build(t, &manifest.Head{Format: "deb", Package: "p", Version: "1", Architecture: "all", Level: manifest.Local, Reason: "no index lists it", ArchiveSize: 1}, entries()[7:10])
	zero := strings.Repeat("0", 62)
	want := "intact.manifest/1\nformat deb\npackage p\nversion 1\narchitecture all\nlevel local\nreason no index lists it\narchive sha256:00" + zero + " 1\n\n" +
		"hard 0755 0 0 root root /usr/bin/su /usr/bin/hard\n" +
		"link 0777 0 0 - - ../a\\x20b\\xff /usr/bin/link\n" +
		"file 4755 4294967295 0 root root 3 sha256:07" + zero + " blake3:08" + zero + " /usr/bin/su\nend 3\n"
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v", b, err)
	}
}

// Whatever byte is changed, the manifest is refused; and what is named by its
// own digest but spelled otherwise is refused too.
func TestEveryByte(t *testing.T) {
	b, name, err := build(t, head(), entries())
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		for _, flip := range []byte{1, 0x20, 0x80} {
			b[i] ^= flip
			if _, err := open(b, name); !errors.Is(err, manifest.ErrDigest) {
				t.Fatalf("byte %d: %v", i, err)
			}
			if m, err := open(b, digest.Sum(b)); err == nil {
				if again, _, err := build(t, &m.Head, all(t, m)); !errors.Is(err, manifest.ErrHard) && (err != nil || !bytes.Equal(again, b)) {
					t.Fatalf("byte %d: a second spelling, %v\n%s", i, err, b)
				}
			}
			b[i] ^= flip
		}
	}
	for n := range b {
		if _, err := open(b[:n], digest.Sum(b[:n])); err == nil {
			t.Fatalf("cut to %d bytes: opened", n)
		}
	}
	for _, more := range []string{"\n", "x", "end 11\n"} {
		long := append(bytes.Clone(b), more...)
		if _, err := open(long, digest.Sum(long)); !errors.Is(err, manifest.ErrMalformed) {
			t.Errorf("%q behind it: %v", more, err)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	e := entries()
	file, dir := e[9], e[5]
	other := dir
	other.Mode = 0o700
	below := file
	below.Path = "/usr/bin/link/x"
	lost := e[7]
	bad := file
	bad.Path = "/usr/../x"
	for name, tt := range map[string]struct {
		list []manifest.Entry
		want error
	}{
		"twice":           {[]manifest.Entry{file, file}, manifest.ErrDuplicate},
		"two directories": {[]manifest.Entry{dir, other}, manifest.ErrDuplicate},
		"below a link":    {[]manifest.Entry{e[8], below}, manifest.ErrBelow},
		"hard link":       {[]manifest.Entry{lost}, manifest.ErrHard},
		"two hard links":  {[]manifest.Entry{lost, {Path: "/b", Kind: entry.File, Hard: "/usr/bin/hard"}}, manifest.ErrHard},
		"path":            {[]manifest.Entry{bad}, manifest.ErrEntry},
		"kind":            {[]manifest.Entry{{Path: "/s", Kind: entry.Socket}}, manifest.ErrEntry},
		"no target":       {[]manifest.Entry{{Path: "/s", Kind: entry.Symlink}}, manifest.ErrEntry},
		"size":            {[]manifest.Entry{{Path: "/s", Kind: entry.File, Size: -1}}, manifest.ErrEntry},
	} {
		if b, _, err := build(t, head(), tt.list); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
	if b, _, err := build(t, head(), []manifest.Entry{dir, dir}); err != nil || !strings.HasSuffix(string(b), "\nend 1\n") {
		t.Errorf("the same directory twice: %v\n%s", err, b)
	}
	for name, spoil := range map[string]func(*manifest.Head){
		"no name":         func(h *manifest.Head) { h.Package = "" },
		"no archive":      func(h *manifest.Head) { h.ArchiveSize = 0 },
		"no key":          func(h *manifest.Head) { h.Chain.Key = "" },
		"no index":        func(h *manifest.Head) { h.Chain.Index = manifest.SHA256{} },
		"signed, why not": func(h *manifest.Head) { h.Reason = "x" },
		"unsigned":        func(h *manifest.Head) { h.Level = manifest.Local },
		"no reason":       func(h *manifest.Head) { h.Level, h.Chain = manifest.None, manifest.Chain{} },
		"controls":        func(h *manifest.Head) { h.Controls = append(h.Controls, h.Controls[0]) },
	} {
		h := head()
		spoil(h)
		if b, _, err := build(t, h, nil); err == nil {
			t.Errorf("%s:\n%s", name, b)
		}
	}
}

// Of a large package only pieces are read again, and each is checked again.
func TestPieces(t *testing.T) {
	f := entries()[9]
	var list []manifest.Entry
	for i := range 30_000 {
		f.Path = entry.Path(fmt.Sprintf("/usr/share/d%03d/f%05d", i/100, i))
		f.Size = int64(i)
		list = append(list, f)
	}
	b, name, err := build(t, head(), list)
	if err != nil {
		t.Fatal(err)
	}
	m, err := open(b, name)
	if err != nil || m.Len != len(list) {
		t.Fatal(err)
	}
	for i := 0; i < len(list); i += 97 {
		if e, ok, err := m.Lookup(list[i].Path); !ok || err != nil || e != list[i] {
			t.Fatalf("%q: %+v, %v", list[i].Path, e, err)
		}
	}
	if got := all(t, m); !reflect.DeepEqual(got, list) {
		t.Error("entries differ")
	}
	b[len(b)/2] ^= 1
	seen := error(nil)
	for _, err := range m.All() {
		seen = err
	}
	if !errors.Is(seen, manifest.ErrDigest) {
		t.Errorf("changed under the reader: %v", seen)
	}
	if _, ok, err := m.Lookup(list[10].Path); !ok || err != nil {
		t.Errorf("in another piece: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	b, _, err := build(f, head(), entries())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("intact.manifest/1\nformat deb\npackage p\nversion 1\narchitecture all\nlevel local\nreason x\narchive sha256:" + strings.Repeat("0", 64) + " 1\nremoves /a\n\ndir 0755 0 0 - root /\nlink 0777 1 2 a b x\\x20 /y\nend 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := open(b, digest.Sum(b))
		if err != nil {
			return
		}
		list := all(t, m)
		again, _, err := build(t, &m.Head, list)
		if errors.Is(err, manifest.ErrHard) {
			return // the reader looks at hard links when it is asked
		}
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("a second spelling, %v\n%q\n%q", err, b, again)
		}
	})
}
