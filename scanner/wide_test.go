package scanner_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// same demands that two scans delivered the same blocks, byte for byte.
func (k *taken) same(what string, l *taken) {
	k.t.Helper()
	if !maps.EqualFunc(k.packed, l.packed, func(a, b entry.Packed) bool { return bytes.Equal(a, b) }) {
		k.t.Errorf("%s: the blocks differ: %d and %d parts", what, len(k.packed), len(l.packed))
	}
}

// links makes n names of one empty file.
func (p *place) links(dir, format string, n int) {
	p.t.Helper()
	p.mkdir(dir)
	first := p.host(dir + "/" + fmt.Sprintf(format, 0))
	p.must(os.WriteFile(first, nil, 0o644))
	for i := 1; i < n; i++ {
		p.must(os.Link(first, p.host(dir+"/"+fmt.Sprintf(format, i))))
	}
}

// many fills a directory with n small files and a few other things.
func (p *place) many(dir string, n int) {
	p.t.Helper()
	p.mkdir(dir)
	p.write("/one", "x")
	for i := range n {
		name := fmt.Sprintf("%s/%x", dir, uint32(i)*2654435761)
		switch {
		case i%997 == 5:
			p.mkdir(name)
			p.write(name+"/below", name)
		case i%997 == 6:
			p.must(os.Symlink("nowhere", p.host(name)))
		case i%997 == 7:
			p.must(os.WriteFile(p.host(name)+"\xff\x80", []byte(name), 0o644))
		case i%4000 == 8:
			f, err := os.Create(p.host(name))
			p.must(err, f.Truncate(9<<20), f.Close())
		default:
			p.must(os.Link(p.host("/one"), p.host(name)))
		}
	}
}

// The blocks of a wide directory do not depend on how many workers share it,
// nor on the order in which they do.
func TestWideIsTheSameForAllWorkers(t *testing.T) {
	p := newPlace(t)
	p.many("/d", 9000)
	for _, lines := range [][]string{
		nil,
		{"{path: /d/*7, attributes: config}"},
		{"{path: /d, attributes: sweep}"},
		{"{path: /d, attributes: [mode]}", "{path: /d/1*, attributes: log}"},
	} {
		eff := p.policy(lines...)
		one := p.scan(eff, scanner.Options{Workers: 1})
		one.noGaps()
		for _, workers := range []int{2, 8, 8, 8} {
			k := p.scan(eff, scanner.Options{Workers: workers})
			k.noGaps()
			k.same(fmt.Sprintf("%d workers, %q", workers, lines), one)
			if k.stats.Selected != one.stats.Selected || k.stats.Files != one.stats.Files {
				t.Errorf("%d workers: counted %+v, one alone %+v", workers, k.stats, one.stats)
			}
		}
	}
}

// Sizes around a part, in "/" too, where the root's own entry comes first.
func TestWideSizes(t *testing.T) {
	for _, n := range []int{entry.PartSize - 2, entry.PartSize - 1, entry.PartSize, entry.PartSize + 1, 2*entry.PartSize - 1, 2 * entry.PartSize, 2*entry.PartSize + 1} {
		p := newPlace(t)
		p.write("/000", "x")
		for i := range n - 1 {
			p.must(os.Link(p.host("/000"), p.host(fmt.Sprintf("/f%05d", i))))
		}
		k := p.scan(p.policy(), scanner.Options{Workers: 3})
		k.noGaps()
		if got, parts := len(k.paths()), len(k.blocks); got != n+1 || parts != (n+1+entry.PartSize-1)/entry.PartSize {
			t.Errorf("%d names: %d entries in %d parts", n, got, parts)
		}
	}
}

