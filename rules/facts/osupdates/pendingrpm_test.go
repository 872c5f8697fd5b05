package osupdates

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb"
	"intact/scanner/dirfd"
)

func gz(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// primaryOf writes primary.xml of "name arch epoch:version-release" each.
func primaryOf(pkgs ...string) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"9\">\n")
	for _, p := range pkgs {
		f := strings.Fields(p)
		epoch, evr, _ := strings.Cut(f[2], ":")
		ver, rel, _ := strings.Cut(evr, "-")
		fmt.Fprintf(&b, "<package type=\"rpm\">\n  <name>%s</name>\n  <arch>%s</arch>\n  <version epoch=\"%s\" ver=\"%s\" rel=\"%s\"/>\n  <format><rpm:requires><rpm:entry name=\"x\"/></rpm:requires></format>\n</package>\n", f[0], f[1], epoch, ver, rel)
	}
	return b.String() + "</metadata>\n"
}

func advisoryOf(kind, id, severity, name, arch, evr string) string {
	ver, rel, _ := strings.Cut(evr, "-")
	return fmt.Sprintf("<update from=\"x\" status=\"final\" type=\"%s\" version=\"2\">\n<id>%s</id><severity>%s</severity><pkglist><collection short=\"c\"><name>c</name>\n<package name=\"%s\" version=\"%s\" release=\"%s\" epoch=\"0\" arch=\"%s\" src=\"s\"><filename>f</filename></package></collection></pkglist></update>\n", kind, id, severity, name, ver, rel, arch)
}

func repomdOf(primary, updateinfo string) string {
	return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1764000000</revision>" +
		"<data type=\"primary\"><location href=\"repodata/" + primary + "\"/><timestamp>1764028800</timestamp></data>" +
		"<data type=\"updateinfo\"><location href=\"repodata/" + updateinfo + "\"/></data></repomd>"
}

func rpmTree(t *testing.T, files map[string]string) *host {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if text == "|" {
			fifo(t, p)
		} else if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return &host{Host: facts.Host{Root: r}}
}

const baseCache = "var/cache/dnf/base-0123456789abcdef/repodata/"

func rpmFiles(more ...string) map[string]string {
	out := map[string]string{
		"etc/yum.repos.d/a.repo":       "[base]\nname=b\nbaseurl=http://b/\n[extra]\nbaseurl=http://e/\nenabled=0\n",
		baseCache + "repomd.xml":       repomdOf("p-primary.xml.gz", "u-updateinfo.xml.gz"),
		baseCache + "p-primary.xml.gz": gz(primaryOf("bash x86_64 0:5.2-2", "bash x86_64 0:5.2-3", "bash i686 0:9-9", "vim x86_64 2:9.0-1", "noa noarch 0:2-1", "mod x86_64 0:9-1.module_el8", "other x86_64 0:1-1", "bash src 0:99-1", "same x86_64 0:1-1", "ex x86_64 0:2-1")),
		baseCache + "u-updateinfo.xml.gz": gz("<updates>" + advisoryOf("security", "RHSA-1", "Moderate", "bash", "x86_64", "5.2-2") + advisoryOf("security", "RHSA-2", "Important", "bash", "x86_64", "5.2-3") +
			advisoryOf("bugfix", "RHBA-3", "Critical", "vim", "x86_64", "9.0-1") + advisoryOf("security", "RHSA-4", "Low", "noa", "noarch", "1-1") + advisoryOf("security", "RHSA-6", "Low", "noa", "noarch", "3-1") + advisoryOf("security", "RHSA-5", "Critical", "ex", "x86_64", "2-1") + "</updates>"),
	}
	for i := 0; i+1 < len(more); i += 2 {
		if out[more[i]] = more[i+1]; more[i+1] == "" {
			delete(out, more[i])
		}
	}
	return out
}

func TestPendingRPM(t *testing.T) {
	pkg := func(name, arch, version string) pkgdb.Package {
		return pkgdb.Package{Kind: "rpm", Name: name, Arch: arch, Version: version, Status: "installed"}
	}
	pkgs := []pkgdb.Package{pkg("bash", "x86_64", "5.2-1"), pkg("vim", "x86_64", "9.1-5"), pkg("noa", "noarch", "1-1"), pkg("mod", "x86_64", "1-1"), pkg("same", "x86_64", "1-1"), pkg("ex", "x86_64", "1-1"),
		pkg("kernel", "x86_64", "5-1"), pkg("kernel", "x86_64", "5-2")}
	render := func(list []Update) (out []string) {
		for _, u := range list {
			out = append(out, fmt.Sprintf("%s:%s %s>%s %s %v %s %v %v", u.Name, u.Arch, u.Installed, u.Candidate, u.Suite, u.Security, u.Severity, u.Advisories, u.Pinned))
		}
		return out
	}
	bash := "bash:x86_64 5.2-1>5.2-3 base true important [RHSA-1 RHSA-2] false"
	ex, exPinned := "ex:x86_64 1-1>2-1 base true critical [RHSA-5] false", "ex:x86_64 1-1>2-1 base true critical [RHSA-5] true"
	noa, vim := "noa:noarch 1-1>2-1 base false  [] false", "vim:x86_64 9.1-5>2:9.0-1 base false  [] false"
	for _, tt := range []struct {
		name   string
		files  map[string]string
		status rules.Status
		want   []string
	}{
		{"plain", rpmFiles(), rules.OK, []string{bash, ex, noa, vim}},
		{"kernel", rpmFiles(baseCache+"p-primary.xml.gz", gz(primaryOf("kernel x86_64 0:5-2"))), rules.OK, nil},
		{"kernel-newer", rpmFiles(baseCache+"p-primary.xml.gz", gz(primaryOf("kernel x86_64 0:5-3"))), rules.OK, []string{"kernel:x86_64 5-2>5-3 base false  [] false"}},
		{"excluded", rpmFiles("etc/dnf/dnf.conf", "[main]\nexcludepkgs=e* vim\n"), rules.OK, []string{bash, exPinned, noa}},
		{"disabled-repo", rpmFiles("var/cache/dnf/extra-0123456789abcdef/repodata/repomd.xml", repomdOf("x", "y")), rules.OK, []string{bash, ex, noa, vim}},
		{"dnf5", func() map[string]string {
			out := map[string]string{}
			for k, v := range rpmFiles() {
				out[strings.Replace(k, "var/cache/dnf", "var/cache/libdnf5", 1)] = v
			}
			return out
		}(), rules.OK, []string{bash, ex, noa, vim}},
		{"missing-repo", rpmFiles("etc/yum.repos.d/b.repo", "[more]\nbaseurl=http://m/\n"), rules.Failed, []string{bash, ex, noa, vim}},
		{"no-caches", rpmFiles(baseCache+"repomd.xml", ""), rules.Absent, nil},
		{"no-advisories", rpmFiles(baseCache+"repomd.xml", strings.Replace(repomdOf("p-primary.xml.gz", "u"), "updateinfo", "other", 1)), rules.Absent,
			[]string{"bash:x86_64 5.2-1>5.2-3 base false  [] false", "ex:x86_64 1-1>2-1 base false  [] false", noa, vim}},
		{"priority", rpmFiles("etc/yum.repos.d/a.repo", "[base]\nbaseurl=http://b/\n[extra]\nbaseurl=http://e/\npriority=1\n",
			"var/cache/dnf/extra-0123456789abcdef/repodata/repomd.xml", repomdOf("p-primary.xml.gz", "u-updateinfo.xml.gz"), "var/cache/dnf/extra-0123456789abcdef/repodata/p-primary.xml.gz", gz(primaryOf("bash x86_64 0:5.2-1")),
			"var/cache/dnf/extra-0123456789abcdef/repodata/u-updateinfo.xml.gz", gz("<updates/>")), rules.OK, []string{"bash:x86_64 5.2-1>5.2-3 base true important [RHSA-1 RHSA-2] true", ex, noa, vim}},
		{"truncated", rpmFiles(baseCache+"p-primary.xml.gz", gz(primaryOf("bash x86_64 0:5.2-3"))[:60]), rules.Failed, nil},
		{"damaged", rpmFiles(baseCache+"p-primary.xml.gz", gz("<package><name>bash</name><arch>x86_64</package>")), rules.Failed, nil},
		{"entity", rpmFiles(baseCache+"p-primary.xml.gz", gz("<!DOCTYPE x [<!ENTITY a \"bash\">]><package><name>&a;</name><arch>x86_64</arch></package>")), rules.Failed, nil},
		{"fifo", rpmFiles(baseCache+"p-primary.xml.gz", "|"), rules.Failed, nil},
		{"astray", rpmFiles(baseCache+"repomd.xml", repomdOf("../../../../etc/passwd", "u-updateinfo.xml.gz")), rules.Failed, nil},
		{"bad-repomd", rpmFiles(baseCache+"repomd.xml", "<repomd>"), rules.Failed, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := rpmTree(t, tt.files).pendingRPM(context.Background(), pkgs)
			if got.Status != tt.status || !slices.Equal(render(got.Rows), tt.want) {
				t.Errorf("%s %s\n got %q\nwant %q", got.Status, got.Reason, render(got.Rows), tt.want)
			}
		})
	}
	lists := Lists(context.Background(), rpmTree(t, rpmFiles()).Host, Trust{Now: time.Unix(1764028800+60, 0)})
	if lists.Status != rules.OK || len(lists.Rows) != 1 || lists.Rows[0].AgeSeconds != 60 || lists.Rows[0].Suite != "base" || lists.Rows[0].SignedByKnown {
		t.Errorf("%s %s %+v", lists.Status, lists.Reason, lists.Rows)
	}
}

func FuzzINI(f *testing.F) {
	f.Add([]byte("[main]\nA = b\n c\n# d\n;e\n[x]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseINI("f", b)
		if err != nil && !strings.HasPrefix(err.Error(), `"f":`) {
			t.Errorf("no place: %v", err)
		}
		for _, s := range got {
			rpmRepository("f", &s, sectionNamed(got, "main"))
		}
	})
}

// The pieces of a list, put together, are the list, however it is read.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("\n\n\nPackage: a\nx\n\n\n\nPackage: b"), 3)
	f.Add([]byte("abc\n\ndef\n\n"), 3)
	f.Add([]byte("<a><package x></package>\n<package></package></a>"), 7)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		for _, c := range []cut{stanzas, packages} {
			var out []byte
			line := 1
			err := c.pieces(t.Context(), &slowly{b, size&15 + 1}, func(raw []byte, at int) error {
				if at != line {
					t.Errorf("line %d, want %d", at, line)
				}
				if i := bytes.Index(raw, []byte(c.end)); len(raw) == 0 || i >= 0 && i+c.keep != len(raw) {
					t.Errorf("no piece: %q", raw)
				}
				line += bytes.Count(raw, []byte("\n"))
				out = append(out, raw...)
				packageName(raw)
				element(raw, "package")
				return nil
			})
			if err != nil || !bytes.Equal(out, b) {
				t.Errorf("%q, %v", out, err)
			}
		}
	})
}

// slowly gives a few bytes at a time.
type slowly struct {
	b []byte
	n int
}

func (s *slowly) Read(p []byte) (int, error) {
	n := copy(p, s.b[:min(s.n, len(s.b))])
	if s.b = s.b[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
