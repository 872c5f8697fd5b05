package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"os"

	"intact/baseline/diff"
	"intact/report"
	"intact/scanner/entry"
)

func (p *page) sorterDir() string { return os.TempDir() }

// add takes an object with a time in the window.
func (p *page) add(path entry.Path, e *entry.Entry, m report.Mark) error {
	p.objects++
	if p.o.Format == "bodyfile" {
		return p.view.Body(&report.Moment{Path: path, Entry: e})
	}
	times := [...]struct {
		a     entry.Attr
		which report.MACB
		t     entry.Time
	}{{entry.Mtime, report.Modified, e.Mtime}, {entry.Ctime, report.Changed, e.Ctime}, {entry.Btime, report.Born, e.Btime}}
	var told report.MACB
	for i, x := range times {
		if e.Have&x.a == 0 || told&x.which != 0 || !p.window.has(x.t) {
			continue
		}
		which := x.which
		for _, y := range times[i+1:] {
			if e.Have&y.a != 0 && y.t == x.t {
				which |= y.which
			}
		}
		told |= which
		if err := p.put(appendTime(nil, x.t), path, which, m, e); err != nil {
			return err
		}
	}
	return nil
}

// addGone takes an object of the baseline that is no longer there.
func (p *page) addGone(path entry.Path, e *entry.Entry) error {
	p.gone++
	if p.o.Format == "bodyfile" {
		return nil
	}
	return p.put(lastTime, path, 0, report.MarkGone, e)
}

func (p *page) put(when []byte, path entry.Path, which report.MACB, m report.Mark, e *entry.Entry) error {
	return p.sorter.Add(func(dst []byte) []byte {
		dst = append(dst, when...)
		dst = appendField(dst, path.Key())
		dst = append(dst, byte(which))
		dst = binary.BigEndian.AppendUint16(dst, uint16(m))
		return appendFacts(dst, e)
	})
}

// compareMoments orders by time, then by place in the tree.
func compareMoments(a, b []byte) int {
	x, _ := cutField(a[timeSize:])
	y, _ := cutField(b[timeSize:])
	return cmp.Or(bytes.Compare(a[:timeSize], b[:timeSize]), bytes.Compare(x, y))
}

// print prints what was sorted.
func (p *page) print(ctx context.Context) error {
	if p.o.Format == "bodyfile" {
		return nil
	}
	n := 0
	for b, err := range diff.Merge(p.sorter) {
		if err != nil {
			return err
		}
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return canceled(ctx)
		}
		m, err := parseSorted(b)
		if err != nil {
			return err
		}
		if p.o.Format == "json" {
			err = p.view.JSON(m)
		} else {
			err = p.view.Text(m)
		}
		if err != nil {
			return err
		}
	}
	if p.o.Format == "json" {
		return nil
	}
	return p.view.Legend()
}

// parseSorted is the inverse of put.
func parseSorted(b []byte) (*report.Moment, error) {
	if len(b) < timeSize {
		return nil, errSighting
	}
	m := &report.Moment{Time: entry.Time{Sec: int64(binary.BigEndian.Uint64(b) ^ 1<<63), Nsec: binary.BigEndian.Uint32(b[8:])}}
	key, rest := cutField(b[timeSize:])
	path, _, err := entry.ParseKey(key)
	if err != nil || len(rest) < 3 {
		return nil, errSighting
	}
	m.Path, m.Which, m.Marks = path, report.MACB(rest[0]), report.Mark(binary.BigEndian.Uint16(rest[1:]))
	var f seenFacts
	if _, err := f.read(rest[3:]); err != nil {
		return nil, err
	}
	m.Entry = f.entry()
	return m, nil
}
