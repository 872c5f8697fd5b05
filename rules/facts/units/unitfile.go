package units

import (
	"bytes"
	"strings"
)

// setting is one assignment of a unit file.
type setting struct {
	section, key, value string
	line                int
}

// Bounds of a unit file: what systemd itself takes (LONG_LINE_MAX), and bytes
// of the file.
const (
	maxUnitLine = 1 << 20
	maxUnit     = 4 << 20
)

// parseUnit reads the assignments of a unit file (systemd.syntax(7)): comments
// with # or ;, also between the lines of a value that a backslash continues.
// What is no assignment is passed over, as systemd does.
func parseUnit(b []byte) (out []setting) {
	var section, pending string
	start, line := 0, 0
	take := func(s string) {
		s = strings.TrimSpace(s)
		if s == "" {
			return
		}
		if s[0] == '[' && s[len(s)-1] == ']' {
			section = s[1 : len(s)-1]
			return
		}
		if k, v, ok := strings.Cut(s, "="); ok {
			out = append(out, setting{section, strings.TrimSpace(k), strings.TrimSpace(v), start})
		}
	}
	continued := false
	for text := range bytes.Lines(b) {
		line++
		s := strings.TrimRight(string(text), "\r\n")
		trimmed := strings.TrimLeft(s, " \t")
		if trimmed != "" && (trimmed[0] == '#' || trimmed[0] == ';') {
			continue
		}
		if len(s)+len(pending) > maxUnitLine {
			pending, continued = "", false
			continue
		}
		if !continued {
			start = line
		}
		if strings.HasSuffix(s, `\`) {
			pending += s[:len(s)-1] + " "
			continued = true
			continue
		}
		take(pending + s)
		pending, continued = "", false
	}
	if continued {
		take(pending)
	}
	return out
}

// merged are the values of all files of a unit: a list grows, an empty
// assignment empties it, of everything else the last one counts.
type merged map[string][]string

func (m merged) add(list []setting) {
	for _, s := range list {
		k := s.section + "." + s.key
		if s.value == "" {
			m[k] = nil
			continue
		}
		m[k] = append(m[k], s.value)
	}
}

func (m merged) last(key string) string {
	if v := m[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// yes reads a boolean of systemd.
func (m merged) yes(key string) bool {
	switch strings.ToLower(m.last(key)) {
	case "1", "yes", "y", "true", "t", "on":
		return true
	}
	return false
}

// words are the words of all values.
func (m merged) words(key string) (out []string) {
	for _, v := range m[key] {
		out = append(out, strings.Fields(v)...)
	}
	return out
}
