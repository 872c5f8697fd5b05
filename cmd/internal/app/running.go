package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"intact/rules/facts"
	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// readRunning opens the pinned file for reading and digests it.
func (v *verify) readRunning(ctx context.Context, s *subject, pin dirfd.File, st *dirfd.Stat) (err error) {
	s.look = &scanner.Look{Path: s.path}
	if m := v.root.Mounts().ByID(st.Mount); m != nil && dirfd.CanHang(m.FSType) {
		st.Fill(&s.look.Entry)
		s.look.Gaps = append(s.look.Gaps, scanner.Gap{Path: s.path, Reason: scanner.ReasonTimeout, Detail: "not read: on a file system that can hang, " + m.FSType, Attrs: entry.Content})
		return nil
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", pin.FD()), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		st.Fill(&s.look.Entry)
		reason := scanner.ReasonIO
		if errors.Is(err, fs.ErrPermission) {
			reason = scanner.ReasonPermission
		}
		s.look.Gaps = append(s.look.Gaps, scanner.Gap{Path: s.path, Reason: reason, Detail: err.Error(), Attrs: entry.Content})
		return nil
	}
	f := dirfd.OpenedFile(fd)
	defer f.Close()
	s.look, err = v.examiner.File(ctx, f)
	return err
}

// deletedMark is what the kernel puts behind the path of a file without a name,
// d_path() in fs/d_path.c. A name can end like that too.
const deletedMark = " (deleted)"

// place compares a file that runs with what has its name on the disk.
func (v *verify) place(ctx context.Context, s *subject, st *dirfd.Stat) {
	s.base = baseElsewhere
	name := string(s.path)
	bare, marked := strings.CutSuffix(name, deletedMark)
	switch {
	case v.isMemfd(name, st):
		s.run.verdict = verdictMemfd
		return
	case v.isAt(s, name, st), marked && v.isAt(s, bare, st):
		return // in whatever mount namespace: a service may have its own
	case s.run.foreign && st.Nlink == 0:
		s.path, s.run.verdict = entry.Path(bare), verdictDeleted
		return
	case s.run.foreign:
		s.elsewhere("runs in another mount namespace: its path is not one of this root")
		return
	}
	if marked {
		s.path = entry.Path(bare)
	}
	p, err := entry.NewPath(string(s.path))
	if err != nil {
		s.elsewhere("its path cannot be reached from here")
		return
	}
	s.real = v.free(p)
	other, err := v.examiner.Path(ctx, p, nil)
	switch {
	case err != nil:
		s.run.verdict = verdictDeleted
	case other.Entry.Have == 0:
		s.elsewhere("what has its name on the disk cannot be looked at")
	default:
		s.run.other, s.run.verdict = other, verdictReplaced
	}
}

// elsewhere notes why a file that runs was not compared with a path.
func (s *subject) elsewhere(why string) {
	s.look.Gaps = append(s.look.Gaps, scanner.Gap{Path: s.path, Reason: scanner.ReasonUnsupported, Detail: why})
}

// isAt reports whether the running file is the one at name, and compares it
// with the baseline then.
func (v *verify) isAt(s *subject, name string, st *dirfd.Stat) bool {
	p, err := entry.NewPath(name)
	if err != nil {
		return false
	}
	at, n, free, err := v.root.Reach(p)
	if err != nil || n == nil {
		return false
	}
	defer at.Release()
	var now dirfd.Stat
	if err := at.Stat(n, true, &now); err != nil || now.Inode != st.Inode || now.Device != st.Device {
		return false
	}
	s.run.here = true
	s.path, s.real = p, free
	s.look.Entry.Name = []byte(free.Base())
	v.compare(s)
	return true
}

// isMemfd tells memory of memfd_create(2) from a file that somebody called
// "/memfd:…": the latter lies on a mounted file system, or has a link.
func (v *verify) isMemfd(name string, st *dirfd.Stat) bool {
	return st.Nlink == 0 && strings.HasPrefix(name, "/memfd:") && strings.HasSuffix(name, deletedMark) &&
		(st.Mount == 0 || v.root.Mounts().ByID(st.Mount) == nil)
}

// otherNamespace reports whether a process lives in another mount namespace
// than this one. Where that cannot be read, device and inode decide alone.
func otherNamespace(p *facts.Process) bool {
	theirs, err := p.Link("ns/mnt")
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	return err == nil && ours != theirs
}

// modules looks at the files of the kernel modules that say they are loaded.
// What is loaded in the kernel cannot be read back.
func (v *verify) modules(ctx context.Context, proc facts.Proc) error {
	names, err := proc.Modules()
	if facts.StatusOf(err) == facts.Gone {
		v.env.warn("no kernel modules: this kernel shows none")
		return nil
	}
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	release, err := proc.Release()
	if err != nil {
		return err
	}
	dir := entry.Path("/lib/modules").Join([]byte(release))
	var files map[string]string
	dep, err := v.root.OpenFile(dir.Join([]byte("modules.dep")))
	if err == nil {
		files, err = facts.ModuleFiles(dep, names)
		dep.Close()
	}
	if err != nil {
		v.env.warn("which files the kernel modules are from is not known: %v", err)
		v.out.Add(ExitIncomplete)
		files = nil
	}
	for _, n := range names {
		if err := v.module(ctx, dir, n, files); err != nil {
			return err
		}
	}
	return nil
}

// module looks at the file of one module; files is nil where they are not known.
func (v *verify) module(ctx context.Context, dir entry.Path, name string, files map[string]string) error {
	s := &subject{run: &running{role: "module", verdict: verdictNoFile, procs: []process{{0, name}}}, base: baseElsewhere}
	v.running.subjects = append(v.running.subjects, s)
	file := files[name]
	if files == nil {
		s.run.verdict = "" // unverified
	}
	if file == "" {
		return nil
	}
	if !strings.HasPrefix(file, "/") {
		file = string(dir) + "/" + file
	}
	p, err := entry.NewPath(file)
	if err != nil {
		return nil // no such file
	}
	s.path, s.real = p, v.free(p)
	look, err := v.examiner.Path(ctx, p, nil)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	s.look, s.real = look, look.Path
	s.run.verdict, s.run.here = "", true
	v.compare(s)
	return nil
}
