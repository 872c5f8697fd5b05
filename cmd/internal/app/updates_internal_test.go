package app

import (
	"testing"

	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/updates"
)

// Only what was there in a version that is not higher is ever vouched for.
func TestLowered(t *testing.T) {
	is := func(version, status string) pkgdb.Package {
		return pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: version, Status: status}
	}
	for name, tt := range map[string]struct {
		old  pkgdb.Package
		want string
	}{
		"upgrade":             {is("1", "installed"), rules.Signed},
		"the same":            {is("2", "installed"), rules.Signed},
		"downgrade":           {is("3", "installed"), rules.Attributed},
		"new":                 {pkgdb.Package{}, rules.Attributed},
		"removed, not purged": {is("1", "config-files"), rules.Attributed},
	} {
		if got := lowered(&updates.Update{Old: tt.old, New: is("2", "installed")}, rules.Signed); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
