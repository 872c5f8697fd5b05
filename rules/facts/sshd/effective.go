package sshd

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"intact/rules/facts"
)

// Value is what counts of one option for one client.
type Value struct {
	Lines   []string      // as sshd -T prints them, without the keyword; none: the option is empty
	At      []facts.Place // where they were said; none: it is built in
	Known   bool          // false: it depends on what is not known here
	Unknown string        // why
}

// visit is called for each directive, in the order in which sshd reads them.
// It is in force with yes; scope are the Match lines that it stands below.
type visit func(n *line, force tri, scope []*line)

// walk reads the configuration as sshd does, twice in its life: at its start
// without a client, where only "Match all" holds and what stands above all
// Match lines counts, and for each client, where only what stands below Match
// lines that hold counts, and then wins over the rest.
func (c *Config) walk(client *Client, v visit) {
	w := walker{client: client, visit: v, budget: c.budget}
	active := yes
	if client != nil {
		active = no
	}
	w.file(c.main, yes, active, client != nil, nil, 0)
}

type walker struct {
	client *Client
	visit  visit
	budget int
}

// file walks one file. outer is whether the place of its Include is in force:
// a Match line in it holds only if that is. Above the first Match line of all,
// for a client, nothing is in force and yet Match lines of included files hold:
// that is top.
func (w *walker) file(s *source, outer, active tri, top bool, base []*line, depth int) {
	if s == nil || depth > maxDepth {
		return
	}
	scope := base
	for i := range s.lines {
		if w.budget--; w.budget < 0 {
			return
		}
		n := &s.lines[i]
		switch {
		case n.bad || n.opt == nil:
		case n.opt.shape == match:
			scope = append(slices.Clip(base), n)
			holds := truth(n.tests.everyone())
			if w.client != nil {
				holds = n.tests.holds(w.client)
			}
			active, top = min(outer, holds), false
		case n.opt.shape == include:
			for _, in := range n.files {
				if top {
					w.file(in, yes, active, true, scope, depth+1)
				} else {
					w.file(in, active, active, false, scope, depth+1)
				}
			}
		default:
			w.visit(n, active, scope)
		}
	}
}

// setting is what one reading has found of one option.
type setting struct {
	lines  []string
	at     []facts.Place
	set    bool
	known  bool
	why    string
	open   bool       // no release's rule tells what counts
	maybes [][]string // what perhaps counts, before or instead
}

// readings are the options of one reading.
type readings map[string]*setting

func (r readings) take(n *line, force tri) {
	if force == no || n.opt.shape == ignored {
		return
	}
	lines, why := n.value()
	s := r[n.opt.name]
	if s == nil {
		s = &setting{known: true}
		r[n.opt.name] = s
	}
	if force == maybe {
		if !s.set || n.opt.merge != first {
			s.maybes = append(s.maybes, lines)
			if why != "" {
				s.known, s.why = false, why
			}
		}
		return
	}
	switch {
	case n.opt.merge == all && s.set:
		s.lines = append(s.lines, lines...)
		s.at = append(s.at, n.at)
	case s.set && n.opt.merge == first && n.opt.shape != rekey:
		return
	case s.set && !slices.Equal(s.lines, lines):
		// Releases differ in which of the two they take.
		s.known, s.why = false, "it stands there twice, and releases differ in which counts"
		if n.opt.shape == startups && !strings.Contains(n.args[0], ":") {
			s.open = true // it keeps the rate of what stands above
		}
		if n.opt.merge == last {
			s.lines, s.at = lines, []facts.Place{n.at}
		}
	default:
		s.lines, s.at, s.set = lines, []facts.Place{n.at}, true
	}
	if why != "" {
		s.known, s.why = false, why
	}
}

// value returns what a directive sets, as sshd -T prints it.
func (n *line) value() (lines []string, why string) {
	switch n.opt.shape {
	case rest:
		return []string{n.rest}, ""
	case algs:
		return []string{n.args[0]}, ""
	case listen:
		return []string{strings.Join(n.args, " ")}, ""
	}
	lines, err := n.opt.canonical(n.args)
	if err != nil || lines == nil {
		return []string{strings.Join(n.args, " ")}, "what the release makes of it is not known"
	}
	return lines, ""
}

