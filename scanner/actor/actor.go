// Package actor says which program a process is, by what the kernel shows of it.
// What it says is true of the process that was asked about, or it says nothing: a
// process that ended while it was read, or whose number is another's by now, has no
// name.
package actor

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What is kept of a process at most.
const (
	maxArgs    = 16
	maxArgsLen = 512 // bytes of them all
	maxParents = 8
	maxPath    = 1024 // of an exe or a control group; more is cut
	maxText    = 4096 // of a file in /proc that is read
)

// NoUser is the login uid of what no login began.
const NoUser = ^uint32(0)

// Actor is one process, as it was when it was read. Texts are bytes of its
// choice or of whoever named its files: unescaped, and any bytes but NUL.
type Actor struct {
	PID      int
	Live     bool     // the process was there all the time; else only PID is known
	Exe      string   // where its program lies as the kernel has it, " (deleted)" behind it if it is gone
	Command  []string // what it says its command line is
	Cut      bool     // of Command not all is here
	UID      uint32   // real user id
	EUID     uint32   // effective
	LoginUID uint32   // who logged in, over all changes since; NoUser: nobody, or not known
	Cgroup   string   // control group, "" if not known
	Unit     string   // of systemd, by the control group, "" if none
	Parents  []Parent // nearest first, bounded, up to the first that could not be told
	Manager  string   // the package manager's program among it and its parents, "" if none
	Device   uint64   // of the file that Exe is
	Started  uint64   // ticks after boot
}

// Parent is a process above another one.
type Parent struct {
	PID int
	Exe string
}

// Proc is a mounted proc(5).
type Proc struct{ Dir string }

// process is one process held by its directory: what is read through it is never
// that of another one.
type process struct {
	fd      int
	pid     int
	ppid    int
	started uint64
	kernel  bool // it is one of the kernel's own: it runs no file
	exe     string
	device  uint64
	manager string
}

var errProc = errors.New("not as the kernel writes it")

// Read reads process pid. alive says whether the process that is meant is there
// still. It is asked behind what was read, and a number means one process at a time,
// so what was read is that process's.
func (p Proc) Read(pid int, alive func() bool) Actor {
	none := Actor{PID: pid}
	me, err := p.open(pid)
	if err != nil {
		return none
	}
	chain := []process{me}
	defer func() {
		for _, c := range chain {
			_ = unix.Close(c.fd)
		}
	}()
	a, err := me.itself()
	if err != nil || !alive() {
		return none
	}
	a.PID, a.Live = pid, true
	for len(chain) <= maxParents {
		up := chain[len(chain)-1].ppid
		if up <= 0 {
			break
		}
		next, err := p.open(up)
		if err != nil {
			break
		}
		chain = append(chain, next)
	}
	// Only now: a child that is there and still has the same parent had it all the
	// time, so the number meant the same process when it was opened.
	for i := 1; i < len(chain); i++ {
		now := process{fd: chain[i-1].fd}
		if err := now.stat(); err != nil || now.ppid != chain[i].pid {
			break
		}
		a.Parents = append(a.Parents, Parent{chain[i].pid, chain[i].exe})
	}
	for _, c := range chain[:1+len(a.Parents)] {
		if a.Manager == "" {
			a.Manager = c.manager
		}
	}
	return a
}

// itself reads what there is about a process but for its parents.
func (c *process) itself() (a Actor, err error) {
	a = Actor{Exe: c.exe, Device: c.device, Started: c.started, LoginUID: NoUser}
	if a.Command, a.Cut, err = command(c.fd); err != nil {
		return a, err
	}
	if a.UID, a.EUID, err = users(c.fd); err != nil {
		return a, err
	}
	// Not every kernel has these two.
	if b, err := readAt(c.fd, "loginuid"); err == nil {
		if v, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 32); err == nil {
			a.LoginUID = uint32(v)
		}
	}
	if b, err := readAt(c.fd, "cgroup"); err == nil {
		a.Cgroup, a.Unit = parseCgroup(string(b))
	}
	// One that is about to end has no program any more, nor a command line.
	if exe, dev, _, err := program(c.fd); !c.kernel && (err != nil || exe != c.exe || dev != c.device) {
		return a, errors.Join(errProc, err)
	}
	return a, nil
}

// open takes hold of one process and reads what its children need to know of it.
func (p Proc) open(pid int) (c process, err error) {
	c.pid = pid
	c.fd, err = unix.Open(p.Dir+"/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return c, err
	}
	if err = c.stat(); err == nil {
		c.exe, c.device, c.manager, err = program(c.fd)
	}
	if errors.Is(err, unix.ENOENT) && c.kernel {
		err = nil
	}
	if err != nil {
		_ = unix.Close(c.fd)
	}
	return c, err
}

// readAt reads a file in the directory of a process, maxText bytes of it.
func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, maxText)
	for {
		n, err := unix.Read(fd, buf) // what is short is all at once
		if err == unix.EINTR {
			continue
		}
		return buf[:max(n, 0)], err
	}
}

