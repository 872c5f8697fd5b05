package sshd

import (
	"slices"
	"strings"

	"intact/rules/facts"
)

// Directive is one line of the configuration.
type Directive struct {
	File          string `cel:"file"`
	Line          int64  `cel:"line"`
	At            string `cel:"at"`        // file:line
	Option        string `cel:"option"`    // as sshd -T prints it; in lower case as it stands there where it is not known
	Value         string `cel:"value"`     // as sshd -T prints it, lists joined by blanks; cut behind 1024 bytes
	Match         string `cel:"match"`     // the Match lines that it stands below, joined by " + "; "" for none
	Effective     bool   `cel:"effective"` // some connection gets it; false: it is dead text
	ShadowedBy    string `cel:"shadowed_by"`
	ShadowedValue string `cel:"shadowed_value"` // what counts instead
	Conflicts     bool   `cel:"conflicts"`      // dead text that says something else than what counts
	Problem       string `cel:"problem"`        // why sshd refuses the line, "" if it does not
}

// Weaker is an option that a Match block makes weaker than it is for everybody.
type Weaker struct {
	Option   string `cel:"option"`
	Match    string `cel:"match"`
	Global   string `cel:"global"` // what counts without the block
	GlobalAt string `cel:"global_at"`
	Value    string `cel:"value"` // what the block says
	At       string `cel:"at"`
}

const maxShown = 1024

// shown is a value for a row.
func shown(lines []string) string {
	s := strings.Join(lines, " ")
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return s
}

// standing is a directive where it stands.
type standing struct {
	n *line
	*scope
	value  []string
	winner *standing // why it is dead
}

// scope is the Match lines that directives stand below.
type scope struct {
	lines []*line
	text  string
	tests map[string]bool // of the lines, but "all"
}

func scopeOf(lines []*line) *scope {
	s := &scope{lines: slices.Clone(lines), tests: map[string]bool{}}
	var texts []string
	for _, m := range lines {
		texts = append(texts, m.text)
		for _, t := range m.each {
			s.tests[t] = true
		}
	}
	s.text = strings.Join(texts, " + ")
	return s
}

// below reports a Match line above, be it "all".
func (s *scope) below() bool { return len(s.lines) > 0 }

// weigh finds for each directive whether another one always wins: one that
// stands above it below the same Match lines, or some of them. Below "Match all"
// the directives win over those above all Match lines, as below any that holds.
func (c *Config) weigh() []*standing {
	var out []*standing
	firsts := map[string][]*standing{} // by option
	here := scopeOf(nil)
	c.walk(nil, func(n *line, _ tri, lines []*line) {
		if n.opt.shape == ignored {
			return
		}
		if !slices.Equal(here.lines, lines) {
			here = scopeOf(lines)
		}
		s := &standing{n: n, scope: here}
		s.value, _ = n.value()
		out = append(out, s)
		if n.opt.merge != all {
			firsts[n.opt.name] = s.against(firsts[n.opt.name])
		}
	})
	for _, s := range out {
		if s.below() || s.winner != nil || s.n.opt.merge == all || !s.n.opt.inMatch {
			continue
		}
		for _, w := range firsts[s.n.opt.name] {
			if w.below() && len(w.tests) == 0 {
				s.winner = w // "Match all" wins over what stands above
				break
			}
		}
	}
	return out
}

// against weighs s against those that stand above it, and returns them with s
// where it counts.
func (s *standing) against(earlier []*standing) []*standing {
	const enough = 256 // blocks with the same option; later ones are held against these
	for i, w := range earlier {
		if w.below() != s.below() || !w.covers(s) {
			continue
		}
		if s.n.opt.merge == last && len(w.tests) == len(s.tests) {
			w.winner, earlier[i] = s, s
		} else {
			s.winner = w
		}
		return earlier
	}
	if len(earlier) < enough {
		earlier = append(earlier, s)
	}
	return earlier
}

// covers reports that where s is in force, w is: s stands below all Match lines
// that w stands below.
func (w *standing) covers(s *standing) bool {
	for t := range w.tests {
		if !s.tests[t] {
			return false
		}
	}
	return true
}

// Directives returns the lines of the configuration, each once for each Match
// block that it stands in, in the order of reading, and behind them the lines
// that sshd refuses.
func (c *Config) Directives() []Directive {
	type id struct {
		at    facts.Place
		scope string
	}
	index := map[id]int{}
	var out []Directive
	for _, s := range c.weigh() {
		key := id{s.n.at, s.text}
		d := Directive{
			File: s.n.at.File, Line: int64(s.n.at.Line), At: placed(s.n.at), Option: s.n.opt.name,
			Value: shown(s.value), Match: s.text, Effective: s.winner == nil,
		}
		if s.winner != nil {
			d.ShadowedBy, d.ShadowedValue = placed(s.winner.n.at), shown(s.winner.value)
			d.Conflicts = !slices.Equal(s.winner.value, s.value)
		}
		if i, again := index[key]; !again {
			index[key] = len(out)
			out = append(out, d)
		} else if d.Effective {
			out[i] = d // its file is included twice, and one of them counts
		}
	}
	for _, p := range c.Problems {
		if p.At.Line > 0 {
			out = append(out, Directive{File: p.At.File, Line: int64(p.At.Line), At: placed(p.At), Problem: p.What})
		}
	}
	return out
}

// Weaker returns what Match blocks make weaker than it is without them.
func (c *Config) Weaker() []Weaker {
	global := readings{}
	for i := range c.command {
		global.take(&c.command[i], yes)
	}
	c.walk(nil, func(n *line, force tri, scope []*line) {
		if len(scope) == 0 {
			global.take(n, force)
		}
	})
	blocks := map[string]readings{} // by scope
	var out []Weaker
	seen := map[Weaker]bool{}
	standings := c.weigh()
	for _, s := range standings {
		if !s.below() || s.winner != nil || !s.n.opt.inMatch {
			continue
		}
		if blocks[s.text] == nil {
			blocks[s.text] = readings{}
		}
		blocks[s.text].take(s.n, yes)
	}
	for _, s := range standings {
		if !s.below() || s.winner != nil || !s.n.opt.inMatch {
			continue
		}
		o := s.n.opt
		in, without := blocks[s.text][o.name], c.settle(o, global[o.name], nil)
		value := c.settle(o, in, nil)
		if !without.Known || !value.Known || !weaker(o.name, without.Lines, value.Lines) {
			continue
		}
		w := Weaker{
			Option: o.name, Match: s.text, Global: shown(without.Lines), GlobalAt: whence(without.At),
			Value: shown(value.Lines), At: whence(value.At),
		}
		if !seen[w] {
			seen[w] = true
			out = append(out, w)
		}
	}
	return out
}
