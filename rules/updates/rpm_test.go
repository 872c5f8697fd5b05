package updates_test

import (
	"context"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/pgp"
	"intact/rules/updates"
	"intact/scanner/entry"
)

// database is a Root that holds a database of rpm and nothing else.
type database struct{ at, file string }

func (d database) Open(p entry.Path) (io.ReadCloser, error) {
	if string(p) != d.at {
		return nil, fs.ErrNotExist
	}
	return os.Open(d.file)
}
func (d database) List(entry.Path, func(string, entry.Kind) error) error { return nil }
func (d database) Real(p entry.Path) (entry.Path, bool, error) {
	return p, entry.Path(d.at).Under(p), nil
}

// What a signed header says, and what one with weak digests does not.
func TestRPMs(t *testing.T) {
	const data = "../pkgdb/rpm/testdata/"
	key, err := os.ReadFile(data + "rsa.asc")
	if err != nil {
		t.Fatal(err)
	}
	ring := &pgp.Keyring{}
	if err := ring.Add(key); err != nil {
		t.Fatal(err)
	}
	trust := pkgdb.Trust{RPM: ring, At: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	one := func(root database) updates.RPM {
		t.Helper()
		list, err := updates.RPMs(context.Background(), root, trust, func(pkgdb.Package) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			if x.Level == rules.Signed || len(list) == 1 {
				return x
			}
		}
		t.Fatalf("%+v", list)
		return updates.RPM{}
	}
	look := func(x updates.RPM, p entry.Path) updates.Said {
		t.Helper()
		s, ok, err := x.Source.Lookup(p)
		if !ok || err != nil {
			t.Fatalf("%q: %v, %v", p, ok, err)
		}
		return s
	}
	x := one(database{"/var/lib/rpm/rpmdb.sqlite", data + "small.sqlite"})
	if x.Level != rules.Signed || x.Why != "" || x.By == "" || len(x.ID) != 71 || x.When == "" || x.New.Version != "2:1.2~rc1-3" {
		t.Errorf("%+v", x)
	}
	priv := look(x, "/usr/bin/priv")
	if hex.EncodeToString(priv.SHA256[:4]) != "8d26067c" || priv.Mode != 0o4755 || priv.Size != 5 || priv.Caps != "cap_net_raw=ep" || !priv.HasCaps || priv.User != "root" || priv.Ghost || priv.Known {
		t.Errorf("%+v", priv)
	}
	if s := look(x, "/usr/bin/link"); s.Kind != entry.Symlink || s.Target != "tool" || s.Ghost {
		t.Errorf("%+v", s)
	}
	if s := look(x, "/etc/sample.conf"); !s.Conffile || s.Ghost {
		t.Errorf("%+v", s)
	}
	if s := look(x, "/var/log/sample.log"); !s.Ghost {
		t.Errorf("%+v", s)
	}
	if _, ok, err := x.Source.Lookup("/usr/bin/none"); ok || err != nil {
		t.Error(ok, err)
	}
	weak := one(database{"/var/lib/rpm/Packages.db", data + "md5.ndb"})
	if s := look(weak, "/usr/bin/tool"); weak.Level != rules.Local || weak.By != "" || weak.Why == "" || !s.Ghost || s.SHA256 != [32]byte{} {
		t.Errorf("%+v, %+v", weak, s)
	}
}
