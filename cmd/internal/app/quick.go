package app

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// settled is how much older than a scan the times of a file must be for that
// scan to have seen all that was written under them. Clocks of file systems
// tick in up to two seconds; and the kernel stamps a file when a clean page of
// its map is first written, not when a dirty one is written again, which stays
// dirty for half a minute as kernels are set up, and for minutes on laptops.
const settled = 10 * time.Minute

// quick is what a check reads of the content, and what is known afterwards of
// when it was read. A check that does not trust anything has one too, to keep
// the ages.
type quick struct {
	on    bool // --quick: files may be trusted
	set   config.Quick
	start time.Time // of the scan
	ages  *baseline.Ages
	note  string // why there were no ages that could be used

	whole [baseline.AgeBuckets]bool // every file of these is read
	keeps map[entry.Path]bool       // by mount point and "/": whether files there keep their times
	told  *marks                    // what the last check reported

	doubtful [baseline.AgeBuckets]bool // a file of these must be read until it is as it was, or accepted

	used  [baseline.AgeBuckets]atomic.Bool // a file of these was trusted
	files atomic.Int64                     // files with content that were delivered
}

// newQuick decides what this check reads. With an export there are no ages and
// nothing is kept: nil.
func (c *check) newQuick() (*quick, error) {
	if c.o.Baseline != "" {
		return nil, nil
	}
	q := &quick{on: c.o.Quick, set: c.cfg.Quick, start: c.paper.head.Started}
	var err error
	if q.ages, err = c.store.Ages(c.gen.Statement()); err != nil {
		q.ages = baseline.NewAges()
		switch {
		case !errors.Is(err, fs.ErrNotExist):
			q.note = err.Error() + ": everything was read"
		case q.on:
			q.note = "it is not known when files were last read: everything was read"
		}
	}
	random := c.env.Random
	if random == nil {
		random = rand.Reader
	}
	q.choose(random)
	if !q.on {
		return q, nil
	}
	if q.told, err = c.reported(q.ages); err != nil {
		q.note = fmt.Sprintf("what the last check reported cannot be read (%v): everything was read", err)
		q.readAll()
	}
	q.keeps, err = steady(c.root)
	return q, err
}

// choose picks the buckets that are read whole: those whose time is too long
// ago, or in the future, and a share of all that cannot be foretold.
func (q *quick) choose(random io.Reader) {
	if !q.on {
		q.readAll()
		return
	}
	q.due()
	var order [baseline.AgeBuckets]int
	for i := range order {
		order[i] = i
	}
	n := (baseline.AgeBuckets*q.set.Share + 99) / 100
	for i := range n { // the beginning of a shuffle
		var b [8]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			q.readAll()
			return
		}
		j := i + int(binary.LittleEndian.Uint64(b[:])%uint64(len(order)-i))
		order[i], order[j] = order[j], order[i]
		q.whole[order[i]] = true
	}
}

// due picks the buckets that must be read whatever chance says and returns
// their number.
func (q *quick) due() (n int) {
	oldest := q.start.AddDate(0, 0, -q.set.Every)
	for i, t := range q.ages.Read {
		if t.Before(oldest) || t.After(q.start) {
			q.whole[i] = true
			n++
		}
	}
	return n
}

func (q *quick) readAll() { q.whole = everyBucket }

// everyBucket has all of them. It is never changed.
var everyBucket = func() (all [baseline.AgeBuckets]bool) {
	for i := range all {
		all[i] = true
	}
	return all
}()

// trust is scanner.Options.Trust; nil reads everything.
func (q *quick) trust() func(entry.Path, *entry.Entry) bool {
	if q == nil || !q.on {
		return nil
	}
	return func(dir entry.Path, old *entry.Entry) bool {
		p := dir.Join(old.Name)
		m := q.ages.Mark(p)
		b := m[0]
		before := q.ages.Read[b].Add(-settled)
		limit := entry.Time{Sec: before.Unix(), Nsec: uint32(before.Nanosecond())}
		if q.whole[b] || !old.Ctime.Before(limit) || !old.Mtime.Before(limit) || q.told.has(m) || !q.steady(p) {
			return false
		}
		q.used[b].Store(true)
		return true
	}
}

// steady reports whether p lies where files keep their times.
func (q *quick) steady(p entry.Path) bool {
	for {
		if keeps, ok := q.keeps[p]; ok {
			return keeps
		}
		if p == "/" {
			return false
		}
		p = p.Dir()
	}
}

// steady says of every mount, by its point, whether its file system stamps
// every write with a change time that nobody can set. FAT has none, tmpfs does
// not stamp what is written through a map, an image that was made anew may have
// the times and inodes of the old one, and an overlay has those of what lies
// below. What is not known to do it does not.
func steady(r *dirfd.Root) (map[entry.Path]bool, error) {
	keeps := func(m *dirfd.Mount) bool {
		return m != nil && slices.Contains([]string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs"}, m.FSType)
	}
	root := r.Dir()
	defer root.Release()
	var st dirfd.Stat
	if err := root.StatSelf(&st); err != nil {
		return nil, fmt.Errorf("look at the root: %w", err)
	}
	out := map[entry.Path]bool{"/": keeps(r.Mounts().ByID(st.Mount))}
	for _, m := range r.Mounts().Below() {
		out[m.Point] = keeps(m)
	}
	return out, nil
}

// marks is a set of paths that may hold a few more than were put in, in the
// same memory however many these are. nil is empty.
type marks struct{ bits [1 << 17]uint64 }

func (m *marks) at(d digest.Digest) (word *uint64, bit uint64) {
	n := binary.LittleEndian.Uint32(d[1:]) % uint32(64*len(m.bits))
	return &m.bits[n/64], 1 << (n % 64)
}

func (m *marks) add(d digest.Digest) {
	word, bit := m.at(d)
	*word |= bit
}

func (m *marks) has(d digest.Digest) bool {
	if m == nil {
		return false
	}
	word, bit := m.at(d)
	return *word&bit != 0
}

// reported marks what the last check found changed: it is read again whatever
// its times say now, so that no finding ends unread.
func (c *check) reported(a *baseline.Ages) (*marks, error) {
	sum, err := c.lastPending()
	if err != nil || sum == (digest.Digest{}) {
		return nil, err
	}
	set, err := c.store.OpenPending(sum)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	m := &marks{}
	for ch, err := range set.Changes() {
		if err != nil {
			return nil, err
		}
		for _, p := range []entry.Path{ch.Path, ch.From} {
			if p != "" {
				m.add(a.Mark(p))
			}
		}
	}
	return m, nil
}

// readSink counts the files of a scan whose content is compared.
type readSink struct {
	scanner.Sink
	files *atomic.Int64
}

// Dir implements scanner.Sink.
func (s *readSink) Dir(w int, b *entry.Block) error {
	var n int64
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Kind == entry.File && e.Have&entry.Content != 0 {
			n++
		}
	}
	s.files.Add(n)
	return s.Sink.Dir(w, b)
}

// keepAges notes what this check read. It runs when all is judged, so that a
// check that broke off leaves the ages as they were.
func (c *check) keepAges() error {
	q := c.quick
	if q == nil || c.o.NoState {
		return nil
	}
	next := c.nextAges()
	if *next == *q.ages {
		return nil
	}
	return c.putAges(next, c.gen.Statement())
}

// nextAges are the ages behind this check.
func (c *check) nextAges() *baseline.Ages {
	q := c.quick
	next := *q.ages
	// What was not seen was not read, and it may be in any bucket.
	if !c.partial() && c.result.Counts().Unseen == 0 {
		for b, whole := range q.whole {
			if whole {
				next.Read[b] = q.start
			}
		}
		if q.whole == everyBucket {
			next.VerifyAll(q.start)
		}
	}
	for b, doubtful := range q.doubtful {
		if doubtful {
			next.Read[b] = time.Time{}
		}
	}
	return &next
}

// doubt marks the bucket of a file that a quick check must read until it is as
// it was or accepted.
func (q *quick) doubt(ch *diff.Change) {
	if q != nil && unread(ch) {
		q.doubtful[q.ages.Mark(ch.Path)[0]] = true
	}
}

// unread reports whether a file could not be read, or has other content under
// the times that the baseline knows. A quick check that trusted those would
// pass over it: its bucket counts as never read.
func unread(ch *diff.Change) bool {
	a, b := ch.Old, ch.New
	if a == nil || a.Kind != entry.File || a.Have&entry.Content == 0 {
		return false
	}
	switch ch.Kind {
	case diff.Unverified:
		return true
	case diff.Changed:
		same := b.Kind == entry.File && a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime && a.Inode == b.Inode && a.Device == b.Device
		return same && (b.Have&entry.Content == 0 || a.Digest != b.Digest)
	}
	return false
}

// putAges writes the ages. Where they cannot be written there must be none, and
// the next quick check reads everything: the run itself is none the worse.
func (s *session) putAges(a *baseline.Ages, st *statement.Statement) error {
	err := s.store.PutAges(a, st)
	if err == nil {
		return nil
	}
	if gone := s.store.DropAges(st); gone != nil {
		return errors.Join(err, gone)
	}
	s.env.warn("%v: the next quick check will read everything", err)
	return nil
}

// freshAges notes that all that a new generation holds was just read.
func (s *session) freshAges(st *statement.Statement, start time.Time) error {
	a := baseline.NewAges()
	for i := range a.Read {
		a.Read[i] = start
	}
	a.VerifyAll(start)
	return s.putAges(a, st)
}

// outcome is what the report says of a quick check, nil for any other.
func (q *quick) outcome(st scanner.Stats) *report.Quick {
	if q == nil || !q.on {
		return nil
	}
	out := &report.Quick{Trusted: st.Trusted, Files: q.files.Load(), Share: int64(q.set.Share), Every: int64(q.set.Every)}
	for b := range q.used {
		if t := q.ages.Read[b]; q.used[b].Load() && (out.Oldest.IsZero() || t.Before(out.Oldest)) {
			out.Oldest = t
		}
	}
	return out
}
