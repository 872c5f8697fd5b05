package integrity

import (
	"fmt"
	"path"
	"strings"

	"intact/rules"
	"intact/scanner/entry"
)

const (
	setuid = 0o4000
	setgid = 0o2000
	sticky = 0o1000
)

// metadata judges what decides who may use an object.
func (j *judge) metadata(path string, old, now *entry.Entry, attrs entry.Attr, set entry.Set) {
	if attrs&entry.Mode != 0 {
		j.mode(path, old, now, set)
	}
	if attrs&(entry.UID|entry.GID) != 0 {
		j.owner(path, now, attrs)
	}
	if attrs&entry.ACL != 0 {
		j.acl(path, old, now)
	}
	if attrs&entry.Caps != 0 {
		if now.Caps != nil {
			j.say(ruleCapability, rules.High, "carries "+entry.TextCaps(now.Caps))
		} else {
			j.say(ruleMetadata, rules.Medium, "carries no capabilities any more")
		}
	}
	if attrs&entry.XattrAttr != 0 {
		j.say(ruleMetadata, rules.Medium, "other extended attributes", "T1564")
	}
	if attrs&entry.SELinux != 0 {
		j.say(ruleMetadata, rules.Medium, "other SELinux label")
	}
	if attrs&entry.Flags != 0 {
		j.flags(old, now)
	}
}

func (j *judge) mode(path string, old, now *entry.Entry, set entry.Set) {
	n := len(j.list)
	gained, lost := now.Mode&^old.Mode, old.Mode&^now.Mode
	if now.Kind == entry.File && gained&(setuid|setgid) != 0 {
		j.say(ruleSetuid, rules.High, "gains: "+runsAs(now))
	}
	if now.Kind == entry.File && lost&(setuid|setgid) != 0 {
		j.say(ruleMetadata, rules.Medium, "no longer setuid or setgid")
	}
	if writable(now) && (gained&0o002 != 0 || lost&sticky != 0) {
		j.writable(path, now, "anybody may write now")
	}
	if now.Kind == entry.File && now.Mode&0o111 != 0 && old.Mode&0o111 == 0 {
		switch {
		case inPath(path):
			j.say(ruleExecutable, rules.High, "is executable now, and stands among the commands")
		case set.Sweep:
			j.say(ruleExecutable, rules.Info, "is executable now")
		default:
			j.say(ruleExecutable, rules.Medium, "is executable now")
		}
	}
	if gained&0o044 != 0 && secret(path) {
		j.say(ruleMetadata, rules.High, "more can read what should be secret", "T1003.008")
	}
	switch {
	case set.Sweep && len(j.list) == n:
		j.say(ruleMetadata, rules.Info, "other mode, seen by a sweep")
	case gained&0o020 != 0:
		j.say(ruleMetadata, rules.Medium, "its group may write now")
	case len(j.list) == n:
		j.say(ruleMetadata, rules.Medium, "other mode")
	}
}

func (j *judge) owner(path string, now *entry.Entry, attrs entry.Attr) {
	if m := special(now); m&setuid != 0 && attrs&entry.UID != 0 || m&setgid != 0 && attrs&entry.GID != 0 {
		j.say(ruleSetuid, rules.High, "other owner: "+runsAs(now))
	}
	if attrs&entry.UID != 0 && now.UID != 0 && (j.system(path) || placeOf(path) != nil) && now.Kind != entry.Symlink {
		j.say(ruleMetadata, rules.High, fmt.Sprintf("user %d can change it now, in a system path", now.UID))
		return
	}
	j.say(ruleMetadata, rules.Medium, "other owner or group")
}

// acl tells rights to write from other changes of an ACL.
func (j *judge) acl(path string, old, now *entry.Entry) {
	was := map[string]bool{}
	for _, line := range grants(old) {
		was[line] = true
	}
	for _, line := range grants(now) {
		if was[line] {
			continue
		}
		s := rules.Medium
		if j.system(path) || placeOf(path) != nil {
			s = rules.High
		}
		j.say(ruleMetadata, s, "the ACL lets "+line+" write")
		return
	}
	if secret(path) {
		j.say(ruleMetadata, rules.High, "other ACL on a file of secrets")
		return
	}
	j.say(ruleMetadata, rules.Medium, "other ACL")
}

// grants returns whom an ACL, decoded, names and lets write: "user:5", in a
// default ACL "default:user:5".
func grants(e *entry.Entry) (who []string) {
	text, _ := entry.Text(entry.ACL, e)
	for line := range strings.SplitSeq(text, ",") {
		i := strings.LastIndexByte(line, ':')
		if i > 0 && strings.Contains(line[i:], "w") && line[i-1] != ':' {
			who = append(who, line[:i])
		}
	}
	return who
}

func (j *judge) flags(old, now *entry.Entry) {
	const immutable, appendOnly = 0x10, 0x20
	gained, lost := now.Flags&^old.Flags, old.Flags&^now.Flags
	switch {
	case lost&(immutable|appendOnly) != 0:
		j.say(ruleMetadata, rules.Medium, "no longer protected by immutable or append-only flags")
	case gained&immutable != 0:
		j.say(ruleMetadata, rules.Medium, "immutable now: nothing can repair it before that is taken off")
	default:
		j.say(ruleMetadata, rules.Medium, "other inode flags")
	}
}

// special returns the setuid and setgid bits of a file.
func special(e *entry.Entry) uint16 {
	if e.Kind != entry.File || e.Have&entry.Mode == 0 {
		return 0
	}
	return e.Mode & (setuid | setgid)
}

// runsAs says whose rights a setuid or setgid file gives.
func runsAs(e *entry.Entry) string {
	var s []string
	if e.Mode&setuid != 0 {
		s = append(s, "runs with the rights of "+id("user", e.UID, e.Have&entry.UID))
	}
	if e.Mode&setgid != 0 {
		s = append(s, "runs with the rights of "+id("group", e.GID, e.Have&entry.GID))
	}
	return strings.Join(s, " and ")
}

func id(what string, n uint32, known entry.Attr) string {
	switch {
	case known == 0:
		return "an unknown " + what
	case n == 0:
		return what + " 0 (root)"
	}
	return fmt.Sprintf("%s %d", what, n)
}

func executable(e *entry.Entry) bool {
	return e.Kind == entry.File && e.Have&entry.Mode != 0 && e.Mode&0o111 != 0
}

// writable reports whether everybody may write. Links have no mode of their
// own, sockets are made for that.
func writable(e *entry.Entry) bool {
	return e.Kind != entry.Symlink && e.Kind != entry.Socket && e.Have&entry.Mode != 0 && e.Mode&0o002 != 0
}

// library reports whether a name is that of a shared library.
func library(p string) bool {
	base := path.Base(p)
	return strings.HasSuffix(base, ".so") || strings.Contains(base, ".so.")
}

// commands are the directories whose programs run by their name alone.
var commands = [...]string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

// inPath reports whether p stands in a directory of commands.
func inPath(p string) bool {
	dir := string(entry.Path(merged(p)).Dir())
	for _, c := range commands {
		if dir == c {
			return true
		}
	}
	return false
}

// systemDirs hold what the system runs and reads.
var systemDirs = [...]string{"/usr", "/etc", "/opt", "/boot", "/efi", "/var/lib/dpkg", "/var/lib/rpm"}

// system reports whether p is or lies in a system directory.
func (j *judge) system(p string) bool {
	p = merged(p)
	for _, d := range systemDirs {
		if within(p, d) {
			return true
		}
	}
	for _, d := range j.o.SystemDirs {
		if within(p, d) {
			return true
		}
	}
	return false
}

// secret reports whether nobody but the owner should read p.
func secret(p string) bool {
	base := path.Base(p)
	return strings.Contains(base, "shadow") || strings.Contains(p, "/.ssh/") || within(p, "/etc/sudoers.d") || p == "/etc/sudoers" ||
		within(p, "/etc/ssh") && strings.HasSuffix(base, "_key")
}
