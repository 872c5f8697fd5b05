package review

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// thing is one finding of a test.
type thing struct {
	path  string
	class Class
	sev   rules.Severity
	kind  diff.Kind
	by    string
}

// memory is a Source that holds everything.
type memory []thing

func (m memory) Heads(_ context.Context, items []int32) (out []Head, err error) {
	if !slices.IsSorted(items) {
		return nil, errors.New("not in order")
	}
	for _, i := range items {
		out = append(out, Head{m[i].path, "because"})
	}
	return out, nil
}

func (m memory) Details(_ context.Context, items []int32) (out [][]string, err error) {
	for _, i := range items {
		out = append(out, []string{fmt.Sprintf("%-8s  %s  %q", strings.ToUpper(m[i].sev.String()), m[i].kind, m[i].path), "          why           " + strings.Repeat("because ", 20)})
	}
	return out, nil
}

func (m memory) Find(_ context.Context, text string) (func(int) bool, error, error) {
	if text == "[" {
		return nil, errors.New("no pattern"), nil
	}
	return func(i int) bool { return strings.Contains(m[i].path, text) }, nil, nil
}

func (m memory) items() *Items {
	list := NewItems()
	for _, x := range m {
		list.Add(Item{Class: x.class, Kind: x.kind, Severity: x.sev, Since: 1}, entry.Path(x.path), false, x.by)
	}
	return list
}

func (m memory) dialog(t testing.TB) *Dialog {
	t.Helper()
	d, err := NewDialog(t.Context(), m.items(), m)
	if err != nil {
		t.Fatal(err)
	}
	d.Title, d.Now = "accept: report 1", time.Unix(1e6, 0)
	return d
}

func press(t testing.TB, d *Dialog, keys string) {
	t.Helper()
	for _, k := range keys {
		if err := d.Key(t.Context(), Key(k)); err != nil {
			t.Fatal(err)
		}
	}
}

// below makes n changed files in dir.
func below(dir string, n int) (m memory) {
	for i := range n {
		m = append(m, thing{path: fmt.Sprintf("%s/%04d", dir, i), sev: rules.Medium, kind: diff.Changed})
	}
	return m
}

func titles(m *Model) (out []string) {
	for i := range m.Groups {
		s := m.Groups[i].Path
		if p := m.Groups[i].Part; p != "" {
			s += ", " + p
		}
		out = append(out, fmt.Sprintf("%s %d", s, m.Groups[i].Len()))
	}
	return out
}

