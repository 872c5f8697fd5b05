package sudo

import (
	"fmt"
	"strings"
)

// scopes of Defaults by the sign behind the word.
var scopes = map[byte]struct {
	name string
	kind int
}{':': {"user", users}, '>': {"run_as", runas}, '@': {"host", hosts}, '!': {"command", commands}}

func (p *parser) defaults(at string) (err error) {
	d := defaults{Setting: Setting{Scope: "all", At: at}}
	if p.pos < len(p.b) {
		if s, ok := scopes[p.b[p.pos]]; ok {
			p.pos++
			d.Scope, d.kind = s.name, s.kind
			if s.kind == commands {
				d.of, err = p.pathList()
			} else {
				d.of, err = p.list(s.kind)
			}
			if err != nil {
				return err
			}
		}
	}
	for {
		one := d
		one.Off = p.sign()
		if one.Name = p.name(lowByte); one.Name == "" {
			return p.wrong("the name of a setting is missing")
		}
		p.blanks()
		for _, op := range [...]string{"+=", "-=", "="} {
			if p.take(op) {
				one.Op = op
				if one.Value, err = p.word(inValue); err != nil {
					return err
				}
				break
			}
		}
		if len(p.r.lines) >= maxRows {
			p.r.fail(fmt.Errorf("over %d settings", maxRows))
			return nil
		}
		p.r.lines = append(p.r.lines, one)
		if p.blanks(); !p.take(",") {
			return nil
		}
	}
}

// pathList reads commands without arguments, as Defaults! has them.
func (p *parser) pathList() (out []member, err error) {
	for {
		m := member{not: p.sign()}
		from := p.pos
		for p.pos < len(p.b) && strings.IndexByte(",:= \t\r\n#", p.b[p.pos]) < 0 {
			p.pos++
		}
		if m.text = string(p.b[from:p.pos]); m.text == "" {
			return nil, p.wrong("a command is missing")
		}
		out = append(out, m)
		if p.blanks(); !p.take(",") {
			return out, nil
		}
	}
}
