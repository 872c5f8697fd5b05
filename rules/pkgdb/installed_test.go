package pkgdb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"intact/rules/pkgdb"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

const dpkgStatus = entry.Path("/var/lib/dpkg/status")

func dpkgTree(status string, lists ...string) tree {
	r := tree{files: map[entry.Path]string{dpkgStatus: status}}
	for i := 0; i < len(lists); i += 2 {
		r.files[info+entry.Path(lists[i])+".list"] = lists[i+1]
	}
	return r
}

func stanzaOf(name, arch, version, status string) string {
	return fmt.Sprintf("Package: %s\nStatus: %s\nArchitecture: %s\nVersion: %s\n", name, status, arch, version)
}

const ok = "install ok installed"

// bodyOf is the body of a stanza that stanzaOf made.
func bodyOf(stanza string) digest.Digest {
	name, rest, _ := strings.Cut(stanza, "\n")
	_, rest, _ = strings.Cut(rest, "\n")
	return digest.Sum([]byte(name + "\n" + rest))
}

func TestBodyLeavesOutTheState(t *testing.T) {
	read := func(text string) pkgdb.Package {
		t.Helper()
		got, err := pkgdb.Installed(context.Background(), dpkgTree(text, "a:amd64", "/z\n"))
		if err != nil || len(got) != 1 {
			t.Fatalf("%v: %v", got, err)
		}
		return got[0]
	}
	was := read(stanzaOf("a", "amd64", "1", ok))
	for text, same := range map[string]bool{
		stanzaOf("a", "amd64", "1", "install ok triggers-pending") + "Triggers-Pending: ldconfig /usr/share/man\n": true,
		stanzaOf("a", "amd64", "1", "install ok unpacked") + "Config-Version: 0\n":                                 true,
		stanzaOf("a", "amd64", "1", ok) + "Triggers-Pending: \x1b[2J\n":                                            false,
		stanzaOf("a", "amd64", "1", ok) + "Triggers-Pending: a\n more\n":                                           false,
		stanzaOf("a", "amd64", "2", ok):                                                                            false,
		stanzaOf("a", "amd64", "1", ok) + "Conffiles:\n /etc/a 00\n":                                               false,
	} {
		if p := read(text); (p.Body == was.Body) != same || p.Stanza == was.Stanza {
			t.Errorf("%q: same body %v", text, p.Body == was.Body)
		}
	}
}

func TestInstalled(t *testing.T) {
	b, a := stanzaOf("b", "amd64", "2:1~x", ok), stanzaOf("a", "all", "1", "deinstall ok config-files")
	gone := "Package: c\nStatus: purge ok not-installed\n"
	got, err := pkgdb.Installed(context.Background(), dpkgTree(b+"\n"+gone+"\n"+a, "b:amd64", "/z\n/a\n", "b", "/other\n", "a", ""))
	want := []pkgdb.Package{
		{Kind: "dpkg", Name: "a", Arch: "all", Version: "1", Status: "config-files", Stanza: digest.Sum([]byte(a)), Body: bodyOf(a), List: digest.Sum(nil)},
		{Kind: "dpkg", Name: "b", Arch: "amd64", Version: "2:1~x", Status: "installed", Stanza: digest.Sum([]byte(b)), Body: bodyOf(b), List: digest.Sum([]byte("/a\x00/z\x00"))},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v\n got %v\nwant %v", err, got, want)
	}
	held, err := pkgdb.Installed(context.Background(), dpkgTree(stanzaOf("a", "all", "1", "hold ok installed")))
	if err != nil || len(held) != 1 || held[0].Status != pkgdb.Held {
		t.Fatalf("%v, %v", held, err)
	}
	got, err = pkgdb.Versions(context.Background(), dpkgTree("Package: d\nStatus: hold ok installed\nArchitecture: i386\nVersion: 3\n", "d", "no list\n"))
	if err != nil || len(got) != 1 || got[0].Status != pkgdb.Held || got[0].Version != "3" || got[0].List != (digest.Digest{}) {
		t.Fatalf("versions: %v, %v", got, err)
	}
	if _, err := pkgdb.Installed(context.Background(), tree{}); !errors.Is(err, pkgdb.ErrNoDatabase) {
		t.Fatal(err)
	}
}

