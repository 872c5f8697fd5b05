package sshd

import (
	"net/netip"
	"slices"
	"strconv"
)

// Account is a user whom Match blocks and access lists may name.
type Account struct {
	Name   string
	Groups []string // names, the primary one included
	Admin  bool     // may become root: a member of sudo, wheel and the like
}

// Network is a network that this host has an address in.
type Network struct {
	Address netip.Prefix // the host's own address, with the network's mask
	Name    string       // of the interface, for people
}

// Options is what a caller knows of the host besides.
type Options struct {
	Accounts      []Account
	AccountsKnown bool // false: nobody has read them. Which groups a user is in is open then
	Networks      []Network
}

// Bounds of what is asked about. sshd -T answers in 11 to 20 ms.
const (
	maxContexts = 48
	maxTried    = 2_000_000 // Match lines that are held against connections
	maxNetworks = 3
)

// The documentation address, RFC 5737, stands for everybody outside.
const (
	outside  = "192.0.2.1"
	stranger = "nobody" // a user with no rights of his own
)

// place is where a client may come from, or a user that it may name.
type place struct{ label, addr, local string }

// prospect is a client with what it stands for.
type prospect struct {
	Client
	role, origin, label string
	holding             []string
	key                 string
}

// deriver finds the clients to ask about.
type deriver struct {
	conf   *Config
	opts   *Options
	port   int
	lines  []*line // Match lines, each once
	known  map[*line]bool
	chains [][]*line
	cost   int // of holding a connection against all of lines
	tried  int
	found  []prospect
	seen   map[string]bool
	cut    bool // a bound was reached
}

// derive returns the connections to ask about: three users from loopback, local
// networks and outside, and then of every role one for each way in which the
// Match lines can hold together.
func (c *Config) derive(opts *Options) (found []prospect, cut bool) {
	d := &deriver{conf: c, opts: opts, port: 22, seen: map[string]bool{}, known: map[*line]bool{}}
	if v := c.Effective(nil)["port"]; len(v.Lines) > 0 {
		if n, err := strconv.Atoi(v.Lines[0]); err == nil {
			d.port = n
		}
	}
	c.walk(nil, func(n *line, _ tri, scope []*line) { d.note(scope) })
	users, places := d.users(), d.places()
	for _, u := range users {
		for _, p := range places {
			d.add(d.client(u, p), true)
		}
	}
	if len(d.lines) == 0 {
		return d.found, false
	}
	for _, chain := range d.chains {
		d.satisfy(chain, users, places)
	}
	moreUsers, morePlaces := d.named(users, places)
	for _, u := range append(users, moreUsers...) {
		for _, p := range append(slices.Clip(places), morePlaces...) {
			d.add(d.client(u, p), false)
		}
	}
	return d.found, d.cut
}

// note remembers a scope and its Match lines.
func (d *deriver) note(scope []*line) {
	if len(scope) == 0 || len(d.chains) > 0 && slices.Equal(d.chains[len(d.chains)-1], scope) {
		return
	}
	d.chains = append(d.chains, slices.Clone(scope))
	for _, n := range scope {
		if !d.known[n] {
			d.known[n] = true
			d.lines = append(d.lines, n)
			d.cost += n.tests.cost()
		}
	}
}

func (d *deriver) users() []string {
	out := []string{"root"}
	for _, a := range d.opts.Accounts {
		if a.Admin && a.Name != "root" {
			out = append(out, a.Name)
			break
		}
	}
	return append(out, stranger)
}

func (d *deriver) places() []place {
	out := []place{{"loopback", "127.0.0.1", "127.0.0.1"}}
	here := "127.0.0.1"
	for _, n := range d.opts.Networks {
		a := n.Address.Addr()
		if !n.Address.IsValid() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.Zone() != "" {
			continue
		}
		if here == "127.0.0.1" {
			here = a.String()
		}
		if peer, ok := neighbour(n.Address); ok && len(out) <= maxNetworks {
			out = append(out, place{"local", peer.String(), a.String()})
		}
	}
	return append(out, place{"external", outside, here})
}

// neighbour returns another address of the same network.
func neighbour(p netip.Prefix) (netip.Addr, bool) {
	a := p.Masked().Addr().Next()
	if a == p.Addr() {
		a = a.Next()
	}
	return a, a.IsValid() && p.Contains(a)
}

func (d *deriver) client(user string, p place) prospect {
	return prospect{
		Client: Client{User: user, Host: p.addr, Addr: p.addr, LocalAddr: p.local, LocalPort: d.port},
		origin: p.label,
	}
}

