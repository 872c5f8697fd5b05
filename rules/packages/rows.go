package packages

import (
	"cmp"
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
	stateRemoved   = pkgdb.ConfigFiles
)

const ruleDowngraded = "pkg.downgraded"

var downgradeAttack = []string{"T1689"}

// Moved is the finding about a package that is another than before. Old is zero
// where there was none, and now where there is none; name is how the baseline
// calls it.
func Moved(name string, old, now pkgdb.Package) rules.Finding {
	f := rules.Finding{Set: Name, Change: "changed", Subject: rules.Subject{Kind: "package", Name: name}}
	had, has := There(old), There(now)
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
		say(ruleDowngraded, rules.High, "an older version brings back what newer ones mended")
		f.Attack = downgradeAttack
	case has && now.Status == pkgdb.Held && old.Status != pkgdb.Held:
		say("pkg.state", rules.Medium, "is held: upgrades pass it over from now on")
	case has && now.Status != stateInstalled && now.Status != pkgdb.Held:
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

// Move is a package before and now; what there is none of is zero.
type Move struct{ Old, New pkgdb.Package }

// Replaced returns, for each package that came, the version that went under the
// same name in the same transaction, where that is the higher one: of another
// architecture, or of a name that may be installed in several versions. To look at
// each by itself would see one that is removed and one that is new.
func Replaced(moves []Move) map[int]pkgdb.Package {
	type name struct{ kind, name string }
	gone, came := map[name]pkgdb.Package{}, map[name]int{}
	for i, m := range moves {
		k := name{cmp.Or(m.Old.Kind, m.New.Kind), cmp.Or(m.Old.Name, m.New.Name)}
		switch had, has := There(m.Old), There(m.New); {
		case had && !has:
			if p, ok := gone[k]; !ok || Compare(p, m.Old) < 0 {
				gone[k] = m.Old
			}
		case has && !had:
			if at, ok := came[k]; !ok || Compare(moves[at].New, m.New) < 0 {
				came[k] = i // the highest that came
			}
		}
	}
	out := map[int]pkgdb.Package{}
	for k, i := range came {
		if p, ok := gone[k]; ok && Compare(moves[i].New, p) < 0 {
			out[i] = p
		}
	}
	return out
}

// Swapped is the finding about a package that took the place of a higher version:
// went is what Replaced says.
func Swapped(name string, went pkgdb.Package, m Move) rules.Finding {
	f := Moved(name, m.Old, m.New)
	f.Rule, f.Severity, f.RawSeverity, f.Attack = ruleDowngraded, rules.High, rules.High, downgradeAttack
	f.Reasons = []string{fmt.Sprintf("version %s of %s went in the same transaction: an older version brings back what newer ones mended", went.Version, went.Arch)}
	return f
}

// There reports whether files of the package are, or may be, on the host.
func There(p pkgdb.Package) bool { return p.Name != "" && p.Status != stateRemoved }

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

// Forged is the finding about what was recorded of a package and was made up: name
// and version say which.
func Forged(name, version, why string) rules.Finding {
	return rules.Finding{Set: Name, Rule: "pkg.forged", Severity: rules.Critical, RawSeverity: rules.Critical, Subject: rules.Subject{Kind: "package", Name: name}, Attack: []string{"T1565.001"},
		Reasons: []string{"version " + version + ": " + why + "; what is recorded of it does not count"}}
}

// Unreadable is the finding about a database that was read for the baseline and
// cannot be read now: of no package it can be said whether it changed.
func Unreadable(packages int, why error) rules.Finding {
	return rules.Finding{Set: Name, Rule: "pkg.unreadable", Severity: rules.High, RawSeverity: rules.High, Subject: rules.Subject{Kind: "package", Name: "database"}, Attack: []string{"T1685"},
		Reasons: []string{fmt.Sprintf("the baseline knows %d packages, and what is installed now cannot be told: %v", packages, why)}}
}
