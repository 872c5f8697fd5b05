package app

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"intact/rules/facts"
	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// fileID names a file while somebody holds it: no other can have the two
// numbers then.
type fileID struct{ device, inode uint64 }

// process is one that runs or maps a file.
type process struct {
	pid  int
	name string // what it calls itself
}

// running says how a subject runs.
type running struct {
	role    string // executable, mapped, module
	verdict verdict
	here    bool          // what runs is the file at path
	other   *scanner.Look // the file that has the name now, nil: none
	procs   []process
	more    int // processes beyond those
	last    int // pid of the last one that was counted
	foreign bool
}

// fileless is a process that can run memory which no file is behind, as one
// with a compiler of its own does.
type fileless struct {
	process
	mappings int64
}

// census counts what was found out about running things, and what was not.
type census struct {
	processes int64 // looked into
	anonymous int64 // executable mappings without a file
	special   int64 // mappings of devices and the like, which are not opened
	denied    int64 // processes that could not be looked into
	failed    int64 // mappings that could not be
	unasked   int64 // processes of which not even the executable is known
	without   []fileless

	subjects []*subject
	by       map[fileID]*subject
	mapped   map[fileID]*subject // by the numbers of maps, where they were enough
}

// processes looks at the executables and the mapped files of the processes that
// were asked for, each file once, and at kernel modules. Files are reached
// through the process, never by their names.
func (v *verify) processes(ctx context.Context) ([]*subject, error) {
	v.running.by, v.running.mapped = map[fileID]*subject{}, map[fileID]*subject{}
	proc := facts.HostProc()
	for _, pid := range v.o.PIDs {
		v.asked++
		p, err := proc.Process(pid)
		if facts.StatusOf(err) == facts.Gone {
			v.env.warn("there is no process %d", pid)
			v.out.Add(ExitUsage)
			continue
		}
		if err != nil {
			return nil, err
		}
		before := v.running.processes + v.running.denied
		err = v.process(ctx, p)
		p.Close()
		if err != nil {
			return nil, err
		}
		if v.running.processes+v.running.denied == before {
			v.env.warn("process %d has no executable: a thread of the kernel, or it has ended", pid)
			v.out.Add(ExitIncomplete)
		}
	}
	if !v.o.AllRunning {
		return v.running.subjects, nil
	}
	v.asked++
	pids, err := proc.PIDs()
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		p, err := proc.Process(pid)
		if err != nil {
			v.notRead(pid, err)
			continue
		}
		err = v.process(ctx, p)
		p.Close()
		if err != nil {
			return nil, err
		}
	}
	return v.running.subjects, v.modules(ctx, proc)
}

// notRead counts a process that could not be looked into. One that has ended
// is nothing to count.
func (v *verify) notRead(pid int, err error) {
	switch facts.StatusOf(err) {
	case facts.Gone:
		return
	case facts.Denied:
	default:
		v.env.warn("process %d: %v", pid, err)
	}
	v.running.denied++
	v.out.Add(ExitIncomplete)
}

