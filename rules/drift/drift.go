// Package drift judges what is another on a host than when its baseline was
// made: users, keys, listeners, units and the like. It says nothing of whether
// that is good: a rule may pass before and after. It does no I/O.
//
// A row is a kind, a key that tells one thing from all others of its kind, and a
// value: what is compared, as name="value" words.
package drift

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"intact/rules"
)

// Name of the rule set.
const Name = "drift"

// The kinds of rows that are judged by more than the table.
const (
	listener = "listener"
	user     = "user"
	group    = "group"
	member   = "member"
	unit     = "unit"
	sshd     = "sshd"
	cron     = "cron"
	anchor   = "anchor"
	boot     = "boot"
	module   = "module"
	pam      = "pam"
	preload  = "preload"
	sudoSet  = "sudo-setting"
	sysctl   = "sysctl"
)

// Move is a row before and now; nil is a row that is not there.
type Move struct {
	Kind, Key string
	Old, New  []byte

	Unowned bool // of a unit: no package has its file, or a drop-in that came or went
}

// kind is what is said of rows of a kind.
type kind struct {
	severity rules.Severity // of a new or changed one
	attack   string
	added    string
	removed  string
	changed  string
}

// kinds is never changed. ATT&CK ids are of version 19.
var kinds = map[string]kind{
	listener:      {rules.High, "T1205", "strangers can send to a socket that was not there", "nothing listens there any more", "another program, user or unit is behind it"},
	user:          {rules.High, "T1136.001", "a user that was not there", "the user is gone", "the user is another"},
	group:         {rules.Medium, "T1136.001", "a group that was not there", "the group is gone", "the group is another"},
	member:        {rules.Medium, "T1098", "the user was not in this group", "the user is not in this group any more", "the membership is another"},
	"key":         {rules.High, "T1098.004", "sshd lets in whoever has this key", "sshd does not let in this key any more", "the key may do other things"},
	unit:          {rules.Medium, "T1543.002", "systemd has a unit that was not there", "the unit is gone", "systemd starts it otherwise"},
	cron:          {rules.High, "T1053.003", "a job that was not there", "the job is gone", "the job runs at other times, or with other settings"},
	"repository":  {rules.High, "T1195.002", "packages may come from another place", "packages do not come from there any more", "what is believed of this place is another"},
	"signing-key": {rules.High, "T1195.002", "packages are believed that this key signed", "packages that this key signed are not believed any more", "the key lies elsewhere"},
	anchor:        {rules.High, "T1553.004", "programs believe whom this authority vouches for", "programs do not believe this authority any more", "the authority is trusted otherwise"},
	boot:          {rules.Medium, "T1685", "the kernel was started with something that it was not", "the kernel was started without something that it was", "the kernel was started otherwise"},
	"firewall":    {rules.High, "T1686", "the packet filter has a chain that it had not", "the packet filter has lost a chain", "the packet filter does something else"},
	module:        {rules.High, "T1547.006", "the kernel has a module of no package, or is tainted by it", "the kernel does not have this module any more", "the module is another"},
	pam:           {rules.Critical, "T1556.003", "PAM asks a module that it did not", "PAM does not ask this module any more", "PAM asks the module otherwise"},
	preload:       {rules.Critical, "T1574.006", "programs load something that they did not", "programs do not load this any more", "programs load something else"},
	"sudo":        {rules.High, "T1548.003", "sudo lets somebody run what it did not", "sudo does not let anybody run this any more", "sudo lets somebody run this otherwise"},
	sudoSet:       {rules.Medium, "T1548.003", "sudo has a setting that it had not", "sudo has lost a setting", "sudo has another setting"},
	sysctl:        {rules.Medium, "T1685", "the kernel has a setting that it had not", "the kernel has lost a setting", "the kernel has another setting"},
	sshd:          {rules.Medium, "T1556", "sshd has a setting that it had not", "sshd has lost a setting", "sshd has another setting"},
}

// gates are the settings of sshd that decide who comes in.
var gates = []string{"allowgroups", "allowusers", "authenticationmethods", "authorizedkeyscommand", "authorizedkeyscommanduser", "authorizedkeysfile", "authorizedprincipalscommand",
	"authorizedprincipalsfile", "chrootdirectory", "denygroups", "denyusers", "forcecommand", "gssapiauthentication", "hostbasedauthentication", "ignorerhosts", "kbdinteractiveauthentication",
	"passwordauthentication", "permitemptypasswords", "permitrootlogin", "permituserenvironment", "pubkeyauthentication", "strictmodes", "trustedusercakeys", "usepam"}

// powerful are groups whose members may become root, or read what root alone
// should: sudo and wheel by sudo(8), docker and lxd by their sockets, shadow, disk
// and adm by what they can read.
var powerful = []string{"root", "sudo", "wheel", "admin", "docker", "shadow", "disk", "adm", "lxd"}

// sudoGates are the settings of sudoers(5), quoted, that decide whether somebody
// is asked for a password, and what he can hand to a command.
var sudoGates = []string{`"authenticate"`, `"env_check"`, `"env_delete"`, `"env_keep"`, `"env_reset"`, `"exempt_group"`, `"rootpw"`, `"runaspw"`, `"secure_path"`, `"setenv"`, `"targetpw"`,
	`"timestamp_timeout"`, `"timestamp_type"`, `"verifypw"`}

// gate reports whether the key of a setting of sshd is of one that decides who
// comes in.
func gate(key string) bool {
	name, _, _ := strings.Cut(key, " ")
	return slices.Contains(gates, strings.ToLower(name))
}

