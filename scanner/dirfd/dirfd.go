// Package dirfd reaches the file system by descriptor, one name at a time.
// No path string is resolved twice, symbolic links are never followed, FIFOs
// and devices are never opened.
//
// os.Root is not used: it refuses absolute links inside an image. os.DirFS is
// not used: it follows them onto the scanning host.
package dirfd

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// ErrName is returned for a name that is not one plain path component.
var ErrName = errors.New("dirfd: name is not one path component")

// Name is one component, NUL-terminated, as listed by Dir.List or made by
// NewName.
type Name []byte

// NewName returns s as a Name. It refuses what is not one component.
func NewName(s string) (Name, error) {
	if s == "" || s == "." || s == ".." {
		return nil, fmt.Errorf("%w: %q", ErrName, s)
	}
	n := append([]byte(s), 0)
	for _, c := range n[:len(s)] {
		if c == 0 || c == '/' {
			return nil, fmt.Errorf("%w: %q", ErrName, s)
		}
	}
	return n, nil
}

// Bytes returns the name without the terminator.
func (n Name) Bytes() []byte { return n[:len(n)-1] }

// self is the empty path for AT_EMPTY_PATH calls.
func self() Name { return empty[:] }

var empty [1]byte // never written

// Stat is what statx(2) tells.
type Stat struct {
	Kind   entry.Kind
	Mode   uint16
	UID    uint32
	GID    uint32
	Nlink  uint32
	Size   int64
	Blocks uint64 // of 512 bytes
	Inode  uint64
	Device uint64
	Rdev   uint64
	Mtime  entry.Time
	Ctime  entry.Time
	Btime  entry.Time // zero if the file system has none
	Mount  uint64     // mount id, 0 if the kernel does not tell
}

// Same reports whether two looks at an object found it unchanged: same
// object, size, modification and change time.
func (s *Stat) Same(t *Stat) bool {
	return s.Inode == t.Inode && s.Device == t.Device && s.Kind == t.Kind && s.Size == t.Size && s.Mtime == t.Mtime && s.Ctime == t.Ctime
}

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID

func statx(fd int, n Name, flags int, s *Stat) error {
	var x unix.Statx_t
	for {
		_, _, e := syscall.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&n[0])), uintptr(flags), statMask, uintptr(unsafe.Pointer(&x)), 0)
		if e == 0 {
			break
		}
		if e != syscall.EINTR {
			return e
		}
	}
	s.Kind = kindOf(uint32(x.Mode))
	s.Mode = x.Mode & 0o7777
	s.UID, s.GID, s.Nlink = x.Uid, x.Gid, x.Nlink
	s.Size, s.Blocks, s.Inode = int64(x.Size), x.Blocks, x.Ino
	s.Device = unix.Mkdev(x.Dev_major, x.Dev_minor)
	s.Rdev = unix.Mkdev(x.Rdev_major, x.Rdev_minor)
	s.Mtime = entry.Time{Sec: x.Mtime.Sec, Nsec: x.Mtime.Nsec}
	s.Ctime = entry.Time{Sec: x.Ctime.Sec, Nsec: x.Ctime.Nsec}
	s.Btime = entry.Time{}
	if x.Mask&unix.STATX_BTIME != 0 {
		s.Btime = entry.Time{Sec: x.Btime.Sec, Nsec: x.Btime.Nsec}
	}
	s.Mount = 0
	if x.Mask&unix.STATX_MNT_ID != 0 {
		s.Mount = x.Mnt_id
	}
	return nil
}

func kindOf(mode uint32) entry.Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return entry.File
	case unix.S_IFDIR:
		return entry.Dir
	case unix.S_IFLNK:
		return entry.Symlink
	case unix.S_IFIFO:
		return entry.FIFO
	case unix.S_IFSOCK:
		return entry.Socket
	case unix.S_IFCHR:
		return entry.CharDevice
	case unix.S_IFBLK:
		return entry.BlockDevice
	}
	return entry.KindUnknown
}

// Fill copies what s knows into e and marks it known.
func (s *Stat) Fill(e *entry.Entry) {
	e.Kind, e.Mode, e.UID, e.GID, e.Nlink = s.Kind, s.Mode, s.UID, s.GID, s.Nlink
	e.Size, e.Inode, e.Device, e.Rdev = s.Size, s.Inode, s.Device, s.Rdev
	e.Mtime, e.Ctime, e.Btime = s.Mtime, s.Ctime, s.Btime
	e.Have = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Mtime | entry.Ctime | entry.Inode | entry.Nlink | entry.Device
	if s.Btime != (entry.Time{}) {
		e.Have |= entry.Btime
	}
}

// Dir is an open directory, shared by counting references.
type Dir struct {
	fd   int
	refs atomic.Int32
	open *atomic.Int64
}

// File is an open regular file.
type File struct{ fd int }

// FD returns the descriptor, owned by the Dir.
func (d *Dir) FD() int { return d.fd }

// Hold adds a reference; each is given back by Release.
func (d *Dir) Hold() *Dir {
	d.refs.Add(1)
	return d
}

// Release gives a reference back and closes the directory with the last one.
func (d *Dir) Release() {
	if d.refs.Add(-1) == 0 {
		unix.Close(d.fd)
		d.open.Add(-1)
	}
}

// Stat looks at name without following a link or triggering an automount.
// With cached it may answer from what the kernel remembers: no round trip to a
// file server that may hang.
func (d *Dir) Stat(n Name, cached bool, s *Stat) error {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if cached {
		flags |= unix.AT_STATX_DONT_SYNC
	}
	return statx(d.fd, n, flags, s)
}

