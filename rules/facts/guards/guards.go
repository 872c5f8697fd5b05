// Package guards reads which programs on a host throttle who guesses passwords
// of sshd, and whether they are set up to: fail2ban, CrowdSec and sshguard.
// What OpenSSH does about it itself is in the facts about sshd.
package guards

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/units"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Guard is one such program that is installed.
type Guard struct {
	Tool         string   `cel:"tool"`    // fail2ban, crowdsec or sshguard
	Enabled      bool     `cel:"enabled"` // its units start by themselves
	EnabledKnown bool     `cel:"enabled_known"`
	Covers       bool     `cel:"covers"` // it is set up to watch sshd and to do something
	CoversKnown  bool     `cel:"covers_known"`
	CoversAt     string   `cel:"covers_at"` // file:line that says so, "" if none does
	Running      bool     `cel:"running"`   // now, by its socket or its control group
	RunningKnown bool     `cel:"running_known"`
	Why          []string `cel:"why"` // what is missing
}

// Key tells guards apart.
func (g Guard) Key() string { return fmt.Sprintf("%q", g.Tool) }

func (g *Guard) lacks(format string, args ...any) {
	if len(g.Why) < 8 {
		g.Why = append(g.Why, fmt.Sprintf(format, args...))
	}
}

// Bounds of what is read.
const (
	maxFile  = 1 << 20
	maxTotal = 32 << 20
	maxNames = 4096     // in one folder
	maxValue = 1 << 14  // of an option that goes over several lines
	maxUnix  = 32 << 20 // of /proc/net/unix
)

// collector reads the files of the guards.
type collector struct {
	ctx     context.Context
	h       facts.Host
	units   facts.Answer[units.Unit]
	sockets map[string]bool // that are listened on, nil where that is not known
	total   int64
	problem error
}

// Collect tells of the guards that are installed. what are the units of the
// host, as package units has them.
func Collect(ctx context.Context, h facts.Host, what facts.Answer[units.Unit]) facts.Answer[Guard] {
	return collect(ctx, h, what, listening(h, facts.HostProc()))
}

func collect(ctx context.Context, h facts.Host, what facts.Answer[units.Unit], sockets map[string]bool) facts.Answer[Guard] {
	c := &collector{ctx: ctx, h: h, units: what, sockets: sockets}
	a := facts.Answer[Guard]{Rows: []Guard{}, Status: rules.OK, Via: "configuration of guards"}
	for _, tool := range []func() (Guard, bool){c.fail2ban, c.crowdsec, c.sshguard} {
		if ctx.Err() != nil {
			c.fail(ctx.Err())
			break
		}
		if g, there := tool(); there {
			a.Rows = append(a.Rows, g)
		}
	}
	if c.problem != nil {
		a.Status, a.Reason = facts.AnswerStatus(c.problem), c.problem.Error()
	}
	return a
}

func (c *collector) fail(err error) {
	if c.problem == nil {
		c.problem = err
	}
}

// read gives a file's bytes; ok is false where it is not there.
func (c *collector) read(p entry.Path) (b []byte, ok bool) {
	b, err := c.h.Root.ReadFile(p, min(maxFile, max(0, maxTotal-c.total)))
	c.total += int64(len(b))
	if err != nil {
		if !facts.Missing(err) {
			c.fail(fmt.Errorf("%s: %w", p, err))
		}
		return nil, false
	}
	return b, true
}

// exists reports whether a path leads to something.
func (c *collector) exists(p entry.Path) bool {
	_, _, ok, err := c.h.Root.Resolve(p)
	if err != nil && !facts.Missing(err) {
		c.fail(fmt.Errorf("%s: %w", p, err))
	}
	return ok && err == nil
}

// folder lists the files of a folder that end in suffix, sorted.
func (c *collector) folder(dir entry.Path, suffix string) (out []entry.Path) {
	err := c.h.Root.List(dir, func(name string, _ entry.Kind) error {
		if len(out) >= maxNames {
			return fmt.Errorf("over %d files", maxNames)
		}
		if strings.HasSuffix(name, suffix) && name[0] != '.' {
			out = append(out, dir.Join([]byte(name)))
		}
		return nil
	})
	if err != nil && !facts.Missing(err) {
		c.fail(fmt.Errorf("%s: %w", dir, err))
	}
	slices.Sort(out)
	return out
}

// unit sets Enabled and Running by the first of the units that is there.
func (c *collector) unit(g *Guard, names ...string) {
	g.EnabledKnown = c.units.Status == rules.OK || c.units.Status == rules.Absent
	for _, n := range names {
		i := slices.IndexFunc(c.units.Rows, func(u units.Unit) bool { return u.Name == n })
		if i < 0 {
			continue
		}
		u := c.units.Rows[i]
		g.Enabled, g.EnabledKnown = u.State == "enabled", true
		g.Running, g.RunningKnown = u.Running, u.RunningKnown
		if !g.Enabled {
			g.lacks("%s is %s", n, u.State)
		}
		return
	}
	g.lacks("no unit %s", names[0])
}

// socket sets Running by the socket that a guard listens on: the kernel's table,
// since a file may be left over from a process that is gone.
func (c *collector) socket(g *Guard, paths ...string) {
	if c.sockets == nil {
		return
	}
	g.Running, g.RunningKnown = slices.ContainsFunc(paths, func(p string) bool { return c.sockets[p] }), true
}

// listening reads which paths of sockets somebody listens on (unix(7)).
func listening(h facts.Host, proc facts.Proc) map[string]bool {
	if !h.Live {
		return nil
	}
	root, err := dirfd.Open(proc.Dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	b, err := root.ReadFile("/self/net/unix", maxUnix)
	if err != nil {
		return nil
	}
	return unixTable(string(b))
}

// unixTable takes the table apart: Num RefCount Protocol Flags Type St Inode Path.
func unixTable(s string) map[string]bool {
	const accepts = "00010000" // __SO_ACCEPTCON
	out := map[string]bool{}
	for l := range strings.Lines(s) {
		f := strings.Fields(l)
		if len(f) == 8 && f[3] == accepts && strings.HasPrefix(f[7], "/") {
			out[f[7]] = true
		}
	}
	return out
}
