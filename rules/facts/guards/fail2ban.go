package guards

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"intact/scanner/entry"
)

// jails are the sections of fail2ban's configuration, names in small letters as
// far as options go.
type jails struct {
	order    []string
	sections map[string]map[string]option
}

type option struct{ value, at string }

func (j *jails) set(section, name string, o option) {
	if j.sections[section] == nil {
		j.sections[section] = map[string]option{}
		j.order = append(j.order, section)
	}
	j.sections[section][name] = o
}

// of returns an option of a jail, or the default of all jails.
func (j *jails) of(jail, name string) (option, bool) {
	if o, ok := j.sections[jail][name]; ok {
		return o, true
	}
	o, ok := j.sections["DEFAULT"][name]
	return o, ok
}

// fail2ban reads jail.conf(5): jail.conf, jail.d/*.conf, jail.local and
// jail.d/*.local, of which the last that says something counts.
func (c *collector) fail2ban() (g Guard, there bool) {
	g = Guard{Tool: "fail2ban", Why: []string{}}
	const dir = entry.Path("/etc/fail2ban")
	if !c.exists(dir+"/jail.conf") && !c.exists(dir+"/jail.local") || !c.exists("/usr/bin/fail2ban-server") && !c.exists("/usr/local/bin/fail2ban-server") {
		return g, false
	}
	files := []entry.Path{dir + "/jail.conf"}
	files = append(files, c.folder(dir+"/jail.d", ".conf")...)
	files = append(files, dir+"/jail.local")
	files = append(files, c.folder(dir+"/jail.d", ".local")...)
	j := &jails{sections: map[string]map[string]option{}}
	g.CoversKnown = true
	for _, p := range files {
		if b, ok := c.read(p); ok {
			for _, why := range j.parse(string(p), string(b)) {
				g.CoversKnown = false
				g.lacks("%s", why)
			}
		}
	}
	c.jailed(&g, j)
	c.unit(&g, "fail2ban.service")
	c.socket(&g, "/run/fail2ban/fail2ban.sock", "/var/run/fail2ban/fail2ban.sock")
	return g, true
}

// jailed looks for a jail of sshd that is on and bans somebody.
func (c *collector) jailed(g *Guard, j *jails) {
	found := false
	for _, name := range j.order {
		filter, _ := j.of(name, "filter")
		base, _, _ := strings.Cut(filter.value, "[")
		if name == "DEFAULT" || name == "INCLUDES" || name != "sshd" && base != "sshd" {
			continue
		}
		found = true
		on, ok := j.of(name, "enabled")
		switch v := strings.ToLower(on.value); {
		case strings.Contains(v, "%"):
			g.CoversKnown = false
			g.lacks("what %s at %s means was not understood", on.value, on.at)
			continue
		case !ok || !slices.Contains([]string{"1", "on", "true", "yes"}, v):
			g.lacks("its jail %s is not enabled", name)
			continue
		}
		if why := spares(j, name); why != "" {
			g.lacks("its jail %s %s", name, why)
			continue
		}
		g.Covers, g.CoversAt = true, on.at
	}
	if !found {
		g.lacks("it has no jail for sshd")
	}
}

// spares says why a jail that is on bans nobody, "" if it does.
func spares(j *jails, name string) string {
	if o, ok := j.of(name, "ignoreip"); ok {
		for w := range strings.FieldsFuncSeq(o.value, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' }) {
			if _, bits, ok := strings.Cut(w, "/"); ok && (bits == "0" || bits == "0.0.0.0") {
				return fmt.Sprintf("spares everybody, by %s", o.at)
			}
		}
	}
	const most = 100 // tries
	if o, ok := j.of(name, "maxretry"); ok {
		if n, err := strconv.Atoi(o.value); err == nil && n > most {
			return fmt.Sprintf("allows %d tries, by %s", n, o.at)
		}
	}
	if o, ok := j.of(name, "bantime"); ok && strings.Trim(o.value, "0smhd") == "" {
		return fmt.Sprintf("bans for no time, by %s", o.at)
	}
	if o, ok := j.of(name, "action"); ok && strings.TrimSpace(o.value) == "" {
		return fmt.Sprintf("does nothing, by %s", o.at)
	}
	return ""
}

// parse reads one file as Python's configparser does, and says what it includes
// that is not read here.
func (j *jails) parse(file, text string) (unread []string) {
	section, name := "", ""
	n := 0
	for l := range strings.Lines(text) {
		n++
		l = strings.TrimRight(l, "\r\n")
		trimmed := strings.TrimSpace(l)
		if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		if (l[0] == ' ' || l[0] == '\t') && name != "" { // continues the value
			o := j.sections[section][name]
			if len(o.value)+len(trimmed) > maxValue {
				unread = append(unread[:min(len(unread), 7)], fmt.Sprintf("%s at %s is too long", name, o.at))
				continue
			}
			o.value += "\n" + trimmed
			j.set(section, name, o)
			continue
		}
		if s, ok := strings.CutPrefix(trimmed, "["); ok {
			section, _, _ = strings.Cut(s, "]")
			name = ""
			continue
		}
		i := strings.IndexAny(trimmed, "=:")
		if i < 0 || section == "" {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(trimmed[:i]))
		v := strings.TrimSpace(trimmed[i+1:])
		if k := strings.Index(v, " ;"); k >= 0 {
			v = strings.TrimSpace(v[:k])
		}
		j.set(section, name, option{v, fmt.Sprintf("%s:%d", file, n)})
		paths := name == "before" && strings.HasPrefix(v, "paths-") // names of logs, brought by the package
		if section == "INCLUDES" && (name == "before" || name == "after") && !paths {
			unread = append(unread, fmt.Sprintf("%s at %s:%d is not read here", v, file, n))
		}
	}
	return unread
}
