package scanner_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

// The sizes around the buffer, around the search for holes and around the size
// from which a file is a task of its own.
func TestSizes(t *testing.T) {
	p := newPlace(t)
	want := map[string]digest.Digest{}
	for _, at := range []int{0, 1, 4096, 32 << 10, 256 << 10, 512 << 10, 1 << 20, 8 << 20, 9<<20 + 12345, 64 << 20} {
		for _, d := range []int{-1, 0, 1} {
			if n := at + d; n >= 0 {
				name, b := fmt.Sprintf("/f%d", n), random(n)
				p.write(name, string(b))
				want[name] = digest.Sum(b)
			}
		}
	}
	for _, o := range []scanner.Options{{Workers: 1}, {Workers: 4}, scanner.Options{Workers: 4}.AtRest()} {
		k := p.scan(p.policy(), o)
		k.noGaps()
		var total int64
		for name, d := range want {
			e := k.entry(entry.Path(name))
			if e.Have&entry.Content == 0 || e.Digest != d || e.Hashed != e.Size {
				t.Errorf("%s: digest %s of %d bytes, want %s of %d", name, e.Digest, e.Hashed, d, e.Size)
			}
			total += e.Size
		}
		if k.stats.Bytes != total || k.stats.Files != int64(len(want)) {
			t.Errorf("%d bytes of %d files, want %d of %d", k.stats.Bytes, k.stats.Files, total, len(want))
		}
	}
}

func TestSparse(t *testing.T) {
	p := newPlace(t)
	const mib = 1 << 20
	type piece struct{ at, n int }
	want := map[string]digest.Digest{}
	var size, data int64
	for _, tt := range []struct {
		name string
		size int
		data []piece
	}{
		{"/all", 3 * mib, nil},
		{"/start", 3 * mib, []piece{{2 * mib, mib}}},
		{"/middle", 3 * mib, []piece{{0, 4096}, {2*mib + 4096, mib - 4096}}},
		{"/end", 3 * mib, []piece{{0, 12 << 10}}},
		{"/odd", 3*mib + 77, []piece{{mib + 3, 5}, {2 * mib, 1}}},
		{"/last byte", 10*mib + 1, []piece{{10 * mib, 1}}},
		{"/big hole", 33 * mib, []piece{{0, 1}, {16 * mib, 8192}}},
		{"/small", mib / 2, []piece{{mib / 4, 10}}},
		{"/segments", 81*mib + 11, []piece{{0, 1}, {15 * mib, 3 * mib}, {31*mib + 1, 4096}, {64*mib - 1, 2}, {81 * mib, 11}}},
		{"/all segments", 64 * mib, nil},
	} {
		dense := make([]byte, tt.size)
		f, err := os.Create(p.host(tt.name))
		p.must(err, f.Truncate(int64(tt.size)))
		for _, d := range tt.data {
			b := random(d.n)
			copy(dense[d.at:], b)
			_, err := f.WriteAt(b, int64(d.at))
			p.must(err)
			data += int64(d.n)
		}
		p.must(f.Close())
		want[tt.name] = digest.Sum(dense)
		size += int64(tt.size)
	}
	k := p.scan(p.policy(), scanner.Options{})
	k.noGaps()
	for name, d := range want {
		if e := k.entry(entry.Path(name)); e.Digest != d || e.Hashed != e.Size {
			t.Errorf("%s: digest %s of %d bytes, want %s", name, e.Digest, e.Hashed, d)
		}
	}
	// Holes are not read, where the file system tells where they are.
	var st unix.Stat_t
	p.must(unix.Stat(p.host("/all"), &st))
	if st.Blocks == 0 && k.stats.Bytes > size/4 {
		t.Errorf("%d bytes were read for %d bytes of data in files of %d", k.stats.Bytes, data, size)
	}
}

