package updates_test

import (
	"context"
	"crypto/sha256"
	"testing"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/updates"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// stillThere is Contents of files that are as the scan saw them, but "moved".
type stillThere struct{}

func (stillThere) SHA256(_ context.Context, _ entry.Path, seen *entry.Entry) (sum [sha256.Size]byte, ok bool) {
	return sum, seen.Digest != digest.Sum([]byte("moved"))
}

// The database of rpm is attributed as far as it was read and vouched for, and
// never more.
func TestDatabase(t *testing.T) {
	const main = entry.Path("/var/lib/rpm/rpmdb.sqlite")
	plain := func(s string) *entry.Entry { return with(is(s), func(e *entry.Entry) { e.Mode = 0o644 }) }
	unread := with(plain("2"), func(e *entry.Entry) { e.Have &^= entry.Content })
	vouched := func(_ context.Context, p entry.Path) bool { return p == main }
	for _, tt := range []struct {
		name    string
		c       *diff.Change
		vouched func(context.Context, entry.Path) bool
		want    bool
	}{
		{"changed", changed(main, plain("1"), plain("2")), vouched, true},
		{"its log", changed(main+"-wal", nil, plain("2")), vouched, true},
		{"its log gone", changed(main+"-wal", plain("1"), nil), vouched, true},
		{"in nobody's words", changed(main, plain("1"), plain("2")), func(context.Context, entry.Path) bool { return false }, false},
		{"nobody to ask", changed(main, plain("1"), plain("2")), nil, false},
		{"gone", changed(main, plain("1"), nil), vouched, false},
		{"changed since", changed(main, plain("1"), plain("moved")), vouched, false},
		{"not read", changed(main, plain("1"), unread), vouched, false},
		{"can be run", changed(main, plain("1"), is("2")), vouched, false},
		{"another database", changed("/usr/lib/sysimage/rpm/rpmdb.sqlite", plain("1"), plain("2")), vouched, false},
		{"another format", changed("/var/lib/rpm/Packages.db", plain("1"), plain("2")), vouched, false},
		{"of Berkeley DB", changed("/var/lib/rpm/Basenames", plain("1"), plain("2")), func(_ context.Context, p entry.Path) bool { return p == "/var/lib/rpm/Packages" }, true},
		{"beside another", changed("/var/lib/rpm/Basenames", plain("1"), plain("2")), vouched, false},
		{"another name", changed("/var/lib/rpm/rpmdb.sqlite.bak", nil, plain("2")), vouched, false},
	} {
		x, err := updates.New(context.Background(), nil, updates.Host{Vouched: tt.vouched, Contents: stillThere{}})
		if err != nil {
			t.Fatal(err)
		}
		e, ok := x.Explain(context.Background(), tt.c)
		if ok != tt.want || ok && (e != rules.Explanation{Source: "the records of rpm", Level: rules.Attributed, Kind: updates.KindState}) {
			t.Errorf("%s: %+v, %v", tt.name, e, ok)
		}
	}
}

// Packages of rpm say nothing of what dpkg keeps, and the records of dpkg do not
// follow from them.
func TestRPMsBesideDpkg(t *testing.T) {
	u, host, _ := toolUpdate()
	u.Old.Kind, u.New.Kind = "rpm", "rpm"
	x, err := updates.New(context.Background(), []updates.Update{u, u}, host)
	if err != nil {
		t.Fatal(err)
	}
	plain := func(s string) *entry.Entry { return with(is(s), func(e *entry.Entry) { e.Mode = 0o644 }) }
	for _, c := range []*diff.Change{
		changed("/var/lib/dpkg/status", plain("status 1"), plain("status 2")),
		changed("/var/lib/dpkg/info/tool.md5sums", plain("1"), plain("2")),
		changed("/var/lib/dpkg/info/tool.prerm", plain("1"), nil),
	} {
		if e, ok := x.Explain(context.Background(), c); ok {
			t.Errorf("%q: %+v", c.Path, e)
		}
	}
}
