package sockets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"intact/rules/facts"
)

// maxFDs bounds the open files that are looked at of one process.
const maxFDs = 1 << 20

// owners finds the process behind each socket, and adds the listeners of the
// other network namespaces that processes are in. asked is false where a process
// would not say what it has open, or ended before it did.
func owners(ctx context.Context, proc facts.Proc, list []Listener) (out []Listener, asked bool, err error) {
	pids, err := proc.PIDs()
	if err != nil {
		return list, false, err
	}
	ours, err := os.Readlink(proc.Dir + "/self/ns/net")
	if err != nil {
		return list, false, fmt.Errorf("own network namespace: %w", err)
	}
	asked = true
	by := map[int64][]int{}
	for i := range list {
		by[list[i].Inode] = append(by[list[i].Inode], i)
	}
	seen := map[string]bool{ours: true}
	blind := map[string]error{} // namespaces of which nothing was read yet
	for _, pid := range pids {
		if ctx.Err() != nil {
			return list, false, ctx.Err()
		}
		ns, err := os.Readlink(fmt.Sprintf("%s/%d/ns/net", proc.Dir, pid))
		if err != nil || seen[ns] {
			continue
		}
		more, err := procListeners(fmt.Sprintf("%s/%d", proc.Dir, pid))
		if err != nil { // the process may have ended: another one may be in there
			blind[ns] = err
			continue
		}
		seen[ns] = true
		delete(blind, ns)
		for _, l := range more {
			l.Netns = "other"
			by[l.Inode] = append(by[l.Inode], len(list))
			list = append(list, l)
		}
	}
	for _, e := range blind {
		if facts.StatusOf(e) != facts.Gone {
			err = errors.Join(err, e)
		}
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return list, false, ctx.Err()
		}
		if !ask(proc, pid, list, by) {
			asked = false
		}
	}
	return list, asked, err
}

// ask looks at the open files of a process, and reports whether it could: a
// process that is gone has none.
func ask(proc facts.Proc, pid int, list []Listener, by map[int64][]int) bool {
	p, err := proc.Process(pid)
	if err != nil {
		return facts.StatusOf(err) == facts.Gone
	}
	defer p.Close()
	dir, err := p.Dir()
	if err != nil {
		return facts.StatusOf(err) == facts.Gone
	}
	defer dir.Close()
	path := fmt.Sprintf("/proc/self/fd/%d/fd", dir.Fd()) // of this very process, whoever gets its number
	fds, err := os.Open(path)
	if err != nil {
		return facts.StatusOf(err) == facts.Gone
	}
	defer fds.Close()
	mine := map[int]bool{}
	for n := 0; n < maxFDs; {
		names, err := fds.Readdirnames(1024)
		for _, name := range names {
			n++
			link, err := os.Readlink(path + "/" + name)
			if err != nil {
				continue // closed meanwhile
			}
			if inode, ok := socketInode(link); ok {
				for _, i := range by[inode] {
					mine[i] = true
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return facts.StatusOf(err) == facts.Gone
		}
	}
	if len(mine) == 0 {
		return true
	}
	about := describe(p)
	for i := range mine {
		l := &list[i]
		l.Processes++
		if l.Owned {
			continue
		}
		l.Owned, l.PID = true, int64(pid)
		l.UID, l.UIDKnown, l.Unit, l.UnitKnown = about.UID, about.UIDKnown, about.Unit, about.UnitKnown
		l.Exe, l.ExeKnown, l.ExeDeleted, l.ExeMemory, l.ExeForeign = about.Exe, about.ExeKnown, about.ExeDeleted, about.ExeMemory, about.ExeForeign
	}
	return true
}

// describe tells of a process what a listener's row needs.
func describe(p *facts.Process) (l Listener) {
	if uid, err := p.UID(); err == nil {
		l.UID, l.UIDKnown = int64(uid), true
	}
	if unit, err := p.Unit(); err == nil {
		l.Unit, l.UnitKnown = unit, true
	}
	if e, err := p.Exe(); err == nil {
		l.Exe, l.ExeKnown, l.ExeDeleted, l.ExeMemory, l.ExeForeign = e.Path, true, e.Deleted, e.Memory, e.Foreign
	}
	return l
}

// socketInode reads what a descriptor of a socket leads to: socket:[INODE].
func socketInode(link string) (int64, bool) {
	s, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(s, "]"), 10, 64)
	return n, err == nil
}