func TestInstalledRefuses(t *testing.T) {
	good := stanzaOf("a", "all", "1", ok)
	for _, c := range []struct {
		name, says string
		r          tree
	}{
		{"no field", `status":6: `, dpkgTree(good + "\nx\n")},
		{"field twice", `status":2: `, dpkgTree("Package: a\nPackage: b\n")},
		{"no name", `status":1: `, dpkgTree("Status: " + ok + "\n")},
		{"a path for a name", `status":1: `, dpkgTree(stanzaOf("../a", "all", "1", ok))},
		{"no status", `status":1: `, dpkgTree("Package: a\nVersion: 1\n")},
		{"other status", `status":2: `, dpkgTree(stanzaOf("a", "all", "1", "install ok fine"))},
		{"no version", `status":4: `, dpkgTree(stanzaOf("a", "all", "", ok))},
		{"hostile version", `status":4: `, dpkgTree(stanzaOf("a", "all", "1\x1b[31m", ok))},
		{"hostile architecture", `status":3: `, dpkgTree(stanzaOf("a", "al l", "1", ok))},
		{"NUL", `status":6: `, dpkgTree(good + "\n\x00")},
		{"package twice", `"a" of architecture "all" twice`, dpkgTree(good + "\n" + good)},
		{"list of no paths", `a.list":2: `, dpkgTree(good, "a", "/a\nb\n")},
		{"list with NUL", `a.list":1: `, dpkgTree(good, "a", "/a\x00/b\n")},
		{"list too long", "over 1048576 paths", dpkgTree(good, "a", strings.Repeat("/\n", 1<<20+1))},
		{"status unreadable", "permission", tree{files: dpkgTree(good).files, fail: dpkgStatus}},
		{"list unreadable", "permission", tree{files: dpkgTree(good, "a", "/a\n").files, fail: info + "a.list"}},
	} {
		list, err := pkgdb.Installed(context.Background(), c.r)
		if err == nil || list != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v: want %q", c.name, list, err, c.says)
		}
	}
}

const updates = entry.Path("/var/lib/dpkg/updates")

func (r tree) journal(files ...string) tree {
	for i := 0; i < len(files); i += 2 {
		r.files[updates+entry.Path("/"+files[i])] = files[i+1]
	}
	return r
}

// What an interrupted dpkg left in its journal stands for what the status says.
func TestJournal(t *testing.T) {
	base := stanzaOf("a", "amd64", "1", ok) + "\n" + stanzaOf("b", "all", "1", ok) + "\n" +
		stanzaOf("m", "amd64", "1", ok) + "Multi-Arch: same\n\n" + stanzaOf("m", "i386", "1", ok) + "Multi-Arch: same\n"
	for _, c := range []struct {
		name    string
		journal []string
		want    string
	}{
		{"none", nil, "a:amd64=1 b:all=1 m:amd64=1 m:i386=1"},
		{"later ones stand", []string{"0001", stanzaOf("a", "amd64", "3", ok), "0000", stanzaOf("a", "amd64", "2", "install ok half-configured")}, "a:amd64=3 b:all=1 m:amd64=1 m:i386=1"},
		{"half", []string{"0000", stanzaOf("a", "amd64", "2", "install ok half-installed")}, "a:amd64=2/half-installed b:all=1 m:amd64=1 m:i386=1"},
		{"new", []string{"0000", stanzaOf("c", "all", "1", "install ok unpacked")}, "a:amd64=1 b:all=1 c:all=1/unpacked m:amd64=1 m:i386=1"},
		{"gone", []string{"0000", "Package: b\nStatus: purge ok not-installed\nArchitecture: all\n", "0001", "Package: z\nStatus: purge ok not-installed\n"}, "a:amd64=1 m:amd64=1 m:i386=1"},
		{"gone without architecture", []string{"0000", "Package: b\nStatus: purge ok not-installed\n"}, "a:amd64=1 m:amd64=1 m:i386=1"},
		{"another architecture", []string{"0000", stanzaOf("b", "amd64", "2", ok)}, "a:amd64=1 b:amd64=2 m:amd64=1 m:i386=1"},
		{"one of several", []string{"0000", stanzaOf("m", "i386", "2", ok) + "Multi-Arch: same\n"}, "a:amd64=1 b:all=1 m:amd64=1 m:i386=2"},
		{"several", []string{"0000", stanzaOf("b", "all", "2", ok) + "\n" + stanzaOf("a", "amd64", "2", ok)}, "a:amd64=2 b:all=2 m:amd64=1 m:i386=1"},
		{"others", []string{"tmp.i", "garbage", "0000.x", "garbage"}, "a:amd64=1 b:all=1 m:amd64=1 m:i386=1"},
	} {
		r := dpkgTree(base).journal(c.journal...)
		list, err := pkgdb.Installed(context.Background(), r)
		var got []string
		for _, p := range list {
			w := p.Name + ":" + p.Arch + "=" + p.Version
			if p.Status != "installed" {
				w += "/" + p.Status
			}
			got = append(got, w)
		}
		if s := strings.Join(got, " "); err != nil || s != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, s, err, c.want)
		}
		states, err := pkgdb.DpkgStates(context.Background(), r)
		if err != nil || len(states) != len(list) {
			t.Errorf("%s: %+v, %v", c.name, states, err)
		}
	}
	for _, c := range []struct {
		name, says string
		journal    []string
	}{
		{"garbage", `updates/0000":1: `, []string{"0000", "garbage\n"}},
		{"lengths", "different lengths", []string{"0000", "", "001", ""}},
		{"long", "digits", []string{"00000000000", ""}},
		{"hostile version", `updates/0000":4: `, []string{"0000", stanzaOf("a", "all", "1\x1b[31m", ok)}},
	} {
		list, err := pkgdb.Installed(context.Background(), dpkgTree(base).journal(c.journal...))
		if err == nil || list != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v: want %q", c.name, list, err, c.says)
		}
	}
	r := dpkgTree(base).journal("0000", stanzaOf("a", "amd64", "2", ok))
	r.fail = updates + "/0000"
	if list, err := pkgdb.Installed(context.Background(), r); err == nil || list != nil {
		t.Errorf("unreadable: %v, %v", list, err)
	}
	if states, err := pkgdb.DpkgStates(context.Background(), tree{}); len(states) > 0 || err != nil {
		t.Errorf("no database: %v, %v", states, err)
	}
}

