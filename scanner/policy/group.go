package policy

import (
	"slices"

	"intact/scanner/entry"
)

// group is a named attribute set.
type group struct {
	name string
	set  entry.Set
}

// groups returns the attribute groups. Except in all, inode and device are
// recorded but not compared, and neither are the times, size and link count
// of directories: they follow from what was added or removed there.
func groups() []group {
	const (
		common = entry.All &^ (entry.Inode | entry.Device)
		dirs   = common &^ (entry.Mtime | entry.Ctime | entry.Size | entry.Nlink)
		logs   = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Content | entry.XattrAttr |
			entry.ACL | entry.Caps | entry.SELinux | entry.Flags
		sweep = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Caps
	)
	return []group{
		{"all", entry.Set{Mask: entry.All, DirMask: entry.All}},
		{"binary", entry.Set{Mask: common, DirMask: dirs}},
		{"config", entry.Set{Mask: common, DirMask: dirs}},
		{"log", entry.Set{Mask: logs, DirMask: logs, Log: true}},
		{"metadata", entry.Set{Mask: common &^ entry.Content, DirMask: dirs &^ entry.Content}},
		{"presence", entry.Set{Mask: entry.Type, DirMask: entry.Type}},
		{"sweep", entry.Set{Mask: sweep, DirMask: sweep, Sweep: true}},
	}
}

// Groups returns the names of the attribute groups.
func Groups() []string {
	var names []string
	for _, g := range groups() {
		names = append(names, g.name)
	}
	return names
}

// GroupSet returns the attributes that a group stands for.
func GroupSet(name string) (entry.Set, bool) { return groupSet(name) }

func groupSet(name string) (entry.Set, bool) {
	for _, g := range groups() {
		if g.name == name {
			return g.set, true
		}
	}
	return entry.Set{}, false
}

// groupOf returns the first group with this set, or "".
func groupOf(s entry.Set) string {
	for _, g := range groups() {
		if g.set == s {
			return g.name
		}
	}
	return ""
}

// describe names a set for people.
func describe(s entry.Set) string {
	if g := groupOf(s); g != "" {
		return g
	}
	return s.Mask.String()
}

// less reports whether b compares less than a of some object.
func less(a, b entry.Set) bool {
	return a.Mask&^b.Mask != 0 || a.DirMask&^b.DirMask != 0 || b.Log && !a.Log || b.Sweep && !a.Sweep
}

// severities are the words of a rule's severity, in order.
func severities() []string { return []string{"info", "low", "medium", "high", "critical"} }

// rank orders severities; none is below info.
func rank(severity string) int { return slices.Index(severities(), severity) }
