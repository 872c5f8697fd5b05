package updates_test

import (
	"context"
	"iter"
	"slices"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/updates"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// pkg is a package that says what a table says.
type pkg struct {
	files    map[entry.Path]updates.Said
	controls map[string]updates.Said
}

func (p pkg) Lookup(at entry.Path) (updates.Said, bool, error) {
	s, ok := p.files[at]
	return s, ok, nil
}

func (p pkg) Paths() iter.Seq2[entry.Path, error] {
	return func(yield func(entry.Path, error) bool) {
		for at := range p.files {
			if !yield(at, nil) {
				return
			}
		}
	}
}

func (p pkg) Control(name string) (updates.Said, bool) {
	s, ok := p.controls[name]
	return s, ok
}

func says(content string) updates.Said {
	return updates.Said{Kind: entry.File, Mode: 0o755, User: "root", Group: "root", Size: int64(len(content)), BLAKE3: digest.Sum([]byte(content)), Known: true}
}

const have = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Content | entry.Mtime | entry.Ctime | entry.Inode | entry.XattrAttr | entry.ACL | entry.Caps | entry.Flags

func is(content string) *entry.Entry {
	return &entry.Entry{Kind: entry.File, Have: have, Mode: 0o755, Size: int64(len(content)), Hashed: int64(len(content)), Digest: digest.Sum([]byte(content))}
}

func with(e *entry.Entry, change func(*entry.Entry)) *entry.Entry {
	change(e)
	return e
}

func set() entry.Set { return entry.Set{Mask: have, DirMask: have} }

func changed(p entry.Path, old, now *entry.Entry) *diff.Change {
	c := &diff.Change{Kind: diff.Changed, Path: p, Old: old, New: now, OldSet: set(), NewSet: set()}
	switch {
	case old == nil:
		c.Kind = diff.Added
	case now == nil:
		c.Kind = diff.Removed
	default:
		c.Attrs = entry.Differ(old, now, have)
	}
	return c
}

func renamed(p, from entry.Path, e *entry.Entry) *diff.Change {
	return &diff.Change{Kind: diff.Renamed, Path: p, From: from, Old: e, New: e, OldSet: set(), NewSet: set(), Attrs: entry.Ctime}
}

func installed(name, version string) pkgdb.Package {
	return pkgdb.Package{Kind: "dpkg", Name: name, Arch: "amd64", Version: version, Status: "installed", Stanza: digest.Sum([]byte(name + version))}
}

func held(paths ...entry.Path) iter.Seq[entry.Path] { return slices.Values(paths) }

// toolUpdate is an update of a package with files of each kind, on a host with a
// diversion and an override, and the list of its files.
func toolUpdate() (updates.Update, updates.Host, string) {
	suid := says("suid")
	suid.Mode = 0o4755
	low := says("low")
	low.Mode = 0o4755
	conf := says("conf 2")
	conf.Mode, conf.Conffile = 0o644, true
	link := updates.Said{Kind: entry.Symlink, User: "root", Group: "root", Target: "tool"}
	daemon := says("spool")
	daemon.User, daemon.Group = "daemon", "daemon"
	ghost := says("")
	ghost.Ghost = true
	tool := updates.Update{
		Old: installed("tool", "1"), New: installed("tool", "2"), Level: rules.Signed, ID: "sha256:aa", By: "Archive", When: "2026-11-27T02:30:00Z",
		Source: pkg{files: map[entry.Path]updates.Said{
			"/bin/tool": says("tool 2"), "/usr/bin/suid": suid, "/etc/tool.conf": conf, "/usr/bin/t": link, "/usr/bin/more": says("more"),
			"/usr/bin/spool": daemon, "/usr/lib/ghost": ghost, "/usr/share/dir": {Kind: entry.Dir, Mode: 0o755, User: "root", Group: "root"}, "/bin/low": low, "/usr/bin/over": says("over"),
		}, controls: map[string]updates.Said{"postinst": says("postinst 2")}},
		Held: held("/bin/tool", "/usr/share/gone", "/usr/bin/more", "/etc/gone", "/usr/share/conf", "/usr/share/shared", "/etc/obsolete"),
		Was:  pkg{files: map[entry.Path]updates.Said{"/etc/tool.conf": says("conf 1"), "/usr/share/conf": conf}},
	}
	list := "/.\n/bin/tool\n/usr/bin/suid\n/etc/tool.conf\n/usr/bin/t\n/usr/bin/more\n/usr/bin/spool\n/usr/lib/ghost\n/usr/bin/over\n/usr/share/dir\n/bin/low\n"
	host := updates.Host{
		Links:     map[entry.Path]entry.Path{"/bin": "/usr/bin"},
		Diverted:  map[entry.Path]updates.Diversion{"/usr/bin/more": {To: "/usr/bin/more.real", By: "other"}},
		Overrides: map[entry.Path]updates.Override{"/bin/low": {User: "root", Group: "root", Mode: 0o755}, "/usr/bin/over": {User: "root", Group: "daemon", Mode: 0o2755}},
		User:      func(id uint32) string { return map[uint32]string{1: "daemon", 7: "root"}[id] },
		Group:     func(id uint32) string { return map[uint32]string{1: "daemon", 7: "root"}[id] },
		Named:     true,
		Was:       func(p entry.Path) (*entry.Entry, bool) { return is("conf 1 edited"), p == "/etc/tool.conf" },
		Read: func(_ context.Context, p entry.Path, seen *entry.Entry, _ int64) ([]byte, bool) {
			for _, l := range []string{list, list + "/etc/obsolete\n", list + "/etc/shadow\n"} {
				if seen.Digest == digest.Sum([]byte(l)) {
					return []byte(l), true
				}
			}
			return nil, false
		},
		Listed:        func(p entry.Path) bool { return p == "/usr/share/shared" || p == "/etc/obsolete" },
		SettledBefore: func(d digest.Digest) bool { return d == digest.Sum([]byte("status 1")) },
		Settled:       func(d digest.Digest) bool { return d == digest.Sum([]byte("status 2")) },
	}
	return tool, host, list
}

// Only what a package says of a path is explained, and all of it must be so.
func TestExplain(t *testing.T) {
	tool, host, list := toolUpdate()
	plain := func(content string) *entry.Entry { return with(is(content), func(e *entry.Entry) { e.Mode = 0o644 }) }
	old := is("tool 1")
	capable := func(content string) *entry.Entry {
		return with(is(content), func(e *entry.Entry) { e.Caps = []byte{1, 0, 0, 2, 0, 32, 0, 0} })
	}
	tests := []struct {
		name string
		c    *diff.Change
		want string // kind, "" for none
	}{
		{"content, through the merged folder", changed("/usr/bin/tool", old, is("tool 2")), "package"},
		{"another content", changed("/usr/bin/tool", old, is("tool 3")), ""},
		{"its content with the setuid bit", changed("/usr/bin/tool", old, with(is("tool 2"), func(e *entry.Entry) { e.Mode = 0o4755 })), ""},
		{"its content, another owner", changed("/usr/bin/tool", old, with(is("tool 2"), func(e *entry.Entry) { e.UID = 1 })), ""},
		{"a second superuser is not root", changed("/usr/bin/tool", old, with(is("tool 2"), func(e *entry.Entry) { e.UID = 7 })), ""},
		{"a new capability", changed("/usr/bin/tool", old, capable("tool 2")), ""},
		{"the capability that it had", changed("/usr/bin/tool", capable("tool 1"), capable("tool 2")), "package"},
		{"a new ACL", changed("/usr/bin/tool", old, with(is("tool 2"), func(e *entry.Entry) { e.ACL = []byte("x") })), ""},
		{"what could not be read", with2(changed("/usr/bin/tool", old, is("tool 2")), func(c *diff.Change) { c.Lost = entry.ACL }), ""},
		{"setuid as packaged", changed("/usr/bin/suid", nil, with(is("suid"), func(e *entry.Entry) { e.Mode = 0o4755 })), "package"},
		{"added beside", changed("/usr/bin/evil", nil, is("evil")), ""},
		{"owner by name", changed("/usr/bin/spool", nil, with(is("spool"), func(e *entry.Entry) { e.UID, e.GID = 1, 1 })), "package"},
		{"link", changed("/usr/bin/t", nil, &entry.Entry{Kind: entry.Symlink, Have: have | entry.Target, Target: []byte("tool")}), "package"},
		{"link elsewhere", changed("/usr/bin/t", nil, &entry.Entry{Kind: entry.Symlink, Have: have | entry.Target, Target: []byte("/tmp/tool")}), ""},
		{"conffile new, mode kept, of an edited one", changed("/etc/tool.conf", is("conf 1 edited"), with(is("conf 2"), func(e *entry.Entry) { e.Mode = 0o755 })), "attributed"},
		{"folder as packaged", changed("/usr/share/dir", with(is(""), func(e *entry.Entry) { e.Kind, e.Mode = entry.Dir, 0o700 }), with(is(""), func(e *entry.Entry) { e.Kind = entry.Dir })), ""},
		{"removed below etc", changed("/etc/gone", is("gone"), nil), "attributed"},
		{"payload", changed("/var/lib/dpkg/triggers/payload", nil, plain("x")), ""},
		{"interests", changed("/var/lib/dpkg/triggers/File", plain("a"), plain("b")), "loose"},
		{"another copy of the status", changed("/var/lib/dpkg/status-old", plain("status 0"), plain("evil")), "loose"},
		{"override under the other name", changed("/usr/bin/low", with(is("low"), func(e *entry.Entry) { e.Mode = 0o755 }), with(is("low"), func(e *entry.Entry) { e.Mode = 0o4755 })), ""},
		{"conffile new, mode kept", changed("/etc/tool.conf", with(is("conf 1"), func(e *entry.Entry) { e.Mode = 0o600 }), with(is("conf 2"), func(e *entry.Entry) { e.Mode = 0o600 })), "package"},
		{"conffile that was another file", renamed("/etc/tool.conf", "/usr/share/gone", with(is("conf 2"), func(e *entry.Entry) { e.Mode = 0o4755 })), ""},
		{"conffile edited", changed("/etc/tool.conf", plain("conf 1"), plain("conf x")), ""},
		{"conffile beside", changed("/etc/tool.conf.dpkg-dist", nil, plain("conf 2")), "package"},
		{"rpm: conffile beside", changed("/etc/tool.conf.rpmnew", nil, plain("conf 2")), "package"},
		{"something beside", changed("/etc/tool.conf.dpkg-dist", nil, plain("conf 9")), ""},
		{"rpm: something beside", changed("/etc/tool.conf.rpmnew", nil, plain("conf 9")), ""},
		{"program beside", changed("/usr/bin/suid.dpkg-new", nil, with(is("suid"), func(e *entry.Entry) { e.Mode = 0o4755 })), ""},
		{"conffile put aside", changed("/etc/tool.conf.dpkg-old", nil, is("conf 1 edited")), "attributed"},
		{"rpm: conffile put aside", changed("/etc/tool.conf.rpmsave", nil, is("conf 1 edited")), "attributed"},
		{"something put aside", changed("/etc/tool.conf.dpkg-old", nil, is("evil")), ""},
		{"rpm: something put aside", changed("/etc/tool.conf.rpmsave", nil, is("evil")), ""},
		{"removed", changed("/usr/share/gone", is("gone"), nil), "package"},
		{"removed, of another package that did not move", changed("/usr/share/shared", is("gone"), nil), ""},
		{"removed, obsolete and still listed", changed("/etc/obsolete", is("gone"), nil), ""},
		{"removed, a configuration outside of etc", changed("/usr/share/conf", is("gone"), nil), "attributed"},
		{"removed, never held", changed("/usr/share/other", is("gone"), nil), ""},
		{"removed, still held", changed("/usr/bin/tool", old, nil), ""},
		{"diverted", changed("/usr/bin/more.real", is("more 1"), is("more")), "package"},
		{"at the place of the one that diverts", changed("/usr/bin/more", is("less"), is("more")), ""},
		{"override", changed("/usr/bin/over", nil, with(is("over"), func(e *entry.Entry) { e.Mode, e.GID = 0o2755, 1 })), "package"},
		{"not as overridden", changed("/usr/bin/over", nil, is("over")), ""},
		{"ghost", changed("/usr/lib/ghost", nil, is("")), ""},
		{"script of the package", changed("/var/lib/dpkg/info/tool.postinst", is("postinst 1"), is("postinst 2")), "package"},
		{"script of nobody", changed("/var/lib/dpkg/info/tool.postinst", is("postinst 1"), is("evil")), ""},
		{"script that it has not", changed("/var/lib/dpkg/info/tool.prerm", nil, is("postinst 2")), ""},
		{"script gone", changed("/var/lib/dpkg/info/tool.prerm", is("x"), nil), "package"},
		{"list", changed("/var/lib/dpkg/info/tool.list", plain("/.\n"), plain(list)), "package"},
		{"list with more", changed("/var/lib/dpkg/info/tool.list", plain("/.\n"), plain(list+"/etc/shadow\n")), ""},
		{"list with an obsolete conffile", changed("/var/lib/dpkg/info/tool.list", plain("/.\n"), plain(list+"/etc/obsolete\n")), "attributed"},
		{"sums that dpkg made", changed("/var/lib/dpkg/info/tool.md5sums", plain("1"), plain("2")), "attributed"},
		{"status", changed("/var/lib/dpkg/status", plain("status 1"), plain("status 2")), "state"},
		{"status that says more", changed("/var/lib/dpkg/status", plain("status 1"), plain("status 3")), ""},
		{"copy of the status", changed("/var/lib/dpkg/status-old", plain("status 0"), plain("status 1")), "state"},
		{"copy that can be run", changed("/var/lib/dpkg/status-old", plain("status 0"), is("status 1")), ""},
		{"list of another", changed("/var/lib/dpkg/info/else.list", plain("/.\n"), plain(list)), ""},
	}
	x, err := updates.New(t.Context(), []updates.Update{tool}, host)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		got, ok := x.Explain(t.Context(), tt.c)
		level := rules.Signed
		if tt.want == "loose" {
			tt.want, level = updates.KindState, rules.Attributed
		}
		if tt.want == rules.Attributed {
			tt.want, level = updates.Kind, rules.Attributed
		}
		if ok != (tt.want != "") || got.Kind != tt.want {
			t.Errorf("%s: %+v, %v, want %q", tt.name, got, ok, tt.want)
		}
		if ok && (got.Source != "tool 1 → 2" || got.Level != level || got.ID != "sha256:aa") {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func with2(c *diff.Change, change func(*diff.Change)) *diff.Change {
	change(c)
	return c
}

// The status is settled when nothing in it is new but what the updates say.
func TestSettled(t *testing.T) {
	a1, a2, b := installed("a", "1"), installed("a", "2"), installed("b", "1")
	edited := b
	edited.Stanza = digest.Sum([]byte("evil"))
	up := []updates.Update{{Old: a1, New: a2}}
	stuck := a2
	stuck.Status = pkgdb.Held
	was := a1
	was.Status = pkgdb.Held
	for name, tt := range map[string]struct {
		before, now []pkgdb.Package
		updates     []updates.Update
		want        bool
	}{
		"upgrade":             {[]pkgdb.Package{a1, b}, []pkgdb.Package{a2, b}, up, true},
		"held since":          {[]pkgdb.Package{a1, b}, []pkgdb.Package{stuck, b}, []updates.Update{{Old: a1, New: stuck}}, false},
		"held before":         {[]pkgdb.Package{was, b}, []pkgdb.Package{stuck, b}, []updates.Update{{Old: was, New: stuck}}, true},
		"another one changed": {[]pkgdb.Package{a1, b}, []pkgdb.Package{a2, edited}, up, false},
		"another one gone":    {[]pkgdb.Package{a1, b}, []pkgdb.Package{a2}, up, false},
		"another one new":     {[]pkgdb.Package{a1}, []pkgdb.Package{a2, b}, up, false},
		"not of the updates":  {[]pkgdb.Package{a1}, []pkgdb.Package{a2}, nil, false},
		"nothing":             {[]pkgdb.Package{a1}, []pkgdb.Package{a1}, nil, true},
	} {
		if got := updates.Settled(tt.before, tt.now, tt.updates); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Accounts that the baseline does not vouch for do not say whose a file is.
func TestNames(t *testing.T) {
	tool, host, _ := toolUpdate()
	host.Named = false
	x, err := updates.New(t.Context(), []updates.Update{tool}, host)
	if err != nil {
		t.Fatal(err)
	}
	theirs := with(is("spool"), func(e *entry.Entry) { e.UID, e.GID = 1, 1 })
	if e, ok := x.Explain(t.Context(), changed("/usr/bin/spool", nil, theirs)); !ok || e.Level != rules.Attributed {
		t.Errorf("of another user: %+v, %v", e, ok)
	}
	if e, ok := x.Explain(t.Context(), changed("/usr/bin/tool", is("tool 1"), is("tool 2"))); !ok || e.Level != rules.Signed {
		t.Errorf("of root: %+v, %v", e, ok)
	}
}

// What a package did is explained after it was accepted; what comes later in its
// name is not.
func TestLate(t *testing.T) {
	tool, host, _ := toolUpdate()
	tool.Old = tool.New
	x, err := updates.New(t.Context(), []updates.Update{tool}, host)
	if err != nil {
		t.Fatal(err)
	}
	at := func(when string, p entry.Path) bool {
		w, err := time.Parse(time.RFC3339, when)
		if err != nil {
			t.Fatal(err)
		}
		now := with(is("2"), func(e *entry.Entry) { e.Mode, e.Ctime = 0o644, entry.Time{Sec: w.Unix()} })
		_, ok := x.Explain(t.Context(), changed(p, with(is("1"), func(e *entry.Entry) { e.Mode = 0o644 }), now))
		return ok
	}
	for _, p := range []entry.Path{"/var/lib/dpkg/info/tool.md5sums", "/var/lib/dpkg/available"} {
		if !at("2026-11-27T02:30:30Z", p) || at("2026-11-27T02:32:00Z", p) {
			t.Errorf("%s: %v, %v", p, at("2026-11-27T02:30:30Z", p), at("2026-11-27T02:32:00Z", p))
		}
	}
}