// merging is a root whose journal goes while it is read, as often as it says.
type merging struct {
	tree
	left *int
}

func (r merging) Open(p entry.Path) (io.ReadCloser, error) {
	if p.Dir() == updates && *r.left > 0 {
		if *r.left--; *r.left == 0 {
			r.files[dpkgStatus] = stanzaOf("a", "all", "2", ok)
			delete(r.files, p)
		}
		return nil, fs.ErrNotExist
	}
	return r.tree.Open(p)
}

// A journal that dpkg puts into the status meanwhile is no fault.
func TestJournalMerged(t *testing.T) {
	for times, want := range map[int]string{1: "2", 4: "2", 99: ""} {
		r := merging{dpkgTree(stanzaOf("a", "all", "1", ok)).journal("0000", stanzaOf("a", "all", "2", ok)), &times}
		list, err := pkgdb.Installed(context.Background(), r)
		if want == "" && (err == nil || !strings.Contains(err.Error(), "changes while it is read")) || want != "" && (err != nil || len(list) != 1 || list[0].Version != want) {
			t.Errorf("%q: %v, %v", want, list, err)
		}
	}
}

// An owner is in the version that the journal says, with its configuration files.
func TestJournalOwner(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef"
	r := dpkgTree(stanzaOf("a", "all", "1", ok)+"Conffiles:\n /etc/a "+sum+"\n /etc/gone "+sum+"\n", "a", "/etc/a\n/etc/gone\n")
	r.journal("0000", stanzaOf("a", "all", "2", "install ok unpacked")+"Conffiles:\n /etc/a newconffile\n")
	got, err := pkgdb.Owners(context.Background(), r, []entry.Path{"/etc/a", "/etc/gone"})
	if err != nil || len(got) != 2 || len(got[0].Owners) != 1 || len(got[1].Owners) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if o := got[0].Owners[0]; o.Version != "2" || o.Status != "install ok unpacked" || !o.Conffile || o.MD5 != "" {
		t.Errorf("%+v", o)
	}
	if o := got[1].Owners[0]; o.Conffile || o.MD5 != "" {
		t.Errorf("%+v", o)
	}
	r.journal("0001", "garbage\n")
	if got, err := pkgdb.Owners(context.Background(), r, []entry.Path{"/etc/a"}); err != nil || got[0].State != pkgdb.Unknown || !strings.Contains(got[0].Reason, "updates/0001") {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzInstalled(f *testing.F) {
	f.Add(stanzaOf("a", "all", "1", ok), "/a\n", "")
	f.Add(stanzaOf("a", "all", "1", ok), "", stanzaOf("a", "all", "2", ok))
	f.Add("Package: a\nStatus: purge ok not-installed\n\n"+stanzaOf("b", "amd64", "1-1", ok), "", "Package: b\nStatus: purge ok not-installed\n")
	f.Add("x\n", "b\n", "x")
	f.Fuzz(func(t *testing.T, status, list, update string) {
		r := dpkgTree(status, "a", list)
		if update != "" {
			r.journal("0000", update)
		}
		got, err := pkgdb.Installed(context.Background(), r)
		if err != nil && got != nil {
			t.Fatal("a list with an error")
		}
		for i, p := range got {
			if p.Name == "" || p.Version == "" || strings.ContainsAny(p.Name+p.Arch+p.Version+p.Status, " \n\x00\x1b/") {
				t.Fatalf("%+v", p)
			}
			if i > 0 && got[i-1].Name+"\x00"+got[i-1].Arch >= p.Name+"\x00"+p.Arch {
				t.Fatal("out of order")
			}
		}
	})
}