// StatSelf looks at the directory itself.
func (d *Dir) StatSelf(s *Stat) error { return statx(d.fd, self(), unix.AT_EMPTY_PATH, s) }

const openFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_LARGEFILE

func openat(dir int, n Name, flags int) (int, error) {
	noatime := unix.O_NOATIME
	for {
		fd, _, e := syscall.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&n[0])), uintptr(flags|noatime), 0, 0, 0)
		switch {
		case e == 0:
			return int(fd), nil
		case e == syscall.EINTR:
		case e == syscall.EPERM && noatime != 0: // not the owner
			noatime = 0
		default:
			return -1, e
		}
	}
}

// OpenDir opens the child directory n.
func (d *Dir) OpenDir(n Name) (*Dir, error) {
	fd, err := openat(d.fd, n, openFlags|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return newDir(fd, d.open), nil
}

func newDir(fd int, open *atomic.Int64) *Dir {
	c := &Dir{fd: fd, open: open}
	c.refs.Store(1)
	open.Add(1)
	return c
}

// OpenFile opens n for reading. What was opened may be of any kind except a
// link: Stat it before reading.
func (d *Dir) OpenFile(n Name) (File, error) {
	fd, err := openat(d.fd, n, openFlags)
	return File{fd}, err
}

// Readlink returns the target of the link n to its full length.
func (d *Dir) Readlink(n Name) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		l, _, e := syscall.Syscall6(unix.SYS_READLINKAT, uintptr(d.fd), uintptr(unsafe.Pointer(&n[0])), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
		switch {
		case e == syscall.EINTR:
		case e != 0:
			return nil, e
		case int(l) < len(buf):
			return buf[:l], nil
		default:
			buf = make([]byte, 4*len(buf))
		}
	}
}

// FD returns the descriptor, owned by the File.
func (f File) FD() int { return f.fd }

// Stat looks at the open file.
func (f File) Stat(s *Stat) error { return statx(f.fd, self(), unix.AT_EMPTY_PATH, s) }

// Close closes the file.
func (f File) Close() { unix.Close(f.fd) }

// ReadAt reads into b from offset off.
func (f File) ReadAt(b []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(f.fd, b, off)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// ReadCached reads into b from offset off only what is in the page cache.
// cold reports that nothing of it was there or that the file system cannot
// tell; then nothing was read.
func (f File) ReadCached(b []byte, off int64) (n int, cold bool, err error) {
	if len(b) == 0 {
		return 0, false, nil
	}
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(len(b))
	for {
		// The offset is passed in two longs; the second is 0 where one holds it.
		high := uintptr(uint64(off) >> (8*unsafe.Sizeof(uintptr(0)) - 1) >> 1)
		r, _, e := syscall.Syscall6(unix.SYS_PREADV2, uintptr(f.fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), high, unix.RWF_NOWAIT)
		switch e {
		case 0:
			return int(r), false, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		case syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EINVAL:
			n, err = f.ReadAt(b, off)
			return n, false, err
		default:
			return 0, false, e
		}
	}
}

// Drop tells the kernel that the pages of n bytes from offset off are not
// needed again.
func (f File) Drop(off, n int64) {
	if n > 0 { // 0 would be all of the file
		_ = unix.Fadvise(f.fd, off, n, unix.FADV_DONTNEED)
	}
}

// Cached reports whether anything of n bytes from offset off is in the page
// cache. A kernel before 6.5 cannot tell: then it says so.
func (f File) Cached(off, n int64) bool {
	var c unix.Cachestat_t
	err := unix.Cachestat(uint(f.fd), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &c, 0)
	return err != nil || c.Cache > 0
}

// Ahead asks for n bytes from offset off to be read into the page cache.
func (f File) Ahead(off, n int64) { _ = unix.Fadvise(f.fd, off, n, unix.FADV_WILLNEED) }

// Sequential asks for a larger read-ahead.
func (f File) Sequential() { _ = unix.Fadvise(f.fd, 0, 0, unix.FADV_SEQUENTIAL) }

// Random asks for nothing to be read ahead.
func (f File) Random() { _ = unix.Fadvise(f.fd, 0, 0, unix.FADV_RANDOM) }

// Settle waits for a write that began before. The kernel notes the times of a
// file when a write begins, so that stat before and after reading can both find
// the times of a write that is still going on. Reading waits for it on some
// file systems only, looking for a hole on the others (ext4, btrfs, tmpfs).
func (f File) Settle() { _, _ = unix.Seek(f.fd, 0, unix.SEEK_HOLE) }

// NextData returns the start of the next data at or after off and the start of
// the hole behind it, off <= start < end <= size. Behind the last data both are
// size. It is an error where the file system cannot tell or contradicts itself,
// or where the file is no longer of that size: then read it all.
func (f File) NextData(off, size int64) (start, end int64, err error) {
	start, err = unix.Seek(f.fd, off, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return size, size, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = unix.Seek(f.fd, start, unix.SEEK_HOLE)
	if err == nil {
		err = checkExtent(off, start, end, size)
	}
	if err != nil {
		return 0, 0, err
	}
	return start, end, nil
}

// checkExtent refuses what no honest file system says, and what would keep a
// reader from getting on.
func checkExtent(off, start, end, size int64) error {
	if off <= start && start < end && end <= size {
		return nil
	}
	return fmt.Errorf("data from %d to %d, looked for from %d in %d bytes: %w", start, end, off, size, unix.EUCLEAN)
}
