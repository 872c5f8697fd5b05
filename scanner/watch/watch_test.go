package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
	"intact/scanner/policy"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

const hotEtc = `  - {path: /etc, attributes: config, hot: true}
`

// effective puts the lines of a policy in force.
func effective(t *testing.T, lines string, aliases ...policy.Alias) *policy.Effective {
	t.Helper()
	p, err := policy.Parse("p.yaml", []byte("version: 1\npaths:\n"+lines))
	if err != nil {
		t.Fatal(err)
	}
	e, err := policy.Union(p, p, aliases)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// rig runs a watcher below a folder of its own and knows what it hinted at.
type rig struct {
	*Watcher
	t   *testing.T
	dir string

	mu   sync.Mutex
	told []Hint
	by   map[entry.Path][]Batch // that say who did it
	more chan struct{}          // replaced when a batch came
}

// TestBackends runs the same tests with each source of events.
func TestBackends(t *testing.T) {
	tests := []struct {
		name string
		test func(*testing.T, Kind)
	}{
		{"Files", testFiles},
		{"OwnReads", testOwnReads},
		{"OwnNames", testOwnNames},
		{"Directories", testDirectories},
		{"Excluded", testExcluded},
		{"NotYet", testNotYet},
		{"Linked", testLinked},
		{"Replaced", testReplaced},
		{"Burst", testBurst},
		{"DeepTree", testDeepTree},
		{"PolicyChanges", testPolicyChanges},
		{"TwoPaths", testTwoPaths},
		{"Mounts", testMounts},
		{"RootUnmounted", testRootUnmounted},
		{"Renamed", testRenamed},
		{"Gone", testGone},
	}
	for _, k := range []Kind{Inotify, Fanotify} {
		for _, c := range tests {
			t.Run(string(k)+"/"+c.name, func(t *testing.T) { c.test(t, k) })
		}
	}
}

func start(t *testing.T, pol *policy.Effective, o Options, prepare ...string) *rig {
	t.Helper()
	dir := t.TempDir()
	if o.Backend == Fanotify || o.Backend == Auto {
		// What others do on the file system of the tests can overflow the queue.
		mount(t, "tmpfs", dir, "tmpfs", 0)
	}
	for _, p := range prepare {
		must(t, os.MkdirAll(dir+p, 0o755))
	}
	return startIn(t, dir, pol, o)
}

func startIn(t *testing.T, dir string, pol *policy.Effective, o Options) *rig {
	t.Helper()
	o.quiet, o.most = 10*time.Millisecond, 100*time.Millisecond
	o.self = -1 // what the test writes counts
	w, err := New(dir, pol, o)
	if errors.Is(err, ErrFanotify) {
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Watcher: w, t: t, dir: dir, more: make(chan struct{}), by: map[entry.Path][]Batch{}}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the watcher ended: %v", err)
		}
	})
	all.Go(func() {
		for {
			select {
			case b := <-w.Batches():
				w.Done(b)
				r.mu.Lock()
				r.told = append(r.told, b.Hints...)
				for p := range b.who.paths {
					r.by[p] = append(r.by[p], b)
				}
				close(r.more)
				r.more = make(chan struct{})
				r.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		stop()
		all.Wait()
		if n := w.root.OpenDirs(); n != 0 {
			t.Errorf("%d directories are left open", n)
		}
	})
	<-w.Ready()
	r.sees("/") // all that is hot
	r.clear()
	return r
}

func (r *rig) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = nil
}

// until waits until a condition holds, asked behind each batch.
func (r *rig) until(what string, ok func(told []Hint) bool) {
	r.t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		told, more := r.told, r.more
		done := ok(told)
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-more:
		case <-late:
			r.t.Fatalf("%s: hinted at %s; losses %v", what, words(told), r.Losses())
		}
	}
}

func words(told []Hint) string {
	var s []string
	for _, h := range told {
		s = append(s, fmt.Sprintf("%q %q deep=%v", h.Dir, h.Names, h.Deep))
	}
	return strings.Join(s, ", ")
}

// holds reports whether hints lead to p.
func holds(told []Hint, p entry.Path) bool {
	for _, h := range told {
		if h.Deep && p.Under(h.Dir) {
			return true
		}
		for _, n := range h.Names {
			if h.Dir.Join(n) == p {
				return true
			}
		}
	}
	return false
}

