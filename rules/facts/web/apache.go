package web

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"intact/rules/facts"
	"intact/scanner/dirfd"
)

// httpd gathers what Apache's configuration says.
type httpd struct {
	r       *reader
	modules map[string]bool // that are loaded so far
	plain   []string        // places of Listen on port 80 without TLS
	hosts   []*vhost
	main    *vhost

	proxied, override string // see passes, of the main server
}

// vhost is a virtual host, or the main server.
type vhost struct {
	at    string
	addrs []string
	maybe bool // it is there under a condition that is not known
	lines []aline
}

// aline is a line in a virtual host. in is the section around it, "" for none.
type aline struct {
	name, at, in string
	args         []string
}

// apache returns the virtual hosts on port 80 of Apache's httpd.
func apache(ctx context.Context, root *dirfd.Root) []Server {
	for _, c := range [...][2]string{{"/etc/apache2", "/etc/apache2/apache2.conf"}, {"/etc/httpd", "/etc/httpd/conf/httpd.conf"}} {
		h := &httpd{r: &reader{ctx: ctx, root: root, base: c[0]}, modules: map[string]bool{}, main: &vhost{at: c[1]}}
		text, err := h.r.read(c[1])
		if facts.Missing(err) {
			continue
		}
		if err == nil {
			err = h.file(c[1], text, &place{}, 0)
		}
		if err != nil {
			s := Server{At: c[1], Names: []string{}, Serves: []string{}}
			s.doubt("%v", err)
			return []Server{s}
		}
		return h.servers()
	}
	return nil
}

// place is where in the nest of sections a line stands.
type place struct {
	open []section
	host *vhost
}

// section is one that is open. maybe: it counts under a condition that is not
// known here.
type section struct {
	name  string
	maybe bool
}

func (p *place) maybe() bool {
	return slices.ContainsFunc(p.open, func(s section) bool { return s.maybe })
}

// inner names the section around a line that says for what it counts, "" where
// it counts for all of the host.
func (p *place) inner() string {
	for _, s := range slices.Backward(p.open) {
		if s.maybe || s.name != "ifmodule" && s.name != "virtualhost" {
			return s.name
		}
	}
	return ""
}

