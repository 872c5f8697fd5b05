// Package sudo reads what sudoers(5) lets whom run as whom. Its parser takes what
// sudo's own takes: aliases are expanded, and each line is told with its file.
// What a directory such as LDAP grants is not among it.
package sudo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
)

// Grant is one command that somebody may, or may not, run. A line that names three
// users and two commands is six of them. Of all grants that fit what a user asks
// for the last one counts.
type Grant struct {
	Who       string   `cel:"who"`        // user, %group, #uid, %#gid, +netgroup, %:group of a plugin, ALL
	Except    []string `cel:"except"`     // who of those is meant not to: what stands behind it with a !
	Hosts     []string `cel:"hosts"`      // where it holds: ALL, names, addresses, networks, +netgroups, with ! before what is left out
	RunAs     []string `cel:"run_as"`     // users, as Who; none means the one who asks
	RunGroups []string `cel:"run_groups"` // groups that sudo -g may name
	Command   string   `cel:"command"`    // ALL, a path with arguments, a folder with / at its end, sudoedit FILES, ^regex$, list
	Denied    bool     `cel:"denied"`     // the command stands there with a !
	Tags      []string `cel:"tags"`       // NOPASSWD, SETENV, NOEXEC …, sorted
	Options   []string `cel:"options"`    // CWD=…, CHROOT=…, ROLE=…, sorted
	Digests   []string `cel:"digests"`    // the command must have one of these, as sha256:…
	NoPasswd  bool     `cel:"no_passwd"`  // nobody is asked for a password, by the tag alone
	All       bool     `cel:"all"`        // any command as root, or as anybody
	At        string   `cel:"at"`         // file:line
	Over      string   `cel:"over"`       // digest of the grants before it that it overrules, "" if none
	Nth       int64    `cel:"nth"`        // 1, or which of the grants that say the same it is
}

// Key tells grants apart.
func (g Grant) Key() string {
	not := ""
	if g.Denied {
		not = "!"
	}
	k := fmt.Sprintf("%q %q %q %q", words(g.Who, g.Except), strings.Join(g.Hosts, ","), g.as(), not+g.Command)
	if g.Nth > 1 {
		k += fmt.Sprintf("#%d", g.Nth)
	}
	return k
}

// Compared spells what is compared of a grant. The order of the lines is not, but
// where one overrules another.
func (g Grant) Compared() string {
	return fmt.Sprintf("tags=%q options=%q digests=%q over=%q", strings.Join(g.Tags, ","), strings.Join(g.Options, ","), strings.Join(g.Digests, ","), g.Over)
}

func (g Grant) as() string {
	s := strings.Join(g.RunAs, ",")
	if len(g.RunGroups) > 0 {
		s += ":" + strings.Join(g.RunGroups, ",")
	}
	return s
}

func words(who string, except []string) string {
	for _, e := range except {
		who += ",!" + e
	}
	return who
}

// Setting is one assignment of a Defaults line.
type Setting struct {
	Scope string   `cel:"scope"` // all, user, host, run_as, command
	Of    []string `cel:"of"`    // whom it concerns, with ! before what is left out; none where Scope is all
	Name  string   `cel:"name"`  // as use_pty
	Op    string   `cel:"op"`    // =, +=, -=; "" of a flag
	Value string   `cel:"value"`
	Off   bool     `cel:"off"` // !name
	At    string   `cel:"at"`
	Nth   int64    `cel:"nth"` // which of the assignments of this name and scope it is
}

// Key tells settings apart.
func (s Setting) Key() string {
	return fmt.Sprintf("%s %q %q#%d", s.Scope, strings.Join(s.Of, ","), s.Name, s.Nth)
}

// Compared spells what is compared of a setting.
func (s Setting) Compared() string {
	return fmt.Sprintf("op=%q value=%q off=\"%t\"", s.Op, s.Value, s.Off)
}

// File is a file that sudo reads for its policy.
type File struct {
	Path    string `cel:"path"`
	UID     int64  `cel:"uid"`
	GID     int64  `cel:"gid"`
	Mode    string `cel:"mode"`    // four octal digits
	Refused string `cel:"refused"` // why sudo does not read it, "" if it does
}

// Odd is a line that is not understood, or that means less than it says.
type Odd struct {
	At    string `cel:"at"`
	Why   string `cel:"why"`
	Error bool   `cel:"error"` // sudo itself passes over it, or refuses the file for it
}

// Policy is all that sudoers says.
type Policy struct {
	Grants   facts.Answer[Grant]
	Settings facts.Answer[Setting]
	Files    facts.Answer[File]
	Odd      facts.Answer[Odd]
}

// Bounds.
const (
	maxFile  = 4 << 20 // bytes of one file
	maxFiles = 4096
	maxDepth = 128 // files that include one another, as sudo
	maxRows  = 50_000
	maxSteps = 200_000 // members of aliases that are looked at in all
	maxOdd   = 10_000

	maxSpelled = 64 << 20 // bytes of all grants as they are compared
)

// Collect reads the policy of a host.
func Collect(ctx context.Context, h facts.Host) Policy {
	r := &reader{ctx: ctx, host: h, aliases: map[aliasID]alias{}}
	main, ok := r.main()
	r.file(main, true)
	var p Policy
	p.Settings.Rows = r.settings()
	p.Grants.Rows = r.grants()
	p.Grants.Status, p.Grants.Via = rules.OK, string(main)
	if r.problem != nil {
		p.Grants.Fail(r.problem)
	}
	if !ok && r.problem == nil {
		p.Grants.Status, p.Grants.Reason = rules.Absent, "there is no "+string(main)
	}
	p.Files.Rows, p.Odd.Rows = r.files, r.odd
	if i := slices.IndexFunc(r.odd, func(o Odd) bool { return o.Error }); i >= 0 && p.Grants.Status == rules.OK {
		p.Grants.Status, p.Grants.Reason = rules.Failed, r.odd[i].At+": "+r.odd[i].Why
	}
	p.Settings.Status, p.Settings.Reason, p.Settings.Via = p.Grants.Status, p.Grants.Reason, p.Grants.Via
	p.Files.Status, p.Files.Reason, p.Files.Via = p.Grants.Status, p.Grants.Reason, p.Grants.Via
	// What is odd is all known even where a line is not understood.
	p.Odd.Status, p.Odd.Via = rules.OK, string(main)
	if r.problem != nil || !ok {
		p.Odd.Status, p.Odd.Reason = p.Grants.Status, p.Grants.Reason
	}
	return p
}
