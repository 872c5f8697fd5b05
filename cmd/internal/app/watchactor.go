package app

import (
	"fmt"

	"intact/rules"
	"intact/scanner/actor"
	"intact/scanner/entry"
	"intact/scanner/watch"
)

// blame says who caused a finding about a file, as far as the watcher knows. It is
// information: nothing is judged by it.
func (l *look) blame(f *rules.Finding) {
	if l == nil || l.who == nil || f.Subject.Path == "" || f.Change == "" {
		return
	}
	list, more := l.who(entry.Path(f.Subject.Path))
	if len(list) == 0 && !more && f.From != "" {
		list, more = l.who(entry.Path(f.From))
	}
	for i := range list {
		f.Actors = append(f.Actors, actorOf(&list[i]))
	}
	f.ActorsMore = more
}

// actorOf is a process as a report has it.
func actorOf(a *actor.Actor) rules.Actor {
	if !a.Live {
		return rules.Actor{PID: int64(a.PID)}
	}
	out := rules.Actor{
		Live: true, PID: int64(a.PID), Exe: a.Exe, Command: a.Command, Cut: a.Cut,
		UID: int64(a.UID), EUID: int64(a.EUID), Login: int64(a.LoginUID), Cgroup: a.Cgroup, Unit: a.Unit, Manager: a.Manager,
	}
	if a.LoginUID == actor.NoUser {
		out.Login = -1
	}
	for _, p := range a.Parents {
		out.Parents = append(out.Parents, rules.Ancestor{PID: int64(p.PID), Exe: p.Exe})
	}
	return out
}

// source says what is watched, and by what.
func (w *watching) source() string {
	kind, why := w.w.Backend()
	if kind == watch.Fanotify {
		return fmt.Sprintf("mounts watched: %d, by fanotify", w.w.Watches())
	}
	text := fmt.Sprintf("directories watched: %d, by inotify", w.w.Watches())
	if why != "" {
		text += ": " + why
	}
	return text
}
