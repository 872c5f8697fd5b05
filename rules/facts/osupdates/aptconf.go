package osupdates

import (
	"errors"
	"fmt"
	"strings"

	"intact/scanner/entry"
)

// Limits of apt.conf(5).
const (
	maxSettings = 1 << 14 // values
	maxClears   = 1 << 12 // "#clear" lines
	maxDepth    = 64      // of blocks
	maxIncludes = 10      // of files in files, as apt has it
	maxTag      = 4096    // bytes of a full name
)

// Errors of apt.conf. Each is wrapped with file:line.
var (
	errNoName  = errors.New("block without a name")
	errBlocks  = errors.New("too many blocks in each other")
	errJunk    = errors.New("more than a name and a value")
	errOpenEnd = errors.New("ends amid a statement")
)

// Setting is one value of apt.conf as apt has it once all files are read.
type Setting struct {
	Name  string `cel:"name"` // as first written, "::" between its parts; lists end in "::"
	Value string `cel:"value"`
	File  string `cel:"file"` // absolute inside the root
	Line  int64  `cel:"line"` // where the statement ends, from 1
}

// aptConf is the configuration of apt. Names are the same in any case.
type aptConf struct {
	settings []Setting
	at       map[string]int // of settings that are no items of lists, by name in lower case
	includes int
	clears   int
}

// readAptConf reads apt.conf.d and apt.conf in apt's order. A later value of a
// name takes the place of the former; those of lists add up.
func (h *host) readAptConf() *aptConf {
	c := &aptConf{}
	for _, p := range append(h.parts("/etc/apt/apt.conf.d", true, "conf"), "/etc/apt/apt.conf") {
		h.aptConfFile(c, p, 0)
	}
	return c
}

func (h *host) aptConfFile(c *aptConf, p entry.Path, depth int) {
	b, ok := h.read(p, maxConfig)
	if !ok {
		return
	}
	h.add(c.parse(string(p), string(b), func(name string) error {
		if c.includes++; depth >= maxIncludes || c.includes > maxFiles {
			return fmt.Errorf("%w: files that include others", errTooMany)
		}
		if !strings.HasPrefix(name, "/") {
			return fmt.Errorf("include of %q, no absolute path", name)
		}
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			for _, q := range h.parts(entry.Path(dir), true, "conf") {
				h.aptConfFile(c, q, depth+1)
			}
			return nil
		}
		h.aptConfFile(c, entry.Path(name), depth+1)
		return nil
	}))
}

// parse reads one file:
//
//	Name "value"; Name { Inner "value"; "item of a list"; }; // # /* */
//	#clear Name; #include "file";
func (c *aptConf) parse(file, text string, include func(string) error) error {
	p := &confParser{conf: c, file: file, include: include, line: 1}
	for p.line = 1; text != ""; p.line++ {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if err := p.take(p.uncomment(line)); err != nil {
			return fmt.Errorf("%q:%d: %w", file, p.line, err)
		}
	}
	if p.pending.Len() > 0 { // a comment or a block without an end is fine with apt
		return fmt.Errorf("%q:%d: %w", file, p.line-1, errOpenEnd)
	}
	return nil
}

// confParser is what is known between two lines.
type confParser struct {
	conf    *aptConf
	file    string
	line    int
	include func(string) error
	comment bool            // within /* */
	parents []string        // full names of the open blocks
	pending strings.Builder // of a statement that has not ended
}

// uncomment returns a line without its comments. Within quotation marks there
// are none; marks count within their line, as for apt.
func (p *confParser) uncomment(line string) string {
	line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
	var out strings.Builder
	quoted := false
	for i := 0; i < len(line); i++ {
		rest := line[i:]
		switch {
		case p.comment:
			if end := strings.Index(rest, "*/"); end >= 0 {
				p.comment, i = false, i+end+1
				continue
			}
			return out.String()
		case line[i] == '"':
			quoted = !quoted
		case quoted:
		case strings.HasPrefix(rest, "//"), line[i] == '#' && !directive(rest[1:]):
			return out.String()
		case strings.HasPrefix(rest, "/*"):
			p.comment = true
			i++
			continue
		}
		out.WriteByte(line[i])
	}
	return out.String()
}

func directive(s string) bool {
	return strings.HasPrefix(s, "clear") || strings.HasPrefix(s, "include") || strings.HasPrefix(s, "x-apt-configure-index")
}

// take cuts a line into statements, which end in ";", "{" or "}".
func (p *confParser) take(line string) error {
	start, quoted := 0, false
	for i := range len(line) {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ';' || c == '{' || c == '}'):
			p.append(line[start:i])
			start = i + 1
			text := p.pending.String()
			p.pending.Reset()
			if err := p.statement(text, c); err != nil {
				return err
			}
		}
	}
	p.append(line[start:])
	return nil
}

func (p *confParser) append(s string) {
	if s = strings.TrimSpace(s); s == "" {
		return
	}
	if p.pending.Len() > 0 {
		p.pending.WriteByte(' ')
	}
	p.pending.WriteString(s)
}