// kernelThread is PF_KTHREAD of the kernel's flags.
const kernelThread = 0x00200000

// stat reads the parent's number, the flags and the start time, fields 4, 9 and 22
// of stat. The second field is a name that the process chose, in parentheses.
func (c *process) stat() error {
	b, err := readAt(c.fd, "stat")
	if err != nil {
		return err
	}
	return c.parseStat(b)
}

func (c *process) parseStat(b []byte) error {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return fmt.Errorf("stat: %w", errProc)
	}
	f := strings.Fields(string(b[i+1:])) // from field 3 on
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return fmt.Errorf("stat: %w", errProc)
	}
	up, err := strconv.ParseInt(f[1], 10, 32)
	flags, err2 := strconv.ParseUint(f[6], 10, 64)
	started, err3 := strconv.ParseUint(f[19], 10, 64)
	if err := errors.Join(err, err2, err3); err != nil {
		return fmt.Errorf("stat: %w: %w", errProc, err)
	}
	c.ppid, c.kernel, c.started = int(up), flags&kernelThread != 0, started
	return nil
}

// users reads the real and the effective user id.
func users(dir int) (uid, euid uint32, err error) {
	b, err := readAt(dir, "status")
	if err != nil {
		return 0, 0, err
	}
	// The name, which comes first, has its newlines escaped.
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, "Uid:")
		f := strings.Fields(rest)
		if !ok || len(f) < 2 {
			continue
		}
		u, err := strconv.ParseUint(f[0], 10, 32)
		e, err2 := strconv.ParseUint(f[1], 10, 32)
		if err != nil || err2 != nil {
			break
		}
		return uint32(u), uint32(e), nil
	}
	return 0, 0, fmt.Errorf("status: %w", errProc)
}

// command reads the command line, cut where it is long.
func command(dir int) (args []string, cut bool, err error) {
	b, err := readAt(dir, "cmdline")
	if err != nil || len(b) == 0 {
		return nil, false, err
	}
	args, cut = parseCommand(b)
	return args, cut, nil
}

func parseCommand(b []byte) (args []string, cut bool) {
	cut = len(b) == maxText
	if !cut {
		b = bytes.TrimSuffix(b, []byte{0})
	}
	left := maxArgsLen
	for _, a := range bytes.Split(b, []byte{0}) {
		if len(args) == maxArgs || left == 0 {
			return args, true
		}
		if len(a) > left {
			a, cut = a[:left], true
		}
		left -= len(a)
		args = append(args, string(a))
	}
	return args, cut
}

// program reads which file a process runs.
func program(dir int) (exe string, device uint64, manager string, err error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, "exe", buf)
	if err != nil {
		return "", 0, "", err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, "exe", &st, 0); err != nil {
		return "", 0, "", err
	}
	exe = string(buf[:n])
	return bounded(exe), st.Dev, managerAt(dir, exe, &st), nil
}

func bounded(s string) string { return s[:min(len(s), maxPath)] }

// managers are programs that unpack packages.
var managers = []string{
	"/usr/bin/apt", "/usr/bin/apt-get", "/usr/bin/aptitude", "/usr/bin/dpkg", "/usr/bin/dpkg-deb",
	"/usr/bin/rpm", "/usr/bin/dnf5", "/usr/bin/microdnf", "/usr/bin/zypper", "/usr/libexec/packagekitd",
}

// scripts are those that an interpreter runs. That it does is what the process
// says itself.
var scripts = []string{"/usr/bin/dnf", "/usr/bin/dnf-3", "/usr/bin/yum", "/usr/bin/unattended-upgrade"}

// managerAt returns the name of the package manager that a process runs. Its
// program must be the file that this host has by that name: one in a container is
// another.
func managerAt(dir int, exe string, st *unix.Stat_t) string {
	name := exe
	switch base := exe[strings.LastIndexByte(exe, '/')+1:]; {
	case slices.Contains(managers, exe):
	case strings.HasPrefix(base, "python3") || strings.HasPrefix(base, "platform-python"):
		args, _, err := command(dir)
		i := slices.IndexFunc(args, func(a string) bool { return slices.Contains(scripts, a) })
		if err != nil || i < 1 || i > 3 {
			return ""
		}
		name = args[i]
	default:
		return ""
	}
	var here unix.Stat_t
	if err := unix.Stat(exe, &here); err != nil || here.Dev != st.Dev || here.Ino != st.Ino {
		return ""
	}
	return name[strings.LastIndexByte(name, '/')+1:]
}

// parseCgroup finds the control group in "0::/system.slice/ssh.service" or, of
// version 1, in the line of name=systemd; and in it the unit, the last name that
// ends as one does and is no slice. A process with privileges can move itself to
// another.
func parseCgroup(text string) (group, unit string) {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "name=systemd" || parts[2] == "/" {
			continue
		}
		group = parts[2]
	}
	for name := range strings.SplitSeq(group, "/") {
		for _, suffix := range [...]string{".service", ".scope", ".socket", ".mount", ".swap"} {
			if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
				unit = name
			}
		}
	}
	return bounded(group), bounded(unit)
}
