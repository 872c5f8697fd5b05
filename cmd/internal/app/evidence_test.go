package app

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

func TestParseStat(t *testing.T) {
	const tail = " S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0 18446744073709551615"
	for _, name := range []string{"sh", "", ") R 1 (", "a b\nc", "((", "))"} {
		p, err := parseStat([]byte("12 (" + name + ")" + tail + "\n"))
		if err != nil || p.name != name || p.state != "S" || p.parent != 7 || p.started != 47110*time.Millisecond {
			t.Errorf("%q: got %+v, %v", name, p, err)
		}
	}
	for _, bad := range []string{"", "12 sh S 7", "12 (sh", "12 )sh(" + tail, "12 (sh) S 7 1", "12 (sh)" + strings.Replace(tail, " 7 ", " x ", 1)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestRealUID(t *testing.T) {
	if got := realUID([]byte("Name:\tUid:\\n\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t5\n")); got != "1000" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"", "Uid:\n", "Gid:\t1\n"} {
		if got := realUID([]byte(bad)); got != "?" {
			t.Errorf("%q: got %q", bad, got)
		}
	}
}

func TestKeyword(t *testing.T) {
	if got, want := keyword([]byte("user.a=b%c")), "SCHILY.xattr.user.a%3Db%25c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrivatePaths(t *testing.T) {
	v := &evidence{closed: []entry.Path{"/var/lib/intact"}, secret: map[inode]bool{{1, 2}: true}}
	for p, want := range map[entry.Path]bool{
		"/var/lib/intact":                       false,
		"/var/lib/intact/keys":                  false,
		"/var/lib/intact/keys/report":           true,
		"/var/lib/intact/keys/a/b":              true,
		"/var/lib/intact/keysx":                 false,
		"/var/lib/intact/former/1/keys":         false,
		"/var/lib/intact/former/1/keys/r":       true,
		"/var/lib/intact/former/1/reports/r":    false,
		"/var/lib/intact/former/1/keys/former":  true,
		"/srv/keys/report":                      false,
		"/var/lib/intact/reports/keys":          false,
		"/srv/var/lib/intact/keys/report/inner": false,
	} {
		if got := v.private(p, &dirfd.Stat{Inode: 3}); got != want {
			t.Errorf("%q: got %v, want %v", p, got, want)
		}
	}
	if !v.private("/srv/x", &dirfd.Stat{Device: 1, Inode: 2}) || v.private("/srv/x", &dirfd.Stat{Device: 2, Inode: 2}) {
		t.Error("an inode is not told by its numbers")
	}
}

// opened closes a casket and returns its members by name.
func opened(t *testing.T, c *casket, name string) map[string]string {
	t.Helper()
	if err := c.finish([]byte("head\n")); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(all); hex.EncodeToString(sum[:]) != c.sum() {
		t.Error("the sum is not that of the file")
	}
	z, err := gzip.NewReader(strings.NewReader(string(all)))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		m[h.Name] = string(b)
	}
}

func newTestCasket(t *testing.T, ctx context.Context) (*casket, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c, err := newCasket(ctx, f, filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.lines.Close() })
	return c, name
}

// A file that cannot be read to its end is a gap, and the archive stays whole.
func TestCasketShort(t *testing.T) {
	c, name := newTestCasket(t, t.Context())
	broken := errors.New("disk on fire")
	for _, m := range []struct {
		name string
		r    io.Reader
	}{
		{"whole", iotest.OneByteReader(strings.NewReader("12345"))},
		{"longer", strings.NewReader("1234567")},
		{"shorter", strings.NewReader("123")},
		{"broken", io.MultiReader(strings.NewReader("1"), iotest.ErrReader(broken))},
		{"line\nend", strings.NewReader("abcde")},
	} {
		if err := c.file(&tar.Header{Name: m.name, Size: 5}, m.r); err != nil {
			t.Fatal(err)
		}
	}
	got := opened(t, c, name)
	for name, want := range map[string]string{"whole": "12345", "longer": "12345", "shorter": "123\x00\x00", "broken": "1\x00\x00\x00\x00", "line\nend": "abcde"} {
		if got[name] != want {
			t.Errorf("%q: got %q, want %q", name, got[name], want)
		}
	}
	manifest := got[manifestName]
	sum := sha256.Sum256([]byte("123"))
	for _, want := range []string{
		"head\n", "gap shorter: only 3 of 5 bytes were read, zeros follow: it became shorter", "gap broken: only 1 of 5 bytes were read, zeros follow: disk on fire",
		"file " + hex.EncodeToString(sum[:]) + " ", ` 5 line\nend` + "\n",
	} {
		if !strings.Contains(manifest, want) {
			t.Errorf("the MANIFEST lacks %q:\n%s", want, manifest)
		}
	}
	if c.gaps != 2 || c.members != 5 {
		t.Errorf("got %d gaps, %d members", c.gaps, c.members)
	}
}

