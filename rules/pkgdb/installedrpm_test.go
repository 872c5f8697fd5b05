package pkgdb_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"intact/rules/pkgdb"
	"intact/scanner/digest"
)

var ctx = context.Background()

func all(pkgdb.Package) bool { return true }

// Who vouches for a package, and the whole database, goes down with a reason.
func TestRPMs(t *testing.T) {
	for _, tt := range []struct {
		name, file, db string
		trust          pkgdb.Trust
		level          pkgdb.Level
		why            string
		state          bool
	}{
		{"signed", "rpmdb.sqlite", "wal", keys(t, "rsa.asc"), pkgdb.Signed, "", true},
		{"no-keys", "rpmdb.sqlite", "wal", pkgdb.Trust{}, pkgdb.Local, "no key is pinned", false},
		{"other-key", "rpmdb.sqlite", "wal", keys(t, "brief.asc"), pkgdb.Local, "not pinned", false},
		{"unsigned", "rpmdb.sqlite", "unsigned", keys(t, "rsa.asc"), pkgdb.Local, "no signature", false},
		{"md5", "Packages.db", "md5", keys(t, "rsa.asc"), pkgdb.Local, "digests of files are md5", true},
		{"edited", "rpmdb.sqlite", "edited", keys(t, "rsa.asc"), pkgdb.None, "its own digest", false},
	} {
		var db []byte
		switch tt.db {
		case "md5":
			db = data(t, "md5.ndb")
		case "edited":
			db = []byte(strings.Replace(string(data(t, "wal.sqlite")), "Example", "Exomple", 1))
		default:
			db = data(t, "wal.sqlite")
		}
		r := image(t, "/var/lib/rpm", tt.file, db)
		if tt.db == "wal" {
			if err := os.WriteFile(r.dir+"/var/lib/rpm/rpmdb.sqlite-wal", data(t, "wal.sqlite-wal"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := tt.trust.RPMs(ctx, r, all)
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %+v, %v", tt.name, got, err)
		}
		x := got[0]
		if x.Level != tt.level || !strings.Contains(x.Why, tt.why) || (x.Why == "") != (tt.why == "") || (x.Files == nil) != (tt.level == pkgdb.None) || x.Name != "sample" || x.Time.IsZero() {
			t.Errorf("%s: %+v", tt.name, x)
		}
		ok, why, err := tt.trust.RPMState(ctx, r, func(pkgdb.Package) bool { return false })
		if err != nil || ok != tt.state || (why == "") != tt.state {
			t.Errorf("%s: state %v, %q, %v", tt.name, ok, why, err)
		}
		if ok, why, err = tt.trust.RPMState(ctx, r, func(p pkgdb.Package) bool { return p.Stanza == x.Stanza }); !ok || why != "" || err != nil {
			t.Errorf("%s: known: %v, %q, %v", tt.name, ok, why, err)
		}
		if got, err := tt.trust.RPMs(ctx, r, func(p pkgdb.Package) bool { return p.Version == "" }); err != nil || len(got) != 0 {
			t.Errorf("%s: nobody wants %+v, %v", tt.name, got, err)
		}
		lists := 0
		err = pkgdb.RPMLists(ctx, r, func(sum digest.Digest, list []byte) error {
			if lists++; sum != x.List || digest.Sum(list) != sum {
				t.Errorf("%s: list %q", tt.name, list)
			}
			return nil
		})
		if err != nil || lists != 1 {
			t.Errorf("%s: %d lists, %v", tt.name, lists, err)
		}
	}
	r := image(t, "/var/lib/rpm", "rpmdb.sqlite", data(t, "small.sqlite")[:2048])
	if ok, _, err := keys(t, "rsa.asc").RPMState(ctx, r, func(pkgdb.Package) bool { return true }); ok || err == nil {
		t.Errorf("cut database: %v, %v", ok, err)
	}
	full := errors.New("full")
	r = image(t, "/var/lib/rpm", "rpmdb.sqlite", data(t, "small.sqlite"))
	if err := pkgdb.RPMLists(ctx, r, func(digest.Digest, []byte) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
}
