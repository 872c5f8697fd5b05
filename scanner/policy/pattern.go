package policy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"intact/scanner/entry"
	"intact/scanner/strict"
)

// # The pattern language
//
// A pattern is an absolute path. In a component * stands for any bytes, ? for
// one byte, [a-z] and [!a-z] for one byte (not) of a class of ASCII bytes, and
// a backslash makes one of * ? [ ] \ ordinary. A leading dot is nothing
// special. ** as a whole component stands for any number of components, none
// included; a leading **/ means /**/. A pattern that ends in /** means what
// lies below the path before it, without that path, and counts as deep as
// that path. Case counts; bytes are compared, not characters.

// pattern is a compiled pattern.
type pattern struct {
	comps []comp
	below bool   // ended in /**
	home  bool   // began with ~/; comps are relative to a home
	norm  string // canonical spelling
	class int8   // 2 no wildcard, 1 wildcards within components, 0 with **
	lits  int    // literal bytes
}

// comp is one component: star, a glob, or a literal name.
type comp struct {
	star bool
	glob []token // nil for a literal name
	name string  // the literal name, or the text of the glob
}

// errPattern says what is wrong with a pattern; no control bytes.
type errPattern string

func (e errPattern) Error() string { return string(e) }

// MaxPattern is the longest pattern in bytes.
const MaxPattern = entry.MaxKey

// compile checks and compiles a pattern as written.
func compile(s string) (*pattern, error) {
	p := &pattern{class: 2}
	rest := s
	switch {
	case strings.HasPrefix(s, "~/"):
		p.home = true
		rest = s[1:]
	case s == "**" || strings.HasPrefix(s, "**/"):
		rest = "/" + s
	case !strings.HasPrefix(s, "/"):
		return nil, errPattern(fmt.Sprintf("path %s is not absolute", show(s)))
	}
	if len(s) > MaxPattern {
		return nil, errPattern(fmt.Sprintf("path of %d bytes, more than the limit of %d", len(s), MaxPattern))
	}
	if strings.IndexByte(s, 0) >= 0 {
		return nil, errPattern("path contains a NUL byte")
	}
	if rest == "/" {
		if p.home {
			return nil, errPattern("path \"~/\" names nothing below the home")
		}
		p.norm = "/"
		return p, nil
	}
	for c := range strings.SplitSeq(rest[1:], "/") {
		if err := p.add(s, c); err != nil {
			return nil, err
		}
	}
	p.finish()
	return p, nil
}

func (p *pattern) add(whole, c string) error {
	switch c {
	case "":
		return errPattern(fmt.Sprintf("path %s is not clean: a slash too many", show(whole)))
	case ".", "..":
		return errPattern(fmt.Sprintf("path %s is not clean: component %q", show(whole), c))
	case "**":
		if n := len(p.comps); n == 0 || !p.comps[n-1].star {
			p.comps = append(p.comps, comp{star: true, name: "**"})
		}
		return nil
	}
	name, tokens, lits, err := parseGlob(c)
	if err != nil {
		return errPattern(fmt.Sprintf("path %s: %s", show(whole), err))
	}
	p.lits += lits
	p.comps = append(p.comps, comp{glob: tokens, name: name})
	return nil
}

func (p *pattern) finish() {
	if n := len(p.comps); p.comps[n-1].star {
		p.below = true
		p.comps = p.comps[:n-1]
	}
	for _, c := range p.comps {
		switch {
		case c.star:
			p.class = 0
		case c.glob != nil:
			p.class = min(p.class, 1)
		}
	}
	p.rename()
}

// rename sets the canonical spelling.
func (p *pattern) rename() {
	var b strings.Builder
	if p.home {
		b.WriteByte('~')
	}
	for _, c := range p.comps {
		b.WriteByte('/')
		if c.star || c.glob != nil {
			b.WriteString(c.name)
		} else {
			b.WriteString(escape(c.name))
		}
	}
	if p.below {
		b.WriteString("/**")
	}
	if p.norm = b.String(); p.norm == "" {
		p.norm = "/"
	}
}

// prefix returns the components before the first wildcard as a path.
func (p *pattern) prefix() entry.Path {
	var b strings.Builder
	for _, c := range p.comps {
		if c.star || c.glob != nil {
			break
		}
		b.WriteByte('/')
		b.WriteString(c.name)
	}
	if b.Len() == 0 {
		return "/"
	}
	return entry.Path(b.String())
}

// literal reports whether p names exactly one path.
func (p *pattern) literal() bool { return p.class == 2 }

// norm returns the canonical spelling of a pattern that compiles.
func norm(s string) string {
	p, err := compile(s)
	if err != nil {
		return s
	}
	return p.norm
}

