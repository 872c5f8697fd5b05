package floor

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	dentsSize = 64 << 10  // more does not make listings faster
	readSize  = 256 << 10 // fits into the second-level cache
)

// reader is one thread.
type reader struct {
	sizes  []int64 // of the files it read; has room for all there are
	others int
	bytes  int64
	errors int
	dents  [dentsSize]byte
	data   [readSize]byte
}

// run takes directories until none is left.
func (x *reader) run(t *tree, next *atomic.Int64) {
	for {
		i := next.Add(1) - 1
		if i >= int64(len(t.dirs)) {
			return
		}
		fd, errno := openat(t.dirs[i].at, t.dirs[i].path, openDir)
		if errno != 0 {
			x.errors++
			continue
		}
		x.dir(fd)
		closeFD(fd)
	}
}

func (x *reader) dir(fd int) {
	for {
		n, errno := getdents(fd, x.dents[:])
		if errno != 0 {
			x.errors++
			return
		}
		if n == 0 {
			return
		}
		for rest := x.dents[:n]; len(rest) > 0; {
			var e dirent
			if e, rest = nextEntry(rest); e.dots() {
				continue
			}
			if e.kind == unix.DT_REG {
				x.file(fd, e.name)
			} else {
				x.other(fd, e.name)
			}
		}
	}
}

// file does what cannot be left out for a file that is to be read without a
// race: open, look at what was opened, read as much as it holds, close.
func (x *reader) file(at int, name []byte) {
	fd, errno := openat(at, name, openFile)
	if errno != 0 {
		x.errors++
		return
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if _, _, errno := unix.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&st)), 0); errno != 0 {
		x.errors++
		return
	}
	var got int64
	for got < st.Size {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&x.data[0])), readSize)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			x.errors++
			return
		}
		if n == 0 {
			break // it became shorter
		}
		got += int64(n)
	}
	x.bytes += got
	x.sizes = append(x.sizes, got)
}

func (x *reader) other(at int, name []byte) {
	var st unix.Statx_t
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, uintptr(at), uintptr(unsafe.Pointer(&name[0])), flags,
		unix.STATX_BASIC_STATS|unix.STATX_BTIME, uintptr(unsafe.Pointer(&st)), 0)
	if errno != 0 {
		x.errors++
		return
	}
	x.others++
}

// openat opens name, which ends with a NUL. O_NOATIME is refused to all but
// the owner, who is asked first: that is what a scanner has to do too.
func openat(at int, name []byte, flags int) (int, unix.Errno) {
	for {
		fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&name[0])), uintptr(flags), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EPERM && flags&unix.O_NOATIME != 0:
			flags &^= unix.O_NOATIME
		default:
			return int(fd), errno
		}
	}
}

func getdents(fd int, buf []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return int(n), errno
}

// closeFD drops a descriptor that was opened for reading: there is nothing to
// lose.
func closeFD(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }
