package policy

import (
	"slices"
	"strings"
	"testing"

	"intact/scanner/entry"
)

// rules makes a policy: words "PATH=GROUP", and "!PATH" for excludes.
func rules(lines ...string) *Policy {
	p := &Policy{Name: "test", Skip: []string{"tmpfs", "nfs"}}
	for i, l := range lines {
		at := Pos{"t", i + 1, 1}
		if x, ok := strings.CutPrefix(l, "!"); ok {
			p.Excludes = append(p.Excludes, Exclude{x, at})
			continue
		}
		path, group, _ := strings.Cut(l, "=")
		set, _ := groupSet(group)
		p.Rules = append(p.Rules, Rule{Pattern: path, Set: set, Group: group, Pos: at})
	}
	return p
}

// C01, C03, C04: which line decides. want is the pattern of the rule, "!" and
// the pattern of the exclude, or "".
func TestDecide(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  map[entry.Path]string
	}{
		{"most specific, any order", []string{"/a/b=log", "/a=config", "/a/b/c=all", "/=sweep"},
			map[entry.Path]string{"/": "/", "/x": "/", "/a": "/a", "/a/bb": "/a", "/a/b/x/y": "/a/b", "/a/b/c": "/a/b/c"}},
		{"exclude of the same path", []string{"/a=config", "!/a", "/a/b=config"},
			map[entry.Path]string{"/a": "!/a", "/a/x": "!/a", "/a/b": "/a/b", "/a/b/c": "/a/b", "/a/bc": "!/a"}},
		{"whole components", []string{"/etc=config", "!/etc/mtab"},
			map[entry.Path]string{"/etc/mtab": "!/etc/mtab", "/etc/mtab2": "/etc", "/etc/MTAB": "/etc", "/etc/mta": "/etc", "/etc/mtab/x": "!/etc/mtab", "/etc/x/mtab": "/etc"}},
		{"below", []string{"/u=config", "!/u/d/**", "/u/d/y=log"},
			map[entry.Path]string{"/u/d": "/u", "/u/d/x": "!/u/d/**", "/u/d/y": "/u/d/y", "/u/d/y/z": "/u/d/y"}},
		{"rule and below", []string{"/u=config", "!/u/**"}, map[entry.Path]string{"/u": "/u", "/u/x": "!/u/**"}},
		{"literal beats glob", []string{"/h/*/s=log", "/h/b/s=all", "!/h/?/s"},
			map[entry.Path]string{"/h/b/s": "/h/b/s", "/h/cc/s": "/h/*/s", "/h/c/s": "!/h/?/s"}},
		{"doublestar", []string{"/**/x=log", "/a/**/b/*=all", "!**/tmp"},
			map[entry.Path]string{"/x": "/**/x", "/p/q/x/r": "/**/x", "/a/b/c": "/a/**/b/*", "/a/p/q/b/c": "/a/**/b/*",
				"/a/b": "", "/tmp": "!**/tmp", "/x/tmp/x": "/**/x", "/x/tmp/y": "!**/tmp"}},
		{"bytes", []string{"/a/?=config", "!/a/[!a-c]\xff", "!/a/[]x]\n"},
			map[entry.Path]string{"/a/\xff": "/a/?", "/a/é": "", "/a/d\xff": "!/a/[!a-c]\xff", "/a/a\xff": "", "/a/]\n": "!/a/[]x]\n"}},
		{"escaped", []string{`/a/\*=config`, `/b/\[x\\=config`},
			map[entry.Path]string{"/a/*": `/a/\*`, "/a/b": "", `/b/[x\`: `/b/\[x\\`}},
		{"dotfiles", []string{"/h/*=config"}, map[entry.Path]string{"/h/.x": "/h/*", "/h": ""}},
		{"homes", []string{"~/.ssh=config", "/home/*/.ssh=log", "/root/.ssh=all", "!~/.ssh/x"},
			map[entry.Path]string{"/root/.ssh": "/root/.ssh", "/root/.ssh/x": "!~/.ssh/x", "/home/a/.ssh/y": "~/.ssh",
				"/home/b/.ssh": "/home/*/.ssh", "/var/x/.ssh": "~/.ssh", "/.ssh": "~/.ssh", "/~/.ssh": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			homes := []entry.Path{"/root", "/home/a", "/var/x", "/", "nonsense", "/home/a"}
			for range 2 {
				p := rules(tt.lines...).ExpandHomes(homes)
				e := force(t, p, p)
				decide := e.Decider()
				for path, want := range tt.want {
					d := decide(path)
					if once := e.Decide(path); once != d {
						t.Errorf("%q: %+v, by itself %+v", path, d, once)
					}
					got := ""
					if d.Rule != nil {
						got = d.Rule.Pattern
					} else if d.Exclude != nil {
						got = "!" + d.Exclude.Pattern
					}
					if got != want || d.Select != (d.Rule != nil) {
						t.Errorf("%q: got %q, want %q", path, got, want)
					}
				}
				slices.Reverse(tt.lines)
			}
		})
	}
}

func TestUnion(t *testing.T) {
	old := rules("/etc=config", "/usr=binary", "/opt=config", "/x=sweep")
	now := rules("/etc=config", "!/etc/hide", "/usr=presence", "/srv=config", "/x=config")
	now.Skip = []string{"tmpfs", "ext4"}
	e := force(t, old, now)
	for path, want := range map[entry.Path]Decision{
		"/etc/a":    {Select: true},
		"/etc/hide": {Select: true, Narrower: "hidden by exclude /etc/hide (t:2:1)"},
		"/usr/a":    {Select: true, Narrower: "compared by presence only: path /usr (t:3:1)"},
		"/opt/a":    {Select: true, Narrower: "dropped: path /opt (t:3:1)"},
		"/srv/a":    {Wider: "path /srv (t:4:1)"},
		"/x":        {Select: true, Wider: "path /x (t:5:1)"},
		"/y":        {},
	} {
		d := e.Decide(path)
		if d.Select != want.Select || d.Wider != want.Wider || d.Narrower != want.Narrower {
			t.Errorf("%s: got %+v", path, d)
		}
		if d.Select && e.Sets()[d.Set] != old.Explain(path).Rule.Set {
			t.Errorf("%s: set %d", path, d.Set)
		}
	}
	if len(e.Sets()) != 2 || e.SkipFS("ext4") || e.SkipFS("nfs") || !e.SkipFS("tmpfs") {
		t.Error("sets or file systems")
	}
	if !slices.Equal(e.Sets(), force(t, old.ExpandHomes([]entry.Path{"/h"}), now).Sets()) {
		t.Error("sets depend on homes")
	}
	if d := force(t, old, nil).Decide("/opt"); !d.Select || d.Narrower != "" {
		t.Errorf("without configuration: %+v", d)
	}
	// Equal policies from different places: the one that can be looked up counts.
	again := rules("!/etc/hide", "/x=config", "/srv=config", "/usr=presence", "/etc=config")
	again.Skip = now.Skip
	if d := force(t, now, again).Decide("/usr"); d.Rule.Pos.Line != 4 || d.Narrower+d.Wider != "" {
		t.Errorf("%+v", d)
	}
}

func TestAliases(t *testing.T) {
	p := rules("/bin=binary", "/lib/modules=all", "!/bin/x/**", "/usr=config", "/usr/lib/y=log", "/lib/y=all", "~/.ssh=config", "~/.vim/*=log", "/**/z=log")
	p = p.ExpandHomes([]entry.Path{"/home/a", "/root"})
	e := force(t, p, p, Alias{"/bin", "/usr/bin"}, Alias{"/lib", "/usr/lib"}, Alias{"/lib/modules", "/usr/lib/modules"},
		Alias{"/home", "/data/home"}, Alias{"/root/.ssh", "/srv/keys"})
	for path, want := range map[entry.Path]string{
		"/bin": "/bin", "/usr/bin/ls": "/bin", "/usr/lib/modules/k": "/lib/modules", "/usr/bin/x": "/bin", "/usr/bin/x/y": "!/bin/x/**",
		"/usr/lib": "/usr", "/usr/lib/y/z1": "/usr/lib/y", "/data/home/a/.ssh/k": "~/.ssh", "/data/home/b/.ssh": "",
		"/data/home/a/.vim/q": "~/.vim/*", "/srv/keys/k": "~/.ssh", "/srv/k/z": "/**/z",
	} {
		if got := word(e.Decide(path)); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	roots := e.LiteralRoots()
	for _, r := range []entry.Path{"/bin", "/lib/modules", "/home/a/.ssh", "/root/.vim", "/"} {
		if !slices.Contains(roots, r) {
			t.Errorf("%s is no literal root", r)
		}
	}
	if x := e.Expected(); slices.Contains(x, "/home/a/.ssh") || !slices.Contains(x, "/bin") || slices.Contains(x, "/") {
		t.Errorf("expected %q", x)
	}
	e = force(t, rules("/bin=binary"), nil, Alias{"/bin", "/"})
	if !e.Self().Select || !e.Decide("/x").Select {
		t.Error("alias to /")
	}
}

func TestHere(t *testing.T) {
	e := force(t, rules("/=sweep", "/a=config", "!/a/b", "/c/*=log"), rules("/a/c=all", "/a/b=all", "/d=all"))
	for path, want := range map[entry.Path]bool{
		"/": true, "/x": false, "/a": true, "/a/c": false, "/a/b": true, "/a/b/x": false, "/c": false, "/c/x": true, "/c/x/y": false, "/d": false,
	} {
		if d := e.Decide(path); d.Here != want {
			t.Errorf("%s: got %+v", path, d)
		}
	}
}

// at returns the state of a directory.
func at(e *Effective, dir entry.Path) *State {
	start := e.Start()
	s := &start
	for _, n := range dir.Components() {
		if s = s.Enter([]byte(n)); s == nil {
			return nil
		}
	}
	return s
}

func TestMounts(t *testing.T) {
	one := rules("/=sweep", "/home=sweep", "/run/systemd/system=config", "/mnt/data=config", "!/mnt/data/x", "/home/*/.ssh=config", "~/.ssh=config", "/srv/*/k=log")
	one.Rules[4].OneFS = true // glob: names no mount
	one.Rules[3].OneFS = true // literal: does
	one = one.ExpandHomes([]entry.Path{"/nfs/a"})
	e := force(t, one, one)
	for path, want := range map[entry.Path]bool{
		"/": true, "/run": true, "/run/systemd": true, "/run/systemd/system": true, "/run/systemd/system/x": false, "/run/x": false,
		"/proc": false, "/home": false, "/home/a": false, "/nfs": false, "/nfs/a": false, "/mnt": true, "/mnt/data": true, "/mnt/data/y": false,
		"/srv": true, "/srv/a": false,
	} {
		if got := e.Named(path); got != want {
			t.Errorf("Named(%s) = %v", path, got)
		}
		s := at(e, path)
		if s == nil {
			t.Errorf("%s: no state", path)
		} else if got := s.Mounted() != nil; got != want && path != "/" {
			t.Errorf("Mounted at %s = %v", path, got)
		}
	}
	run := at(e, "/run").Mounted()
	if names, list := run.Names(); list || !slices.Equal(names, []string{"systemd"}) {
		t.Errorf("names %q, list %v", names, list)
	}
	if run.Match([]byte("x")).Select || run.Enter([]byte("x")) != nil {
		t.Error("the sweep of / reaches into a mount that is passed over")
	}
	sys := run.Enter([]byte("systemd")).Enter([]byte("system"))
	if d := sys.Match([]byte("u")); !d.Select || d.Rule.Pattern != "/run/systemd/system" {
		t.Errorf("%+v", d)
	}
	data := at(e, "/mnt/data").Mounted()
	if !data.Match([]byte("y")).Select || data.Match([]byte("x")).Select {
		t.Error("a rule for the mount point itself")
	}
}

func TestNames(t *testing.T) {
	p := rules("/etc/ssh=config", "/usr/lib/*/x=config", "/usr/bin=config", "!/usr/share/doc", "!/var/**")
	e := force(t, p, p)
	for dir, want := range map[entry.Path]string{"/": "etc,usr", "/etc": "ssh", "/usr": "bin,lib", "/etc/ssh": "*", "/usr/lib": "*", "/usr/lib/q": "x"} {
		names, list := at(e, dir).Names()
		got := strings.Join(names, ",")
		if list {
			got = "*"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
	if at(e, "/var") != nil || at(e, "/usr/share") != nil || at(e, "/home") != nil {
		t.Error("enters what cannot be selected")
	}
	if s := at(e, "/etc/ssh/a"); s.Enter([]byte("b")) != s || s.Enter([]byte("b")).Enter([]byte("c")) != s {
		t.Error("directories without lines of their own do not share their state")
	}
}

// C14: every way to take something away is told, and nothing is where nothing
// changed in effect.
func TestCompare(t *testing.T) {
	base := rules("/etc=config", "/usr=binary", "/opt=config", "~/.ssh=config", "/home/*/x=log", "!/usr/doc")
	base.Rules[0].Hot, base.Rules[0].Severity = true, "high"
	for _, tt := range []struct {
		name string
		edit func(p *Policy)
		want string
	}{
		{"same", func(p *Policy) { slices.Reverse(p.Rules) }, ""},
		{"dropped", func(p *Policy) { p.Rules = slices.Delete(p.Rules, 2, 3) }, "dropped path /opt (t:3:1) is gone"},
		{"dropped glob", func(p *Policy) { p.Rules = slices.Delete(p.Rules, 4, 5) }, "dropped path /home/*/x (t:5:1) is gone"},
		{"still covered", func(p *Policy) { p.Rules[2].Pattern = "/"; p.Rules[2].Group = "" }, "widened path / (t:3:1) is new"},
		{"excluded", func(p *Policy) { p.Excludes = append(p.Excludes, Exclude{"/etc/x", Pos{"t", 9, 1}}) }, "excluded exclude /etc/x (t:9:1) is new"},
		{"excluded above", func(p *Policy) { p.Excludes = append(p.Excludes, Exclude{"/home", Pos{"t", 9, 1}}) }, "excluded exclude /home (t:9:1) is new"},
		{"hides nothing", func(p *Policy) { p.Excludes = append(p.Excludes, Exclude{"/srv", Pos{"t", 9, 1}}) }, ""},
		{"exclude gone", func(p *Policy) { p.Excludes = nil }, "widened exclude /usr/doc (t:6:1) is gone"},
		{"reduced", func(p *Policy) { p.Rules[1].Set, _ = groupSet("metadata") }, "reduced path /usr (t:2:1) compared by binary, now by metadata: path /usr (t:2:1)"},
		{"reduced deeper", func(p *Policy) { p.Rules = append(p.Rules, rules("/etc/ssh=presence").Rules...) },
			`reduced path /etc (t:1:1) compared by binary, now by presence: path /etc/ssh (t:1:1)
lowered path /etc (t:1:1) had severity high, now none of its own: path /etc/ssh (t:1:1)
hot-removed path /etc (t:1:1) was watched in real time, now not: path /etc/ssh (t:1:1)`},
		{"one", func(p *Policy) { p.Rules[1].OneFS = true }, "one-filesystem path /usr (t:2:1) crossed mounts, now not: path /usr (t:2:1)"},
		{"budget", func(p *Policy) { p.Rules[1].Budget.Entries = 5 }, "budget path /usr (t:2:1) had a budget of any number of entries, now 5 entries: path /usr (t:2:1)"},
		{"file systems", func(p *Policy) { p.Skip = []string{"tmpfs", "ext4"} },
			"filesystem-skipped file systems of type ext4 are now skipped\nwidened file systems of type nfs are no longer skipped"},
		{"home", func(p *Policy) { p.Excludes = append(p.Excludes, Exclude{"~/.ssh", Pos{"t", 9, 1}}) }, "excluded exclude ~/.ssh (t:9:1) is new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := base.clone()
			tt.edit(now)
			var got []string
			for _, d := range Compare(base, now) {
				got = append(got, d.Kind+" "+d.Line)
			}
			if g := strings.Join(got, "\n"); g != tt.want {
				t.Errorf("got\n%s\nwant\n%s", g, tt.want)
			}
		})
	}
}

func TestExplainAndWarnings(t *testing.T) {
	p := rules("/=sweep", "/etc=config", "/etc/*/x=log", "!/etc/ssh", "/a=config", "!/a", "!/etc/a", "~/b=log").ExpandHomes([]entry.Path{"/h"})
	x := p.Explain("/etc/ssh/x/y")
	if !x.Selected || x.Rule.Pattern != "/etc/*/x" || x.At != "/etc/ssh/x" || len(x.Lost) != 3 ||
		x.Lost[0].Exclude.Pattern != "/etc/ssh" || x.Lost[2].At != "/" {
		t.Errorf("%+v", x)
	}
	if x := p.Explain("/h/b"); x.Rule.Pattern != "~/b" || x.At != "/h/b" {
		t.Errorf("%+v", x)
	}
	w := p.Warnings()
	if len(w) != 1 || w[0] != "path /a (t:5:1) can never match: hidden by exclude /a (t:6:1)" {
		t.Errorf("%q", w)
	}
	w = rules("/etc=config", "!/srv/x").Warnings()
	if len(w) != 1 || w[0] != "exclude /srv/x (t:2:1) hides nothing: no path selects anything there" {
		t.Errorf("%q", w)
	}
}

func benchmarkState(b *testing.B, dir entry.Path) (*Effective, *State) {
	p := Default().ExpandHomes([]entry.Path{"/root", "/home/alice"})
	e, err := Union(p, p, nil)
	if err != nil {
		b.Fatal(err)
	}
	return e, at(e, dir)
}

func BenchmarkMatch(b *testing.B) {
	for _, dir := range []entry.Path{"/", "/usr/share/zoneinfo", "/etc", "/srv/www/a", "/home/alice", "/var/log"} {
		b.Run(string(dir), func(b *testing.B) {
			_, s := benchmarkState(b, dir)
			name := []byte("some-usual-name.conf")
			b.ReportAllocs()
			for b.Loop() {
				s.Match(name)
			}
		})
	}
}

func BenchmarkEnter(b *testing.B) {
	_, s := benchmarkState(b, "/usr/share/zoneinfo")
	name := []byte("Europe")
	b.ReportAllocs()
	for b.Loop() {
		s.Enter(name)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	p := Default().ExpandHomes([]entry.Path{"/root", "/home/alice"})
	e := force(t, p, p)
	name := []byte("some-usual-name.php")
	for _, dir := range []entry.Path{"/", "/usr/share", "/srv/www/a", "/home/alice"} {
		s := at(e, dir)
		if n := testing.AllocsPerRun(10, func() { s.Match(name) }); n != 0 {
			t.Errorf("%s: %v allocations", dir, n)
		}
	}
}
