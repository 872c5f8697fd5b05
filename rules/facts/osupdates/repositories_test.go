package osupdates_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts/osupdates"
	"intact/rules/pkgdb/pgp"
)

var now = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)

func TestLists(t *testing.T) {
	files := archive().with(listsDir+"s.example_sec_dists_stable-security_Release", releaseText("Label: Debian-Security\nSuite: stable-security\nCodename: book-security\nValid-Until: Thu, 26 Nov 2026 00:00:00 UTC\n"))
	got := osupdates.Lists(context.Background(), files.host(t), osupdates.Trust{Now: now})
	if got.Status != rules.OK || len(got.Rows) != 2 {
		t.Fatalf("%s %s %+v", got.Status, got.Reason, got.Rows)
	}
	main, sec := got.Rows[0], got.Rows[1]
	if main.Security || main.Expires || !main.DateKnown || main.AgeSeconds != 164250 || main.SignedByKnown || main.Archive != "stable" || main.URI != "http://d.example/debian" {
		t.Errorf("main: %+v", main)
	}
	if !sec.Security || !sec.Expires || !sec.Expired || sec.Codename != "book-security" || !strings.HasSuffix(sec.File, "stable-security_Release") {
		t.Errorf("security: %+v", sec)
	}
	// The word in an URI makes no archive one of security updates.
	odd := archive().with("etc/apt/sources.list", "deb http://d.example/debian-security stable main\n",
		listsDir+"d.example_debian-security_dists_stable_main_binary-amd64_Packages", packagesOf("a amd64 5"))
	if got := osupdates.Lists(context.Background(), odd.host(t), osupdates.Trust{Now: now}); len(got.Rows) != 1 || got.Rows[0].Security || got.Rows[0].DateKnown {
		t.Errorf("by its URI: %+v", got.Rows)
	}
	for name, files := range map[string]tree{
		"no-sources": {"etc/passwd": ""}, "no-lists": {"etc/apt/sources.list": "deb http://a/ x main\n", "var/lib/dpkg/status": statusOf()},
	} {
		if got := osupdates.Lists(context.Background(), files.host(t), osupdates.Trust{Now: now}); got.Status != rules.Absent || len(got.Rows) != 0 {
			t.Errorf("%s: %s %s", name, got.Status, got.Reason)
		}
	}
	if got := osupdates.Lists(context.Background(), archive().with(secList, "").host(t), osupdates.Trust{Now: now}); got.Status != rules.Failed || len(got.Rows) != 1 {
		t.Errorf("one of two: %s %s %+v", got.Status, got.Reason, got.Rows)
	}
}

// The lists of this host are signed by the keys that come with it.
func TestListsSigned(t *testing.T) {
	const file = "/usr/share/keyrings/debian-archive-keyring.gpg"
	h := live(t)
	b, err := h.Root.ReadFile(file, pgp.MaxKeyring)
	if err != nil {
		t.Skipf("SKIPPED: no keys of Debian: %v", err)
	}
	var ring pgp.Keyring
	if err := ring.Add(b); err != nil {
		t.Fatal(err)
	}
	got := osupdates.Lists(context.Background(), h, osupdates.Trust{Ring: func() *pgp.Keyring { return &ring }, Now: time.Now()})
	signed := 0
	for _, l := range got.Rows {
		if l.SignedByKnown {
			signed++
		}
		if l.SignedByKnown != (l.SignedBy != "") || l.Origin == "Debian" && strings.HasSuffix(l.File, "InRelease") && !l.SignedByKnown {
			t.Errorf("%+v", l)
		}
	}
	t.Logf("%d of %d lists signed", signed, len(got.Rows))
}

