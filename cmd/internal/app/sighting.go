package app

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"intact/baseline/diff"
	"intact/scanner"
	"intact/scanner/entry"
)

// What a timeline sorts on disk, twice. First by place, to be held against the
// baseline, which is read in the same order:
//
//	uint32 len(key of the directory) ‖ key ‖ uint32 len(name) ‖ name ‖ tag [‖ facts ‖ target]
//
// then by time:
//
//	seconds, with the sign turned ‖ nanoseconds ‖ uint32 len(key) ‖ key of the path ‖ macb ‖ marks ‖ facts
//
// Numbers are big-endian, so that bytes in order are numbers in order.
const (
	tagPending = iota // the last check reported a change; before what was seen there
	tagPassed         // seen, and none of its times matters
	tagSeen           // seen, with facts
)

// seenFacts is the part of an entry that a timeline knows and shows.
type seenFacts struct {
	Kind                entry.Kind
	Have                entry.Attr
	Mode                uint16
	UID, GID, Nlink     uint32
	Size                int64
	Inode, Device, Rdev uint64
	Mtime, Ctime, Btime entry.Time
}

// factsSize is the length of encoded facts.
var factsSize = binary.Size(seenFacts{})

func appendFacts(b []byte, e *entry.Entry) []byte {
	f := seenFacts{e.Kind, e.Have & (statAttrs | entry.Btime), e.Mode, e.UID, e.GID, e.Nlink, e.Size, e.Inode, e.Device, e.Rdev, e.Mtime, e.Ctime, e.Btime}
	b, _ = binary.Append(b, binary.BigEndian, &f) // its size is fixed
	return b
}

// errSighting says that a temporary file does not hold what was written.
var errSighting = errors.New("read what was sorted: a record is malformed")

func (f *seenFacts) read(b []byte) (rest []byte, err error) {
	n, err := binary.Decode(b, binary.BigEndian, f)
	if err != nil {
		return nil, errSighting
	}
	return b[n:], nil
}

// entry returns the facts as an entry without a name.
func (f *seenFacts) entry() *entry.Entry {
	return &entry.Entry{Kind: f.Kind, Have: f.Have, Mode: f.Mode, UID: f.UID, GID: f.GID, Nlink: f.Nlink, Size: f.Size,
		Inode: f.Inode, Device: f.Device, Rdev: f.Rdev, Mtime: f.Mtime, Ctime: f.Ctime, Btime: f.Btime}
}

// spot is where an object stands, in the order of a baseline.
type spot struct{ dir, name []byte }

func (s spot) compare(t spot) int {
	return cmp.Or(bytes.Compare(s.dir, t.dir), bytes.Compare(s.name, t.name))
}

// path returns the path of s.
func (s spot) path() (entry.Path, error) {
	dir, _, err := entry.ParseKey(s.dir)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errSighting, err)
	}
	if len(s.name) == 0 {
		return dir, nil
	}
	return dir.Join(s.name), nil
}

// appendField appends b behind its length.
func appendField(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// cutField is the inverse of appendField; nil, nil where it cannot be.
func cutField(b []byte) (field, rest []byte) {
	if len(b) < 4 {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint32(b))
	if n > len(b)-4 {
		return nil, nil
	}
	return b[4 : 4+n : 4+n], b[4+n:]
}

func appendSpot(dst []byte, dir entry.Path, name []byte, tag byte) []byte {
	at := len(dst)
	dst = dir.AppendKey(append(dst, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return append(appendField(dst, name), tag)
}

func cutSpot(b []byte) (s spot, tag byte, rest []byte) {
	s.dir, b = cutField(b)
	s.name, b = cutField(b)
	if len(b) == 0 {
		return s, tagPassed, nil
	}
	return s, b[0], b[1:]
}

func compareSpots(a, b []byte) int {
	x, xTag, _ := cutSpot(a)
	y, yTag, _ := cutSpot(b)
	return cmp.Or(x.compare(y), cmp.Compare(xTag, yTag))
}

// sightings is the sink of a timeline's scan.
type sightings struct {
	window  window
	all     bool           // what lies outside of the window is noted as well
	workers []*diff.Sorter // by worker
	gaps    *gapList
	seen    []int64 // entries by worker
}

func newSightings(dir string, workers, memory int, win window, all bool, gaps *gapList) *sightings {
	s := &sightings{window: win, all: all, gaps: gaps, seen: make([]int64, workers)}
	for range workers {
		s.workers = append(s.workers, diff.NewSorter(dir, memory/workers, compareSpots))
	}
	return s
}

// Dir implements scanner.Sink.
func (s *sightings) Dir(w int, b *entry.Block) error {
	s.seen[w] += int64(len(b.Entries))
	for i := range b.Entries {
		e := &b.Entries[i]
		if !s.window.any(e) {
			if !s.all {
				continue
			}
			if err := s.workers[w].Add(func(dst []byte) []byte { return appendSpot(dst, b.Dir, e.Name, tagPassed) }); err != nil {
				return err
			}
			continue
		}
		err := s.workers[w].Add(func(dst []byte) []byte {
			return append(appendFacts(appendSpot(dst, b.Dir, e.Name, tagSeen), e), e.Target...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Gap implements scanner.Sink.
func (s *sightings) Gap(_ int, g scanner.Gap) error {
	s.gaps.add(g)
	return nil
}

// count returns the number of entries that were seen.
func (s *sightings) count() (n int64) {
	for _, k := range s.seen {
		n += k
	}
	return n
}

func (s *sightings) close() (err error) {
	for _, w := range s.workers {
		err = errors.Join(err, w.Close())
	}
	return err
}
