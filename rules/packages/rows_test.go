package packages

import (
	"testing"

	"intact/rules/pkgdb"
)

// A lower version does not hide behind another architecture, or behind a name that
// may be there in several versions.
func TestReplaced(t *testing.T) {
	dpkg := func(arch, version string) pkgdb.Package {
		return pkgdb.Package{Kind: "dpkg", Name: "a", Arch: arch, Version: version, Status: "installed"}
	}
	rpm := func(version string) pkgdb.Package {
		return pkgdb.Package{Kind: "rpm", Name: "a", Arch: "x86_64", Version: version, Status: "installed"}
	}
	left := dpkg("amd64", "2")
	left.Status = "config-files"
	other := dpkg("i386", "1")
	other.Name = "b"
	none := pkgdb.Package{}
	for name, tt := range map[string]struct {
		moves []Move
		want  string // version that the second one replaced, "" for none
	}{
		"lower, other architecture":    {[]Move{{dpkg("amd64", "2"), none}, {none, dpkg("i386", "1")}}, "2"},
		"its configuration is left":    {[]Move{{dpkg("amd64", "2"), left}, {none, dpkg("i386", "1")}}, "2"},
		"higher, other architecture":   {[]Move{{dpkg("amd64", "2"), none}, {none, dpkg("all", "3")}}, ""},
		"same version":                 {[]Move{{dpkg("amd64", "2"), none}, {none, dpkg("i386", "2")}}, ""},
		"another package":              {[]Move{{dpkg("amd64", "2"), none}, {none, other}}, ""},
		"the other stays":              {[]Move{{dpkg("amd64", "2"), dpkg("amd64", "3")}, {none, dpkg("i386", "1")}}, ""},
		"it was gone before":           {[]Move{{left, none}, {none, dpkg("i386", "1")}}, ""},
		"rpm in several versions":      {[]Move{{rpm("5-2"), none}, {none, rpm("5-1")}}, "5-2"},
		"rpm in several, newer":        {[]Move{{rpm("5-2"), none}, {none, rpm("5-3")}}, ""},
		"rpm, one lower and one above": {[]Move{{rpm("5-2"), none}, {none, rpm("5-1")}, {none, rpm("5-3")}}, ""},
	} {
		got := Replaced(tt.moves)
		if len(got) > 1 || got[1].Version != tt.want {
			t.Errorf("%s: %v", name, got)
		}
		if tt.want != "" {
			if f := Swapped("a:i386", got[1], tt.moves[1]); f.Rule != ruleDowngraded || len(f.Attack) != 1 || f.Change != "added" {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

// To hold a package back is told; what was held before is not.
func TestHeld(t *testing.T) {
	is := func(version, status string) pkgdb.Package {
		return pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: version, Status: status}
	}
	for name, tt := range map[string]struct {
		old, now pkgdb.Package
		want     string
	}{
		"held with an upgrade":  {is("1", "installed"), is("2", pkgdb.Held), "pkg.state"},
		"held":                  {is("1", "installed"), is("1", pkgdb.Held), "pkg.state"},
		"held, downgraded":      {is("2", "installed"), is("1", pkgdb.Held), "pkg.downgraded"},
		"upgraded all the same": {is("1", pkgdb.Held), is("2", pkgdb.Held), "pkg.upgraded"},
		"held no more":          {is("1", pkgdb.Held), is("1", "installed"), "pkg.changed"},
	} {
		if f := Moved("a:amd64", tt.old, tt.now); f.Rule != tt.want {
			t.Errorf("%s: %s, want %s", name, f.Rule, tt.want)
		}
	}
}
