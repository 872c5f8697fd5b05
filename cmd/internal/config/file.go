package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"intact/scanner/strict"
)

// readTrusted returns the content of a regular file that only root and the
// user can have written.
func readTrusted(name string, uid int) ([]byte, error) {
	// Not to block on a FIFO, nor to take over a terminal.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("read configuration %q: %w", name, cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read configuration %q: %w", name, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read configuration %q: not a regular file", name)
	}
	if why := untrusted(info, uid); why != "" {
		return nil, fmt.Errorf("read configuration %q: refused: it %s", name, why)
	}
	// One byte more than allowed, so that strict.Parse says so.
	text, err := io.ReadAll(io.LimitReader(f, strict.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration %q: %w", name, cause(err))
	}
	return text, nil
}

// checkDir accepts a folder in which only root and the user can put files.
func checkDir(name string, uid int) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("list configuration folder %q: %w", name, cause(err))
	}
	if !info.IsDir() {
		return fmt.Errorf("list configuration folder %q: not a directory", name)
	}
	if why := untrusted(info, uid); why != "" {
		return fmt.Errorf("list configuration folder %q: refused: it %s", name, why)
	}
	return nil
}

// untrusted says why somebody else than root and the user uid may have written
// a file, "" if nobody else can.
func untrusted(info fs.FileInfo, uid int) string {
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Sprintf("can be written by everybody (mode %04o)", info.Mode().Perm())
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "has no known owner"
	}
	if st.Uid != 0 && int64(st.Uid) != int64(uid) {
		return fmt.Sprintf("belongs to user %d, neither to root nor to the user who runs intact", st.Uid)
	}
	return ""
}

// cause drops the path that an os error carries: the messages here have it,
// quoted.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