// ofInterface reports whether a setting of the kernel is that of one interface of
// the network.
func ofInterface(key string) bool {
	name, ok := firstQuoted(key)
	f := strings.Split(name, ".")
	return ok && len(f) > 4 && f[0] == "net" && (f[2] == "conf" || f[2] == "neigh") && f[3] != "all" && f[3] != "default"
}

// unset reports whether nobody configured a setting of the kernel that is there
// before or now.
func unset(m Move) bool {
	v := m.Old
	if v == nil {
		v = m.New
	}
	_, is, _ := attributes(v) // was parsed before
	return is["configured"] == "unset"
}

// Lost makes the finding about what of a kind could be compared before and cannot
// be now. It is as grave as a change that nobody would see, and no less than medium.
func Lost(kind, what string) rules.Finding {
	k := kinds[kind]
	s := max(rules.Medium, min(rules.High, k.severity))
	return rules.Finding{Set: Name, Rule: "coverage.lost", Severity: s, RawSeverity: s, Subject: rules.Subject{Kind: kind, Name: what + " of " + kind}, Attack: []string{"T1685"}}
}

// Judge makes the finding about a row that is another. Its subject has the kind
// and the key of the row. Values that differ in what is unknown alone give no
// finding: ok is false.
func Judge(m Move) (f rules.Finding, ok bool, err error) {
	k, is := kinds[m.Kind]
	if !is {
		return f, false, fmt.Errorf("%w: no fact of kind %q is compared", ErrValue, m.Kind)
	}
	f = rules.Finding{Set: Name, Rule: Name + "." + m.Kind, Change: "changed", Subject: rules.Subject{Kind: m.Kind, Name: m.Key}, Attack: []string{k.attack}}
	if f.Attributes, err = values(m); err != nil {
		return f, false, err
	}
	f.Reasons = []string{k.changed}
	s := k.severity
	switch {
	case m.Old == nil && m.New == nil:
		return f, false, nil
	case m.Kind == sysctl && (m.Old == nil || m.New == nil) && (ofInterface(m.Key) || unset(m)):
		return f, false, nil // interfaces come and go, another kernel has other settings and an image none that run
	case m.Kind == sshd && (m.Old == nil || m.New == nil) && strings.HasSuffix(m.Key, " *") && !gate(m.Key):
		return f, false, nil // each option has a value: another program knows others, and for an image ours answers in its place
	case m.Old == nil:
		f.Change, f.Reasons = "added", []string{k.added}
	case m.New == nil:
		f.Change, f.Reasons = "removed", []string{k.removed}
	case len(f.Attributes) == 0:
		return f, false, nil
	case m.Kind == user:
		f.Attack = []string{"T1098"}
	}
	s, why := grave(m, s)
	if why != "" {
		f.Reasons = append(f.Reasons, why)
	}
	if m.New == nil && s > rules.Info {
		s--
	}
	f.Severity, f.RawSeverity = s, s
	return f, true, nil
}

// values are the attributes of a finding: those that differ, or all of a row
// that came or went.
func values(m Move) ([]rules.Value, error) {
	list, err := Differ(m.Old, m.New)
	if err != nil || m.Old != nil && m.New != nil {
		return list, err
	}
	return slices.DeleteFunc(list, func(v rules.Value) bool { return v.Name == "present" }), nil
}

// grave is the severity of a new or changed row, and why it is another than the
// table has.
func grave(m Move, s rules.Severity) (rules.Severity, string) {
	now := m.New
	if now == nil {
		now = m.Old
	}
	_, is, _ := attributes(now) // was parsed before
	switch m.Kind {
	case user:
		if is["uid"] == "0" {
			return rules.Critical, "its number is 0: it is root"
		}
	case group:
		if is["gid"] == "0" {
			return rules.High, "its number is 0: it is root's"
		}
	case member:
		if name, _ := firstQuoted(m.Key); slices.Contains(powerful, name) {
			return rules.High, "members of this group may become root, or read what root alone should"
		}
	case unit:
		if m.Unowned {
			return rules.High, "of no package is its file, or a drop-in that came or went"
		}
	case listener:
		// KEY is NETNS PROTO/PORT SCOPE exe="…"
		if f := strings.Fields(m.Key); len(f) > 3 && f[2] == "loopback" {
			return rules.Medium, "on the host's own addresses only"
		}
	case boot:
		if f := strings.Fields(m.Key); len(f) > 1 && f[0] == "cmdline" && (f[1] == `"init"` || f[1] == `"rdinit"`) {
			return rules.Critical, "it is what the kernel starts first"
		}
	case module:
		if is["hidden"] == "true" {
			return rules.Critical, "it hides from the list of modules"
		}
	case preload:
		if strings.HasPrefix(m.Key, "folder ") && is["exposed"] == "" {
			return rules.High, "a folder of libraries that root alone may write"
		}
	case sudoSet:
		// KEY is SCOPE "who" "name"#N, of a very long one the beginning: it may be any.
		if name, _, _ := strings.Cut(m.Key[strings.LastIndex(m.Key, " ")+1:], "#"); len(m.Key) > maxKey/2 || slices.Contains(sudoGates, name) {
			return rules.High, "it decides whether a password is asked, or what the command may be made to load"
		}
	case sshd:
		if gate(m.Key) {
			return rules.High, "it decides who is let in"
		}
	}
	return s, ""
}

// firstQuoted reads the quoted text that a key begins with.
func firstQuoted(key string) (string, bool) {
	q, err := strconv.QuotedPrefix(key)
	if err != nil {
		return "", false
	}
	s, err := strconv.Unquote(q)
	return s, err == nil
}
