package derived_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/derived"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Every row of the table that looks at a trigger alone: a path of it, what a
// package must hold, and what must not be enough.
func TestTriggers(t *testing.T) {
	tests := []struct {
		path    entry.Path
		dir     bool
		mode    uint16
		uid     uint32
		gid     uint32
		trigger entry.Path // "": any transaction
	}{
		{"/usr/lib/python3/dist-packages/x/__pycache__", true, 0o755, 0, 0, "/usr/lib/python3/dist-packages/x/a.py"},
		{"/usr/share/x/__pycache__", true, 0o755, 0, 0, "/usr/share/x/a.py"},
		{"/usr/lib/modules/6.1.0-1-amd64/modules.dep.bin", false, 0o644, 0, 0, "/usr/lib/modules/6.1.0-1-amd64/kernel/a.ko"},
		{"/usr/lib/modules/6.1.0-1-amd64/modules.softdep", false, 0o644, 0, 0, "/lib/modules/6.1.0-1-amd64/kernel/a.ko"},
		{"/lib/modules/6.1.0-1-amd64/modules.alias", false, 0o644, 0, 0, "/lib/modules/6.1.0-1-amd64/kernel/a.ko"},
		{"/var/cache/ldconfig/aux-cache", false, 0o600, 0, 0, "/usr/lib/x86_64-linux-gnu/liba.so.1"},
		{"/usr/share/mime/mime.cache", false, 0o644, 0, 0, "/usr/share/mime/packages/a.xml"},
		{"/usr/share/mime/text/x-a.xml", false, 0o644, 0, 0, "/usr/share/mime/packages/a.xml"},
		{"/usr/share/mime/text", true, 0o755, 0, 0, "/usr/share/mime/packages/a.xml"},
		{"/usr/share/applications/mimeinfo.cache", false, 0o644, 0, 0, "/usr/share/applications/a.desktop"},
		{"/usr/share/glib-2.0/schemas/gschemas.compiled", false, 0o644, 0, 0, "/usr/share/glib-2.0/schemas/a.gschema.xml"},
		{"/usr/share/icons/hicolor/icon-theme.cache", false, 0o644, 0, 0, "/usr/share/icons/hicolor/48x48/a.png"},
		{"/usr/lib/x86_64-linux-gnu/gio/modules/giomodule.cache", false, 0o644, 0, 0, "/usr/lib/x86_64-linux-gnu/gio/modules/liba.so"},
		{"/usr/lib/x86_64-linux-gnu/gdk-pixbuf-2.0/2.10.0/loaders.cache", false, 0o644, 0, 0, "/usr/lib/x86_64-linux-gnu/gdk-pixbuf-2.0/2.10.0/loaders/a.so"},
		{"/usr/lib/x86_64-linux-gnu/gtk-3.0/3.0.0/immodules.cache", false, 0o644, 0, 0, "/usr/lib/x86_64-linux-gnu/gtk-3.0/3.0.0/immodules/a.so"},
		{"/var/cache/fontconfig/00-le64.cache-8", false, 0o644, 0, 0, "/usr/share/fonts/a.ttf"},
		{"/var/cache/man/index.db", false, 0o644, 6, 12, "/usr/share/man/man1/a.1.gz"},
		{"/var/cache/man/de/cat1", true, 0o755, 6, 12, "/usr/share/man/man1/a.1.gz"},
		{"/usr/share/info/dir", false, 0o644, 0, 0, "/usr/share/info/a.info.gz"},
		{"/var/lib/sgml-base/supercatalog", false, 0o644, 0, 0, "/etc/sgml/a.cat"},
		{"/etc/xml/catalog.xml", false, 0o644, 0, 0, "/usr/share/xml/a.xml"},
		{"/var/lib/systemd/catalog/database", false, 0o644, 0, 0, "/usr/lib/systemd/catalog/a.catalog"},
		{"/usr/lib/udev/hwdb.bin", false, 0o444, 0, 0, "/lib/udev/hwdb.d/20-a.hwdb"},
		{"/usr/lib/locale/locale-archive", false, 0o644, 0, 0, "/usr/share/i18n/locales/de_DE"},
		{"/var/lib/systemd/deb-systemd-helper-enabled/a.service.dsh-also", false, 0o644, 0, 0, "/lib/systemd/system/a.service"},
		{"/var/lib/dpkg/triggers/File", false, 0o644, 0, 0, ""},
		{"/var/lib/ucf/hashfile.1", false, 0o644, 0, 0, ""},
		{"/var/cache/debconf/templates.dat-old", false, 0o644, 0, 0, ""},
		{"/var/cache/debconf/passwords.dat", false, 0o600, 0, 0, ""},
	}
	for _, tt := range tests {
		w := world{tt.path: {content: "x", dir: tt.dir, mode: tt.mode}}
		make := func() *diff.Change {
			c := w.change(tt.path)
			c.New.UID, c.New.GID = tt.uid, tt.gid
			return c
		}
		if got := level(w, make(), upgrade("/usr/bin/other", tt.trigger)); got != rules.Attributed {
			t.Errorf("%s: got %q", tt.path, got)
		}
		if got := level(w, make(), upgrade("/srv/other")); tt.trigger != "" && got != "" {
			t.Errorf("%s, another package: got %q", tt.path, got)
		}
		if got := level(w, make()); got != "" {
			t.Errorf("%s, no transaction: got %q", tt.path, got)
		}
		for name, spoil := range spoils {
			c := make()
			if spoil(c); tt.dir && (name == "two names" || name == "capability") { // a folder has neither
				continue
			}
			if got := level(w, c, upgrade(tt.trigger)); got != "" {
				t.Errorf("%s, %s: got %q", tt.path, name, got)
			}
		}
	}
}

