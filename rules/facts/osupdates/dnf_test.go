package osupdates_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts/osupdates"
)

// dnfRoot is a root whose rpm database has a few packages without files.
type dnfRoot struct{ dir, home, root string }

func newDnfRoot(t *testing.T, installed ...string) *dnfRoot {
	t.Helper()
	for _, tool := range []string{"rpm", "rpmbuild", "dnf"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: no %s to hold the answer against: apt-get install rpm dnf", tool)
		}
	}
	dir := t.TempDir()
	d := &dnfRoot{dir, dir + "/home", dir + "/root"}
	files := tree{"home/.rpmmacros": "%_dbpath /var/lib/rpm\n", "root/var/log/x": "x", "root/var/lib/rpm/x": "x"}
	for i, p := range installed {
		name, evr, _ := strings.Cut(p, " ")
		epoch, evr, _ := strings.Cut(evr, ":")
		ver, rel, _ := strings.Cut(evr, "-")
		files[fmt.Sprintf("%d.spec", i)] = fmt.Sprintf("Name: %s\nEpoch: %s\nVersion: %s\nRelease: %s\nSummary: s\nLicense: x\nBuildArch: noarch\n%%description\nd\n%%files\n", name, epoch, ver, rel)
	}
	files.write(t, dir)
	var specs []string
	for i := range installed {
		specs = append(specs, fmt.Sprintf("%s/%d.spec", dir, i))
	}
	d.run(t, append([]string{"rpmbuild", "-bb", "--quiet", "--define", "_topdir " + dir + "/build"}, specs...)...)
	built, _ := filepath.Glob(dir + "/build/RPMS/noarch/*.rpm")
	if len(built) != len(installed) {
		t.Fatalf("built %q", built)
	}
	d.run(t, append([]string{"rpm", "--root", d.root, "-i", "--justdb", "--nodeps", "--force-debian"}, built...)...)
	return d
}

