package integrity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"testing"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

var (
	all    = entry.Set{Mask: entry.All, DirMask: entry.All}
	nodata = entry.Set{Mask: entry.All &^ entry.Content, DirMask: entry.Type}
	logSet = entry.Set{Mask: entry.Type | entry.Mode | entry.Content, DirMask: entry.Type, Log: true}
	sweep  = entry.Set{Mask: entry.Type | entry.Mode | entry.UID | entry.GID | entry.Caps, DirMask: entry.Type, Sweep: true}
	netRaw = slices.Concat(le(0x02000001), le(1<<13), le(0), le(0), le(0))
)

func le(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// acl lets one named user do perm, read is what the rest may.
func acl(user uint32, perm byte) []byte {
	return slices.Concat(le(2), []byte{1, 0, 6, 0}, le(0), []byte{2, 0, perm, 0}, le(user), []byte{0x20, 0, 4, 0}, le(0))
}

type edit func(*entry.Entry)

func object(k entry.Kind, mode uint16, edits ...edit) *entry.Entry {
	e := &entry.Entry{Kind: k, Have: entry.Applicable(k), Mode: mode, Nlink: 1, Inode: 5, Device: 1, Size: 9, Hashed: 9,
		Mtime: entry.Time{Sec: 100}, Ctime: entry.Time{Sec: 100}, Btime: entry.Time{Sec: 50}}
	for _, f := range edits {
		f(e)
	}
	return e
}

func file(mode uint16, edits ...edit) *entry.Entry { return object(entry.File, mode, edits...) }
func dir(mode uint16, edits ...edit) *entry.Entry  { return object(entry.Dir, mode, edits...) }

func added(p string, e *entry.Entry, s entry.Set) *diff.Change {
	return &diff.Change{Kind: diff.Added, Path: entry.Path(p), New: e, NewSet: s}
}

func removed(p string, e *entry.Entry, s entry.Set) *diff.Change {
	return &diff.Change{Kind: diff.Removed, Path: entry.Path(p), Old: e, OldSet: s}
}

// changed compares as Join does.
func changed(p string, s entry.Set, old *entry.Entry, edits ...edit) *diff.Change {
	now := old.Clone()
	for _, f := range edits {
		f(now)
	}
	var got *diff.Change
	sets := entry.Sets{s}
	parent := entry.Path(p).Dir()
	old.Name, now.Name = []byte(entry.Path(p).Base()), []byte(entry.Path(p).Base())
	err := diff.Join(parent, []entry.Entry{*old}, []entry.Entry{*now}, sets, sets, func(c *diff.Change) error { got = c; return nil })
	if err != nil || got == nil {
		panic(fmt.Sprint("no change of ", p, err))
	}
	return got
}

func renamed(from, to string, old *entry.Entry, s entry.Set, edits ...edit) *diff.Change {
	now := old.Clone()
	for _, f := range edits {
		f(now)
	}
	return &diff.Change{Kind: diff.Renamed, Path: entry.Path(to), From: entry.Path(from), Old: old, New: now, OldSet: s, NewSet: s,
		Attrs: entry.Differ(old, now, s.For(old.Kind))}
}

func retyped(p string, old, now *entry.Entry) *diff.Change {
	return &diff.Change{Kind: diff.Changed, Path: entry.Path(p), Old: old, New: now, OldSet: all, NewSet: all, Attrs: entry.Type}
}

func written(e *entry.Entry) {
	e.Digest, e.Mtime.Sec, e.Ctime.Sec = digest.Digest{1}, 200, 200
}
func chmod(m uint16) edit        { return func(e *entry.Entry) { e.Mode, e.Ctime.Sec = m, 200 } }
func chown(u uint32) edit        { return func(e *entry.Entry) { e.UID = u } }
func caps(v []byte) edit         { return func(e *entry.Entry) { e.Caps = v } }
func lose(a entry.Attr) edit     { return func(e *entry.Entry) { e.Have &^= a } }
func withACL(v []byte) edit      { return func(e *entry.Entry) { e.ACL = v } }
func flags(v uint32) edit        { return func(e *entry.Entry) { e.Flags = v } }
func otherObject(e *entry.Entry) { e.Inode, e.Ctime.Sec, e.Mtime.Sec = 77, 200, 200 }

func list(changes ...*diff.Change) iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func run(t *testing.T, floor func(string) rules.Severity, changes ...*diff.Change) (got []rules.Finding) {
	t.Helper()
	in := rules.Input{Changes: list(changes...), Floor: floor}
	err := rules.Run(context.Background(), []rules.Set{New(Options{SystemDirs: []string{"/srv/app"}})}, in, func(f rules.Finding) error {
		got = append(got, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func short(fs []rules.Finding) string {
	var s []string
	for _, f := range fs {
		s = append(s, f.Rule+" "+f.Severity.String())
	}
	return strings.Join(s, ", ")
}

// checkFinding holds for every finding.
func checkFinding(t *testing.T, f rules.Finding) {
	t.Helper()
	if f.Set != "integrity" || len(f.Reasons) == 0 || f.Diff == nil || f.Subject.Path == "" || f.RawSeverity != f.Severity {
		t.Errorf("incomplete: %+v", f)
	}
	for _, r := range f.Reasons {
		if r == "" || strings.ContainsFunc(r, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: reason %q", f.Subject.Path, r)
		}
	}
	if order(f.Rule) < 0 {
		t.Errorf("%s: no rule %q", f.Subject.Path, f.Rule)
	}
	words := []string{"", "added", "removed", "changed", "renamed", "replaced"}
	if !slices.Contains(words, f.Change) {
		t.Errorf("%s: change %q", f.Subject.Path, f.Change)
	}
}

func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.ID] || r.Title == "" || r.Why == "" {
			t.Errorf("row %+v", r)
		}
		seen[r.ID] = true
	}
	for _, p := range places {
		if !seen[p.rule] || p.reason == "" || p.gone > p.severity {
			t.Errorf("place %+v", p)
		}
		example := strings.NewReplacer("**/", "/home/x/", "/**", "/y", "*", "z").Replace(p.pattern)
		if got := placeOf(example); got == nil {
			t.Errorf("%q has no place, though its pattern is %q", example, p.pattern)
		}
	}
}

func TestValues(t *testing.T) {
	old := file(0o644, caps(netRaw))
	c := changed("/etc/f", all, old, chmod(0o755), caps(nil), func(e *entry.Entry) { e.Ctime.Sec = 100 })
	want := "[{mode 0644 0755 true true} {caps cap_net_raw=ep  true false}]"
	if got := fmt.Sprint(run(t, nil, c)[0].Attributes); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c = added("/etc/f", file(0o644), sweep)
	want = "[{type  file false true} {mode  0644 false true} {uid  0 false true} {gid  0 false true}]"
	if got := fmt.Sprint(run(t, nil, c)[0].Attributes); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c = removed("/etc/f", file(0o644), entry.Set{Mask: entry.Content})
	if got := run(t, nil, c)[0].Attributes; len(got) != 2 || got[1].Old != strings.Repeat("0", 64) || got[1].NewKnown {
		t.Errorf("got %v", got)
	}
}

func TestFloor(t *testing.T) {
	floor := func(p string) rules.Severity {
		switch p {
		case "/srv/high":
			return rules.High
		case "/usr/bin/f":
			return rules.Low
		}
		return rules.Info
	}
	for _, tc := range []struct {
		c    *diff.Change
		want string
	}{
		{changed("/srv/high", all, file(0o644), func(e *entry.Entry) { e.Mtime.Sec = 1 }), "fim.touch high"},
		{changed("/usr/bin/f", all, file(0o755), written), "fim.content high"},
		{renamed("/srv/high", "/srv/low", file(0o644), all), "fim.renamed high"},
		{changed("/srv/high", all, file(0o644), lose(entry.Content)), "coverage.lost high"},
		{changed("/srv/high", all, file(0o644, lose(entry.Content)), func(e *entry.Entry) { e.Have |= entry.Content }), "fim.regained info"},
	} {
		if got := short(run(t, floor, tc.c)); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.c.Path, got, tc.want)
		}
	}
}