// sees waits for hints that lead to all of paths.
func (r *rig) sees(paths ...entry.Path) {
	r.t.Helper()
	r.until(fmt.Sprintf("want hints at %q", paths), func(told []Hint) bool {
		for _, p := range paths {
			if !holds(told, p) {
				return false
			}
		}
		return true
	})
}

// settled waits until nothing more comes of what was done, and forgets it.
func (r *rig) settled() {
	r.t.Helper()
	r.write("/etc/settled", "x")
	r.sees("/etc/settled")
	r.clear()
	must(r.t, os.Remove(r.dir+"/etc/settled"))
	r.sees("/etc/settled")
	r.clear()
}

// only fails where a hint says more than that names in dir changed.
func (r *rig) only(dir entry.Path, names ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	for _, h := range r.told {
		for _, n := range h.Names {
			if h.Dir != dir || !want[string(n)] {
				r.t.Errorf("hint at %q in %q", n, h.Dir)
			}
		}
		if h.Deep {
			r.t.Errorf("hint at all of %q", h.Dir)
		}
	}
}

// watches waits until n directories are watched, where they are one by one.
func (r *rig) watches(n int) {
	r.t.Helper()
	if k, _ := r.Backend(); k != Fanotify {
		r.until(fmt.Sprintf("%d directories watched, now %d", n, r.Watches()), func([]Hint) bool { return r.Watches() == n })
	}
}

func (r *rig) write(p, text string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.dir+p, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testFiles(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc/deep/er", "/usr")
	hostile := []string{"plain", "new\nline", "\x1b[31m", "\xff\xfe", "...", "..x", "\u202egnp"}
	for _, n := range hostile {
		r.write("/etc/deep/er/"+n, "x")
		r.sees(entry.Path("/etc/deep/er").Join([]byte(n)))
	}
	r.only("/etc/deep/er", hostile...)
	r.clear()
	must(t, os.Chmod(r.dir+"/etc/deep/er/plain", 0o600))
	r.sees("/etc/deep/er/plain")
	r.clear()
	must(t, os.Remove(r.dir+"/etc/deep/er/plain"))
	r.sees("/etc/deep/er/plain")
	r.clear()
	must(t, os.Chmod(r.dir+"/etc/deep/er", 0o700))
	r.sees("/etc/deep/er")
	r.only("/etc/deep", "er")
	r.clear()
	r.write("/usr/elsewhere", "x") // nobody asked for it
	r.write("/etc/last", "x")
	r.sees("/etc/last")
	r.only("/etc", "last")
}

// What intact reads itself makes nobody look.
func testOwnReads(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc/d")
	r.write("/etc/d/f", "x")
	r.sees("/etc/d/f")
	r.clear()
	for range 3 {
		if _, err := os.ReadFile(r.dir + "/etc/d/f"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadDir(r.dir + "/etc/d"); err != nil {
			t.Fatal(err)
		}
	}
	r.write("/etc/g", "x")
	r.sees("/etc/g")
	r.only("/etc", "g")
}

func testOwnNames(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k, Own: func(dir entry.Path, name []byte) bool { return dir == "/etc" && string(name) == "mine" }}, "/etc")
	r.write("/etc/mine", "x")
	r.write("/etc/other", "x")
	r.sees("/etc/other")
	r.only("/etc", "other")
}

func testDirectories(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc+"exclude: [/etc/not]\n"), Options{Backend: k}, "/etc/a", "/outside/tree/x/y", "/etc/not")
	must(t, os.MkdirAll(r.dir+"/etc/n/e/w", 0o755))
	r.write("/etc/n/e/w/file", "x")
	r.sees("/etc/n/e/w/file")
	r.clear()
	r.write("/etc/n/e/w/file", "again")
	r.sees("/etc/n/e/w/file")

	r.clear()
	must(t, os.Rename(r.dir+"/outside/tree", r.dir+"/etc/tree"))
	r.sees("/etc/tree/x/y/any")
	r.clear()
	r.write("/etc/tree/x/y/f", "x")
	r.sees("/etc/tree/x/y/f")

	r.clear()
	must(t, os.Rename(r.dir+"/etc/tree", r.dir+"/etc/a/moved"))
	r.sees("/etc/tree", "/etc/a/moved/x/y/f")
	r.clear()
	r.write("/etc/a/moved/x/y/f", "moved")
	r.sees("/etc/a/moved/x/y/f")

	r.clear()
	must(t, os.Rename(r.dir+"/etc/a", r.dir+"/outside/a"))
	r.sees("/etc/a")
	must(t, os.Mkdir(r.dir+"/etc/a", 0o755))
	r.sees("/etc/a/any")
	r.watches(6)
	r.settled()
	r.write("/outside/a/moved/x/y/f", "unseen")
	r.write("/etc/a/f", "x")
	r.sees("/etc/a/f")
	r.only("/etc/a", "f")

	for range 20 { // inode numbers come again
		r.clear()
		must(t, os.RemoveAll(r.dir+"/etc/a"))
		must(t, os.Mkdir(r.dir+"/etc/a", 0o755))
		r.sees("/etc/a/any")
		r.clear()
		r.write("/etc/a/f", "x")
		r.sees("/etc/a/f")
	}
	r.watches(6) // /, /etc, /etc/n, e, w and a
}

