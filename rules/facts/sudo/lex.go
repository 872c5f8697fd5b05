package sudo

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// eol reports whether the line is at its end, or a comment begins. A # with a
// number behind it is an id and no comment.
func (p *parser) eol() bool {
	p.blanks()
	if p.pos >= len(p.b) {
		return true
	}
	switch c := p.b[p.pos]; c {
	case '\n':
		return true
	case '\r':
		return p.pos+1 < len(p.b) && p.b[p.pos+1] == '\n'
	case '#':
		return !p.isID(p.pos)
	}
	return false
}

// isID reports whether #1000 or #-1 begins at i.
func (p *parser) isID(i int) bool {
	if i >= len(p.b) || p.b[i] != '#' {
		return false
	}
	if i++; i < len(p.b) && p.b[i] == '-' {
		i++
	}
	return i < len(p.b) && digit(p.b[i])
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

// blanks passes over blanks, and over a backslash that ends a line.
func (p *parser) blanks() (any bool) {
	for p.pos < len(p.b) {
		switch c := p.b[p.pos]; {
		case c == ' ' || c == '\t':
			p.pos++
		case c == '\\' && p.continued(p.pos) > 0:
			p.pos = p.continued(p.pos)
			p.line++
		default:
			return any
		}
		any = true
	}
	return any
}

// continued returns where the line goes on that a backslash at i continues, 0 if
// it continues none.
func (p *parser) continued(i int) int {
	for i++; i < len(p.b) && (p.b[i] == ' ' || p.b[i] == '\t'); i++ {
	}
	if i < len(p.b) && p.b[i] == '\r' {
		i++
	}
	if i < len(p.b) && p.b[i] == '\n' {
		return i + 1
	}
	return 0
}

// endLine goes behind the end of the line, however much of it is left. A comment
// ends with its line even behind a backslash.
func (p *parser) endLine() {
	comment := false
	for p.pos < len(p.b) {
		c := p.b[p.pos]
		switch {
		case c == '\n':
			p.pos++
			p.line++
			return
		case c == '#' && !p.isID(p.pos):
			comment = true
		case c == '\\' && !comment && p.continued(p.pos) > 0:
			p.pos = p.continued(p.pos)
			p.line++
			continue
		}
		p.pos++
	}
}

// take reports whether s stands here, and passes over it.
func (p *parser) take(s string) bool {
	if !bytes.HasPrefix(p.b[p.pos:], []byte(s)) {
		return false
	}
	p.pos += len(s)
	return true
}

// sign passes over any number of ! with blanks between them.
func (p *parser) sign() (not bool) {
	for p.blanks(); p.take("!"); p.blanks() {
		not = !not
	}
	return not
}

// name reads letters that f takes.
func (p *parser) name(f func(byte) bool) string {
	from := p.pos
	for p.pos < len(p.b) && f(p.b[p.pos]) {
		p.pos++
	}
	return string(p.b[from:p.pos])
}

func aliasByte(c byte) bool { return upper(c) || digit(c) || c == '_' }
func lowByte(c byte) bool   { return c >= 'a' && c <= 'z' || c == '_' }

// isAlias reports whether a word has the form of the name of an alias.
func isAlias(s string) bool {
	return s != "" && upper(s[0]) && strings.IndexFunc(s, func(c rune) bool { return c > 127 || !aliasByte(byte(c)) }) < 0
}

// word reads a user, group, host or value: quoted, or up to what cannot be part
// of it. A backslash takes the next byte as it is.
func (p *parser) word(stop string) (string, error) {
	p.blanks()
	if p.take(`"`) {
		return p.quoted()
	}
	var out []byte
	if p.pos < len(p.b) && p.b[p.pos] == '%' { // %:group of a plugin, %#gid
		out = append(out, '%')
		if p.pos++; p.take(":") {
			out = append(out, ':')
		}
	}
	if p.isID(p.pos) {
		out = append(out, '#')
		p.pos++
		return string(out) + p.name(func(c byte) bool { return digit(c) || c == '-' }), nil
	}
	if len(out) == 0 && strings.Contains(stop, ":") {
		if s := p.address(); s != "" {
			return s, nil
		}
	}
	empty := len(out)
	for p.pos < len(p.b) {
		c := p.b[p.pos]
		if c == '\\' {
			if p.pos+1 >= len(p.b) || p.b[p.pos+1] == '\n' || p.b[p.pos+1] == '\t' {
				break
			}
			out = append(out, p.b[p.pos+1])
			p.pos += 2
			continue
		}
		if strings.IndexByte(stop, c) >= 0 || strings.IndexByte(" \t\r\n\"", c) >= 0 {
			break
		}
		out = append(out, c)
		p.pos++
	}
	if len(out) == empty || string(out) == "+" {
		return "", p.wrong("a name is missing")
	}
	return string(out), nil
}

// Where words of lists and values of settings end.
const (
	inList  = "#>!=:,()"
	inValue = "#=,"
)

// quoted reads up to the quote that ends a string.
func (p *parser) quoted() (string, error) {
	var out []byte
	for p.pos < len(p.b) {
		switch c := p.b[p.pos]; {
		case c == '"':
			p.pos++
			if len(out) == 0 {
				return "", p.wrong("an empty string")
			}
			return string(out), nil
		case c == '\n':
			return "", p.wrong("a string that does not end")
		case c == '\\' && p.continued(p.pos) > 0:
			p.pos = p.continued(p.pos)
			p.line++
			for p.pos < len(p.b) && (p.b[p.pos] == ' ' || p.b[p.pos] == '\t') {
				p.pos++
			}
		case c == '\\' && p.pos+1 < len(p.b) && (p.b[p.pos+1] == '"' || p.b[p.pos+1] == '\\'):
			out = append(out, p.b[p.pos+1])
			p.pos += 2
		default:
			out = append(out, c)
			p.pos++
		}
	}
	return "", p.wrong("a string that does not end")
}

// address reads an address of IPv6, whose colons are part of it, with its prefix.
func (p *parser) address() string {
	end := p.pos
	for end < len(p.b) && (digit(p.b[end]) || bytes.IndexByte([]byte("abcdefABCDEF:./"), p.b[end]) >= 0) {
		end++
	}
	s := string(p.b[p.pos:end])
	if strings.Count(s, ":") < 2 {
		return ""
	}
	for _, part := range strings.Split(s, "/") {
		if a, err := netip.ParseAddr(part); err != nil || !a.Is6() {
			if part == s || strings.Trim(part, "0123456789") != "" || part == "" {
				return ""
			}
		}
	}
	p.pos = end
	return s
}

// command reads a path or a pattern with its arguments: up to , : = # or the end
// of the line. Blanks between arguments are one.
func (p *parser) command() (string, error) {
	var out []byte
	from := p.pos
	if p.b[p.pos] == '^' {
		s, err := p.regex()
		if err != nil {
			return "", err
		}
		out = append(out, s...)
	} else {
		for p.pos < len(p.b) && strings.IndexByte(",:= \t\r\n#", p.b[p.pos]) < 0 {
			if p.b[p.pos] == '\\' {
				if p.pos+1 >= len(p.b) || strings.IndexByte(",:= \t#", p.b[p.pos+1]) < 0 {
					if p.continued(p.pos) > 0 {
						break
					}
					out = append(out, p.b[p.pos]) // of a pattern
					p.pos++
					if p.pos < len(p.b) && strings.IndexByte("*?[]!^\\", p.b[p.pos]) >= 0 {
						out = append(out, p.b[p.pos])
						p.pos++
					}
					continue
				}
				p.pos++
			}
			out = append(out, p.b[p.pos])
			p.pos++
		}
	}
	if p.pos == from {
		return "", p.wrong("a command is missing")
	}
	if out[len(out)-1] == '/' { // a folder takes no arguments
		return string(out), nil
	}
	return p.arguments(out)
}

func (p *parser) arguments(out []byte) (string, error) {
	for first := true; ; {
		blank := p.blanks()
		if p.pos >= len(p.b) || strings.IndexByte("#:,\r\n", p.b[p.pos]) >= 0 {
			return string(out), nil
		}
		if p.b[p.pos] == '=' && (p.pos+1 >= len(p.b) || strings.IndexByte("#\\:, \t\r\n", p.b[p.pos+1]) >= 0) {
			return string(out), nil
		}
		if blank {
			out = append(out, ' ')
			if first && p.b[p.pos] == '^' {
				s, err := p.regex()
				return string(append(out, s...)), err
			}
			first = false
		}
		if p.b[p.pos] == '\\' {
			next := byte(0)
			if p.pos+1 < len(p.b) {
				next = p.b[p.pos+1]
			}
			switch {
			case next != 0 && strings.IndexByte(":\\,= \t#", next) >= 0:
				out = append(out, next)
			case next != 0 && strings.IndexByte("*?[]!^", next) >= 0:
				out = append(out, '\\', next)
			default:
				return "", p.wrong("a backslash before what needs none")
			}
			p.pos += 2
			continue
		}
		for p.pos < len(p.b) && strings.IndexByte("#\\:, \t\r\n", p.b[p.pos]) < 0 {
			out = append(out, p.b[p.pos])
			p.pos++
		}
	}
}

// regex reads ^…$, the form of regular expressions since 1.9.10.
func (p *parser) regex() (string, error) {
	from := p.pos
	var cut []byte
	for p.pos < len(p.b) {
		switch c := p.b[p.pos]; {
		case c == '$':
			p.pos++
			return string(append(cut, p.b[from:p.pos]...)), nil
		case c == '#' || c == '\n':
			return "", p.wrong("a regular expression that does not end")
		case c == '\\' && p.continued(p.pos) > 0:
			cut = append(cut, p.b[from:p.pos]...)
			p.pos = p.continued(p.pos)
			p.line++
			for p.pos < len(p.b) && (p.b[p.pos] == ' ' || p.b[p.pos] == '\t') {
				p.pos++
			}
			from = p.pos
		case c == '\\' && p.pos+1 < len(p.b):
			p.pos += 2
		default:
			p.pos++
		}
	}
	return "", p.wrong("a regular expression that does not end")
}

// digestNames are the kinds of digests of commands.
var digestNames = []string{"sha224", "sha256", "sha384", "sha512"}

// digests reads sha256:…, sha256:… before a command.
func (p *parser) digests() (out []string, err error) {
	for {
		p.blanks()
		i := slices.IndexFunc(digestNames, func(n string) bool { return bytes.HasPrefix(p.b[p.pos:], []byte(n)) })
		if i < 0 {
			return out, nil
		}
		p.pos += len(digestNames[i])
		if p.blanks(); !p.take(":") {
			return nil, p.wrong("a colon is missing behind the kind of a digest")
		}
		p.blanks()
		sum := p.name(func(c byte) bool {
			return digit(c) || c >= 'a' && c <= 'z' || upper(c) || c == '+' || c == '/' || c == '='
		})
		if sum == "" {
			return nil, p.wrong("a digest is missing")
		}
		out = append(out, digestNames[i]+":"+sum)
		if p.blanks(); p.take(",") {
			continue
		}
	}
}
