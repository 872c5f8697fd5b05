package app

import (
	"context"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/config"
	"intact/scanner/entry"
)

// packageLocks are the files that dpkg, apt and rpm lock for as long as a
// transaction runs: lockdatabase() in dpkg's lib/dpkg/dbmodify.c, rpmtxnBegin() in
// rpm's lib/rpmts.cc.
var packageLocks = [...]string{"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/rpm/" + rpmLock, "/usr/lib/sysimage/rpm/" + rpmLock}

const rpmLock = ".rpm.lock"

// lockPoll is how often a lock is looked at that is waited for. Nothing tells when
// it is let go.
const lockPoll = time.Second

// MaxWait bounds CheckOptions.Wait.
const MaxWait = config.MaxWait

// transactionHolder is who holds a lock of a package manager.
type transactionHolder struct {
	manager string
	pid     int // 0: in another namespace, or not known
}

func (h *transactionHolder) String() string {
	if h.pid == 0 {
		return h.manager
	}
	return fmt.Sprintf("%s (pid %d)", h.manager, h.pid)
}

// transactionNow looks for a transaction on the live host; nil: none is seen. A
// lock that cannot be looked at is held by nobody: others tell of what is wrong
// with the database.
func (s *session) transactionNow() *transactionHolder {
	if !s.root.Live() {
		return nil
	}
	names := s.env.PackageLocks
	if names == nil {
		names = packageLocks[:]
	}
	for _, name := range names {
		if pid, held := s.lockHolder(name); held {
			h := &transactionHolder{"dpkg", max(pid, 0)}
			if path.Base(name) == rpmLock {
				h.manager = "rpm"
			}
			return h
		}
	}
	return nil
}

// lockHolder asks who holds a lock for writing, fcntl(2). It takes none itself: a
// package manager that came in between would fail.
func (s *session) lockHolder(name string) (pid int, held bool) {
	f, err := s.root.OpenFile(entry.Path(name))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_RDLCK, Whence: 0}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil || l.Type == unix.F_UNLCK {
		return 0, false
	}
	return int(l.Pid), true
}

// transactionWait is what a check knows of transactions that ran beside it.
type transactionWait struct{ duringTold bool }

// await waits until no transaction runs, as long as that may take. It comes before
// the lock of the state folder: the hooks of the transaction need that. It returns
// false when the check was interrupted.
func (c *check) await(ctx context.Context) bool {
	limit := c.cfg.Packages.Wait
	if c.o.Wait != nil {
		limit = *c.o.Wait
	}
	h := c.transactionNow()
	if h == nil {
		return true
	}
	if limit > 0 && !above(h.pid) {
		h = c.awaitEnd(ctx, h, c.env.Now().Add(limit))
	}
	if ctx.Err() != nil {
		return false
	}
	if h != nil {
		c.during(h, "")
	}
	return true
}

// awaitEnd waits for the end of the transaction of h. It returns who holds a lock
// when the time is over.
func (c *check) awaitEnd(ctx context.Context, h *transactionHolder, until time.Time) *transactionHolder {
	drawn := c.env.Progress && !c.env.Quiet
	if !drawn && !c.env.Quiet {
		c.env.warn("waiting for a transaction of %s until %s: --wait 0 looks at once", h, when(until))
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for h != nil {
		left := until.Sub(c.env.Now())
		if left <= 0 {
			break
		}
		if drawn {
			fmt.Fprintf(c.env.Stderr, "\r\x1b[Kwaiting for a transaction of %s, %s left", h, left.Round(time.Second))
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
			h = c.transactionNow()
			continue
		}
		break
	}
	if drawn {
		fmt.Fprint(c.env.Stderr, "\r\x1b[K")
	}
	return h
}

// during notes in the report that what was seen may be half of a transaction.
func (c *check) during(h *transactionHolder, began string) {
	c.remark(fmt.Sprintf("during a transaction of %s%s", h, began))
	c.duringTold = true
}

// awaited looks again behind a scan: a transaction may have begun meanwhile. The
// proposal of a hook is made inside of one.
func (c *check) awaited() {
	if c.duringTold || c.update != nil {
		return
	}
	if h := c.transactionNow(); h != nil {
		c.during(h, ", which began while the scan ran")
	}
}

// above reports whether pid is among the processes that led to this one: what runs
// inside of a transaction would wait for itself.
func above(pid int) bool {
	if pid == 0 {
		return false
	}
	for p := os.Getppid(); p > 1; p = parentOf(p) {
		if p == pid {
			return true
		}
	}
	return false
}