// No watch is spent where nothing is hot.
func testExcluded(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc+"  - {path: /etc/cold, attributes: config}\nexclude: [/etc/out, \"/etc/*.d/**\"]\n"), Options{Backend: k},
		"/etc/in/x", "/etc/out/x/y", "/etc/cold/x", "/etc/a.d/x/y", "/usr/x")
	r.watches(4) // /, /etc, /etc/in and /etc/in/x
	must(t, os.MkdirAll(r.dir+"/etc/out/x/z", 0o755))
	must(t, os.MkdirAll(r.dir+"/etc/in/z", 0o755))
	r.sees("/etc/in/z/any")
	r.watches(5)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range []entry.Path{"/etc/out/x/z", "/etc/a.d/x"} {
		if holds(r.told, p) {
			t.Errorf("hint at %q", p)
		}
	}
}

func testNotYet(t *testing.T, k Kind) {
	r := start(t, effective(t, "  - {path: /a/b/c, attributes: config, hot: true}\n  - {path: \"/h/*/.ssh\", attributes: config, hot: true}\n  - {path: /one/file, attributes: config, hot: true}\n"), Options{Backend: k}, "/a/other", "/h/ann", "/one")
	r.write("/a/other/x", "x")
	must(t, os.MkdirAll(r.dir+"/a/b/c/d", 0o755))
	r.sees("/a/b/c/d/any")
	r.clear()
	r.write("/a/b/c/d/f", "x")
	r.sees("/a/b/c/d/f")
	r.clear()
	must(t, os.RemoveAll(r.dir+"/a"))
	r.sees("/a/b/c/d/f")
	r.clear()
	must(t, os.MkdirAll(r.dir+"/h/bob/.ssh", 0o700))
	r.write("/h/bob/.ssh/keys", "x")
	r.sees("/h/bob/.ssh/keys")
	r.clear()
	r.write("/one/file", "x")
	r.write("/one/more", "x")
	r.sees("/one/file")
	r.only("/one", "file")
}

func testLinked(t *testing.T, k Kind) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/real/place", 0o755))
	must(t, os.Symlink("/real/place", dir+"/hot"))
	must(t, os.MkdirAll(dir+"/elsewhere", 0o755))
	r := startIn(t, dir, effective(t, "  - {path: /hot, attributes: config, hot: true}\n", policy.Alias{From: "/hot", To: "/real/place"}), Options{Backend: k})
	r.write("/real/place/f", "x")
	r.sees("/real/place/f")
	r.clear()
	must(t, os.Remove(dir+"/hot"))
	must(t, os.Symlink("/elsewhere", dir+"/hot"))
	r.sees("/hot")
	r.clear()
	r.write("/elsewhere/f", "x") // a link that turns up is a finding; it moves no rule
	r.write("/real/place/g", "x")
	r.sees("/real/place/g")
	r.only("/real/place", "g")
}

// An editor's ways to save are one batch, five times, and the watch survives them.
func testReplaced(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc")
	r.write("/etc/conf", "0")
	r.sees("/etc/conf")
	for i := range 5 {
		r.clear()
		r.write("/etc/.conf.swp", "x")
		must(t, os.Rename(r.dir+"/etc/conf", r.dir+"/etc/conf~"))
		r.write("/etc/conf", fmt.Sprint(i))
		must(t, os.Remove(r.dir+"/etc/conf~"))
		must(t, os.Remove(r.dir+"/etc/.conf.swp"))
		r.sees("/etc/conf")
		r.only("/etc", "conf", "conf~", ".conf.swp")
	}
}

