package app

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/config"
	"intact/scanner/dirfd"
)

// awaitingCheck is a check that has not begun, and the lock that it looks at.
func awaitingCheck(t *testing.T, wait time.Duration) (*check, string) {
	t.Helper()
	root, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	lock := filepath.Join(t.TempDir(), "lock-frontend")
	if err := os.WriteFile(lock, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	e := &Env{Now: time.Now, Stderr: io.Discard, PackageLocks: []string{lock}}
	return &check{session: &session{env: e, root: root, cfg: &config.Config{Packages: config.Packages{Wait: wait}}}}, lock
}

// hold locks a file by its description, fcntl(2): that conflicts with a look of
// the process itself too.
func hold(t *testing.T, name string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err == nil {
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

// The clock of a bubble runs only where all wait.
func TestAwait(t *testing.T) {
	minutes := func(n time.Duration) *time.Duration { n *= time.Minute; return &n }
	for _, tt := range []struct {
		name   string
		option *time.Duration
		ends   time.Duration // the transaction
		took   time.Duration // until the scan
		during bool
	}{
		{"in-time", nil, 14*time.Minute + 500*time.Millisecond, 14*time.Minute + time.Second, false},
		{"too-late", nil, 16 * time.Minute, 15 * time.Minute, true},
		{"asked-for-less", minutes(2), 3 * time.Minute, 2 * time.Minute, true},
		{"asked-for-more", minutes(30), 20*time.Minute - time.Millisecond, 20 * time.Minute, false},
		{"not-at-all", minutes(0), time.Minute, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, lock := awaitingCheck(t, 15*time.Minute)
			c.o.Wait = tt.option
			synctest.Test(t, func(t *testing.T) {
				time.AfterFunc(tt.ends, hold(t, lock))
				var line bytes.Buffer
				c.env.Stderr, c.env.Progress = &line, true
				start := time.Now()
				if !c.await(t.Context()) || time.Since(start) != tt.took {
					t.Errorf("waited %v, want %v", time.Since(start), tt.took)
				}
				if tt.took > 0 && (strings.Count(line.String(), "left") != int((tt.took+lockPoll-1)/lockPoll) || !strings.HasSuffix(line.String(), "left\r\x1b[K")) {
					t.Errorf("got progress %.300q", line.String())
				}
				c.awaited() // says nothing a second time
				if want := []string{"during a transaction of dpkg"}; tt.during != slices.Equal(c.remarked, want) || !tt.during && len(c.remarked) > 0 {
					t.Errorf("got remarks %q", c.remarked)
				}
				time.Sleep(tt.ends)
			})
		})
	}
}

// A transaction that begins while the scan runs is told of, but by the hook that
// runs inside of it.
func TestAwaited(t *testing.T) {
	c, lock := awaitingCheck(t, time.Hour)
	if !c.await(t.Context()) {
		t.Fatal("interrupted by nobody")
	}
	c.awaited()
	if len(c.remarked) > 0 {
		t.Fatalf("got remarks %q before a transaction", c.remarked)
	}
	defer hold(t, lock)()
	c.update = append(c.update, "/usr/bin/tool")
	if c.awaited(); len(c.remarked) > 0 {
		t.Fatalf("got remarks %q for a proposal", c.remarked)
	}
	c.update = nil
	if c.awaited(); !slices.Equal(c.remarked, []string{"during a transaction of dpkg, which began while the scan ran"}) {
		t.Errorf("got remarks %q", c.remarked)
	}
}

// What a transaction started would wait for itself.
func TestAbove(t *testing.T) {
	for pid, want := range map[int]bool{os.Getppid(): true, parentOf(os.Getppid()): parentOf(os.Getppid()) > 1, os.Getpid(): false, 0: false, -1: false} {
		if above(pid) != want {
			t.Errorf("above(%d) is %v", pid, !want)
		}
	}
}
