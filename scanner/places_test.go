package scanner_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// fewDescriptors lets this process open n files, until the test ends.
func fewDescriptors(t *testing.T, n int) {
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(n), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) })
}

// sampled scans and returns the most directories that were open at once.
func (p *place) sampled(o scanner.Options, each func(dir entry.Path, e *entry.Entry)) (k *taken, most int64) {
	p.t.Helper()
	eff := p.policy()
	k = newTaken(p.t, eff)
	r, err := dirfd.Open(p.dir)
	p.must(err)
	defer r.Close()
	var max atomic.Int64
	k.stats, k.err = scanner.Run(context.Background(), r, eff, o, nil, k, observer(func(dir entry.Path, e *entry.Entry) {
		for n := r.OpenDirs(); ; {
			if m := max.Load(); n <= m || max.CompareAndSwap(m, n) {
				break
			}
		}
		if each != nil {
			each(dir, e)
		}
	}))
	p.must(k.err)
	k.wellFormed()
	if n := r.OpenDirs(); n != 1 {
		p.t.Errorf("%d directories are open after the scan", n)
	}
	return k, max.Load()
}

// bough makes a chain of directories with work left at every level: each has
// the next one between two others and a file.
func (p *place) bough(levels int, name string) {
	p.t.Helper()
	p.chain(levels, name)
	fd, err := unix.Open(p.dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	p.must(err)
	for range levels {
		for _, n := range []string{"a", "z"} {
			p.must(unix.Mkdirat(fd, n, 0o755))
		}
		f, err := unix.Openat(fd, "a/file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		p.must(err, unix.Close(f))
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		p.must(err, unix.Close(fd))
		fd = next
	}
	p.must(unix.Close(fd))
}

// However deep or bushy a tree is, few directories are open at once, and
// nothing of it is lost where a process may open few files.
func TestDescriptorBudget(t *testing.T) {
	deep := newPlace(t)
	deep.bough(1200, "level")
	bushy := newPlace(t)
	for i := range 20 * 20 * 20 {
		p := fmt.Sprintf("/%02d/%02d/%02d", i/400, i/20%20, i%20)
		p = bushy.host(p)
		bushy.must(os.MkdirAll(p, 0o755))
	}
	wide := newPlace(t)
	for i := range 1500 {
		wide.must(os.MkdirAll(wide.host(fmt.Sprintf("/%04d/x", i)), 0o755))
	}
	for _, limit := range []int{64, 400} {
		fewDescriptors(t, limit)
		for _, workers := range []int{1, 32} {
			for _, tt := range []struct {
				name    string
				p       *place
				entries int
			}{{"deep", deep, 1 + 1200*4 + 1}, {"bushy", bushy, 1 + 20 + 400 + 8000}, {"wide", wide, 1 + 3000}} {
				k, most := tt.p.sampled(scanner.Options{Workers: workers}, nil)
				k.noGaps()
				if n := len(k.paths()); n != tt.entries {
					t.Errorf("%s, %d workers, %d files: %d entries, want %d", tt.name, workers, limit, n, tt.entries)
				}
				if allowed := limit/4 + 3*min(workers, limit/8) + 1; most > int64(allowed) {
					t.Errorf("%s, %d workers, %d files: %d directories open at once, want %d at most", tt.name, workers, limit, most, allowed)
				}
			}
		}
	}
	k, _ := deep.sampled(scanner.Options{}, nil)
	if e := k.entry(entry.Path("/" + strings.Repeat("level/", 1200) + "bottom")); e.Digest != digest.Sum([]byte("deep")) {
		t.Error("the bottom is something else")
	}
}