func testBurst(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc/d")
	var want []entry.Path
	for i := range 2000 {
		n := fmt.Sprintf("/etc/d/f%d", i)
		r.write(n, "x")
		want = append(want, entry.Path(n))
	}
	r.sees(want...)
}

func testDeepTree(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc", "/out")
	deep := strings.Repeat("/d", 3*deepest)
	must(t, os.MkdirAll(r.dir+"/out"+deep, 0o755))
	must(t, os.Rename(r.dir+"/out/d", r.dir+"/etc/d"))
	r.sees(entry.Path("/etc" + deep))
	r.watches(2 + 3*deepest)
	r.clear()
	r.write("/etc"+deep+"/f", "x")
	r.sees(entry.Path("/etc" + deep + "/f"))
}

func testPolicyChanges(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc", "/srv/x")
	r.SetPolicy(effective(t, "  - {path: /srv, attributes: config, hot: true}\n"))
	r.sees("/")
	r.clear()
	r.write("/etc/f", "x")
	r.write("/srv/x/f", "x")
	r.sees("/srv/x/f")
	r.only("/srv/x", "f")
	r.watches(3)
}

// A directory that a bind mount shows twice has one watch of the kernel's.
func testTwoPaths(t *testing.T, k Kind) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/etc/a", 0o755))
	must(t, os.MkdirAll(dir+"/etc/b", 0o755))
	mount(t, dir+"/etc/a", dir+"/etc/b", "", unix.MS_BIND)
	r := startIn(t, dir, effective(t, hotEtc), Options{Backend: k})
	r.write("/etc/a/f", "x")
	r.sees("/etc/a/f", "/etc/b/f")
	r.clear()
	unmount(t, dir+"/etc/b")
	r.sees("/etc/b/any")
	r.clear()
	r.write("/etc/a/g", "x")
	r.sees("/etc/a/g")
	r.only("/etc/a", "g")
	r.clear()
	r.write("/etc/b/g", "x")
	r.sees("/etc/b/g")
}

// mount mounts, and skips loudly where that is not allowed.
func mount(t *testing.T, source, target, fstype string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, fstype, flags, ""); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

// unmount unmounts. Who looks at it in this moment keeps it busy for that long.
func unmount(t *testing.T, target string) {
	t.Helper()
	for late := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		if err := unix.Unmount(target, 0); err != unix.EBUSY || time.Now().After(late) {
			must(t, err)
			return
		}
	}
}

func testMounts(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc/m", "/elsewhere")
	mount(t, "tmpfs", filepath.Join(r.dir, "elsewhere"), "tmpfs", 0)
	mount(t, "tmpfs", filepath.Join(r.dir, "etc/m"), "tmpfs", 0)
	r.sees("/etc/m/any")
	r.until("a rescan", func([]Hint) bool { return len(r.Losses()) == 0 })
	r.mu.Lock()
	if holds(r.told, "/elsewhere") || holds(r.told, "/") {
		t.Errorf("hinted at %s", words(r.told))
	}
	r.mu.Unlock()
	must(t, os.Mkdir(r.dir+"/etc/m/on", 0o755)) // tmpfs is passed over by the policy
	r.write("/etc/f", "x")
	r.sees("/etc/f")
	r.clear()
	unmount(t, filepath.Join(r.dir, "etc/m")) // no watch keeps it busy
	r.sees("/etc/m/any")
	r.clear()
	r.write("/etc/m/f", "x")
	r.sees("/etc/m/f")
}

func testRootUnmounted(t *testing.T, k Kind) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/data", 0o755))
	mount(t, "tmpfs", dir+"/data", "tmpfs", 0)
	must(t, os.MkdirAll(dir+"/data/x", 0o755))
	r := startIn(t, dir, effective(t, "  - {path: /data, attributes: config, hot: true}\n"), Options{Backend: k})
	r.write("/data/x/f", "x")
	r.sees("/data/x/f")
	r.clear()
	unmount(t, dir+"/data")
	r.sees("/data/x/f")
	r.clear()
	mount(t, "tmpfs", dir+"/data", "tmpfs", 0)
	r.sees("/data/x/f")
	r.clear()
	must(t, os.MkdirAll(dir+"/data/y", 0o755))
	r.write("/data/y/f", "x")
	r.sees("/data/y/f")
}
