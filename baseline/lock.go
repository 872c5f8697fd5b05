package baseline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LockedError says who holds the state folder's lock. Fields that could not be
// read are zero.
type LockedError struct {
	PID     int
	Command string // unescaped
	Since   time.Time
}

// Error names the holder.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return "state folder is in use by another intact process"
	}
	return fmt.Sprintf("state folder is in use by %q (process %d, since %s)", e.Command, e.PID, e.Since.Format(time.RFC3339))
}

// Lock is a held lock. It ends with Unlock or with the process.
type Lock struct{ f *os.File }

// Lock takes the lock of init, check and accept for command, without waiting:
// a *LockedError says who has it. It removes what an interrupted command left
// behind. The state folder must exist.
func (s *Store) Lock(command string) (*Lock, error) {
	l, err := s.take(lockFile, command)
	if err == nil {
		s.removeTemps()
	}
	return l, err
}

// LockWatch takes the lock of the one process that watches, likewise.
func (s *Store) LockWatch(command string) (*Lock, error) { return s.take(watchLockFile, command) }

func (s *Store) take(file, command string) (*Lock, error) {
	f, err := openLock(s.path(file))
	if err != nil {
		return nil, fmt.Errorf("lock state folder %q: %w", s.dir, cause(err))
	}
	if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, holder(f)
		}
		return nil, fmt.Errorf("lock state folder %q: %w", s.dir, err)
	}
	text := fmt.Sprintf("%d\n%s\n%s\n", os.Getpid(), strconv.Quote(command), time.Now().UTC().Format(time.RFC3339))
	_, err = f.WriteAt([]byte(text), 0)
	if err = errors.Join(err, f.Truncate(int64(len(text)))); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock state folder %q: %w", s.dir, cause(err))
	}
	return &Lock{f}, nil
}

// Unlock gives the lock back. The file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Unlock() error {
	return errors.Join(l.f.Truncate(0), l.f.Close())
}

// holder reads who wrote the lock file, which any process may have garbled.
func holder(f *os.File) *LockedError {
	e := &LockedError{}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	lines := strings.Split(string(b), "\n")
	if err != nil || len(lines) < 3 {
		return e
	}
	command, err1 := strconv.Unquote(lines[1])
	pid, err2 := strconv.Atoi(lines[0])
	since, err3 := time.Parse(time.RFC3339, lines[2])
	if errors.Join(err1, err2, err3) == nil {
		*e = LockedError{pid, command, since}
	}
	return e
}

// commitLock waits for the short lock under which generations are published.
func (s *Store) commitLock() (*Lock, error) {
	f, err := openLock(s.path(commitLockFile))
	if err != nil {
		return nil, fmt.Errorf("lock for commit: %w", err)
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock for commit: %w", err)
	}
	return &Lock{f}, nil
}

// openLock opens or makes a lock file. It is written and cut, so it must not be
// another file under a second name.
func openLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a regular file: remove it", name)
	}
	if err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink != 1 {
			err = fmt.Errorf("%q has %d hard links, not one: remove it", name, st.Nlink)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			return err
		}
	}
}

// removeTemps deletes unfinished files. Errors do not matter: the names are
// never used again.
func (s *Store) removeTemps() {
	for _, d := range []string{s.dir, s.path(baselineDir), s.path(pendingDir), s.path(KeysDir), s.path(ExpectDir), s.path(LedgerDir)} {
		list, _ := os.ReadDir(d)
		for _, e := range list {
			if strings.HasSuffix(e.Name(), tempSuffix) && e.Type().IsRegular() {
				os.Remove(filepath.Join(d, e.Name()))
			}
		}
	}
}
