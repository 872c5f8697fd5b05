package osupdates_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts/osupdates"
)

func auto(r osupdates.Automatic) string {
	return fmt.Sprintf("%s enabled=%v why=%q security=%v/%v reboot=%s mail=%q excluded=%q ran=%v", r.Tool, r.Enabled, r.Why, r.Security, r.SecurityKnown, r.Reboot, r.Mail, r.Excluded, r.LastRunKnown)
}

func TestAutomatic(t *testing.T) {
	const on = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n"
	const debian = "Unattended-Upgrade::Origins-Pattern { \"origin=Debian,codename=${distro_codename}-security,label=Debian-Security\"; };\n"
	base := archive().with(
		listsDir+"s.example_sec_dists_stable-security_Release", releaseText("Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: book-security\n"),
		"etc/os-release", "ID=debian\nVERSION_CODENAME=book\n",
		"var/lib/dpkg/status", statusOf("unattended-upgrades all 2"),
		"usr/lib/systemd/systemd", "x",
		"etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer", "-> /usr/lib/systemd/system/apt-daily-upgrade.timer",
		"etc/systemd/system/timers.target.wants/apt-daily.timer", "-> /usr/lib/systemd/system/apt-daily.timer",
		"etc/apt/apt.conf.d/20auto", on, "etc/apt/apt.conf.d/50unattended-upgrades", debian,
		"var/lib/apt/periodic/unattended-upgrades-stamp", " ")
	good := `unattended-upgrades enabled=true why=[] security=true/true reboot=never mail="" excluded=[] ran=true`
	ubuntu := "Unattended-Upgrade::Allowed-Origins { \"${distro_id}:${distro_codename}-security\"; };\nUnattended-Upgrade::Automatic-Reboot \"true\";\nUnattended-Upgrade::Automatic-Reboot-Time \"02:00\";\nUnattended-Upgrade::Mail \"ops@example.org\";\nUnattended-Upgrade::Package-Blacklist { \"linux-\"; };\n"
	dnf := func(conf string, more ...string) tree {
		return tree{"var/lib/dpkg/status": statusOf("dnf-automatic all 1"), "usr/lib/systemd/systemd": "x", "etc/dnf/automatic.conf": conf,
			"etc/systemd/system/timers.target.wants/dnf-automatic.timer": "-> /usr/lib/systemd/system/dnf-automatic.timer"}.with(more...)
	}
	for _, tt := range []struct {
		name  string
		files tree
		want  []string
	}{
		{"none", archive(), nil},
		{"good", base, []string{good}},
		{"removed", base.with("var/lib/dpkg/status", strings.Replace(statusOf("unattended-upgrades all 2"), "ok installed", "ok config-files", 1)), nil},
		{"not-periodic", base.with("etc/apt/apt.conf.d/20auto", "APT::Periodic::Update-Package-Lists \"1\";\n"),
			[]string{strings.Replace(good, "true why=[]", `false why=["APT::Periodic::Unattended-Upgrade is not set"]`, 1)}},
		{"switched-off-later", base.with("etc/apt/apt.conf.d/99x", "APT::Periodic::Enable \"0\";\n"), []string{strings.Replace(good, "true why=[]", `false why=["APT::Periodic::Enable is 0"]`, 1)}},
		{"masked", base.with("etc/systemd/system/apt-daily.timer", "-> /dev/null"),
			[]string{strings.Replace(good, "true why=[]", `false why=["apt-daily.timer is not enabled: nothing fetches lists"]`, 1)}},
		{"no-timer", base.with("etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer", ""),
			[]string{strings.Replace(good, "true why=[]", `false why=["nothing starts it: none of apt-daily-upgrade.timer, /etc/cron.daily/apt-compat, /etc/cron.daily/apt is enabled"]`, 1)}},
		{"cron", base.with("etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer", "", "usr/lib/systemd/systemd", "", "etc/cron.daily/apt-compat", "x"), []string{good}},
		{"other-origin", base.with("etc/apt/apt.conf.d/50unattended-upgrades", strings.Replace(debian, "Debian-Security", "Debian", 1)), []string{strings.Replace(good, "security=true", "security=false", 1)}},
		{"no-pattern", base.with("etc/apt/apt.conf.d/50unattended-upgrades", "// nothing\n"), []string{strings.Replace(good, "security=true", "security=false", 1)}},
		{"no-security-lists", base.with(secList, ""), []string{strings.Replace(good, "security=true/true", "security=false/false", 1)}},
		{"ubuntu", base.with("etc/os-release", "ID=ubuntu\nVERSION_CODENAME=book\n", listsDir+"s.example_sec_dists_stable-security_Release", releaseText("Origin: Ubuntu\nLabel: Ubuntu\nSuite: book-security\nCodename: book\n"), "etc/apt/apt.conf.d/50unattended-upgrades", ubuntu),
			[]string{`unattended-upgrades enabled=true why=[] security=true/true reboot=02:00 mail="ops@example.org" excluded=["linux-"] ran=true`}},
		{"notifiers", tree{"var/lib/dpkg/status": statusOf("apticron all 1", "apt-listchanges all 1"), "etc/apticron/apticron.conf": "EMAIL=\"root\"\n", "etc/cron.d/apticron": "x",
			"etc/apt/listchanges.conf": "[apt]\nfrontend=mail\nemail_address=ops@example.org\n"}, []string{
			`apticron enabled=true why=[] security=false/false reboot=never mail="root" excluded=[] ran=false`,
			`apt-listchanges enabled=true why=[] security=false/false reboot=never mail="ops@example.org" excluded=[] ran=false`}},
		{"dnf", dnf("[commands]\napply_updates = yes\nupgrade_type = security\nreboot = when-needed\n[emitters]\nemit_via = stdio,email\n[email]\nemail_to = a@b\n[base]\nexclude=kernel*\n", "var/lib/systemd/timers/stamp-dnf-automatic.timer", " "),
			[]string{`dnf-automatic enabled=true why=[] security=true/true reboot=when-needed mail="a@b" excluded=["kernel*"] ran=true`}},
		{"dnf-downloads", dnf("[commands]\napply_updates = no\n"), []string{`dnf-automatic enabled=false why=["apply_updates is off: it only downloads or tells"] security=false/true reboot=never mail="" excluded=[] ran=false`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := osupdates.AutomaticUpdates(context.Background(), tt.files.host(t))
			var out []string
			for _, r := range got.Rows {
				out = append(out, auto(r))
				if r.LastRunKnown && time.Since(r.LastRun) > time.Hour {
					t.Errorf("ran %v", r.LastRun)
				}
			}
			if got.Status != rules.OK || !slices.Equal(out, tt.want) {
				t.Errorf("%s %s\n got %s\nwant %s", got.Status, got.Reason, strings.Join(out, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
	if got := osupdates.AutomaticUpdates(context.Background(), base.with("var/lib/apt/periodic/unattended-upgrades-stamp", "|").host(t)); got.Status != rules.Failed || got.Rows[0].LastRunKnown {
		t.Errorf("a FIFO for a stamp: %s %+v", got.Status, got.Rows)
	}
}
