package dirfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

func mounts(t *testing.T, table, root string) *Mounts {
	t.Helper()
	m, err := parseMounts([]byte(table), root)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The kernel escapes space, tab, newline and backslash, nothing else.
func TestMountsWithOddNames(t *testing.T) {
	for _, odd := range []string{"\r", "\v", "\f", "\u0085", "\u00a0", "\u2028", "\xff", "-", " - ", "#", "a b\tc\nd\\"} {
		esc := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`).Replace(odd)
		m := mounts(t, "30 27 8:1 /r"+esc+"x /m"+esc+" rw shared:1 master:2 - fuse.f"+esc+" s"+esc+" rw,o="+esc+"\n31 27 8:1 / /"+esc+" rw -  - rw\n", "/")
		x := m.At(entry.Path("/m" + odd))
		if x == nil || x.BindRoot != "/r"+odd+"x" || x.FSType != "fuse.f"+odd || x.Source != "s"+odd || x.ID != 30 {
			t.Errorf("%q: got %+v", odd, x)
		}
		if x := m.At(entry.Path("/" + odd)); x == nil || x.FSType != "" || x.Source != "-" {
			t.Errorf("%q: got %+v", odd, x)
		}
	}
}

func TestMountsRefused(t *testing.T) {
	const good = "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
	for _, bad := range []string{
		"garbage", "", "x 27 8:1 / /m rw - ext4 /dev/vda rw", "30 -1 8:1 / /m rw - ext4 /dev/vda rw",
		"30 27 8:1 / /m rw ext4 /dev/vda rw", "30 27 8:1 / /m - ext4 /dev/vda rw", "30 27 8:1 / /m rw - ext4", "30 27 8:1 / m rw - ext4 /dev/vda rw",
		"30 27\u00a08:1 / /m rw - ext4 /dev/vda rw",
	} {
		m, err := parseMounts([]byte(good+bad+"\n"+good), "/")
		if m != nil || err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: got %v, %v", bad, m, err)
		}
	}
	if m := mounts(t, "", "/"); m.Known() {
		t.Error("an empty table is known")
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte("30 27 8:1 /sub /mnt/a\\040b rw shared:1 - xfs /dev/sda1 rw\n"), "/mnt")
	f.Add([]byte("27 1 254:0 / / rw - ext4 /dev/vda rw\n"), "/")
	f.Fuzz(func(t *testing.T, b []byte, root string) {
		m, err := parseMounts(b, root)
		if (m == nil) == (err == nil) {
			t.Fatal(m, err)
		}
		if m != nil {
			m.Below()
		}
	})
}

// dirents makes records as getdents64 does.
func dirents(names ...string) (b []byte) {
	for _, n := range names {
		size := (direntName + len(n) + 1 + 7) &^ 7
		r := make([]byte, size)
		binary.NativeEndian.PutUint16(r[16:], uint16(size))
		r[18] = unix.DT_REG
		copy(r[direntName:], n)
		b = append(b, r...)
	}
	return b
}

// A directory that never ends is an error, whatever it is made of.
func TestEndlessDirectory(t *testing.T) {
	for _, tt := range []struct {
		name  string
		names []string
		bytes int
		count int
		want  int // names that are listed
	}{
		{"names", []string{"a", "b", "c"}, 1 << 20, 100, 100},
		{"bytes", []string{"name", "."}, 52, 1000, 10},
		{"nothing but dots", []string{".", ".."}, 1000, 100, 0},
		{"nothing but bad names", []string{"a/b", ""}, 1000, 100, 0},
	} {
		var l Names
		reads := 0
		bad, err := l.fill(func(b []byte) (int, error) {
			if reads++; reads > 1000 {
				t.Fatalf("%s: does not end", tt.name)
			}
			return copy(b, dirents(tt.names...)), nil
		}, tt.bytes, tt.count)
		if !errors.Is(err, unix.EFBIG) || l.Len() != tt.want || bad > tt.count {
			t.Errorf("%s: %d names, %d bad, %v", tt.name, l.Len(), bad, err)
		}
		for i := range l.Len() {
			if n := string(l.Name(i).Bytes()); !slices.Contains(tt.names, n) {
				t.Fatalf("%s: name %q", tt.name, n)
			}
		}
	}
	// At the limit is not over it.
	var l Names
	once := dirents("name", "nam2")
	_, err := l.fill(func(b []byte) (n int, err error) {
		n, once = copy(b, once), nil
		return n, nil
	}, 10, 2)
	if err != nil || l.Len() != 2 {
		t.Errorf("at the limit: %d names, %v", l.Len(), err)
	}
}

// A file system that lies about holes must not lead the reader astray.
func TestExtent(t *testing.T) {
	for _, tt := range []struct {
		off, start, end, size int64
		ok                    bool
	}{
		{0, 0, 100, 100, true}, {0, 10, 20, 100, true}, {10, 10, 11, 100, true}, {10, 99, 100, 100, true},
		{10, 9, 20, 100, false}, {10, 20, 15, 100, false}, {10, 20, 20, 100, false}, {10, 10, 10, 100, false},
		{10, 20, 101, 100, false}, {10, 100, 100, 100, false}, {10, 101, 200, 100, false}, {10, -1, 20, 100, false}, {0, 0, -1, 100, false},
	} {
		if err := checkExtent(tt.off, tt.start, tt.end, tt.size); (err == nil) != tt.ok {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
}

func TestNextData(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 4 << 20
	if err := errors.Join(f.Truncate(size), func() error { _, err := f.WriteAt([]byte("x"), 1<<20); return err }()); err != nil {
		t.Fatal(err)
	}
	file := File{int(f.Fd())}
	for off := int64(0); off < size; {
		start, end, err := file.NextData(off, size)
		if err != nil || start < off || end < start || end <= off || end > size {
			t.Fatalf("at %d: %d, %d, %v", off, start, end, err)
		}
		off = end
	}
}

func TestParseMounts(t *testing.T) {
	table := `22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw - ext4 /dev/vda rw
30 27 8:1 /sub /mnt/a\040b\134c rw shared:1 - xfs /dev/sda1 rw
31 27 8:2 / /srv rw - ext4 /dev/sdb rw
32 31 0:40 / /srv rw - tmpfs none rw
40 27 0:41 / /srvx rw - tmpfs none rw
33 27 8:1 /f /etc/hosts rw - ext4 /dev/vda
`
	m := mounts(t, table, "/")
	for _, c := range []struct {
		at   entry.Path
		want string
	}{
		{"/proc", "22 proc proc /"},
		{"/mnt/a b\\c", "30 xfs /dev/sda1 /sub"},
		{"/srv", "32 tmpfs none /"}, // what is mounted on top counts
		{"/etc/hosts", "33 ext4 /dev/vda /f"},
		{"/nowhere", ""},
	} {
		got := ""
		if x := m.At(c.at); x != nil {
			got = fmt.Sprintf("%d %s %s %s", x.ID, x.FSType, x.Source, x.BindRoot)
		}
		if got != c.want {
			t.Errorf("mount at %q: got %q, want %q", c.at, got, c.want)
		}
	}
	if !m.In("/etc")["hosts"] || m.In("/usr") != nil {
		t.Errorf("names that are mount points: got %v and %v", m.In("/etc"), m.In("/usr"))
	}
	if m := m.ByID(27); m == nil || m.FSType != "ext4" {
		t.Errorf("mount 27: got %v", m)
	}
	under := mounts(t, table, "/srv")
	if len(under.Below()) != 0 {
		t.Errorf("below /srv: got %d mounts, want none: /srvx is a neighbour", len(under.Below()))
	}
}

func TestStackedMountListedFirst(t *testing.T) {
	m := mounts(t, "32 31 0:40 / /srv rw - tmpfs none rw\n31 27 8:2 / /srv rw - ext4 /dev/sdb rw\n", "/")
	if got := m.At("/srv").FSType; got != "tmpfs" {
		t.Errorf("got %s on top of /srv, want tmpfs", got)
	}
}

// tree makes an image with links that point at the host if followed blindly.
func tree(t *testing.T) *Root {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"usr/bin", "usr/lib", "etc", "var"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"bin": "usr/bin", "abs": "/usr/lib", "up": "../../../etc", "loop1": "loop2", "loop2": "loop1",
		"chain": "abs", "etc/deep": "../abs", "dangling": "/usr/none/x",
	}
	for from, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/lib/os-release"), []byte("ID=image\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		if n := r.OpenDirs(); n != 0 {
			t.Errorf("%d directories left open", n)
		}
	})
	return r
}

func TestResolve(t *testing.T) {
	r := tree(t)
	for _, c := range []struct {
		path, want entry.Path
		links      int
		exists     bool
		err        error
	}{
		{"/", "/", 0, true, nil},
		{"/usr/bin", "/usr/bin", 0, true, nil},
		{"/bin", "/usr/bin", 1, true, nil},
		{"/bin/sh", "/usr/bin/sh", 1, false, nil},
		{"/abs/os-release", "/usr/lib/os-release", 1, true, nil},
		{"/up", "/etc", 1, true, nil},
		{"/chain", "/usr/lib", 2, true, nil},
		{"/etc/deep/os-release", "/usr/lib/os-release", 2, true, nil},
		{"/dangling", "/usr/none/x", 1, false, nil},
		{"/usr/lib/os-release/x", "/usr/lib/os-release/x", 0, false, nil},
		{"/none/a/b", "/none/a/b", 0, false, nil},
		{"/loop1", "/loop1", maxLinks, false, ErrTooManyLinks},
	} {
		got, links, exists, err := r.Resolve(c.path)
		if got != c.want || len(links) != c.links || exists != c.exists || !errors.Is(err, c.err) {
			t.Errorf("resolve %q: got %q, %d links, exists %v, error %v; want %q, %d, %v, %v", c.path, got, len(links), exists, err, c.want, c.links, c.exists, c.err)
		}
	}
}

func TestOpenFileStaysInside(t *testing.T) {
	r := tree(t)
	for _, p := range []entry.Path{"/abs/os-release", "/chain/os-release", "/etc/deep/os-release"} {
		b, err := r.ReadFile(p, 100)
		if err != nil || string(b) != "ID=image\n" {
			t.Errorf("read %q: got %q, %v", p, b, err)
		}
		fd, err := r.openResolved(p) // what kernels without openat2 get
		if err != nil {
			t.Errorf("open %q by components: %v", p, err)
			continue
		}
		unix.Close(fd)
	}
	if _, err := r.ReadFile("/usr/lib/os-release", 3); err == nil {
		t.Error("a file over the limit was read")
	}
	if _, err := r.OpenFile("/usr/lib"); err == nil {
		t.Error("a directory was opened as a file")
	}
	if _, err := r.OpenFile("/loop1"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a loop: got %v, want ELOOP", err)
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "a\x00"} {
		if _, err := NewName(bad); !errors.Is(err, ErrName) {
			t.Errorf("name %q: got %v, want ErrName", bad, err)
		}
	}
	dir := t.TempDir()
	want := []string{"\x01", " ", "-", "a", "a\n", "a b", "b\xff", "é"}
	for _, n := range want {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := r.Dir()
	defer d.Release()
	var l Names
	for range 2 { // a list is reused
		l.Reset()
		if bad, err := d.List(&l); bad != 0 || err != nil {
			t.Fatal(bad, err)
		}
		if _, err := unix.Seek(d.FD(), 0, 0); err != nil {
			t.Fatal(err)
		}
		l.Add("a")
		l.Sort()
		l.Unique()
		var got []string
		for i := range l.Len() {
			got = append(got, string(l.Name(i).Bytes()))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// TestXattrsBothWays reads the same attributes by descriptor, by name with the
// -at calls, and by name through /proc.
func TestXattrsBothWays(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(file, "user.intact", []byte("v\x00w"), 0); err != nil {
		t.Skipf("SKIPPED: the file system has no user attributes: %v", err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := r.Dir()
	defer d.Release()
	n, _ := NewName("f")
	f, err := d.OpenFile(n)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	was := atMissing.Load()
	defer atMissing.Store(was)
	var x Xattrs
	for _, c := range []struct {
		name string
		read func(func(name, value []byte)) error
	}{
		{"descriptor", func(each func(name, value []byte)) error { return x.OfFD(f.FD(), each) }},
		{"name", func(each func(name, value []byte)) error { return x.OfName(d, n, each) }},
		{"proc", func(each func(name, value []byte)) error { atMissing.Store(true); return x.OfName(d, n, each) }},
	} {
		got := ""
		if err := c.read(func(name, value []byte) {
			if string(name) == "user.intact" {
				got = string(value)
			}
		}); err != nil || got != "v\x00w" {
			t.Errorf("by %s: got %q, %v", c.name, got, err)
		}
	}
}
