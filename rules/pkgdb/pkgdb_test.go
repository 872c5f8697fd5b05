package pkgdb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"intact/rules/pkgdb"
	"intact/scanner/entry"
)

// tree is a Root of literal files; links lead from a folder in "/" elsewhere.
type tree struct {
	files map[entry.Path]string
	links map[entry.Path]entry.Path
	fail  entry.Path // Open of it fails
}

func (r tree) Open(p entry.Path) (io.ReadCloser, error) {
	if p == r.fail {
		return nil, fs.ErrPermission
	}
	text, ok := r.files[p]
	if !ok {
		return nil, fmt.Errorf("open: %w", fs.ErrNotExist)
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (r tree) List(dir entry.Path, each func(string, entry.Kind) error) error {
	if dir == "/" {
		for l := range r.links {
			if err := each(l.Base(), entry.Symlink); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range slices.Sorted(maps.Keys(r.files)) {
		if p.Dir() == dir {
			if err := each(p.Base(), entry.File); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r tree) Real(p entry.Path) (entry.Path, bool, error) {
	if p == r.fail {
		return p, false, fs.ErrPermission
	}
	if to, ok := r.links[p]; ok {
		return to, true, nil
	}
	for f := range r.files {
		if f.Under(p) {
			return p, true, nil
		}
	}
	return p, false, nil
}

const (
	sumA = "b1946ac92492d2347c6235b4d2611184"
	sumB = "78b9861f74e15d7d0f077ba22421b8e4"
	info = "/var/lib/dpkg/info/"
)

func debian() tree {
	return tree{
		links: map[entry.Path]entry.Path{"/bin": "/usr/bin", "/self": "/"},
		files: map[entry.Path]string{
			"/var/lib/dpkg/status": "Package: a\nStatus: install ok installed\nVersion: 1\nConffiles:\n /etc/a " + sumA + "\n /etc/sp ace " + sumA +
				" obsolete\n /etc/new newconffile\nDescription: x\n /etc/a " + sumB + "\n\nPackage: b\nArchitecture: amd64\nVersion: 2\n",
			info + "a.list":          "/.\n/bin\n/bin/tool\n/etc/a\n/etc/sp ace\n/etc/new\n/usr/bin/div\n",
			info + "a.md5sums":       sumA + "  bin/tool\n" + sumA + "  usr/bin/div\n",
			info + "b:amd64.list":    "/usr/bin/two\n/etc/a\n",
			info + "b:amd64.md5sums": strings.ToUpper(sumB) + " *./usr/bin/two\n",
			info + "d.list":          "/usr/bin/div\n",
			info + "d.md5sums":       sumB + "  usr/bin/div\n",
			info + "x.postinst":      "not a list\n",
			"/var/lib/dpkg/diversions": "/usr/bin/div\n/usr/bin/div.real\nd\n" +
				"/usr/bin/two\n/usr/bin/two.local\n:\n",
		},
	}
}

func ask(t *testing.T, r pkgdb.Root, paths ...entry.Path) []pkgdb.Answer {
	t.Helper()
	a, err := pkgdb.Owners(context.Background(), r, paths)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestOwners(t *testing.T) {
	a := pkgdb.Owner{Package: "a", Version: "1", Status: "install ok installed", Level: pkgdb.Local}
	b := pkgdb.Owner{Package: "b:amd64", Arch: "amd64", Version: "2", Level: pkgdb.Local}
	with := func(o pkgdb.Owner, listed entry.Path, md5 string, f func(*pkgdb.Owner)) pkgdb.Owner {
		o.Listed, o.MD5 = listed, md5
		if f != nil {
			f(&o)
		}
		return o
	}
	conffile := func(o *pkgdb.Owner) { o.Conffile = true }
	want := map[entry.Path][]pkgdb.Owner{
		"/usr/bin/tool":      {with(a, "/bin/tool", sumA, nil)}, // listed through the link of the merged /usr
		"/etc/a":             {with(a, "/etc/a", sumA, conffile), with(b, "/etc/a", "", nil)},
		"/etc/sp ace":        {with(a, "/etc/sp ace", sumA, conffile)},
		"/etc/new":           {with(a, "/etc/new", "", conffile)},
		"/usr/bin/div":       {{Package: "d", Listed: "/usr/bin/div", MD5: sumB, Level: pkgdb.Local}},
		"/usr/bin/div.real":  {with(a, "/usr/bin/div", sumA, func(o *pkgdb.Owner) { o.Diverted = true })},
		"/usr/bin/two":       nil, // diverted by the administrator
		"/usr/bin/two.local": {with(b, "/usr/bin/two", sumB, func(o *pkgdb.Owner) { o.Diverted = true })},
		"/usr/bin/none":      nil,
		"/bin":               {with(a, "/bin", "", nil)},
	}
	paths := slices.Sorted(maps.Keys(want))
	for i, got := range ask(t, debian(), paths...) {
		state := pkgdb.Owned
		if want[paths[i]] == nil {
			state = pkgdb.NoOwner
		}
		if got.State != state || !reflect.DeepEqual(got.Owners, want[paths[i]]) {
			t.Errorf("%s: got %+v\nwant %+v", paths[i], got, want[paths[i]])
		}
	}
}

func TestStates(t *testing.T) {
	if a := ask(t, tree{files: map[entry.Path]string{"/etc/x": ""}}, "/etc/x")[0]; a.State != pkgdb.Absent {
		t.Errorf("nothing there: %+v", a)
	}
	// What is not text of dpkg makes the answer unknown, never "no package".
	for name, spoil := range map[string]func(r *tree){
		"list":        func(r *tree) { r.files[info+"z.list"] = "relative\n" },
		"empty line":  func(r *tree) { r.files[info+"z.list"] = "/x\n\n" },
		"long line":   func(r *tree) { r.files[info+"z.list"] = "/" + strings.Repeat("x", 1<<20) },
		"md5sums":     func(r *tree) { r.files[info+"a.md5sums"] = "zz  bin/tool\n" },
		"diversions":  func(r *tree) { r.files["/var/lib/dpkg/diversions"] = "/a\n/b\n" },
		"diverted to": func(r *tree) { r.files["/var/lib/dpkg/diversions"] = "/a\nb\nc\n" },
		"status":      func(r *tree) { r.files["/var/lib/dpkg/status"] = "Package\n" },
		"closed":      func(r *tree) { r.fail = info + "d.list" },
		"hidden":      func(r *tree) { r.fail = "/var/lib/dpkg/status" },
	} {
		r := debian()
		spoil(&r)
		if a := ask(t, r, "/usr/bin/tool")[0]; a.State != pkgdb.Unknown || a.Reason == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := pkgdb.Owners(ctx, debian(), []entry.Path{"/x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Memory is bounded by what was asked for, whatever the database says.
func TestBounds(t *testing.T) {
	r := debian()
	for i := range 100 {
		r.files[entry.Path(fmt.Sprintf("%sp%03d.list", info, i))] = "/usr/bin/crowd\n"
	}
	a := ask(t, r, "/usr/bin/crowd")[0]
	if len(a.Owners) != 8 || a.More != 92 {
		t.Errorf("%d owners and %d more", len(a.Owners), a.More)
	}
	r.files["/var/lib/dpkg/diversions"] = strings.Repeat("/a\n/usr/bin/tool\nx\n", 100_000)
	if a := ask(t, r, "/usr/bin/tool")[0]; a.State != pkgdb.Unknown || !strings.Contains(a.Reason, "diversions") {
		t.Errorf("countless diversions: %+v", a)
	}
}

// Whatever the database holds, the answer is well formed and names only what it
// says.
func FuzzOwners(f *testing.F) {
	d := debian()
	f.Add(d.files[info+"a.list"], d.files[info+"a.md5sums"], d.files["/var/lib/dpkg/diversions"], d.files["/var/lib/dpkg/status"])
	f.Add("/usr/bin/tool\n", "", "/usr/bin/tool\n/usr/bin/tool.x\na\n", "Package: a\nConffiles:\n /usr/bin/tool "+sumA+"\n")
	f.Add("/usr/bin/tool\xff\n", sumA+"  usr/bin/tool\xff\n", "", "")
	f.Fuzz(func(t *testing.T, list, sums, diversions, status string) {
		r := tree{links: map[entry.Path]entry.Path{"/bin": "/usr/bin"}, files: map[entry.Path]string{
			info + "a.list": list, info + "a.md5sums": sums, "/var/lib/dpkg/diversions": diversions, "/var/lib/dpkg/status": status,
		}}
		for _, a := range ask(t, r, "/usr/bin/tool", "/etc/a") {
			if (a.State == pkgdb.Unknown) != (a.Reason != "") || (a.State == pkgdb.Owned) != (len(a.Owners) > 0) {
				t.Fatalf("%+v", a)
			}
			for _, o := range a.Owners {
				if o.Package != "a" || !strings.Contains(list, string(o.Listed)) || o.MD5 != "" && len(o.MD5) != 32 || !strings.Contains(status, o.Version) {
					t.Errorf("%+v", o)
				}
			}
		}
	})
}