// What is told elsewhere makes no finding, unless it would hide a graver one.
func TestTold(t *testing.T) {
	folded := func(c *diff.Change) *diff.Change { c.Folded = true; return c }
	linked := func(c *diff.Change, to string) *diff.Change { c.LinkOf = entry.Path(to); return c }
	links := func(c *diff.Change, l ...entry.Path) *diff.Change { c.Links = l; return c }
	touch := func(e *entry.Entry) { e.Mtime.Sec = 1 }
	for _, tc := range []struct {
		name    string
		changes []*diff.Change
		want    string
	}{
		{"folded-dir", []*diff.Change{folded(changed("/etc", all, dir(0o755), touch)), added("/etc/f", file(0o644), all)}, "fim.added medium"},
		{"links", []*diff.Change{links(changed("/etc/a", all, file(0o644), written), "/etc/b"), linked(changed("/etc/b", all, file(0o644), written), "/etc/a")}, "fim.content medium"},
		{"graver-link", []*diff.Change{links(added("/srv/a", file(0o755), all), "/usr/bin/b"), linked(added("/usr/bin/b", file(0o755), all), "/srv/a")},
			"fim.executable medium, fim.executable high"},
		{"moved-along", []*diff.Change{renamed("/srv/a", "/srv/b", dir(0o755), all), folded(renamed("/srv/a/f", "/srv/b/f", file(0o644), all))}, "fim.renamed low"},
		{"graver-moved-along", []*diff.Change{renamed("/srv/a", "/srv/b", dir(0o755), all), folded(renamed("/srv/a/f", "/srv/b/f", file(0o4755), all))},
			"fim.renamed low, fim.renamed high"},
		{"moved-along-with-a-grave-dir", []*diff.Change{renamed("/srv/a", "/srv/b", dir(0o777), all), folded(renamed("/srv/a/f", "/srv/b/f", file(0o644), all))}, "fim.renamed medium"},
		{"after-the-dir", []*diff.Change{renamed("/srv/a", "/srv/b", dir(0o755), all), added("/srv/c", file(0o644), all)}, "fim.renamed low, fim.added low"},
	} {
		if got := short(run(t, nil, tc.changes...)); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	f := run(t, nil, links(added("/srv/a", file(0o644), all), "/srv/b", "/srv/c"))[0]
	if !slices.Equal(f.Links, []string{"/srv/b", "/srv/c"}) || f.Change != "added" || f.Subject != (rules.Subject{Kind: "file", Path: "/srv/a"}) {
		t.Errorf("got %+v", f)
	}
}

// by explains changes by their path.
type by map[entry.Path]string

func (b by) Explain(_ context.Context, c *diff.Change) (rules.Explanation, bool) {
	level, ok := b[c.Path]
	return rules.Explanation{Level: level}, ok
}

// A name that is explained less well than the one that stands for it is told by
// itself.
func TestToldAndExplained(t *testing.T) {
	for _, tc := range []struct {
		name string
		by   by
		want string
	}{
		{"nobody", by{}, "fim.content medium"},
		{"both", by{"/etc/a": rules.Signed, "/etc/b": rules.Signed}, "fim.content info"},
		{"first-alone", by{"/etc/a": rules.Signed}, "fim.content info, fim.content medium"},
		{"second-weaker", by{"/etc/a": rules.Signed, "/etc/b": rules.Attributed}, "fim.content info, fim.content medium"},
		{"second-alone", by{"/etc/b": rules.Signed}, "fim.content medium"},
		{"attributed", by{"/etc/a": rules.Attributed}, "fim.content medium, fim.content medium"},
	} {
		a, b := changed("/etc/a", all, file(0o644), written), changed("/etc/b", all, file(0o644), written)
		a.Links, b.LinkOf = []entry.Path{"/etc/b"}, "/etc/a"
		var got []rules.Finding
		seq := func(yield func(*diff.Change, error) bool) { _ = yield(a, nil) && yield(b, nil) }
		err := rules.Run(context.Background(), []rules.Set{New(Options{})}, rules.Input{Changes: seq, Explain: tc.by}, func(f rules.Finding) error {
			got = append(got, f)
			return nil
		})
		if err != nil || short(got) != tc.want {
			t.Errorf("%s: got %q, want %q, %v", tc.name, short(got), tc.want, err)
		}
	}
}

func TestReasonsAndTechniques(t *testing.T) {
	f := run(t, nil, changed("/usr/bin/su", all, file(0o755), written, chmod(0o4777)))[0]
	if f.Rule != ruleSetuid || len(f.Reasons) < 3 || !slices.Contains(f.Reasons, "gains: runs with the rights of user 0 (root)") {
		t.Errorf("got %s %q", f.Rule, f.Reasons)
	}
	for _, id := range []string{"T1554", "T1548.001", "T1222.002"} {
		if !slices.Contains(f.Attack, id) {
			t.Errorf("%s is not in %v", id, f.Attack)
		}
	}
}

func TestJudgeErrors(t *testing.T) {
	broken, stop := errors.New("broken"), errors.New("stop")
	bad := func(yield func(*diff.Change, error) bool) { yield(nil, broken) }
	sets := []rules.Set{New(Options{})}
	if err := rules.Run(context.Background(), sets, rules.Input{Changes: bad}, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	one := rules.Input{Changes: list(added("/etc/f", file(0o644), all))}
	if err := rules.Run(context.Background(), sets, one, func(rules.Finding) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	many := make([]*diff.Change, 2000)
	for i := range many {
		many[i] = added("/etc/f", file(0o644), all)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := rules.Run(ctx, sets, rules.Input{Changes: list(many...)}, func(rules.Finding) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		pattern, path string
		want          bool
	}{
		{"/etc/passwd", "/etc/passwd", true},
		{"/etc/passwd", "/etc/passwd2", false},
		{"/etc/passwd", "/x/etc/passwd", false},
		{"/etc/ssh/**", "/etc/ssh", true},
		{"/etc/ssh/**", "/etc/ssh/a/b", true},
		{"/etc/ssh/**", "/etc/ssh2/a", false},
		{"/usr/lib/*/security/**", "/usr/lib/x/security/y", true},
		{"/usr/lib/*/security/**", "/usr/lib/x/y/security", false},
		{"/etc/cron.*ly/**", "/etc/cron.daily", true},
		{"/etc/cron.*ly/**", "/etc/cron.d/ly", false},
		{"**/.ssh/rc", "/.ssh/rc", true},
		{"**/.ssh/rc", "/home/a\n\xff/.ssh/rc", true},
		{"**/.ssh/rc", "/home/x.ssh/rc", false},
		{"**/.ssh/**", "/root/.ssh", true},
		{"**/.ssh/**", "/root/.ssh/a/b", true},
		{"**/.ssh/**", "/root/.sshd/a", false},
		{"**/*.ko", "/a/b.ko", true},
		{"**/*.ko", "/a.ko/b", false},
		{"**/*.ko", "/\xff\x1b.ko", true},
	} {
		if got := matches(tc.pattern, tc.path); got != tc.want {
			t.Errorf("%q, %q: got %v", tc.pattern, tc.path, got)
		}
	}
	for p, want := range map[string]string{"/bin": "/usr/bin", "/lib64/x": "/usr/lib64/x", "/binary": "/binary", "/usr/bin": "/usr/bin", "/": "/"} {
		if got := merged(p); got != want {
			t.Errorf("merged(%q) = %q, want %q", p, got, want)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	var changes []*diff.Change
	for i := range 1000 {
		changes = append(changes, changed(fmt.Sprintf("/usr/lib/x86_64-linux-gnu/pkg%d/lib%d.so", i%10, i), all, file(0o644), written))
	}
	s := New(Options{})
	for b.Loop() {
		if err := s.Judge(b.Context(), rules.Input{Changes: list(changes...)}, func(rules.Finding) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(changes))/b.Elapsed().Seconds(), "changes/s")
}

// Whatever an entry holds, a change of it becomes a finding.
func FuzzJudge(f *testing.F) {
	f.Add("/etc/f", "/usr/bin/\xff", uint16(0o644), uint16(0o6777), uint32(entry.Mode|entry.ACL), []byte{2, 0, 0, 0}, uint8(3), uint8(1), uint8(1))
	f.Add("/lib", "/", uint16(0o1777), uint16(0), uint32(entry.All), []byte("caps"), uint8(4), uint8(2), uint8(6))
	f.Fuzz(func(t *testing.T, from, to string, was, is uint16, attrs uint32, raw []byte, kind, a, b uint8) {
		if to == "" || strings.Contains(to, "\x00") {
			return
		}
		old, now := object(entry.Kind(a%8), was), object(entry.Kind(b%8), is)
		now.ACL, now.Caps = raw, raw
		c := &diff.Change{Kind: diff.Kind(1 + kind%7), Path: entry.Path(to), From: entry.Path(from), Old: old, New: now, OldSet: all, NewSet: all,
			Attrs: entry.Attr(attrs) & entry.All}
		got := run(t, nil, c)
		if len(got) == 0 {
			t.Errorf("no finding for %s %q", c.Kind, to)
		}
		for _, f := range got {
			checkFinding(t, f)
		}
	})
}

// TestMatchesAtOnce holds what matches does without making strings against the
// same in plain words, for every place.
func TestMatchesAtOnce(t *testing.T) {
	plain := func(pattern, p string) bool {
		anywhere := strings.HasPrefix(pattern, "**/")
		body, below := strings.CutSuffix(strings.TrimPrefix(pattern, "**"), "/**")
		switch {
		case anywhere && below:
			return strings.Contains(p+"/", body+"/")
		case anywhere:
			p = lastComponents(p, strings.Count(body, "/"))
		case below:
			p = firstComponents(p, strings.Count(body, "/"))
		}
		ok, err := path.Match(body, p)
		return ok || err != nil
	}
	var paths []string
	for _, pl := range places {
		for _, star := range []string{"", "x", "/", "a.b-c"} {
			p := strings.ReplaceAll(strings.TrimPrefix(pl.pattern, "**"), "/**", "/"+star)
			p = strings.TrimSuffix(strings.ReplaceAll(p, "*", star), "/")
			paths = append(paths, p, p+"/y", "/home/u"+p, p+p, p+"x", p+"x"+p, p[:len(p)-1])
		}
	}
	for _, p := range paths {
		i := slices.IndexFunc(places[:], func(pl place) bool { return plain(pl.pattern, merged(p)) })
		if got := placeOf(p); (got == nil) != (i < 0) || got != nil && got != &places[i] {
			t.Fatalf("%q: place %+v, want number %d", p, got, i)
		}
	}
	found := 0
	for _, pl := range places {
		for _, p := range paths {
			want := plain(pl.pattern, p)
			if got := matches(pl.pattern, p); got != want {
				t.Fatalf("%q, %q: got %v, want %v", pl.pattern, p, got, want)
			}
			if want {
				found++
			}
		}
	}
	if found < len(places) {
		t.Errorf("only %d matches of %d paths", found, len(paths))
	}
}
