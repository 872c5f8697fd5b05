package dirfd

import (
	"bytes"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Xattrs reads extended attributes of open and of unopened objects. The zero
// value is ready; it is not safe for concurrent use.
type Xattrs struct {
	names []byte
	value []byte
	proc  []byte
}

// Numbers of getxattrat(2) and listxattrat(2), Linux 6.13; the same on every
// architecture that this program is built for.
const (
	sysGetxattrat  = 464
	sysListxattrat = 465
)

// xattrArgs is struct xattr_args of getxattrat(2).
type xattrArgs struct {
	value uint64
	size  uint32
	flags uint32
}

// atMissing is set once the kernel has answered ENOSYS. It is a fact about
// the running kernel, not state of a scan.
var atMissing atomic.Bool

// Where an attribute is read from: an open descriptor, or a name in a
// directory for what must not or cannot be opened.
type target struct {
	fd   int
	name Name // nil: fd itself
}

// OfFD reads the attributes of the object open at fd.
func (x *Xattrs) OfFD(fd int, each func(name, value []byte)) error {
	return x.read(target{fd, nil}, each)
}

// OfName reads the attributes of name in d without opening or following it.
func (x *Xattrs) OfName(d *Dir, n Name, each func(name, value []byte)) error {
	return x.read(target{d.fd, n}, each)
}

// Get reads one attribute of name in d. ok is false if it is absent.
func (x *Xattrs) Get(d *Dir, n Name, attr string) (value []byte, ok bool, err error) {
	v, err := x.get(target{d.fd, n}, append([]byte(attr), 0))
	if err == unix.ENODATA || err == unix.EOPNOTSUPP {
		return nil, false, nil
	}
	return v, err == nil, err
}

// read calls each for every attribute; name and value are valid during the
// call. A file system without extended attributes has none.
func (x *Xattrs) read(t target, each func(name, value []byte)) error {
	names, err := x.list(t)
	if err == unix.EOPNOTSUPP {
		return nil
	}
	if err != nil {
		return err
	}
	for len(names) > 0 {
		i := bytes.IndexByte(names, 0)
		if i < 0 {
			break
		}
		v, err := x.get(t, names[:i+1])
		if err != nil && err != unix.ENODATA { // removed since it was listed
			return err
		}
		if err == nil {
			each(names[:i], v)
		}
		names = names[i+1:]
	}
	return nil
}

func (x *Xattrs) list(t target) ([]byte, error) {
	if x.names == nil {
		x.names = make([]byte, 4096)
	}
	for {
		n, err := x.listOnce(t, x.names)
		if err == unix.ERANGE && len(x.names) < 1<<20 {
			x.names = make([]byte, 4*len(x.names))
			continue
		}
		if err != nil {
			return nil, err
		}
		return x.names[:n], nil
	}
}

func (x *Xattrs) get(t target, attr []byte) ([]byte, error) {
	if x.value == nil {
		x.value = make([]byte, 4096)
	}
	for {
		n, err := x.getOnce(t, attr, x.value)
		if err == unix.ERANGE && len(x.value) < 1<<20 {
			x.value = make([]byte, 4*len(x.value))
			continue
		}
		if err != nil {
			return nil, err
		}
		return x.value[:n], nil
	}
}

func result(n uintptr, e syscall.Errno) (int, error) {
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

func (x *Xattrs) listOnce(t target, buf []byte) (int, error) {
	if t.name == nil {
		n, _, e := syscall.Syscall(unix.SYS_FLISTXATTR, uintptr(t.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		return result(n, e)
	}
	if !atMissing.Load() {
		n, _, e := syscall.Syscall6(sysListxattrat, uintptr(t.fd), uintptr(unsafe.Pointer(&t.name[0])), unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0)
		if e != syscall.ENOSYS {
			return result(n, e)
		}
		atMissing.Store(true)
	}
	p := x.procPath(t)
	n, _, e := syscall.Syscall(unix.SYS_LLISTXATTR, uintptr(unsafe.Pointer(&p[0])), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return result(n, e)
}

func (x *Xattrs) getOnce(t target, attr, buf []byte) (int, error) {
	if t.name == nil {
		n, _, e := syscall.Syscall6(unix.SYS_FGETXATTR, uintptr(t.fd), uintptr(unsafe.Pointer(&attr[0])), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
		return result(n, e)
	}
	if !atMissing.Load() {
		a := xattrArgs{value: uint64(uintptr(unsafe.Pointer(&buf[0]))), size: uint32(len(buf))}
		n, _, e := syscall.Syscall6(sysGetxattrat, uintptr(t.fd), uintptr(unsafe.Pointer(&t.name[0])), unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(&attr[0])), uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a))
		if e != syscall.ENOSYS {
			return result(n, e)
		}
		atMissing.Store(true)
	}
	p := x.procPath(t)
	n, _, e := syscall.Syscall6(unix.SYS_LGETXATTR, uintptr(unsafe.Pointer(&p[0])), uintptr(unsafe.Pointer(&attr[0])), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	return result(n, e)
}

// procPath names an unopened object through the descriptor of its directory,
// for kernels without the -at calls.
func (x *Xattrs) procPath(t target) []byte {
	x.proc = append(x.proc[:0], "/proc/self/fd/"...)
	x.proc = strconv.AppendInt(x.proc, int64(t.fd), 10)
	x.proc = append(x.proc, '/')
	x.proc = append(x.proc, t.name...)
	return x.proc
}

// stableFlags are the inode flags that people set, as in FS_IOC_GETFLAGS of
// ioctl_iflags(2); the others describe the storage and change by themselves.
const stableFlags = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x400 | 0x800 | 0x4000 | 0x8000 |
	0x10000 | 0x20000 | 0x100000 | 0x800000 | 0x2000000 | 0x20000000 | 0x40000000

// Flags returns the inode flags of the object open at fd, 0 on a file system
// that has none.
func Flags(fd int) (uint32, error) {
	var v uint32
	for {
		_, _, e := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.FS_IOC_GETFLAGS, uintptr(unsafe.Pointer(&v)))
		switch e {
		case 0:
			return v & stableFlags, nil
		case syscall.EINTR:
		case syscall.ENOTTY, syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ENOSYS:
			return 0, nil
		default:
			return 0, e
		}
	}
}
