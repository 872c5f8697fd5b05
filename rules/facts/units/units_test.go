package units

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
)

func unit(t *testing.T, a facts.Answer[Unit], name string) Unit {
	t.Helper()
	i := slices.IndexFunc(a.Rows, func(u Unit) bool { return u.Name == name })
	if i < 0 {
		t.Fatalf("no unit %q", name)
	}
	return a.Rows[i]
}

var tree = map[string]string{
	"usr/lib/systemd/system/a.service": "# c\n[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/a \\\n# between\n  --flag\nUser=daemon\nEnvironment=A=1\nEnvironmentFile=-/etc/x\nNoNewPrivileges=yes\nProtectSystem=strict\n" +
		"CapabilityBoundingSet=CAP_CHOWN CAP_KILL\n[Install]\nWantedBy=multi-user.target\n",
	"lib": facttest.Link("usr/lib"),
	"etc/systemd/system/multi-user.target.wants/a.service": facttest.Link("/usr/lib/systemd/system/a.service"),
	"etc/systemd/system/a.service.d/20-b.conf":             "[Service]\nExecStart=\nExecStart=/tmp/evil\n",
	"usr/lib/systemd/system/a.service.d/10-a.conf":         "[Service]\nExecStartPre=/bin/pre\nUser=nobody\nEnvironment=\"LD_PRELOAD=x\"\n",
	"usr/lib/systemd/system/a.service.d/20-b.conf":         "[Service]\nExecStart=/never\n",
	"usr/lib/systemd/system/service.d/00-all.conf":         "[Service]\nPrivateTmp=on\n",
	"usr/lib/systemd/system/b.timer":                       "[Timer]\nOnCalendar=daily\nOnBootSec=5\n[Install]\nWantedBy=timers.target\n",
	"usr/lib/systemd/system/c.service":                     "[Service]\nExecStart=/bin/c\n[Install]\nWantedBy=x.target\n",
	"etc/systemd/system/c.service":                         facttest.Link("/dev/null"),
	"usr/lib/systemd/system/d@.service":                    "[Service]\nExecStart=/bin/d %i\n[Install]\nWantedBy=x.target\n",
	"etc/systemd/system/getty.target.wants/d@tty1.service": facttest.Link("/usr/lib/systemd/system/d@.service"),
	"etc/systemd/system/ssh.service":                       facttest.Link("/usr/lib/systemd/system/sshd.service"),
	"usr/lib/systemd/system/sshd.service":                  "[Service]\nExecStart=/usr/sbin/sshd\n",
	"etc/systemd/system/x.target.wants/gone.service":       facttest.Link("/usr/lib/systemd/system/gone.service"),
	"etc/systemd/system/old.service":                       facttest.Link("/usr/lib/systemd/system/gone.service"),
	"etc/systemd/system/x.target.wants/mnt.mount":          facttest.Link("/nowhere"),
	"usr/lib/systemd/system/e.socket":                      "[Socket]\nListenStream=22\nListenDatagram=/run/x\nAccept=yes\n",
	"usr/lib/systemd/system/f.service":                     "",
	"usr/lib/systemd/system/\x1b[31m\xff.service":          "[Service]\nExecStart=/x\n",
	"usr/lib/systemd/system/notes.txt":                     "no unit",
	"usr/lib/systemd/system-preset/90-x.preset":            "# c\nenable a.service\ndisable *\n",
	"etc/systemd/system-preset/10-x.preset":                "ignore b.*\n",
}

