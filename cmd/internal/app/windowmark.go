package app

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// windowMarks marks the findings of a check that fall into a maintenance window.
// It changes neither what is found nor what comes of it.
type windowMarks struct {
	list []windowMark
	root *dirfd.Root

	dir   entry.Path // that gone asked for last
	at    entry.Time // its answer
	known bool
}

type windowMark struct {
	baseline.Window
	span   window
	signer string
	marked int64
}

// readWindows takes the windows that count. What is wrong with the others is a
// finding, for as long as they are there.
func (c *check) readWindows() error {
	c.windows.root = c.root
	if c.o.Baseline != "" {
		return nil // they are of this host, and what is compared may not be
	}
	var bad []string
	host, err := c.store.HostID()
	if err != nil {
		return err
	}
	list, err := c.session.windows(host)
	if err != nil {
		bad = append(bad, err.Error())
	}
	for _, w := range list {
		by, err := c.judgeWindow(&w)
		if err != nil {
			bad = append(bad, fmt.Sprintf("maintenance window %s is not signed as it should be: %v", w.ID, err))
			continue
		}
		span := window{since: timeOf(w.Opened), until: timeOf(w.End())}
		c.windows.list = append(c.windows.list, windowMark{Window: w, span: span, signer: by})
	}
	if len(bad) > 0 {
		bad = append(bad, fmt.Sprintf("it marks nothing: find out who wrote it, then move %q away", c.store.WindowsPath()))
		c.trusts = append(c.trusts, trustFinding("trust.window", rules.High, "windows", bad...))
	}
	return nil
}

// mark notes in a finding about a file that its change falls into a window. seen
// is when a check saw the change first.
func (m *windowMarks) mark(f *rules.Finding, seen time.Time) {
	if len(m.list) == 0 || f.Diff == nil {
		return
	}
	t, known := m.changed(f.Diff, timeOf(seen))
	if !known {
		return
	}
	for i := range m.list {
		if w := &m.list[i]; w.span.has(t) {
			f.Window = w.ID
			w.marked++
			return
		}
	}
}

// changed returns when a change was made: the change time of what is there. Of
// what is gone it is the latest time that it can have been: when a check first
// missed it, or when something was last done to the folder that it was in.
func (m *windowMarks) changed(c *diff.Change, seen entry.Time) (entry.Time, bool) {
	if c.Kind == diff.Removed {
		if t, known := m.gone(c.Path.Dir()); known && t.Before(seen) {
			return t, true
		}
		return seen, true
	}
	if c.Kind == diff.Unverified || c.New == nil || c.New.Have&entry.Ctime == 0 {
		return entry.Time{}, false
	}
	return c.New.Ctime, true
}

// gone returns the change time of dir, or of the folder nearest above it that is
// still there. File systems that can hang are not asked.
func (m *windowMarks) gone(dir entry.Path) (entry.Time, bool) {
	if dir == m.dir {
		return m.at, m.known
	}
	m.dir, m.known = dir, false
	for p := dir; ; p = p.Dir() {
		at, _, _, err := m.root.Reach(p.Join([]byte("x"))) // opens p
		if err == nil {
			var st dirfd.Stat
			if err = at.StatSelf(&st); err == nil {
				m.at, m.known = st.Ctime, true
			}
			at.Release()
		}
		if p == "/" || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return m.at, m.known
		}
	}
}

// notes says of each window what fell into it: while it is open, for a day after
// it, and for as long as something is pending that was changed in it.
func (m *windowMarks) notes(now time.Time, total int64) (list []report.Note) {
	for i := range m.list {
		w := &m.list[i]
		if now.Before(w.Opened) && w.marked == 0 || w.marked == 0 && now.Sub(w.End()) > 24*time.Hour {
			continue
		}
		fall := "fall"
		if w.marked == 1 {
			fall = "falls"
		}
		state := "it is open"
		if !now.Before(w.End()) {
			state = "it has ended; nothing that was changed in it is pending"
			if w.marked > 0 {
				state = fmt.Sprintf("it has ended; still pending of what was changed in it: %d", w.marked)
			}
		}
		list = append(list, report.Note{
			Text: fmt.Sprintf("%d of %s %s into the maintenance window %s of %s to %s UTC, opened by %s, signed by %s: %s; %s",
				w.marked, counted(int(total), "finding"), fall, w.ID, when(w.Opened), when(w.End()), w.OpenedBy, w.signer, w.Reason, state),
			Window: &report.Window{ID: w.ID, From: w.Opened, To: w.End(), Reason: w.Reason},
		})
	}
	return list
}
