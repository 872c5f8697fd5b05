package packages

import (
	"fmt"
	"strings"

	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/rpm"
)

// The states of a package that are none in between.
const (
	stateInstalled = "installed"
	stateRemoved   = "config-files" // only what the administrator may edit is left
)

// Moved is the finding about a package that is another than before. Old is zero
// where there was none, and now where there is none; name is how the baseline
// calls it.
func Moved(name string, old, now pkgdb.Package) rules.Finding {
	f := rules.Finding{Set: Name, Change: "changed", Subject: rules.Subject{Kind: "package", Name: name}}
	had, has := there(old), there(now)
	order := 0
	if had && has {
		order = Compare(old, now)
	}
	say := func(rule string, s rules.Severity, why string) {
		f.Rule, f.Severity, f.RawSeverity, f.Reasons = rule, s, s, []string{why}
	}
	switch {
	case had && !has:
		f.Change = "removed"
		say("pkg.removed", rules.Low, "was installed in version "+old.Version)
	case order > 0:
		say("pkg.downgraded", rules.High, "an older version brings back what newer ones mended")
		f.Attack = []string{"T1562.010"}
	case has && now.Status != stateInstalled:
		say("pkg.state", rules.Medium, "is not fully installed: "+now.Status)
		if strings.HasPrefix(now.Status, "triggers-") {
			f.Severity, f.RawSeverity = rules.Low, rules.Low
		}
	case !had && has:
		f.Change = "added"
		say("pkg.installed", rules.Low, "is installed in version "+now.Version)
	case order < 0:
		say("pkg.upgraded", rules.Low, "is in a newer version")
	case !had:
		say("pkg.removed", rules.Low, "its configuration was left, and is forgotten or another")
	case old.List != now.List:
		say("pkg.changed", rules.Medium, "the same version lists other files")
	default:
		say("pkg.changed", rules.Low, "the same version is described otherwise, as after an installation anew")
	}
	f.Attributes = values(old, now)
	return f
}

// there reports whether files of the package are, or may be, on the host.
func there(p pkgdb.Package) bool { return p.Name != "" && p.Status != stateRemoved }

// Compare orders two packages of one kind by version: negative if a is the older
// one.
func Compare(a, b pkgdb.Package) int {
	if a.Kind == "rpm" {
		return rpm.ParseEVR(a.Version).Compare(rpm.ParseEVR(b.Version))
	}
	return deb.Compare(a.Version, b.Version)
}

// values tell in what the packages differ.
func values(old, now pkgdb.Package) (list []rules.Value) {
	for i, v := range [...][3]string{
		{"version", old.Version, now.Version}, {"status", old.Status, now.Status},
		{"stanza", old.Stanza.Named(), now.Stanza.Named()}, {"list", old.List.Named(), now.List.Named()},
	} {
		if v[1] == v[2] || i > 1 && old.Version != now.Version {
			continue // another version has another description
		}
		x := rules.Value{Name: v[0], OldKnown: old.Name != "", NewKnown: now.Name != ""}
		if x.OldKnown {
			x.Old = v[1]
		}
		if x.NewKnown {
			x.New = v[2]
		}
		list = append(list, x)
	}
	return list
}

// Unreadable is the finding about a database that was read for the baseline and
// cannot be read now: of no package it can be said whether it changed.
func Unreadable(packages int, why error) rules.Finding {
	return rules.Finding{Set: Name, Rule: "pkg.unreadable", Severity: rules.High, RawSeverity: rules.High, Subject: rules.Subject{Kind: "package", Name: "database"}, Attack: []string{"T1562.001"},
		Reasons: []string{fmt.Sprintf("the baseline knows %d packages, and what is installed now cannot be told: %v", packages, why)}}
}