// Where few of many names are selected no part is empty or short.
func TestWideFewSelected(t *testing.T) {
	p := newPlace(t)
	p.links("/", "f%04d", 5000)
	for _, tt := range []struct {
		glob  string
		names int
		parts int
	}{{"/f?000", 5, 1}, {"/f4999", 1, 1}, {"/nothing*", 0, 1}, {"/f?[05]?[05]", 1 * 5 * 10 * 2 * 2, 1}, {"/f[13]*", 2000, 2}} {
		k := p.scan(p.policy("{path: '"+tt.glob+"', attributes: config}"), scanner.Options{Workers: 4})
		k.noGaps()
		if got := len(k.paths()); got != tt.names || len(k.blocks) != tt.parts {
			t.Errorf("%s: %d entries in %d parts, want %d in %d", tt.glob, got, len(k.blocks), tt.names, tt.parts)
		}
	}
}

// Names that vanish between the listing and the look at them leave the blocks
// that a listing without them gives.
func TestWideVanishing(t *testing.T) {
	p := newPlace(t)
	p.links("/d", "f%04d", 4000)
	gone := func(i int) bool { return i%7 == 3 && i > 300 || 1500 <= i && i < 2600 }
	var once sync.Once
	k := p.scan(p.policy("{path: /d, attributes: [content, mode]}"), scanner.Options{Workers: 1}, observer(func(_ entry.Path, e *entry.Entry) {
		if string(e.Name) != "f0000" {
			return
		}
		once.Do(func() {
			for i := range 4000 {
				if gone(i) {
					p.must(os.Remove(p.host(fmt.Sprintf("/d/f%04d", i))))
				}
			}
		})
	}))
	k.noGaps()
	after := p.scan(p.policy("{path: /d, attributes: [content, mode]}"), scanner.Options{Workers: 4})
	for key, b := range after.packed { // the recorded times are of different moments
		if k.packed[key].Compared() != b.Compared() {
			t.Errorf("the blocks under %q differ", key)
		}
	}
	if len(k.blocks) != 3+1 || len(after.blocks) != 3+1 { // and that of "/"
		t.Errorf("%d blocks", len(k.blocks))
	}
}

// All workers share a wide directory: the first name waits here until another
// worker has come to a later one.
func TestWideIsShared(t *testing.T) {
	p := newPlace(t)
	p.links("/", "f%04d", 3000)
	var once sync.Once
	other := make(chan struct{})
	k := p.scan(p.policy(), scanner.Options{Workers: 2}, observer(func(_ entry.Path, e *entry.Entry) {
		switch n := string(e.Name); {
		case n == "f0000":
			select {
			case <-other:
			case <-time.After(time.Minute):
				t.Error("nobody else works on the directory")
			}
		case n > "f0300":
			once.Do(func() { close(other) })
		}
	}))
	k.noGaps()
}

// A budget ends in the middle of a wide directory, and what has a rule of its
// own is looked up all the same.
func TestWideBudget(t *testing.T) {
	p := newPlace(t)
	p.links("/home/u", "f%05d", 20_000)
	p.write("/home/u/z/key", "secret")
	p.write("/etc/x", "x")
	eff := p.policy("{path: /etc, attributes: config}", "{path: /home, attributes: config, budget: {entries: 2000}}", "{path: /home/u/z/key, attributes: config}")
	for _, workers := range []int{1, 4} {
		k := p.scan(eff, scanner.Options{Workers: workers})
		n := 0
		for _, path := range k.paths() {
			if strings.HasPrefix(path, "/home/u/f") {
				n++
			}
		}
		if n < 1000 || n > 2000+workers*256 {
			t.Errorf("%d workers: %d entries under a budget of 2000", workers, n)
		}
		if g := k.gapsOf("/home"); len(k.gaps) != 1 || len(g) != 1 || g[0].Reason != scanner.ReasonBudget || !g[0].Subtree {
			t.Errorf("%d workers: gaps %+v", workers, k.gaps)
		}
		if e := k.entry("/home/u/z/key"); e.Digest != digest.Sum([]byte("secret")) || k.find("/etc/x") == nil {
			t.Errorf("%d workers: what a rule names is lost", workers)
		}
	}
}

