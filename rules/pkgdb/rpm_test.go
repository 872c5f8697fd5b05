package pkgdb_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/rules/pkgdb"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// folder is a Root of real files; links in it are relative.
type folder struct {
	dir  string
	busy bool // databases look written to all the time
	n    *int
}

func (r folder) Open(p entry.Path) (io.ReadCloser, error) {
	f, err := os.Open(r.dir + string(p))
	if err != nil || !r.busy {
		return f, err
	}
	*r.n++
	return written{f}, nil
}

// written is a file that has another time at each look.
type written struct{ *os.File }

func (w written) Stat() (fs.FileInfo, error) {
	now := time.Now()
	if err := os.Chtimes(w.Name(), now, now); err != nil {
		return nil, err
	}
	return w.File.Stat()
}

func (r folder) List(dir entry.Path, each func(string, entry.Kind) error) error {
	list, err := os.ReadDir(r.dir + string(dir))
	for _, e := range list {
		k := entry.File
		if e.Type()&fs.ModeSymlink != 0 {
			k = entry.Symlink
		}
		if err := each(e.Name(), k); err != nil {
			return err
		}
	}
	return err
}

func (r folder) Real(p entry.Path) (entry.Path, bool, error) {
	to, err := filepath.EvalSymlinks(r.dir + string(p))
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	return entry.Path("/" + strings.Trim(strings.TrimPrefix(to, r.dir), "/")), true, err
}

