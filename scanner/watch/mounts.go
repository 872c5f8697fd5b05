package watch

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// mountChanges calls changed each time that the mount table changed, until ctx
// ends: poll(2) on it says so, see proc_pid_mountinfo(5). fsnotify does not tell
// when a file system goes away.
func mountChanges(ctx context.Context, changed func()) error {
	// Not os.Open: the runtime would poll it too, and who polls first is told.
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		unix.Close(pipe[1])
		close(done)
	})
	defer func() {
		if stop() {
			unix.Close(pipe[1])
		} else {
			<-done
		}
	}()
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}, {Fd: int32(pipe[0]), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case fds[1].Revents != 0:
			return nil
		case fds[0].Revents != 0:
			changed()
		}
	}
}

// mountsMoved returns the mount points whose mount is another in now than in
// old, in tree order.
func mountsMoved(old, now *dirfd.Mounts) (out []entry.Path) {
	same := func(a, b *dirfd.Mount) bool { return a != nil && b != nil && *a == *b }
	for _, m := range old.Below() {
		if !same(m, now.At(m.Point)) {
			out = append(out, m.Point)
		}
	}
	for _, m := range now.Below() {
		if old.At(m.Point) == nil {
			out = append(out, m.Point)
		}
	}
	slices.SortFunc(out, func(a, b entry.Path) int { return slices.Compare(a.Key(), b.Key()) })
	return out
}
