package watch

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// What the paths of directories that are remembered may take. Above, all are
// forgotten: each is found again in some microseconds.
const (
	maxKnown      = 8192
	maxKnownBytes = 1 << 20
)

// mounted is a mount that hot paths may lie on.
type mounted struct {
	path entry.Path // of its highest directory inside the root
	id   uint64
	fsid fsid
}

// lookup finds the paths of directories by their handles. What it found holds
// until a directory is renamed or the mounts change. The reader of the events is
// its only user but for set.
type lookup struct {
	root int // descriptor, not owned

	known map[string][]entry.Path // by handle; none: nothing hot leads there
	bytes int
	open  map[uint64]int // mounts, by id; only while events are read: they keep a file system busy
	host  string         // path of the root, "" until it is asked for
	opens func(mount int, n rawName) (int, error)

	mu     sync.Mutex // guards what follows
	mounts map[fsid][]mounted
	news   bool // mounts are others than when known was filled
}

func newLookup(root int) *lookup {
	return &lookup{root: root, known: map[string][]entry.Path{}, open: map[uint64]int{}, opens: openHandle}
}

func openHandle(mount int, n rawName) (int, error) {
	return unix.OpenByHandleAt(mount, n.fileHandle(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
}

func (l *lookup) set(list []mounted) {
	by := map[fsid][]mounted{}
	for _, m := range list {
		by[m.fsid] = append(by[m.fsid], m)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mounts, l.news = by, true
}

// forget says that paths may be others now.
func (l *lookup) forget() {
	clear(l.known)
	l.bytes = 0
}

// rest lets go of what keeps file systems busy.
func (l *lookup) rest() {
	for _, fd := range l.open {
		_ = unix.Close(fd)
	}
	clear(l.open)
	l.host = ""
}

// find returns where the directory of n is seen: by several paths where bind
// mounts show it, by none where it is outside of the root. whole says that it
// could not be found: it is somewhere at or below the paths.
//
// A directory that is gone has no path, and needs none: that it went is an event
// behind this one, in the directory above it, and so on up to one that is there.
func (l *lookup) find(n rawName) (paths []entry.Path, whole bool) {
	l.mu.Lock()
	mounts, news := l.mounts[n.fsid()], l.news
	l.news = false
	l.mu.Unlock()
	if news {
		l.forget()
		l.rest()
	}
	if len(mounts) == 0 {
		return nil, false
	}
	if p, ok := l.known[string(n.handle)]; ok {
		return p, false
	}
	for _, m := range mounts {
		p, err := l.in(m, n)
		switch {
		case err == nil:
			paths = append(paths, p...)
		case errors.Is(err, errGone), errors.Is(err, unix.ESTALE):
		default:
			return []entry.Path{m.path}, true
		}
	}
	l.remember(string(n.handle), paths)
	return paths, false
}

func (l *lookup) remember(handle string, paths []entry.Path) {
	size := len(handle)
	for _, p := range paths {
		size += len(p)
	}
	if len(l.known) >= maxKnown || l.bytes+size > maxKnownBytes {
		l.forget()
	}
	l.known[handle] = paths
	l.bytes += size
}

// errGone: the mount is not there any more.
var errGone = errors.New("watch: the mount is gone")

// in returns the paths of a directory on one mount. There are two where its own
// name may end like the kernel's mark of what is deleted.
func (l *lookup) in(m mounted, n rawName) ([]entry.Path, error) {
	mount, err := l.mount(m)
	if err != nil {
		return nil, err
	}
	if l.host == "" {
		if l.host, err = pathOf(l.root); err != nil {
			return nil, err
		}
	}
	fd, err := l.opens(mount, n)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text, err := pathOf(fd)
	if err != nil {
		return nil, err // too long for the kernel to tell
	}
	inside := func(text string) (entry.Path, bool) {
		p, ok := text, true
		if l.host != "/" {
			p, ok = strings.CutPrefix(text, l.host)
			if p == "" {
				p = "/"
			}
		}
		// Elsewhere: the mount shows a part of the file system, and the directory
		// is not in it.
		return entry.Path(p), ok && strings.HasPrefix(p, "/") && entry.Path(p).Under(m.path)
	}
	var out []entry.Path
	if p, ok := inside(text); ok {
		out = append(out, p)
	}
	if cut, deleted := strings.CutSuffix(text, " (deleted)"); deleted {
		if p, ok := inside(cut); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// mount opens a mount, if it is still the one that was arranged for.
func (l *lookup) mount(m mounted) (int, error) {
	if fd, ok := l.open[m.id]; ok {
		return fd, nil
	}
	fd, err := unix.Openat2(l.root, "."+string(m.path), &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return -1, errGone
	case err != nil:
		return -1, err
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil || m.id != 0 && st.Mnt_id != m.id {
		_ = unix.Close(fd)
		return -1, errGone
	}
	l.open[m.id] = fd
	return fd, nil
}

// pathOf returns the path of what is open as fd, as this process sees it.
func pathOf(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
