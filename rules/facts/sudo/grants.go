package sudo

import (
	"fmt"
	"slices"
	"strings"

	"intact/scanner/digest"
)

// flat expands the aliases of a list. A ! before an alias turns each of its
// members; of members that fit the last one counts, as before.
func (r *reader) flat(kind int, list []member, at string, in []string, out []member) []member {
	for _, m := range list {
		if r.steps++; r.steps > maxSteps {
			r.fail(fmt.Errorf("aliases have over %d members in all", maxSteps))
			return out
		}
		a, ok := r.aliases[aliasID{kind, m.text}]
		if !ok || m.text == "ALL" {
			if kind == commands && m.text != "ALL" && isAlias(m.text) {
				r.say(at, fmt.Sprintf("there is no alias %s of commands", m.text), false)
				continue
			}
			out = append(out, m)
			continue
		}
		if slices.Contains(in, m.text) {
			r.say(at, "the alias "+m.text+" is part of itself", false)
			continue
		}
		from := len(out)
		out = r.flat(kind, a.members, at, append(in[:len(in):len(in)], m.text), out)
		for i := from; i < len(out); i++ {
			out[i].not = out[i].not != m.not
			if len(m.digests) > 0 {
				out[i].digests = m.digests
			}
		}
	}
	return out
}

// signed spells a list of members.
func signed(list []member) (out []string) {
	for _, m := range list {
		s := m.text
		if m.not {
			s = "!" + s
		}
		out = append(out, s)
	}
	return out
}

// settings are the rows of the Defaults lines.
func (r *reader) settings() []Setting {
	out := make([]Setting, 0, len(r.lines))
	seen := map[string]int64{}
	for _, d := range r.lines {
		s := d.Setting
		s.Of = signed(r.flat(d.kind, d.of, s.At, nil, nil))
		seen[s.Key()]++
		s.Nth = seen[s.Key()]
		out = append(out, s)
	}
	return out
}

// runasDefault is whom sudo runs commands as where nobody says it.
func (r *reader) runasDefault() string {
	name := "root"
	for _, d := range r.lines {
		if d.Scope == "all" && d.Name == "runas_default" && d.Op == "=" {
			name = d.Value
		}
	}
	return name
}

// grants are the rows of the user specifications.
func (r *reader) grants() (out []Grant) {
	root := r.runasDefault()
	seen := map[string]int64{}
	spent := 0
	for _, s := range r.specs {
		who := r.granted(r.flat(users, s.who, s.at, nil, nil))
		where := signed(r.flat(hosts, s.where, s.at, nil, nil))
		if len(who) == 0 {
			r.say(s.at, "grants nothing to anybody", false)
		}
		for _, c := range s.do {
			as := []string{root}
			if c.hasAs {
				as = signed(r.flat(runas, c.asUsers, s.at, nil, nil))
			}
			groups := signed(r.flat(runas, c.asGroups, s.at, nil, nil))
			for _, m := range r.flat(commands, []member{c.member}, s.at, nil, nil) {
				for _, w := range who {
					if len(out) >= maxRows || r.problem != nil {
						r.fail(fmt.Errorf("over %d grants", maxRows))
						return out
					}
					g := Grant{Who: w.who, Except: w.except, Hosts: where, RunAs: as, RunGroups: groups, Command: m.text, Denied: m.not, Tags: c.tags, Options: c.options,
						Digests: m.digests, At: s.at, NoPasswd: slices.Contains(c.tags, "NOPASSWD")}
					g.All = !g.Denied && g.Command == "ALL" && (slices.Contains(as, "ALL") || slices.Contains(as, "root") || slices.Contains(as, "#0"))
					key := g.Key()
					if spent += len(key) + len(g.Compared()); spent > maxSpelled {
						r.fail(fmt.Errorf("grants take over %d bytes", maxSpelled))
						return out
					}
					seen[key]++
					g.Nth = seen[key]
					out = append(out, g)
				}
			}
		}
	}
	order(out)
	return out
}

// whom is somebody who is granted something.
type whom struct {
	who    string
	except []string
}

// granted sorts a list of users: each with those behind it that are left out of
// it. One that is left out itself is granted nothing.
func (r *reader) granted(list []member) (out []whom) {
	var but []string
	for _, m := range slices.Backward(list) {
		if m.not {
			but = append(but, m.text)
			continue
		}
		if slices.Contains(but, m.text) {
			continue
		}
		w := whom{who: m.text}
		for _, e := range slices.Backward(but) {
			if r.steps++; plain(e) == "" || plain(m.text) == "" {
				w.except = append(w.except, e)
			}
		}
		if r.steps > maxSteps {
			r.fail(fmt.Errorf("lines name over %d users in all", maxSteps))
			return nil
		}
		out = append(out, w)
	}
	slices.Reverse(out)
	return out
}

// maxPairs bounds how many grants are held against one another.
const maxPairs = 2000

// order fills in which grants before it each one overrules: those that may be
// about the same user and command, and say something else. With too many of them
// the place of the grant is taken, which changes more often than the meaning.
func order(list []Grant) {
	if len(list) > maxPairs {
		for i := range list {
			list[i].Over = fmt.Sprintf("place %d", i)
		}
		return
	}
	of := make([]about, len(list))
	for i := range list {
		g := &list[i]
		a := about{key: digest.Sum([]byte(g.Key())).String(), sense: digest.Sum(fmt.Appendf(nil, "%t %q %q", g.Denied, g.Tags, g.Options)).String(), who: plain(g.Who)}
		a.program, _, _ = strings.Cut(g.Command, " ")
		a.pattern = a.program == "ALL" || strings.ContainsAny(a.program, "*?[^") || strings.HasSuffix(a.program, "/")
		of[i] = a
		var keys []string
		for _, before := range of[:i] {
			if a.overrules(before) {
				keys = append(keys, before.key)
			}
		}
		if len(keys) > 0 {
			slices.Sort(keys)
			g.Over = digest.Sum([]byte(strings.Join(keys, ""))).String()[:32]
		}
	}
}

// about is what counts of a grant for its order.
type about struct {
	key, sense string // digests
	who        string // "" of several users
	program    string
	pattern    bool // program is several
}

func (a about) overrules(before about) bool {
	return a.sense != before.sense && (a.who == "" || before.who == "" || a.who == before.who) && (a.pattern || before.pattern || a.program == before.program)
}

// plain is the name of a user, "" of what stands for several or by number.
func plain(who string) string {
	if who == "ALL" || strings.ContainsAny(who[:min(1, len(who))], "%+#") {
		return ""
	}
	return who
}
