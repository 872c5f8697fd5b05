package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// join goes through what was seen, what the baseline has and what the last
// check reported, all in one order, and gives each object with a time in the
// window, and each that is gone, to page.
func (t *timeline) join(ctx context.Context, seen *sightings, p *page) error {
	old := &stored{}
	if t.gen != nil {
		pending, err := t.reported(p)
		if err != nil {
			return err
		}
		defer pending.Close()
		seen.workers = append(seen.workers, pending)
		old.next, old.stop = iter.Pull2(t.gen.Entries())
		defer old.stop()
		if err := old.advance(); err != nil {
			return err
		}
	}
	now := timeOf(t.env.Now())
	var reported spot // the last one that the pending set has
	n := 0
	for b, err := range diff.Merge(seen.workers...) {
		if err != nil {
			return err
		}
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return canceled(ctx)
		}
		at, tag, rest := cutSpot(b)
		if tag == tagPending {
			reported = spot{slices.Clone(at.dir), slices.Clone(at.name)}
			continue
		}
		for old.entry != nil && old.at.compare(at) < 0 {
			if err := t.missing(old, p); err != nil {
				return err
			}
		}
		var was *entry.Entry
		if old.entry != nil && old.at.compare(at) == 0 {
			was = old.entry
		}
		if tag == tagSeen {
			if err := t.judged(at, rest, was, at.compare(reported) == 0, now, p); err != nil {
				return err
			}
		}
		if was != nil {
			if err := old.advance(); err != nil {
				return err
			}
		}
	}
	for old.entry != nil {
		if err := t.missing(old, p); err != nil {
			return err
		}
	}
	return nil
}

// judged marks one object and gives it to page.
func (t *timeline) judged(at spot, rest []byte, was *entry.Entry, reported bool, now entry.Time, p *page) error {
	var f seenFacts
	target, err := f.read(rest)
	if err != nil {
		return err
	}
	path, err := at.path()
	if err != nil {
		return err
	}
	e := f.entry()
	e.Target = target
	m := timesSet(e, now)
	switch {
	case t.gen == nil:
		m |= report.MarkUnknown
	case was != nil:
		mask := t.gen.Sets()[was.Set].For(was.Kind) & statAttrs
		if reported || entry.Differ(was, e, mask) != 0 {
			m |= report.MarkChanged
		}
	case t.covered(path, e):
		m |= report.MarkNew
		if !t.vouched(path, e) {
			m |= report.MarkUnvouched
		}
	default:
		m |= report.MarkUnknown
	}
	return p.add(path, e, m)
}

// covered reports whether the baseline would have p if it had been there.
func (t *timeline) covered(p entry.Path, e *entry.Entry) bool {
	d := t.accept.eff.Decide(p)
	if !d.Select || t.was.has(p) {
		return false
	}
	return !t.accept.eff.Sets()[d.Set].Sweep || scanner.SweepKeeps(e.Kind, e.Mode)
}

// vouched reports whether somebody accounts for an object that the baseline
// does not have. A person does so with accept, and then the baseline has it;
// what packages own is not known here yet: this is where that comes in.
func (t *timeline) vouched(entry.Path, *entry.Entry) bool { return false }

// timesSet says what the times of e show about themselves. A modification time
// before the birth is that of every unpacked file.
func timesSet(e *entry.Entry, now entry.Time) (m report.Mark) {
	times := [...]struct {
		a entry.Attr
		t entry.Time
	}{{entry.Mtime, e.Mtime}, {entry.Ctime, e.Ctime}, {entry.Btime, e.Btime}}
	for _, x := range times {
		if e.Have&x.a != 0 && now.Before(x.t) {
			m |= report.MarkFuture
		}
	}
	if e.Have&entry.Btime == 0 {
		return m
	}
	if e.Ctime.Before(e.Btime) {
		m |= report.MarkBeforeBirth
	}
	if e.Mtime.Nsec == 0 && e.Ctime.Nsec != 0 && e.Mtime.Before(e.Btime) {
		m |= report.MarkWholeSecond
	}
	return m
}

// missing gives page the baseline's entry if it can be said to be gone, and
// goes to the next one.
func (t *timeline) missing(old *stored, p *page) error {
	path, err := old.at.path()
	if err != nil {
		return err
	}
	if !t.blind.has(path) && t.list.eff.Decide(path).Select {
		if err := p.addGone(path, old.entry); err != nil {
			return err
		}
	}
	return old.advance()
}

// stored walks the entries of a generation. entry is nil at the end and valid
// until the next advance.
type stored struct {
	next  func() (*entry.Block, error, bool)
	stop  func()
	block *entry.Block
	i     int
	at    spot
	entry *entry.Entry
}

func (s *stored) advance() error {
	s.i++
	for s.block == nil || s.i >= len(s.block.Entries) {
		b, err, more := s.next()
		if err != nil {
			return err
		}
		if !more {
			s.entry = nil
			return nil
		}
		s.block, s.i, s.at.dir = b, 0, b.Dir.AppendKey(s.at.dir[:0])
	}
	s.entry = &s.block.Entries[s.i]
	s.at.name = s.entry.Name
	return nil
}

// reported sorts the paths that the last check found changed, if it compared
// with the baseline that is in force.
func (t *timeline) reported(p *page) (out *diff.Sorter, err error) {
	out = diff.NewSorter(p.sorterDir(), t.memory/4, compareSpots)
	sum, err := t.lastPending()
	if err != nil || sum == (digest.Digest{}) {
		return out, err
	}
	set, err := t.store.OpenPending(sum)
	if err != nil {
		if !errors.Is(err, baseline.ErrNoPending) {
			t.env.warn("what the last check reported cannot be read: %v", err)
		}
		return out, nil
	}
	defer set.Close()
	if set.Header.Root != t.gen.Root() {
		return out, nil // since then something was accepted
	}
	for c, err := range set.Changes() {
		if err != nil {
			return out, errors.Join(fmt.Errorf("what the last check reported: %w", err), out.Close())
		}
		if c.Kind != diff.Changed && c.Kind != diff.Replaced {
			continue
		}
		err := out.Add(func(dst []byte) []byte { return appendSpot(dst, c.Path.Dir(), []byte(c.Path.Base()), tagPending) })
		if err != nil {
			return out, errors.Join(err, out.Close())
		}
	}
	return out, nil
}

// page takes marked objects in the order of the tree and prints them in that of
// time.
type page struct {
	*timeline
	view    *report.Timeline
	sorter  *diff.Sorter
	objects int64 // with a time in the window
	gone    int64
}

// timeSize is the length of an encoded time.
const timeSize = 8 + 4

func appendTime(b []byte, t entry.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Sec)^1<<63)
	return binary.BigEndian.AppendUint32(b, t.Nsec)
}

// lastTime stands behind every time that there is.
var lastTime = slices.Repeat([]byte{0xff}, timeSize)
