package facts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxAbout bounds what is read of one small file of a process.
const maxAbout = 1 << 20

// UID returns the effective user id of a process (proc_pid_status(5)).
func (p *Process) UID() (uint32, error) {
	b, err := p.ReadFile("status", maxAbout)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if f := bytes.Fields(rest); len(f) == 4 {
				if n, err := strconv.ParseUint(string(f[1]), 10, 32); err == nil {
					return uint32(n), nil
				}
			}
		}
	}
	return 0, fmt.Errorf("status of process %d: no effective user id", p.PID)
}

// Exe is the program of a process.
type Exe struct {
	Path    string // what the kernel makes of its path; of another root it is relative to that
	Deleted bool   // no name leads to the file any more, or another file has its name
	Memory  bool   // it never had a name: memfd_create(2)
	Foreign bool   // in our mount namespace its path does not lead to it, or nobody can tell
}

// Exe tells what a process runs. A kernel thread has none: the error wraps
// fs.ErrNotExist.
func (p *Process) Exe() (e Exe, err error) {
	dir, err := p.Dir()
	if err != nil {
		return e, fmt.Errorf("exe of process %d: %w", p.PID, err)
	}
	defer dir.Close()
	if e.Path, err = p.Link("exe"); err != nil {
		return e, fmt.Errorf("exe of process %d: %w", p.PID, err)
	}
	var running, named unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), "exe", &running, 0); err != nil {
		return e, fmt.Errorf("exe of process %d: %w", p.PID, err)
	}
	e.Memory = running.Nlink == 0 && strings.HasPrefix(e.Path, "/memfd:")
	ours, err1 := os.Readlink("/proc/self/ns/mnt")
	theirs, err2 := p.Link("ns/mnt")
	if e.Foreign = err1 != nil || err2 != nil || ours != theirs; e.Foreign {
		// A service that has its own /tmp runs the host's programs all the same.
		var here unix.Stat_t
		e.Foreign = running.Nlink == 0 || unix.Stat(e.Path, &here) != nil || here.Dev != running.Dev || here.Ino != running.Ino
	}
	if running.Nlink == 0 {
		e.Deleted, e.Path = true, strings.TrimSuffix(e.Path, " (deleted)")
		return e, nil
	}
	// Through its own root the path is looked up as the process would.
	err = unix.Fstatat(int(dir.Fd()), "root"+e.Path, &named, 0)
	switch {
	case err == nil:
		e.Deleted = named.Dev != running.Dev || named.Ino != running.Ino
	case errors.Is(err, syscall.ENOENT):
		e.Deleted = true
		e.Path = strings.TrimSuffix(e.Path, " (deleted)") // a name that a hard link of the file outlived
	case !errors.Is(err, fs.ErrPermission):
		return e, fmt.Errorf("exe of process %d: %w", p.PID, err)
	}
	return e, nil
}
