package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child prepares a run of the program in a process of its own.
func (s *site) child(args ...string) *exec.Cmd {
	s.t.Helper()
	self, err := os.Executable()
	s.must(err)
	c := exec.Command(self, append([]string{"--config", s.config, "--state", s.state, "--workers", "3"}, args...)...)
	c.Env = append(os.Environ(), childEnv+"=site")
	return c
}

// generation returns the newest generation's number and statement, 0 without.
func (s *site) generation() (n int, text string) {
	s.t.Helper()
	list, err := filepath.Glob(filepath.Join(s.state, "baseline", "*.statement"))
	s.must(err)
	for _, name := range list { // sorted
		b, err := os.ReadFile(name)
		s.must(err)
		_, err = fmt.Sscanf(filepath.Base(name), "%d.statement", &n)
		s.must(err)
		text = string(b)
	}
	return n, text
}

// temps lists what an interrupted command left in the state folder.
func (s *site) temps() (r []string) {
	s.t.Helper()
	err := filepath.WalkDir(s.state, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(p, ".tmp") || strings.HasPrefix(d.Name(), "intact-spool")) {
			r = append(r, p)
		}
		return err
	})
	s.must(err)
	return r
}

// killer ends a process at one moment: after a time, or when the state folder
// has seen so many events.
type killer struct {
	after  time.Duration
	events int    // 0: by time
	stdin  string // what the child reads
}

