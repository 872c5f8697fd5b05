package scanner_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// examiner makes a root of a temporary folder.
func examiner(t *testing.T) (*scanner.Examiner, string) {
	t.Helper()
	dir := t.TempDir()
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return scanner.NewExaminer(r, 0), dir
}

func put(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestExamineDigests(t *testing.T) {
	x, dir := examiner(t)
	for _, n := range []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 9<<20 + 3} {
		b := random(n)
		put(t, filepath.Join(dir, "f"), b)
		for _, prefix := range []int{-1, 0, 1, n / 2, n, n + 1} {
			l, err := x.Path(context.Background(), "/f", func(p entry.Path) int64 {
				if p != "/f" {
					t.Errorf("asked about %q", p)
				}
				return int64(prefix)
			})
			if err != nil || len(l.Gaps) > 0 {
				t.Fatalf("%v, %v", err, l.Gaps)
			}
			if l.Entry.Digest != digest.Sum(b) || l.SHA256 != sha256.Sum256(b) || l.MD5 != md5.Sum(b) || l.Entry.Hashed != int64(n) || l.Entry.Size != int64(n) || l.Entry.Mode != 0o640 {
				t.Errorf("%d bytes: %+v", n, l)
			}
			if want := prefix >= 0 && prefix <= n; want != (l.Prefix != nil) || want && *l.Prefix != digest.Sum(b[:prefix]) {
				t.Errorf("%d bytes: the digest of the first %d is %v", n, prefix, l.Prefix)
			}
		}
	}
}

func TestExamineKinds(t *testing.T) {
	x, dir := examiner(t)
	put(t, filepath.Join(dir, "f"), []byte("x"))
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "d"), 0o755), os.Symlink("f", filepath.Join(dir, "l")), unix.Mkfifo(filepath.Join(dir, "p"), 0o600),
		os.Symlink("/d", filepath.Join(dir, "ld")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const meta = entry.Type | entry.Mode | entry.UID | entry.XattrAttr
	for p, want := range map[entry.Path]struct {
		kind entry.Kind
		have entry.Attr
	}{
		"/f": {entry.File, meta | entry.Content | entry.Flags | entry.Caps}, "/d": {entry.Dir, meta | entry.Flags | entry.ACL}, "/": {entry.Dir, meta | entry.Flags},
		"/l": {entry.Symlink, meta | entry.Target}, "/p": {entry.FIFO, meta},
	} {
		l, err := x.Path(context.Background(), p, nil)
		if err != nil || len(l.Gaps) > 0 || l.Entry.Kind != want.kind || l.Entry.Have&want.have != want.have || l.Path != p {
			t.Errorf("%s: %+v, %v", p, l, err)
		}
	}
	put(t, filepath.Join(dir, "d/f"), []byte("y"))
	if l, err := x.Path(context.Background(), "/ld/f", nil); err != nil || l.Path != "/d/f" || l.Entry.Digest != digest.Sum([]byte("y")) {
		t.Errorf("through a link: %+v, %v", l, err)
	}
	for _, p := range []entry.Path{"/none", "/none/x", "/f/x"} {
		if l, err := x.Path(context.Background(), p, nil); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: %+v, %v", p, l, err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := x.Path(ctx, "/f", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What is written to while it is read has no digest; a log may grow.
func TestExamineMoving(t *testing.T) {
	dir := t.TempDir()
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x := scanner.NewExaminer(r, 32<<20) // a pass takes longer than a write
	file := filepath.Join(dir, "f")
	put(t, file, random(4<<20))
	done, ended, began := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	go func() {
		defer close(ended)
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return
		}
		defer f.Close()
		for {
			select {
			case <-done:
				return
			default:
				_, _ = f.Write([]byte("more")) // it is there to be written to
				select {
				case began <- struct{}{}:
				default:
				}
			}
		}
	}()
	<-began
	l, err := x.Path(context.Background(), "/f", nil)
	grown, err2 := x.Path(context.Background(), "/f", func(entry.Path) int64 { return 1 << 20 })
	close(done)
	<-ended
	if err != nil || len(l.Gaps) != 1 || l.Gaps[0].Reason != scanner.ReasonBusy || l.Entry.Have&entry.Content != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	if b, _ := os.ReadFile(file); err2 != nil || grown.Prefix == nil || *grown.Prefix != digest.Sum(b[:1<<20]) || grown.Entry.Digest != digest.Sum(b[:grown.Entry.Hashed]) {
		t.Errorf("%+v, %v", grown, err2)
	}
}

// A name that changes hands meanwhile: digest, inode and mode are of one file.
func TestExamineSwapped(t *testing.T) {
	x, dir := examiner(t)
	name := func(n string) string { return filepath.Join(dir, n) }
	inodes := map[uint64]digest.Digest{}
	for _, n := range []string{"f", "g"} {
		put(t, name(n), []byte(n))
		var st unix.Stat_t
		if err := unix.Stat(name(n), &st); err != nil {
			t.Fatal(err)
		}
		inodes[st.Ino] = digest.Sum([]byte(n))
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, name("f"), unix.AT_FDCWD, name("g"), unix.RENAME_EXCHANGE) // or not: then nothing is tested
			}
		}
	}()
	for range 500 {
		l, err := x.Path(context.Background(), "/f", nil)
		if err != nil {
			t.Error(err)
			break
		}
		if l.Entry.Have&entry.Content != 0 && inodes[l.Entry.Inode] != l.Entry.Digest {
			t.Errorf("the digest of one file with the inode of another: %+v", l)
			break
		}
	}
	close(done)
	<-ended
}

// A huge file takes no more memory than a small one.
func TestExamineMemory(t *testing.T) {
	x, dir := examiner(t)
	put(t, filepath.Join(dir, "f"), nil)
	measure := func(size int64) uint64 {
		if err := os.Truncate(filepath.Join(dir, "f"), size); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if l, err := x.Path(context.Background(), "/f", nil); err != nil || l.Entry.Hashed != size {
			t.Fatalf("%+v, %v", l, err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	small, large := measure(64<<20), measure(256<<20)
	if large > small+1<<20 {
		t.Errorf("%d bytes for 64 MiB, %d for 256 MiB", small, large)
	}
}

// A file that is open is looked at by its descriptor, whatever its name leads
// to now.
func TestExamineFile(t *testing.T) {
	x, dir := examiner(t)
	name := filepath.Join(dir, "f")
	put(t, name, []byte("old"))
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := dirfd.OpenedFile(fd)
	defer f.Close()
	put(t, filepath.Join(dir, "g"), []byte("new"))
	if err := os.Rename(filepath.Join(dir, "g"), name); err != nil {
		t.Fatal(err)
	}
	l, err := x.File(context.Background(), f)
	if err != nil || l.Entry.Digest != digest.Sum([]byte("old")) || l.Entry.Nlink != 0 || len(l.Gaps) > 0 {
		t.Errorf("%+v, %v", l, err)
	}
	for _, other := range []string{dir, "/dev/null"} {
		fd, err := unix.Open(other, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := dirfd.OpenedFile(fd)
		defer f.Close()
		if l, err := x.File(context.Background(), f); err != nil || len(l.Gaps) != 1 || l.Entry.Have&entry.Content != 0 {
			t.Errorf("%s: %+v, %v", other, l, err)
		}
	}
	if !bytes.Equal(l.SHA256[:4], []byte{0xcb, 0xa0, 0x6b, 0x57}) {
		t.Errorf("sha256 %x", l.SHA256)
	}
}
