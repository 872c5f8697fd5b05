package osupdates

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"intact/rules/pkgdb/deb822"
	"intact/scanner/entry"
)

// Limits of apt_preferences(5).
const (
	maxPins    = 1 << 10
	maxPattern = 1024 // bytes of one
)

// neverPin is the priority "never", which nothing overrides.
const neverPin = -1 << 15

var errPin = errors.New("not a pin")

// pin gives versions a priority.
type pin struct {
	name     *pattern // of packages, nil for all
	source   bool     // name is that of a source package
	arch     string   // "" for the host's own, "any" for all
	kind     string   // version, release or origin
	version  *pattern
	prefix   string // of the version, in lower case; "" if only pattern counts
	release  releasePin
	site     *pattern // of origin, nil for what is on this host
	priority int
}

// releasePin holds what a release must have; nil is anything.
type releasePin struct {
	all                                                      bool
	version, origin, suite, codename, label, component, arch *pattern
	either                                                   *pattern // suite or codename
}

// pattern is a glob or /regular expression/ in any case.
type pattern struct {
	text string
	re   *regexp.Regexp // nil: text is plain
}

// newPattern compiles what apt_preferences(5) calls an expression.
func newPattern(s string) (*pattern, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("%w: pattern over %d bytes", errPin, maxPattern)
	}
	p := &pattern{text: s}
	expr := ""
	switch {
	case len(s) > 1 && s[0] == '/' && s[len(s)-1] == '/':
		if expr = s[1 : len(s)-1]; strings.Contains(expr, "{") { // a few bytes of it can ask for gigabytes
			return nil, fmt.Errorf("%w: pattern %.80q counts repetitions, which is not read here", errPin, s)
		}
	case strings.ContainsAny(s, `*[?\`):
		expr = globExpr(s)
	default:
		return p, nil
	}
	re, err := regexp.Compile("(?is)" + expr)
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %.80q: %v", errPin, s, err)
	}
	p.re = re
	return p, nil
}

func (p *pattern) match(s string) bool {
	if p.re != nil {
		return p.re.MatchString(s)
	}
	return strings.EqualFold(p.text, s)
}

// fits is match where nil fits all.
func (p *pattern) fits(s string) bool { return p == nil || p.match(s) }

// globExpr writes a glob of fnmatch(3), without flags for paths, as a regular
// expression.
func globExpr(s string) string {
	var b strings.Builder
	b.WriteByte('^')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		case c == '[':
			end := strings.IndexByte(s[min(i+2, len(s)):], ']')
			if end < 0 {
				b.WriteString(`\[`)
				continue
			}
			set := s[i+1 : i+2+end]
			i += end + 2
			b.WriteByte('[')
			if set[0] == '!' || set[0] == '^' {
				b.WriteByte('^')
				set = set[1:]
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(set) + "]")
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(string(s[i])))
		}
	}
	return b.String() + "$"
}

// pins reads preferences and its parts: what comes first wins. APT::Default-Release
// comes before all.
func (h *host) pins(conf *aptConf) (out []pin) {
	if s, ok := conf.find("APT::Default-Release"); ok && s.Value != "" {
		r, err := parseRelease(s.Value)
		h.add(err)
		out = append(out, pin{kind: "release", release: r, priority: 990})
	}
	for _, p := range append([]entry.Path{"/etc/apt/preferences"}, h.parts("/etc/apt/preferences.d", true, "pref")...) {
		b, ok := h.read(p, maxConfig)
		if !ok {
			continue
		}
		got, err := parsePins(string(p), b)
		h.add(err)
		if out = append(out, got...); len(out) > maxPins {
			h.add(fmt.Errorf("%w: over %d pins", errTooMany, maxPins))
			return out[:maxPins]
		}
	}
	return out
}

// parsePins reads one file. A pin that apt passes over with a warning is passed
// over.
func parsePins(file string, text []byte) (out []pin, err error) {
	in := deb822.NewHandWritten(bytes.NewReader(text), file)
	for {
		st, err := in.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		names := strings.Fields(st.Get("Package"))
		if len(names) == 0 {
			return out, st.Errorf("Package", "%w: it names no package", errPin)
		}
		base, ok, err := pinOf(st)
		if err != nil {
			return out, st.Errorf("Pin", "%w", err)
		}
		if !ok || base.kind == "version" && names[0] == "*" && len(names) == 1 {
			continue
		}
		for _, n := range names {
			p := base
			if len(names) > 1 || n != "*" {
				if p.priority == neverPin {
					return out, st.Errorf("Pin-Priority", "%w: never is for all packages", errPin)
				}
				if err := p.about(n); err != nil {
					return out, st.Errorf("Package", "%w", err)
				}
			}
			if out = append(out, p); len(out) > maxPins {
				return out, st.Errorf("Package", "%w: over %d pins", errTooMany, maxPins)
			}
		}
	}
}

// about says which packages a pin is about: "name", "src:name", "name:arch".
func (p *pin) about(n string) (err error) {
	n, p.source = strings.CutPrefix(n, "src:")
	if i := strings.LastIndexByte(n, ':'); i >= 0 {
		n, p.arch = n[:i], n[i+1:]
	}
	p.name, err = newPattern(n)
	return err
}

// pinOf reads Pin and Pin-Priority.
func pinOf(st *deb822.Stanza) (p pin, ok bool, err error) {
	p.kind, _, _ = strings.Cut(strings.ReplaceAll(st.Get("Pin"), "\t", " "), " ")
	data := strings.TrimSpace(strings.TrimPrefix(st.Get("Pin"), p.kind))
	p.kind = strings.ToLower(p.kind)
	if prio := st.Get("Pin-Priority"); prio == "never" {
		p.priority = neverPin
	} else if p.priority, err = strconv.Atoi(prio); err != nil || p.priority == 0 || p.priority < -1<<15 || p.priority >= 1<<15 {
		return p, false, fmt.Errorf("%w: priority %.40q", errPin, prio) // apt does nothing at all then
	}
	switch p.kind {
	case "version":
		if rest, ok := strings.CutSuffix(data, "*"); ok {
			p.prefix = strings.ToLower(rest)
			if rest == "" {
				data = "*"
			}
		}
		p.version, err = newPattern(data)
	case "release":
		p.release, err = parseRelease(data)
	case "origin":
		if n := len(data); n >= 2 && data[0] == '"' && data[n-1] == '"' {
			data = data[1 : n-1]
		}
		if data != "" {
			p.site, err = newPattern(data)
		}
	default:
		return p, false, nil
	}
	return p, err == nil, err
}

// parseRelease reads "*", "a=suite, n=codename…" or one word, which is a version
// or a suite or a codename.
func parseRelease(data string) (r releasePin, err error) {
	if data == "*" {
		return releasePin{all: true}, nil
	}
	if !strings.Contains(data, "=") {
		p, err := newPattern(data)
		if data != "" && '0' <= data[0] && data[0] <= '9' {
			r.version = p
		} else if data != "" {
			r.either = p
		}
		return r, err
	}
	for part := range strings.SplitSeq(data, ",") {
		part = strings.TrimSpace(part)
		if len(part) < 3 || part[1] != '=' {
			continue
		}
		p, err := newPattern(part[2:])
		if err != nil {
			return r, err
		}
		switch part[0] | 0x20 {
		case 'v':
			r.version = p
		case 'o':
			r.origin = p
		case 'a':
			r.suite = p
		case 'n':
			r.codename = p
		case 'l':
			r.label = p
		case 'c':
			r.component = p
		case 'b':
			r.arch = p
		}
	}
	return r, nil
}

// matches reports whether a pin is about what comes from an index.
func (p *pin) matches(x *index) bool {
	switch p.kind {
	case "origin":
		if p.site == nil {
			return x.site == "" && x.rel == nil && !x.status
		}
		return p.site.match(x.site)
	case "release":
		r := &p.release
		if r.all {
			return true
		}
		if *r == (releasePin{}) {
			return false
		}
		rel := x.release()
		return r.version.fits(rel.version) && r.origin.fits(rel.origin) && r.suite.fits(rel.suite) && r.codename.fits(rel.codename) &&
			r.label.fits(rel.label) && r.component.fits(x.component) && r.arch.fits(x.arch) &&
			(r.either == nil || r.either.match(rel.suite) || r.either.match(rel.codename))
	}
	return false
}

// matchesVersion reports whether a pin with a name is about a version.
func (p *pin) matchesVersion(v *version, all []index) bool {
	if p.kind == "version" {
		return p.prefix != "" && strings.HasPrefix(strings.ToLower(v.text), p.prefix) || p.version.match(v.text)
	}
	for _, f := range v.from {
		if p.matches(&all[f]) {
			return true
		}
	}
	return false
}
