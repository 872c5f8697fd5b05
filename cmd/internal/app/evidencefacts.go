package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/report"
)

// maxFact bounds one fact in memory, in bytes.
const maxFact = 16 << 20

// factFiles are saved as the kernel gives them.
var factFiles = [...]struct{ name, from string }{
	{"mountinfo", "/proc/self/mountinfo"}, {"mounts-of-pid-1", "/proc/1/mounts"}, {"modules", "/proc/modules"},
	{"net-tcp", "/proc/net/tcp"}, {"net-tcp6", "/proc/net/tcp6"}, {"net-udp", "/proc/net/udp"}, {"net-udp6", "/proc/net/udp6"}, {"net-unix", "/proc/net/unix"},
	{"boot-id", "/proc/sys/kernel/random/boot_id"}, {"uptime", "/proc/uptime"}, {"tainted", "/proc/sys/kernel/tainted"}, {"cmdline", "/proc/cmdline"},
}

// facts saves what will be gone after a reboot: of the live host only. It comes
// first, because files wait longer than processes.
func (v *evidence) facts() error {
	if !v.root.Live() {
		return nil
	}
	if err := v.processes(); err != nil {
		return err
	}
	for _, f := range factFiles {
		if err := v.fact("facts/"+f.name, f.from); err != nil {
			return err
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return v.gap("facts/uname", "%v", err)
	}
	var b bytes.Buffer
	for _, f := range [][]byte{u.Sysname[:], u.Nodename[:], u.Release[:], u.Version[:], u.Machine[:]} {
		fmt.Fprintf(&b, "%s\n", report.Escape(unix.ByteSliceToString(f)))
	}
	return v.bytes("facts/uname", b.Bytes(), v.env.Now())
}

func (v *evidence) fact(name, from string) error {
	f, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return v.line("note %s: this kernel has no %s", name, from)
	}
	if err != nil {
		return v.gap(name, "%v", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFact+1))
	if err == nil && len(b) > maxFact {
		b, err = b[:maxFact], fmt.Errorf("only its first %d bytes are saved", maxFact)
	}
	if err != nil {
		if err := v.gap(name, "%v", err); err != nil {
			return err
		}
	}
	return v.bytes(name, b, v.env.Now())
}

// processes saves a line for each process, as ps(1) would show it.
func (v *evidence) processes() error {
	const name = "facts/processes"
	list, err := os.ReadDir("/proc")
	if err != nil {
		return v.gap(name, "%v", err)
	}
	var pids []int
	for _, e := range list {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, n)
		}
	}
	slices.Sort(pids)
	booted := v.env.Now().Add(-time.Duration(bootClock()))
	var b bytes.Buffer
	b.WriteString("PID\tPPID\tUID\tSTATE\tSTARTED\tNAME\tEXE\tCMDLINE\n")
	for _, pid := range pids {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if b.Len() > maxFact {
			if err := v.gap(name, "only the processes up to %d are saved", pid-1); err != nil {
				return err
			}
			break
		}
		if line, ok := describeProcess(fmt.Sprintf("/proc/%d/", pid), pid, booted); ok {
			b.WriteString(line)
		}
	}
	return v.bytes(name, b.Bytes(), v.env.Now())
}

// maxCommand bounds the arguments of a process that are saved, in bytes.
const maxCommand = 16 << 10

// describeProcess returns the line of one process; false if it has ended.
func describeProcess(dir string, pid int, booted time.Time) (string, bool) {
	text, err := os.ReadFile(dir + "stat")
	if err != nil {
		return "", false
	}
	p, err := parseStat(text)
	if err != nil {
		return "", false
	}
	uid := "?"
	if status, err := os.ReadFile(dir + "status"); err == nil {
		uid = realUID(status)
	}
	exe, err := os.Readlink(dir + "exe")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		exe = "-" // a thread of the kernel
	case err != nil:
		exe = "?"
	default:
		exe = report.Escape(exe)
	}
	started := booted.Add(p.started).UTC().Format(time.RFC3339)
	return fmt.Sprintf("%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", pid, p.parent, uid, report.Escape(p.state), started, report.Escape(p.name), exe, commandLine(dir+"cmdline")), true
}

// procStat is what proc_pid_stat(5) says of one.
type procStat struct {
	name    string // any bytes, chosen by the process
	state   string
	parent  int
	started time.Duration // after the boot
}

// userTick is the unit of times in /proc on every architecture, USER_HZ.
const userTick = 10 * time.Millisecond

// parseStat reads /proc/PID/stat. The name stands in parentheses and may hold
// parentheses, blanks and newlines itself: it ends at the last one.
func parseStat(text []byte) (p procStat, err error) {
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return p, errors.New("no name in parentheses")
	}
	p.name = string(text[begin+1 : end])
	f := strings.Fields(string(text[end+1:]))
	const state, parent, started = 0, 1, 19 // fields 3, 4 and 22
	if len(f) <= started {
		return p, errors.New("too few fields")
	}
	p.state = f[state]
	p.parent, err = strconv.Atoi(f[parent])
	ticks, err2 := strconv.ParseInt(f[started], 10, 64)
	p.started = time.Duration(ticks) * userTick
	return p, errors.Join(err, err2)
}

// realUID returns the real user id in the text of /proc/PID/status. The name of
// the process stands before it, with its newlines escaped by the kernel.
func realUID(status []byte) string {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if f := bytes.Fields(v); len(f) > 0 {
				return string(f[0])
			}
		}
	}
	return "?"
}

// commandLine returns the arguments, each quoted for a shell.
func commandLine(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return "?"
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCommand+1))
	if err != nil {
		return "?"
	}
	cut := ""
	if len(b) > maxCommand {
		b, cut = b[:maxCommand], " …"
	}
	b = bytes.TrimSuffix(b, []byte{0})
	if len(b) == 0 {
		return "-"
	}
	var words []string
	for w := range bytes.SplitSeq(b, []byte{0}) {
		words = append(words, report.ShellQuote(string(w)))
	}
	return strings.Join(words, " ") + cut
}
