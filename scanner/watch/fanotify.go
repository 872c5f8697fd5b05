package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
)

// What is asked for. Opens and reads are not: what intact reads itself causes no
// events. Opens for execution say that a process is another program from now on.
const (
	fanChanges = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB | unix.FAN_ONDIR
	fanMoves   = unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO // before Linux 5.17: instead of FAN_RENAME
	fanTurns   = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_RENAME | fanMoves
)

// fanBuffer is how many bytes of events are read at once. Few: each of them opens
// a descriptor, and who did the last one should still be there when its turn comes.
const fanBuffer = 4096

// fsid tells file systems apart, see statfs(2).
type fsid [fsidSize]byte

// ErrFanotify says that whole file systems cannot be watched here.
var ErrFanotify = errors.New("fanotify cannot be used")

// fanotify is the backend by fanotify(7): one mark for a whole file system. An
// event names its directory by a handle; lookup makes a path of it. The kernel's
// queue keeps its limit: memory is bounded, and what overflows is looked for.
type fanotify struct {
	file   *os.File // nonblocking
	raw    syscall.RawConn
	self   int32 // events of this process are its own writes; 0: none are
	moves  uint64
	lookup *lookup
	who    *culprits

	buf  [fanBuffer]byte
	rest []byte // of it, not taken yet
	have []event
	cur  rawEvent
	ask  func() *By
}

// newFanotify makes a backend for the root that is open as fd. It watches nothing
// yet.
func newFanotify(fd int, self int) (*fanotify, error) {
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_REPORT_DFID_NAME
	n, err := unix.FanotifyInit(flags|unix.FAN_REPORT_PIDFD, unix.O_RDONLY)
	if errors.Is(err, unix.EINVAL) {
		n, err = unix.FanotifyInit(flags, unix.O_RDONLY) // before Linux 5.15
	}
	if err != nil {
		return nil, fmt.Errorf("%w: fanotify_init: %w", ErrFanotify, err)
	}
	f := &fanotify{file: os.NewFile(uintptr(n), "fanotify"), self: int32(self), moves: unix.FAN_RENAME, lookup: newLookup(fd), who: newCulprits()}
	if f.raw, err = f.file.SyscallConn(); err != nil {
		f.close()
		return nil, fmt.Errorf("%w: %w", ErrFanotify, err)
	}
	f.ask, f.cur.pidfd = f.actor, unix.FAN_NOPIDFD
	return f, nil
}

func (f *fanotify) close() { _ = f.file.Close() }

// mark adds one mark. A kernel that does not know FAN_RENAME has two events for
// a move.
func (f *fanotify) mark(dir int) error {
	add := func(mask uint64) (err error) {
		cerr := f.control(func(fd int) { err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask, dir, "") })
		return errors.Join(cerr, err)
	}
	err := add(fanChanges | f.moves)
	if errors.Is(err, unix.EINVAL) && f.moves == unix.FAN_RENAME {
		if err = add(fanChanges | fanMoves); err == nil {
			f.moves = fanMoves
		}
	}
	return err
}

func (f *fanotify) control(do func(fd int)) error {
	return f.raw.Control(func(fd uintptr) { do(int(fd)) })
}

// arrange marks the file systems of places. What was marked before and is no
// place any more goes on to have events, which lead nowhere.
func (f *fanotify) arrange(places []place) []error {
	out := make([]error, len(places))
	var good []mounted
	for i, p := range places {
		m, err := decodable(p)
		if err == nil {
			err = f.mark(p.dir.FD())
		}
		if err != nil {
			out[i] = fmt.Errorf("%w: %w", ErrFanotify, err)
			continue
		}
		good = append(good, m)
	}
	f.lookup.set(good)
	f.who.watchPrograms(func(path string) error {
		var err error
		cerr := f.control(func(fd int) {
			err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM|unix.FAN_MARK_DONT_FOLLOW, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, path)
		})
		return errors.Join(cerr, err)
	})
	return out
}

