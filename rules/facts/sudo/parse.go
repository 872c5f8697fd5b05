package sudo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"intact/scanner/entry"
)

// The lists that members are of. Aliases of one kind do not hide those of another.
const (
	users = iota
	runas
	hosts
	commands
)

// member is one of a list: a name or an alias, with ! or without.
type member struct {
	not     bool
	text    string
	digests []string
}

type aliasID struct {
	kind int
	name string
}

type alias struct {
	members []member
	at      string
}

// spec is one user specification: users, and what they may do where.
type spec struct {
	who, where []member
	do         []command
	at         string
}

// command is a command with what stands before it.
type command struct {
	member
	asUsers, asGroups []member
	hasAs             bool
	tags, options     []string
}

// defaults is a line of Defaults.
type defaults struct {
	Setting
	kind int // of the list
	of   []member
}

// parser reads one file.
type parser struct {
	b    []byte
	pos  int
	line int
	file entry.Path
	r    *reader
}

func (p *parser) place() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

func (p *parser) wrong(what string) error { return errors.New(what) }

// all reads the file line by line. A line that is wrong is passed over, as sudo
// does it since 1.9.3; before, it refused the whole policy.
func (p *parser) all() {
	for p.pos < len(p.b) && p.r.problem == nil {
		at := p.place()
		if err := p.entry(at); err != nil {
			p.r.say(at, err.Error(), true)
		} else if !p.eol() {
			p.r.say(at, "more than the line can hold", true)
		}
		p.endLine()
	}
}

func (p *parser) entry(at string) error {
	switch {
	case p.start("#includedir", " \t"):
		return p.include(at, true)
	case p.start("#include", " \t"):
		return p.include(at, false)
	case p.eol():
		return nil
	}
	switch {
	case p.start("@includedir", " \t\""):
		return p.include(at, true)
	case p.start("@include", " \t\""):
		return p.include(at, false)
	case p.start("User_Alias", " \t\\"):
		return p.alias(at, users)
	case p.start("Runas_Alias", " \t\\"):
		return p.alias(at, runas)
	case p.start("Host_Alias", " \t\\"):
		return p.alias(at, hosts)
	case p.start("Cmnd_Alias", " \t\\"), p.start("Cmd_Alias", " \t\\"):
		return p.alias(at, commands)
	case p.start("Defaults", " \t\\:>@!"):
		return p.defaults(at)
	}
	return p.spec(at)
}

// start takes a word that has one of these bytes behind it.
func (p *parser) start(word, behind string) bool {
	i := p.pos + len(word)
	if !bytes.HasPrefix(p.b[p.pos:], []byte(word)) || i >= len(p.b) || strings.IndexByte(behind, p.b[i]) < 0 {
		return false
	}
	p.pos = i
	return true
}

func (p *parser) include(at string, folder bool) error {
	p.blanks()
	var name string
	if p.take(`"`) {
		s, err := p.quoted()
		if err != nil {
			return err
		}
		name = s
	} else {
		var out []byte
		for p.pos < len(p.b) && strings.IndexByte(" \t\r\n", p.b[p.pos]) < 0 {
			if p.b[p.pos] == '\\' && p.pos+1 < len(p.b) && p.b[p.pos+1] != '\n' {
				p.pos++
			}
			out = append(out, p.b[p.pos])
			p.pos++
		}
		name = string(out)
	}
	if name == "" {
		return p.wrong("includes nothing")
	}
	if !p.eol() {
		return p.wrong("more than one name to include")
	}
	p.r.include(name, at, folder)
	return nil
}

func (p *parser) alias(at string, kind int) error {
	for {
		p.blanks()
		name := p.name(aliasByte)
		if !isAlias(name) || name == "ALL" {
			return p.wrong("a name of an alias is missing: capitals, digits and underscores")
		}
		if p.blanks(); !p.take("=") {
			return p.wrong("an = is missing behind the name of an alias")
		}
		members, err := p.list(kind)
		if err != nil {
			return err
		}
		id := aliasID{kind, name}
		if old, ok := p.r.aliases[id]; ok {
			return fmt.Errorf("the alias %s is there already, in %s", name, old.at)
		}
		p.r.aliases[id] = alias{members, at}
		if p.blanks(); !p.take(":") {
			return nil
		}
	}
}

// list reads members with commas between them.
func (p *parser) list(kind int) (out []member, err error) {
	for {
		var m member
		if kind == commands {
			m, err = p.commandMember()
		} else {
			m.not = p.sign()
			m.text, err = p.word(inList)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, m)
		if p.blanks(); !p.take(",") {
			return out, nil
		}
	}
}

