package preload

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
	"intact/rules/facts/units"
	"intact/scanner/dirfd"
)

func spelled(a facts.Answer[Entry]) (out []string) {
	for _, e := range a.Rows {
		out = append(out, fmt.Sprintf("%s %s %d %q %s", e.Kind, e.Name, e.Index, e.Value, e.At))
	}
	return out
}

func TestCollect(t *testing.T) {
	h := facttest.Image(t, map[string]string{
		"etc/ld.so.preload":           "# c\n/lib/evil.so:/lib/two.so x.so # no\n",
		"lib/evil.so":                 "",
		"etc/nsswitch.conf":           "# c\npasswd: files [NOTFOUND=return] evil[success=continue] # x\nhosts:dns\n",
		"etc/environment":             "PATH=/bin\nLD_PRELOAD=\"/tmp/x.so\"\n#LD_AUDIT=1\nMY_LD_PRELOAD=1\n",
		"etc/default/cron":            "export LD_LIBRARY_PATH=/opt LD_AUDIT='a'\n",
		"etc/default/folder/":         "",
		"etc/security/pam_env.conf":   "LD_PRELOAD\tDEFAULT=/p.so\n",
		"etc/systemd/system.conf.d/a": "[Manager]\nDefaultEnvironment=A=1 \"LD_PRELOAD=/d.so\"\n",
		"opt/env":                     "LD_PRELOAD=/e.so\n",
		"etc/ld.so.conf":              "include /etc/ld.so.conf.d/*.conf\n/usr/lib/x\ninclude ld.so.conf\nhwcap 1 x\n",
		"etc/ld.so.conf.d/b.conf":     "/opt/lib\t/no/where\n",
		"etc/ld.so.conf.d/not.confx":  "/never\n",
		"usr/lib/x/":                  "", "opt/lib/": "",
	})
	if err := os.Chmod(filepath.Join(h.Root.HostPath(), "opt"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "lib", "usr", "usr/lib", "usr/lib/x", "opt/lib"} {
		os.Chmod(filepath.Join(h.Root.HostPath(), dir), 0o755)
	}
	a := Collect(context.Background(), h, []units.Unit{{Name: "a.service", Environment: []string{`"LD_PRELOAD=/u.so" B=2`, "C=LD_PRELOADX=1"}, EnvFiles: []string{"-/opt/env", "/opt/%i", "/etc/default/cron"}}})
	want := []string{
		`preload  1 "/lib/evil.so" /etc/ld.so.preload:2`, `preload  2 "/lib/two.so" /etc/ld.so.preload:2`, `preload  3 "x.so" /etc/ld.so.preload:2`,
		`name-service passwd 1 "files [NOTFOUND=return]" /etc/nsswitch.conf:2`, `name-service passwd 2 "evil [success=continue]" /etc/nsswitch.conf:2`, `name-service hosts 1 "dns" /etc/nsswitch.conf:3`,
		`variable LD_PRELOAD 1 "\"/tmp/x.so\"" /etc/environment:2`, `variable LD_PRELOAD 1 "DEFAULT=/p.so" /etc/security/pam_env.conf:1`,
		`variable LD_LIBRARY_PATH 1 "/opt LD_AUDIT='a'" /etc/default/cron:1`, `variable LD_AUDIT 1 "'a'" /etc/default/cron:1`,
		`variable LD_PRELOAD 1 "/d.so\"" /etc/systemd/system.conf.d/a:2`, `variable LD_PRELOAD 1 "/u.so\" B=2" a.service`, `variable LD_PRELOAD 1 "/e.so" /opt/env:1`,
		`folder  1 "/opt/lib" /etc/ld.so.conf.d/b.conf:1`, `folder  2 "/no/where" /etc/ld.so.conf.d/b.conf:1`, `folder  1 "/usr/lib/x" /etc/ld.so.conf:2`,
	}
	if got := spelled(a); !slices.Equal(got, want) || a.Status != rules.OK {
		t.Errorf("%s %s\n got %s\nwant %s", a.Status, a.Reason, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	facttest.Keys(t, a.Rows)
	facttest.Tags(t, Entry{})
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root makes files that are root's")
	}
	exposed := map[string]string{}
	for _, e := range a.Rows {
		if e.Kind == "folder" || e.Kind == "preload" {
			exposed[e.Value] = fmt.Sprintf("%s %t", e.Exposed, e.Missing)
		}
	}
	if exposed["/opt/lib"] != "/opt false" || exposed["/usr/lib/x"] != " false" || exposed["/no/where"] != " true" || exposed["/lib/evil.so"] != " false" {
		t.Errorf("%q", exposed)
	}
}

func TestHostile(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		status rules.Status
	}{
		"none":    {nil, rules.OK},
		"fifo":    {map[string]string{"etc/ld.so.preload": facttest.Fifo}, rules.Failed},
		"circle":  {map[string]string{"etc/ld.so.conf": "include ld.so.conf x\n", "etc/x": "include ld.so.conf\n/lib\n"}, rules.OK},
		"long":    {map[string]string{"etc/environment": strings.Repeat("LD_PRELOAD=", maxFile/11)}, rules.Failed},
		"huge":    {map[string]string{"etc/environment": strings.Repeat("x", maxFile+1)}, rules.Failed},
		"names":   {map[string]string{"etc/nsswitch.conf": "a: [[[[\nb:]]]\n\x00\x1b: x\x00\n:::\n"}, rules.OK},
		"outside": {map[string]string{"etc/ld.so.preload": facttest.Link("../../../../../etc/passwd")}, rules.OK},
	} {
		a := Collect(context.Background(), facttest.Image(t, c.files), nil)
		if a.Status != c.status || name == "outside" && len(a.Rows) > 0 {
			t.Errorf("%s: %s %s, %d rows", name, a.Status, a.Reason, len(a.Rows))
		}
		facttest.Keys(t, a.Rows)
	}
}

func TestThisHost(t *testing.T) {
	r, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a := Collect(context.Background(), facts.Host{Root: r, Live: true}, nil)
	if a.Status != rules.OK {
		t.Errorf("%s %s", a.Status, a.Reason)
	}
}

func FuzzPreload(f *testing.F) {
	f.Add("/lib/a.so:b # c", "passwd: files [x=y] z", "export LD_PRELOAD=x", "include *.conf\n/lib:/x=libc6")
	f.Fuzz(func(t *testing.T, preload, nss, env, conf string) {
		a := Collect(context.Background(), facttest.Image(t, map[string]string{"etc/ld.so.preload": preload, "etc/nsswitch.conf": nss, "etc/environment": env, "etc/ld.so.conf": conf}), nil)
		facttest.Keys(t, a.Rows)
	})
}
