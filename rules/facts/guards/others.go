package guards

import (
	"fmt"
	"slices"
	"strings"

	"intact/rules"
	"intact/scanner/entry"
)

// crowdsec needs three things: a log of sshd that it reads, a scenario about
// logins that fail, and a bouncer that acts on its decisions.
func (c *collector) crowdsec() (g Guard, there bool) {
	g = Guard{Tool: "crowdsec", Why: []string{}}
	const dir = entry.Path("/etc/crowdsec")
	if !c.exists(dir + "/config.yaml") {
		return g, false
	}
	files := append([]entry.Path{dir + "/acquis.yaml"}, c.folder(dir+"/acquis.d", ".yaml")...)
	files = append(files, c.folder(dir+"/acquis.d", ".yml")...)
	for _, p := range files {
		b, ok := c.read(p)
		if !ok || g.CoversAt != "" {
			continue
		}
		g.CoversAt = lineWith(string(p), string(b), "auth.log", "/var/log/secure", "ssh.service", "sshd.service", "_SYSTEMD_UNIT=ssh")
	}
	scenario := slices.ContainsFunc(c.folder(dir+"/scenarios", ".yaml"), func(p entry.Path) bool {
		return strings.HasPrefix(p.Base(), "ssh-") && c.exists(p)
	})
	bouncer, known := false, c.units.Status == rules.OK
	for _, u := range c.units.Rows {
		if strings.HasPrefix(u.Name, "crowdsec-") && strings.HasSuffix(u.Name, "-bouncer.service") {
			bouncer = bouncer || u.State == "enabled" && (u.Running || !u.RunningKnown)
		}
	}
	if g.CoversAt == "" {
		g.lacks("it reads no log of sshd")
	}
	if !scenario {
		g.lacks("it has no scenario for ssh")
	}
	if !bouncer {
		g.lacks("no bouncer is enabled: nobody acts on what it decides")
	}
	g.Covers = g.CoversAt != "" && scenario && bouncer
	g.CoversKnown = bouncer || known
	c.unit(&g, "crowdsec.service")
	return g, true
}

// sshguard needs a backend that blocks and something to read.
func (c *collector) sshguard() (g Guard, there bool) {
	g = Guard{Tool: "sshguard", Why: []string{}}
	for _, p := range []entry.Path{"/etc/sshguard/sshguard.conf", "/etc/sshguard.conf", "/usr/local/etc/sshguard.conf"} {
		b, ok := c.read(p)
		if !ok {
			continue
		}
		set := map[string]string{}
		n := 0
		for l := range strings.Lines(string(b)) {
			n++
			k, v, ok := strings.Cut(strings.TrimSpace(l), "=")
			if v = strings.Trim(v, `"'`); !ok || k == "" || k[0] == '#' {
				continue
			}
			if set[k] = v; k == "BACKEND" {
				g.CoversAt = fmt.Sprintf("%s:%d", p, n)
			}
		}
		switch {
		case set["BACKEND"] == "" || strings.HasSuffix(set["BACKEND"], "sshg-fw-null"):
			g.lacks("its BACKEND blocks nobody")
		case set["LOGREADER"] == "" && set["FILES"] == "":
			g.lacks("it reads no log: neither LOGREADER nor FILES is set")
		default:
			g.Covers = true
		}
		g.CoversKnown = true
		c.unit(&g, "sshguard.service")
		return g, true
	}
	return g, false
}

// lineWith returns file:line of the first line that has one of the words and is
// no comment.
func lineWith(file, text string, words ...string) string {
	n := 0
	for l := range strings.Lines(text) {
		n++
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "#") && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(l, w) }) {
			return fmt.Sprintf("%s:%d", file, n)
		}
	}
	return ""
}
