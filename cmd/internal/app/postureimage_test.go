package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules/facts/facttest"
	"intact/rules/posture"
)

// said is what a run of posture said of one rule.
type said struct {
	verdict, reason string
	subjects        []saidOf
}

// saidOf is a subject that does not pass.
type saidOf struct {
	name, verdict, severity, reasons string
}

// about returns the first subject with the name and verdict, nil if there is none.
func (s said) about(name, verdict string) *saidOf {
	for i := range s.subjects {
		if s.subjects[i].name == name && s.subjects[i].verdict == verdict {
			return &s.subjects[i]
		}
	}
	return nil
}

// judgeRoot runs "intact posture --format json" over a root with the lines as the
// configuration, and returns what each rule said.
func judgeRoot(t testing.TB, root, config string, o PostureOptions) map[string]said {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "intact.yaml")
	if err := os.WriteFile(file, []byte("version: 1\npaths: [{path: /nonexistent, attributes: presence}]\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	return judgeEnv(t, &Env{Now: time.Now, Config: file, State: filepath.Join(dir, "state"), Root: root}, o)
}

// judgeEnv is judgeRoot for a state folder and a configuration that are there.
func judgeEnv(t testing.TB, e *Env, o PostureOptions) map[string]said {
	t.Helper()
	var out, errs bytes.Buffer
	o.Format = "json"
	e.Stdin, e.Stdout, e.Stderr = strings.NewReader(""), &out, &errs
	if _, err := Posture(context.Background(), e, o); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return parseSaid(t, out.String())
}

// parseSaid reads the lines of "intact posture --format json".
func parseSaid(t testing.TB, text string) map[string]said {
	t.Helper()
	all := map[string]said{}
	for line := range strings.Lines(text) {
		var r struct {
			Type, Set, Rule, Verdict, Reason, Name, Severity string
			Subject                                          struct{ Name, Path string }
			Reasons                                          []string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		s := all[r.Rule]
		switch r.Type {
		case "rule":
			s.verdict, s.reason = r.Verdict, r.Reason
		case "finding": // the subject of it follows
			s.subjects = append(s.subjects, saidOf{name: r.Subject.Name, verdict: "fail", severity: r.Severity, reasons: strings.Join(r.Reasons, "\n")})
		case "subject":
			if n := len(s.subjects); r.Verdict != "fail" {
				s.subjects = append(s.subjects, saidOf{name: r.Name, verdict: r.Verdict, reasons: r.Reason})
			} else if n == 0 || s.subjects[n-1].name != r.Name {
				t.Fatalf("%s: no finding stands before %s", r.Rule, line)
			}
		default:
			continue
		}
		all[r.Rule] = s
	}
	return all
}

// builtinIDs are the ids of all built-in rules.
func builtinIDs(t testing.TB) (ids []string) {
	t.Helper()
	b, problems, err := posture.Load(posture.Sources{Kinds: factKinds(), Builtin: posture.Builtin()})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	for _, r := range b.Rules {
		ids = append(ids, r.ID)
	}
	return ids
}

const (
	ed25519Key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqXx6lD4BwGk3tSoXdzjvl6YHCfCbNKkjpLKVqqFqTq"
	aptLists   = "var/lib/apt/lists/"
	mainList   = aptLists + "d.example_debian_dists_stable_"
	secList    = aptLists + "s.example_sec_dists_stable-security_"
)

func release(date time.Time, fields string) string {
	return "Date: " + date.UTC().Format("Mon, 02 Jan 2006 15:04:05") + " UTC\nArchitectures: amd64\nComponents: main\n" + fields
}

func aptPackage(name, version, more string) string {
	return fmt.Sprintf("Package: %s\nArchitecture: amd64\nVersion: %s\nMaintainer: m <m@example.org>\nDescription: d\n%s\n", name, version, more)
}

// weakImage is a host on which each rule that can judge an image fails, but for
// ssh.port-22 without its profile and upd.security-origin.
func weakImage() map[string]string {
	old := time.Now().AddDate(-2, 0, 0)
	const installed = "Status: install ok installed\n"
	return map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\neve:x:1001:1001::/home/eve:/bin/sh\n",
		"etc/group":  "root:x:0:\neve:x:1001:\n",
		"etc/shadow": "root:*:19000::::::\neve:*:19000::::::\n",
		"etc/ssh/sshd_config": `Include /etc/ssh/sshd_config.d/*.conf
PasswordAuthentication no
PermitRootLogin yes
PermitEmptyPasswords yes
KbdInteractiveAuthentication yes
UsePAM yes
Ciphers 3des-cbc
KexAlgorithms diffie-hellman-group1-sha1
MACs hmac-md5
MaxAuthTries 20
LoginGraceTime 0
IgnoreRhosts no
HostbasedAuthentication yes
PermitUserEnvironment yes
ClientAliveInterval 0
HostKey /etc/ssh/host_key
Match Address 10.0.0.0/8
  X11Forwarding yes
`,
		"etc/ssh/sshd_config.d/50-cloud-init.conf": "# made by an installer\nPasswordAuthentication yes\n",
		"etc/ssh/host_key":                         "not read",
		"etc/ssh/host_key.pub":                     ed25519Key + "\n",
		"usr/sbin/sshd":                            "x\x00OpenSSH_9.2p1 Debian-2+deb12u10\x00",
		"etc/pam.d/sshd":                           "auth required pam_unix.so\n",
		"home/eve/.ssh/authorized_keys":            "# mine\n" + ed25519Key + " eve\n",
		"root/.ssh/authorized_keys":                ed25519Key + " root\n",
		"etc/nginx/nginx.conf":                     "http {\n server {\n listen 80;\n root /var/www;\n }\n}\n",

		"usr/lib/systemd/systemd":                                 "x",
		"etc/systemd/system/evil.service":                         "[Service]\nExecStart=/opt/evil\n[Install]\nWantedBy=multi-user.target\n",
		"etc/systemd/system/multi-user.target.wants/evil.service": facttest.Link("/etc/systemd/system/evil.service"),
		"usr/lib/systemd/system/auditd.service":                   "[Service]\nExecStart=/sbin/auditd\n[Install]\nWantedBy=multi-user.target\n",
		"etc/systemd/system/auditd.service":                       facttest.Link("/dev/null"),

		"etc/os-release":                        "ID=debian\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"9\"\nVERSION_CODENAME=stretch\n",
		"etc/apt/sources.list":                  "# main\ndeb [trusted=yes] http://d.example/debian stable main\ndeb http://s.example/sec stable-security main\n",
		mainList + "InRelease":                  release(old, "Origin: Mallory\nLabel: Debian\nSuite: stable\nCodename: book\n"),
		secList + "InRelease":                   release(old, "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: book-security\n"),
		mainList + "main_binary-amd64_Packages": aptPackage("openssl", "3.0.1", ""),
		secList + "main_binary-amd64_Packages":  aptPackage("openssl", "3.0.2", ""),
		"var/lib/dpkg/status":                   aptPackage("openssl", "3.0.1", installed) + aptPackage("dpkg", "1.21", installed),
	}
}

// mendedImage is the same host, put right.
func mendedImage() map[string]string {
	m := weakImage()
	now := time.Now()
	maps.Copy(m, map[string]string{
		"etc/group": "root:x:0:\neve:x:1001:\nssh-users:x:1002:eve\n",
		"etc/ssh/sshd_config": `Include /etc/ssh/sshd_config.d/*.conf
Port 2222
PasswordAuthentication no
PermitRootLogin no
KbdInteractiveAuthentication yes
UsePAM yes
AuthenticationMethods publickey,keyboard-interactive
AllowGroups ssh-users
Ciphers aes256-gcm@openssh.com
KexAlgorithms sntrup761x25519-sha512@openssh.com
MACs hmac-sha2-256-etm@openssh.com
MaxAuthTries 3
LoginGraceTime 30
MaxStartups 10:30:60
DisableForwarding yes
ClientAliveInterval 300
ClientAliveCountMax 3
HostKey /etc/ssh/host_key
`,
		"etc/ssh/sshd_config.d/50-cloud-init.conf": "# made by an installer\n",
		"root/.ssh/authorized_keys":                `restrict,command="/bin/true" ` + ed25519Key + " root\n",
		"etc/nginx/nginx.conf":                     "http {\n server {\n listen 80;\n return 301 https://$host$request_uri;\n }\n}\n",

		"etc/systemd/system/timers.target.wants/apt-daily.timer":         facttest.Link("/usr/lib/systemd/system/apt-daily.timer"),
		"etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer": facttest.Link("/usr/lib/systemd/system/apt-daily-upgrade.timer"),
		"usr/lib/systemd/system/apt-daily.timer":                         "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n",
		"usr/lib/systemd/system/apt-daily-upgrade.timer":                 "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n",
		"etc/apt/apt.conf.d/20auto":                                      "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n",
		"etc/apt/apt.conf.d/50unattended-upgrades":                       "Unattended-Upgrade::Origins-Pattern { \"origin=Debian,label=Debian-Security\"; };\nUnattended-Upgrade::Mail \"ops@example.org\";\n",
		"var/lib/apt/periodic/unattended-upgrades-stamp":                 " ",

		"etc/os-release":       "ID=debian\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n",
		"etc/apt/sources.list": "deb [signed-by=/k.gpg] http://d.example/debian stable main\ndeb [signed-by=/k.gpg] http://s.example/sec stable-security main\n",
		mainList + "InRelease": release(now, "Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: book\n"),
		secList + "InRelease":  release(now, "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: book-security\n"),
	})
	const installed = "Status: install ok installed\n"
	m["var/lib/dpkg/status"] = aptPackage("openssl", "3.0.2", installed) + aptPackage("dpkg", "1.21", installed) + aptPackage("unattended-upgrades", "2", installed)
	for _, gone := range []string{"etc/systemd/system/multi-user.target.wants/evil.service", "etc/systemd/system/auditd.service"} {
		delete(m, gone)
	}
	return m
}

// imageOf writes a tree and gives its files the modes of a host; loose are those
// that others may write, or read.
func imageOf(t testing.TB, files map[string]string, loose map[string]os.FileMode) string {
	t.Helper()
	root := facttest.Image(t, files).Root.HostPath()
	for name, mode := range loose {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// looseModes are the modes that make rules fail on the weak image.
var looseModes = map[string]os.FileMode{"etc/ssh/sshd_config.d/50-cloud-init.conf": 0o666, "etc/ssh/host_key": 0o644, "home/eve/.ssh": 0o777}

const twoRoles = "services: [{name: web, port: 443, class: public, role: web}, {name: mail, port: 25, class: public, role: mail}]\n"

// saidOfImage is what a rule finds on the weak image: a subject, how grave, and a
// part of what is said, which names the place.
type saidOfImage struct{ rule, subject, severity, says string }

// imageTable has each rule that can judge an image.
var imageTable = []saidOfImage{
	{"net.http-plain", `nginx "/etc/nginx/nginx.conf:2"`, "medium", "serves without encryption"},
	{"ssh.access-list", "everybody", "medium", "neither AllowUsers nor AllowGroups"},
	{"ssh.authkeys", `"eve" "/home/eve/.ssh/authorized_keys" SHA256:X4ZflkzD1Cpb3TnPaM09WI1uSEEPkOogj+URVk289Yk`, "high", "/home/eve/.ssh/authorized_keys:2: others may write /home/eve/.ssh"},
	{"ssh.brute-limits", "everybody", "low", "MaxAuthTries 20 (/etc/ssh/sshd_config:10), LoginGraceTime 0 (/etc/ssh/sshd_config:11)"},
	{"ssh.bruteforce-guard", "host", "medium", "no guard is installed"},
	{"ssh.config-writable", "/etc/ssh/sshd_config.d/50-cloud-init.conf", "high", "mode 666"},
	{"ssh.crypto", "everybody", "medium", "3des-cbc"},
	{"ssh.dropin-shadowed", "passwordauthentication", "high", "no at /etc/ssh/sshd_config:2 never counts: yes at /etc/ssh/sshd_config.d/50-cloud-init.conf:2 does"},
	{"ssh.empty-passwords", "everybody", "critical", "/etc/ssh/sshd_config:4"},
	{"ssh.forwarding", "everybody", "low", "TCP yes (built in)"},
	{"ssh.hostkeys", "/etc/ssh/host_key", "high", "mode 644"},
	{"ssh.idle", "everybody", "low", "ClientAliveInterval 0 (/etc/ssh/sshd_config:15)"},
	{"ssh.kbdint-password", "everybody", "high", "KbdInteractiveAuthentication by /etc/ssh/sshd_config:5"},
	{"ssh.legacy-trust", "everybody", "high", "HostbasedAuthentication true (/etc/ssh/sshd_config:13)"},
	{"ssh.match-weakens", "x11forwarding below address 10.0.0.0/8", "high", "yes at /etc/ssh/sshd_config:18, weaker than no"},
	{"ssh.mfa", "everybody", "medium", "any"},
	{"ssh.password-auth", "everybody", "high", "/etc/ssh/sshd_config.d/50-cloud-init.conf:2"},
	{"ssh.port-22", "sshd", "info", "port 22, by built in"},
	{"ssh.root-login", "everybody", "high", "root may log in (yes) by /etc/ssh/sshd_config:3"},
	{"svc.guard-down", "auditd.service", "medium", "masked"},
	{"svc.single-role", "host", "info", "mail web"},
	{"svc.undeclared-enabled", "evil.service", "medium", "ExecStart=/opt/evil"},
	{"upd.auto", "host", "medium", "no tool is there that does it"},
	{"upd.eol", "debian 9", "critical", "past its end"},
	{"upd.lists-stale", "http://d.example/debian stable", "medium", "is of 20"},
	{"upd.notify", "host", "low", "nothing on this host tells anybody"},
	{"upd.repo-auth", "http://d.example/debian stable", "high", "/etc/apt/sources.list:2"},
	{"upd.security-origin", "host", "high", "none of the lists"},
	{"upd.security-pending", "openssl:amd64", "critical", "3.0.1 → 3.0.2"},
	{"upd.third-party", "http://d.example/debian stable", "info", "calls itself Mallory"},
}

// Each rule that can judge an image is seen to fail on one, with the subject and
// the place that it names, and to pass once that is mended.
func TestRulesOnImages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root makes files that are root's")
	}
	strict := PostureOptions{Profile: "seed-strict"}
	weak := judgeRoot(t, imageOf(t, weakImage(), looseModes), twoRoles, strict)
	files := weakImage()
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasPrefix(name, secList) })
	files["etc/apt/sources.list"] = "deb http://d.example/debian stable main\n"
	weak["upd.security-origin"] = judgeRoot(t, imageOf(t, files, nil), "", PostureOptions{Sets: []string{"upd"}})["upd.security-origin"]
	mended := judgeRoot(t, imageOf(t, mendedImage(), nil), "services: [{name: web, port: 443, class: public, role: web}]\n", strict)
	for _, c := range imageTable {
		w, m := weak[c.rule], mended[c.rule]
		if s := w.about(c.subject, "fail"); w.verdict != "fail" || s == nil || s.severity != c.severity || !strings.Contains(s.reasons, c.says) {
			t.Errorf("%s on the weak image: %+v", c.rule, w)
		}
		if m.verdict != "pass" || len(m.subjects) > 0 {
			t.Errorf("%s on the mended image: %+v", c.rule, m)
		}
	}
	// What only a running host tells is unknown, in both.
	for _, id := range builtinIDs(t) {
		if slices.ContainsFunc(imageTable, func(c saidOfImage) bool { return c.rule == id }) {
			continue
		}
		if r := mended[id]; r.verdict != "unknown" && id != "ssh.live-offers-password" || !strings.Contains(r.reason, "offline") && r.verdict != "" {
			t.Errorf("%s on an image: %+v", id, r)
		}
	}
}
