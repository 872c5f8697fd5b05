package app

import (
	"errors"
	"strings"
	"testing"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/pkgdb"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// TestComparedByLess: a host cannot have a path accepted that is compared by
// less from then on without that being told.
func TestComparedByLess(t *testing.T) {
	p, err := policy.Parse("p", []byte("version: 1\npaths: [{path: /etc, attributes: config}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	eff, err := policy.Union(p, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := policy.GroupSet("config")
	presence, _ := policy.GroupSet("presence")
	sweep, growing := config, config
	sweep.Sweep, growing.Log = true, true
	file := func(v int64) *entry.Entry {
		return &entry.Entry{Name: []byte("x"), Kind: entry.File, Have: entry.All, Size: v}
	}
	for _, tt := range []struct {
		name     string
		path     entry.Path
		old, now entry.Set
		added    bool
		told     bool
	}{
		{"as before", "/etc/x", config, config, false, false},
		{"more", "/etc/x", presence, config, false, false},
		{"less", "/etc/x", config, presence, false, true},
		{"swept only", "/etc/x", config, sweep, false, true},
		{"may grow", "/etc/x", config, growing, false, true},
		{"new, as the policy says", "/etc/x", entry.Set{}, config, true, false},
		{"new, by less", "/etc/x", entry.Set{}, presence, true, true},
		{"new, where the policy says nothing here", "/home/a/x", entry.Set{}, presence, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &asked{spool: diff.NewSpool(t.TempDir(), 1, 0), scope: scope{eff: eff}, decide: eff.Decider()}
			defer k.spool.Close()
			c := &diff.Change{Kind: diff.Changed, Path: tt.path, Attrs: entry.Size, Old: file(1), New: file(2), OldSet: tt.old, NewSet: tt.now}
			if tt.added {
				c.Kind, c.Old = diff.Added, nil
			}
			if err := k.change(c); err != nil {
				t.Fatal(err)
			}
			if (len(k.looser) == 1) != tt.told {
				t.Errorf("%+v", k.looser)
			}
		})
	}
	k := &asked{spool: diff.NewSpool(t.TempDir(), 1, 0), scope: scope{eff: eff}, decide: eff.Decider()}
	defer k.spool.Close()
	for range maxLooser + 5 {
		c := &diff.Change{Kind: diff.Changed, Path: "/etc/x", Attrs: entry.Size, Old: file(1), New: file(2), OldSet: config, NewSet: presence}
		if err := k.change(c); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.looser) != maxLooser || k.sum.less != maxLooser+5 {
		t.Errorf("%d told, %d counted", len(k.looser), k.sum.less)
	}
}

// TestAcceptedUnread: what is compared from now on and was not read is told, of
// new entries and of changed ones.
func TestAcceptedUnread(t *testing.T) {
	config, _ := policy.GroupSet("config")
	p, err := policy.Parse("p", []byte("version: 1\npaths: [{path: /etc, attributes: config}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	eff, err := policy.Union(p, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		have    entry.Attr
		changed bool
		want    string
	}{
		{"all read", entry.All, false, ""},
		{"new, no content", entry.All &^ entry.Content, false, "WOULD BE ACCEPTED UNREAD: content"},
		{"new, no content and no acl", entry.All &^ (entry.Content | entry.ACL), false, "WOULD BE ACCEPTED UNREAD: content,acl"},
		{"what is not compared", entry.All &^ entry.Inode, false, ""},
		{"changed, no content before and after", entry.All &^ entry.Content, true, "WOULD BE ACCEPTED UNREAD: content"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &asked{spool: diff.NewSpool(t.TempDir(), 1, 0), scope: scope{eff: eff}, decide: eff.Decider()}
			defer k.spool.Close()
			now := &entry.Entry{Name: []byte("x"), Kind: entry.File, Have: tt.have, Size: 2}
			c := &diff.Change{Kind: diff.Added, Path: "/etc/x", New: now, NewSet: config}
			if tt.changed {
				old := *now
				old.Size = 1
				c.Kind, c.Attrs, c.Old, c.OldSet = diff.Changed, entry.Size, &old, config
			}
			if err := k.change(c); err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(k.looser) == 1 {
				got = k.looser[0].Text
			}
			if got != tt.want || k.sum.unread != len(k.looser) {
				t.Errorf("%+v, %d counted", k.looser, k.sum.unread)
			}
		})
	}
}

// Every row that a check can find changed is shown, and no other is taken.
func TestRequestedRows(t *testing.T) {
	k := &asked{}
	for _, kind := range []string{rowOrigin, rowFinding, "", "anything"} {
		if err := k.row(diff.RowChange{Kind: kind, Key: []byte("x"), New: []byte("y")}); !errors.Is(err, baseline.ErrRequest) {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if err := k.row(diff.RowChange{Kind: rowGap, Key: []byte("no key"), New: []byte("io")}); !errors.Is(err, baseline.ErrRequest) {
		t.Errorf("a malformed gap: %v", err)
	}
	for _, r := range []diff.RowChange{
		{Kind: rowMount, Key: []byte("/m\x1b"), New: []byte("xfs\x00a\x00/")},
		{Kind: rowMount, Key: []byte("/m"), Old: []byte("xfs\x00a\x00/")},
		{Kind: rowAlias, Key: []byte("/bin"), Old: []byte("/usr/bin"), New: []byte("/tmp")},
		{Kind: rowSelf, Key: []byte("/usr/bin/intact"), New: []byte("garbled \x1b[2J")},
		{Kind: rowSelf, Key: []byte("/usr/bin/intact"), Old: []byte("part=program mode=0755")},
		{Kind: rowState, Key: []byte("folder"), Old: []byte("/a"), New: []byte("/b")},
	} {
		if err := k.row(r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
		f, gap, note := shownRow(r, shownPackages(k.rows))
		if f.Rule == "" || gap != nil || note != nil || strings.ContainsAny(strings.Join(f.Reasons, ""), "\x1b") {
			t.Errorf("%+v: %+v %v %v", r, f, gap, note)
		}
	}
	// A lower version under another architecture is a downgrade here too.
	low := pkgdb.Package{Kind: "dpkg", Name: "tool", Arch: "i386", Version: "1", Status: "installed"}
	high := pkgdb.Package{Kind: "dpkg", Name: "tool", Arch: "amd64", Version: "2", Status: "installed"}
	rows := []diff.RowChange{{Kind: rowPackage, Key: []byte("dpkg tool:amd64"), Old: packageValue(&high)}, {Kind: rowPackage, Key: []byte("dpkg tool:i386"), New: packageValue(&low)}}
	for i, want := range []string{"pkg.removed", "pkg.downgraded"} {
		if f, _, _ := shownRow(rows[i], shownPackages(rows)); f.Rule != want {
			t.Errorf("%s is told as %s, want %s", rows[i].Key, f.Rule, want)
		}
	}
	key := entry.Path("/root/x").Key()
	if _, gap, _ := shownRow(diff.RowChange{Kind: rowGap, Key: key, New: []byte("io")}, nil); gap == nil || gap.Subject.Path != "/root/x" || !gap.Known {
		t.Errorf("%+v", gap)
	}
	if _, _, note := shownRow(diff.RowChange{Kind: rowGap, Key: key, Old: []byte("io")}, nil); *note != (report.Note{Path: "/root/x", Text: "is no known gap any more: it was io"}) {
		t.Errorf("%+v", note)
	}
}

// TestGraveSummary: what is critical and every row of intact itself is named
// before the question, escaped and bounded; nothing else is.
func TestGraveSummary(t *testing.T) {
	var s summary
	of := func(v rules.Severity, self bool) {
		s.count(&rules.Finding{Severity: v, Subject: rules.Subject{Path: "/x\x1b\n"}}, self)
	}
	of(rules.High, false)
	if len(s.grave) != 0 {
		t.Errorf("%q", s.grave)
	}
	of(rules.Low, true)
	if len(s.grave) != 1 || s.grave[0] != `LOW /x\x1b\n` {
		t.Errorf("%q", s.grave)
	}
	for range maxGrave + 4 {
		of(rules.Critical, false)
	}
	s.less, s.unread, s.gaps, s.past = 1, 2, 3, "generation 1 was shown to no operator"
	want := "24 critical, 1 high, 1 low, 1 of intact itself, 1 COMPARED BY LESS, 2 ACCEPTED UNREAD, 3 known gaps more, generation 1 was shown to no operator"
	if len(s.grave) != maxGrave || s.more != 5 || s.words() != want {
		t.Errorf("%d named, %d more: %s", len(s.grave), s.more, s.words())
	}
}

// What a request would say of manifests is told, whatever it holds.
func TestShownManifest(t *testing.T) {
	known := []byte("state=known label=\"app\\n\\x1b[31m\" signer=\"ci@example\" created=-")
	forgotten := forgottenRow(known)
	for _, tt := range []struct {
		name     string
		old, now []byte
		want     string
	}{
		{"new", nil, known, "medium added"},
		{"gone", known, forgotten, "info removed"},
		{"known-again", forgotten, known, "high changed"},
		{"dropped", forgotten, nil, "high changed"},
		{"another", known, []byte("state=known label=\"x\""), "high changed"},
		{"junk", nil, []byte("\x00\x1b="), "medium added"},
	} {
		f := shownManifest(diff.RowChange{Kind: rowExpect, Key: []byte("sha256:0\n"), Old: tt.old, New: tt.now})
		if got := f.Severity.String() + " " + f.Change; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if text := strings.Join(f.Reasons, " "); strings.ContainsAny(text, "\n\x1b\x00") {
			t.Errorf("%s: %q", tt.name, text)
		}
	}
}
