package scanner_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// ordered notes the order in which directories come.
type ordered struct {
	scanner.Sink
	dirs []entry.Path
}

func (o *ordered) Dir(w int, b *entry.Block) error {
	o.dirs = append(o.dirs, b.Dir)
	return o.Sink.Dir(w, b)
}

// What users fill costs no more than its budget, comes after everything else
// and is one gap.
func TestBudget(t *testing.T) {
	p := newPlace(t)
	for i := range 400 {
		p.write(fmt.Sprintf("/home/u%d/d%02d/f", i%4, i), "x")
		p.write(fmt.Sprintf("/tmp/d%02d/f", i), "x")
		p.write(fmt.Sprintf("/etc/d%02d/f", i), "x")
	}
	rules := []string{"{path: /etc, attributes: config}", "{path: /home, attributes: config, budget: {entries: 100}}", "{path: /tmp, attributes: config, budget: {entries: 1000000}}"}
	eff := p.policy(rules...)
	for _, workers := range []int{1, 4} {
		k := p.scan(eff, scanner.Options{Workers: workers})
		g := k.gapsOf("/home")
		if len(k.gaps) != 1 || len(g) != 1 || g[0].Reason != scanner.ReasonBudget || !g[0].Subtree {
			t.Errorf("%d workers: gaps %+v", workers, k.gaps)
		}
		n := map[string]int{}
		for _, path := range k.paths() {
			n[strings.SplitN(path, "/", 3)[1]]++
		}
		if n["etc"] != 801 || n["tmp"] != 801 || n["home"] < 100 || n["home"] > 400 {
			t.Errorf("%d workers: %v", workers, n)
		}
	}
	// With one worker the order is certain.
	r, err := dirfd.Open(p.dir)
	p.must(err)
	defer r.Close()
	o := &ordered{Sink: newTaken(t, eff)}
	_, err = scanner.Run(context.Background(), r, eff, scanner.Options{Workers: 1}, nil, o)
	p.must(err)
	limited := slices.IndexFunc(o.dirs, func(d entry.Path) bool { return d.Under("/home") || d.Under("/tmp") })
	last := 0
	for i, d := range o.dirs {
		if d.Under("/etc") {
			last = i
		}
	}
	if limited < last {
		t.Errorf("%s comes at %d, before %s at %d", o.dirs[limited], limited, o.dirs[last], last)
	}
	slow := p.policy("{path: /etc, attributes: config}", "{path: /home, attributes: config, budget: {time: 1ns}}")
	k := p.scan(slow, scanner.Options{})
	if g := k.gapsOf("/home"); len(k.gaps) != 1 || len(g) != 1 || g[0].Reason != scanner.ReasonBudget {
		t.Errorf("time: gaps %+v", k.gaps)
	}
}

func TestLimit(t *testing.T) {
	p := newPlace(t)
	for _, n := range []string{"/a/b/c/f", "/a/b/g", "/a/b2/f", "/a/x", "/z/f", "/ab/f"} {
		p.write(n, n)
	}
	for _, tt := range []struct {
		limit []entry.Path
		want  []string
	}{
		{[]entry.Path{"/a/b"}, []string{"/a", "/a/b", "/a/b/c", "/a/b/c/f", "/a/b/g"}},
		{[]entry.Path{"/a/b/g"}, []string{"/a", "/a/b", "/a/b/g"}},
		{[]entry.Path{"/a/b/g", "/z"}, []string{"/a", "/a/b", "/a/b/g", "/z", "/z/f"}},
		{[]entry.Path{"/a", "/a/b"}, []string{"/a", "/a/b", "/a/b/c", "/a/b/c/f", "/a/b/g", "/a/b2", "/a/b2/f", "/a/x"}},
		{[]entry.Path{"/nowhere"}, nil},
		{[]entry.Path{"/a/nowhere/f"}, []string{"/a"}},
		{[]entry.Path{"/"}, []string{"/", "/a", "/a/b", "/a/b/c", "/a/b/c/f", "/a/b/g", "/a/b2", "/a/b2/f", "/a/x", "/ab", "/ab/f", "/z", "/z/f"}},
	} {
		k := p.scan(p.policy(), scanner.Options{Limit: tt.limit})
		k.noGaps()
		if got := k.paths(); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.limit, got, tt.want)
		}
	}
}