// run starts the child and kills it. done means that it ended before.
func (k killer) run(s *site, args ...string) (done bool, events int, took time.Duration) {
	s.t.Helper()
	c := s.child(args...)
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(k.stdin), &out, &out
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	s.must(err)
	defer unix.Close(watch)
	for _, d := range []string{"", "baseline", "ledger", "pending", "reports", "inbox", "packages"} {
		// A folder that is not there yet has no events of its own.
		_, _ = unix.InotifyAddWatch(watch, filepath.Join(s.state, d), unix.IN_CREATE|unix.IN_MODIFY|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_CLOSE_WRITE|unix.IN_ATTRIB)
	}
	start := time.Now()
	s.must(c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	buf := make([]byte, 64<<10)
	for {
		select {
		case err := <-ended:
			if ee, ok := err.(*exec.ExitError); ok && ee.ExitCode() != 1 { // 1: findings
				s.t.Fatalf("%q: %v\n%s", args, err, out.String())
			}
			return true, events, time.Since(start)
		default:
		}
		n, _ := unix.Read(watch, buf)
		for b := buf[:max(n, 0)]; len(b) >= unix.SizeofInotifyEvent; {
			size := unix.SizeofInotifyEvent + int(uint32(b[12])|uint32(b[13])<<8|uint32(b[14])<<16)
			b = b[min(size, len(b)):]
			events++
		}
		if k.events > 0 && events >= k.events || k.events == 0 && k.after > 0 && time.Since(start) >= k.after {
			if err := c.Process.Kill(); errors.Is(err, os.ErrProcessDone) {
				k = killer{stdin: k.stdin} // too late: let it be told how it ended
				continue
			} else if err != nil {
				s.t.Fatal(err)
			}
			<-ended
			return false, events, time.Since(start)
		}
		if n <= 0 {
			var ts = unix.Timespec{Nsec: 20_000}
			_ = unix.Nanosleep(&ts, nil)
		}
	}
}

// TestKill kills init, check and accept at random moments: by time over the
// whole run, and by the events of the state folder, which fall in the short
// while in which something is published. INTACT_KILL sets the number of kills.
func TestKill(t *testing.T) {
	onlyPlain(t)
	n := rounds(t, "INTACT_KILL", 12)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	s := newSite(t, "")
	for i := range 2000 {
		s.write(fmt.Sprintf("d%02d/f%04d", i%40, i), strings.Repeat("x", i%3000))
	}
	kinds := []string{"init", "init again", "check", "accept"}
	events, took := map[string]int{}, map[string]time.Duration{}
	for _, kind := range kinds { // how long each takes, undisturbed
		args := s.prepare(kind, -1)
		_, events[kind], took[kind] = killer{}.run(s, args...)
	}
	killed := map[string]int{}
	for i := range n {
		kind := kinds[i%len(kinds)]
		args := s.prepare(kind, i)
		before, text := s.generation()
		k := killer{after: time.Duration(r.Int64N(int64(took[kind]) * 11 / 10))}
		if r.IntN(2) == 0 {
			k = killer{events: 1 + r.IntN(events[kind]+1), after: 0}
		}
		done, _, _ := k.run(s, args...)
		if !done {
			killed[kind]++
		}
		s.afterKill(kind, before, text, fmt.Sprintf("seed %d kill %d of %s, %+v, ended before %v", seed, i, kind, k, done))
		if t.Failed() {
			return
		}
	}
	t.Logf("killed: %v of %d", killed, n)
	for _, kind := range kinds {
		if n >= 25 && killed[kind] == 0 {
			t.Errorf("%s was never killed before it ended", kind)
		}
	}
}

// prepare brings the site to where a command of that kind has something to do.
func (s *site) prepare(kind string, i int) (args []string) {
	s.t.Helper()
	switch kind {
	case "init":
		s.must(os.RemoveAll(s.state))
		if i%8 != 0 { // there, so that their events are seen
			for _, d := range []string{"baseline", "pending", "reports"} {
				s.must(os.MkdirAll(filepath.Join(s.state, d), 0o700))
			}
		}
		return []string{"init", "--quiet"}
	case "init again":
		return []string{"init", "--force", "--reason", "again", "--quiet"}
	}
	s.write("d00/changing", fmt.Sprintf("state %d", i))
	if kind == "check" {
		return []string{"check"}
	}
	s.want(s.check(), 1)
	return []string{"accept", "--all", "--reason", "kill test"}
}

// afterKill holds the state folder against what it may be.
func (s *site) afterKill(kind string, before int, text, what string) {
	t := s.t
	t.Helper()
	now, stands := s.generation()
	if now == 0 {
		if kind != "init" || before != 0 {
			t.Fatalf("%s: generation %d is gone", what, before)
		}
		if r := s.verify(); r.exit != 4 || !strings.Contains(fmt.Sprint(r.err), "no baseline") {
			t.Fatalf("%s: verify without a baseline: %v", what, r)
		}
		s.want(s.init(), 0)
	} else {
		switch {
		case now == before && stands != text:
			t.Fatalf("%s: generation %d is another", what, before)
		case now != before && (now != before+1 || kind == "check"):
			t.Fatalf("%s: generation %d after %d", what, now, before)
		}
		if r := s.verify(); r.exit != 0 || r.err != nil {
			t.Fatalf("%s: verify: %v", what, r)
		}
		if _, err := s.readAges(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: neither the old ages nor the new ones: %v", what, err)
		}
	}
	r := s.check()
	var got []string
	for _, l := range of(parse(t, r.stdout), "finding") {
		got = append(got, l.path+" "+l.Change)
	}
	var want []string
	if s.differs(kind, before, now) {
		want = []string{filepath.Join(s.tree, "d00/changing") + " changed"}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || r.exit != len(want) || r.err != nil {
		t.Fatalf("%s: the next check: want findings %q, got %v", what, want, r)
	}
	if _, err := s.readAges(); err != nil {
		t.Fatalf("%s: after the next check: %v", what, err)
	}
	if l := s.temps(); len(l) > 0 {
		t.Fatalf("%s: left behind after the next command: %q", what, l)
	}
	if len(want) > 0 {
		s.want(s.accept(), 0)
	}
	if r := s.check(); r.exit != 0 || r.err != nil {
		t.Fatalf("%s: after the next accept: %v", what, r)
	}
}

// differs reports whether the tree has a change that the baseline lacks.
func (s *site) differs(kind string, before, now int) bool {
	return kind == "check" || kind == "accept" && now == before
}
