package osupdates_test

import (
	"context"
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

// rows renders updates.
func rows(list []osupdates.Update) (out []string) {
	for _, u := range list {
		r := fmt.Sprintf("%s:%s %s>%s %s", u.Name, u.Arch, u.Installed, u.Candidate, u.Suite)
		for _, f := range []struct {
			is   bool
			name string
		}{{u.Security, " security"}, {u.Held, " held"}, {u.Phased, " phased"}, {u.Pinned, " pinned"}} {
			if f.is {
				r += f.name
			}
		}
		out = append(out, r)
	}
	return out
}

// aptOn lists what apt would upgrade on a tree, in the manner of rows.
func aptOn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	conf := filepath.Join(dir, "apt-test.conf")
	text := fmt.Sprintf("Dir %q;\nDir::State::status %q;\nDir::Cache %q;\nAPT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\nDir::Etc::trusted \"/dev/null\";\n", dir, dir+"/var/lib/dpkg/status", dir+"/cache")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"cache/archives/partial", "var/lib/apt/lists/partial", "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d", "var/log/apt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("apt", "list", "--upgradable", "-o", "pkgCacheFile::Generate=1")
	cmd.Env = append(cmd.Environ(), "LC_ALL=C", "APT_CONFIG="+conf)
	var errs strings.Builder
	cmd.Stderr = &errs
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("apt: %v: %s", err, errs.String())
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if m := upgradable.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			out[fmt.Sprintf("%s:%s %s>%s", m[1], m[3], m[4], m[2])] = true
		}
	}
	return out
}

// sameAsApt holds an answer on a tree against apt's.
func sameAsApt(t *testing.T, dir string, list []osupdates.Update) {
	t.Helper()
	if _, err := exec.LookPath("apt"); err != nil {
		return // TestPendingLikeApt says so
	}
	ours := map[string]bool{}
	for _, u := range list {
		if !u.Pinned {
			ours[fmt.Sprintf("%s:%s %s>%s", u.Name, u.Arch, u.Installed, u.Candidate)] = true
		}
	}
	if apts := aptOn(t, dir); !maps.Equal(ours, apts) {
		t.Errorf("ours %q\napt's %q", slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(apts)))
	}
}

func pinText(pkg, pin, prio string) string {
	return "# c\nPackage: " + pkg + "\nPin: " + pin + "\nPin-Priority: " + prio + "\n\n"
}

func TestPolicy(t *testing.T) {
	const prefs, main, sec = "etc/apt/preferences", listsDir + "d.example_debian_dists_stable_main_binary-amd64_Packages", listsDir + "s.example_sec_dists_stable-security_main_binary-amd64_Packages"
	a, b, c := "a:amd64 1.0>1.1 stable security", "b:all 1.0>2.0 stable", "c:amd64 1.1>1.2 stable-security security"
	rel := func(fields string) string {
		return releaseText("Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: book\nVersion: 12.1\n" + fields)
	}
	const relFile = listsDir + "d.example_debian_dists_stable_InRelease"
	for _, tt := range []struct {
		name  string
		files tree
		want  []string
	}{
		{"plain", archive(), []string{a, b, c}},
		{"held", archive().with("var/lib/dpkg/status", statusOf("a amd64 1.0 hold", "b all 1.0", "c amd64 1.1")), []string{a + " held", b, c}},
		{"pin-release-all", archive().with(prefs, pinText("*", "release a=stable", "50")),
			[]string{"a:amd64 1.0>1.0.5 stable-security security", c}},
		{"pin-origin-site", archive().with(prefs, pinText("*", "origin s.example", "-1")), []string{a, b, "c:amd64 1.1>1.2 stable-security security pinned"}},
		{"pin-origin-quoted-empty", archive().with(prefs, pinText("*", `origin ""`, "-1")), []string{a, b, c}},
		{"security-above-candidate", archive().with(sec, packagesOf("a amd64 1.2"), prefs, pinText("*", "origin s.example", "-1")), []string{"a:amd64 1.0>1.1 stable", "a:amd64 1.0>1.2 stable-security security pinned", b}},
		{"all-is-another", archive().with(main, packagesOf("a amd64 1.1"), sec, packagesOf("a all 1.1"), prefs, pinText("a", "release l=Debian-Security", "-1")), []string{"a:amd64 1.0>1.1 stable security"}},
		{"pin-never", archive().with(prefs, pinText("*", "release l=Debian-Security", "never")+pinText("c", "version *", "990")), []string{a, b, "c:amd64 1.1>1.2 stable-security security pinned"}},
		{"pin-version", archive().with(prefs, pinText("a", "version 1.0.*", "900")), []string{"a:amd64 1.0>1.0.5 stable-security security", b, c}},
		{"pin-glob", archive().with(prefs, pinText("[ab]", "release a=stable", "-5")),
			[]string{"a:amd64 1.0>1.0.5 stable-security security", c}},
		{"pin-regex", archive().with(prefs, pinText("/^[bc]$/", "release o=debian", "-5")), []string{a, "c:amd64 1.1>1.2 stable-security security pinned"}},
		{"pin-names", archive().with(prefs, pinText("b c", "release n=book*", "-5")), []string{a, "c:amd64 1.1>1.2 stable-security security pinned"}},
		{"pin-downgrade", archive().with(prefs, pinText("c", "release a=stable", "1001")), []string{a, b, "c:amd64 1.1>1.2 stable-security security pinned"}},
		{"pin-first-wins", archive().with(prefs, pinText("b", "version 2.0", "-1")+pinText("b", "version 2.0", "990")), []string{a, c}},
		{"pin-src", archive().with(main, packagesOf("a amd64 1.1 Source=s", "b all 2.0"), prefs, pinText("src:s", "release a=stable", "-1")),
			[]string{"a:amd64 1.0>1.0.5 stable-security security", b, c}},
		{"pin-component", archive().with(prefs, pinText("*", "release c=main, b=amd64, v=12.*", "-1")), []string{"a:amd64 1.0>1.0.5 stable-security security", c}},
		{"pin-part-ignored", archive().with("etc/apt/preferences.d/x.disabled", pinText("b", "release a=stable", "-1"), "etc/apt/preferences.d/y", pinText("c", "release *", "-1")),
			[]string{a, b, "c:amd64 1.1>1.2 stable-security security pinned"}},
		{"not-automatic", archive().with(relFile, rel("NotAutomatic: yes\n")), []string{"a:amd64 1.0>1.0.5 stable-security security", c}},
		{"but-upgrades", archive().with(relFile, rel("NotAutomatic: yes\nButAutomaticUpgrades: yes\n")), []string{"a:amd64 1.0>1.0.5 stable-security security", b, c}},
		{"default-release", archive().with("etc/apt/apt.conf", "APT::Default-Release \"stable\";\n"), []string{a, b, "c:amd64 1.1>1.2 stable-security security"}},
		{"other-arch", archive().with(main, packagesOf("a i386 3", "b all 2.0"), "var/lib/dpkg/status", statusOf("a amd64 1.0", "b all 1.0")), []string{"a:amd64 1.0>1.0.5 stable-security security", b}},
		{"source-gone", archive().with("etc/apt/sources.list", "deb http://d.example/debian stable main\n"), []string{"a:amd64 1.0>1.1 stable", b}},
		{"component-gone", archive().with("etc/apt/sources.list", "deb http://d.example/debian stable main\ndeb [arch=amd64] http://s.example/sec stable-security other main # x\n"), []string{a, b, c}},
		{"arch-option", archive().with("etc/apt/sources.list", "deb [arch=i386 lang=de] http://d.example/debian stable main\ndeb http://s.example/sec stable-security main\n"),
			[]string{"a:amd64 1.0>1.0.5 stable-security security", c}},
		{"all-to-amd64", archive().with(main, packagesOf("b amd64 3.0"), sec, packagesOf("b all 2.0")), []string{"b:all 1.0>3.0 stable security"}},
		{"epochs", archive().with(main, packagesOf("a amd64 1:0.1~rc1", "b all 1.0~rc1")), []string{"a:amd64 1.0>1:0.1~rc1 stable security", c}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.files.write(t, dir)
			got := osupdates.Pending(context.Background(), hostOf(t, dir))
			if got.Status != rules.OK && tt.name != "arch-option" || !slices.Equal(rows(got.Rows), tt.want) {
				t.Errorf("%s %s\n got %q\nwant %q", got.Status, got.Reason, rows(got.Rows), tt.want)
			}
			sameAsApt(t, dir, got.Rows)
		})
	}
}

