package watch

import (
	"slices"

	"intact/scanner/actor"
	"intact/scanner/entry"
)

// What is remembered of who did it, whatever happens on the disk.
const (
	maxByPath    = 4
	maxSuspected = 4096    // paths
	maxByBytes   = 4 << 20 // of paths and processes all together
)

// suspects are who did it, by path. They go with hints and are no reason for one.
type suspects struct {
	paths   map[entry.Path]*suspected
	known   map[*By]struct{}
	bytes   int
	dropped bool // there was more than is remembered
}

type suspected struct {
	list  []*By
	more  bool // than list has
	whole bool // it is about all that lies below the path: a directory was moved
}

func newSuspects() suspects {
	return suspects{paths: map[entry.Path]*suspected{}, known: map[*By]struct{}{}}
}

func (s *suspects) add(p entry.Path, by *By, whole bool) {
	if by == nil {
		return
	}
	at := s.paths[p]
	if at == nil {
		if len(s.paths) >= maxSuspected || s.bytes > maxByBytes {
			s.dropped = true
			return
		}
		at = &suspected{}
		s.paths[p] = at
		s.bytes += len(p)
	}
	at.whole = at.whole || whole
	if slices.ContainsFunc(at.list, func(o *By) bool { return same(o, by) }) {
		return
	}
	if len(at.list) == maxByPath || s.bytes > maxByBytes {
		at.more = true
		return
	}
	if _, ok := s.known[by]; !ok {
		s.known[by] = struct{}{}
		s.bytes += sizeOf(&by.Actor)
	}
	at.list = append(at.list, by)
}

// same reports whether two say the same of one process.
func same(a, b *By) bool {
	return a == b || a.PID == b.PID && a.Live == b.Live && a.Started == b.Started && a.Exe == b.Exe && a.UID == b.UID && slices.Equal(a.Command, b.Command)
}

func sizeOf(a *actor.Actor) int {
	n := 256 + len(a.Exe) + len(a.Cgroup) + len(a.Unit)
	for _, c := range a.Command {
		n += 16 + len(c)
	}
	for _, p := range a.Parents {
		n += 32 + len(p.Exe)
	}
	return n
}

// merge takes those of another one along.
func (s *suspects) merge(o suspects) {
	for p, at := range o.paths {
		for _, by := range at.list {
			s.add(p, by, at.whole)
		}
		if mine := s.paths[p]; mine != nil {
			mine.more = mine.more || at.more
		}
	}
	s.dropped = s.dropped || o.dropped
}

// Who says which processes changed p, as far as it is known: some of them, if more
// is set. None: nobody tells, or what happened is older than the watch. One that
// is not Live has a number only.
func (b Batch) Who(p entry.Path) (list []actor.Actor, more bool) {
	for q := p; ; q = q.Dir() {
		if at := b.who.paths[q]; at != nil && (q == p || at.whole) {
			for _, by := range at.list {
				a := by.told()
				if !slices.ContainsFunc(list, func(o actor.Actor) bool { return !o.Live && !a.Live && o.PID == a.PID }) {
					list = append(list, a)
				}
			}
			more = more || at.more
		}
		if q == "/" {
			break
		}
	}
	if len(list) > maxByPath {
		return list[:maxByPath], true
	}
	return list, more
}

// Dropped reports whether more was known of who did it than Who can say.
func (b Batch) Dropped() bool { return b.who.dropped }
