package deb_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/deb822"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/unpack"
)

var now = time.Now().UTC().Truncate(time.Second)

// need skips a test where a program is missing.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED: %s is not installed", p)
		}
	}
}

func run(t testing.TB, stdin []byte, argv ...string) []byte {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, stderr.Bytes())
	}
	return out
}

// built makes a package with dpkg-deb.
func built(t testing.TB, name, version, compression string, files map[string]string) []byte {
	t.Helper()
	need(t, "dpkg-deb")
	dir := t.TempDir()
	put := func(name, content string) {
		p := filepath.Join(dir, "p", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	conffiles := ""
	for name, content := range files {
		put(name, content)
		if strings.HasPrefix(name, "etc/") {
			conffiles += "/" + name + "\n"
		}
	}
	put("DEBIAN/control", fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n", name, version))
	put("DEBIAN/conffiles", conffiles)
	out := filepath.Join(dir, "x.deb")
	run(t, nil, "dpkg-deb", "--root-owner-group", "-Z"+compression, "--build", filepath.Join(dir, "p"), out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signing is a key of gpg that all tests share: making one takes time.
var signing struct {
	once sync.Once
	home string
	ring []byte
}

func TestMain(m *testing.M) {
	code := m.Run()
	if signing.home != "" {
		_ = exec.Command("gpgconf", "--homedir", signing.home, "--kill", "gpg-agent").Run()
		os.RemoveAll(signing.home)
	}
	os.Exit(code)
}

func gpg(t testing.TB, stdin []byte, args ...string) []byte {
	return run(t, stdin, append([]string{"gpg", "--homedir", signing.home, "--batch", "--quiet", "--no-tty", "--passphrase", ""}, args...)...)
}

func keyring(t testing.TB) *pgp.Keyring {
	t.Helper()
	need(t, "gpg")
	signing.once.Do(func() {
		home, err := os.MkdirTemp("", "gpg")
		if err != nil {
			t.Fatal(err)
		}
		signing.home = home
		gpg(t, nil, "--quick-generate-key", "Archive <a@example.org>", "ed25519", "sign", "never")
		signing.ring = gpg(t, nil, "--export")
	})
	k := &pgp.Keyring{}
	if err := k.Add(signing.ring); err != nil {
		t.Fatal(err)
	}
	return k
}

// stanza is the entry of a package in an index.
func stanza(name, version string, b []byte) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nFilename: pool/%s.deb\nSize: %d\nSHA256: %x\n\n", name, version, name, len(b), sha256.Sum256(b))
}

// listed is a row of a release.
func listed(name, content string) string {
	return fmt.Sprintf(" %x %d %s\n", sha256.Sum256([]byte(content)), len(content), name)
}

func release(fields, rows string) string {
	return "Origin: Test\nSuite: stable\nCodename: test\nDate: " + now.Add(-time.Hour).Format("Mon, _2 Jan 2006 15:04:05") + " UTC\n" + fields +
		"MD5Sum:\n 0123 1 main/binary-all/Packages\nSHA256:\n" + rows
}

func signed(t testing.TB, text string) []byte { return gpg(t, []byte(text), "--clearsign") }

func prove(t testing.TB, files fstest.MapFS, k *pgp.Keyring, at time.Time, b []byte) (*manifest.Head, []error) {
	t.Helper()
	a, _, err := record(b)
	if err != nil {
		t.Fatal(err)
	}
	proofs, problems, err := deb.Lists{Dir: files, Ring: k, Now: at}.Prove(context.Background(), deb.Want(a.Identity))
	if err != nil {
		t.Fatal(err)
	}
	h, _ := a.Head(proofs, at, deb.Unvouched(problems))
	return h, problems
}

func TestChain(t *testing.T) {
	k := keyring(t)
	b := built(t, "tool", "1.2-3", "xz", map[string]string{"usr/bin/tool": "program"})
	index := stanza("other", "1", b) + stanza("tool", "1.2-2", nil) + stanza("tool", "1.2-3", b)
	lists := fstest.MapFS{
		"host_test_InRelease":                {Data: signed(t, release("", listed("main/binary-all/Packages", index)))},
		"host_test_main_binary-all_Packages": {Data: []byte(index)},
		"lock":                               {Mode: fs.ModeDir},
	}
	h, problems := prove(t, lists, k, now, b)
	c := h.Chain
	if h.Level != manifest.Signed || len(problems) != 0 || h.Archive != sha256.Sum256(b) || c.Key != k.Keys()[0].Fingerprint || c.UID != "Archive <a@example.org>" ||
		c.Origin != "Test" || c.Suite != "stable" || c.Codename != "test" || c.Index != sha256.Sum256([]byte(index)) || c.IndexName != "main/binary-all/Packages" ||
		c.Release != sha256.Sum256(lists["host_test_InRelease"].Data) || c.Filename != "pool/tool.deb" || !c.Verified.Equal(now) || c.Date.IsZero() {
		t.Errorf("%+v, %v", h, problems)
	}
}

// However apt keeps an index, it is the one that is listed.
func TestCompressedIndex(t *testing.T) {
	k := keyring(t)
	b := built(t, "tool", "1", "gzip", nil)
	index := stanza("tool", "1", b) + strings.Repeat("\n", 100_000)
	plain := signed(t, release("", listed("main/binary-all/Packages", index)))
	for suffix, argv := range map[string][]string{".xz": {"xz", "-c"}, ".gz": {"gzip", "-c"}, ".lz4": {"lz4", "-c"}, ".zst": {"zstd", "-c"}, ".bz2": {"bzip2", "-c"}} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Logf("SKIPPED: %s is not installed", argv[0])
			continue
		}
		packed := run(t, []byte(index), argv...)
		name := "main/binary-all/Packages" + suffix
		for what, in := range map[string][]byte{"plain": plain, "packed": signed(t, release("", listed(name, string(packed))))} {
			lists := fstest.MapFS{"x_InRelease": {Data: in}, "x_main_binary-all_Packages" + suffix: {Data: packed}}
			if h, problems := prove(t, lists, k, now, b); h.Level != manifest.Signed {
				t.Errorf("%s listed %s: %+v, %v", suffix, what, h, problems)
			}
		}
	}
}

// When a link does not hold, the level goes down, and the reason says which.
func TestLevelsGoDown(t *testing.T) {
	k := keyring(t)
	b := built(t, "tool", "1", "xz", map[string]string{"usr/bin/tool": "program"})
	evil := built(t, "tool", "1", "xz", map[string]string{"usr/bin/tool": "evil"})
	index := stanza("tool", "1", b)
	rows := listed("main/binary-all/Packages", index)
	good := signed(t, release("", rows))
	past := now.Add(-time.Minute).Format("Mon, _2 Jan 2006 15:04:05") + " GMT"
	for name, tt := range map[string]struct {
		in, index string
		deb       []byte
		level     manifest.Level
		reason    string
	}{
		"good":             {string(good), index, b, manifest.Signed, ""},
		"another archive":  {string(good), index, evil, manifest.None, "another archive"},
		"edited index":     {string(good), stanza("tool", "1", evil), evil, manifest.Local, "index is not the one"},
		"appended index":   {string(good), index + "\n", b, manifest.Local, "more comes out than is allowed"},
		"edited release":   {strings.Replace(string(good), "stable", "stably", 1), index, b, manifest.Local, "no good signature"},
		"unsigned release": {release("", rows), index, b, manifest.Local, "not one clear-signed"},
		"text before":      {"Suite: x\n" + string(good), index, b, manifest.Local, "not one clear-signed"},
		"text behind":      {string(good) + release("", rows), index, b, manifest.Local, "not one clear-signed"},
		"cut release":      {string(good[:len(good)/2]), index, b, manifest.Local, "not one clear-signed"},
		"expired":          {string(signed(t, release("Valid-Until: "+past+"\n", rows))), index, b, manifest.Local, "no longer valid"},
		"no SHA-256":       {string(signed(t, strings.Replace(release("", rows), "SHA256", "SHA1", 1))), index, b, manifest.Local, "SHA-256"},
		"malformed date":   {string(signed(t, strings.Replace(release("", rows), "UTC", "PST", 1))), index, b, manifest.Local, `"x_InRelease":4: `},
		"malformed row":    {string(signed(t, release("", rows)+" x\n")), index, b, manifest.Local, `"x_InRelease":9: `},
		"two stanzas":      {string(signed(t, release("", rows)+"\nSuite: x\n")), index, b, manifest.Local, "more than one stanza"},
		"not in it":        {string(signed(t, release("", listed("main/binary-all/Packages", "X: y\n")))), "X: y\n", b, manifest.Local, "no signed index lists it"},
		"no size in index": {string(signed(t, release("", listed("Packages", strings.Replace(index, "Size", "Sise", 1))))), strings.Replace(index, "Size", "Sise", 1), b, manifest.Local, "no size"},
		"damaged index":    {string(good), "\xfd7zXZ\x00garbage", b, manifest.Local, "xz"},
	} {
		lists := fstest.MapFS{"x_InRelease": {Data: []byte(tt.in)}, "x_main_binary-all_Packages": {Data: []byte(tt.index)}}
		if h, problems := prove(t, lists, k, now, tt.deb); h.Level != tt.level || !strings.Contains(h.Reason, tt.reason) || (h.Reason == "") != (tt.level == manifest.Signed) {
			t.Errorf("%s: %s, %q, %v", name, h.Level, h.Reason, problems)
		}
	}
	lists := fstest.MapFS{"x_InRelease": {Data: good}, "x_main_binary-all_Packages": {Data: []byte(index)}}
	if h, _ := prove(t, lists, &pgp.Keyring{}, now, b); h.Level != manifest.Local || !strings.Contains(h.Reason, "not pinned") {
		t.Errorf("no key is pinned: %s, %q", h.Level, h.Reason)
	}
	if h, _ := prove(t, fstest.MapFS{}, k, now, b); h.Level != manifest.Local || !strings.Contains(h.Reason, "no lists") {
		t.Errorf("no lists: %s, %q", h.Level, h.Reason)
	}
	links := fstest.MapFS{"x_InRelease": {Data: good, Mode: fs.ModeSymlink}}
	if h, _ := prove(t, links, k, now, b); h.Level != manifest.Local || !strings.Contains(h.Reason, "not a regular file") {
		t.Errorf("a link: %s, %q", h.Level, h.Reason)
	}
}

// Before the digest of an index is known nothing of it is told, and a bomb ends.
func TestSearch(t *testing.T) {
	k := keyring(t)
	index := stanza("tool", "1", nil)
	r, err := deb.ReadRelease("x", signed(t, release("", listed("Packages", index))), k, now)
	if err != nil {
		t.Fatal(err)
	}
	want := deb.Want(deb.Identity{Package: "tool", Version: "1", Architecture: "all"})
	got, err := r.Search(context.Background(), "p", strings.NewReader(index), want)
	if err != nil || len(got) != 1 || got[0].Size != 0 || got[0].Release != r {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range index {
		b := []byte(index)
		b[i] ^= 1
		if got, err := r.Search(context.Background(), "p", bytes.NewReader(b), want); err == nil || got != nil {
			t.Fatalf("byte %d: %+v, %v", i, got, err)
		}
	}
	bomb := gzipped(strings.Repeat("X: y\n\n", 100_000))
	if _, err := r.Search(context.Background(), "p", strings.NewReader(bomb), want); !errors.Is(err, unpack.ErrOutput) {
		t.Errorf("bomb: %v", err)
	}
	if _, err := r.Search(context.Background(), "p", strings.NewReader("A: 1\nb\n"), want); err == nil || !strings.Contains(err.Error(), `"p":2:`) {
		t.Errorf("position: %v", err)
	} else if at := (*deb822.LineError)(nil); !errors.As(err, &at) || at.Line != 2 {
		t.Errorf("position: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := r.Search(ctx, "p", strings.NewReader(index), want); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// On a Debian host, what is installed is looked for in the lists of apt.
func TestHost(t *testing.T) {
	const lists, ring, status = "/var/lib/apt/lists", "/usr/share/keyrings/debian-archive-keyring.gpg", "/var/lib/dpkg/status"
	b, err := os.ReadFile(ring)
	if err != nil {
		t.Skip("SKIPPED: the keyring of Debian is not installed")
	}
	releases, _ := filepath.Glob(lists + "/*debian.org*_InRelease")
	if len(releases) == 0 {
		t.Skip("SKIPPED: apt has no lists of Debian here")
	}
	k := &pgp.Keyring{}
	if err := k.Add(b); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(status)
	if err != nil {
		t.Skip("SKIPPED: no status of dpkg")
	}
	defer f.Close()
	var ids []deb.Identity
	for in := deb822.NewReader(f, status); ; {
		s, err := in.Next()
		if err != nil {
			break
		}
		ids = append(ids, deb.Identity{Package: s.Get("Package"), Version: s.Get("Version"), Architecture: s.Get("Architecture")})
	}
	start := time.Now()
	proofs, problems, err := deb.Lists{Dir: os.DirFS(lists), Ring: k, Now: time.Now()}.Prove(t.Context(), deb.Want(ids...))
	if err != nil {
		t.Fatal(err)
	}
	known := map[deb.Identity]bool{}
	for _, p := range proofs {
		known[p.Identity] = true
	}
	t.Logf("%d of %d installed packages are in a signed index, in %v; problems: %v", len(known), len(ids), time.Since(start).Round(time.Millisecond), problems)
	if len(problems) == 0 && len(known) == 0 {
		t.Error("no installed package is in an index")
	}
}

func FuzzSearch(f *testing.F) {
	f.Add([]byte(stanza("tool", "1", nil) + stanza("x", "2", nil)))
	f.Add([]byte(gzipped(stanza("tool", "1", nil))))
	want := deb.Want(deb.Identity{Package: "tool", Version: "1", Architecture: "all"})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &deb.Release{Indexes: []deb.Index{{Name: "main/Packages", SHA256: sha256.Sum256(b), Size: int64(len(b))}}}
		proofs, err := r.Search(t.Context(), "x", bytes.NewReader(b), want)
		for _, p := range proofs {
			if err != nil || p.Package != "tool" || p.Index != r.Indexes[0] || !bytes.Contains(b, []byte(p.Filename)) {
				t.Errorf("%+v, %v", p, err)
			}
		}
	})
}
