package dirfd

import (
	"fmt"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// Reach walks once to the directory that p stands in, links above p followed
// inside the root, and returns it open for looking up names, with p's own name
// in it and p without those links. p itself is not followed. The name of "/" is
// nil: at is the object then. The caller releases at. A component that is not
// there is unix.ENOENT, wrapped; a file system that can hang is ErrMayHang.
func (r *Root) Reach(p entry.Path) (at *Dir, n Name, free entry.Path, err error) {
	at = r.dir.Hold()
	defer func() {
		if err != nil {
			at.Release()
			at = nil
		}
	}()
	if p == "/" {
		return at, nil, p, nil
	}
	dir, _, exists, err := r.follow(p.Dir(), &at, true)
	if err == nil && !exists {
		err = fmt.Errorf("reach %q: %w", p, unix.ENOENT)
	}
	if err != nil {
		return at, nil, p, err
	}
	if n, err = NewName(p.Base()); err != nil {
		return at, nil, p, err
	}
	free = dir.Join([]byte(p.Base()))
	if m := r.mounts.At(free); m != nil && CanHang(m.FSType) {
		err = fmt.Errorf("reach %q: %w: %s", p, ErrMayHang, m.FSType)
	}
	return at, n, free, err
}

// listMemory is how many bytes of names List holds at a time.
const listMemory = 1 << 20

// List calls each for every name in the directory that p leads to, links
// followed inside the root, in the directory's own order and with the type that
// the listing gave. Memory is bounded whatever the number of names. It serves
// facts, not the scan.
func (r *Root) List(p entry.Path, each func(name string, k entry.Kind) error) error {
	at := r.dir.Hold()
	defer func() { at.Release() }()
	_, _, exists, err := r.follow(p, &at, true)
	if err == nil && !exists {
		err = unix.ENOENT
	}
	if err != nil {
		return fmt.Errorf("list %q: %w", p, err)
	}
	// What follow opened is for looking up names only.
	fd, err := unix.Openat(at.fd, ".", openFlags|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("list %q: %w", p, err)
	}
	d := newDir(fd, &r.open)
	defer d.Release()
	var l Names
	give := func() error {
		for i := range l.Len() {
			if err := each(string(l.Name(i).Bytes()), l.Kind(i)); err != nil {
				return err
			}
		}
		l.Reset()
		return nil
	}
	l.limit, l.spill = listMemory, give
	if _, err := d.List(&l); err != nil {
		return fmt.Errorf("list %q: %w", p, err)
	}
	return give()
}

// Here returns the name of a directory in itself, which NewName refuses.
func Here() Name { return Name{'.', 0} }

// OpenedFile makes a File of a descriptor, which it owns from then on.
func OpenedFile(fd int) File { return File{fd} }
