package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/report"
	"intact/scanner/digest"
)

// pastReport has the ends of one stored report.
type pastReport struct {
	report.Stored
	head report.Header
	tail report.Trailer
	err  error
}

// maxAge is how old the last good scan may be: one that runs every night and
// was missed once.
const maxAge = 48 * time.Hour

// lastReports says when the host was last looked at, and what came of it.
func (d *doctor) lastReports() {
	list, err := d.archive().List()
	if err != nil {
		d.problem("list", "run intact as the user it belongs to", "%v", err)
		return
	}
	var bytes int64
	for _, r := range list {
		bytes += r.Size
	}
	d.ok("kept", "%s, %s", counted(len(list), "report"), size(bytes))
	for _, r := range list[max(0, len(list)-lookedBack):] {
		t := pastReport{Stored: r}
		t.head, t.tail, t.err = r.Ends()
		d.reports = append(d.reports, t)
	}
	if n := len(list); n > 0 {
		switch err := d.signed(list[n-1]); {
		case err != nil:
			d.problem("chain", "intact report verify", "the last report: %v", err)
		case d.trustErr == nil:
			d.ok("chain", "the last report is signed as it should be; intact report verify reads all of them")
		}
	}
	d.lastScan(list)
	d.unfinished()
	d.waiting(list)
}

// signed says what is wrong with the signature of a report. Where nobody knows
// who may sign, nothing is.
func (d *doctor) signed(r report.Stored) error {
	if d.trustErr != nil {
		return nil
	}
	_, _, err := d.readJudged(d.ctx, r)
	return err
}

// ended reports whether a run came to its end, with or without gaps.
func ended(t report.Trailer) bool {
	return t.Verdict == report.Clean || t.Verdict == report.Findings || t.Verdict == report.Incomplete
}

// lastScan finds the newest full check that looked at everything.
func (d *doctor) lastScan(list []report.Stored) {
	expected := fmt.Sprintf("expected is a full check at least every %d hours", int(maxAge.Hours()))
	fix := "intact check, from a timer or cron"
	if d.gen == nil && len(list) == 0 {
		return // nothing to expect yet
	}
	said := false
	for i := len(list) - 1; i >= 0; i-- {
		h, t, err := list[i].Ends()
		if err != nil || h.Kind != report.KindCheck && h.Kind != report.KindImage && h.Kind != report.KindInit || h.Scope != report.ScopeFull || !ended(t) {
			continue
		}
		if d.signed(list[i]) != nil {
			continue // whoever can write there can invent one
		}
		if !t.Complete {
			if !said {
				d.note("gaps", fmt.Sprintf("intact report show %d; mend what it could not read, or intact init --force", h.Seq),
					"report %d (%s) of %s, %s: not everything could be read", h.Seq, h.Kind, when(t.Finished), t.Verdict)
			}
			said = true
			continue
		}
		age := d.now.Sub(t.Finished)
		text := fmt.Sprintf("the last complete one is report %d (%s) of %s, %s old: %s", h.Seq, h.Kind, when(t.Finished), ago(age), t.Verdict)
		switch {
		case age > maxAge:
			d.problem("last scan", fix, "%s; %s", text, expected)
		case t.Verdict == report.Findings:
			d.note("last scan", "intact report show; what is right: intact accept", "%s, %s", text, counted(int(t.Counts.Total()), "finding"))
		case h.Kind == report.KindInit:
			d.note("last scan", fix, "%s; no check since", text)
		default:
			d.ok("last scan", "%s, %s unverified, %s", text, fmt.Sprint(t.Counts.Unverified), counted(int(t.Counts.KnownGaps), "known gap"))
		}
		if q := t.Quick; q != nil && q.Trusted > 0 {
			d.note("quick", "intact check, without --quick, from time to time", "it left %d of %d files unread, the oldest since %s", q.Trusted, q.Files, when(q.Oldest))
		}
		return
	}
	d.problem("last scan", fix, "no complete full check is kept that is signed as it should be; %s", expected)
}

// unfinished tells of runs that ended without a report. One that runs now holds
// the lock.
func (d *doctor) unfinished() {
	list := d.archive().Unfinished()
	running := locked(filepath.Join(d.store.Dir(), "lock"))
	switch {
	case len(list) > 0 && running:
		d.ok("running", "a command runs just now; it is to write report %d", list[len(list)-1])
	case len(list) > 0:
		d.note("unfinished", "intact check", "a run ended without its report %d: killed, or the disk was full", list[len(list)-1])
	case running:
		d.ok("running", "a command runs just now")
	}
}

// locked reports whether somebody holds a flock(2) on file, as far as
// proc_locks(5) says. Taking it to find out would disturb who wants it.
func locked(file string) bool {
	var st unix.Stat_t
	b, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(file, &st) != nil {
		return false
	}
	return holds(string(b), unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
}

// holds looks for a lock on an inode in the text of /proc/locks, whose lines
// are "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END", the device in
// hexadecimal. A line with -> waits for a lock.
func holds(text string, major, minor uint32, inode uint64) bool {
	want := fmt.Sprintf("%02x:%02x:%d", major, minor, inode)
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 6 && f[1] == "FLOCK" && f[5] == want {
			return true
		}
	}
	return false
}

// waiting says what the newest check left to be accepted.
func (d *doctor) waiting(list []report.Stored) {
	for i := len(list) - 1; i >= 0; i-- {
		h, t, err := list[i].Ends()
		if err != nil || h.Kind == report.KindInit {
			if err == nil {
				return // it started over
			}
			continue
		}
		if h.Scope != report.ScopeFull || h.Kind == report.KindAccept || !ended(t) {
			continue
		}
		if t.Pending == "" {
			d.ok("pending", "nothing waits to be accepted")
			return
		}
		d.pendingSet(h, t)
		return
	}
}