// spoils are what no check speaks of: nothing explains a change with one.
var spoils = map[string]func(*diff.Change){
	"setuid":          func(c *diff.Change) { c.New.Mode |= 0o4000 },
	"writable":        func(c *diff.Change) { c.New.Mode |= 0o022 },
	"owner":           func(c *diff.Change) { c.New.UID = 1000 },
	"group":           func(c *diff.Change) { c.New.GID = 1000 },
	"capability":      func(c *diff.Change) { c.New.Caps = []byte{1} },
	"ACL":             func(c *diff.Change) { c.New.ACL = []byte{1} },
	"attribute":       func(c *diff.Change) { c.New.Xattr = []entry.Xattr{{Name: []byte("user.x")}} },
	"flags":           func(c *diff.Change) { c.New.Flags = 0x10 },
	"flags unknown":   func(c *diff.Change) { c.New.Have &^= entry.Flags },
	"mode unknown":    func(c *diff.Change) { c.New.Have &^= entry.Mode },
	"two names":       func(c *diff.Change) { c.New.Nlink = 2 },
	"linked":          func(c *diff.Change) { c.Links = []entry.Path{"/x"} },
	"type":            func(c *diff.Change) { c.New.Kind = entry.FIFO },
	"lost":            func(c *diff.Change) { c.Lost = entry.Content },
	"renamed":         func(c *diff.Change) { c.Kind, c.From = diff.Renamed, "/tmp/x" },
	"unverified":      func(c *diff.Change) { c.Kind = diff.Unverified },
	"caps differ":     func(c *diff.Change) { c.Attrs |= entry.Caps },
	"label differs":   func(c *diff.Change) { c.Attrs |= entry.SELinux },
	"nothing is left": func(c *diff.Change) { c.New = nil },
}

// Paths beside the rows, and names that are not what they seem.
func TestNoRow(t *testing.T) {
	for _, p := range []entry.Path{
		"/etc/passwd", "/etc/shells", "/etc/mailcap", "/etc/ssl/certs/java/cacerts", "/boot/grub/grub.cfg", "/usr/share/mime2/x", "/usr/share/mime",
		"/etc/ld.so.cache~", "/etc/ld.so.cache/x", "/usr/lib/modules/6/modules.evil", "/usr/lib/modules/6/7/modules.alias",
		"/var/cache/debconf/x", "/var/cache/ldconfig/aux-cache\n", "/usr/share/info/dir\x1b[0m", "/usr/local/lib/x/__pycache__/a.cpython-311.pyc", "/",
	} {
		w := world{p: {content: "x"}}
		if got := level(w, w.change(p), all()); got != "" {
			t.Errorf("%q: got %q", p, got)
		}
	}
}