// Whatever is installed, offered and pinned, the answer is apt's. No installed
// version is also offered: apt tells two builds of one version apart.
func TestPolicyLikeApt(t *testing.T) {
	if _, err := exec.LookPath("apt"); err != nil {
		t.Skip("SKIPPED: no apt to hold the answer against")
	}
	r := rand.New(rand.NewPCG(7, 2026))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	version := func() string {
		return pick("", "1:") + pick("1", "2", "10") + pick("", ".0", ".1~b", "+x") + pick("", "-1", "-2~")
	}
	list := func() string {
		var pkgs []string
		for range 12 {
			p := pick("a", "b", "c", "d", "libx1") + " " + pick("amd64", "all", "amd64") + " " + version()
			if r.IntN(5) == 0 {
				p += " Source=" + pick("a", "s")
			}
			pkgs = append(pkgs, p)
		}
		return packagesOf(pkgs...)
	}
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	for i := range rounds {
		var prefs strings.Builder
		for range r.IntN(5) {
			pkg, prio := pick("*", "a", "b c", "lib*", "src:s", "a:amd64", "*:any", "/b|c/", "?", "d:i386"), pick("never", "-10", "1", "99", "100", "101", "499", "500", "600", "990", "999", "1000", "1001", "32767")
			if pkg != "*" && prio == "never" {
				prio = "-1"
			}
			prefs.WriteString(pinText(pkg,
				pick("release a=stable", "release *", "release n=book-security", "release stable", "release 12*", "release o=Debian,l=Debian-Security", "origin s.example", "origin *.example", "version 1*", "version 2.1~b-1", "release c=main", "release a=now"), prio))
		}
		files := archive().with("etc/apt/preferences.d/p.pref", prefs.String(),
			listsDir+"d.example_debian_dists_stable_main_binary-amd64_Packages", list(),
			listsDir+"s.example_sec_dists_stable-security_main_binary-amd64_Packages", list(),
			"var/lib/dpkg/status", statusOf("a amd64 "+version()+".i", "b all "+version()+".i", "c amd64 "+version()+".i", "d amd64 "+version()+".i", "libx1 amd64 "+version()+".i"),
			listsDir+"s.example_sec_dists_stable-security_Release", releaseText("Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: book-security\nVersion: 12\n"+pick("", "", "NotAutomatic: yes\n", "NotAutomatic: yes\nButAutomaticUpgrades: yes\n")))
		dir := t.TempDir()
		files.write(t, dir)
		got := osupdates.Pending(context.Background(), hostOf(t, dir))
		sameAsApt(t, dir, got.Rows)
		if t.Failed() {
			for name, text := range files {
				if strings.Contains(name, "Packages") || strings.Contains(name, "security_Release") {
					t.Logf("%s\n%s", name, text)
				}
			}
			t.Fatalf("case %d: %s %s\n%s%s", i, got.Status, got.Reason, prefs.String(), files["var/lib/dpkg/status"])
		}
	}
}
