package pkgdb_test

import (
	"strings"
	"testing"
	"time"

	"intact/rules/pkgdb"
)

// history.sqlite is of dnf 4.14, which installed alpha 1 and beta 1, brought alpha
// to version 2 and removed beta. It was made smaller since.
func TestRecorded(t *testing.T) {
	r := image(t, "/var/lib/dnf", "history.sqlite", data(t, "history.sqlite"))
	of := func(name, arch, version string) pkgdb.Package {
		return pkgdb.Package{Kind: "rpm", Name: name, Arch: arch, Version: version}
	}
	old, alpha, beta := of("alpha", "noarch", "1-1"), of("alpha", "noarch", "2-1"), of("beta", "noarch", "1-1")
	others := []pkgdb.Package{of("beta", "noarch", "2-1"), of("beta", "x86_64", "1-1"), of("gamma", "noarch", "1-1"), {Kind: "dpkg", Name: "beta", Arch: "noarch", Version: "1-1"}}
	came, went, err := pkgdb.Recorded(ctx, r, append(others, old, alpha, beta))
	if err != nil || len(came) != 2 || len(went) != 1 {
		t.Fatalf("%v, %v, %v", came, went, err)
	}
	at := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	for p, want := range map[pkgdb.Package]string{old: "transaction 1 of dnf", alpha: "transaction 2 of dnf"} {
		if x := came[p]; x.By != want || x.When.Truncate(24*time.Hour) != at {
			t.Errorf("%+v came by %+v", p, x)
		}
	}
	if x := went[beta]; x.By != "transaction 3 of dnf" || x.When.Truncate(24*time.Hour) != at {
		t.Errorf("beta went by %+v", x)
	}
	r = image(t, "/var/lib/rpm", "rpmdb.sqlite", data(t, "small.sqlite"))
	if came, went, err := pkgdb.Recorded(ctx, r, []pkgdb.Package{beta}); err != nil || len(came)+len(went) > 0 {
		t.Errorf("no history: %v, %v, %v", came, went, err)
	}
	for name, db := range map[string][]byte{"another database": data(t, "small.sqlite"), "cut": data(t, "history.sqlite")[:9000], "empty": nil} {
		r := image(t, "/var/lib/dnf", "history.sqlite", db)
		if came, went, err := pkgdb.Recorded(ctx, r, []pkgdb.Package{beta}); err == nil || !strings.Contains(err.Error(), "history of dnf") || len(came)+len(went) > 0 {
			t.Errorf("%s: %v, %v, %v", name, came, went, err)
		}
	}
}