// The level is that of the check and of the transaction, whichever is weaker.
func TestLevelsGoDown(t *testing.T) {
	const dir = entry.Path("/usr/lib/modules/6.1")
	w := world{
		dir + "/modules.dep":     {content: "kernel/a.ko:\n"},
		dir + "/modules.dep.bin": {content: "x"},
		dir + "/kernel/a.ko":     {content: "ELF", owner: "linux-image"},
	}
	tests := []struct {
		level         string
		upgrade       bool
		strong, trick string
	}{
		{rules.Signed, true, rules.Signed, rules.Attributed},
		{rules.Signed, false, rules.Attributed, rules.Attributed},
		{rules.Attributed, true, rules.Attributed, rules.Attributed},
		{rules.Local, true, rules.Local, rules.Local},
		{rules.Local, false, rules.Local, rules.Local},
	}
	for _, tt := range tests {
		u := upgrade(dir + "/kernel/a.ko")
		u.Level, u.Upgrade = tt.level, tt.upgrade
		if got := level(w, w.change(dir+"/modules.dep"), u); got != tt.strong {
			t.Errorf("%s, upgrade %v: recomputed: got %q, want %q", tt.level, tt.upgrade, got, tt.strong)
		}
		if got := level(w, w.change(dir+"/modules.dep.bin"), u); got != tt.trick {
			t.Errorf("%s, upgrade %v: trigger: got %q, want %q", tt.level, tt.upgrade, got, tt.trick)
		}
	}
	local := upgrade(dir + "/kernel/a.ko")
	local.Level, local.Source = rules.Local, "local 1 → 2"
	x := derived.New(w, []derived.Transaction{local, upgrade(dir + "/kernel/a.ko"), all()})
	e, ok := x.Explain(t.Context(), w.change(dir+"/modules.dep"))
	want := rules.Explanation{Source: "pkg 1 → 2", Level: rules.Signed, Kind: "derived", ID: "sha256:00", By: "a key", When: "2026-01-02T03:04:05Z"}
	if !ok || e != want {
		t.Errorf("of several: got %+v", e)
	}
}

func TestRemoved(t *testing.T) {
	tests := []struct {
		path entry.Path
		held entry.Path
		want string
	}{
		{"/usr/share/mime/mime.cache", "/usr/share/mime/packages/a.xml", rules.Attributed},
		{"/usr/lib/x/__pycache__/a.cpython-311.pyc", "/usr/lib/x/a.py", rules.Attributed},
		{"/usr/lib/x/__pycache__/a.cpython-311.pyc", "/usr/lib/x/b.py", ""},
		{"/etc/ld.so.cache", "/usr/lib/liba.so.1", ""},
		{"/etc/ssl/certs/ca-certificates.crt", "/usr/share/ca-certificates/a.crt", ""},
	}
	for _, tt := range tests {
		w := world{tt.path: {content: "x"}}
		c := w.change(tt.path)
		c.Kind, c.New = diff.Removed, nil
		if got := level(w, c, upgrade(tt.held)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.path, got, tt.want)
		}
	}
}

