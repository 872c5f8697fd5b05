package watch

import (
	"errors"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/actor"
	"intact/scanner/dirfd"
)

const (
	maxRecent = 1024                   // processes that are told apart at a time
	fresh     = 100 * time.Millisecond // how long what was read of a process serves its further events
)

// pidFS is the magic number of the file system of pidfds, since Linux 6.9: there
// an inode is one process, and never another one later.
const pidFS = 0x50494446

// By is who caused an event. It may be about another program than the one that did
// until the queue was empty once: a process can run another program between its
// write and our look, which is an event behind the one in question.
type By struct {
	actor.Actor
	state atomic.Int32
	proc  uint64 // inode of the process; 0: not known
	read  time.Time
	prev  *By // of the same number, not decided either
}

// The states of a By.
const (
	undecided int32 = iota
	settled         // no other program was run meanwhile
	turned          // one was: it is not known who did it
)

// told returns what may be said.
func (b *By) told() actor.Actor {
	if b.state.Load() == settled {
		return b.Actor
	}
	return actor.Actor{PID: b.PID}
}

// culprits reads processes at once, while they are there. The reader of the events
// is its only user but for watchPrograms.
type culprits struct {
	proc   actor.Proc
	recent map[int32]*By
	unique func(pidfd int32) uint64
	alive  func(pidfd int32) bool

	mu      sync.Mutex // guards what follows
	devices map[uint64]bool
}

func newCulprits() *culprits {
	return &culprits{proc: actor.Proc{Dir: "/proc"}, recent: map[int32]*By{}, unique: pidInode, alive: alive}
}

// of reads who caused an event, by the number of the process and a descriptor of
// it. Without one nothing can be said: the number may be another's by now.
func (c *culprits) of(pid, pidfd int32) *By {
	if pid <= 0 {
		return &By{}
	}
	none := &By{Actor: actor.Actor{PID: int(pid)}}
	if pidfd < 0 {
		return none
	}
	id, now, prev := c.unique(pidfd), time.Now(), c.recent[pid]
	if prev != nil && id != 0 && prev.proc == id && now.Sub(prev.read) < fresh {
		return prev
	}
	if prev == nil && len(c.recent) >= maxRecent {
		return none
	}
	b := &By{Actor: c.proc.Read(int(pid), func() bool { return c.alive(pidfd) }), proc: id, read: now, prev: prev}
	if !b.Live {
		return none
	}
	c.mu.Lock()
	seen := b.Exe == "" || c.devices[b.Device]
	c.mu.Unlock()
	if !seen {
		return none // nobody tells when a program there is run
	}
	c.recent[pid] = b
	return b
}

// turned notes that a process runs another program since an event that was read
// just now. What was said of it before the queue was empty may be about that one.
func (c *culprits) turned(pid int32) {
	for b := c.recent[pid]; b != nil; b = b.prev {
		b.state.CompareAndSwap(undecided, turned)
	}
	delete(c.recent, pid)
}

// rest says that the queue is empty: what was read of processes is true.
func (c *culprits) rest() {
	for _, b := range c.recent {
		for ; b != nil; b = b.prev {
			b.state.CompareAndSwap(undecided, settled)
		}
	}
	clear(c.recent)
}

// watchPrograms has mark tell of programs that are run from each file system of
// this host that does not hang.
func (c *culprits) watchPrograms(mark func(path string) error) {
	devices := map[uint64]bool{}
	try := func(p string) {
		var st unix.Stat_t
		if unix.Lstat(p, &st) == nil && !devices[st.Dev] && mark(p) == nil {
			devices[st.Dev] = true
		}
	}
	try("/")
	if root, err := dirfd.Open("/"); err == nil {
		hang := map[string]bool{}
		for _, m := range root.Mounts().Below() { // what is mounted on a mount comes behind it
			p := string(m.Point)
			if dirfd.CanHang(m.FSType) || under(p, hang) {
				hang[p] = true
				continue
			}
			try(p)
		}
		root.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.devices = devices
}

func under(p string, set map[string]bool) bool {
	for p != "/" {
		if p = path.Dir(p); set[p] {
			return true
		}
	}
	return false
}

// pidInode returns what no other process has, 0 where the kernel has no such thing.
func pidInode(pidfd int32) uint64 {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(int(pidfd), &fs) != nil || fs.Type != pidFS || unix.Fstat(int(pidfd), &st) != nil {
		return 0
	}
	return st.Ino
}

// alive reports whether a process has not ended.
func alive(pidfd int32) bool {
	fds := []unix.PollFd{{Fd: pidfd, Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 0
	}
}
