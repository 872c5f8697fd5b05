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

// directive is one of nginx's, with the block behind it.
type directive struct {
	name  string
	args  []string
	at    string
	block []directive
	open  bool // it has a block
}

// nginx returns the servers of /etc/nginx/nginx.conf that answer on port 80.
func nginx(ctx context.Context, root *dirfd.Root) []Server {
	const main = "/etc/nginx/nginx.conf"
	r := &reader{ctx: ctx, root: root, base: "/etc/nginx"}
	text, err := r.read(main)
	if facts.Missing(err) {
		return nil
	}
	var all []directive
	if err == nil {
		all, err = r.nginxFile(main, text, 0)
	}
	if err != nil {
		s := Server{At: main, Names: []string{}, Serves: []string{}}
		s.doubt("%v", err)
		return []Server{s}
	}
	var out []Server
	for _, d := range all {
		switch d.name {
		case "http":
			doubts := httpDoubts(d.block)
			for _, in := range d.block {
				if in.name == "server" && in.open {
					if s, ok := nginxServer(in, doubts); ok {
						out = append(out, s)
					}
				}
			}
		case "stream":
			for _, in := range d.block {
				if plain, _ := listens(in.block); in.name == "server" && plain && slices.ContainsFunc(in.block, func(d directive) bool { return d.name == "listen" }) {
					s := Server{At: in.at, Names: []string{}, Serves: []string{}}
					s.doubt("a stream passes port 80 on")
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// httpDoubts are things outside of servers that change what they answer.
func httpDoubts(block []directive) (out []string) {
	for _, d := range block {
		if strange(d) {
			out = append(out, fmt.Sprintf("%s at %s", d.name, d.at))
		}
	}
	return out
}

// strange reports directives that answer in ways which are not followed here.
func strange(d directive) bool {
	return strings.Contains(d.name, "_by_lua") || strings.HasPrefix(d.name, "js_") || strings.HasPrefix(d.name, "perl") ||
		d.name == "error_page" && slices.ContainsFunc(d.args, func(a string) bool { return strings.HasPrefix(a, "=") || strings.HasPrefix(a, "@") })
}

// nginxFile parses a file with what it includes.
func (r *reader) nginxFile(file, text string, depth int) ([]directive, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: included too deep", file)
	}
	t := &tokens{text: text, file: file, line: 1}
	out, err := r.nginxBlock(t, depth, 0)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, t.line, err)
	}
	return out, nil
}

func (r *reader) nginxBlock(t *tokens, depth, nested int) (out []directive, err error) {
	if nested > maxDepth {
		return nil, fmt.Errorf("blocks nested deeper than %d", maxDepth)
	}
	var d directive
	for {
		w, kind, err := t.next()
		switch {
		case err != nil:
			return nil, err
		case kind == end || kind == '}':
			if d.name != "" || (kind == '}') != (nested > 0) {
				return nil, fmt.Errorf("ends in the middle")
			}
			return out, nil
		case kind == word && d.name == "":
			d = directive{name: w, at: fmt.Sprintf("%s:%d", t.file, t.line)}
		case kind == word:
			d.args = append(d.args, w)
		case d.name == "":
			return nil, fmt.Errorf("%q without a name before it", rune(kind))
		case kind == '{':
			if strings.HasSuffix(d.name, "_by_lua_block") || d.name == "perl_set" {
				return nil, fmt.Errorf("%s is not read here", d.name)
			}
			d.open = true
			if d.block, err = r.nginxBlock(t, depth, nested+1); err != nil {
				return nil, err
			}
			out, d = append(out, d), directive{}
		default: // ;
			if d.name != "include" {
				out, d = append(out, d), directive{}
				continue
			}
			in, err := r.nginxInclude(d, depth)
			if err != nil {
				return nil, err
			}
			out, d = append(out, in...), directive{}
		}
	}
}

func (r *reader) nginxInclude(d directive, depth int) (out []directive, err error) {
	if len(d.args) != 1 {
		return nil, fmt.Errorf("include names not one file")
	}
	files, err := r.expand(d.args[0])
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		text, err := r.read(f)
		if err != nil {
			return nil, err
		}
		in, err := r.nginxFile(f, text, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, in...)
	}
	return out, nil
}

// Kinds of tokens; ; { } stand for themselves.
const (
	end  = 0
	word = 'w'
)

// tokens splits a file of nginx.
type tokens struct {
	text, file string
	line, pos  int
}

func (t *tokens) next() (w string, kind byte, err error) {
	for t.pos < len(t.text) {
		switch c := t.text[t.pos]; c {
		case '\n':
			t.line++
			t.pos++
		case ' ', '\t', '\r':
			t.pos++
		case '#':
			i := strings.IndexByte(t.text[t.pos:], '\n')
			if i < 0 {
				i = len(t.text) - t.pos
			}
			t.pos += i
		case ';', '{', '}':
			t.pos++
			return "", c, nil
		default:
			return t.word()
		}
	}
	return "", end, nil
}

func (t *tokens) word() (string, byte, error) {
	var b strings.Builder
	quote := byte(0)
	if c := t.text[t.pos]; c == '"' || c == '\'' {
		quote = c
		t.pos++
	}
	for ; t.pos < len(t.text); t.pos++ {
		c := t.text[t.pos]
		switch {
		case c == '\n':
			t.line++
			if quote == 0 {
				t.line--
				return b.String(), word, nil
			}
			b.WriteByte(c)
		case c == '\\' && t.pos+1 < len(t.text):
			if n := t.text[t.pos+1]; n != '"' && n != '\'' && n != '\\' {
				b.WriteByte(c)
			}
			t.pos++
			b.WriteByte(t.text[t.pos])
		case quote != 0 && c == quote:
			t.pos++
			return b.String(), word, nil
		case quote == 0 && c == '{' && strings.HasSuffix(b.String(), "$"): // ${name}
			i := strings.IndexByte(t.text[t.pos:], '}')
			if i < 0 {
				return "", 0, fmt.Errorf("a variable does not end")
			}
			b.WriteString(t.text[t.pos : t.pos+i+1])
			t.pos += i
		case quote == 0 && strings.IndexByte(" \t\r;{}", c) >= 0:
			return b.String(), word, nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", 0, fmt.Errorf("a quotation does not end")
	}
	return b.String(), word, nil
}

// listens reports whether a server answers on port 80 without encryption, to
// others than this host. Without any listen it does.
func listens(block []directive) (plain bool, bad string) {
	any := false
	for _, d := range block {
		if d.name != "listen" {
			continue
		}
		any = true
		if len(d.args) == 0 || strings.Contains(d.args[0], "$") {
			return true, "listen at " + d.at
		}
		a := d.args[0]
		if strings.HasPrefix(a, "unix:") || slices.Contains(d.args[1:], "ssl") || slices.Contains(d.args[1:], "quic") {
			continue
		}
		host, port := a, "80"
		switch i := strings.LastIndexByte(a, ':'); {
		case strings.Trim(a, "0123456789") == "":
			host, port = "*", a
		case i >= 0 && !strings.HasSuffix(a, "]"):
			host, port = a[:i], a[i+1:]
		}
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		loopback := host == "localhost" || err == nil && addr.IsLoopback()
		plain = plain || strings.TrimLeft(port, "0") == "80" && !loopback
	}
	return plain || !any, ""
}

// nginxServer judges a server block; ok is false where it is not on port 80.
func nginxServer(d directive, doubts []string) (s Server, ok bool) {
	plain, bad := listens(d.block)
	if !plain {
		return s, false
	}
	s = Server{At: d.at, Names: []string{}, Serves: []string{}, Understood: true, Why: []string{}}
	if bad != "" {
		s.doubt("%s", bad)
	}
	for _, w := range doubts {
		s.doubt("%s", w)
	}
	for _, in := range d.block {
		if in.name == "server_name" {
			s.Names = append(s.Names, in.args...)
		}
	}
	if s.answered(d.block, true) {
		return s, true
	}
	if !s.locations(d.block) {
		s.serves("all that no location takes, of the server at %s", d.at)
	}
	return s, true
}

// locations judges those of a block; all says that one of them takes whatever the
// others do not.
func (s *Server) locations(block []directive) (all bool) {
	for _, l := range block {
		if l.name != "location" || len(l.args) == 0 || strings.HasPrefix(l.args[0], "@") {
			continue
		}
		p, prefix := l.args[len(l.args)-1], len(l.args) == 1 || l.args[0] == "^~"
		if (prefix || l.args[0] == "=") && acme(p) || l.args[0] == "~" && acmePattern(p) {
			continue
		}
		all = all || prefix && p == "/"
		internal := slices.ContainsFunc(l.block, func(d directive) bool { return d.name == "internal" })
		if internal || s.answered(l.block, false) {
			continue
		}
		s.locations(l.block)
		s.serves("location %s at %s", strings.Join(l.args, " "), l.at)
	}
	return all
}

// answered reports whether a block redirects whatever comes to https, or refuses
// it, before anything is served. The order of these directives counts.
func (s *Server) answered(block []directive, server bool) bool {
	for _, d := range block {
		if strange(d) {
			s.doubt("%s at %s", d.name, d.at)
		}
	}
	denied := false
	for _, d := range block {
		switch d.name {
		case "allow", "satisfy", "auth_request":
			denied = false
			if d.name == "allow" {
				s.doubt("who is allowed at %s", d.at)
			}
		case "deny":
			if server { // locations may allow it again
				s.doubt("deny at %s", d.at)
			}
			denied = denied || len(d.args) == 1 && d.args[0] == "all"
		}
	}
	for _, d := range block {
		switch {
		case d.name == "return":
			return s.returns(d)
		case d.name == "rewrite" && len(d.args) >= 2:
			if strings.HasPrefix(d.args[1], "https://") && slices.Contains(catchAll, d.args[0]) {
				return true
			}
			if !strings.HasPrefix(d.args[1], "https://") {
				s.doubt("rewrite at %s", d.at)
			}
		case d.name == "break":
			return denied && !server
		case d.name == "if" && s.condition(d):
			return true
		}
	}
	return denied
}

// returns judges a return. What it serves is noted.
func (s *Server) returns(d directive) bool {
	switch {
	case len(d.args) == 1 && refuses(d.args[0]), len(d.args) == 1 && strings.HasPrefix(d.args[0], "https://"),
		len(d.args) == 2 && moved(d.args[0]) && strings.HasPrefix(d.args[1], "https://"):
	case len(d.args) == 2 && refuses(d.args[0]):
	default:
		s.serves("return %s at %s", strings.Join(d.args, " "), d.at)
	}
	return true // nothing behind it is asked
}

// condition judges an if: one that holds for all that is not encrypted, or one
// in which nothing is served.
func (s *Server) condition(d directive) bool {
	c := strings.Join(d.args, " ")
	c = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(c, "("), ")"))
	always := slices.Contains([]string{"$scheme = http", "$scheme != https", "$scheme = \"http\"", "$https =", "$https != on", "$server_port = 80"}, c)
	for _, in := range d.block {
		switch in.name {
		case "return":
			done := s.returns(in)
			return always && done
		case "set":
		case "rewrite":
			if len(in.args) < 2 || !strings.HasPrefix(in.args[1], "https://") {
				s.doubt("%s at %s", in.name, in.at)
			} else if slices.Contains(catchAll, in.args[0]) {
				return always
			}
		default:
			s.doubt("%s at %s", in.name, in.at)
		}
	}
	return false
}
