package osupdates

import "strings"

// unattended reads what apt.conf says of unattended-upgrades.
func (a *autoReader) unattended(_ *tool, row *Automatic) {
	c := a.conf
	for _, s := range []struct{ name, def, says string }{
		{"APT::Periodic::Enable", "1", "APT::Periodic::Enable is 0"},
		{"APT::Periodic::Update-Package-Lists", "0", "APT::Periodic::Update-Package-Lists is not set: it never learns of updates"},
		{"APT::Periodic::Unattended-Upgrade", "0", "APT::Periodic::Unattended-Upgrade is not set"},
	} {
		v := s.def
		if set, ok := c.find(s.name); ok {
			v = set.Value
		}
		if !periodic(v) {
			row.off(s.says)
		}
	}
	if a.systemd() && !a.wanted("apt-daily.timer") {
		row.off("apt-daily.timer is not enabled: nothing fetches lists")
	}
	if s, ok := c.find("Unattended-Upgrade::Mail"); ok {
		row.Mail = s.Value
	}
	if c.yes("Unattended-Upgrade::Automatic-Reboot", false) {
		row.Reboot = "now"
		if s, ok := c.find("Unattended-Upgrade::Automatic-Reboot-Time"); ok && s.Value != "" {
			row.Reboot = s.Value
		}
	}
	row.Excluded = c.items("Unattended-Upgrade::Package-Blacklist")
	row.Security, row.SecurityKnown = a.takesSecurity()
}

// periodic reports whether a value of APT::Periodic has something done: days, or
// a number with a unit, or "always".
func periodic(v string) bool {
	v = strings.TrimSpace(v)
	return v == "always" || strings.Trim(v, "0smhd") != "" && v != ""
}

// takesSecurity reports whether a pattern of origins fits an archive of security
// updates that apt has lists of. Without such an archive it is not known.
func (a *autoReader) takesSecurity() (yes, known bool) {
	_, archs := a.archs(a.conf, a.pkgs)
	vars := a.distro()
	var patterns [][]option
	for _, v := range a.conf.items("Unattended-Upgrade::Allowed-Origins") {
		// "origin:suite", a blank for the colon in old ones
		origin, suite, ok := strings.Cut(v, ":")
		if !ok {
			origin, suite, _ = strings.Cut(v, " ")
		}
		patterns = append(patterns, []option{{"o", vars.Replace(origin)}, {"a", vars.Replace(suite)}})
	}
	for _, v := range a.conf.items("Unattended-Upgrade::Origins-Pattern") {
		var p []option
		for part := range strings.SplitSeq(v, ",") {
			name, value, _ := strings.Cut(part, "=")
			p = append(p, option{strings.ToLower(strings.TrimSpace(name)), vars.Replace(strings.TrimSpace(value))})
		}
		patterns = append(patterns, p)
	}
	l := a.aptLists(archs)
	for i := range l.indexes {
		x := &l.indexes[i]
		if !x.release().security() {
			continue
		}
		known = true
		for _, p := range patterns {
			if originFits(p, x) {
				return true, true
			}
		}
	}
	return false, known
}

// distro expands what may stand in a pattern for the host's own release.
func (a *autoReader) distro() *strings.Replacer {
	id, codename := "", ""
	if b, ok := a.read("/etc/os-release", maxOSRelease); ok {
		v, err := parseOSRelease("/etc/os-release", b)
		a.add(err)
		id, codename = v["ID"], v["VERSION_CODENAME"]
		switch id { // as lsb_release spells them
		case "debian", "ubuntu", "raspbian", "devuan":
			id = strings.ToUpper(id[:1]) + id[1:]
		}
	}
	return strings.NewReplacer("${distro_id}", id, "${distro_codename}", codename)
}

// originFits reports whether all parts of a pattern fit where an index is from.
func originFits(p []option, x *index) bool {
	rel := x.release()
	for _, o := range p {
		is := ""
		switch o.name {
		case "o", "origin":
			is = rel.origin
		case "l", "label":
			is = rel.label
		case "a", "suite", "archive":
			is = rel.suite
		case "n", "codename":
			is = rel.codename
		case "c", "component":
			is = x.component
		case "site":
			is = x.site
		case "":
			continue
		default:
			return false
		}
		g, err := newPattern(o.value)
		if err != nil || !g.match(is) {
			return false
		}
	}
	return len(p) > 0
}