const special = `*?[]\`

// escape makes every byte of s ordinary.
func escape(s string) string {
	if !strings.ContainsAny(s, special) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(special, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// token is a piece of a glob: a run of literal bytes, any bytes, or one byte
// of a class.
type token struct {
	lit string
	any bool
	set *[4]uint64 // nil for lit and any
}

func (t *token) one(c byte) bool { return t.set[c>>6]&(1<<(c&63)) != 0 }

var errClass = errors.New("malformed [ ]")

// parseGlob parses one component. tokens is nil where it has no wildcard; name
// is then the literal name, else the component as written.
func parseGlob(c string) (name string, tokens []token, lits int, err error) {
	var run []byte
	wild := false
	flush := func() {
		if len(run) > 0 {
			tokens = append(tokens, token{lit: string(run)})
			lits += len(run)
			run = nil
		}
	}
	for i := 0; i < len(c); i++ {
		switch c[i] {
		case '\\':
			if i+1 == len(c) || strings.IndexByte(special, c[i+1]) < 0 {
				return "", nil, 0, errors.New(`a backslash is written \\`)
			}
			i++
			run = append(run, c[i])
		case '*':
			if i > 0 && c[i-1] == '*' && len(tokens) > 0 && tokens[len(tokens)-1].any && len(run) == 0 {
				return "", nil, 0, errors.New("** is only allowed as a whole component")
			}
			flush()
			tokens, wild = append(tokens, token{any: true}), true
		case '?':
			flush()
			tokens, wild = append(tokens, token{set: &[4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}}), true
		case '[':
			flush()
			set, n, err := parseClass(c[i:])
			if err != nil {
				return "", nil, 0, err
			}
			tokens, wild = append(tokens, token{set: set}), true
			i += n - 1
		case ']':
			return "", nil, 0, errClass
		default:
			run = append(run, c[i])
		}
	}
	if !wild {
		return string(run), nil, len(run), nil
	}
	flush()
	return c, tokens, lits, nil
}

// parseClass parses the class at the start of s and returns its length.
func parseClass(s string) (*[4]uint64, int, error) {
	i := 1
	negated := i < len(s) && (s[i] == '!' || s[i] == '^')
	if negated {
		i++
	}
	var set [4]uint64
	// next returns one byte of the class, or -1.
	next := func() int {
		if i < len(s) && s[i] == '\\' {
			i++
			if i == len(s) || strings.IndexByte(special+"-!^", s[i]) < 0 {
				return -1
			}
		} else if i < len(s) && s[i] == '[' {
			return -1
		}
		if i >= len(s) || s[i] >= 0x80 {
			return -1
		}
		i++
		return int(s[i-1])
	}
	for first := true; ; first = false {
		if i < len(s) && s[i] == ']' && !first {
			i++
			break
		}
		low := next()
		high := low
		if i+1 < len(s) && s[i] == '-' && s[i+1] != ']' {
			i++
			high = next()
		}
		if low < 0 || high < low {
			return nil, 0, errClass
		}
		for c := low; c <= high; c++ {
			set[c>>6] |= 1 << (c & 63)
		}
	}
	if negated {
		for k := range set {
			set[k] = ^set[k]
		}
	}
	return &set, i, nil
}

// match reports whether the glob matches the whole name. The time is bounded
// by the product of the lengths.
func match(tokens []token, name []byte) bool {
	// Most names fail at the literal end of a glob such as *.php.
	if l := tokens[len(tokens)-1].lit; len(l) > len(name) || string(name[len(name)-len(l):]) != l {
		return false
	}
	t, n := 0, 0
	back, from := -1, 0 // what follows the last *, and where that was tried last
	for {
		if t < len(tokens) {
			switch k := &tokens[t]; {
			case k.any:
				if t == len(tokens)-1 {
					return true
				}
				t++
				back, from = t, n
				if from = seek(&tokens[t], name, from); from < 0 {
					return false
				}
				n = from
				continue
			case k.set != nil:
				if n < len(name) && k.one(name[n]) {
					t, n = t+1, n+1
					continue
				}
			case len(name)-n >= len(k.lit) && string(name[n:n+len(k.lit)]) == k.lit:
				t, n = t+1, n+len(k.lit)
				continue
			}
		} else if n == len(name) {
			return true
		}
		if back < 0 || from >= len(name) {
			return false
		}
		if from = seek(&tokens[back], name, from+1); from < 0 {
			return false
		}
		t, n = back, from
	}
}

// seek returns the next place at or behind from where k can match, or -1.
func seek(k *token, name []byte, from int) int {
	if k.lit == "" {
		return from
	}
	i := bytes.IndexByte(name[from:], k.lit[0])
	if i < 0 {
		return -1
	}
	return from + i
}

// matchType reports whether a file-system type matches a line of skip.
func matchType(line, fstype string) bool {
	name, tokens, _, err := parseGlob(line)
	if err != nil {
		return false // a matcher that fails selects
	}
	if tokens == nil {
		return name == fstype
	}
	return match(tokens, []byte(fstype))
}

// checkType says what is wrong with a line of skip.
func checkType(line string) error {
	if line == "" || strings.ContainsAny(line, "/ \t\n\x00") {
		return errPattern(fmt.Sprintf("%s is no file-system type", strict.Printable(line)))
	}
	if _, _, _, err := parseGlob(line); err != nil {
		return errPattern(fmt.Sprintf("file-system type %s: %s", strict.Printable(line), err))
	}
	return nil
}
