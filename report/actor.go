package report

import (
	"fmt"
	"strconv"
	"strings"

	"intact/rules"
)

// The words of how far an actor is known.
const (
	live    = "live"
	unknown = "unknown"
)

// actors writes or reads who caused a change, left out where nobody told.
func actors(f *rules.Finding, c *coder) {
	if c.has("actors", len(f.Actors) > 0) {
		elements(c, "actors", &f.Actors, func(a *rules.Actor) { actor(a, c) })
		c.demand(len(f.Actors) > 0, "actors")
	}
	mark(c, "actors_more", &f.ActorsMore)
}

// mark is a flag that is left out where it is not set.
func mark(c *coder, name string, v *bool) {
	if c.has(name, *v) {
		c.boolean(name, v)
		c.demand(*v, name)
	}
}

func actor(a *rules.Actor, c *coder) {
	c.open()
	confidence := unknown
	if a.Live {
		confidence = live
	}
	c.word("confidence", &confidence, live, unknown)
	a.Live = confidence == live
	if c.has("pid", a.PID > 0) {
		c.number("pid", &a.PID)
		c.demand(a.PID > 0, "pid")
	}
	if a.Live {
		c.optional("exe", &a.Exe)
		c.texts("command", &a.Command, false)
		mark(c, "command_cut", &a.Cut)
		c.number("uid", &a.UID)
		c.number("euid", &a.EUID)
		if c.has("login_uid", a.Login >= 0) {
			c.number("login_uid", &a.Login)
		} else if c.reading {
			a.Login = -1
		}
		c.optional("cgroup", &a.Cgroup)
		c.optional("unit", &a.Unit)
		if c.has("parents", len(a.Parents) > 0) {
			elements(c, "parents", &a.Parents, func(p *rules.Ancestor) {
				c.open()
				c.number("pid", &p.PID)
				c.optional("exe", &p.Exe)
				c.close()
			})
			c.demand(len(a.Parents) > 0, "parents")
		}
		c.optional("package_manager", &a.Manager)
	}
	c.close()
}

// actors prints who did it.
func (t *text) actors(f *rules.Finding) {
	for i := range f.Actors {
		a := &f.Actors[i]
		if !a.Live {
			t.detail("by", unnamed(a.PID))
			continue
		}
		said := []string{"process " + strconv.FormatInt(a.PID, 10), "user " + t.value("uid", strconv.FormatInt(a.UID, 10), true)}
		if a.EUID != a.UID {
			said = append(said, "as "+t.value("uid", strconv.FormatInt(a.EUID, 10), true))
		}
		if a.Login >= 0 {
			said = append(said, "logged in as "+t.value("uid", strconv.FormatInt(a.Login, 10), true))
		}
		if a.Unit != "" {
			said = append(said, ShellQuote(a.Unit))
		} else if a.Cgroup != "" {
			said = append(said, "in "+ShellQuote(a.Cgroup))
		}
		if a.Manager != "" {
			said = append(said, "package manager "+ShellQuote(a.Manager))
		}
		t.detail("by", program(a.Exe)+" ("+strings.Join(said, ", ")+")")
		if len(a.Command) > 0 {
			t.detail("", "it says: "+commandText(a))
		}
		if len(a.Parents) > 0 {
			var up []string
			for _, p := range a.Parents {
				up = append(up, program(p.Exe))
			}
			t.detail("", "below "+strings.Join(up, ", below "))
		}
	}
	if f.ActorsMore {
		t.detail("", "and others")
	}
}

// unnamed is a process that ended, or ran another program, before it could be read.
func unnamed(pid int64) string {
	if pid <= 0 {
		return "not known"
	}
	return fmt.Sprintf("not known: process %d was gone or another program by then", pid)
}

// program is what a process runs; the kernel's own processes run no file. Quoted,
// no name can go on as if it were ours.
func program(exe string) string {
	if exe == "" {
		return "the kernel"
	}
	return ShellQuote(exe)
}

func commandText(a *rules.Actor) string {
	var s []string
	for _, w := range a.Command {
		s = append(s, ShellQuote(w))
	}
	if a.Cut {
		s = append(s, "…")
	}
	return strings.Join(s, " ")
}