// image makes a root with a database in dir.
func image(t testing.TB, dir, name string, database []byte) folder {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, "/usr/bin"} {
		if err := os.MkdirAll(root+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"/bin": "usr/bin", "/usr/sbin": "bin", "/out": "../../../../etc"} {
		if err := os.Symlink(to, root+link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(root+dir+"/"+name, database, 0o644); err != nil {
		t.Fatal(err)
	}
	return folder{dir: root, n: new(int)}
}

func data(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("rpm/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keys(t testing.TB, name string) pkgdb.Trust {
	t.Helper()
	k := &pgp.Keyring{}
	if err := k.Add(data(t, name)); err != nil {
		t.Fatal(err)
	}
	return pkgdb.Trust{RPM: k, At: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// small.sqlite holds one package three times: signed by two keys, and unsigned.
// Whoever asks gets the answer once, at the level of the first.
func TestRPM(t *testing.T) {
	paths := []entry.Path{"/usr/bin/tool", "/etc/sample.conf", "/var/log/sample.log", "/usr/bin/none", "/usr/bin/priv"}
	for _, dir := range []string{"/var/lib/rpm", "/usr/lib/sysimage/rpm"} {
		r := image(t, dir, "rpmdb.sqlite", data(t, "small.sqlite"))
		a, err := keys(t, "rsa.asc").Owners(context.Background(), r, paths)
		if err != nil {
			t.Fatal(err)
		}
		for i := range paths {
			if paths[i] == "/usr/bin/none" {
				if a[i].State != pkgdb.NoOwner {
					t.Errorf("%s: %+v", paths[i], a[i])
				}
				continue
			}
			if a[i].State != pkgdb.Owned || len(a[i].Owners) != 1 || a[i].More != 0 {
				t.Fatalf("%s: %+v", paths[i], a[i])
			}
			o := a[i].Owners[0]
			if o.Package != "sample.x86_64" || o.Version != "2:1.2~rc1-3" || o.Level != pkgdb.Signed || o.Why != "" || len(o.Key) != 40 || o.Installed.IsZero() {
				t.Errorf("%s: %+v", paths[i], o)
			}
		}
		tool, conf, log, priv := a[0].Owners[0], a[1].Owners[0], a[2].Owners[0], a[4].Owners[0]
		if tool.Conffile || !conf.Conffile || tool.MD5 != "" || len(tool.SHA256) != 64 || *tool.File.Mode != 0o100755 || tool.File.User != "root" {
			t.Errorf("%+v, %+v", tool, conf)
		}
		if !log.Ghost || log.HasDigest() || log.File != nil {
			t.Errorf("ghost: %+v", log)
		}
		if priv.File.Caps != "cap_net_raw=ep" || *priv.File.Mode != 0o104755 {
			t.Errorf("%+v", priv.File)
		}
	}
}

// The levels go down with a reason, and never up.
func TestRPMLevels(t *testing.T) {
	edited := bytes.Replace(data(t, "wal.sqlite"), []byte("Example"), []byte("Exomple"), 1)
	for _, tt := range []struct {
		name, db, log string
		trust         pkgdb.Trust
		level         pkgdb.Level
		why           string
	}{
		{"signed", "small.sqlite", "", keys(t, "rsa.asc"), pkgdb.Signed, ""},
		{"no-keys", "small.sqlite", "", pkgdb.Trust{}, pkgdb.Local, "no key is pinned"},
		{"other-key", "small.sqlite", "", keys(t, "brief.asc"), pkgdb.Local, "not pinned"},
		{"unsigned", "wal.sqlite", "", keys(t, "rsa.asc"), pkgdb.Local, "no signature"},
		{"by-the-log", "wal.sqlite", "wal.sqlite-wal", keys(t, "rsa.asc"), pkgdb.Signed, ""},
		{"md5", "md5.ndb", "", keys(t, "rsa.asc"), pkgdb.Local, "digests of files are md5"},
		{"edited", "", "", keys(t, "rsa.asc"), pkgdb.None, "its own digest"},
	} {
		db := edited
		if tt.db != "" {
			db = data(t, tt.db)
		}
		file := "rpmdb.sqlite"
		if strings.HasSuffix(tt.db, ".ndb") {
			file = "Packages.db"
		}
		r := image(t, "/var/lib/rpm", file, db)
		if tt.log != "" {
			if err := os.WriteFile(r.dir+"/var/lib/rpm/rpmdb.sqlite-wal", data(t, tt.log), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		a, err := tt.trust.Owners(context.Background(), r, []entry.Path{"/usr/bin/tool"})
		if err != nil || a[0].State != pkgdb.Owned {
			t.Fatalf("%s: %+v, %v", tt.name, a, err)
		}
		o := a[0].Owners[0]
		if o.Level != tt.level || !strings.Contains(o.Why, tt.why) || (o.Why == "") != (tt.why == "") || (o.Key != "") != (tt.level == pkgdb.Signed || tt.name == "md5") {
			t.Errorf("%s: %+v", tt.name, o)
		}
	}
}

// A second folder is the first one under another name, or nobody knows which counts.
func TestRPMFolders(t *testing.T) {
	one := []entry.Path{"/usr/bin/tool"}
	r := image(t, "/usr/lib/sysimage/rpm", "rpmdb.sqlite", data(t, "small.sqlite"))
	if err := errors.Join(os.MkdirAll(r.dir+"/var/lib", 0o755), os.Symlink("../../usr/lib/sysimage/rpm", r.dir+"/var/lib/rpm")); err != nil {
		t.Fatal(err)
	}
	if a, err := keys(t, "rsa.asc").Owners(context.Background(), r, one); err != nil || a[0].State != pkgdb.Owned {
		t.Errorf("by a link: %+v, %v", a, err)
	}
	if err := errors.Join(os.Remove(r.dir+"/var/lib/rpm"), os.Mkdir(r.dir+"/var/lib/rpm", 0o755), os.WriteFile(r.dir+"/var/lib/rpm/Packages", data(t, "little.bdb"), 0o644)); err != nil {
		t.Fatal(err)
	}
	a, err := keys(t, "rsa.asc").Owners(context.Background(), r, one)
	if err != nil || a[0].State != pkgdb.Unknown || !strings.Contains(a[0].Reason, "rpm databases in") {
		t.Errorf("two of them: %+v, %v", a, err)
	}
}

func TestRPMUnknown(t *testing.T) {
	good := data(t, "small.sqlite")
	for _, tt := range []struct {
		name, file string
		db         []byte
		reason     string
	}{
		{"berkeley", "Packages", []byte("x"), "it ends before"},
		{"empty-folder", "other", nil, "no rpm database"},
		{"empty", "rpmdb.sqlite", nil, "malformed"},
		{"cut", "rpmdb.sqlite", good[:2048], "malformed"},
		{"ndb", "Packages.db", good, "malformed"},
	} {
		r := image(t, "/var/lib/rpm", tt.file, tt.db)
		a, err := pkgdb.Owners(context.Background(), r, []entry.Path{"/usr/bin/tool", "/x"})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range a {
			if x.State != pkgdb.Unknown || !strings.Contains(x.Reason, tt.reason) || len(x.Owners) != 0 {
				t.Errorf("%s: %+v", tt.name, x)
			}
		}
	}
	r := image(t, "/var/lib/rpm", "rpmdb.sqlite", good)
	r.busy = true
	a, err := pkgdb.Owners(context.Background(), r, []entry.Path{"/usr/bin/tool"})
	if err != nil || a[0].State != pkgdb.Unknown || !strings.Contains(a[0].Reason, "changed while it was read") || *r.n != 1+3 {
		t.Errorf("written to: %+v, %v, opened %d times", a, err, *r.n)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	r.busy = false
	if _, err := pkgdb.Owners(ctx, r, []entry.Path{"/x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Memory is bounded by what was asked for: of a path that many packages
// list, a few are named.
func TestRPMBounds(t *testing.T) {
	r := image(t, "/var/lib/rpm", "Packages.db", data(t, "crowd.ndb"))
	a, err := pkgdb.Owners(context.Background(), r, []entry.Path{"/usr/bin/tool"})
	if err != nil || len(a[0].Owners) != 8 || a[0].More != 4 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestInstalledRPM(t *testing.T) {
	r := image(t, "/var/lib/rpm", "rpmdb.sqlite", data(t, "wal.sqlite"))
	list, err := pkgdb.Installed(context.Background(), r)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, p := range list {
		if p.Kind != "rpm" || p.Status != "installed" || p.Version == "" || p.Stanza == (digest.Digest{}) {
			t.Errorf("%+v", p)
		}
	}
	for _, broken := range [][]byte{nil, data(t, "wal.sqlite")[:700]} {
		r := image(t, "/var/lib/rpm", "rpmdb.sqlite", broken)
		if list, err := pkgdb.Installed(context.Background(), r); err == nil || list != nil {
			t.Errorf("%d bytes: %v", len(broken), list)
		}
	}
}