func TestRepositories(t *testing.T) {
	files := tree{
		"etc/apt/sources.list":             "deb http://a/ x main contrib\ndeb [trusted=yes] http://a/ x main contrib\ndeb-src [signed-by=/k.gpg,ABCDEF!] https://u:secret@b/p/ y main\n",
		"etc/apt/sources.list.d/x.sources": "Types: deb\nURIs: http://c/\nSuites: z\nComponents: main\nEnabled: no\nCheck-Valid-Until: no\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n",
		"etc/dnf/dnf.conf":                 "[main]\ngpgcheck=1\n",
		"etc/yum.repos.d/a.repo":           "[base]\nname=Base\nmirrorlist=https://m/\ngpgkey=file:///etc/pki/k\n\n; c\n[bad]\nbaseurl=http://u:p@x/\n http://y/\ngpgcheck=0\nsslverify=False\nenabled=0\nproxy_password=hunter2\n",
	}
	got := osupdates.Repositories(context.Background(), files.host(t))
	if got.Status != rules.OK {
		t.Fatalf("%s %s", got.Status, got.Reason)
	}
	var lines []string
	keys := map[string]bool{}
	for _, r := range got.Rows {
		lines = append(lines, r.Key()+" | "+r.Compared()+" | "+strings.Join(r.Why, "; "))
		if keys[r.Key()] {
			t.Errorf("two rows are %s", r.Key())
		}
		keys[r.Key()] = true
		if strings.Contains(r.URI, "secret") || r.Line < 1 || r.File == "" {
			t.Errorf("%+v", r)
		}
	}
	want := []string{
		`kind="deb" uri="http://a/" suite="x" components="contrib main" | enabled="yes" authenticated="no" signed_by="" options="trusted=yes" | trusted=yes: signatures are not needed`,
		`kind="deb" uri="http://a/" suite="x" components="contrib main" copy=2 | enabled="yes" authenticated="yes" signed_by="" options="" | `,
		`kind="deb" uri="http://c/" suite="z" components="main" | enabled="no" authenticated="yes" signed_by="inline" options="check-valid-until=no" | check-valid-until=no: old lists are taken for new ones`,
		`kind="deb-src" uri="https://b/p/" suite="y" components="main" | enabled="yes" authenticated="yes" signed_by="/k.gpg ABCDEF!" options="" | `,
		`kind="rpm" uri="http://x/ http://y/" suite="bad" components="" | enabled="no" authenticated="no" signed_by="" options="gpgcheck=0 sslverify=False proxy_password=" | gpgcheck is off; sslverify is off`,
		`kind="rpm" uri="https://m/" suite="base" components="" | enabled="yes" authenticated="yes" signed_by="file:///etc/pki/k" options="gpgkey=file:///etc/pki/k" | `,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	// A switch in apt.conf opens all of them, and says where it stands.
	got = osupdates.Repositories(context.Background(), files.with("etc/apt/apt.conf.d/9", "Acquire::AllowInsecureRepositories \"true\";\nAcquire::Check-Valid-Until no;").host(t))
	if why := strings.Join(got.Rows[1].Why, "\n"); got.Rows[1].Authenticated || !strings.Contains(why, `"/etc/apt/apt.conf.d/9":1`) || !strings.Contains(why, `"/etc/apt/apt.conf.d/9":2`) {
		t.Errorf("got %+v", got.Rows[1])
	}
	if got := osupdates.Repositories(context.Background(), tree{"etc/x": ""}.host(t)); got.Status != rules.Absent {
		t.Errorf("none: %s", got.Status)
	}
	for name, bad := range map[string]string{"etc/yum.repos.d/b.repo": "x\n", "etc/yum.repos.d/c.repo": "[a\n", "etc/yum.repos.d/d.repo": "|", "etc/apt/sources.list": "deb x\n"} {
		if got := osupdates.Repositories(context.Background(), files.with(name, bad).host(t)); got.Status != rules.Failed || len(got.Rows) == 0 {
			t.Errorf("%s: %s %s", name, got.Status, got.Reason)
		}
	}
}

func TestSettings(t *testing.T) {
	got := osupdates.Settings(context.Background(), tree{"etc/apt/apt.conf": "APT::Periodic { Enable \"0\"; };\nDPkg::Post-Invoke { \"curl | sh\"; };\nOther \"1\";"}.host(t))
	want := []osupdates.Setting{{Name: "APT::Periodic::Enable", Value: "0", File: "/etc/apt/apt.conf", Line: 1}, {Name: "DPkg::Post-Invoke::", Value: "curl | sh", File: "/etc/apt/apt.conf", Line: 2}}
	if got.Status != rules.OK || !slices.Equal(got.Rows, want) {
		t.Errorf("%s %s %+v", got.Status, got.Reason, got.Rows)
	}
	if got := osupdates.Settings(context.Background(), tree{"x": ""}.host(t)); got.Status != rules.Absent {
		t.Errorf("none: %s", got.Status)
	}
}

func TestSigningKeys(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("SKIPPED: no gpg: apt-get install gnupg")
	}
	key := func(uid string) (armored, binary string) {
		dir := t.TempDir()
		gpg := func(args ...string) string {
			out, err := exec.Command("gpg", append([]string{"--homedir", dir, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...).Output()
			if err != nil {
				t.Fatalf("gpg %q: %v", args, err)
			}
			return string(out)
		}
		gpg("--quick-gen-key", uid, "ed25519", "sign", "0")
		t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run() })
		return gpg("--export", "--armor"), gpg("--export")
	}
	armored, binary := key("a@example.org")
	inline := "Types: deb\nURIs: http://c/\nSuites: z\nComponents: main\nSigned-By:\n"
	for line := range strings.Lines(armored) {
		if line = strings.TrimSpace(line); line == "" {
			line = "."
		}
		inline += " " + line + "\n"
	}
	got := osupdates.SigningKeys(context.Background(), tree{
		"etc/apt/trusted.gpg.d/a.asc": armored, "etc/apt/trusted.gpg.d/b.gpg": binary, "etc/apt/trusted.gpg.d/c.gpg": "garbage", "etc/apt/trusted.gpg.d/d.txt": binary,
		"etc/apt/sources.list": "deb [signed-by=/k/x.gpg] http://a x main\n", "k/x.gpg": "-> /k/y.gpg", "k/y.gpg": binary, "etc/apt/sources.list.d/i.sources": inline,
	}.host(t))
	var lines []string
	for _, k := range got.Rows {
		if k.FingerprintKnown != (len(k.Fingerprint) == 40) || k.FingerprintKnown != strings.Contains(k.UID, "a@example.org") {
			t.Errorf("%+v", k)
		}
		lines = append(lines, k.Scope+" "+strings.Join(k.Files, ","))
	}
	slices.Sort(lines)
	want := []string{"all /etc/apt/trusted.gpg.d/a.asc,/etc/apt/trusted.gpg.d/b.gpg", "all /etc/apt/trusted.gpg.d/c.gpg", "repository /etc/apt/sources.list.d/i.sources,/k/x.gpg"}
	if got.Status != rules.OK || !slices.Equal(lines, want) {
		t.Errorf("%s %s %q", got.Status, got.Reason, lines)
	}
}
