package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/report"
)

// keptDir is a folder of the state folder into which hooks write, or apt's folder of
// lists, held by its descriptor. It is an fs.FS of the regular files in it: nothing else is opened,
// so that nothing is waited for, and no link is followed.
type keptDir struct {
	f    *os.File
	name string
}

// openFolder opens a folder. A link in its place is none, and a FIFO is not
// waited for.
func openFolder(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if st, lerr := os.Lstat(name); lerr == nil && !st.IsDir() {
			return nil, fmt.Errorf("%q is %s, no folder: look who put it there, and remove it", name, kindWord(st.Mode()))
		}
	}
	return f, err
}

// kindWord says what a file is that should have been another one.
func kindWord(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a link"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// openAptLists opens apt's folder of lists, which may be a link. It needs no end: it
// is wanted as long as the program runs.
func openAptLists(name string) (fs.FS, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &keptDir{f, name}, nil
}

// openKept opens a folder of the state folder; fs.ErrNotExist: there is none.
func (s *session) openKept(sub string) (*keptDir, error) {
	name := filepath.Join(s.store.Dir(), sub)
	f, err := openFolder(name)
	if err != nil {
		return nil, err
	}
	return &keptDir{f, name}, nil
}

// makeKept is openKept that makes the folder where there is none.
func (s *session) makeKept(sub string) (*keptDir, error) {
	if err := os.Mkdir(filepath.Join(s.store.Dir(), sub), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return s.openKept(sub)
}

func (d *keptDir) Close() error { return d.f.Close() }

func (d *keptDir) fd() int { return int(d.f.Fd()) }

// at is what errors call a file of the folder.
func (d *keptDir) at(name string) string { return filepath.Join(d.name, name) }

// plainName reports whether name is one of this very folder.
func plainName(name string) bool {
	return fs.ValidPath(name) && name != "." && filepath.Base(name) == name
}

// Open implements fs.FS. A file is looked at before it is opened, because some
// devices do something when they are, and behind that, because it may be another
// one then.
func (d *keptDir) Open(name string) (fs.File, error) {
	if name == "." {
		fd, err := unix.Openat(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open %q: %w", d.name, err)
		}
		return os.NewFile(uintptr(fd), d.name), nil
	}
	bad := func(err error) (fs.File, error) {
		return nil, fmt.Errorf("open %q: %w", d.at(name), err)
	}
	if !plainName(name) {
		return bad(fs.ErrInvalid)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return bad(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return bad(errors.New("not a regular file"))
	}
	fd, err := unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return bad(err)
	}
	f := os.NewFile(uintptr(fd), d.at(name))
	if now, err := f.Stat(); err != nil || !now.Mode().IsRegular() {
		f.Close()
		return bad(errors.Join(err, errors.New("not a regular file")))
	}
	return f, nil
}

// create makes a file that put or rename gives its name.
func (d *keptDir) create(prefix string) (f *os.File, name string, err error) {
	var id [8]byte
	rand.Read(id[:]) // never fails, crypto/rand
	name = prefix + "." + hex.EncodeToString(id[:]) + ".tmp"
	fd, err := unix.Openat(d.fd(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("create %q: %w", d.at(name), err)
	}
	return os.NewFile(uintptr(fd), d.at(name)), name, nil
}

// rename gives a written file its name, and makes that last.
func (d *keptDir) rename(from, to string) error {
	if err := unix.Renameat(d.fd(), from, d.fd(), to); err != nil {
		return fmt.Errorf("rename %q: %w", d.at(to), err)
	}
	return d.f.Sync()
}

// put writes a file in one step. What fails leaves nothing.
func (d *keptDir) put(name string, b []byte) error {
	return d.write(name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// write is put of what fill writes.
func (d *keptDir) write(name string, fill func(io.Writer) error) error {
	f, temp, err := d.create(name)
	if err != nil {
		return err
	}
	err = fill(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = d.rename(temp, name)
	}
	if err != nil {
		d.remove(temp)
	}
	return err
}

// remove removes a file. What cannot be removed is only one too many.
func (d *keptDir) remove(name string) { _ = unix.Unlinkat(d.fd(), name, 0) }

// touch sets the times of a file.
func (d *keptDir) touch(name string, now time.Time) {
	at, err := unix.TimeToTimespec(now)
	if err == nil {
		_ = unix.UtimesNanoAt(d.fd(), name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	}
}

// maxKeptNames bounds the names of a folder that are looked at: it may have been
// filled, and may still be.
const maxKeptNames = 1 << 20

// each calls do for each name in the folder, in any order, until it returns false.
func (d *keptDir) each(do func(name string) bool) error {
	f, err := d.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	list := f.(*os.File)
	for seen := 0; ; {
		names, err := list.Readdirnames(1024)
		if seen += len(names); seen > maxKeptNames {
			return fmt.Errorf("%q has over %d files: look who put them there", d.name, maxKeptNames)
		}
		for _, n := range names {
			if !do(n) {
				return nil
			}
		}
		if len(names) == 0 {
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}

// stat looks at a file itself.
func (d *keptDir) stat(name string) (keptStat, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return keptStat{}, err
	}
	return keptStat{regular: st.Mode&unix.S_IFMT == unix.S_IFREG, size: st.Size, written: time.Unix(st.Mtim.Unix())}, nil
}

// keptStat is what is asked of a file in such a folder.
type keptStat struct {
	regular bool
	size    int64
	written time.Time
}

// old reports whether nobody can be busy with a file any more: a hook holds no
// lock. What was written in the future was not written just now.
func (s keptStat) old(now time.Time) bool { return now.Sub(s.written).Abs() >= staleTemp }

// maxStrange bounds what strangeKept tells one by one.
const maxStrange = 5

// strangeKept says what lies in the folders of the hooks, or in their place, that
// no hook puts there and no command reads.
func (s *session) strangeKept() (words []string) {
	n := 0
	tell := func(format string, args ...any) {
		if n++; n <= maxStrange {
			words = append(words, report.Prose(fmt.Sprintf(format, args...)))
		}
	}
	for _, sub := range [...]string{baseline.InboxDir, baseline.PackagesDir, baseline.IndexesDir} {
		d, err := s.openKept(sub)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			tell("%v", err)
			continue
		}
		err = d.each(func(name string) bool {
			var st unix.Stat_t
			if err := unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
				tell("%q is no regular file, and is not read", d.at(name))
			}
			return true
		})
		if err != nil {
			tell("%v", err)
		}
		d.Close()
	}
	if n > maxStrange {
		words = append(words, fmt.Sprintf("%d more files like that", n-maxStrange))
	}
	return words
}
