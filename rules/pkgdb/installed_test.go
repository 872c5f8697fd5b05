package pkgdb_test

import (
	"context"
	"errors"
	"fmt"
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
		{"status unreadable", "permission", tree{files: dpkgTree(good).files, fail: dpkgStatus}},
		{"list unreadable", "permission", tree{files: dpkgTree(good, "a", "/a\n").files, fail: info + "a.list"}},
	} {
		list, err := pkgdb.Installed(context.Background(), c.r)
		if err == nil || list != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v: want %q", c.name, list, err, c.says)
		}
	}
}

func FuzzInstalled(f *testing.F) {
	f.Add(stanzaOf("a", "all", "1", ok), "/a\n")
	f.Add("Package: a\nStatus: purge ok not-installed\n\n"+stanzaOf("b", "amd64", "1-1", ok), "")
	f.Add("x\n", "b\n")
	f.Fuzz(func(t *testing.T, status, list string) {
		got, err := pkgdb.Installed(context.Background(), dpkgTree(status, "a", list))
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
