package kernel

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
	"intact/scanner/dirfd"
)

func live(t testing.TB, files map[string]string) facts.Host {
	h := facttest.Image(t, files)
	h.Live = true
	return h
}

func TestModules(t *testing.T) {
	a := Modules(context.Background(), live(t, map[string]string{
		"proc/modules":              "ext4 1 2 - Live 0x0\nbad_drv 1 0 dep, Live 0x0 (OE+)\nmine 1 0 - Live 0x0 (E)\n",
		"proc/sys/kernel/osrelease": "6.1.0\n", "lib/modules/6.1.0/modules.dep": "kernel/fs/ext4.ko.xz: x\n/opt/bad-drv.ko:\n",
		"sys/module/ext4/initstate": "live\n", "sys/module/rootkit/initstate": "live\n", "sys/module/rootkit/taint": "OE\n", "sys/module/builtin/parameters/x": "1",
		"sys/module/\x1b[31m\n/initstate": "live",
	}))
	var got []string
	for _, m := range a.Rows {
		got = append(got, fmt.Sprintf("%s %s %t %s", m.Name, m.Taint, m.Hidden, m.File))
	}
	slices.Sort(got)
	want := []string{"\x1b[31m\n  true ", "bad_drv OE false /opt/bad-drv.ko", "ext4  false /lib/modules/6.1.0/kernel/fs/ext4.ko.xz", "mine E false ", "rootkit OE true "}
	if !slices.Equal(got, want) || a.Status != rules.OK {
		t.Errorf("%s %s\n got %q\nwant %q", a.Status, a.Reason, got, want)
	}
	facttest.Keys(t, a.Rows)
	facttest.Tags(t, Module{}, Sysctl{}, Boot{})
	for _, c := range []struct {
		status rules.Status
		host   facts.Host
	}{
		{rules.Absent, live(t, map[string]string{"proc/sys/kernel/": ""})}, // no modules at all
		{rules.Failed, live(t, nil)},                                       // nothing is mounted
		{rules.Failed, live(t, map[string]string{"proc/sys/kernel/": "", "proc/modules": "short\n"})},
		{rules.Offline, facttest.Image(t, map[string]string{"proc/modules": "x 1 0 - Live 0x0\n"})},
	} {
		if a := Modules(context.Background(), c.host); a.Status != c.status || len(a.Rows) > 0 {
			t.Errorf("%s, not %s: %+v", a.Status, c.status, a)
		}
	}
	for _, s := range []rules.Status{Sysctls(context.Background(), live(t, nil)).Status, Boots(context.Background(), live(t, nil)).Status} {
		if s != rules.Failed {
			t.Errorf("%s though nothing is mounted", s)
		}
	}
}

var settings = map[string]string{
	"etc/sysctl.d/50-a.conf":                  "# c\n; c\nnet.ipv4.ip_forward=1\nnet/ipv4/conf/eth0.1/rp_filter = 2\n -kernel.x=a \t b\nnet.ipv4.conf.*.log_martians = 1\nnet.ipv4.conf.lo.log_martians=0\nnone\n",
	"usr/lib/sysctl.d/50-a.conf":              "net.ipv4.ip_forward=9\nfs.never=1\n",
	"usr/lib/sysctl.d/99-z.conf":              "net.ipv4.ip_forward=0\n",
	"usr/lib/sysctl.d/10-b.conf":              "net.ipv4.ip_forward=5\nfs.masked=1\n",
	"etc/sysctl.d/20-m.conf":                  facttest.Link("/dev/null"),
	"usr/lib/sysctl.d/20-m.conf":              "fs.masked=2\n",
	"etc/sysctl.d/readme":                     "fs.never=1\n",
	"proc/sys/net/ipv4/ip_forward":            "1\n",
	"proc/sys/net/ipv4/conf/eth0.1/rp_filter": "2\n", "proc/sys/net/ipv4/conf/eth0.1/log_martians": "0\n", "proc/sys/net/ipv4/conf/lo/log_martians": "0\n", "proc/sys/net/ipv4/conf/veth1/rp_filter": "0\n",
	"proc/sys/kernel/x": "a\tb\n", "proc/sys/kernel/kptr_restrict": "0\n",
}

func sysctls(a facts.Answer[Sysctl]) (out []string) {
	for _, s := range a.Rows {
		out = append(out, fmt.Sprintf("%s %q %t %q %t %t %s", s.Name, s.Configured, s.IsConfigured, s.Running, s.RunningKnown, s.Differs, s.At))
	}
	return out
}

