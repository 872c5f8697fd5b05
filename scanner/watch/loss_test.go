package watch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// gated lets nobody read events while the gate is shut.
type gated struct {
	byDirectory
	gate *sync.RWMutex
}

func (g gated) next() (event, error) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.byDirectory.next()
}

func TestOverflow(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	var most int
	if _, err := fmt.Sscan(string(limit), &most); err != nil || most > 50_000 {
		t.Skipf("SKIPPED, NOT TESTED: a queue of %s events is not filled by a test", limit)
	}
	var gate sync.RWMutex
	r := start(t, effective(t, hotEtc), Options{backend: func(fd int) (backend, error) {
		b, err := newInotify(fd)
		return gated{b.(byDirectory), &gate}, err
	}}, "/etc/a", "/etc/b", "/outside/x")
	done := make(chan struct{})
	go func() { // the reader waits for one event, with the gate held open
		gate.Lock()
		close(done)
	}()
	r.write("/etc/first", "x")
	<-done
	f, err := os.Create(r.dir + "/etc/f")
	must(t, err)
	g, err := os.Create(r.dir + "/etc/g")
	must(t, err)
	for range most { // an event that repeats the last one is not queued
		_, err := f.WriteString("x")
		_, err2 := g.WriteString("x")
		must(t, errors.Join(err, err2))
	}
	must(t, os.Rename(r.dir+"/etc/a", r.dir+"/outside/a")) // lost
	must(t, os.Rename(r.dir+"/outside/x", r.dir+"/etc/a"))
	must(t, os.Mkdir(r.dir+"/etc/b/new", 0o755))
	gate.Unlock()
	r.until("a rescan of everything", func(told []Hint) bool { return holds(told, "/") && len(r.Losses()) == 0 })
	r.settled()
	r.write("/outside/a/f", "x")
	r.write("/etc/a/f", "x")
	r.write("/etc/b/new/f", "x")
	r.sees("/etc/a/f", "/etc/b/new/f")
	must(t, errors.Join(f.Close(), g.Close()))
}