// run returns what a program prints. 100 is how dnf says that there are updates.
func (d *dnfRoot) run(t *testing.T, args ...string) string {
	t.Helper()
	if args[0] == "rpm" && !d.debian() {
		args = slices.DeleteFunc(args, func(a string) bool { return a == "--force-debian" })
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(cmd.Environ(), "HOME="+d.home, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 100 && args[0] == "dnf") {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// debian reports whether rpm wants to be forced here.
func (d *dnfRoot) debian() bool {
	_, err := os.Stat("/etc/debian_version")
	return err == nil
}

func (d *dnfRoot) dnf(t *testing.T, args ...string) string {
	t.Helper()
	return d.run(t, append([]string{"dnf", "-q", "--installroot=" + d.root, "--releasever=1", "--setopt=reposdir=" + d.root + "/etc/yum.repos.d",
		"--config=" + d.root + "/etc/dnf/dnf.conf", "--setopt=cachedir=" + d.root + "/var/cache/dnf", "--setopt=logdir=" + d.root + "/var/log", "--setopt=module_platform_id=x"}, args...)...)
}

// repo writes a repository of "name arch epoch:version-release [RHSA-id]" each.
func (d *dnfRoot) repo(t *testing.T, name string, pkgs ...string) {
	t.Helper()
	primary, updates := fmt.Sprintf("<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"%d\">\n", len(pkgs)), "<updates>\n"
	for _, p := range pkgs {
		f := strings.Fields(p)
		epoch, evr, _ := strings.Cut(f[2], ":")
		ver, rel, _ := strings.Cut(evr, "-")
		at := fmt.Sprintf("epoch=%q ver=%q rel=%q", epoch, ver, rel)
		primary += fmt.Sprintf("<package type=\"rpm\"><name>%s</name><arch>%s</arch><version %s/><checksum type=\"sha256\" pkgid=\"YES\">%x</checksum><summary>s</summary><description>d</description><packager/><url/><time file=\"1\" build=\"1\"/>"+
			"<size package=\"1\" installed=\"1\" archive=\"1\"/><location href=\"%s-%s.rpm\"/><format><rpm:license>x</rpm:license><rpm:provides><rpm:entry name=%q flags=\"EQ\" %s/></rpm:provides></format></package>\n", f[0], f[1], at, sha256.Sum256([]byte(name+p)), f[0], evr, f[0], at)
		if len(f) > 3 {
			updates += fmt.Sprintf("<update from=\"x\" status=\"final\" type=\"security\" version=\"1\"><id>%s</id><title>t</title><severity>Low</severity><issued date=\"2026-01-01 00:00:00\"/><pkglist><collection short=\"c\"><name>c</name>"+
				"<package name=%q version=%q release=%q epoch=%q arch=%q src=\"s\"><filename>f</filename></package></collection></pkglist></update>\n", f[3], f[0], ver, rel, epoch, f[1])
		}
	}
	files, data := tree{}, ""
	for kind, text := range map[string]string{"primary": primary + "</metadata>", "filelists": "<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"0\"/>", "updateinfo": updates + "</updates>"} {
		text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + text
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		sum := sha256.Sum256(b.Bytes())
		files[fmt.Sprintf("%s/repodata/%x-%s.xml.gz", name, sum, kind)] = b.String()
		data += fmt.Sprintf("<data type=%q><checksum type=\"sha256\">%x</checksum><open-checksum type=\"sha256\">%x</open-checksum><location href=\"repodata/%x-%s.xml.gz\"/><timestamp>1764028800</timestamp><size>%d</size><open-size>%d</open-size></data>",
			kind, sum, sha256.Sum256([]byte(text)), sum, kind, b.Len(), len(text))
	}
	files[name+"/repodata/repomd.xml"] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1764000000</revision>" + data + "</repomd>"
	files.write(t, d.dir)
}

func within(a, b map[string]bool) bool {
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

// Whatever repositories offer, the answer from dnf's caches is dnf's own. Of what
// it does not take dnf lists the advisories where a repository of more weight
// shadows it, and not where an option excludes it: here they are told of both.
func TestPendingLikeDnf(t *testing.T) {
	d := newDnfRoot(t, "a 0:1-1", "b 2:1.0-1", "c 0:1~rc1-1", "libd 0:5-1")
	r := rand.New(rand.NewPCG(7, 2027))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	advisories := 0
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	for i := range rounds {
		repo := func() (out []string) {
			for range 8 {
				p := pick("a", "b", "c", "libd", "z") + " noarch " + pick("0", "1", "2") + ":" + pick("1", "2", "10", "1~rc2", "5^x") + pick("", ".0") + "-" + pick("1", "2.el9", "10")
				if r.IntN(2) == 0 {
					advisories++
					p += fmt.Sprintf(" RHSA-%d", advisories)
				}
				out = append(out, p)
			}
			return out
		}
		for _, gone := range []string{"one", "two", "root/var/cache", "root/etc"} {
			if err := os.RemoveAll(filepath.Join(d.dir, gone)); err != nil {
				t.Fatal(err)
			}
		}
		one, two := repo(), repo()
		d.repo(t, "one", one...)
		d.repo(t, "two", two...)
		conf := fmt.Sprintf("[one]\nname=1\nbaseurl=file://%s/one\n%s[two]\nname=2\nbaseurl=file://%s/two\n%s", d.dir, pick("", "priority=50\n"), d.dir, pick("", "exclude=b\n", "excludepkgs=lib*\n"))
		tree{"root/etc/dnf/dnf.conf": "[main]\ngpgcheck=0\n" + pick("", "exclude=c\n"), "root/etc/yum.repos.d/x.repo": conf}.write(t, d.dir)
		d.dnf(t, "makecache")
		theirs, security := map[string]bool{}, map[string]bool{}
		for line := range strings.Lines(d.dnf(t, "-C", "check-update")) {
			if f := strings.Fields(line); len(f) == 3 && strings.HasSuffix(f[0], ".noarch") {
				theirs[f[0]+" "+f[1]] = true
			}
		}
		for line := range strings.Lines(d.dnf(t, "-C", "updateinfo", "list", "--security", "--updates")) {
			if f := strings.Fields(line); len(f) == 3 {
				security[f[0]] = true
			}
		}
		got := osupdates.Pending(context.Background(), hostOf(t, d.root))
		ours, secure, kept := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, u := range got.Rows {
			if !u.Pinned {
				ours[u.Name+"."+u.Arch+" "+u.Candidate] = true
			}
			for _, id := range u.Advisories {
				kept[id] = true
				if !u.Pinned {
					secure[id] = true
				}
			}
		}
		if got.Status != rules.OK || !maps.Equal(ours, theirs) || !within(secure, security) || !within(security, kept) {
			t.Fatalf("case %d: %s %s\n ours %q %q\ndnf's %q %q\n%s\none %q\ntwo %q", i, got.Status, got.Reason, slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(secure)),
				slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(security)), conf, one, two)
		}
	}
}