// Every inode is read once, whatever it is called.
func TestHardLinks(t *testing.T) {
	p := newPlace(t)
	var total int64
	for i, n := range []int{1, 5000, 300 << 10, 9 << 20} {
		name := fmt.Sprintf("/f%d", i)
		p.write(name, string(random(n)))
		total += int64(n)
		for j := range 6 {
			p.mkdir(fmt.Sprintf("/d%d", j))
			p.must(os.Link(p.host(name), p.host(fmt.Sprintf("/d%d/%d", j, i))))
		}
	}
	p.write("/empty", "")
	p.must(os.Link(p.host("/empty"), p.host("/empty2")))
	for _, o := range []scanner.Options{{Workers: 1}, {Workers: 8}, scanner.Options{Workers: 8}.AtRest()} {
		k := p.scan(p.policy(), o)
		k.noGaps()
		if k.stats.Bytes != total {
			t.Errorf("%d workers: %d bytes were read, want %d", o.Workers, k.stats.Bytes, total)
		}
		for i, n := range []int{1, 5000, 300 << 10, 9 << 20} {
			for j := range 6 {
				e := k.entry(entry.Path(fmt.Sprintf("/d%d/%d", j, i)))
				if e.Digest != digest.Sum(random(n)) || e.Nlink != 7 {
					t.Errorf("%s: digest %s, %d links", e.Name, e.Digest, e.Nlink)
				}
			}
		}
		if e := k.entry("/empty2"); e.Have&entry.Content == 0 || e.Digest != digest.Sum(nil) {
			t.Error("an empty file has no digest")
		}
	}
}

// An inode that changes between two looks at its names is read again.
func TestHardLinkChangesMeanwhile(t *testing.T) {
	p := newPlace(t)
	if !fineTimes(p) {
		t.Skip("times are coarse here: a change may not show")
	}
	p.write("/a", "old content")
	p.must(os.Link(p.host("/a"), p.host("/z")))
	k := p.scan(p.policy(), scanner.Options{Workers: 1}, observer(func(_ entry.Path, e *entry.Entry) {
		if string(e.Name) == "a" {
			p.write("/a", "new content")
		}
	}))
	if a, z := k.entry("/a"), k.entry("/z"); a.Digest != digest.Sum([]byte("old content")) || z.Digest != digest.Sum([]byte("new content")) {
		t.Errorf("digests %s, %s", a.Digest, z.Digest)
	}
}

// fineTimes reports whether every write shows in the times of a file: before
// Linux 6.13 two changes within a timer tick have the same time.
func fineTimes(p *place) bool {
	p.write("/probe", "x")
	defer os.Remove(p.host("/probe"))
	var a, b unix.Stat_t
	for range 50 {
		p.must(unix.Stat(p.host("/probe"), &a))
		p.appendTo("/probe", "x")
		p.must(unix.Stat(p.host("/probe"), &b))
		if a.Ctim == b.Ctim {
			return false
		}
	}
	return true
}

// writer rewrites files until it is stopped.
func writer(wg *sync.WaitGroup, stop *atomic.Bool, do func(r *rand.Rand)) {
	wg.Go(func() {
		for r := rand.New(rand.NewPCG(1, 2)); !stop.Load(); {
			do(r)
		}
	})
}

