package guards

import (
	"context"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
	"intact/rules/facts/units"
)

func started(names ...string) facts.Answer[units.Unit] {
	a := facts.Answer[units.Unit]{Status: rules.OK}
	for _, n := range names {
		a.Rows = append(a.Rows, units.Unit{Name: n, State: "enabled", Running: true, RunningKnown: true})
	}
	return a
}

func TestFail2ban(t *testing.T) {
	const conf = "# c\n[INCLUDES]\nbefore = paths-debian.conf\n[DEFAULT]\nenabled = false\nfilter = %(__name__)s\nbantime = 10m\naction = %(action_)s\n[sshd]\nport = ssh\n[apache]\nenabled = true\n"
	for _, c := range []struct {
		name, file, text string
		covers, known    bool
		at, why          string
	}{
		{"as it comes", "x", "", false, true, "", "jail sshd is not enabled"},
		{"by Debian", "jail.d/defaults-debian.conf", "[sshd]\nenabled = true\n", true, true, "/etc/fail2ban/jail.d/defaults-debian.conf:2", ""},
		{"for all", "jail.local", "[DEFAULT]\nenabled: Yes\n", true, true, "/etc/fail2ban/jail.local:2", ""},
		{"off again, later", "jail.d/z.local", "[sshd]\nenabled = false\n", false, true, "", "not enabled"},
		{"another name", "jail.local", "[mine]\nfilter = sshd[mode=aggressive]\nenabled = 1\n", true, true, "/etc/fail2ban/jail.local:3", "jail sshd is not enabled"},
		{"spares everybody", "jail.local", "[sshd]\nenabled = true\nignoreip = 127.0.0.1/8\n  0.0.0.0/0\n", false, true, "", "spares everybody"},
		{"spares all of IPv6", "jail.local", "[sshd]\nenabled = true\n[DEFAULT]\nignoreip = ::1,::/0\n", false, true, "", "spares everybody"},
		{"any number of tries", "jail.local", "[sshd]\nenabled = true\nmaxretry = 99999\n", false, true, "", "allows 99999 tries"},
		{"for no time", "jail.local", "[sshd]\nenabled = true\nbantime = 0s\n", false, true, "", "bans for no time"},
		{"does nothing", "jail.local", "[sshd]\nenabled = true\naction =\n", false, true, "", "does nothing"},
		{"a comment", "jail.local", "[sshd]\n# enabled = true\n;enabled = true\n", false, true, "", "not enabled"},
		{"by a variable", "jail.local", "[sshd]\nenabled = %(on)s\n", false, false, "", "was not understood"},
		{"includes more", "jail.local", "[INCLUDES]\nafter = more.conf\n[sshd]\nenabled = true\n", true, false, "/etc/fail2ban/jail.local:4", "is not read here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := facttest.Image(t, map[string]string{"usr/bin/fail2ban-server": "", "etc/fail2ban/jail.conf": conf, "etc/fail2ban/" + c.file: c.text})
			a := collect(context.Background(), h, started("fail2ban.service"), nil)
			if a.Status != rules.OK || len(a.Rows) != 1 {
				t.Fatalf("%+v", a)
			}
			g := a.Rows[0]
			if g.Covers != c.covers || g.CoversKnown != c.known || g.CoversAt != c.at || !strings.Contains(strings.Join(g.Why, "; "), c.why) || c.why == "" && len(g.Why) > 0 || !g.Enabled {
				t.Errorf("%+v", g)
			}
		})
	}
}

