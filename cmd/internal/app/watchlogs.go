package app

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"time"

	"intact/baseline"
	"intact/baseline/ledger"
	"intact/report"
	"intact/rules/logs"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// logMemory is what a watcher saw of logs since the newest entry of the ledger.
// Each look is held against it. It becomes an entry with the next report that the
// watcher writes, at the latest with its heartbeat.
type logMemory struct {
	number uint64 // of the entry that it goes on from
	sum    digest.Digest
	time   time.Time
	logs   []ledger.Log // nil: nothing was seen
	by     map[entry.Path]*ledger.Log
	dirty  bool // it differs from that entry

	looked map[entry.Path]time.Time // when a log was read
	due    map[entry.Path]time.Time // logs that grew, and when they are read
}

// recall takes what the watcher saw since the entry that the newest report names.
// It reports whether there is anything: a check may have written another since.
func (m *logMemory) recall(b *logBook) bool {
	if m == nil || m.logs == nil || m.number != b.number || m.sum != b.previous {
		return false
	}
	b.knows(&ledger.Entry{Time: m.time, Logs: m.logs})
	return true
}

// keep notes what a look saw.
func (m *logMemory) keep(b *logBook, began time.Time) {
	if b == nil || b.number == 0 || b.restart {
		m.logs, m.by, m.dirty = nil, nil, false // a check tells what is wrong, and begins anew
		return
	}
	changed := b.moved()
	went := m.number == b.number && m.sum == b.previous
	m.number, m.sum = b.number, b.previous
	m.dirty = changed || went && m.dirty
	if b.wrote {
		m.number, m.dirty = uint64(b.out.Entry), false
		m.sum, _ = digest.Parse(b.out.Digest) // of our own making
	}
	m.logs, m.time, m.by = b.next, began, make(map[entry.Path]*ledger.Log, len(b.next))
	for i := range m.logs {
		m.by[m.logs[i].Path] = &m.logs[i]
	}
	if m.looked == nil {
		m.looked, m.due = map[entry.Path]time.Time{}, map[entry.Path]time.Time{}
	}
	for dir, list := range b.seen {
		for i := range list {
			p := dir.Join([]byte(list[i].name))
			m.looked[p] = began
			delete(m.due, p)
		}
	}
	for p := range m.looked {
		if m.by[p] == nil {
			delete(m.looked, p)
		}
	}
}

// moved reports whether a look saw anything of logs that was not known.
func (b *logBook) moved() bool {
	return b.last == nil || !reflect.DeepEqual(b.next, b.last.Logs)
}

// Reading of logs that only grow is spread: one that was just read is read again
// when as much time has passed as its size takes at readPace bytes a second.
const (
	readPace   = 20 << 20
	readLatest = time.Minute
)

// postpones reports whether a log is read later: it is the file that it was, and
// no shorter.
func (m *logMemory) postpones(p entry.Path, now time.Time) bool {
	at := m.looked[p].Add(min(time.Duration(m.by[p].Length)*time.Second/readPace, readLatest))
	if !now.Before(at) {
		return false
	}
	m.due[p] = at
	return true
}

// ripe are the logs whose time has come.
func (m *logMemory) ripe(now time.Time) (list []entry.Path) {
	for p, at := range m.due {
		if !now.Before(at) {
			list = append(list, p)
			delete(m.due, p)
		}
	}
	return list
}

// withKin leaves out logs that are read later, and adds the generations of those
// that did not just grow: where their content went is looked for there.
func (c *check) withKin(sc *scope, gen *baseline.Generation, places []entry.Path) (out []entry.Path) {
	m, decide, sets := c.watch.logs, sc.eff.Decider(), sc.eff.Sets()
	log := func(p entry.Path) bool {
		at := decide(p)
		return at.Select && sets[at.Set].Log
	}
	h := hotPlaces{session: c.session, eff: sc.eff, gen: gen}
	have := map[entry.Path]bool{}
	add := func(p entry.Path) {
		if !have[p] {
			have[p] = true
			out = append(out, p)
		}
	}
	for _, p := range places {
		if !log(p) {
			add(p)
			continue
		}
		kind, grown := c.grew(p)
		switch {
		case grown && m.postpones(p, time.Now()):
		case grown || kind == entry.Dir:
			add(p)
		default:
			add(p)
			dir := p.Dir()
			names := h.names(dir)
			for q := range m.by {
				if q.Dir() == dir {
					names = append(names, q.Base())
				}
			}
			for _, n := range names {
				if q := dir.Join([]byte(n)); logs.Kin(n, p.Base()) && log(q) {
					add(q)
				}
			}
		}
	}
	return out
}

// grew reports whether what stands at p is the log that was seen there, and no
// shorter.
func (c *check) grew(p entry.Path) (kind entry.Kind, grown bool) {
	at, n, _, err := c.root.Reach(p)
	if err != nil || n == nil {
		return 0, false
	}
	defer at.Release()
	var st dirfd.Stat
	if err := at.Stat(n, false, &st); err != nil {
		return 0, false
	}
	l := c.watch.logs.by[p]
	return st.Kind, l != nil && !l.Gone && st.Kind == entry.File && st.Inode == l.Inode && st.Btime == l.Born && (l.Journal != nil || st.Size >= l.Length)
}

// beatLogs names an entry of the ledger in a heartbeat: a new one where the
// watcher saw more than the last one has.
func (w *watching) beatLogs(ctx context.Context, s *session, p *paper) (*report.Logs, error) {
	host, err := s.store.HostID()
	if err != nil {
		return nil, err
	}
	named, _, err := s.lastLogs(ctx, host)
	if err != nil || named == nil {
		return nil, err
	}
	m := &w.logs
	if sum, err := digest.Parse(named.Digest); err != nil || !m.dirty || uint64(named.Entry) != m.number || sum != m.sum {
		return &report.Logs{Entry: named.Entry, Digest: named.Digest, Logs: named.Logs, State: report.LogsFollow}, nil
	}
	b := &logBook{number: m.number, previous: m.sum, next: m.logs}
	if err := s.putLogs(p, b); err != nil {
		return nil, err
	}
	return b.out, nil
}

// saved notes that the report of a heartbeat is there.
func (m *logMemory) saved(l *report.Logs) {
	if l == nil || !m.dirty {
		return
	}
	if sum, err := digest.Parse(l.Digest); err == nil && uint64(l.Entry) == m.number+1 {
		m.number, m.sum, m.dirty = uint64(l.Entry), sum, false
	}
}

// sortLogs puts logs in the order of the tree.
func sortLogs(list []ledger.Log) {
	slices.SortFunc(list, func(x, y ledger.Log) int { return bytes.Compare(x.Path.Key(), y.Path.Key()) })
}
