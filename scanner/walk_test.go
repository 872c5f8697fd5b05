package scanner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Long directories come in parts of exactly entry.PartSize names; see
// taken.wellFormed.
func TestParts(t *testing.T) {
	p := newPlace(t)
	p.write("/one", "x")
	sizes := []int{1, entry.PartSize - 1, entry.PartSize, entry.PartSize + 1, 2 * entry.PartSize, 2*entry.PartSize + 1, 20_000}
	for _, n := range sizes {
		dir := p.host(fmt.Sprintf("/%d", n))
		p.must(os.Mkdir(dir, 0o755))
		for i := range n {
			p.must(os.Link(p.host("/one"), filepath.Join(dir, fmt.Sprintf("%x", i*2654435761))))
		}
	}
	k := p.scan(p.policy(), scanner.Options{})
	k.noGaps()
	for _, n := range sizes {
		got, parts := 0, 0
		for _, b := range k.blocks {
			if b.Dir == entry.Path(fmt.Sprintf("/%d", n)) {
				got += len(b.Entries)
				parts++
			}
		}
		if want := (n + entry.PartSize - 1) / entry.PartSize; got != n || parts != want {
			t.Errorf("%d names: got %d in %d parts, want %d", n, got, parts, want)
		}
	}
}

// Large files wait for a worker while their part is held back, at any place in
// a long directory.
func TestLargeFilesInParts(t *testing.T) {
	p := newPlace(t)
	want := map[string]digest.Digest{}
	for i := range 2*entry.PartSize + 10 {
		name := fmt.Sprintf("/f%05d", i)
		if slices.Contains([]int{0, 1022, 1023, 1024, 2047, 2048, 2057}, i) {
			f, err := os.Create(p.host(name))
			p.must(err, f.Truncate(9<<20))
			_, err = f.WriteAt([]byte(name), int64(i))
			p.must(err, f.Close())
			b := make([]byte, 9<<20)
			copy(b[i:], name)
			want[name] = digest.Sum(b)
			continue
		}
		p.must(os.WriteFile(p.host(name), []byte(name), 0o644))
		want[name] = digest.Sum([]byte(name))
	}
	for _, workers := range []int{1, 4} {
		k := p.scan(p.policy(), scanner.Options{Workers: workers})
		k.noGaps()
		for name, d := range want {
			if e := k.entry(entry.Path(name)); e.Digest != d || e.Have&entry.Content == 0 {
				t.Fatalf("%s: digest %s, want %s", name, e.Digest, d)
			}
		}
		if n := len(k.paths()); n != len(want)+1 {
			t.Errorf("%d entries, want %d", n, len(want)+1)
		}
	}
}