// What runs is told by the kernel's table, not by a file that was left over.
func TestRunning(t *testing.T) {
	h := facttest.Image(t, map[string]string{"usr/bin/fail2ban-server": "", "etc/fail2ban/jail.conf": "[sshd]\nenabled=true\n", "run/fail2ban/fail2ban.sock": ""})
	const table = "Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"0: 00000002 00000000 00010000 0001 01 5 /run/other.sock\n0: 00000003 00000000 00000000 0001 03 6 /run/fail2ban/fail2ban.sock\n"
	if g := collect(context.Background(), h, started(), unixTable(table)).Rows[0]; g.Running || !g.RunningKnown || g.Enabled || !g.EnabledKnown {
		t.Errorf("connected, not listening: %+v", g)
	}
	if g := collect(context.Background(), h, started(), unixTable(table+"0: 00000002 00000000 00010000 0001 01 7 /run/fail2ban/fail2ban.sock\n")).Rows[0]; !g.Running || !g.RunningKnown {
		t.Errorf("%+v", g)
	}
	denied := facts.Answer[units.Unit]{Status: rules.Denied}
	if g := collect(context.Background(), h, denied, nil).Rows[0]; g.RunningKnown || g.EnabledKnown {
		t.Errorf("on an image: %+v", g)
	}
	if a := Collect(context.Background(), h, started()); a.Rows[0].RunningKnown {
		t.Errorf("asked this host about an image: %+v", a)
	}
}

func TestOthers(t *testing.T) {
	crowd := map[string]string{"etc/crowdsec/config.yaml": "", "etc/crowdsec/acquis.yaml": "filenames:\n  - /var/log/auth.log\n", "etc/crowdsec/scenarios/ssh-bf.yaml": "type: leaky\n"}
	guard := func(h facts.Host, u facts.Answer[units.Unit]) Guard {
		a := collect(context.Background(), h, u, nil)
		if a.Status != rules.OK || len(a.Rows) != 1 {
			t.Fatalf("%+v", a)
		}
		return a.Rows[0]
	}
	g := guard(facttest.Image(t, crowd), started("crowdsec.service", "crowdsec-firewall-bouncer.service"))
	if !g.Covers || !g.CoversKnown || !g.Enabled || !g.Running || g.CoversAt != "/etc/crowdsec/acquis.yaml:2" || len(g.Why) > 0 {
		t.Errorf("%+v", g)
	}
	if g := guard(facttest.Image(t, crowd), started("crowdsec.service")); g.Covers || !g.CoversKnown || !strings.Contains(strings.Join(g.Why, ""), "bouncer") {
		t.Errorf("no bouncer: %+v", g)
	}
	crowd["etc/crowdsec/acquis.yaml"] = "# /var/log/auth.log\n"
	delete(crowd, "etc/crowdsec/scenarios/ssh-bf.yaml")
	if g := guard(facttest.Image(t, crowd), started("crowdsec-firewall-bouncer.service")); g.Covers || g.Enabled || len(g.Why) != 3 {
		t.Errorf("reads nothing: %+v", g)
	}
	for text, want := range map[string]bool{
		"BACKEND=\"/usr/libexec/sshg-fw-nft-sets\"\nLOGREADER=\"journalctl -af\"\n": true,
		"BACKEND=/usr/libexec/sshg-fw-null\nFILES=/var/log/auth.log\n":              false,
		"BACKEND=/usr/libexec/sshg-fw-nft-sets\n":                                   false,
		"#BACKEND=/x\nFILES=/var/log/auth.log\n":                                    false,
	} {
		if g := guard(facttest.Image(t, map[string]string{"etc/sshguard/sshguard.conf": text}), started("sshguard.service")); g.Covers != want || !g.Enabled {
			t.Errorf("%q: %+v", text, g)
		}
	}
}

func TestHostile(t *testing.T) {
	if a := collect(context.Background(), facttest.Image(t, map[string]string{"usr/bin/fail2ban-server": "", "etc/fail2ban/jail.conf": facttest.Fifo}), started(), nil); a.Status != rules.Failed {
		t.Errorf("a FIFO: %+v", a)
	}
	if a := collect(context.Background(), facttest.Image(t, nil), started(), nil); a.Status != rules.OK || len(a.Rows) != 0 {
		t.Errorf("%+v", a)
	}
}

func FuzzJails(f *testing.F) {
	f.Add("[sshd]\nenabled = true\n  more\n[x\n=:\n; c\n")
	f.Fuzz(func(t *testing.T, text string) {
		j := &jails{sections: map[string]map[string]option{}}
		j.parse("f", text)
		g := Guard{CoversKnown: true}
		(&collector{}).jailed(&g, j)
		if g.Covers && g.CoversAt == "" {
			t.Errorf("%+v", g)
		}
	})
}