// decodable reports whether handles of a file system lead back to directories. On
// some they are names of things and no way to them.
func decodable(p place) (mounted, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(p.dir.FD(), &fs); err != nil {
		return mounted{}, fmt.Errorf("statfs: %w", err)
	}
	var self, again unix.Stat_t
	var st dirfd.Stat
	if err := errors.Join(unix.Fstat(p.dir.FD(), &self), p.dir.StatSelf(&st)); err != nil {
		return mounted{}, err
	}
	h, _, err := unix.NameToHandleAt(p.dir.FD(), "", unix.AT_EMPTY_PATH)
	if err != nil {
		return mounted{}, fmt.Errorf("name_to_handle_at: %w", err)
	}
	fd, err := unix.OpenByHandleAt(p.dir.FD(), h, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return mounted{}, fmt.Errorf("open_by_handle_at: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &again); err != nil {
		return mounted{}, err
	}
	if self.Dev != again.Dev || self.Ino != again.Ino {
		return mounted{}, errors.New("open_by_handle_at: another object")
	}
	return mounted{path: p.path, id: st.Mount, fsid: idOf(fs.Fsid)}, nil
}

// next returns what happened, in the order of the kernel's queue.
func (f *fanotify) next() (event, error) {
	for len(f.have) == 0 {
		f.drop()
		if len(f.rest) == 0 {
			if err := f.read(); err != nil {
				return event{}, err
			}
		}
		var err error
		if f.cur, f.rest, err = cutEvent(f.rest); err != nil {
			f.rest = nil // where the next one begins is not known
			return event{}, err
		}
		if err := f.take(); err != nil {
			return event{}, err
		}
	}
	e := f.have[0]
	f.have = f.have[1:]
	return e, nil
}

// read waits for events. When none are there, all that came before is known.
func (f *fanotify) read() error {
	f.lookup.rest()
	var n int
	var err error
	cerr := f.raw.Read(func(fd uintptr) bool {
		for {
			switch n, err = unix.Read(int(fd), f.buf[:]); err {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				f.who.rest()
				return false
			}
			return true
		}
	})
	switch {
	case cerr != nil:
		return errClosed
	case err != nil:
		return fmt.Errorf("read events: %w", err)
	}
	f.rest = f.buf[:n]
	return nil
}

// drop gives back what the last event holds.
func (f *fanotify) drop() {
	f.have = f.have[:0]
	if f.cur.pidfd >= 0 {
		_ = unix.Close(int(f.cur.pidfd))
	}
	f.cur = rawEvent{pidfd: unix.FAN_NOPIDFD}
}

// take makes events of the current one.
func (f *fanotify) take() error {
	e := &f.cur
	if e.mask&unix.FAN_Q_OVERFLOW != 0 {
		return errOverflow
	}
	if e.mask&unix.FAN_OPEN_EXEC != 0 {
		f.who.turned(e.pid)
		if e.mask&^(unix.FAN_OPEN_EXEC|unix.FAN_ONDIR) == 0 {
			return nil
		}
	}
	if e.names == 0 { // a file that was opened by its handle: nobody knows where it is
		f.have = append(f.have, event{path: "/", whole: true})
		return nil
	}
	dir := e.mask&unix.FAN_ONDIR != 0
	if dir && e.mask&(unix.FAN_RENAME|fanMoves) != 0 {
		f.lookup.forget()
	}
	if f.self != 0 && e.pid == f.self {
		return nil
	}
	for _, n := range e.at[:e.names] {
		places, whole := f.lookup.find(n)
		for _, p := range places {
			one := event{path: p, moved: dir && e.mask&fanTurns != 0, tree: dir && e.mask&(unix.FAN_RENAME|fanMoves) != 0, whole: whole, who: f.ask}
			if string(n.name) != "." && !whole {
				one.path = p.Join(n.name)
			}
			f.have = append(f.have, one)
		}
	}
	return nil
}

// actor says who caused the event that next gave last.
func (f *fanotify) actor() *By {
	fd := f.cur.pidfd
	if f.cur.mask&unix.FAN_OPEN_EXEC != 0 {
		fd = unix.FAN_NOPIDFD // events that the kernel made one: which came first is not known
	}
	return f.who.of(f.cur.pid, fd)
}

// idOf spells an id as events do.
func idOf(f unix.Fsid) (id fsid) {
	for i, v := range f.Val {
		binary.NativeEndian.PutUint32(id[4*i:], uint32(v))
	}
	return id
}
