package osupdates

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"intact/scanner/entry"
)

// maxSections bounds one file of ini(5) kind, in sections and in values.
const maxSections = 4096

var errINI = errors.New("neither a section, nor a value, nor a comment")

// section is one of a file as yum, dnf and zypper write them.
type section struct {
	name   string
	line   int
	values []option // names in lower case
}

// get returns the last value of a name.
func (s *section) get(name string) (string, bool) {
	for i := len(s.values) - 1; i >= 0; i-- {
		if s.values[i].name == name {
			return s.values[i].value, true
		}
	}
	return "", false
}

// parseINI reads sections of name=value. A line that begins with a blank goes on
// with the value above it. Lines of "#" and ";" are comments.
func parseINI(file string, text []byte) (out []section, err error) {
	n, total := 0, 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.TrimRight(string(raw), " \t\r\n")
		trimmed := strings.TrimSpace(line)
		var cur *section
		if len(out) > 0 {
			cur = &out[len(out)-1]
		}
		bad := func(err error) error { return fmt.Errorf("%q:%d: %w", file, n, err) }
		if total++; total > maxSections*16 {
			return out, bad(errTooMany)
		}
		switch {
		case trimmed == "", trimmed[0] == '#', trimmed[0] == ';':
		case (line[0] == ' ' || line[0] == '\t') && cur != nil && len(cur.values) > 0:
			v := &cur.values[len(cur.values)-1]
			v.value = strings.TrimSpace(v.value + " " + trimmed)
			if len(v.value) > maxConfig {
				return out, bad(errTooMany)
			}
		case line[0] == '[':
			name, _, ok := strings.Cut(line[1:], "]")
			if !ok || len(out) == maxSections {
				return out, bad(errINI)
			}
			out = append(out, section{name: name, line: n})
		default:
			name, value, ok := strings.Cut(trimmed, "=")
			if name = strings.ToLower(strings.TrimSpace(name)); !ok || cur == nil || name == "" || strings.IndexByte(line, 0) >= 0 {
				return out, bad(errINI)
			}
			cur.values = append(cur.values, option{name, strings.TrimSpace(value)})
		}
	}
	return out, nil
}

// ini reads a file of sections; none if there is no such file.
func (h *host) ini(p entry.Path) []section {
	b, ok := h.read(p, maxConfig)
	if !ok {
		return nil
	}
	out, err := parseINI(string(p), b)
	h.add(err)
	return out
}

// sectionNamed returns a section, an empty one if there is none.
func sectionNamed(all []section, name string) *section {
	for i := range all {
		if all[i].name == name {
			return &all[i]
		}
	}
	return &section{}
}

// value is get with a default.
func (s *section) value(name, def string) string {
	if v, ok := s.get(name); ok {
		return v
	}
	return def
}

// repoFolders are where the repositories of rpm are configured.
var repoFolders = []entry.Path{"/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d", "/etc/dnf/repos.d", "/etc/zypp/repos.d"}

// rpmRepositories reads the .repo files, and the repositories of the main
// configuration.
func (h *host) rpmRepositories() (out []Repository) {
	main := h.ini("/etc/dnf/dnf.conf")
	if main == nil {
		main = h.ini("/etc/yum.conf")
	}
	def := sectionNamed(main, "main")
	for _, dir := range repoFolders {
		for _, name := range h.list(dir, maxFiles, false) {
			if strings.HasSuffix(name, ".repo") {
				p := dir.Join([]byte(name))
				for _, s := range h.ini(p) {
					if len(out) == maxSources {
						h.add(fmt.Errorf("%q: %w: over %d repositories", p, errTooMany, maxSources))
						return out
					}
					out = append(out, rpmRepository(string(p), &s, def))
				}
			}
		}
	}
	return out
}

// rpmRepository is what one section means, with what [main] says of all.
func rpmRepository(file string, s, def *section) Repository {
	r := Repository{Kind: "rpm", Suite: s.name, Enabled: truth(s.value("enabled", "1"), true), File: file, Line: int64(s.line)}
	for _, name := range []string{"metalink", "mirrorlist", "baseurl"} {
		if v, ok := s.get(name); ok {
			each := strings.Fields(v)
			for i := range each {
				each[i] = withoutSecrets(each[i])
			}
			r.URI = strings.Join(each, " ")
		}
	}
	// Without any word on it dnf checks no signatures; the distributions say so in [main].
	check := truth(s.value("gpgcheck", s.value("pkg_gpgcheck", def.value("gpgcheck", def.value("pkg_gpgcheck", "0")))), false)
	repo := truth(s.value("repo_gpgcheck", def.value("repo_gpgcheck", "0")), false)
	ssl := truth(s.value("sslverify", def.value("sslverify", "1")), true)
	r.Authenticated = check
	if !check {
		r.Why = append(r.Why, "gpgcheck is off")
	}
	if !ssl {
		r.Why = append(r.Why, "sslverify is off")
	}
	if v, ok := s.get("gpgkey"); ok {
		r.SignedBy = strings.FieldsFunc(v, func(c rune) bool { return c == ' ' || c == ',' })
	}
	r.MetadataSigned = repo
	for _, v := range s.values {
		switch v.name {
		case "name", "enabled", "baseurl", "metalink", "mirrorlist":
		case "username", "password", "proxy_username", "proxy_password":
			r.Options = append(r.Options, v.name+"=")
		default:
			r.Options = append(r.Options, v.name+"="+withoutSecrets(v.value))
		}
	}
	return r
}
