package dirfd

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrThroughCache says that a file cannot be read past the page cache here, or
// that it cannot be told whether it was.
var ErrThroughCache = errors.New("dirfd: it can be read through the page cache only")

const (
	pastStep  = 1 << 20  // bytes read at once
	maxAlign  = 64 << 10 // of offsets and memory; real ones are 512 to 4096
	dropTries = 3        // pages that are just being read or written stay
)

// Way says how a file is read past the page cache.
type Way uint8

// The ways.
const (
	// Direct reads with O_DIRECT what the disk holds; the page cache keeps what
	// it has.
	Direct Way = iota
	// Forgotten reads when the page cache has let go of the file.
	Forgotten
)

// PastCache says how f can be read past the page cache. statx(2) tells since
// Linux 6.1 where O_DIRECT is more than a wish: file systems take the flag and
// go through the page cache all the same where they compress, encrypt, verify
// or journal data.
func (f File) PastCache() (Way, uint32) {
	var x unix.Statx_t
	err := unix.Statx(f.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &x)
	if err == nil && x.Mask&unix.STATX_DIOALIGN != 0 {
		if align := max(x.Dio_offset_align, x.Dio_mem_align, 512); x.Dio_offset_align > 0 && align <= maxAlign && align&(align-1) == 0 {
			return Direct, align
		}
	}
	return Forgotten, 0
}

// ReadPast gives size bytes of f from the beginning to do, read from the disk.
// b is valid during the call. It ends with io.ErrUnexpectedEOF where f is
// shorter, with ErrThroughCache where the disk cannot be reached. f may be left
// without anything in the page cache, and dirty pages are written first.
func (f File) ReadPast(size int64, do func(b []byte) error) error {
	way, align := f.PastCache()
	if way == Direct {
		return f.direct(size, int64(align), do)
	}
	if err := f.forget(size); err != nil {
		return err
	}
	return f.each(size, 1, do)
}

// direct reads with O_DIRECT, open(2): memory, offsets and lengths are multiples
// of align; at the end of the file comes what is left of it.
func (f File) direct(size, align int64, do func([]byte) error) error {
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if err != nil {
		return fmt.Errorf("%w: O_DIRECT: %w", ErrThroughCache, err)
	}
	err = f.each(size, align, do)
	if _, back := unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags); back != nil && err == nil {
		err = fmt.Errorf("read past the cache: %w", back)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("%w: O_DIRECT: %w", ErrThroughCache, err)
	}
	return err
}

// each reads size bytes in steps. do is called with none of them twice.
func (f File) each(size, align int64, do func([]byte) error) error {
	room := make([]byte, pastStep+align)
	skip := (align - int64(uintptr(unsafe.Pointer(&room[0])))%align) % align
	b := room[skip : skip+pastStep]
	for off := int64(0); off < size; {
		n, err := f.ReadAt(b, off)
		switch {
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		used := min(int64(n), size-off)
		if err := do(b[:used]); err != nil {
			return err
		}
		if off += used; off < size && off%align != 0 {
			return io.ErrUnexpectedEOF // the end of the file, where it was not before
		}
	}
	return nil
}

// forget makes the page cache let go of f. That it did is shown by what tells
// of a page that was just read that it is there, and then of no page.
func (f File) forget(size int64) error {
	if err := unix.Fdatasync(f.fd); err != nil {
		return fmt.Errorf("%w: fdatasync: %w", ErrThroughCache, err)
	}
	var one [1]byte
	if _, err := f.ReadAt(one[:], 0); err != nil {
		return err
	}
	if there, err := f.resident(1); err != nil || !there {
		return fmt.Errorf("%w: what the cache holds cannot be told", ErrThroughCache)
	}
	for range dropTries {
		f.Drop(0, size)
		if there, err := f.resident(size); err == nil && !there {
			return nil
		}
	}
	return fmt.Errorf("%w: its pages stay", ErrThroughCache)
}

// resident reports whether any of the first n bytes is in the page cache:
// cachestat(2), or mincore(2) before Linux 6.5.
func (f File) resident(n int64) (bool, error) {
	var c unix.Cachestat_t
	err := unix.Cachestat(uint(f.fd), &unix.CachestatRange{Off: 0, Len: uint64(n)}, &c, 0)
	if err == nil {
		return c.Cache > 0, nil
	}
	if err != unix.ENOSYS && err != unix.EPERM { // EPERM: a filter of system calls that does not know it
		return false, err
	}
	return f.mapped(n)
}

// mapStep is how much of a file is mapped at once to ask for its pages.
const mapStep = 1 << 30

// mapped is resident by mincore(2). Mapping a file reads nothing of it.
func (f File) mapped(n int64) (bool, error) {
	page := int64(unix.Getpagesize())
	vec := make([]byte, (min(n, mapStep)+page-1)/page)
	for off := int64(0); off < n; off += mapStep {
		m, err := unix.Mmap(f.fd, off, int(min(n-off, mapStep)), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return false, err
		}
		pages := (int64(len(m)) + page - 1) / page
		_, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&vec[0])))
		if err := unix.Munmap(m); err != nil {
			return false, err
		}
		if e != 0 {
			return false, e
		}
		for _, v := range vec[:pages] {
			if v&1 != 0 {
				return true, nil
			}
		}
	}
	return false, nil
}
