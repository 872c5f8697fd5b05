// Package packages judges files by what packages say of them: which of those
// that matter most no package vouches for. It does no I/O.
package packages

import (
	"path"
	"strings"

	"intact/rules"
	"intact/scanner/entry"
)

// Name is the name of the set in reports.
const Name = "packages"

// Class is why a file matters here.
type Class string

// The classes, from what decides first.
const (
	Setuid     Class = "setuid"
	Capability Class = "capability"
	Unit       Class = "unit"
	Key        Class = "key"
	Executable Class = "executable"
	Library    Class = "library"
)

// kinds are the classes with what is said of them.
var kinds = [...]struct {
	class    Class
	severity rules.Severity // of one that no package owns
	what     string
	attack   string
}{
	{Setuid, rules.High, "runs with the rights of its owner or group", "T1548.001"},
	{Capability, rules.High, "runs with capabilities", "T1548"},
	{Unit, rules.Low, "decides what runs as a service", "T1543.002"},
	{Key, rules.Low, "lets somebody in, or is a key of this host", "T1098.004"},
	{Executable, rules.Medium, "stands where packages put programs", "T1554"},
	{Library, rules.Medium, "is loaded into programs", "T1574"},
}

// unitDirs hold units of systemd, in their merged form.
var unitDirs = [...]string{"/etc/systemd/", "/usr/lib/systemd/", "/usr/local/lib/systemd/"}

// programDirs are where packages, and nobody else, put programs and libraries.
var programDirs = [...]string{"/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/lib32/", "/usr/lib64/", "/usr/libx32/", "/usr/libexec/", "/usr/games/"}

// ClassOf returns why the file e at p matters, "" if it does not. The path is
// taken in its merged form: /usr/lib for /lib.
func ClassOf(p entry.Path, e *entry.Entry) Class {
	if e.Kind != entry.File {
		return ""
	}
	name := merged(string(p))
	base := path.Base(name)
	switch {
	case e.Have&entry.Mode != 0 && e.Mode&0o6000 != 0 && e.Mode&0o111 != 0:
		return Setuid
	case e.Have&entry.Caps != 0 && len(e.Caps) > 0:
		return Capability
	case under(name, unitDirs[:]) && unit(base):
		return Unit
	case strings.HasPrefix(base, "authorized_keys") && strings.HasSuffix(path.Dir(name), "/.ssh"),
		strings.HasPrefix(name, "/etc/ssh/ssh_host_") && strings.HasSuffix(base, "_key"):
		return Key
	case !under(name, programDirs[:]):
		return ""
	case strings.HasSuffix(base, ".so") || strings.Contains(base, ".so."):
		return Library
	case e.Have&entry.Mode != 0 && e.Mode&0o111 != 0:
		return Executable
	}
	return ""
}

// InUnits reports whether p lies where systemd looks for units, so that even a
// link there decides what runs.
func InUnits(p entry.Path) bool { return under(merged(string(p)), unitDirs[:]) }

func unit(base string) bool {
	switch path.Ext(base) {
	case ".service", ".socket", ".timer", ".path", ".mount", ".automount", ".target", ".conf":
		return true
	}
	return false
}

func under(name string, dirs []string) bool {
	for _, d := range dirs {
		if strings.HasPrefix(name, d) {
			return true
		}
	}
	return false
}

// merged returns name with the old directories of programs below /usr.
func merged(name string) string {
	for _, d := range [...]string{"/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"} {
		if strings.HasPrefix(name, d) {
			return "/usr" + name
		}
	}
	return name
}

// Unowned is the finding about a file that no package owns.
func Unowned(p entry.Path, c Class) rules.Finding {
	return finding(p, c, "pkg.unowned", "no package owns it")
}

func finding(p entry.Path, c Class, rule, why string) rules.Finding {
	f := rules.Finding{Set: Name, Rule: rule, Subject: rules.Subject{Kind: entry.File.String(), Path: string(p)}, Reasons: []string{why}}
	for _, k := range kinds {
		if k.class == c {
			f.Severity, f.RawSeverity = k.severity, k.severity
			f.Reasons = append(f.Reasons, k.what)
			f.Attack = []string{k.attack}
		}
	}
	return f
}