// chain makes directories one in the other, deeper than a path name reaches,
// and returns a function that removes them.
func (p *place) chain(levels int, name string) {
	p.t.Helper()
	fd, err := unix.Open(p.dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	p.must(err)
	for range levels {
		p.must(unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		p.must(err, unix.Close(fd))
		fd = next
	}
	file, err := unix.Openat(fd, "bottom", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	p.must(err)
	_, err = unix.Write(file, []byte("deep"))
	p.must(err, unix.Close(file), unix.Close(fd))
	p.t.Cleanup(func() {
		// Each level is moved up before the one above it goes, so that no
		// path gets long.
		top := p.host(name)
		for range levels {
			_ = os.Rename(filepath.Join(top, name), p.host("next"))
			_ = os.RemoveAll(top)
			_ = os.Rename(p.host("next"), top)
		}
		_ = os.RemoveAll(top)
	})
}

func TestDeepTree(t *testing.T) {
	for _, tt := range []struct {
		levels int
		name   string
		gaps   int
	}{{3000, "level", 0}, {40, long(255), 0}, {200, long(200), 1}} {
		p := newPlace(t)
		p.chain(tt.levels, tt.name)
		before := descriptors(t)
		k := p.scan(p.policy(), scanner.Options{})
		if n := descriptors(t); n != before {
			t.Errorf("%d levels: %d descriptors, were %d", tt.levels, n, before)
		}
		bottom := entry.Path("/" + strings.Repeat(tt.name+"/", tt.levels) + "bottom")
		if tt.gaps == 0 {
			k.noGaps()
			if e := k.entry(bottom); e.Digest != digest.Sum([]byte("deep")) {
				t.Errorf("%d levels: digest %s", tt.levels, e.Digest)
			}
			continue
		}
		// Where the keys get too long for the store there is one gap.
		if len(k.gaps) != 1 {
			t.Fatalf("%d levels: %d gaps", tt.levels, len(k.gaps))
		}
		g := k.gaps[0]
		if n := len(g.Path) - entry.MaxKey; g.Reason != scanner.ReasonPathTooLong || !g.Subtree || n < -256 || n > 256 {
			t.Errorf("%d levels: gap %q of a path of %d bytes, subtree %v", tt.levels, g.Reason, len(g.Path), g.Subtree)
		}
		if k.find(bottom) != nil {
			t.Errorf("%d levels: the bottom was delivered", tt.levels)
		}
		if k.find(k.gaps[0].Path) == nil {
			t.Errorf("%d levels: the directory with the gap was not delivered itself", tt.levels)
		}
	}
}

func TestNames(t *testing.T) {
	p := newPlace(t)
	names := []string{"\n", "\x1b[2J", "\xff", " ", "-", "...", "*", "ä", "a\tb", `\`, "\u202e", long(255), strings.Repeat("\xff", 255), "\x01\x02"}
	for _, n := range names {
		p.must(os.Mkdir(p.host("d"+n[:min(len(n), 254)]), 0o755))
		p.must(os.WriteFile(filepath.Join(p.host("d"+n[:min(len(n), 254)]), n), []byte(n), 0o644))
	}
	for from, to := range map[string]string{"self": ".", "up": "..", "loop": "loop", "a": "b", "b": "a", "far": "/", "long": strings.Repeat("x/", 2000) + "y"} {
		p.must(os.Symlink(to, p.host(from)))
	}
	k := p.scan(p.policy(), scanner.Options{})
	k.noGaps()
	if n := len(k.paths()); n != 2*len(names)+7+1 {
		t.Errorf("%d entries: a link was followed, or something is missing: %q", n, k.paths())
	}
	for _, n := range names {
		if e := k.entry(entry.Path("/d" + n[:min(len(n), 254)]).Join([]byte(n))); e.Digest != digest.Sum([]byte(n)) {
			t.Errorf("%q: digest %s", n, e.Digest)
		}
	}
	if e := k.entry("/long"); string(e.Target) != strings.Repeat("x/", 2000)+"y" {
		t.Errorf("a long target has %d bytes", len(e.Target))
	}
}

// FIFOs, sockets and devices are recorded and never opened; links are not
// followed.
func TestSpecialFiles(t *testing.T) {
	p := newPlace(t)
	want := map[string]entry.Kind{"/fifo": entry.FIFO, "/socket": entry.Socket, "/link": entry.Symlink}
	p.must(unix.Mkfifo(p.host("/fifo"), 0o666), unix.Mknod(p.host("/socket"), unix.S_IFSOCK|0o777, 0), os.Symlink("file", p.host("/link")))
	p.write("/file", "x")
	if os.Geteuid() == 0 && unix.Mknod(p.host("/char"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil {
		p.must(unix.Mknod(p.host("/block"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 99))))
		want["/char"], want["/block"] = entry.CharDevice, entry.BlockDevice
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	p.must(err)
	defer unix.Close(watch)
	_, err = unix.InotifyAddWatch(watch, p.dir, unix.IN_OPEN)
	p.must(err)
	for _, group := range []string{"all", "config", "metadata", "presence", "log", "sweep"} {
		k := p.scan(p.policy("{path: /, attributes: "+group+"}"), scanner.Options{})
		k.noGaps()
		for name, kind := range want {
			if e := k.find(entry.Path(name)); group != "sweep" && (e == nil || e.Kind != kind) {
				t.Errorf("%s: %s: %+v", group, name, e)
			}
		}
		if e := k.find("/char"); e != nil && e.Rdev != unix.Mkdev(1, 3) || e == nil && want["/char"] != 0 {
			t.Errorf("%s: the device node: %+v", group, e)
		}
	}
	buf := make([]byte, 64<<10)
	n, _ := unix.Read(watch, buf)
	if n <= 0 || !bytes.Contains(buf[:n], []byte("file")) {
		t.Fatal("opening a file was not seen: the test shows nothing")
	}
	for name := range want {
		if bytes.Contains(buf[:n], []byte(name[1:]+"\x00")) {
			t.Errorf("%s was opened", name)
		}
	}
}

func TestExtendedAttributes(t *testing.T) {
	needRoot(t)
	p := newPlace(t)
	p.write("/file", "x")
	p.mkdir("/dir")
	p.must(unix.Mkfifo(p.host("/fifo"), 0o600), os.Symlink("gone", p.host("/link")), unix.Mknod(p.host("/socket"), unix.S_IFSOCK|0o600, 0))
	names := []string{"/file", "/dir", "/fifo", "/link", "/socket"}
	for _, n := range names {
		if err := unix.Lsetxattr(p.host(n), "trusted.intact", []byte("of "+n), 0); err != nil {
			t.Skipf("%s: %v", n, err)
		}
		p.must(unix.Lsetxattr(p.host(n), "trusted.empty", nil, 0))
		p.must(unix.Lsetxattr(p.host(n), "trusted.big", bytes.Repeat([]byte{7}, 3000), 0))
	}
	k := p.scan(p.policy(), scanner.Options{})
	k.noGaps()
	for _, n := range names {
		e := k.entry(entry.Path(n))
		var got []string
		for _, x := range e.Xattr {
			got = append(got, fmt.Sprintf("%s %d %s", x.Name, x.Size, x.Value))
		}
		want := []string{
			fmt.Sprintf("trusted.big 3000 %s", digest.Sum(bytes.Repeat([]byte{7}, 3000))),
			fmt.Sprintf("trusted.empty 0 %s", digest.Sum(nil)),
			fmt.Sprintf("trusted.intact %d %s", len("of "+n), digest.Sum([]byte("of "+n))),
		}
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "security.") })
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", n, got, want)
		}
	}
}

// userEnv names a tree for the part of a test that runs as another user.
const userEnv = "INTACT_TEST_TREE"

// What cannot be read is a gap and not gone. Root reads everything, so this
// runs the test again as somebody else.
func TestUnreadable(t *testing.T) {
	if dir := os.Getenv(userEnv); dir != "" || os.Geteuid() != 0 {
		unreadable(t, dir)
		return
	}
	p := newPlace(t)
	self, err := os.Executable()
	p.must(err)
	b, err := os.ReadFile(self)
	p.must(err, os.WriteFile(p.host("/test"), b, 0o755), os.Mkdir(p.host("/tree"), 0o755), os.Chown(p.host("/tree"), 65534, 65534))
	for d := p.dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		p.must(os.Chmod(d, 0o755))
	}
	c := exec.Command(p.host("/test"), "-test.run=^TestUnreadable$", "-test.v")
	c.Env = append(os.Environ(), userEnv+"="+p.host("/tree"), "HOME=/")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestUnreadable")) {
		t.Fatalf("as user 65534: %v\n%s", err, out)
	}
}

func unreadable(t *testing.T, dir string) {
	p := &place{t, dir}
	if dir == "" {
		p = newPlace(t)
	}
	p.write("/secret", "x")
	p.write("/open", "x")
	for _, d := range []string{"/closed", "/names only", "/known names only"} {
		p.write(d+"/inside", "x")
		p.write(d+"/sub/inside", "x")
	}
	p.must(os.Chmod(p.host("/secret"), 0), os.Chmod(p.host("/closed"), 0), os.Chmod(p.host("/names only"), 0o444), os.Chmod(p.host("/known names only"), 0o111))
	t.Cleanup(func() {
		for _, d := range []string{"/closed", "/names only", "/known names only"} {
			_ = os.Chmod(p.host(d), 0o755)
		}
	})
	k := p.scan(p.policy("{path: /, attributes: config}", "{path: /known names only/inside, attributes: config}"), scanner.Options{})
	for _, tt := range []struct {
		path    entry.Path
		entry   bool
		missing entry.Attr // attributes that the gap names
		subtree bool
	}{
		{"/secret", true, entry.Content, false},
		{"/closed", true, entry.Flags, true},
		{"/names only/inside", false, 0, true},
		{"/names only/sub", false, 0, true},
		{"/known names only", true, entry.Flags, true},
	} {
		e, g := k.find(tt.path), k.gapsOf(tt.path)
		if (e != nil) != tt.entry || len(g) == 0 {
			t.Errorf("%s: entry %v, gaps %+v", tt.path, e != nil, g)
			continue
		}
		var attrs entry.Attr
		subtree := false
		for _, x := range g {
			attrs |= x.Attrs
			subtree = subtree || x.Subtree
			if x.Reason != scanner.ReasonPermission {
				t.Errorf("%s: reason %q", tt.path, x.Reason)
			}
		}
		if attrs&tt.missing != tt.missing || subtree != tt.subtree || e != nil && (e.Have&attrs != 0 || e.Have&entry.Mode == 0) {
			t.Errorf("%s: gaps %+v", tt.path, g)
		}
	}
	if e := k.find("/open"); e == nil || e.Have&entry.Content == 0 {
		t.Error("what can be read is not there")
	}
	if k.find("/closed/inside") != nil {
		t.Error("something was read that cannot be")
	}
}

// observer calls a function for each entry.
type observer func(dir entry.Path, e *entry.Entry)

func (o observer) Entry(_ int, dir entry.Path, e *entry.Entry) { o(dir, e) }

// A bug in the handling of one object costs that object alone.
func TestPanicOfObserver(t *testing.T) {
	p := newPlace(t)
	for i := range entry.PartSize + 6 {
		p.write(fmt.Sprintf("/d/f%04d", i), "x")
	}
	p.mkdir("/d/sub/below")
	f, err := os.Create(p.host("/d/f0007"))
	p.must(err, f.Truncate(9<<20), f.Close())
	all := p.scan(p.policy(), scanner.Options{}).paths()
	// Among them the first and the last of a part, a large file, a directory.
	for _, bad := range []string{"f0000", "f0500", "f0007", "f1023", "f1024", "f1025", "f1029", "sub"} {
		o := observer(func(dir entry.Path, e *entry.Entry) {
			if dir == "/d" && string(e.Name) == bad {
				panic("a bug")
			}
		})
		k := newTaken(t, p.policy())
		k = p.attempt(context.Background(), k, p.policy(), scanner.Options{Workers: 2}, nil, o)
		p.must(k.err)
		g := k.gapsOf(entry.Path("/d/" + bad))
		if len(k.gaps) != 1 || len(g) != 1 || g[0].Reason != scanner.ReasonPanic || g[0].Attrs != 0 {
			t.Errorf("%s: gaps %+v", bad, k.gaps)
		}
		want := slices.DeleteFunc(slices.Clone(all), func(s string) bool {
			return s == "/d/"+bad || strings.HasPrefix(s, "/d/"+bad+"/")
		})
		if got := k.paths(); !slices.Equal(got, want) {
			t.Errorf("%s: %d entries, want %d", bad, len(got), len(want))
		}
	}
}

// panicking is a past that cannot be read.
type panicking struct{ bad func(key string) bool }

func (q panicking) Dir(key []byte, _ uint32) (entry.Packed, bool) {
	if q.bad(string(key)) {
		panic("a bug")
	}
	return nil, false
}

func TestPanicOfPrior(t *testing.T) {
	p := newPlace(t)
	for _, d := range []string{"/logs", "/other"} {
		p.write(d+"/a", "log")
		p.write(d+"/b", "log")
		p.must(os.Link(p.host(d+"/b"), p.host(d+"/b2")))
		f, err := os.Create(p.host(d + "/large"))
		p.must(err, f.Truncate(9<<20), f.Close())
	}
	eff := p.policy("{path: /, attributes: log}")
	k := p.attempt(context.Background(), newTaken(t, eff), eff, scanner.Options{Workers: 3}, panicking{func(key string) bool { return key == "\x00logs" }})
	p.must(k.err)
	for _, n := range []string{"a", "b", "b2", "large"} {
		path := entry.Path("/logs/" + n)
		g := k.gapsOf(path)
		if len(g) != 1 || g[0].Reason != scanner.ReasonPanic {
			t.Errorf("%s: gaps %+v", path, g)
			continue
		}
		// Delivered with what is known, or not delivered: never both.
		if e := k.find(path); (e != nil) != (g[0].Attrs != 0) || e != nil && e.Have&g[0].Attrs != 0 {
			t.Errorf("%s: gap %+v with the entry %+v", path, g[0], e)
		}
		if e := k.find(entry.Path("/other/" + n)); e == nil || e.Have&entry.Content == 0 {
			t.Errorf("/other/%s suffers", n)
		}
	}
	if len(k.gaps) != 4 {
		t.Errorf("%d gaps, want 4", len(k.gaps))
	}
}

// A sink that panics has lost what it was given: the scan cannot go on.
func TestPanicOfSink(t *testing.T) {
	p := newPlace(t)
	p.write("/d/a", "x")
	f, err := os.Create(p.host("/e"))
	p.must(err, f.Truncate(9<<20), f.Close())
	for _, bad := range []entry.Path{"/", "/d"} {
		k := newTaken(t, p.policy())
		r, err := dirfd.Open(p.dir)
		p.must(err)
		_, err = scanner.Run(context.Background(), r, p.policy(), scanner.Options{}, nil, broken{k, bad})
		r.Close()
		if err == nil || !strings.Contains(err.Error(), "internal error") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

type broken struct {
	scanner.Sink
	bad entry.Path
}

func (b broken) Dir(w int, blk *entry.Block) error {
	if blk.Dir == b.bad {
		panic("a bug")
	}
	return b.Sink.Dir(w, blk)
}

func TestErrorOfSink(t *testing.T) {
	p := newPlace(t)
	for i := range 300 {
		p.write(fmt.Sprintf("/d%03d/f", i), "x")
	}
	before := descriptors(t)
	for _, at := range []int{1, 2, 50} {
		k := newTaken(t, p.policy())
		k.failAt = at
		k = p.attempt(context.Background(), k, p.policy(), scanner.Options{Workers: 4}, nil)
		if !errors.Is(k.err, errSink) {
			t.Errorf("fails at %d: got %v", at, k.err)
		}
		if k.calls > at+8 {
			t.Errorf("fails at %d: %d calls", at, k.calls)
		}
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors, were %d", n, before)
	}
}

// The end of the context ends the scan, wherever it is.
func TestCancel(t *testing.T) {
	p := newPlace(t)
	for i := range 2000 {
		p.write(fmt.Sprintf("/d%02d/f%04d", i%50, i), "x")
	}
	f, err := os.Create(p.host("/large"))
	p.must(err)
	_, err = f.WriteAt([]byte("x"), 64<<20) // a byte a second: it would take for ever
	p.must(err, f.Close())
	before := descriptors(t)
	errStop := errors.New("enough")
	for _, at := range []int64{1, 100, 1999} {
		ctx, stop := context.WithCancelCause(context.Background())
		var n atomic.Int64
		var mu sync.Mutex // no worker goes on between the entry and the stop
		o := observer(func(entry.Path, *entry.Entry) {
			mu.Lock()
			defer mu.Unlock()
			if n.Add(1) == at {
				stop(errStop)
			}
		})
		opt := scanner.Options{Workers: 4}
		k := p.attempt(ctx, newTaken(t, p.policy()), p.policy(), opt, nil, o)
		if !errors.Is(k.err, errStop) {
			t.Errorf("at entry %d: got %v", at, k.err)
		}
		if got := n.Load(); got > at+8 {
			t.Errorf("at entry %d: went on to %d", at, got)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var progress scanner.Progress
	go func() {
		for progress.Bytes.Load() == 0 {
		}
		stop()
	}()
	p.write("/large", string(random(3<<20)))
	k := p.attempt(ctx, newTaken(t, p.policy("{path: /large, attributes: config}")), p.policy("{path: /large, attributes: config}"), scanner.Options{MaxRate: 1, Progress: &progress}, nil)
	if k.err != context.Canceled {
		t.Errorf("while the rate is limited: got %v", k.err)
	}
	if e := k.find("/large"); e != nil {
		t.Errorf("a part was delivered after the end: %+v", e)
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors, were %d", n, before)
	}
}

func TestDescriptors(t *testing.T) {
	p := newPlace(t)
	for i := range 700 {
		p.write(fmt.Sprintf("/a%02d/b%02d/c%d/f", i%20, i%35, i%3), "x")
	}
	before := descriptors(t)
	for _, workers := range []int{1, 16} {
		p.scan(p.policy(), scanner.Options{Workers: workers}).noGaps()
		if n := descriptors(t); n != before {
			t.Errorf("%d workers: %d descriptors, were %d", workers, n, before)
		}
	}
}