// What the format cannot hold is a gap.
func TestCasketHeader(t *testing.T) {
	c, name := newTestCasket(t, t.Context())
	if err := c.empty(&tar.Header{Name: "x", Typeflag: tar.TypeDir, PAXRecords: map[string]string{"INTACT.a=b": "c"}}, "dir"); err != nil {
		t.Fatal(err)
	}
	if err := c.bytes("y", []byte("why"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	got := opened(t, c, name)
	if c.gaps != 1 || got["y"] != "why" || !strings.Contains(got[manifestName], "gap x: ") {
		t.Errorf("got %d gaps, %q", c.gaps, got)
	}
}

func TestCasketCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := newTestCasket(t, ctx)
	r := &cancelling{cancel: cancel}
	if err := c.file(&tar.Header{Name: "x", Size: 1 << 40}, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.bytes("y", nil, time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// cancelling is an endless file whose third block cancels.
type cancelling struct {
	n      int
	cancel func()
}

func (r *cancelling) Read(b []byte) (int, error) {
	if r.n++; r.n == 3 {
		r.cancel()
	}
	return len(b), nil
}

// Nothing that appeared meanwhile is replaced.
func TestPublishReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	from, to := put("from"), put("to")
	v := &evidence{}
	if err := v.publish(from, to); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(to); err != nil || string(b) != to {
		t.Errorf("got %q, %v", b, err)
	}
	v.o.Force = true
	if err := v.publish(from, to); err != nil {
		t.Error(err)
	}
}

// A folder that became a link while it was saved would lead an extraction out
// of its folder: nothing is put below a link.
func TestNothingBelowLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := r.Dir()
	defer d.Release()
	c, name := newTestCasket(t, t.Context())
	v := &evidence{session: &session{root: r}, casket: c, links: map[entry.Path]bool{"/a": true}}
	for _, p := range []entry.Path{"/a/b", "/a/c/b", "/ab/b"} {
		if err := v.object(d, dirfd.Name("b\x00"), p, true, true); err != nil {
			t.Fatal(err)
		}
	}
	got := opened(t, c, name)
	if c.gaps != 2 || len(got) != 2 || got["files/ab/b"] != "x" {
		t.Errorf("got %d gaps, %q", c.gaps, got)
	}
}

// A file that becomes another while it is read is judged by what was read of it,
// and nothing of it is read again.
func TestKeyBehindFault(t *testing.T) {
	c, name := newTestCasket(t, t.Context())
	v := &evidence{casket: c}
	const key = "-----BEGIN RSA PRIVATE KEY-----"
	for i, r := range []io.Reader{
		io.MultiReader(strings.NewReader("short"), iotest.ErrReader(errors.New("fault")), strings.NewReader(key)),
		io.MultiReader(strings.NewReader("short")),
		strings.NewReader(key),
		strings.NewReader(strings.Repeat("x", maxKeyText-len(key)) + key),
	} {
		h := &tar.Header{Name: string(rune('a' + i)), Size: 100}
		if i == 3 {
			h.Size = maxKeyText
		}
		content, err := v.judged(r, h)
		if err == nil && content != nil {
			err = v.file(h, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := opened(t, c, name)
	want := "short" + strings.Repeat("\x00", 95)
	if len(got) != 3 || got["a"] != want || got["b"] != want {
		t.Errorf("got %q", got)
	}
	if m := got[manifestName]; strings.Count(m, "\nskip ") != 2 || strings.Count(m, "gap ") != 2 {
		t.Errorf("got %s", m)
	}
}
