package sshd

import (
	"slices"
	"strings"
)

// inPlace finds what sshd takes elsewhere, but not where it stands: what a Match
// block may not have, "any" beside other lists of methods, and lists of methods
// none of which is on.
func (l *loader) inPlace() {
	c := l.conf
	var methods *line
	c.walk(nil, func(n *line, force tri, scope []*line) {
		if force == no && (!n.opt.inMatch || n.opt.name == "subsystem" && c.version.before(9, 5)) {
			l.problem(n.at, "%q may not stand below %q", n.spelled, "Match "+scope[len(scope)-1].text)
		}
		if n.opt.name == "authenticationmethods" {
			if slices.Contains(n.args, "any") && (methods != nil || len(n.args) > 1) {
				l.problem(n.at, "%q must stand alone, and a list of methods stands above it", "any")
			}
			if force == yes && methods == nil {
				methods = n
			}
		}
	})
	if methods != nil && !slices.Contains(methods.args, "any") && !l.satisfiable(methods.args) {
		l.problem(methods.at, "each of these lists has a method that is off")
	}
}

// switches are the options that a method of AuthenticationMethods needs.
var switches = map[string]string{
	"publickey": "pubkeyauthentication", "password": "passwordauthentication", "keyboard-interactive": "kbdinteractiveauthentication",
	"hostbased": "hostbasedauthentication", "gssapi-with-mic": "gssapiauthentication",
}

// satisfiable reports whether one of the lists has only methods that are on
// above all Match lines, as sshd wants it at its start.
func (l *loader) satisfiable(lists []string) bool {
	global := readings{}
	l.conf.walk(nil, func(n *line, force tri, _ []*line) { global.take(n, force) })
	on := func(method string) bool {
		method, _, _ = strings.Cut(method, ":")
		name, known := switches[method]
		if !known {
			return true
		}
		v := l.conf.settle(l.keys[name], global[name], nil)
		return !slices.Equal(v.Lines, []string{"no"})
	}
	return slices.ContainsFunc(lists, func(list string) bool {
		return !slices.ContainsFunc(strings.Split(list, ","), func(m string) bool { return !on(m) })
	})
}

// oldTests are those of all releases.
var oldTests = []string{"all", "user", "group", "host", "address", "localaddress", "localport", "rdomain"}

// newTests says which tests of a Match line the release does not know.
func (l *loader) newTests(n *line) {
	if n.bad || !l.conf.version.before(9, 9) {
		return
	}
	for _, t := range n.tests {
		if t.equals || !slices.Contains(oldTests, t.kind) {
			n.bad = true
			l.problem(n.at, "%q is no test of Match in this release", t.kind)
		}
	}
}
