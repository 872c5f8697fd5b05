package app

import (
	"testing"

	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/updates"
	"intact/scanner/entry"
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

// Only links of the baseline, or of a merged /usr, carry what packages hold.
func TestVouchedLink(t *testing.T) {
	link := func(target string) *entry.Entry {
		return &entry.Entry{Kind: entry.Symlink, Have: entry.Target, Target: []byte(target)}
	}
	for name, tt := range map[string]struct {
		from, to entry.Path
		was      *entry.Entry
		want     bool
	}{
		"merged, not watched":   {"/bin", "/usr/bin", nil, true},
		"merged, watched":       {"/bin", "/usr/bin", link("usr/bin"), true},
		"absolute":              {"/usr/sbin", "/usr/bin", link("/usr/bin"), true},
		"made since":            {"/usr/games", "/etc/cron.d", nil, false},
		"turned since":          {"/usr/games", "/etc/cron.d", link("bin"), false},
		"was a folder":          {"/usr/games", "/etc/cron.d", &entry.Entry{Kind: entry.Dir}, false},
		"merged, was a folder":  {"/bin", "/usr/bin", &entry.Entry{Kind: entry.Dir}, false},
		"merged, led elsewhere": {"/bin", "/usr/bin", link("/opt"), false},
		"target not recorded":   {"/bin", "/usr/bin", &entry.Entry{Kind: entry.Symlink}, false},
	} {
		if got := vouchedLink(tt.from, tt.to, tt.was, tt.was != nil); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
