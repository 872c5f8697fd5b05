package sshd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Server is one daemon that listens, or the installed one where none does.
type Server struct {
	Installed       bool      `cel:"installed"`
	Version         string    `cel:"version"` // e.g. "OpenSSH_9.2p1 Debian-2+deb12u10", from the file
	VersionKnown    bool      `cel:"version_known"`
	Running         bool      `cel:"running"`
	RunningKnown    bool      `cel:"running_known"` // false of an image
	PID             int64     `cel:"pid"`
	Options         []string  `cel:"options"`       // of its command line that beat the files: "-o UseDNS=yes", "-p 2222"
	ConfigFile      string    `cel:"config_file"`   // the main one
	ConfigNewest    time.Time `cel:"config_newest"` // the youngest modification of its files
	ConfigNewestIn  string    `cel:"config_newest_in"`
	Loaded          time.Time `cel:"loaded"`       // when it read them: its start, or its last SIGHUP by the pid file
	LoadedKnown     bool      `cel:"loaded_known"` //
	Unloaded        bool      `cel:"unloaded"`     // the files are younger than what it runs with
	SocketActivated bool      `cel:"socket_activated"`
	SocketUnit      string    `cel:"socket_unit"` // the enabled link; its unit owns the port
	Examined        bool      `cel:"examined"`    // the contexts are about this one
}

// daemon is a running one.
type daemon struct {
	pid     int
	args    []string // of its command line, without its name
	started time.Time
}

// comm is what the daemon calls itself in /proc; the programs that serve one
// connection are sshd-session from 9.8 on.
const comm = "sshd"

// errHidden says that processes of others are not ours to look at.
var errHidden = fmt.Errorf("other users' processes: %w", fs.ErrPermission)

// running finds daemons of root that listen, in our own mount namespace: others
// belong to containers, with files of their own. With errHidden there may be
// more of them.
func running(ctx context.Context, proc facts.Proc) ([]daemon, error) {
	pids, err := proc.PIDs()
	if err != nil {
		return nil, err
	}
	mine, err := os.Readlink(path.Join(proc.Dir, "self/ns/mnt"))
	if err != nil {
		return nil, err
	}
	boot := bootTime(proc)
	var out []daemon
	hidden := !slices.Contains(pids, 1) // proc(5), hidepid
	for _, pid := range pids {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		p, err := proc.Process(pid)
		if err != nil {
			continue // it ended
		}
		d, err := listener(p, mine, boot)
		p.Close()
		switch {
		case err == nil:
			out = append(out, d)
		case errors.Is(err, fs.ErrPermission):
			hidden = true
		}
	}
	if hidden {
		return out, errHidden
	}
	return out, nil
}

var errOther = errors.New("another process")

// listener tells whether a process is such a daemon, and how it was started.
func listener(p *facts.Process, mine string, boot int64) (d daemon, err error) {
	if p.Name() != comm {
		return d, errOther
	}
	line, err := p.ReadFile("cmdline", 256<<10)
	if err != nil {
		return d, err
	}
	args, ok := commandLine(line)
	if !ok {
		return d, errOther
	}
	status, err := p.ReadFile("status", 64<<10)
	if err != nil || !bytes.Contains(status, []byte("\nUid:\t0\t0\t")) {
		return d, cmp.Or(err, errOther)
	}
	exe, err := p.Link("exe")
	if err != nil || strings.TrimSuffix(exe, " (deleted)") != Binary {
		return d, cmp.Or(err, errOther)
	}
	ns, err := p.Link("ns/mnt")
	if err != nil || ns != mine {
		return d, cmp.Or(err, errOther)
	}
	d = daemon{pid: p.PID, args: args}
	if stat, err := p.ReadFile("stat", 4096); err == nil && boot > 0 {
		d.started = startOf(stat, boot)
	}
	return d, nil
}

// commandLine takes the arguments out of what /proc shows: as they were given,
// or in the title that the daemon gives itself, joined by blanks:
//
//	sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups
//
// ok is false for a process that serves one connection.
func commandLine(raw []byte) (args []string, ok bool) {
	s := strings.TrimRight(string(raw), "\x00")
	if title, isTitle := strings.CutPrefix(s, "sshd: "); isTitle {
		before, _, listens := strings.Cut(title, " [listener]")
		words := strings.Fields(before)
		if !listens || len(words) == 0 {
			return nil, false
		}
		return unjoined(words[1:]), true
	}
	all := strings.Split(s, "\x00")
	for _, a := range all[1:] {
		if strings.HasPrefix(a, "-i") || a == "-R" {
			return nil, false
		}
	}
	return all[1:], true
}

// unjoined puts "-o Name value" together again: the title has lost where an
// argument ends.
func unjoined(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		out = append(out, words[i])
		if words[i] != "-o" || i+1 >= len(words) {
			continue
		}
		i++
		value := words[i]
		for i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			i++
			value += " " + words[i]
		}
		out = append(out, value)
	}
	return out
}

// given are the options of a command line that say what is in force.
type given struct {
	file    string   // -f
	lines   []string // as lines of a configuration
	options []string // for sshd -T
	shown   []string
}

// withArgument are the letters of sshd(8) that take one.
const withArgument = "bcCEfghkopu"

