package osupdates

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// maxStaleFiles bounds the files that are named of one process.
const maxStaleFiles = 16

// StaleProcess is a process that runs code of which its path has another now, or
// none: an update replaced it, and only a restart brings the new one in.
type StaleProcess struct {
	PID        int64    `cel:"pid"`
	Name       string   `cel:"name"` // what it calls itself, up to 15 bytes of its choice
	Exe        string   `cel:"exe"`  // path of its program as the kernel has it, without the mark of deletion
	ExeKnown   bool     `cel:"exe_known"`
	ExeDeleted bool     `cel:"exe_deleted"` // that very file is gone
	Unit       string   `cel:"unit"`        // of systemd, by its control group; "" if it is in none
	UnitKnown  bool     `cel:"unit_known"`
	Files      []string `cel:"files"` // paths of the code that was replaced, sorted, at most 16
	More       int64    `cel:"more"`  // of them beyond those
}

// Stale finds the processes that map code which was deleted or replaced. Memory
// files, shared memory, devices and what just-in-time compilers write are none.
func Stale(ctx context.Context, on facts.Host) facts.Answer[StaleProcess] {
	if !on.Live {
		return facts.OfflineAnswer[StaleProcess]("what processes map")
	}
	h := &host{Host: on}
	proc := h.proc()
	pids, err := proc.PIDs()
	if err != nil {
		h.add(err)
		return answer[StaleProcess](&h.problems, nil, "/proc")
	}
	s := &staleness{host: h, now: map[string]found{}}
	if self, err := proc.Process(os.Getpid()); err == nil {
		s.mounts, _ = self.Link("ns/mnt")
		self.Close()
	}
	var rows []StaleProcess
	denied := 0
	for _, pid := range pids {
		if ctx.Err() != nil {
			h.add(context.Cause(ctx))
			break
		}
		row, stale, err := s.process(proc, pid)
		switch facts.StatusOf(err) {
		case facts.Gone:
			continue
		case facts.Denied:
			denied++
		case facts.Failed:
			h.add(err)
		}
		if stale {
			rows = append(rows, row)
		}
	}
	if denied > 0 {
		h.is(rules.Denied, fmt.Sprintf("what %d processes of other users map is not shown", denied))
	}
	return answer(&h.problems, rows, "/proc")
}

// staleness is what is known while processes are looked at.
type staleness struct {
	*host
	mounts string           // name of our own mount namespace
	now    map[string]found // what paths lead to, once asked
}

type found struct {
	exists        bool
	device, inode uint64
}

// process looks at one.
func (s *staleness) process(proc facts.Proc, pid int) (row StaleProcess, stale bool, err error) {
	p, err := proc.Process(pid)
	if err != nil {
		return row, false, err
	}
	defer p.Close()
	theirs, _ := p.Link("ns/mnt")
	ours := theirs == s.mounts
	files := map[string]bool{}
	exe, err := p.Link("exe")
	switch st := facts.StatusOf(err); st {
	case facts.Known:
		row.Exe, row.ExeKnown = exe, true
	case facts.Gone: // a thread of the kernel, or it ended
	default:
		return row, false, err
	}
	err = p.Mappings(func(m facts.Mapping) error {
		name, gone := s.replaced(m, ours)
		if !gone {
			return nil
		}
		if len(files) < maxNames {
			files[name] = true
		}
		if m.Name == exe {
			row.Exe, row.ExeDeleted = name, true
		}
		return nil
	})
	if err != nil || len(files) == 0 {
		return row, false, err
	}
	row.PID, row.Name = int64(pid), p.Name()
	unit, uerr := p.Unit()
	row.Unit, row.UnitKnown = unit, uerr == nil
	for f := range files {
		row.Files = append(row.Files, f)
	}
	slices.Sort(row.Files)
	if n := len(row.Files); n > maxStaleFiles {
		row.Files, row.More = row.Files[:maxStaleFiles], int64(n-maxStaleFiles)
	}
	return row, true, nil
}

const deletedMark = " (deleted)"

// replaced reports whether the file behind a mapping is no longer what its path
// leads to, and returns that path. Of a process with mounts of its own only the
// kernel's mark counts.
func (s *staleness) replaced(m facts.Mapping, ours bool) (string, bool) {
	if m.Inode == 0 || !strings.HasPrefix(m.Name, "/") {
		return "", false
	}
	name, marked := strings.CutSuffix(m.Name, deletedMark)
	if passing(name) {
		return "", false
	}
	if !ours || strings.Contains(m.Name, `\`) { // the kernel writes a newline so
		return name, marked
	}
	at := s.lookup(m.Name)
	if at.exists && at.inode == m.Inode && at.device == deviceOf(m.Major, m.Minor) {
		return "", false // it may be called so
	}
	if marked {
		return name, true
	}
	// Where the two name devices alike, another inode is another file. On btrfs and
	// overlayfs they do not.
	return name, at.exists && at.device == deviceOf(m.Major, m.Minor)
}

// passing reports whether a path is of code that no package ships: shared memory,
// devices, and files that compilers map and delete at once.
func passing(name string) bool {
	for _, p := range [...]string{"/memfd:", "/SYSV", "/dev/", "/[aio]", "/drm", "/i915", "/anon_hugepage", "/tmp/", "/var/tmp/", "/run/user/", "/proc/", "/dmabuf:"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	return strings.HasPrefix(base, "#") || strings.HasPrefix(base, "orcexec.") || strings.HasPrefix(base, ".nfs")
}

// lookup says what a path leads to now.
func (s *staleness) lookup(path string) found {
	if f, ok := s.now[path]; ok {
		return f
	}
	var f found
	if at, n, _, err := s.Root.Reach(entry.Path(path)); err == nil {
		var st dirfd.Stat
		if n != nil && at.Stat(n, true, &st) == nil {
			f = found{true, st.Device, st.Inode}
		}
		at.Release()
	}
	if len(s.now) < maxNames {
		s.now[path] = f
	}
	return f
}

// deviceOf makes one number of two, as makedev(3) of Linux does.
func deviceOf(major, minor uint32) uint64 {
	a, i := uint64(major), uint64(minor)
	return a&0xfff<<8 | a&^0xfff<<32 | i&0xff | i&^0xff<<12
}