func TestSysctls(t *testing.T) {
	a := Sysctls(context.Background(), live(t, settings))
	want := []string{
		`fs.masked "1" true "" false false /usr/lib/sysctl.d/10-b.conf:2`,
		`kernel.kptr_restrict "" false "0" true false `,
		`kernel.x "a b" true "a b" true false /etc/sysctl.d/50-a.conf:5`,
		`net.ipv4.conf.eth0/1.log_martians "1" true "0" true true /etc/sysctl.d/50-a.conf:6`,
		`net.ipv4.conf.eth0/1.rp_filter "2" true "2" true false /etc/sysctl.d/50-a.conf:4`,
		`net.ipv4.conf.lo.log_martians "0" true "0" true false /etc/sysctl.d/50-a.conf:7`,
		`net.ipv4.ip_forward "0" true "1" true true /usr/lib/sysctl.d/99-z.conf:1`,
	}
	if got := sysctls(a); !slices.Equal(got, want) || a.Status != rules.OK {
		t.Errorf("%s %s\n got %s\nwant %s", a.Status, a.Reason, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	facttest.Keys(t, a.Rows)
	b := Sysctls(context.Background(), facttest.Image(t, settings))
	if len(b.Rows) != 6 || slices.ContainsFunc(b.Rows, func(s Sysctl) bool { return s.RunningKnown || s.Exists }) {
		t.Errorf("an image: %q", sysctls(b))
	}
	last := Sysctls(context.Background(), facttest.Image(t, map[string]string{"etc/sysctl.conf": "a.b=1\n", "etc/sysctl.d/99-x.conf": "a.b=2\n"}))
	linked := Sysctls(context.Background(), facttest.Image(t, map[string]string{"etc/sysctl.conf": "a.b=1\n", "etc/sysctl.d/99-x.conf": "a.b=2\n", "etc/sysctl.d/10-c.conf": facttest.Link("../sysctl.conf")}))
	if last.Rows[0].Configured != "1" || linked.Rows[0].Configured != "2" {
		t.Errorf("%+v %+v", last, linked)
	}
}

func TestBoots(t *testing.T) {
	a := Boots(context.Background(), live(t, map[string]string{
		"proc/cmdline":            "BOOT_IMAGE=/vmlinuz-6.1 ro mitigations=off x=\"a b\" x=2 -- init\n",
		"sys/kernel/security/lsm": "lockdown,yama", "sys/kernel/security/lockdown": "none [integrity] confidentiality\n", "sys/module/apparmor/parameters/enabled": "Y\n",
		"sys/fs/selinux/enforce":            "0",
		"proc/sys/kernel/tainted":           "12801\n",
		efivars[1:] + "SecureBoot" + global: "\x06\x00\x00\x00\x01", efivars[1:] + "SetupMode" + global: "\x06\x00",
		"sys/kernel/security/apparmor/profiles": "/usr/bin/man (enforce)\nodd name (x) (complain)\n",
	}))
	var got []string
	for _, b := range a.Rows {
		got = append(got, b.Key()+" "+b.Value)
	}
	want := []string{`cmdline "BOOT_IMAGE" /vmlinuz-6.1`, `cmdline "ro" `, `cmdline "mitigations" off`, `cmdline "x" a b`, `cmdline "x"#2 2`, `cmdline "--" `, `cmdline "init" `, `lsm "" lockdown,yama`, `lockdown "" integrity`,
		`apparmor "enabled" Y`, `selinux "enforce" 0`, `taint "" POE`, `secure-boot "SecureBoot" 1`, `apparmor-profile "/usr/bin/man" enforce`, `apparmor-profile "odd name (x)" complain`}
	if !slices.Equal(got, want) || a.Status != rules.Failed || a.Rows[0].Compared() != "" {
		t.Errorf("%s %s\n got %q\nwant %q", a.Status, a.Reason, got, want)
	}
	if b := Boots(context.Background(), facttest.Image(t, map[string]string{"proc/cmdline": "x"})); b.Status != rules.Offline || len(b.Rows) > 0 {
		t.Errorf("%+v", b)
	}
}

func TestHostile(t *testing.T) {
	h := live(t, map[string]string{"etc/sysctl.d/a.conf": facttest.Fifo, "etc/sysctl.d/b.conf": "../../etc/passwd=1\n*=1\n[=1\na..b=1\n\x00=2\n", "proc/cmdline": facttest.Fifo, "proc/modules": facttest.Fifo,
		"etc/sysctl.d/c.conf": facttest.Link("c.conf"), "etc/sysctl.d/d.conf": strings.Repeat("x.y=1\n", maxRows+1), "etc/passwd": "secret"})
	a := Sysctls(context.Background(), h)
	if a.Status != rules.Failed || slices.ContainsFunc(a.Rows, func(s Sysctl) bool { return s.Running == "secret" }) {
		t.Errorf("%s %q", a.Status, sysctls(a))
	}
	if b := Boots(context.Background(), h); b.Status != rules.Failed {
		t.Errorf("%+v", b)
	}
	if m := Modules(context.Background(), h); m.Status != rules.Failed {
		t.Errorf("%+v", m)
	}
}

func TestThisHost(t *testing.T) {
	r, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := facts.Host{Root: r, Live: true}
	s := Sysctls(context.Background(), h)
	if !slices.ContainsFunc(s.Rows, func(s Sysctl) bool { return s.Name == "kernel.randomize_va_space" && s.RunningKnown }) {
		t.Errorf("%s: %d settings", s.Status, len(s.Rows))
	}
	if b := Boots(context.Background(), h); b.Status != rules.OK || len(b.Rows) == 0 {
		t.Errorf("%+v", b)
	}
	if m := Modules(context.Background(), h); m.Status != rules.OK && m.Status != rules.Absent {
		t.Errorf("%+v", m)
	}
}

func FuzzKernel(f *testing.F) {
	f.Add("a 1 0 - Live 0x0 (OE)", `x="a b" y`, "net/ipv4/conf/eth0.1/rp_filter=1", "[none] x")
	f.Fuzz(func(t *testing.T, module, line, setting, profile string) {
		if m, ok := parseModule(module); ok && (m.Name == "" || strings.Contains(m.Name, "/")) {
			t.Errorf("%+v", m)
		}
		facttest.Keys(t, parseCmdline(line))
		if s, ok := parseSetting(setting); ok && s.Name == "" {
			t.Errorf("%+v", s)
		}
		parseProfile(profile)
		chosen(profile)
		taint(profile)
	})
}
