package dirfd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// Errors of Resolve.
var (
	ErrTooManyLinks = errors.New("dirfd: too many symbolic links")
	ErrMayHang      = errors.New("dirfd: leads over a file system that can hang")
)

// maxLinks is the kernel's own limit, path_resolution(7).
const maxLinks = 40

// Root is a directory treated as "/": the live host or a mounted image.
type Root struct {
	dir    *Dir
	path   string // absolute and free of links on the scanning host
	open   atomic.Int64
	mounts *Mounts
}

// Open opens dir as a root. The mount table is read once: it serves one scan.
func Open(dir string) (*Root, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	fd, err := unix.Open(abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root %q: %w", dir, err)
	}
	r := &Root{path: abs}
	r.dir = newDir(fd, &r.open)
	r.mounts, err = readMounts(abs)
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close releases the root's own descriptor.
func (r *Root) Close() { r.dir.Release() }

// Live reports whether the root is the host's own "/".
func (r *Root) Live() bool { return r.path == "/" }

// HostPath returns the directory on the scanning host.
func (r *Root) HostPath() string { return r.path }

// Dir returns the open root directory with a reference for the caller.
func (r *Root) Dir() *Dir { return r.dir.Hold() }

// OpenDirs returns the number of open directories, for tests and limits.
func (r *Root) OpenDirs() int64 { return r.open.Load() }

// Mounts returns the mount table as it was when the root was opened.
func (r *Root) Mounts() *Mounts { return r.mounts }

// Resolve follows the symbolic links in p inside the root, the last component
// included, and returns the path free of links and the paths of the links that
// were followed. exists is false if a component is missing; the result is then
// the resolved part with the rest of p appended.
func (r *Root) Resolve(p entry.Path) (resolved entry.Path, links []entry.Path, exists bool, err error) {
	dir := r.dir.Hold()
	defer func() { dir.Release() }()
	return r.follow(p, &dir, false)
}

// follow is Resolve from the root's own directory, *at, which the caller holds
// and gives back. *at becomes the directory that the last name was looked up
// in or, with enter, what p leads to, which must be a directory then.
func (r *Root) follow(p entry.Path, at **Dir, enter bool) (resolved entry.Path, links []entry.Path, exists bool, err error) {
	todo := p.Components()
	done := entry.Path("/")
	dir := *at
	defer func() { *at = dir }()
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		switch c {
		case "", ".":
			continue
		case "..":
			rest := append(done.Dir().Components(), todo...)
			todo, done = rest, "/"
			dir.Release()
			dir = r.dir.Hold()
			continue
		}
		n, err := NewName(c)
		if err != nil {
			return p, links, false, err
		}
		here := done.Join([]byte(c))
		if m := r.mounts.At(here); m != nil && CanHang(m.FSType) {
			return p, links, false, fmt.Errorf("resolve %q: %w: %s on %q", p, ErrMayHang, m.FSType, here)
		}
		var s Stat
		if err := dir.Stat(n, true, &s); err != nil {
			if err == unix.ENOENT || err == unix.ENOTDIR {
				return entry.Path(strings.Join(append([]string{string(here)}, todo...), "/")), links, false, nil
			}
			return p, links, false, fmt.Errorf("resolve %q: stat %q: %w", p, here, err)
		}
		if s.Kind == entry.Symlink {
			if len(links) == maxLinks {
				return p, links, false, fmt.Errorf("resolve %q: %w", p, ErrTooManyLinks)
			}
			links = append(links, here)
			t, err := dir.Readlink(n)
			if err != nil {
				return p, links, false, fmt.Errorf("resolve %q: readlink %q: %w", p, here, err)
			}
			rest := append(strings.Split(string(t), "/"), todo...)
			if strings.HasPrefix(string(t), "/") {
				done = "/"
				dir.Release()
				dir = r.dir.Hold()
			}
			todo = rest
			continue
		}
		done = here
		if len(todo) == 0 && !enter {
			return done, links, true, nil
		}
		if s.Kind != entry.Dir {
			return entry.Path(strings.Join(append([]string{string(here)}, todo...), "/")), links, false, nil
		}
		next, err := dir.OpenPath(n)
		if err != nil {
			return p, links, false, fmt.Errorf("resolve %q: open %q: %w", p, here, err)
		}
		dir.Release()
		dir = next
	}
	return done, links, true, nil
}