func TestHidden(t *testing.T) {
	p := newPlace(t)
	for _, n := range []string{"/a/b/f", "/a/g", "/h"} {
		p.write(n, n)
	}
	k := p.scan(p.policy(), scanner.Options{Hidden: map[entry.Path]scanner.Reason{"/a/b": scanner.ReasonHidden, "/gone": scanner.ReasonRootGone}})
	if got, want := k.paths(), []string{"/", "/a", "/a/g", "/h"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for path, reason := range map[entry.Path]scanner.Reason{"/a/b": scanner.ReasonHidden, "/gone": scanner.ReasonRootGone} {
		if g := k.gapsOf(path); len(g) != 1 || g[0].Reason != reason || !g[0].Subtree || g[0].Attrs != 0 {
			t.Errorf("%s: gaps %+v", path, g)
		}
	}
	if len(k.gaps) != 2 || k.stats.Gaps != 2 {
		t.Errorf("%d gaps, counted %d", len(k.gaps), k.stats.Gaps)
	}
}

func TestReread(t *testing.T) {
	p := newPlace(t)
	p.write("/d/a", "content")
	p.write("/d/b", "other")
	p.write("/d/sub/inside", "x")
	p.write("/big/large", string(random(9<<20)))
	p.write("/excluded/a", "x")
	p.write("/outside", "secret")
	p.must(os.Symlink("d", p.host("/link")), os.Symlink("/d", p.host("/absolute")))
	for i := range 1500 {
		p.must(os.WriteFile(p.host(fmt.Sprintf("/big/f%04d", i)), nil, 0o644))
	}
	pol, err := policy.Parse("test", []byte("version: 1\npaths:\n  - {path: /, attributes: config}\nexclude: [/excluded]\n"))
	p.must(err)
	eff, err := policy.Union(pol, pol, nil)
	p.must(err)
	r, err := dirfd.Open(p.dir)
	p.must(err)
	defer r.Close()
	before := descriptors(t)
	many := make([]string, 1500)
	for i := range many {
		many[i] = fmt.Sprintf("f%04d", i)
	}
	for _, tt := range []struct {
		what, dir string
		names     []string
		want      []string
		gap       bool
		fails     bool
	}{
		{what: "a file", dir: "/d", names: []string{"a"}, want: []string{"a"}},
		{what: "in any order, twice", dir: "/d", names: []string{"b", "a", "b"}, want: []string{"a", "b"}},
		{what: "nothing below a directory", dir: "/d", names: []string{"sub"}, want: []string{"sub"}},
		{what: "a name that is not there", dir: "/d", names: []string{"a", "gone"}, want: []string{"a"}},
		{what: "a directory that is not there", dir: "/gone/deep", names: []string{"a"}},
		{what: "a link in the place of the directory", dir: "/link", names: []string{"a"}, gap: true},
		{what: "an absolute link above", dir: "/absolute/sub", names: []string{"inside"}, gap: true},
		{what: "a file in the place of the directory", dir: "/d/a", names: []string{"x"}, gap: true},
		{what: "an excluded directory", dir: "/excluded", names: []string{"a"}},
		{what: "a large file", dir: "/big", names: []string{"large"}, want: []string{"large"}},
		{what: "more than a part", dir: "/big", names: many, want: many},
		{what: "in the root", dir: "/", names: []string{"outside"}, want: []string{"outside"}},
		{what: "a way up", dir: "/d", names: []string{"../outside"}, fails: true},
		{what: "a way down", dir: "/d", names: []string{"sub/inside"}, fails: true},
		{what: "dots", dir: "/d", names: []string{".."}, fails: true},
		{what: "itself", dir: "/d", names: []string{""}, fails: true},
	} {
		var names [][]byte
		for _, n := range tt.names {
			names = append(names, []byte(n))
		}
		b, gaps, err := scanner.Reread(context.Background(), r, eff, entry.Path(tt.dir), names, nil)
		if (err != nil) != tt.fails {
			t.Errorf("%s: error %v", tt.what, err)
			continue
		}
		if tt.fails {
			continue
		}
		var got []string
		for i := range b.Entries {
			e := &b.Entries[i]
			got = append(got, string(e.Name))
			if e.Kind == entry.File && e.Have&entry.Content == 0 {
				t.Errorf("%s: %q has no digest", tt.what, e.Name)
			}
		}
		if !slices.Equal(got, tt.want) || (len(gaps) > 0) != tt.gap || b.Dir != entry.Path(tt.dir) {
			t.Errorf("%s: got %d entries %.3q, gaps %+v", tt.what, len(got), got, gaps)
		}
	}
	b, _, err := scanner.Reread(context.Background(), r, eff, "/d", [][]byte{[]byte("a")}, nil)
	p.must(err)
	if b.Entries[0].Digest != digest.Sum([]byte("content")) {
		t.Errorf("digest %s", b.Entries[0].Digest)
	}
	// The same entry as a scan gives.
	want := p.scan(eff, scanner.Options{}).entry("/d/a")
	if d := entry.Differ(want, &b.Entries[0], entry.All|entry.Btime); d != 0 || want.Have != b.Entries[0].Have {
		t.Errorf("a scan and a second look differ in %s", d)
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors, were %d", n, before)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, _, err := scanner.Reread(ctx, r, eff, "/d", [][]byte{[]byte("a")}, nil); err == nil {
		t.Error("no error after the end of the context")
	}
}