// Files that are rewritten, replaced and removed while they are scanned: what
// is delivered as verified was really there.
func TestRace(t *testing.T) {
	p := newPlace(t)
	inPlace := fineTimes(p)
	if !inPlace {
		t.Log("times are coarse here: files are replaced only, not written in place")
	}
	const files, size = 12, 900 << 10
	valid := map[digest.Digest]bool{}
	fill := func(c byte) []byte { return bytes.Repeat([]byte{c}, size) }
	for c := range 8 {
		valid[digest.Sum(fill(byte('a'+c)))] = true
	}
	name := func(i int) string { return p.host(fmt.Sprintf("/d%d/f%02d", i%3, i)) }
	for i := range files {
		p.write(fmt.Sprintf("/d%d/f%02d", i%3, i), string(fill('a')))
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	defer func() { stop.Store(true); wg.Wait() }()
	contents := make([][]byte, 8)
	for c := range contents {
		contents[c] = fill(byte('a' + c))
	}
	writer(&wg, &stop, func(r *rand.Rand) {
		n, b := name(r.IntN(files)), contents[r.IntN(8)]
		switch r.IntN(12) {
		case 0:
			_ = os.Remove(n)
		case 1:
			tmp := p.host("/new")
			if os.WriteFile(tmp, b, 0o644) == nil {
				_ = os.Rename(tmp, n)
			}
		default:
			if f, err := os.OpenFile(n, os.O_WRONLY, 0); inPlace && err == nil {
				_, _ = f.WriteAt(b, 0)
				_ = f.Close()
			}
		}
	})
	eff := p.policy("{path: /, attributes: config}", "{path: /new, attributes: presence}")
	verified, busy := 0, 0
	for range 40 {
		k := p.scan(eff, scanner.Options{Workers: 4})
		for _, path := range k.paths() {
			e := k.entry(entry.Path(path))
			if e.Kind != entry.File || path == "/new" {
				continue
			}
			switch gaps := k.gapsOf(entry.Path(path)); {
			case e.Have&entry.Content == 0:
				busy++
				if len(gaps) != 1 || gaps[0].Attrs&entry.Content == 0 {
					t.Errorf("%s has no digest and the gaps %+v", path, gaps)
				}
			case len(gaps) > 0:
				t.Errorf("%s is verified and has the gaps %+v", path, gaps)
			case !valid[e.Digest] || e.Hashed != e.Size || e.Size != size:
				t.Errorf("%s: digest %s of %d bytes was never its content", path, e.Digest, e.Hashed)
			default:
				verified++
			}
		}
		for _, g := range k.gaps {
			if !slices.Contains([]scanner.Reason{scanner.ReasonBusy, scanner.ReasonVanished, scanner.ReasonReplaced}, g.Reason) {
				t.Errorf("gap %+v", g)
			}
		}
	}
	t.Logf("%d looks verified, %d not", verified, busy)
	if verified == 0 {
		t.Error("nothing was verified")
	}
}

// A file that changes during every try is not verified, and all else of it is
// known. The large one is read by several workers.
func TestAlwaysChanging(t *testing.T) {
	const large = 70 << 20
	for name, tt := range map[string]struct {
		size   int
		change func(f *os.File, r *rand.Rand)
	}{
		"one worker": {6 << 20, func(f *os.File, r *rand.Rand) { _, _ = f.WriteAt([]byte{byte(r.Uint32())}, r.Int64N(6<<20)) }},
		"several":    {large, func(f *os.File, r *rand.Rand) { _, _ = f.WriteAt([]byte{byte(r.Uint32())}, r.Int64N(large)) }},
		"shrinks":    {large, func(f *os.File, r *rand.Rand) { _ = f.Truncate(large - r.Int64N(6<<20)) }},
	} {
		t.Run(name, func(t *testing.T) { alwaysChanging(t, tt.size, tt.change) })
	}
}

func alwaysChanging(t *testing.T, size int, change func(f *os.File, r *rand.Rand)) {
	p := newPlace(t)
	if !fineTimes(p) {
		t.Skip("times are coarse here: a change may not show")
	}
	p.write("/busy", string(random(size)))
	p.write("/still", "still")
	f, err := os.OpenFile(p.host("/busy"), os.O_WRONLY, 0)
	p.must(err)
	defer f.Close()
	var wg sync.WaitGroup
	var stop atomic.Bool
	writer(&wg, &stop, func(r *rand.Rand) { change(f, r) })
	k := p.scan(p.policy(), scanner.Options{Workers: 4, MaxRate: 400 << 20})
	stop.Store(true)
	wg.Wait()
	e := k.entry("/busy")
	if e.Have&entry.Content != 0 || e.Have&(entry.Mode|entry.Size|entry.ACL|entry.Flags) != entry.Mode|entry.Size|entry.ACL|entry.Flags {
		t.Errorf("have %s, want all but the content", e.Have)
	}
	if g := k.gapsOf("/busy"); len(k.gaps) != 1 || len(g) != 1 || g[0].Reason != scanner.ReasonBusy || g[0].Attrs != entry.Content {
		t.Errorf("gaps %+v", k.gaps)
	}
	if k.entry("/still").Have&entry.Content == 0 {
		t.Error("another file suffers")
	}
}

// A log that grows while it is read is verified as far as it was read.
func TestGrowingLog(t *testing.T) {
	p := newPlace(t)
	head := strings.Repeat("a line of a log\n", 1000)
	p.write("/log/x", head)
	eff := p.policy("{path: /log, attributes: log}")
	old := p.scan(eff, scanner.Options{})
	var wg sync.WaitGroup
	var stop atomic.Bool
	f, err := os.OpenFile(p.host("/log/x"), os.O_WRONLY|os.O_APPEND, 0)
	p.must(err)
	defer f.Close()
	writer(&wg, &stop, func(*rand.Rand) {
		if fi, err := f.Stat(); err == nil && fi.Size() < 32<<20 {
			_, _ = f.WriteString("one more line\n")
		}
	})
	for range 30 {
		k := p.scanFrom(eff, scanner.Options{}, old)
		k.noGaps()
		if e := k.entry("/log/x"); e.Digest != digest.Sum([]byte(head)) || e.Hashed != int64(len(head)) {
			t.Errorf("digest %s of %d bytes, want the old prefix", e.Digest, e.Hashed)
		}
	}
	stop.Store(true)
	wg.Wait()
	for what, change := range map[string]func(){
		"shrunk":    func() { p.must(os.Truncate(p.host("/log/x"), 100)) },
		"rewritten": func() { p.write("/log/x", "B"+head[1:]+"more") },
	} {
		change()
		b, err := os.ReadFile(p.host("/log/x"))
		p.must(err)
		e := p.scanFrom(eff, scanner.Options{}, old).entry("/log/x")
		if e.Digest != digest.Sum(b) || e.Hashed != int64(len(b)) {
			t.Errorf("%s: digest %s of %d bytes, want all of it", what, e.Digest, e.Hashed)
		}
	}
}

// The length under the digest of a file of proc is its size, as the stored
// form has it, however much was read.
func TestPseudoFiles(t *testing.T) {
	p := &place{t, "/proc/sys/kernel"}
	if _, err := os.Stat(p.host("ostype")); err != nil {
		t.Skipf("no proc file system: %v", err)
	}
	eff := p.policy("{path: /ostype, attributes: [content, size, mode]}", "{path: /osrelease, attributes: [content]}")
	k := p.scan(eff, scanner.Options{})
	k.noGaps()
	for _, name := range []entry.Path{"/ostype", "/osrelease"} {
		b, err := os.ReadFile(p.host(string(name)))
		p.must(err)
		e := k.entry(name)
		if e.Digest != digest.Sum(b) {
			t.Errorf("%s: digest %s, want that of %q", name, e.Digest, b)
		}
		stored, err := k.packed[string(entry.Path("/").Key())].Unpack("/", 0, eff.Sets())
		p.must(err)
		for i := range stored.Entries {
			if s := &stored.Entries[i]; bytes.Equal(s.Name, e.Name) {
				if d := entry.Differ(s, e, entry.Content|entry.Size); d != 0 {
					t.Errorf("%s: the stored form differs from what was scanned: %s", name, d)
				}
			}
		}
	}
}

func atime(t *testing.T, name string) unix.Timespec {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Atim
}

// The scan leaves no access times behind.
func TestAccessTimes(t *testing.T) {
	p := newPlace(t)
	p.write("/d/file", "read me")
	p.write("/d/big", string(random(9<<20)))
	p.write("/control", "read me")
	list := []string{"/d", "/d/file", "/d/big", "/control"}
	before := map[string]unix.Timespec{}
	for _, name := range list {
		p.must(unix.UtimesNano(p.host(name), []unix.Timespec{{Sec: 1000}, {Sec: 2_000_000_000}}))
		before[name] = atime(t, p.host(name))
	}
	p.scan(p.policy(), scanner.Options{}).noGaps()
	for _, name := range list {
		if got := atime(t, p.host(name)); got != before[name] {
			t.Errorf("%s: access time %v, was %v", name, got, before[name])
		}
	}
	_, err := os.ReadFile(p.host("/control"))
	p.must(err)
	if atime(t, p.host("/control")) == before["/control"] {
		t.Skip("reading leaves no access time here anyway")
	}
}

// resident counts the pages of a file that are in the page cache.
func resident(t *testing.T, name string) (n int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	vec := make([]byte, (len(m)+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, e := syscall.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&vec[0]))); e != 0 {
		t.Fatal(e)
	}
	for _, v := range vec {
		n += int(v & 1)
	}
	return n
}