func (h *httpd) file(file, text string, p *place, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: included too deep", file)
	}
	held, n, start, nest := "", 0, 0, len(p.open)
	for l := range strings.Lines(text) {
		n++
		l = strings.TrimRight(l, "\r\n")
		if held == "" {
			start = n
		}
		if s, more := strings.CutSuffix(l, `\`); more {
			held += s
			continue
		}
		l, held = strings.TrimSpace(held+l), ""
		if l == "" || l[0] == '#' {
			continue
		}
		if err := h.line(aline{at: fmt.Sprintf("%s:%d", file, start)}, l, p, depth); err != nil {
			return fmt.Errorf("%s:%d: %w", file, start, err)
		}
	}
	if len(p.open) != nest || held != "" {
		return fmt.Errorf("%s: ends in the middle", file)
	}
	return nil
}

func (h *httpd) line(a aline, text string, p *place, depth int) error {
	if rest, ok := strings.CutPrefix(text, "</"); ok {
		name := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(rest), ">"))
		last := len(p.open) - 1
		if last < 0 || p.open[last].name != name {
			return fmt.Errorf("a section ends that is not open")
		}
		if p.open = p.open[:last]; name == "virtualhost" {
			p.host = nil
		}
		return nil
	}
	opens := strings.HasPrefix(text, "<")
	if opens {
		var ok bool
		if text, ok = strings.CutSuffix(text[1:], ">"); !ok {
			return fmt.Errorf("a section is not closed")
		}
	}
	f := awords(text)
	if len(f) == 0 {
		return nil
	}
	a.name, a.args = strings.ToLower(f[0]), f[1:]
	if opens {
		if len(p.open) > maxDepth {
			return fmt.Errorf("sections nested deeper than %d", maxDepth)
		}
		return h.enter(a, p)
	}
	return h.directive(a, p, depth)
}

// awords splits a line at blanks, quotations kept together.
func awords(s string) (out []string) {
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" {
			return out
		}
		if q := s[0]; q == '"' || q == '\'' {
			var b strings.Builder
			i := 1
			for ; i < len(s) && s[i] != q; i++ {
				if s[i] == '\\' && i+1 < len(s) && (s[i+1] == q || s[i+1] == '\\') {
					i++
				}
				b.WriteByte(s[i])
			}
			out, s = append(out, b.String()), s[min(i+1, len(s)):]
			continue
		}
		i := strings.IndexAny(s, " \t")
		if i < 0 {
			return append(out, s)
		}
		out, s = append(out, s[:i]), s[i:]
	}
}

// enter opens a section.
func (h *httpd) enter(a aline, p *place) error {
	s := section{name: a.name}
	switch a.name {
	case "ifmodule": // a module that was not seen may be built in
		m := strings.Join(a.args, " ")
		if base, ok := strings.CutSuffix(m, ".c"); ok {
			m = strings.TrimPrefix(base, "mod_") + "_module"
		}
		s.maybe = !h.modules[m]
	case "ifdefine", "ifversion", "ifdirective", "iffile", "ifsection", "if", "elseif", "else":
		s.maybe = true
	case "perl", "macro":
		return fmt.Errorf("<%s> is not read here", a.name)
	case "virtualhost":
		if p.host != nil {
			return fmt.Errorf("a virtual host inside of another")
		}
		p.host = &vhost{at: a.at, addrs: a.args, maybe: p.maybe()}
		h.hosts = append(h.hosts, p.host)
	}
	p.open = append(p.open, s)
	return nil
}

// directive takes one line that is no section.
func (h *httpd) directive(a aline, p *place, depth int) error {
	switch a.name {
	case "include", "includeoptional":
		for _, pattern := range a.args {
			files, err := h.r.expand(pattern)
			if err != nil {
				return err
			}
			for _, f := range files {
				text, err := h.r.read(f)
				if facts.Missing(err) && a.name == "includeoptional" {
					continue
				}
				if err != nil {
					return err
				}
				if err := h.file(f, text, p, depth+1); err != nil {
					return err
				}
			}
		}
	case "use":
		return fmt.Errorf("macros are not read here")
	case "loadmodule":
		if len(a.args) > 0 && !p.maybe() {
			h.modules[a.args[0]] = true
		}
	case "serverroot":
		if len(a.args) == 1 {
			h.r.base = strings.TrimSuffix(a.args[0], "/")
		}
	case "listen":
		return h.listen(a)
	default:
		v := p.host
		if v == nil {
			v = h.main
		}
		a.in = p.inner()
		v.lines = append(v.lines, a)
	}
	return nil
}

// listen notes a Listen on port 80 that others than this host reach.
func (h *httpd) listen(a aline) error {
	if len(a.args) == 0 || strings.Contains(a.args[0], "${") {
		return fmt.Errorf("the address of Listen was not understood")
	}
	if on80(a.args[0], false) && !(len(a.args) > 1 && strings.EqualFold(a.args[1], "https")) {
		h.plain = append(h.plain, a.at)
	}
	return nil
}

// on80 reports whether an address with a port may be port 80 of one that others
// reach. Without a port any says what it is.
func on80(s string, any bool) bool {
	host, port := s, "*"
	switch i := strings.LastIndexByte(s, ':'); {
	case strings.Trim(s, "0123456789") == "":
		host, port = "*", s
	case i >= 0 && !strings.HasSuffix(s, "]"):
		host, port = s[:i], s[i+1:]
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	loopback := host == "localhost" || err == nil && addr.IsLoopback()
	return (port == "80" || any && port == "*") && !loopback
}

// servers judges the virtual hosts on port 80.
func (h *httpd) servers() (out []Server) {
	if len(h.plain) == 0 {
		return nil
	}
	h.proxied, h.override = passes(h.main.lines)
	all := false // a host takes what is sent to any address
	for _, v := range h.hosts {
		tls := slices.ContainsFunc(v.lines, func(a aline) bool {
			return a.name == "sslengine" && a.in == "" && len(a.args) == 1 && strings.EqualFold(a.args[0], "on")
		})
		if tls || !slices.ContainsFunc(v.addrs, func(a string) bool { return on80(a, true) || strings.Contains(a, "${") }) {
			continue
		}
		all = all || !v.maybe && slices.ContainsFunc(v.addrs, func(a string) bool {
			host, _, _ := strings.Cut(a, ":")
			return host == "*" || host == "_default_"
		})
		out = append(out, h.judge(v, "virtual host"))
	}
	if !all {
		h.main.at = h.plain[0]
		out = append(out, h.judge(h.main, "main server"))
	}
	return out
}

// judge tells what a host serves.
func (h *httpd) judge(v *vhost, what string) Server {
	s := Server{At: v.at, Names: []string{}, Serves: []string{}, Understood: true, Why: []string{}}
	if v.maybe {
		s.doubt("it is there under a condition that is not known here")
	}
	for _, a := range v.addrs {
		if strings.Contains(a, "${") {
			s.doubt("its address %s", a)
		}
	}
	done := s.answers(v.lines)
	proxied, override := passes(v.lines)
	if v != h.main { // what the main server says counts for all
		proxied, override = or(proxied, h.proxied), or(override, h.override)
	}
	switch {
	case done && proxied != "":
		s.doubt("whether the redirection or ProxyPass at %s comes first", proxied)
	case done:
	case proxied != "":
		s.serves("what ProxyPass at %s fetches", proxied)
	case override != "":
		s.doubt("what files .htaccess say, by AllowOverride at %s", override)
	case s.Understood:
		s.serves("the content of the %s at %s", what, v.at)
	}
	return s
}

// passes says where a host passes requests on, and where it lets files in its
// folders change what it answers; "" for nowhere.
func passes(lines []aline) (proxied, override string) {
	for _, a := range lines {
		switch {
		case strings.HasPrefix(a.name, "proxypass") && !strings.HasPrefix(a.name, "proxypassreverse") && !slices.Contains(a.args, "!"):
			proxied = a.at
		case a.name == "allowoverride" && !(len(a.args) == 1 && strings.EqualFold(a.args[0], "none")):
			override = a.at
		}
	}
	return proxied, override
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
