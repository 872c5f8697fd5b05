package baseline

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestLock(t *testing.T) {
	s := newStore(t)
	l, err := s.Lock("init --force")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Lock("check")
	held, ok := errors.AsType[*LockedError](err)
	if !ok || held.PID != os.Getpid() || held.Command != "init --force" || held.Since.IsZero() {
		t.Fatalf("%v", err)
	}
	rewrite(t, s.path(baselineDir, "x.tmp"), []byte("left over"))
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = s.Lock("check")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if _, err := os.Stat(s.path(baselineDir, "x.tmp")); err == nil {
		t.Error("a leftover was kept")
	}
}

// TestLockIsAFileOfItsOwn: taking a lock writes into it.
func TestLockIsAFileOfItsOwn(t *testing.T) {
	s := newStore(t)
	host := slurp(t, s.path(hostFile))
	for _, tt := range []struct {
		name string
		make func(name string) error
	}{
		{"hard link", func(name string) error { return os.Link(s.path(hostFile), name) }},
		{"symbolic link", func(name string) error { return os.Symlink(hostFile, name) }},
		{"fifo", func(name string) error { return syscall.Mkfifo(name, 0o600) }},
		{"directory", func(name string) error { return os.Mkdir(name, 0o700) }},
	} {
		for file, lock := range map[string]func() (*Lock, error){"lock": func() (*Lock, error) { return s.Lock("check") }, "commit.lock": s.commitLock} {
			os.Remove(s.path(file))
			if err := tt.make(s.path(file)); err != nil {
				t.Fatal(err)
			}
			l, err := lock()
			if err == nil {
				l.Unlock()
				t.Errorf("%s: %s is taken", file, tt.name)
			} else if _, held := errors.AsType[*LockedError](err); held || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %s: %v", file, tt.name, err)
			}
			os.Remove(s.path(file))
		}
	}
	if !bytes.Equal(slurp(t, s.path(hostFile)), host) {
		t.Error("another file was written")
	}
}