// What was not in the page cache is not there afterwards, what was stays. The
// kernel may take pages away at any time, and others may read these files: what
// the scan does wrong, it does in every round.
func TestPageCache(t *testing.T) {
	p := newPlace(t)
	sizes := map[string]int{"/small": 20_000, "/middle": 900_000, "/large": 12 << 20, "/segments": 70 << 20}
	for i := range 40 {
		sizes[fmt.Sprintf("/many%d", i)] = 40_000
	}
	for name, size := range sizes {
		p.write(name, string(random(size)))
		p.write(name+"-warm", string(random(size)))
	}
	p.write("/empty", "")
	var wrong []string
	for range 3 {
		wrong = nil
		warm := map[string]int{}
		for name := range sizes {
			f, err := os.Open(p.host(name))
			p.must(err, f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
			if n := resident(t, p.host(name)); n > 0 {
				t.Skipf("%d pages stay in the page cache whatever is asked", n)
			}
			_, err = os.ReadFile(p.host(name + "-warm"))
			p.must(err)
			warm[name] = resident(t, p.host(name+"-warm"))
		}
		k := p.scan(p.policy(), scanner.Options{})
		k.noGaps()
		if e := k.entry("/empty"); e.Have&entry.Content == 0 || e.Digest != digest.Sum(nil) {
			t.Error("an empty file has no digest")
		}
		for name := range sizes {
			if n := resident(t, p.host(name)); n > 0 {
				wrong = append(wrong, fmt.Sprintf("%s: %d pages are in the page cache, none was", name, n))
			}
			if n := resident(t, p.host(name+"-warm")); n < warm[name] {
				wrong = append(wrong, fmt.Sprintf("%s-warm: %d pages are in the page cache, %d were", name, n, warm[name]))
			}
		}
		if wrong == nil {
			return
		}
	}
	for _, s := range wrong {
		t.Error(s)
	}
}

// A lease on a file makes opening fail until the holder gives it up or the
// kernel takes it away.
func TestLease(t *testing.T) {
	p := newPlace(t)
	p.write("/leased", "content")
	p.write("/other", "content")
	for _, giveUp := range []bool{true, false} {
		if !giveUp && !shortLeases(t) {
			continue
		}
		f, err := os.OpenFile(p.host("/leased"), os.O_RDWR, 0)
		p.must(err)
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
			t.Skipf("no leases here: %v", err)
		}
		broken, done := leaseBroken(), make(chan struct{})
		go func() {
			defer close(done)
			<-broken
			if giveUp {
				_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
			}
		}()
		k := p.scan(p.policy(), scanner.Options{Workers: 1})
		k.noGaps()
		if e := k.entry("/leased"); e.Digest != digest.Sum([]byte("content")) {
			t.Errorf("given up %v: digest %s", giveUp, e.Digest)
		}
		<-done
		p.must(f.Close())
	}
	// Whoever ends the scan need not wait for the holder.
	f, err := os.OpenFile(p.host("/leased"), os.O_RDWR, 0)
	p.must(err)
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	p.must(err)
	broken := leaseBroken()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		<-broken
		stop()
	}()
	if k := p.attempt(ctx, newTaken(t, p.policy()), p.policy(), scanner.Options{}, nil); k.err != context.Canceled {
		t.Errorf("got %v", k.err)
	}
}
