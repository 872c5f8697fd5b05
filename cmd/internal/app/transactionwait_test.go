package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/app"
)

// lockEnv makes the test binary hold the lock on a file until its stdin ends.
const lockEnv = "INTACT_TEST_LOCK"

// holdLock is the child of lockedBy.
func holdLock(name string) int {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err == nil {
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// lockedBy starts a process that holds a lock as dpkg does, until release.
func (s *site) lockedBy(name string) (pid int, release func()) {
	s.t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), lockEnv+"="+name)
	in, err := c.StdinPipe()
	s.must(err)
	out, err := c.StdoutPipe()
	s.must(err, c.Start())
	release = func() { _ = in.Close(); _ = c.Wait() }
	s.t.Cleanup(release)
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		s.t.Fatalf("the lock is not held: %q", line)
	}
	return c.Process.Pid, release
}

// lockFile makes a lock that belongs to nobody.
func (s *site) lockFile(name string) string {
	s.t.Helper()
	at := filepath.Join(filepath.Dir(s.state), name)
	s.must(os.WriteFile(at, nil, 0o640))
	s.locks = []string{filepath.Join(filepath.Dir(s.state), "none"), at}
	return at
}

// openLock locks a file by its description, fcntl(2): that conflicts with a
// process's own look too.
func (s *site) openLock(name string, how int16) (release func()) {
	s.t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	s.must(err, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: how}))
	return func() { f.Close() }
}

// notes are those of a report in JSON.
func notes(t *testing.T, report []byte) (list []string) {
	t.Helper()
	for line := range bytes.Lines(report) {
		var r struct{ Type, Text string }
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Type == "note" {
			list = append(list, r.Text)
		}
	}
	return list
}

func waiting(d time.Duration) func(*app.CheckOptions) {
	return func(o *app.CheckOptions) { o.Wait = &d }
}

// wantDuring demands exactly one note about a transaction, or none.
func wantDuring(t *testing.T, r result, want string) {
	t.Helper()
	var got []string
	for _, n := range notes(t, r.stdout) {
		if strings.Contains(n, "transaction") {
			got = append(got, n)
		}
	}
	if want == "" && len(got) > 0 || want != "" && !slices.Equal(got, []string{want}) {
		t.Errorf("got notes %q, want %q", got, want)
	}
}

func TestWaitOver(t *testing.T) {
	for _, tt := range []struct{ lock, manager string }{{"lock-frontend", "dpkg"}, {".rpm.lock", "rpm"}} {
		t.Run(tt.lock, func(t *testing.T) {
			s := newSite(t, "")
			s.write("f", "1")
			s.want(s.init(), 0)
			pid, release := s.lockedBy(s.lockFile(tt.lock))
			during := fmt.Sprintf("during a transaction of %s (pid %d)", tt.manager, pid)
			r := s.check(waiting(0))
			s.want(r, 0)
			wantDuring(t, r, during)
			if r.stderr != "" {
				t.Errorf("got %q on stderr though nothing was waited for", r.stderr)
			}
			r = s.check(waiting(time.Nanosecond))
			s.want(r, 0)
			wantDuring(t, r, during)
			if !strings.HasPrefix(r.stderr, fmt.Sprintf("intact: waiting for a transaction of %s (pid %d) until ", tt.manager, pid)) || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("got %q on stderr, want one line", r.stderr)
			}
			release()
			r = s.check(waiting(time.Hour))
			s.want(r, 0)
			wantDuring(t, r, "")
		})
	}
}

func TestWaitInterrupted(t *testing.T) {
	s := newSite(t, "")
	s.write("f", "1")
	s.want(s.init(), 0)
	defer s.openLock(s.lockFile("lock"), unix.F_WRLCK)()
	ctx, cancel := context.WithCancel(context.Background())
	var out bytes.Buffer
	e := s.env(&out, writerFunc(func(b []byte) { cancel() })) // when it says that it waits
	o, err := app.Check(ctx, e, app.CheckOptions{})
	if err != nil || o.Exit() != app.ExitInterrupted || out.Len() > 0 {
		t.Errorf("exit %d, error %v, report %q, want 130 and none", o.Exit(), err, out.String())
	}
	// no lock is left, and none was held while it waited
	s.want(s.check(waiting(0)), 0)
}

// Who reads the database keeps nobody waiting, and what is no lock is none.
func TestWaitForNobody(t *testing.T) {
	s := newSite(t, "")
	s.write("f", "1")
	s.want(s.init(), 0)
	at := s.lockFile("lock")
	release := s.openLock(at, unix.F_RDLCK)
	r := s.check(waiting(app.MaxWait))
	s.want(r, 0)
	wantDuring(t, r, "")
	release()
	s.must(os.Remove(at), unix.Mkfifo(at, 0o600))
	r = s.check(waiting(app.MaxWait))
	s.want(r, 0)
	wantDuring(t, r, "")
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }
