package scanner_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// seenFile is what a scan would have found of a file.
func seenFile(t *testing.T, name string) *entry.Entry {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_BASIC_STATS, &x); err != nil {
		t.Fatal(err)
	}
	return &entry.Entry{Kind: entry.File, Size: int64(x.Size), Inode: x.Ino, Device: unix.Mkdev(x.Dev_major, x.Dev_minor),
		Mtime: entry.Time{Sec: x.Mtime.Sec, Nsec: x.Mtime.Nsec}, Ctime: entry.Time{Sec: x.Ctime.Sec, Nsec: x.Ctime.Nsec}, Digest: digest.Sum(b)}
}

// diskDir is a folder on a file system that has a disk, where there is one.
func diskDir(t *testing.T) (dir string, root *dirfd.Root) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if root, err = dirfd.Open("/"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	return dir, root
}

// Whatever its length and its holes, a file that nobody touched is the same past
// the page cache.
func TestLookAgain(t *testing.T) {
	dir, root := diskDir(t)
	twice := scanner.NewTwice(root, 0)
	for _, size := range []int{1, 511, 512, 513, 4095, 4096, 4097, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 777} {
		name := filepath.Join(dir, "f")
		b := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		seen := seenFile(t, name)
		got, err := twice.LookAgain(context.Background(), entry.Path(name), seen)
		if errors.Is(err, scanner.ErrOneView) {
			t.Skipf("the file system of %q has no other view: %v", dir, err)
		}
		if err != nil || got != seen.Digest {
			t.Errorf("%d bytes: got %v, %v, want %v", size, got, err, seen.Digest)
		}
	}
	hole := filepath.Join(dir, "hole")
	if err := os.WriteFile(hole, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(hole, 5<<20+3); err != nil {
		t.Fatal(err)
	}
	seen := seenFile(t, hole)
	if got, err := twice.LookAgain(context.Background(), entry.Path(hole), seen); err != nil || got != seen.Digest {
		t.Errorf("a hole: got %v, %v, want %v", got, err, seen.Digest)
	}
}

// What is not the file that was scanned is no difference of views.
func TestLookAgainAtWhatMoved(t *testing.T) {
	dir, root := diskDir(t)
	twice := scanner.NewTwice(root, 0)
	name := filepath.Join(dir, "f")
	fresh := func() *entry.Entry {
		os.RemoveAll(name)
		if err := os.WriteFile(name, []byte("as it was scanned"), 0o644); err != nil {
			t.Fatal(err)
		}
		return seenFile(t, name)
	}
	if _, err := twice.LookAgain(context.Background(), entry.Path(name), fresh()); errors.Is(err, scanner.ErrOneView) {
		t.Skipf("the file system of %q has no other view: %v", dir, err)
	}
	tests := map[string]func() error{
		"written":  func() error { return os.WriteFile(name, []byte("as it is today   "), 0o644) },
		"longer":   func() error { return os.WriteFile(name, []byte("as it was scanned, and more"), 0o644) },
		"removed":  func() error { return os.Remove(name) },
		"touched":  func() error { return os.Chmod(name, 0o600) },
		"a folder": func() error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o755)) },
		"a link":   func() error { return errors.Join(os.Rename(name, name+"2"), os.Symlink("f2", name)) },
		"a pipe":   func() error { return errors.Join(os.Remove(name), unix.Mkfifo(name, 0o644)) },
	}
	for what, do := range tests {
		seen := fresh()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if _, err := twice.LookAgain(context.Background(), entry.Path(name), seen); !errors.Is(err, scanner.ErrMoved) {
			t.Errorf("%s: got %v, want %v", what, err, scanner.ErrMoved)
		}
	}
	seen := fresh()
	seen.Digest[0]++ // both views show something else than was scanned
	if _, err := twice.LookAgain(context.Background(), entry.Path(name), seen); !errors.Is(err, scanner.ErrMoved) {
		t.Errorf("other content under the same times: got %v, want %v", err, scanner.ErrMoved)
	}
	if _, err := twice.LookAgain(context.Background(), "/proc/self/status", seen); !errors.Is(err, scanner.ErrOneView) {
		t.Errorf("a file of /proc: got %v, want %v", err, scanner.ErrOneView)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := twice.LookAgain(ctx, entry.Path(name), fresh()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
}