// add takes a client: those of the base always, others where none of the same
// role is there for which the same Match lines hold.
func (d *deriver) add(p prospect, always bool) {
	if d.spent(1 + d.cost) {
		return
	}
	p.role = "other"
	p.GroupsKnown = d.opts.AccountsKnown
	for _, a := range d.opts.Accounts {
		if a.Name == p.User {
			p.Groups = a.Groups
			if a.Admin {
				p.role = "admin"
			}
			break
		}
	}
	if p.User == "root" {
		p.role = "root"
	}
	key := []byte(p.role)
	for _, n := range d.lines {
		got := n.tests.holds(&p.Client)
		key = append(key, ' ', '0'+byte(got))
		if got == yes {
			p.holding = append(p.holding, n.text)
		}
	}
	p.key = string(key)
	spec := p.spec()
	if !p.askable() || d.seen[spec] || !always && d.seen[p.key] {
		return
	}
	if len(d.found) >= maxContexts {
		d.cut = true
		return
	}
	d.seen[spec], d.seen[p.key] = true, true
	p.label = p.User + " from " + p.Addr
	if p.origin != "match" {
		p.label = p.User + " from " + p.origin
		if p.origin == "local" {
			p.label += " " + p.Addr
		}
	}
	if p.Host != p.Addr {
		p.label += " called " + p.Host
	}
	if p.LocalPort != d.port {
		p.label += " to port " + strconv.Itoa(p.LocalPort)
	}
	if p.origin == "match" && !slices.ContainsFunc(d.places(), func(q place) bool { return q.local == p.LocalAddr }) {
		p.label += " at " + p.LocalAddr
	}
	d.found = append(d.found, p)
}

// spent takes from what may be tried; true says that nothing is left of it.
func (d *deriver) spent(n int) bool {
	d.tried += n
	d.cut = d.cut || d.tried > maxTried
	return d.tried > maxTried
}

// cost is about how long it takes to hold a connection against tests: a list
// may have megabytes.
func (cs criteria) cost() int {
	sum := 0
	for _, t := range cs {
		sum += 1 + len(t.arg)/32
	}
	return sum
}

// satisfy adds clients for whom all Match lines of a scope hold, made of those
// of the base by changing what must be.
func (d *deriver) satisfy(chain []*line, users []string, places []place) {
	var tests criteria
	for _, n := range chain {
		tests = append(tests, n.tests...)
	}
	for _, u := range users {
		for _, p := range places {
			if d.spent(1) {
				return
			}
			c := d.client(u, p)
			c.GroupsKnown = d.opts.AccountsKnown
			if d.fit(&c, tests) {
				d.add(c, false)
			}
		}
	}
}

// fit changes c until tests hold; false where no candidate does.
func (d *deriver) fit(c *prospect, tests criteria) bool {
	ok := d.choose(c, tests, []string{"user", "group"}, func() []string { return d.userCandidates(tests) }, func(c *prospect, v string) {
		c.User, c.Groups = v, d.groups(v)
	})
	ok = ok && d.choose(c, tests, []string{"address"}, func() []string { return addresses(tests, "address") }, func(c *prospect, v string) {
		c.Addr, c.Host, c.origin = v, v, "match"
	})
	ok = ok && d.choose(c, tests, []string{"localaddress"}, func() []string { return addresses(tests, "localaddress") }, func(c *prospect, v string) {
		c.LocalAddr, c.origin = v, "match"
	})
	ok = ok && d.choose(c, tests, []string{"host"}, func() []string { return texts(tests, "host") }, func(c *prospect, v string) { c.Host = v })
	return ok && d.choose(c, tests, []string{"localport"}, func() []string { return texts(tests, "localport") }, func(c *prospect, v string) {
		if n, err := strconv.Atoi(v); err == nil {
			c.LocalPort = n
		}
	})
}

// choose sets one property to the first candidate for which its tests hold.
func (d *deriver) choose(c *prospect, tests criteria, kinds []string, candidates func() []string, set func(*prospect, string)) bool {
	mine := slices.Clone(tests)
	mine = slices.DeleteFunc(mine, func(t criterion) bool { return !slices.Contains(kinds, t.kind) })
	c.Groups = d.groups(c.User)
	if len(mine) == 0 || mine.holds(&c.Client) != no {
		return true
	}
	for _, v := range candidates() {
		if d.spent(mine.cost()) {
			return false
		}
		changed := *c
		set(&changed, v)
		if mine.holds(&changed.Client) != no && changed.askable() {
			*c = changed
			return true
		}
	}
	return false
}

func (d *deriver) groups(user string) []string {
	for _, a := range d.opts.Accounts {
		if a.Name == user {
			return a.Groups
		}
	}
	return nil
}

func (d *deriver) userCandidates(tests criteria) []string {
	out := texts(tests, "user")
	for _, a := range d.opts.Accounts {
		out = append(out, a.Name)
	}
	return out
}

// named returns the users and addresses that single Match lines name, for their
// combinations.
func (d *deriver) named(users []string, places []place) (more []string, from []place) {
	const enough = 64
	here := places[len(places)-1].local
	for _, n := range d.lines {
		for _, u := range texts(n.tests, "user") {
			if len(more) == enough {
				d.cut = true
				break
			}
			if !slices.Contains(users, u) && !slices.Contains(more, u) {
				more = append(more, u)
			}
		}
		for _, a := range addresses(n.tests, "address") {
			if len(from) == enough {
				d.cut = true
				break
			}
			if p := (place{"match", a, here}); !slices.Contains(from, p) {
				from = append(from, p)
			}
		}
	}
	return more, from
}