func TestModules(t *testing.T) {
	const dir = entry.Path("/usr/lib/modules/6.1")
	tests := map[string]struct{ text, want string }{
		"all owned":  {"kernel/a.ko:\nkernel/b.ko.xz: kernel/a.ko\n", rules.Signed},
		"no package": {"kernel/a.ko:\nkernel/dkms.ko:\n", ""},
		"changed":    {"kernel/a.ko: kernel/bad.ko\n", ""},
		"missing":    {"kernel/nosuch.ko:\n", ""},
		"climbs":     {"../../../../tmp/a.ko:\n", ""},
		"absolute":   {"/tmp/a.ko:\n", ""},
		"no module":  {"kernel/a.so:\n", ""},
		"empty":      {"", ""},
		"cut":        {"kernel/a.ko:", ""},
	}
	for name, tt := range tests {
		w := world{
			dir + "/modules.dep":    {content: tt.text},
			dir + "/kernel/a.ko":    {owner: "linux"},
			dir + "/kernel/b.ko.xz": {owner: "linux"},
			dir + "/kernel/bad.ko":  {owner: "linux", changed: true},
			dir + "/kernel/a.so":    {owner: "linux"},
			dir + "/kernel/dkms.ko": {},
			"/tmp/a.ko":             {owner: "linux"},
		}
		if got := level(w, w.change(dir+"/modules.dep"), upgrade(dir+"/kernel/a.ko")); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestUnit(t *testing.T) {
	const link = entry.Path("/etc/systemd/system/timers.target.wants/a.timer")
	const asks = "[Timer]\nWantedBy=multi-user.target\n[Install]\nWantedBy = basic.target timers.target\n"
	tests := map[string]struct {
		target, text, owner string
		changed             bool
		want                string
	}{
		"asked for":    {"/lib/systemd/system/a.timer", asks, "pkg", false, rules.Attributed},
		"relative":     {"../../../../usr/lib/systemd/system/a.timer", asks, "pkg", false, rules.Attributed},
		"not asked":    {"/lib/systemd/system/a.timer", "[Unit]\nWantedBy=timers.target\n", "pkg", false, ""},
		"changed":      {"/lib/systemd/system/a.timer", asks, "pkg", true, ""},
		"no package":   {"/lib/systemd/system/a.timer", asks, "", false, ""},
		"another unit": {"/lib/systemd/system/b.timer", asks, "pkg", false, ""},
		"elsewhere":    {"/tmp/a.timer", asks, "pkg", false, ""},
	}
	for name, tt := range tests {
		w := world{
			link:                              {target: tt.target},
			"/usr/lib/systemd/system/a.timer": {content: tt.text, owner: tt.owner, changed: tt.changed},
			"/usr/lib/systemd/system/b.timer": {content: tt.text, owner: "pkg"},
			"/tmp/a.timer":                    {content: tt.text, owner: "pkg"},
		}
		if got := level(w, w.change(link), upgrade("/usr/lib/systemd/system/a.timer")); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// A World that knows nothing, or lies about content, explains nothing that
// is looked into.
func TestBlindWorld(t *testing.T) {
	w := world{"/etc/ld.so.cache": {content: "x"}}
	c := w.change("/etc/ld.so.cache")
	c.New.Digest = digest.Sum([]byte("y"))
	if got := level(world{}, c, all()); got != "" {
		t.Errorf("got %q", got)
	}
	if got := level(disk{}, c, all()); got != "" {
		t.Errorf("other content: got %q", got)
	}
}

// On this machine nothing of these folders may fall to a wrong row by its name.
func TestRealPyc(t *testing.T) {
	files, _ := filepath.Glob("/usr/lib/python3/dist-packages/*/__pycache__/*.pyc")
	n := 0
	for _, f := range files[:min(len(files), 200)] {
		c := realChange(t, entry.Path(f))
		if got := level(disk{}, c, all()); got != rules.Attributed {
			t.Errorf("%s: got %q", f, got)
		}
		if strings.Contains(f, "cpython") {
			n++
		}
	}
	if n == 0 {
		t.Skip("SKIPPED: no compiled modules of packages on this machine")
	}
}

// A copy is of what the baseline has at the name without the suffix, and of a
// package that moved.
func TestCopies(t *testing.T) {
	was := world{"/etc/ca-certificates.conf": {content: "old"}, "/etc/tool.conf": {content: "old", mode: 0o640}, "/etc/dir": {dir: true}, "/etc/a.d/b": {content: "old", mode: 0o600},
		"/usr/share/x": {content: "old"}, "/etc/link": {target: "tool.conf"}}
	for name, tt := range map[string]struct {
		path  entry.Path
		now   object
		holds entry.Path
		want  string
	}{
		"of a selection":          {"/etc/ca-certificates.conf.dpkg-old", object{content: "old"}, "/usr/share/ca-certificates/a.crt", rules.Attributed},
		"of a packaged file":      {"/etc/tool.conf.dpkg-bak", object{content: "old", mode: 0o640}, "/etc/tool.conf", rules.Attributed},
		"by ucf":                  {"/etc/a.d/b.ucf-old", object{content: "old", mode: 0o600}, "/etc/a.d/b", rules.Attributed},
		"other content":           {"/etc/tool.conf.dpkg-old", object{content: "new", mode: 0o640}, "/etc/tool.conf", ""},
		"readable by more":        {"/etc/tool.conf.dpkg-old", object{content: "old"}, "/etc/tool.conf", ""},
		"a program":               {"/etc/tool.conf.dpkg-old", object{content: "old", mode: 0o755}, "/etc/tool.conf", ""},
		"another package's":       {"/etc/tool.conf.dpkg-old", object{content: "old", mode: 0o640}, "/etc/other.conf", ""},
		"of nothing":              {"/etc/none.dpkg-old", object{content: "old"}, "/etc/none", ""},
		"of a folder":             {"/etc/dir.dpkg-old", object{content: ""}, "/etc/dir", ""},
		"of a link":               {"/etc/link.dpkg-old", object{content: "old"}, "/etc/link", ""},
		"outside of etc":          {"/usr/share/x.dpkg-old", object{content: "old"}, "/usr/share/x", ""},
		"another suffix":          {"/etc/tool.conf.old", object{content: "old", mode: 0o640}, "/etc/tool.conf", ""},
		"a selection of nobody's": {"/etc/ca-certificates.conf.dpkg-old", object{content: "old"}, "/usr/share/x", ""},
	} {
		w := remembering{world{tt.path: tt.now}, was}
		if got := level(w, w.change(tt.path), upgrade(tt.holds)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if got := level(w.world, w.change(tt.path), upgrade(tt.holds)); got != "" {
			t.Errorf("%s: %q where the past is not known", name, got)
		}
	}
}

// What was written anew and is what it was needs no source: the baseline has it.
func TestAgain(t *testing.T) {
	const p = entry.Path("/etc/ld.so.cache")
	w := world{p: {content: "no cache at all"}}
	accepted := upgrade("/usr/lib/libx.so")
	accepted.Upgrade, accepted.Until = false, time.Unix(1000, 0)
	for name, tt := range map[string]struct {
		change func(c *diff.Change)
		want   string
	}{
		"the same":       {func(*diff.Change) {}, rules.Signed},
		"later":          {func(c *diff.Change) { c.New.Ctime.Sec = 1001 }, ""},
		"another":        {func(c *diff.Change) { c.Old.Digest[0]++ }, ""},
		"a mode besides": {func(c *diff.Change) { c.Attrs |= entry.Mode }, ""},
		"not read":       {func(c *diff.Change) { c.Old.Have &^= entry.Content }, ""},
		"changed":        {func(c *diff.Change) { c.Kind = diff.Changed }, ""},
	} {
		c := w.change(p)
		old := *c.New
		c.Kind, c.Old, c.Attrs = diff.Replaced, &old, entry.Mtime|entry.Ctime|entry.Inode
		c.New.Ctime.Sec = 999
		tt.change(c)
		if got := level(w, c, accepted); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// What comes when all of a transaction was made is not of it.
func TestUntil(t *testing.T) {
	const p = entry.Path("/usr/share/mime/mime.cache")
	w := world{p: {content: "x"}}
	tr := upgrade("/usr/share/mime/packages/a.xml")
	tr.Until = time.Unix(1000, 0)
	for at, want := range map[int64]string{999: rules.Attributed, 1000: rules.Attributed, 1001: ""} {
		c := w.change(p)
		c.New.Ctime.Sec = at
		if got := level(w, c, tr); got != want {
			t.Errorf("made at %d: %q", at, got)
		}
	}
	gone := w.change(p)
	gone.Kind, gone.New = diff.Removed, nil
	if got := level(w, gone, tr); got != "" {
		t.Errorf("gone: %q", got)
	}
	plain := w.change("/usr/share/mime/packages/evil.xml")
	if got := level(world{plain.Path: {content: "x"}}, plain, upgrade("/usr/share/mime/packages/a.xml")); got != "" {
		t.Errorf("a source is %q", got)
	}
}
