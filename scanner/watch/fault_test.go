package watch

import (
	"os"
	"sync/atomic"
	"testing"
	"time"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// brittle is a backend that panics where it is told to.
type brittle struct {
	byDirectory
	next_, add_ *atomic.Int64 // as often
}

func (b brittle) next() (event, error) {
	e, err := b.byDirectory.next()
	if err == nil && b.next_.Add(-1) >= 0 {
		panic("in next")
	}
	return e, err
}

func (b brittle) add(p entry.Path, d *dirfd.Dir) error {
	if p != "/" && b.add_.Add(-1) >= 0 {
		panic("in add")
	}
	return b.byDirectory.add(p, d)
}

func brittleOptions(next, add *atomic.Int64) Options {
	return Options{retry: 50 * time.Millisecond, backend: func(fd int) (backend, error) {
		b, err := newInotify(fd)
		if err != nil {
			return nil, err
		}
		return brittle{b.(byDirectory), next, add}, nil
	}}
}

// A panic of the reader is a loss: all is looked at, and watched again.
func TestFaultyReader(t *testing.T) {
	var next, add atomic.Int64
	r := start(t, effective(t, hotEtc), brittleOptions(&next, &add), "/etc/d")
	next.Store(1)
	r.write("/etc/d/f", "x")
	r.sees("/etc/d/f", "/etc/d/any")
	r.until("well again", func([]Hint) bool { return len(r.Losses()) == 0 && r.Watches() == 3 })
	r.clear()
	r.write("/etc/d/g", "x")
	r.sees("/etc/d/g")
}

// A panic of the walker is told until the watches were made anew.
func TestFaultyWalker(t *testing.T) {
	var next, add atomic.Int64
	r := start(t, effective(t, hotEtc), brittleOptions(&next, &add), "/etc/d")
	add.Store(2)
	must(t, os.Mkdir(r.dir+"/etc/new", 0o755))
	r.sees("/etc/new/any", "/etc/d/any")
	r.until("well again", func([]Hint) bool { return len(r.Losses()) == 0 && r.Watches() == 4 })
	r.clear()
	r.write("/etc/new/g", "x")
	r.sees("/etc/new/g")
	if add.Load() > 0 {
		t.Error("it never panicked")
	}
}

// A panic elsewhere ends in a look at everything.
func TestGuard(t *testing.T) {
	r := start(t, effective(t, hotEtc), Options{}, "/etc/d")
	r.guard(false, func() {
		r.settle.change(func() { panic("in what gives hints on") })
	})
	r.sees("/etc/d/any")
	r.until("well again", func([]Hint) bool { return len(r.Losses()) == 0 })
	r.clear()
	r.write("/etc/d/g", "x")
	r.sees("/etc/d/g")
}