// parseArgs reads them as getopt(3) does.
func parseArgs(args []string) (g given) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) < 2 || a[0] != '-' || a == "--" {
			break
		}
		for j := 1; j < len(a); j++ {
			c := a[j]
			if !strings.ContainsRune(withArgument, rune(c)) {
				g.option(c, "")
				continue
			}
			value := a[j+1:]
			if value == "" && i+1 < len(args) {
				i++
				value = args[i]
			}
			g.option(c, value)
			break
		}
	}
	return g
}

func (g *given) option(c byte, value string) {
	var text string
	switch c {
	case 'f':
		g.file = value
	case 'o':
		text = value
	case 'p':
		text = "Port " + value
	case 'h':
		text = "HostKey " + value
	case 'g':
		text = "LoginGraceTime " + value
	case '4':
		text = "AddressFamily inet"
	case '6':
		text = "AddressFamily inet6"
	default:
		return
	}
	option := []string{"-" + string(c)}
	if value != "" {
		option = append(option, value)
	}
	g.options = append(g.options, option...)
	g.shown = append(g.shown, strings.Join(option, " "))
	if text != "" {
		g.lines = append(g.lines, text)
	}
}

// bootTime is when the kernel started, in seconds since 1970; 0 if unknown.
func bootTime(proc facts.Proc) int64 {
	f, err := os.Open(path.Join(proc.Dir, "stat"))
	if err != nil {
		return 0
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	n, _ := f.Read(buf)
	for l := range bytes.Lines(buf[:n]) {
		if rest, ok := bytes.CutPrefix(l, []byte("btime ")); ok {
			v, _ := strconv.ParseInt(strings.TrimSpace(string(rest)), 10, 64)
			return v
		}
	}
	return 0
}

// startOf reads field 22 of /proc/PID/stat, hundredths of a second after boot.
func startOf(stat []byte, boot int64) time.Time {
	// The name in field 2 may hold anything but ends with the last ")".
	i := bytes.LastIndexByte(stat, ')')
	f := strings.Fields(string(stat[i+1:]))
	if len(f) < 20 {
		return time.Time{}
	}
	ticks, err := strconv.ParseInt(f[19], 10, 64)
	if err != nil || ticks < 0 {
		return time.Time{}
	}
	return time.Unix(boot, 0).Add(time.Duration(ticks) * 10 * time.Millisecond)
}

// loaded is when a daemon read its files: it writes its pid file anew after each
// SIGHUP.
func (d daemon) loaded(root *dirfd.Root, pidFile Value) (time.Time, bool) {
	at := d.started
	if len(pidFile.Lines) != 1 {
		return at, !at.IsZero()
	}
	p, err := entry.NewPath(pidFile.Lines[0])
	if err != nil {
		return at, !at.IsZero()
	}
	text, err := root.ReadFile(p, 64)
	if err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(d.pid) {
		return at, !at.IsZero()
	}
	if s, _, err := stat(root, string(p)); err == nil {
		if m := time.Unix(s.Mtime.Sec, int64(s.Mtime.Nsec)); m.After(at) {
			at = m
		}
	}
	return at, !at.IsZero()
}

// sockets are links that let systemd listen in the daemon's place.
var sockets = []string{
	"/etc/systemd/system/sockets.target.wants/ssh.socket",
	"/etc/systemd/system/sockets.target.wants/sshd.socket",
	"/etc/systemd/system/ssh.service.requires/ssh.socket",
}

// socketUnit returns the link that is there, "" if none is.
func socketUnit(root *dirfd.Root) string {
	for _, s := range sockets {
		at, n, _, err := root.Reach(entry.Path(s))
		if err != nil {
			continue
		}
		var st dirfd.Stat
		err = at.Stat(n, true, &st)
		at.Release()
		if err == nil {
			return s
		}
	}
	return ""
}

// slack is what a start time in hundredths after a boot time in seconds may err.
const slack = 2 * time.Second

// describe makes the rows about daemons.
func (r *reader) describe(found []daemon, err error, examined int) facts.Answer[Server] {
	out := facts.Answer[Server]{Status: rules.OK, Via: "/proc"}
	base := Server{
		Version: r.version.Text, VersionKnown: r.version.Known(), RunningKnown: r.host.Live && err == nil,
		ConfigFile: r.main, SocketUnit: socketUnit(r.host.Root),
	}
	base.SocketActivated = base.SocketUnit != ""
	_, _, missing := stat(r.host.Root, Binary)
	base.Installed = missing == nil
	for _, f := range r.facts.Files.Rows {
		if !f.Dir && f.MTime.After(base.ConfigNewest) {
			base.ConfigNewest, base.ConfigNewestIn = f.MTime, f.Path
		}
	}
	if err != nil {
		// What is hidden is said field by field: all else is known.
		out.Reason = err.Error()
		if !errors.Is(err, errHidden) {
			out.Status = rules.Failed
		}
	}
	if len(found) == 0 {
		base.Examined = true
		out.Rows = append(out.Rows, base)
	}
	for i, d := range found {
		s, g := base, parseArgs(d.args)
		s.Running, s.PID, s.Options, s.Examined = true, int64(d.pid), g.shown, i == examined
		if g.file != "" {
			s.ConfigFile = g.file
		}
		if s.Examined {
			s.Loaded, s.LoadedKnown = d.loaded(r.host.Root, r.conf.Effective(nil)["pidfile"])
			s.Unloaded = s.LoadedKnown && s.ConfigNewest.After(s.Loaded.Add(slack))
		} else {
			s.ConfigNewest, s.ConfigNewestIn = time.Time{}, "" // its files are not read
		}
		out.Rows = append(out.Rows, s)
	}
	return out
}