func TestUnits(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, tree))
	if a.Status != rules.OK {
		t.Fatal(a.Status, a.Reason)
	}
	u := unit(t, a, "a.service")
	if u.State != "enabled" || !slices.Equal(u.Wanted, []string{"multi-user.target"}) || u.User != "nobody" || !u.NoNewPrivs || u.Protect != "strict" || !u.PrivateTmp ||
		!slices.Equal(u.Environment, []string{"A=1", `"LD_PRELOAD=x"`}) || !slices.Equal(u.EnvFiles, []string{"-/etc/x"}) ||
		u.Caps != "CAP_CHOWN CAP_KILL" || u.Preset != "enable" || u.RunningKnown ||
		!slices.Equal(u.Exec, []string{"ExecStartPre=/bin/pre", "ExecStart=/tmp/evil"}) ||
		!slices.Equal(u.DropIns, []string{"/usr/lib/systemd/system/service.d/00-all.conf", "/usr/lib/systemd/system/a.service.d/10-a.conf", "/etc/systemd/system/a.service.d/20-b.conf"}) {
		t.Errorf("%+v", u)
	}
	for name, state := range map[string]string{"b.timer": "disabled", "c.service": "masked", "d@.service": "indirect", "d@tty1.service": "enabled", "ssh.service": "alias",
		"sshd.service": "indirect", "e.socket": "static", "f.service": "masked",
		"gone.service": "not-found", "old.service": "not-found", "mnt.mount": "enabled", "\x1b[31m\xff.service": "static"} {
		if u := unit(t, a, name); u.State != state {
			t.Errorf("%q: %s, want %s", name, u.State, state)
		}
	}
	if u := unit(t, a, "b.timer"); u.Activates != "b.service" || u.Preset != "ignore" || !slices.Equal(u.Calendar, []string{"OnCalendar=daily", "OnBootSec=5"}) {
		t.Errorf("%+v", u)
	}
	if u := unit(t, a, "e.socket"); u.Activates != "e@.service" || !slices.Equal(u.Listen, []string{"22", "/run/x"}) {
		t.Errorf("%+v", u)
	}
	if u := unit(t, a, "ssh.service"); u.Fragment != "/usr/lib/systemd/system/sshd.service" || u.Transient {
		t.Errorf("%+v", u)
	}
	if u := unit(t, a, "d@tty1.service"); !slices.Equal(u.Exec, []string{"ExecStart=/bin/d %i"}) || u.Fragment != "/usr/lib/systemd/system/d@.service" {
		t.Errorf("%+v", u)
	}
	if slices.ContainsFunc(a.Rows, func(u Unit) bool { return u.Name == "notes.txt" }) {
		t.Error("a text is a unit")
	}
	for i := 1; i < len(a.Rows); i++ {
		if a.Rows[i-1].Key() == a.Rows[i].Key() {
			t.Errorf("twice %s", a.Rows[i].Key())
		}
	}
}

// Whatever is changed of a unit changes what is compared.
func TestUnitDrift(t *testing.T) {
	before := unit(t, Collect(context.Background(), facttest.Image(t, tree)), "a.service").Compared()
	for name, text := range map[string]string{
		"usr/lib/systemd/system/a.service":             tree["usr/lib/systemd/system/a.service"] + "# x\n",
		"etc/systemd/system/a.service.d/30-c.conf":     "[Service]\nUMask=0\n",
		"etc/systemd/system/x.target.wants/a.service":  facttest.Link("/dev/null"),
		"usr/lib/systemd/system/service.d/zz-all.conf": "[Service]\nEnvironment=LD_PRELOAD=/x\n",
	} {
		files := map[string]string{}
		for n, x := range tree {
			files[n] = x
		}
		files[name] = text
		if unit(t, Collect(context.Background(), facttest.Image(t, files)), "a.service").Compared() == before {
			t.Errorf("%s: nothing is compared of it", name)
		}
	}
}

// Below /run lie units that go with the boot, and those that somebody put there or
// that hide one of the disk.
func TestTransient(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, map[string]string{
		"run/systemd/generator/tmp.mount":     "[Mount]\n",
		"run/systemd/transient/run-1.service": "[Service]\n",
		"run/systemd/transient/sshd.service":  "[Service]\nExecStart=/tmp/evil\n",
		"usr/lib/systemd/system/sshd.service": "[Service]\n",
		"run/systemd/system/run-2.service":    "[Service]\nExecStart=/tmp/evil\n",
	}))
	for name, gone := range map[string]bool{"tmp.mount": true, "run-1.service": true, "sshd.service": false, "run-2.service": false} {
		if u := unit(t, a, name); u.Transient != gone {
			t.Errorf("%q: goes with the boot is %t", name, u.Transient)
		}
	}
}

// TestSystemctl holds the states against systemctl's own.
func TestSystemctl(t *testing.T) {
	tool, err := exec.LookPath("systemctl")
	if err != nil {
		t.Skip("SKIPPED: no systemctl")
	}
	h := facttest.Image(t, tree)
	a := Collect(context.Background(), h)
	for _, name := range []string{"a.service", "b.timer", "c.service", "d@.service", "d@tty1.service", "ssh.service", "sshd.service", "e.socket"} {
		out, _ := exec.Command(tool, "--root="+h.Root.HostPath(), "is-enabled", name).Output()
		if got, want := unit(t, a, name).State, strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s: %q, systemctl says %q", name, got, want)
		}
	}
}