// A limit inside a wide directory lets only that name through.
func TestWideLimit(t *testing.T) {
	p := newPlace(t)
	p.many("/d", 3000)
	p.write("/d/sub/f", "x")
	k := p.scan(p.policy(), scanner.Options{Workers: 4, Limit: []entry.Path{"/d/sub"}})
	k.noGaps()
	if got, want := k.paths(), []string{"/d", "/d/sub", "/d/sub/f"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A bug in one name of a late chunk costs that name alone, and the blocks
// around it are complete; see TestPanicOfObserver.
func TestWidePanic(t *testing.T) {
	p := newPlace(t)
	p.links("/", "f%04d", 5000)
	k := p.scan(p.policy(), scanner.Options{Workers: 4}, observer(func(_ entry.Path, e *entry.Entry) {
		if n := string(e.Name); n == "f0255" || n == "f4000" || n == "f4999" {
			panic("a bug")
		}
	}))
	if len(k.gaps) != 3 || len(k.paths()) != 5001-3 || len(k.blocks) != 5 {
		t.Errorf("%d gaps, %d entries in %d parts", len(k.gaps), len(k.paths()), len(k.blocks))
	}
}

// A mount inside a wide directory is entered or passed over as in any other.
func TestWideMount(t *testing.T) {
	needRoot(t)
	p := newPlace(t)
	p.links("/d", "f%04d", 3000)
	p.mkdir("/d/f1700m")
	p.write("/other/inside", "x")
	if err := unix.Mount(p.host("/other"), p.host("/d/f1700m"), "", unix.MS_BIND, ""); err != nil {
		t.Skipf("no mounts here: %v", err)
	}
	defer unix.Unmount(p.host("/d/f1700m"), unix.MNT_DETACH)
	if err := unix.Mount(p.host("/other/inside"), p.host("/d/f2000"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(p.host("/d/f2000"), unix.MNT_DETACH)
	for _, workers := range []int{1, 8} {
		k := p.scan(p.policy(), scanner.Options{Workers: workers})
		k.noGaps()
		if k.find("/d/f1700m/inside") == nil || k.entry("/d/f2000").Inode != k.entry("/other/inside").Inode {
			t.Errorf("%d workers: what is mounted was not seen", workers)
		}
	}
}

// A directory whose names do not fit in memory is sorted on disk, and gives
// the same blocks; so it is where there is nowhere to sort it.
func TestWideOnDisk(t *testing.T) {
	p := newPlace(t)
	p.many("/d", 9000)
	p.links("/d/5/nested", "n%05d", 3000)
	eff := p.policy()
	want := p.scan(eff, scanner.Options{Workers: 1})
	want.noGaps()
	tmp := t.TempDir()
	for _, o := range []scanner.Options{
		{Workers: 1, TempDir: tmp, NameMemory: 1 << 10},
		{Workers: 8, TempDir: tmp, NameMemory: 64 << 10},
		{Workers: 8, TempDir: tmp + "/none", NameMemory: 1 << 10},
	} {
		before := descriptors(t)
		k := p.scan(eff, o)
		k.noGaps()
		k.same(fmt.Sprintf("%+v", o), want)
		if n := descriptors(t); n != before {
			t.Errorf("%d descriptors, were %d", n, before)
		}
	}
	if l, err := os.ReadDir(tmp); err != nil || len(l) > 0 {
		t.Errorf("%d files are left: %v", len(l), err)
	}
	ctx, stop := context.WithCancel(context.Background())
	before := descriptors(t)
	var once sync.Once
	k := p.attempt(ctx, newTaken(t, eff), eff, scanner.Options{Workers: 4, TempDir: tmp, NameMemory: 1 << 10}, nil, observer(func(dir entry.Path, _ *entry.Entry) {
		if dir == "/d" {
			once.Do(stop)
		}
	}))
	if n := descriptors(t); k.err == nil || n != before {
		t.Errorf("interrupted: %v, %d descriptors, were %d", k.err, n, before)
	}
}