// Effective returns what counts for a client, by the names that sshd -T prints.
// A client of nil asks for what counts where no Match block does but "all", as
// sshd -T without -C answers.
func (c *Config) Effective(client *Client) map[string]Value {
	if client == nil {
		client = &Client{GroupsKnown: true}
	}
	global, matched := readings{}, readings{}
	for i := range c.command {
		global.take(&c.command[i], yes)
	}
	ports := len(c.command) > 0 && global["port"] != nil
	c.walk(nil, func(n *line, force tri, _ []*line) {
		if ports && n.opt.shape == port {
			return // -p and -o Port replace those of the files
		}
		global.take(n, force)
	})
	c.walk(client, func(n *line, force tri, _ []*line) {
		if n.opt.inMatch {
			matched.take(n, force)
		}
	})
	out := make(map[string]Value, len(table))
	for name, o := range keywords() {
		if name != o.name || o.shape == ignored || o.shape == include || o.shape == match {
			continue
		}
		out[name] = c.settle(o, global[name], matched[name])
	}
	c.listening(out)
	return out
}

// settle makes one value of what was read without and with a client.
func (c *Config) settle(o *option, global, matched *setting) Value {
	win := global
	var maybes [][]string
	if matched != nil {
		maybes = matched.maybes
		if matched.set {
			win = matched
		}
	}
	v := Value{Known: true}
	if win == nil || !win.set {
		v = c.builtin(o)
	} else {
		v.Lines, v.At, v.Known, v.Unknown = win.lines, win.at, win.known, win.why
		if o.merge == last && !v.Known && c.version.lastWins() && o.shape != qos && !win.open {
			v.Known, v.Unknown = true, ""
		}
		if o.shape == algs {
			v = c.assembled(o, v)
		}
	}
	for _, m := range maybes {
		if o.merge == all || !slices.Equal(m, v.Lines) {
			v.Known, v.Unknown = false, "a Match line may hold or not"
		}
	}
	return v
}

// builtin is the value of an option that nothing sets.
func (c *Config) builtin(o *option) Value {
	if lines, ok := c.version.builtin(o.name); ok {
		return Value{Lines: lines, Known: true}
	}
	if !o.defined {
		return Value{Unknown: "what is built in is not known for this release"}
	}
	return Value{Lines: o.builtin, Known: true}
}

// assembled applies a list that begins with + - or ^ to the built-in one.
func (c *Config) assembled(o *option, v Value) Value {
	list := v.Lines[0]
	if list == "" || !strings.ContainsRune("+-^", rune(list[0])) {
		return v
	}
	base := c.builtin(o)
	if !base.Known || len(base.Lines) != 1 {
		v.Known, v.Unknown = false, base.Unknown
		return v
	}
	have := strings.Split(base.Lines[0], ",")
	given := strings.Split(list[1:], ",")
	if list[0] != '-' && strings.ContainsAny(list, "*?!") {
		v.Known, v.Unknown = false, "a pattern stands for all algorithms that the release has"
		return v
	}
	if len(given) > 1000 {
		v.Known, v.Unknown = false, "the list is too long"
		return v
	}
	switch list[0] {
	case '-':
		have = slices.DeleteFunc(have, func(a string) bool { return inList(a, list[1:]) == 1 })
	case '+':
		have = joined(have, given)
	case '^':
		have = joined(given, have)
	}
	v.Lines = []string{strings.Join(have, ",")}
	return v
}

// joined appends what is not there yet.
func joined(list, more []string) []string {
	out := slices.Clone(list)
	for _, a := range more {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// listening makes the sockets of Port, ListenAddress and AddressFamily.
func (c *Config) listening(out map[string]Value) {
	ports, family, v := out["port"], out["addressfamily"], out["listenaddress"]
	said := v.Lines
	v.Lines = nil
	if len(said) == 0 {
		said = []string{"[::]", "0.0.0.0"}
	}
	for _, s := range said {
		if strings.Contains(s, " ") {
			v.Known, v.Unknown = false, "it names a routing domain"
			v.Lines = append(v.Lines, s)
			continue
		}
		addr, at := hostPort(s)
		a, err := netip.ParseAddr(addr)
		if err != nil {
			v.Known, v.Unknown = false, "it names a host, or it is malformed"
			v.Lines = append(v.Lines, s)
			continue
		}
		if f := family.Lines[0]; f == "inet" && a.Is6() || f == "inet6" && a.Is4() {
			continue
		}
		for _, p := range ports.Lines {
			v.Lines = append(v.Lines, netip.AddrPortFrom(a, 0).String())
			last := &v.Lines[len(v.Lines)-1]
			*last = strings.TrimSuffix(*last, "0") + cmp.Or(at, p)
			if at != "" {
				break
			}
		}
	}
	out["listenaddress"] = v
}

// hostPort takes an argument of ListenAddress apart; port is "" where it has none.
func hostPort(s string) (host, port string) {
	if strings.HasPrefix(s, "[") {
		host, port, _ = strings.Cut(s[1:], "]")
		return host, strings.TrimPrefix(port, ":")
	}
	if strings.Count(s, ":") == 1 {
		host, port, _ = strings.Cut(s, ":")
		return host, port
	}
	return s, ""
}