// statement applies one, and the end of a block behind it.
func (p *confParser) statement(text string, end byte) error {
	if text == "" && end == '{' {
		return errNoName
	}
	if text != "" {
		if err := p.apply(text, end == '{'); err != nil {
			return err
		}
	}
	if end == '}' && len(p.parents) > 0 {
		p.parents = p.parents[:len(p.parents)-1]
	}
	return nil
}

func (p *confParser) apply(text string, opens bool) error {
	tag, rest, ok := quoteWord(text, true)
	if !ok {
		return errJunk
	}
	value, rest, has := quoteWord(rest, false)
	if strings.TrimSpace(rest) != "" {
		return errJunk
	}
	if !has && !opens {
		tag, value, has = "", tag, true // an item of a list
	}
	parent := ""
	if len(p.parents) > 0 {
		parent = p.parents[len(p.parents)-1]
	}
	if !opens && strings.HasPrefix(tag+value, "#") && parent == "" {
		return p.direct(tag, value)
	}
	full := tag
	if parent != "" {
		full = parent + "::" + tag
	}
	if len(full) > maxTag {
		return errTooMany
	}
	if opens {
		if len(p.parents) == maxDepth {
			return errBlocks
		}
		p.parents = append(p.parents, full)
	}
	if !has {
		return nil
	}
	return p.conf.set(Setting{Name: full, Value: value, File: p.file, Line: int64(p.line)})
}

// direct obeys "#clear NAME" and "#include FILE".
func (p *confParser) direct(tag, value string) error {
	switch tag {
	case "#clear":
		if p.conf.clears++; p.conf.clears > maxClears {
			return fmt.Errorf("%w: over %d lines of #clear", errTooMany, maxClears)
		}
		p.conf.clear(value)
		return nil
	case "#include":
		return p.include(value)
	case "#x-apt-configure-index":
		return nil
	}
	return fmt.Errorf("directive %.80q is not known", tag+value)
}

// set gives a name its value. A name that ends in "::" is one more item.
func (c *aptConf) set(s Setting) error {
	name := strings.ToLower(s.Name)
	if i, ok := c.at[name]; ok {
		c.settings[i] = s
		return nil
	}
	if len(c.settings) == maxSettings {
		return fmt.Errorf("%w: over %d values", errTooMany, maxSettings)
	}
	c.settings = append(c.settings, s)
	c.index(len(c.settings) - 1)
	return nil
}

// index makes a setting findable by its name, if it is no item of a list.
func (c *aptConf) index(i int) {
	if name := strings.ToLower(c.settings[i].Name); !strings.HasSuffix(name, "::") {
		if c.at == nil {
			c.at = map[string]int{}
		}
		c.at[name] = i
	}
}

// clear forgets a name and all below it.
func (c *aptConf) clear(name string) {
	kept := c.settings[:0]
	for _, s := range c.settings {
		if !strings.EqualFold(s.Name, name) && !below(s.Name, name) {
			kept = append(kept, s)
		}
	}
	if len(kept) == len(c.settings) {
		return
	}
	c.settings, c.at = kept, nil
	for i := range kept {
		c.index(i)
	}
}

// below reports whether a name lies below another.
func below(name, top string) bool {
	return len(name) > len(top)+1 && strings.EqualFold(name[:len(top)], top) && name[len(top):len(top)+2] == "::"
}

// find returns what a name is set to.
func (c *aptConf) find(name string) (Setting, bool) {
	i, ok := c.at[strings.ToLower(name)]
	if !ok {
		return Setting{}, false
	}
	return c.settings[i], true
}

// items returns the values below a name, of a list or of a block.
func (c *aptConf) items(name string) (out []string) {
	for _, s := range c.settings {
		if below(s.Name, name) {
			out = append(out, s.Value)
		}
	}
	return out
}

// yes reads a switch, which is def where the name has no value or none that apt
// understands.
func (c *aptConf) yes(name string, def bool) bool {
	s, ok := c.find(name)
	if !ok {
		return def
	}
	return truth(s.Value, def)
}

// truth reads a word for yes or no.
func truth(s string, def bool) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "yes", "true", "with", "on", "enable", "force":
		return true
	case "0", "no", "false", "without", "off", "disable", "never":
		return false
	}
	return def
}

// quoteWord takes the next word: letters and quoted parts, with blanks only
// within quotation marks or brackets. With decode, %XX is the byte it names.
func quoteWord(s string, decode bool) (word, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\r")
	if s == "" {
		return "", "", false
	}
	var b strings.Builder
	quoted, brackets := false, 0
	i := 0
loop:
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			quoted = !quoted
			continue
		case decode && c == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			b.WriteByte(byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2])))
			i += 2
			continue
		case quoted:
		case c == '[':
			brackets++
		case c == ']' && brackets > 0:
			brackets--
		case (c == ' ' || c == '\t' || c == '\r') && brackets == 0:
			break loop
		}
		b.WriteByte(c)
	}
	return b.String(), s[i:], !quoted && brackets == 0
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