// commandMember reads digests, a sign, and a command or an alias.
func (p *parser) commandMember() (m member, err error) {
	m.not = p.sign()
	if m.digests, err = p.digests(); err != nil {
		return m, err
	}
	m.not = p.sign() != m.not
	if p.pos >= len(p.b) {
		return m, p.wrong("a command is missing")
	}
	switch c := p.b[p.pos]; {
	case c == '/' || c == '^':
		m.text, err = p.command()
	case bytes.HasPrefix(p.b[p.pos:], []byte("sudoedit")):
		m.text, err = p.arguments([]byte(p.name(lowByte)))
	default:
		m.text, err = p.word(inList)
		if err == nil && !isAlias(m.text) && m.text != "list" {
			err = p.wrong("a command is missing, or its path is not absolute")
		}
	}
	return m, err
}

// spec reads "users hosts = commands : hosts = commands".
func (p *parser) spec(at string) error {
	who, err := p.list(users)
	if err != nil {
		return err
	}
	var out []spec
	for {
		where, err := p.list(hosts)
		if err != nil {
			return err
		}
		if p.blanks(); !p.take("=") {
			return p.wrong("an = is missing behind the hosts")
		}
		do, err := p.commands()
		if err != nil {
			return err
		}
		out = append(out, spec{who: who, where: where, do: do, at: at})
		if p.blanks(); !p.colon() {
			break
		}
	}
	if !p.eol() {
		return p.wrong("more than the line can hold")
	}
	p.r.specs = append(p.r.specs, out...)
	return nil
}

// colon takes the colon between two parts of a line. Before something like fe80:
// it is none: sudo takes both for one address.
func (p *parser) colon() bool {
	i := p.pos + 1
	for n := 0; i < len(p.b) && n < 4 && (digit(p.b[i]) || p.b[i]|0x20 >= 'a' && p.b[i]|0x20 <= 'f'); n++ {
		i++
	}
	return (i >= len(p.b) || p.b[i] != ':') && p.take(":")
}

// commands reads the right side of a user specification. What stands before a
// command holds for those behind it too.
func (p *parser) commands() (out []command, err error) {
	var now command
	for {
		if err := p.before(&now); err != nil {
			return nil, err
		}
		c := now
		c.tags, c.options = slices.Clone(now.tags), slices.Clone(now.options)
		if c.member, err = p.commandMember(); err != nil {
			return nil, err
		}
		out = append(out, c)
		if p.blanks(); !p.take(",") {
			return out, nil
		}
	}
}

// tagNames are the tags of commands. Each has an opposite.
var tagNames = []string{"EXEC", "FOLLOW", "INTERCEPT", "LOG_INPUT", "LOG_OUTPUT", "MAIL", "PASSWD", "SETENV"}

// optionNames stand before a command with a value.
var optionNames = []string{"APPARMOR_PROFILE", "CHROOT", "CWD", "LIMITPRIVS", "NOTAFTER", "NOTBEFORE", "PRIVS", "ROLE", "TIMEOUT", "TYPE"}

// before reads (user:group), options and tags, in this order.
func (p *parser) before(c *command) (err error) {
	if p.blanks(); p.take("(") {
		if err = p.as(c); err != nil {
			return err
		}
	}
	for tagged := false; ; {
		p.blanks()
		from, line := p.pos, p.line
		name := p.name(aliasByte)
		p.blanks()
		base := strings.TrimPrefix(name, "NO")
		switch {
		case !tagged && slices.Contains(optionNames, name) && p.take("="):
			v, err := p.word(inValue + ":")
			if err != nil {
				return err
			}
			c.options = slices.DeleteFunc(c.options, func(o string) bool { return strings.HasPrefix(o, name+"=") })
			c.options = append(c.options, name+"="+v)
			slices.Sort(c.options)
		case slices.Contains(tagNames, base) && p.take(":"):
			tagged = true
			c.tags = slices.DeleteFunc(c.tags, func(t string) bool { return t == base || t == "NO"+base })
			c.tags = append(c.tags, name)
			slices.Sort(c.tags)
		default:
			p.pos, p.line = from, line
			return nil
		}
	}
}

// as reads what stands in the brackets, of which the first is read.
func (p *parser) as(c *command) (err error) {
	c.hasAs, c.asUsers, c.asGroups = true, nil, nil
	if p.blanks(); !p.take(")") {
		if p.pos < len(p.b) && p.b[p.pos] != ':' {
			if c.asUsers, err = p.list(runas); err != nil {
				return err
			}
		}
		if p.blanks(); p.take(":") {
			if p.blanks(); p.pos < len(p.b) && p.b[p.pos] != ')' {
				if c.asGroups, err = p.list(runas); err != nil {
					return err
				}
			}
		}
		if p.blanks(); !p.take(")") {
			return p.wrong("a bracket does not close")
		}
	}
	return nil
}