// OpenPath opens a directory for looking up names only (O_PATH); it needs no
// read permission and starts no automount. Such a Dir cannot be listed.
func (d *Dir) OpenPath(n Name) (*Dir, error) {
	fd, err := unix.Openat(d.fd, string(n.Bytes()), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return newDir(fd, d.open), nil
}

// Owner returns the user id of p itself, which may be a link; links above it
// are resolved inside the root.
func (r *Root) Owner(p entry.Path) (uint32, error) {
	dir, _, exists, err := r.Resolve(p.Dir())
	if err == nil && !exists {
		err = unix.ENOENT
	}
	if err != nil {
		return 0, fmt.Errorf("owner of %q: %w", p, err)
	}
	d := r.dir.Hold()
	defer func() { d.Release() }()
	for _, c := range append(dir.Components(), p.Base()) {
		n, err := NewName(c)
		if err != nil {
			return 0, err
		}
		var s Stat
		if err := d.Stat(n, true, &s); err != nil {
			return 0, fmt.Errorf("owner of %q: %w", p, err)
		}
		if s.Kind != entry.Dir {
			return s.UID, nil
		}
		next, err := d.OpenPath(n)
		if err != nil {
			return 0, fmt.Errorf("owner of %q: %w", p, err)
		}
		d.Release()
		d = next
	}
	var s Stat
	err = d.StatSelf(&s)
	return s.UID, err
}

// OpenFile opens a regular file for reading, links resolved inside the root
// (openat2 RESOLVE_IN_ROOT, magic links refused; where the kernel lacks it, by
// Resolve). It serves facts such as passwd, not the scan.
func (r *Root) OpenFile(p entry.Path) (*os.File, error) {
	how := unix.OpenHow{Flags: openFlags &^ unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(r.dir.fd, string(p), &how)
	if err == unix.ENOSYS || err == unix.EPERM {
		fd, err = r.openResolved(p)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: string(p), Err: err}
	}
	var s Stat
	f := File{fd}
	if err := f.Stat(&s); err != nil || s.Kind != entry.File {
		f.Close()
		if err == nil {
			err = errors.New("not a regular file")
		}
		return nil, &os.PathError{Op: "open", Path: string(p), Err: err}
	}
	return os.NewFile(uintptr(fd), string(p)), nil
}

func (r *Root) openResolved(p entry.Path) (int, error) {
	q, _, exists, err := r.Resolve(p)
	if err != nil || !exists {
		if err == nil {
			err = unix.ENOENT
		}
		return -1, err
	}
	dir := r.dir.Hold()
	defer func() { dir.Release() }()
	parts := q.Components()
	for i, c := range parts {
		n, err := NewName(c)
		if err != nil {
			return -1, err
		}
		if i == len(parts)-1 {
			return openat(dir.fd, n, openFlags)
		}
		next, err := dir.OpenPath(n)
		if err != nil {
			return -1, err
		}
		dir.Release()
		dir = next
	}
	return -1, unix.EISDIR
}

// ReadFile reads a regular file of at most limit bytes.
func (r *Root) ReadFile(p entry.Path, limit int64) ([]byte, error) {
	f, err := r.OpenFile(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("read %q: larger than %d bytes", p, limit)
	}
	return b, err
}

// Rotational reports whether the kernel of this host calls the block device a
// turning disk. It says so of many that are not, virtual ones above all; where
// it does not know, false.
func (r *Root) Rotational(device uint64) bool {
	disk := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(device), unix.Minor(device))
	for _, queue := range []string{"queue", "../queue"} { // a disk, a partition of one
		if b, err := os.ReadFile(disk + queue + "/rotational"); err == nil {
			return len(b) > 0 && b[0] == '1'
		}
	}
	return false
}