// process looks into one process. A kernel thread and a zombie have neither
// executable nor mappings.
func (v *verify) process(ctx context.Context, p *facts.Process) error {
	who := process{p.PID, p.Name()}
	foreign := otherNamespace(p)
	f, err := pinned(p, "exe")
	if err != nil {
		v.notRead(p.PID, err)
	} else {
		v.running.processes++
		err = v.runs(ctx, p, who, f, "exe", "executable", foreign)
		f.Close()
		if err != nil {
			return err
		}
	}
	if facts.StatusOf(err) == facts.Denied {
		return nil // its mappings are denied too, and it is counted
	}
	seen := map[fileID]bool{}
	anonymous := int64(0)
	err = p.Mappings(func(m facts.Mapping) error {
		if m.Anonymous() {
			anonymous++
			return nil
		}
		id := fileID{unix.Mkdev(m.Major, m.Minor), m.Inode}
		if m.Inode == 0 && !strings.HasPrefix(m.Name, "/") || seen[id] {
			return nil
		}
		seen[id] = true
		return v.mapping(ctx, p, who, &m, id, foreign)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		v.notRead(p.PID, err)
	}
	if anonymous > 0 {
		v.running.anonymous += anonymous
		v.running.without = append(v.running.without, fileless{who, anonymous})
	}
	return nil
}

// mapping looks at one mapped file.
func (v *verify) mapping(ctx context.Context, p *facts.Process, who process, m *facts.Mapping, id fileID, foreign bool) error {
	f, err := pinned(p, m.File())
	link := m.File()
	if facts.StatusOf(err) == facts.Denied {
		// Only a privileged user may follow map_files. By its name the file is
		// found as well, if what is there has the numbers of what is mapped.
		f, err = v.named(m, id)
		link = ""
	}
	switch {
	case facts.StatusOf(err) == facts.Gone && link != "":
		return nil // unmapped since
	case err != nil:
		v.running.failed++
		v.out.Add(ExitIncomplete)
		return nil
	}
	defer f.Close()
	return v.runs(ctx, p, who, f, link, "mapped", foreign)
}

// named pins the file that a line of maps names, if it is the one that is
// mapped: a file that is mapped keeps its numbers to itself.
func (v *verify) named(m *facts.Mapping, id fileID) (dirfd.File, error) {
	name := strings.ReplaceAll(m.Name, `\012`, "\n")
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return dirfd.File{}, fmt.Errorf("find what is mapped as %q: %w", m.Name, err)
	}
	f := dirfd.OpenedFile(fd)
	var st dirfd.Stat
	if err := f.Stat(&st); err != nil || (fileID{st.Device, st.Inode}) != id {
		f.Close()
		return dirfd.File{}, fmt.Errorf("find what is mapped as %q: another file is there", m.Name)
	}
	return f, nil
}

// pinned opens what a magic link of a process leads to, for looking and for
// being opened again, but not for reading: it may be a device.
func pinned(p *facts.Process, link string) (dirfd.File, error) {
	d, err := p.Dir()
	if err != nil {
		return dirfd.File{}, err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), link, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return dirfd.File{}, &os.PathError{Op: "open", Path: fmt.Sprintf("/proc/%d/%s", p.PID, link), Err: err}
	}
	return dirfd.OpenedFile(fd), nil
}

// runs looks at a pinned file that runs, if it is the first time.
func (v *verify) runs(ctx context.Context, p *facts.Process, who process, pin dirfd.File, link, role string, foreign bool) error {
	var st dirfd.Stat
	if err := pin.Stat(&st); err != nil {
		v.running.failed++
		v.out.Add(ExitIncomplete)
		return nil
	}
	if st.Kind != entry.File {
		v.running.special++
		return nil
	}
	id := fileID{st.Device, st.Inode}
	if s := v.running.by[id]; s != nil {
		s.run.add(who)
		return nil
	}
	s := &subject{run: &running{role: role, foreign: foreign}}
	s.run.add(who)
	v.running.by[id] = s
	v.running.subjects = append(v.running.subjects, s)
	if link == "" {
		link = "exe"
		s.path = v.nameOf(pin)
	} else if name, err := p.Link(link); err == nil {
		s.path = entry.Path(name)
	}
	if err := v.readRunning(ctx, s, pin, &st); err != nil {
		return err
	}
	v.place(ctx, s, &st)
	return ctx.Err()
}

func (r *running) add(p process) {
	if r.last == p.pid {
		return
	}
	r.last = p.pid
	if len(r.procs) < maxShown {
		r.procs = append(r.procs, p)
	} else {
		r.more++
	}
}

// nameOf returns the path of an open file as the kernel has it.
func (v *verify) nameOf(f dirfd.File) entry.Path {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.FD()))
	if err != nil {
		return ""
	}
	return entry.Path(name)
}