// TestWatchLimit runs again in a user namespace that may have few watches.
func TestWatchLimit(t *testing.T) {
	const child, most = "INTACT_TEST_WATCH_LIMIT", 64
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWatchLimit$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		ids := func(id int) []syscall.SysProcIDMap {
			return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids(os.Getuid()), GidMappings: ids(os.Getgid())}
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil || strings.Contains(string(out), "--- SKIP") {
			t.Skipf("SKIPPED, NOT TESTED: no user namespace with a limit of its own: %v\n%s", err, out)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_inotify_watches", []byte(fmt.Sprint(most)), 0); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	var dirs []string
	for i := range 2 * most {
		dirs = append(dirs, fmt.Sprintf("/etc/d%03d/sub", i))
	}
	r := start(t, effective(t, hotEtc), Options{retry: 20 * time.Millisecond}, dirs...)
	losses := r.Losses()
	if len(losses) == 0 || len(losses) > maxLosses {
		t.Fatalf("%d losses", len(losses))
	}
	for _, l := range losses {
		if l.Reason != ReasonLimit || !l.Open || !l.Path.Under("/etc") {
			t.Errorf("lost: %+v", l)
		}
	}
	if n := r.Watches(); n != most {
		t.Errorf("%d directories are watched", n)
	}
	for _, d := range dirs[10:] {
		must(t, os.RemoveAll(r.dir+strings.TrimSuffix(d, "/sub")))
	}
	r.until("all is well", func([]Hint) bool { return len(r.Losses()) == 0 })
	r.clear()
	for _, d := range dirs[:10] {
		r.write(d+"/f", "x")
		r.sees(entry.Path(d + "/f"))
	}
}

// fake is a backend that the test drives.
type fake struct {
	events chan any // event or error
	fail   func(p entry.Path) error
}

func (f *fake) add(p entry.Path, _ *dirfd.Dir) error { return f.fail(p) }
func (f *fake) remove(entry.Path)                    {}
func (f *fake) close()                               { close(f.events) }
func (f *fake) next() (event, error) {
	switch e := (<-f.events).(type) {
	case event:
		return e, nil
	case error:
		return event{}, e
	}
	return event{}, errClosed
}

func TestUnavailable(t *testing.T) {
	var mu sync.Mutex
	refuse := unix.EMFILE
	r := start(t, effective(t, hotEtc), Options{retry: 5 * time.Millisecond, backend: func(fd int) (backend, error) {
		mu.Lock()
		defer mu.Unlock()
		if refuse != 0 {
			return nil, refuse
		}
		return newInotify(fd)
	}}, "/etc/a")
	if l := r.Losses(); len(l) != 1 || l[0].Reason != ReasonUnavailable || !l[0].Open || l[0].Path != "/" || l[0].Detail == "" {
		t.Fatalf("losses %+v", l)
	}
	mu.Lock()
	refuse = 0
	mu.Unlock()
	r.until("all is well", func(told []Hint) bool { return len(r.Losses()) == 0 && holds(told, "/") })
	r.clear()
	r.write("/etc/a/f", "x")
	r.sees("/etc/a/f")
}

func TestFailingBackend(t *testing.T) {
	var mu sync.Mutex
	var backends []*fake
	sick := true
	r := start(t, effective(t, hotEtc), Options{retry: 5 * time.Millisecond, backend: func(int) (backend, error) {
		f := &fake{events: make(chan any), fail: func(p entry.Path) error {
			mu.Lock()
			defer mu.Unlock()
			if p == "/etc/sick" && sick {
				return unix.EACCES
			}
			return nil
		}}
		mu.Lock()
		defer mu.Unlock()
		backends = append(backends, f)
		return f, nil
	}}, "/etc/sick/x", "/etc/well")
	if l := r.Losses(); len(l) != 1 || l[0].Reason != ReasonUnwatched || l[0].Path != "/etc/sick" || !l[0].Open {
		t.Fatalf("losses %+v", l)
	}
	mu.Lock()
	first := backends[0]
	sick = false
	mu.Unlock()
	r.until("it stands", func(told []Hint) bool { return len(r.Losses()) == 0 && holds(told, "/etc/sick/x") })
	r.clear()
	first.events <- errors.New("no more")
	r.until("everything anew", func(told []Hint) bool { return len(r.Losses()) == 0 && holds(told, "/") })
	mu.Lock()
	defer mu.Unlock()
	if len(backends) != 2 {
		t.Errorf("%d backends were made", len(backends))
	}
}

func TestLosses(t *testing.T) {
	var l losses
	all := []Hint{{Dir: "/", Deep: true}}
	for i := range 10 * maxLosses {
		l.add(Loss{Path: entry.Path(fmt.Sprintf("/etc/d%d", i)), Reason: ReasonLimit, Open: true})
		l.add(Loss{Path: "/usr", Reason: ReasonOverflow})
	}
	if len(l.list) > 2*maxLosses+2 {
		t.Errorf("%d losses", len(l.list))
	}
	ids := l.issue(all)
	l.add(Loss{Path: "/usr/bin", Reason: ReasonOverflow}) // again, behind the batch
	l.done(ids)
	if len(l.list) != 2 { // one is open, the other came again
		t.Errorf("left are %+v", l.list)
	}
	l.done(l.issue(all))
	for _, o := range l.list {
		if !o.Open {
			t.Errorf("%+v is looked at and not closed", o)
		}
	}
	if !l.stand("/") || l.stand("/") {
		t.Error("standing watches do not count once")
	}
	l.done(ids)
	if len(l.list) == 0 {
		t.Error("closed without another look")
	}
	if l.done(l.issue(all)); len(l.list) != 0 {
		t.Errorf("left are %+v", l.list)
	}
}

// A loss waits for a batch that has all of its place.
func TestLossWaits(t *testing.T) {
	var l losses
	l.add(Loss{Path: "/etc/d", Reason: ReasonOverflow})
	for _, hints := range [][]Hint{nil, {{Dir: "/etc/d", Names: [][]byte{[]byte("f")}}}, {{Dir: "/etc/d/e", Deep: true}}} {
		if ids := l.issue(hints); len(ids) != 0 {
			t.Errorf("%s makes it good", words(hints))
		}
	}
	l.done(l.issue([]Hint{{Dir: "/etc", Deep: true}}))
	if len(l.list) != 0 {
		t.Errorf("left are %+v", l.list)
	}
}