func (d *doctor) pendingSet(h report.Header, t report.Trailer) {
	sum, err := digest.Parse(t.Pending)
	var p *baseline.Pending
	if err == nil {
		p, err = d.store.OpenPending(sum)
	}
	if err != nil {
		d.note("pending", "intact check makes another one", "what report %d left to be accepted cannot be read: %v", h.Seq, err)
		return
	}
	defer p.Close()
	n, since := 0, time.Time{}
	for c, err := range p.Encoded() {
		if err != nil {
			d.problem("pending", "intact check makes another one", "%v", err)
			return
		}
		if n++; since.IsZero() || c.FirstSeen.Before(since) {
			since = c.FirstSeen
		}
	}
	rows, err := p.Rows()
	if err != nil {
		d.problem("pending", "intact check makes another one", "%v", err)
		return
	}
	for _, r := range rows {
		if n++; since.IsZero() || r.FirstSeen.Before(since) {
			since = r.FirstSeen
		}
	}
	switch {
	case n == 0:
		d.ok("pending", "nothing waits to be accepted")
	case d.gen != nil && p.Header.Generation < d.gen.Statement().Generation:
		d.note("pending", "intact check says what is left", "%s of report %d, before generation %d was accepted", counted(n, "change"), h.Seq, d.gen.Statement().Generation)
	default:
		d.note("pending", "intact report show, then intact accept or mend the host", "%s since %s, %s", counted(n, "change"), when(since), ago(d.now.Sub(since)))
	}
}

// maxDrift is by how much the clock of the wall may go otherwise than that of
// the boot: a time server sets it once after a boot.
const maxDrift = 5 * time.Minute

// clock holds the clock against everything that has a time.
func (d *doctor) clock() {
	bad := false
	complain := func(format string, args ...any) {
		bad = true
		d.problem("clock", "set the clock (timedatectl), and find out who set it back", format, args...)
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil && d.now.Before(t) {
				complain("it says %s, before this program was made, %s", when(d.now), when(t))
			}
		}
	}
	if d.gen != nil && d.now.Before(d.gen.Statement().Created) {
		complain("it says %s, before the baseline was made, %s", when(d.now), when(d.gen.Statement().Created))
	}
	var moments []moment
	for _, r := range d.reports {
		if r.err == nil {
			moments = append(moments, moment{r.Seq, r.head.Boot.ID, r.head.Started, time.Duration(r.head.Boot.Clock)})
		}
	}
	if n := len(moments); n > 0 && d.now.Before(moments[n-1].wall) {
		complain("it says %s, before report %d, %s", when(d.now), moments[n-1].seq, when(moments[n-1].wall))
	}
	if b := boot(); b.ID != "" {
		moments = append(moments, moment{0, b.ID, d.now, time.Duration(b.Clock)})
	}
	for i := 1; i < len(moments); i++ {
		switch drift, known := drifted(moments[i-1], moments[i]); {
		case known && drift < -maxDrift:
			complain("it was set back by %s behind report %d", ago(-drift), moments[i-1].seq)
		case known && drift > maxDrift:
			d.note("clock", "", "it was set forward by %s behind report %d", ago(drift), moments[i-1].seq)
		case !known && moments[i].wall.Before(moments[i-1].wall) && moments[i].seq != 0:
			complain("report %d says an earlier time than the one before it", moments[i].seq)
		}
	}
	if !bad {
		d.ok("clock", "%s UTC, behind everything that was reported", when(d.now))
	}
}

// moment is one time by two clocks.
type moment struct {
	seq  uint64 // of the report, 0: now
	boot string
	wall time.Time
	run  time.Duration // since that boot
}

// drifted says by how much the wall clock went further than the boot's between
// two moments; known is false where they are of two boots.
func drifted(a, b moment) (by time.Duration, known bool) {
	if a.boot == "" || a.boot != b.boot || a.run == 0 || b.run == 0 {
		return 0, false
	}
	return b.wall.Sub(a.wall) - (b.run - a.run), true
}

// disk says whether one more generation fits.
func (d *doctor) disk() {
	dir := d.store.Dir()
	var fs unix.Statfs_t
	for err := unix.Statfs(dir, &fs); err != nil; err = unix.Statfs(dir, &fs) {
		if !errors.Is(err, unix.ENOENT) || dir == filepath.Dir(dir) {
			d.problem("space", "run intact as the user it belongs to", "%q: %v", dir, err)
			return
		}
		dir = filepath.Dir(dir) // where it will be made
	}
	free, need := int64(fs.Bavail)*fs.Bsize, int64(1<<20)
	if d.gen != nil {
		need += d.gen.Statement().FileSize
	}
	if list, err := os.ReadDir(filepath.Join(d.store.Dir(), "pending")); err == nil {
		var bytes int64
		for _, e := range list {
			if fi, err := e.Info(); err == nil {
				bytes += fi.Size()
			}
		}
		d.ok("pending sets", "%d, %s", len(list), size(bytes))
	}
	fix := "make room; reports: {count: N} in the configuration keeps fewer"
	switch {
	case free < need:
		d.problem("space", fix, "%s free, and one more generation needs %s", size(free), size(need))
	case free < 3*need:
		d.note("space", fix, "%s free, one more generation needs %s", size(free), size(need))
	default:
		d.ok("space", "%s free, one more generation needs %s", size(free), size(need))
	}
	switch {
	case fs.Files == 0: // a file system without a table of inodes
	case fs.Ffree < 16:
		d.problem("inodes", "remove files there", "%d free", fs.Ffree)
	default:
		d.ok("inodes", "%d free", fs.Ffree)
	}
}