func TestHostileUnits(t *testing.T) {
	h := facttest.Image(t, map[string]string{
		"usr/lib/systemd/system/loop.service": facttest.Link("loop.service"),
		"usr/lib/systemd/system/out.service":  facttest.Link("/../../../../../../etc/passwd"),
		"usr/lib/systemd/system/gone.service": facttest.Link("/nowhere"),
		"usr/lib/systemd/system/long.service": "[Service]\nExecStart=" + strings.Repeat("x", 2<<20) + "\nUser=a\n",
		"usr/lib/systemd/system/nul.service":  "[Service]\nExecStart=/a\x00b\n=\n[\n]\nkey\n\\",
	})
	fifo := filepath.Join(h.Root.HostPath(), "usr/lib/systemd/system/fifo.service")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	a := Collect(context.Background(), h)
	if a.Status != rules.Failed {
		t.Errorf("%s: a FIFO and a link to itself were read", a.Status)
	}
	if u := unit(t, a, "long.service"); u.User != "a" || len(u.Exec) != 0 {
		t.Errorf("%+v", u)
	}
	if u := unit(t, a, "nul.service"); !slices.Equal(u.Exec, []string{"ExecStart=/a\x00b"}) {
		t.Errorf("%+v", u)
	}
	if a := Collect(context.Background(), facttest.Image(t, map[string]string{"etc/x": ""})); a.Status != rules.Absent {
		t.Error(a.Status)
	}
}

func TestCron(t *testing.T) {
	a := Cron(context.Background(), facttest.Image(t, map[string]string{
		"etc/crontab":                 "SHELL=/bin/sh\n \"A\" = b\n# m h dom mon dow user\n17 *\t* * * root  cd / && run a=b\n@reboot eve /tmp/x\n\nbad\n1 2 3 4 5 root\n",
		"etc/cron.d/x":                "*/5 * * * * nobody /bin/y %z",
		"etc/cron.d/x.dpkg-old":       "* * * * * root /never",
		"var/spool/cron/crontabs/eve": "0 0 * * * /home/eve/e\n@daily \x1b[31m\xff\n",
		"etc/anacrontab":              "PATH=/bin\n1\t5\tcron.daily\trun-parts /etc/cron.daily\n@monthly 45 m cmd\n",
		"etc/cron.daily/script":       "#!/bin/sh\n",
		"etc/cron.daily/.placeholder": "",
		"var/spool/cron/atjobs/a0001": "#!/bin/sh\nevil\n",
		"var/spool/cron/atjobs/.SEQ":  "1",
		"etc/cron.weekly/link":        facttest.Link("/usr/bin/w"),
	}))
	if a.Status != rules.OK {
		t.Fatal(a.Status, a.Reason)
	}
	var got []string
	for _, c := range a.Rows {
		got = append(got, strings.Join([]string{c.At, c.User, c.Schedule, c.Command}, "|"))
	}
	want := []string{
		"/etc/anacrontab:2|root|every 1|run-parts /etc/cron.daily", "/etc/anacrontab:3|root|every @monthly|cmd",
		"/etc/cron.d/x:1|nobody|*/5 * * * *|/bin/y %z", "/etc/cron.daily/script|root|daily|/etc/cron.daily/script", "/etc/cron.weekly/link|root|weekly|/etc/cron.weekly/link",
		"/etc/crontab:4|root|17 * * * *|cd / && run a=b", "/etc/crontab:5|eve|@reboot|/tmp/x",
		"/var/spool/cron/atjobs/a0001|0|once|blake3:", "/var/spool/cron/crontabs/eve:1|eve|0 0 * * *|/home/eve/e", "/var/spool/cron/crontabs/eve:2|eve|@daily|\x1b[31m\xff",
	}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	if c := a.Rows[0].Compared(); c != `schedule="every 1" settings="PATH=/bin"` { // SHELL and the like decide what the job is
		t.Error(c)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) && !strings.Contains(got[i], "atjobs") {
			t.Errorf("%d: %q, want %q", i, got[i], want[i])
		}
	}
}

// More jobs than are read make the fact fail: none is told as gone.
func TestManyJobs(t *testing.T) {
	a := Cron(context.Background(), facttest.Image(t, map[string]string{"var/spool/cron/crontabs/eve": strings.Repeat("@daily x\n", maxJobs+1)}))
	if len(a.Rows) != maxJobs || a.Status != rules.Failed || !strings.Contains(a.Reason, "/eve: over") {
		t.Error(len(a.Rows), a.Status, a.Reason)
	}
}

func FuzzUnit(f *testing.F) {
	f.Add([]byte("[Service]\nExecStart=/a \\\n# c\n b\nExecStart=\n"))
	f.Add([]byte("[x\n=\n\\\n\\"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := merged{}
		m.add(parseUnit(b))
		u := Unit{Name: "x.service", Kind: "service"}
		u.settings(m)
	})
}

func FuzzCron(f *testing.F) {
	f.Add("*/5 * * * * root x")
	f.Add("@daily root x")
	f.Fuzz(func(t *testing.T, s string) {
		if e, ok := parseCron(s, true); ok && (e.User == "" || e.Command == "" || e.Schedule == "") {
			t.Errorf("%+v", e)
		}
		parseAnacron(s, false)
	})
}