func TestGroups(t *testing.T) {
	var many memory
	for i := range 30 {
		many = append(many, below(fmt.Sprintf("/home/u%02d", i), 2)...)
	}
	for _, c := range []struct {
		name string
		in   memory
		want []string
	}{
		{"one-app", append(below("/opt/app/a", 600), below("/opt/app/b", 400)...), []string{"/opt/app 1000"}},
		{"deepest", below("/data/x/y/z", 20), []string{"/data/x/y/z 20"}},
		{"containers", slices.Concat(below("/etc", 1), below("/etc/ssh", 2), below("/opt/a", 2), below("/opt/b", 2), below("/usr/bin", 2), below("/usr/lib/x", 2)),
			[]string{"/etc/0000 1", "/etc/ssh 2", "/opt/a 2", "/opt/b 2", "/usr/bin 2", "/usr/lib/x 2"}},
		{"too-many", many, []string{"/home 60"}},
		{"gravest-first", slices.Concat(below("/a", 2), memory{{path: "/b/x", sev: rules.Critical, kind: diff.Added}}, below("/c", 2)), []string{"/b/x 1", "/a 2", "/c 2"}},
		{"packages", memory{{path: "/etc/a", kind: diff.Changed, by: "p 1"}, {path: "/etc/b", kind: diff.Changed}, {path: "/usr/c", kind: diff.Changed, by: "p 1"}}, []string{"/etc/b 1", "p 1 2"}},
		{"classes", memory{{path: "/x", class: Lost, sev: rules.High}, {path: "/m", class: Mounts, sev: rules.High}, {path: "/n", class: Mounts}, {path: "/i", class: Own, sev: rules.Critical}},
			[]string{"/i 1", "mounts 2", "/x 1"}},
		{"root", memory{{path: "/x", kind: diff.Added}, {path: "/y", kind: diff.Added}}, []string{"/ 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := titles(c.in.dialog(t).Model); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	base := slices.Concat(below("/etc", 2), memory{{path: "/etc/ld.so.preload", sev: rules.Critical, kind: diff.Added}}, below("/opt/app/a", 20), below("/opt/app/b", 20))
	// Of base: 0 and 1 below /etc, 2 critical, 3 to 22 and 23 to 42 below /opt/app.
	span := func(from, to int) (l []int) {
		for i := from; i < to; i++ {
			l = append(l, i)
		}
		return l
	}
	for _, c := range []struct {
		name, keys string
		want       []int // taken
		over       bool
		accept     bool
	}{
		{"nothing", "", nil, false, false},
		{"enter-is-no", "\n\n", nil, false, false},
		{"group-without-critical", "y", span(0, 2), false, false},
		{"critical-y-is-not-enough", "yyy", span(0, 2), false, false},
		{"critical-yes", "yyyes\n", span(0, 3), false, false},
		{"critical-YES", "yyYES\n", span(0, 2), false, false},
		{"critical-yes-corrected", "yyyet\x7fs\n", span(0, 3), false, false},
		{"critical-escape", "yyyes\x1b", span(0, 2), false, false},
		{"search-and-take", "/app\ny", span(3, 43), false, false},
		{"search-none", "/nosuch\n", nil, false, false},
		{"search-bad-pattern", "/[\n", nil, false, false},
		{"split-take-one", "/app\nsy", span(3, 23), false, false},
		{"undo", "/app\nyu", nil, false, false},
		{"undo-split", "/app\nsuy", span(3, 43), false, false},
		{"undo-aside", "yu/app\ny", span(3, 43), false, false},
		{"quit-no", "yqn", span(0, 2), false, false},
		{"quit", "yqy", span(0, 2), true, false},
		{"finish", "yfy why\n", span(0, 2), true, true},
		{"no-reason", "yfy \n", span(0, 2), false, false},
		{"nothing-taken", "fy", nil, false, false},
		{"summary-enter-is-no", "yf\n", span(0, 2), false, false},
		{"details-and-back", "dq" + "y", span(0, 2), false, false},
		{"details-take-nothing", "dy", nil, false, false},
		{"help", "?q" + "y", span(0, 2), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := base.dialog(t)
			press(t, d, c.keys)
			var got []int
			for i, yes := range d.Chosen() {
				if yes {
					got = append(got, i)
				}
			}
			over, accept := d.Over()
			if !slices.Equal(got, c.want) || over != c.over || accept != c.accept {
				t.Errorf("taken %v, over %v, accept %v; want %v, %v, %v", got, over, accept, c.want, c.over, c.accept)
			}
		})
	}
}

func TestLostCannotBeTaken(t *testing.T) {
	for _, sev := range []rules.Severity{rules.High, rules.Critical} {
		d := memory{{path: "/a", class: Lost, sev: sev, kind: diff.Unverified}}.dialog(t)
		press(t, d, "y")
		if !strings.Contains(strings.Join(d.View().lines, "\n"), ErrLost.Error()) {
			t.Errorf("%s: nothing is said of it", sev)
		}
		if press(t, d, "yes\ny"); d.Chosen()[0] {
			t.Errorf("%s: taken", sev)
		}
	}
}

// One yes is for one critical finding.
func TestYesIsForOne(t *testing.T) {
	m := memory{{path: "/a/x", sev: rules.Critical, kind: diff.Added}, {path: "/a/y", sev: rules.Critical, kind: diff.Added}}.dialog(t).Model
	if err := m.TakeCritical(); err != ErrByName || m.Groups[0].Answer != None {
		t.Errorf("got %v, want %v", err, ErrByName)
	}
}

// What is pasted is text where text is asked for, and no answer elsewhere.
func TestPaste(t *testing.T) {
	d := memory{{path: "/a/x", sev: rules.Critical, kind: diff.Added}, {path: "/b/x", kind: diff.Added}}.dialog(t)
	paste := func(s string) {
		for _, k := range s {
			if err := d.Paste(t.Context(), Key(k)); err != nil {
				t.Fatal(err)
			}
		}
	}
	paste("y")
	press(t, d, "y")
	paste("yes\n")
	press(t, d, "\n/")
	paste("/b\x1b\n")
	press(t, d, "\nyfy")
	paste("be\ncause")
	press(t, d, "\n")
	if got := d.Chosen(); got[0] || !got[1] || d.Reason != "because" {
		t.Errorf("taken %v, reason %q", got, d.Reason)
	}
}

// random is a list of findings below few directories.
func random(r *rand.Rand) (m memory) {
	dirs := []string{"/etc", "/etc/ssh", "/opt/app/a", "/opt/app/b/c", "/usr/bin"}
	for _, dir := range dirs {
		for _, x := range below(dir, r.IntN(150)) {
			x.sev, x.kind = rules.Severity(r.IntN(int(rules.Critical)+1)), diff.Kind(1+r.IntN(4))
			if r.IntN(9) == 0 {
				x.by = "pkg"
			}
			m = append(m, x)
		}
	}
	for i := range 1 + r.IntN(5) {
		m = append(m, thing{fmt.Sprintf("/row%d", i), Own + Class(r.IntN(int(Lost-Own)+1)), rules.Severity(r.IntN(5)), diff.Changed, ""})
	}
	return m
}

// Whatever is pressed: each item is in one group, nothing lost is taken, and
// nothing critical but by its own yes.
func TestAnyKeys(t *testing.T) {
	keys := []rune("yyyyynnddsssttuu/f?qb \nyes\x1b\x7fjk\r")
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := random(r)
		d := m.dialog(t)
		said := map[int]bool{} // critical items that a whole yes was typed for
		var trace []rune
		for range 400 {
			k := keys[r.IntN(len(keys))]
			trace = append(trace, k)
			if d.mode == confirming && (k == '\n' || k == '\r') && string(d.text) == "yes" {
				said[d.Groups[d.At].Worst] = true
			}
			press(t, d, string(k))
			if r.IntN(20) == 0 {
				d.Resize(20+r.IntN(100), r.IntN(40))
				if err := d.refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			fits(t, d)
			if over, _ := d.Over(); over {
				break
			}
		}
		seen := make([]int, len(m))
		for i := range d.Groups {
			for _, x := range d.Groups[i].items {
				seen[x]++
			}
		}
		for i, yes := range d.Chosen() {
			if seen[i] != 1 {
				t.Fatalf("seed %d: item %d is in %d groups", seed, i, seen[i])
			}
			if yes && (m[i].class == Lost || m[i].sev == rules.Critical && !said[i]) {
				t.Fatalf("seed %d: %v is taken by %q", seed, m[i], string(trace))
			}
		}
	}
}

// fits holds a screen against its size.
func fits(t *testing.T, d *Dialog) {
	t.Helper()
	for _, plain := range []bool{false, true} {
		d.Plain = plain
		f := d.View()
		if !plain && len(f.lines) > d.height {
			t.Fatalf("%d lines on a screen of %d", len(f.lines), d.height)
		}
		for _, l := range f.lines {
			if width(l) > d.width || strings.ContainsAny(l, "\n\r\x1b") {
				t.Fatalf("mode %d: %d columns on a screen of %d: %q", d.mode, width(l), d.width, l)
			}
		}
	}
	d.Plain = false
}

// Undo leads back through the very same states.
func TestUndoIsTheInverse(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		d := random(r).dialog(t)
		m := d.Model
		var states [][]Group
		for range 60 {
			m.At = r.IntN(len(m.Groups))
			before, n := slices.Clone(m.Groups), len(m.history)
			switch r.IntN(5) {
			case 0:
				m.Leave()
			case 1:
				m.Take()
			case 2:
				m.TakeCritical()
			case 3:
				m.Split()
			case 4:
				m.SplitKinds()
			}
			switch len(m.history) - n {
			case 1:
				states = append(states, before)
			case 0:
				if !reflect.DeepEqual(before, m.Groups) {
					t.Fatalf("seed %d: a change that cannot be undone", seed)
				}
			default:
				t.Fatalf("seed %d: one key, several steps", seed)
			}
			if r.IntN(4) == 0 && len(states) > 0 {
				if !m.Undo() || !reflect.DeepEqual(m.Groups, states[len(states)-1]) {
					t.Fatalf("seed %d: undo leads elsewhere", seed)
				}
				states = states[:len(states)-1]
			}
		}
		for ; len(states) > 0; states = states[:len(states)-1] {
			if !m.Undo() || !reflect.DeepEqual(m.Groups, states[len(states)-1]) {
				t.Fatalf("seed %d: undo leads elsewhere", seed)
			}
		}
		if m.Undo() {
			t.Fatalf("seed %d: more to undo than was done", seed)
		}
	}
}

// Splitting comes to an end, at single changes, however many there are.
func TestSplitToTheEnd(t *testing.T) {
	m := below("/opt/app", 30000)
	d := m.dialog(t)
	for range 10 {
		if d.Groups[d.At].Single {
			break
		}
		n := d.Groups[d.At].Len()
		press(t, d, "s")
		if got := d.Groups[d.At].Len(); got >= n || len(d.Groups) > 1000 {
			t.Fatalf("a group of %d became one of %d, %d in all", n, got, len(d.Groups))
		}
	}
	if g := &d.Groups[d.At]; !g.Single || g.Path != "/opt/app/0000" {
		t.Errorf("ended at %q, %d changes", g.Path, g.Len())
	}
}

// The pages of the details show each finding once, whole, and lead back.
func TestPager(t *testing.T) {
	d := below("/opt/app", 57).dialog(t)
	d.Resize(60, 20)
	press(t, d, "d")
	var pages []string
	for range 100 {
		pages = append(pages, strings.Join(d.details(), "\n"))
		if !d.pager.more() {
			break
		}
		press(t, d, " ")
	}
	all := strings.Join(pages, "\n")
	for i := range 57 {
		if n := strings.Count(all, fmt.Sprintf(`"/opt/app/%04d"`, i)); n != 1 {
			t.Errorf("finding %d is shown %d times", i, n)
		}
	}
	for i := len(pages) - 2; i >= 0; i-- {
		press(t, d, "b")
		if got := strings.Join(d.details(), "\n"); got != pages[i] {
			t.Fatalf("page %d is another on the way back", i)
		}
	}
}

func TestColumns(t *testing.T) {
	for _, c := range []struct {
		in   string
		w    int
		cut  string
		mid  string
		wide int
	}{
		{"abc", 3, "abc", "abc", 3},
		{"abcdefghi", 6, "abcde…", "ab…ghi", 9},
		{"日本語", 4, "日…", "…語", 6},
		{"e\u0301" + "x", 2, "e\u0301x", "e\u0301x", 2},
	} {
		if got := cut(c.in, c.w); got != c.cut {
			t.Errorf("cut %q: %q, want %q", c.in, got, c.cut)
		}
		if got := shorten(c.in, c.w); got != c.mid {
			t.Errorf("shorten %q: %q, want %q", c.in, got, c.mid)
		}
		if got := width(c.in); got != c.wide {
			t.Errorf("width %q: %d, want %d", c.in, got, c.wide)
		}
	}
	if got := cut("x"+strings.Repeat("\u0301", 1000), 5); len(got) > 30 {
		t.Errorf("%d bytes in five columns", len(got))
	}
}

func TestDecode(t *testing.T) {
	var d decoder
	var got []stroke
	for _, piece := range []string{"yé"[:2], "é"[1:], "\x1b", "\x1b[A\x1b[5~\x1b[99;5Zx", "\x1b[200~y\x1b[2", "01~n", "\xff"} {
		got = append(got, d.decode([]byte(piece))...)
	}
	want := []stroke{{key: 'y'}, {key: 'é'}, {key: Escape}, {key: Up}, {key: PageUp}, {key: 'x'}, {'y', true}, {key: 'n'}, {key: 0xfffd}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("y\x1b[A\x1b[200~x\x1b[201~\xc3\xa9"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		at = max(0, min(at, len(b)))
		var d decoder
		n := len(d.decode(b[:at])) + len(d.decode(b[at:]))
		if n > len(b) || len(d.rest) > maxSequence {
			t.Errorf("%d keys and %d bytes of %d", n, len(d.rest), len(b))
		}
	})
}

func FuzzColumns(f *testing.F) {
	f.Add("/opt/日本/\x1b[31m\xff\u202e", 10)
	f.Fuzz(func(t *testing.T, s string, w int) {
		w = max(4, min(w, 200))
		for _, got := range append(wrap(s, w, 4), cut(s, w), shorten(s, w)) {
			if width(got) > w {
				t.Errorf("%d columns of %d: %q", width(got), w, got)
			}
		}
	})
}
