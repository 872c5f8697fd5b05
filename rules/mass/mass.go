// Package mass tells mass encryption: many files of several kinds whose content
// looks like random bytes at once, where their names promise text or a known
// format. It judges what it is given, in bounded memory, and does no I/O.
package mass

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"intact/scanner/entry"
)

// What counts as mass encryption.
const (
	// Window is how long a file counts: encryptors take milliseconds a file, people
	// seconds.
	Window = time.Minute
	// MinFiles of MinKinds in MinDirs: more than a person does in a minute, and
	// more than one program that renews its own files does. Nothing that is known
	// turns texts of two kinds into random bytes by the dozen.
	MinFiles, MinKinds, MinDirs = 20, 2, 2
	// FlatFiles are enough whatever their kinds and directories: a folder of
	// documents of one kind.
	FlatFiles = 100
	// Again is how many times as many files as were told are told once more.
	Again = 10
	// maxEvents bounds what is remembered: about 20 MB. The oldest go.
	maxEvents = 100_000
)

const (
	maxKinds    = 8 // that a Verdict names
	maxExamples = 3
)

// Burst is what happened within the window. The zero value is not usable. It is for
// one goroutine.
type Burst struct {
	window time.Duration // 0: without end
	seed   maphash.Seed
	events [New + 1][]event // of each role, in the order they came
	known  map[uint64]bool  // of whom there is an event
	past   int              // files of this burst that no longer count
	told   int              // files, when it was told last
	since  time.Time        // when the first of this burst came
}

type event struct {
	at   time.Time
	of   entry.Path
	kind string
	id   uint64
}

// NewBurst returns one in which files count for window; 0: for ever.
func NewBurst(window time.Duration) *Burst {
	return &Burst{window: window, seed: maphash.MakeSeed(), known: map[uint64]bool{}}
}

// Add counts a candidate that was seen at now: one that is gone, or whose content is
// encrypted. A file counts once.
func (b *Burst) Add(c *Candidate, now time.Time) {
	b.expire(now)
	id := maphash.String(b.seed, string(c.Of))
	if b.known[id] {
		return
	}
	if len(b.known) >= maxEvents {
		b.drop(c.Role)
	}
	b.known[id] = true
	of := entry.Path(strings.Clone(string(c.Of)))
	b.events[c.Role] = append(b.events[c.Role], event{now, of, c.Kind.Label, id})
}

// drop forgets the oldest event of a role, or of another that has more.
func (b *Burst) drop(r Role) {
	for o := range b.events {
		if len(b.events[o]) > len(b.events[r]) {
			r = Role(o)
		}
	}
	delete(b.known, b.events[r][0].id)
	b.events[r] = b.events[r][1:]
}

// expire forgets what no longer counts.
func (b *Burst) expire(now time.Time) {
	if b.window == 0 {
		return
	}
	old := func(e event) bool { return now.Sub(e.at) > b.window }
	if !slices.ContainsFunc(b.events[:], func(list []event) bool { return len(list) > 0 && old(list[0]) }) {
		return
	}
	before := b.count().files
	for r, list := range b.events {
		n := 0
		for n < len(list) && old(list[n]) {
			delete(b.known, list[n].id)
			n++
		}
		b.events[r] = slices.Clone(list[n:]) // the rest is garbage
	}
	left := b.count().files
	if left == 0 { // it is over
		b.told = 0
	}
	if b.past += before - left; b.told == 0 {
		b.past = 0
	}
}

// tally is what counts now.
type tally struct {
	files    int
	kinds    map[string]int
	dirs     map[entry.Path]bool
	common   entry.Path
	examples []entry.Path
	since    time.Time
}

func (t *tally) add(e *event) {
	dir := e.of.Dir()
	if t.files++; t.files == 1 {
		t.common, t.since = dir, e.at
	}
	if e.at.Before(t.since) {
		t.since = e.at
	}
	for dir != t.common && !dir.Under(t.common) {
		t.common = t.common.Dir()
	}
	t.dirs[dir] = true
	t.kinds[e.kind]++
	if len(t.examples) < maxExamples {
		t.examples = append(t.examples, e.of)
	}
}

func (b *Burst) count() tally {
	t := tally{kinds: map[string]int{}, dirs: map[entry.Path]bool{}}
	for i := range b.events[Lost] {
		t.add(&b.events[Lost][i])
	}
	if len(b.events[New]) == 0 {
		return t
	}
	left := map[entry.Path]int{}
	for i := range b.events[New] {
		left[b.events[New][i].of.Dir()]++
	}
	for i := range b.events[Gone] {
		e := &b.events[Gone][i]
		if dir := e.of.Dir(); left[dir] > 0 {
			left[dir]--
			t.add(e)
		}
	}
	return t
}

// KindCount is how many files promised one kind.
type KindCount struct {
	Kind  string
	Files int
}

// Verdict is a mass encryption.
type Verdict struct {
	Files    int         // of the whole burst
	Kinds    []KindCount // within the window, the most first; at most eight
	NumKinds int
	Dirs     int          // directories, within the window
	Common   entry.Path   // the deepest directory above all of them
	Examples []entry.Path // three at most, any bytes
	Since    time.Time    // when the first was seen
}

// Judge returns the mass encryption that there is at now, false where there is
// none, and where it was told and has not grown tenfold since.
func (b *Burst) Judge(now time.Time) (v Verdict, tell bool) {
	b.expire(now)
	t := b.count()
	if b.told == 0 {
		b.since = t.since
	}
	files := t.files + b.past
	if b.told > 0 {
		tell = files >= b.told*Again
	} else {
		tell = files >= FlatFiles || files >= MinFiles && len(t.kinds) >= MinKinds && len(t.dirs) >= MinDirs
	}
	if !tell {
		return v, false
	}
	v = Verdict{Files: files, NumKinds: len(t.kinds), Dirs: len(t.dirs), Common: t.common, Examples: t.examples, Since: b.since}
	for _, k := range slices.Sorted(maps.Keys(t.kinds)) {
		v.Kinds = append(v.Kinds, KindCount{k, t.kinds[k]})
	}
	slices.SortStableFunc(v.Kinds, func(x, y KindCount) int { return cmp.Compare(y.Files, x.Files) })
	v.Kinds = v.Kinds[:min(len(v.Kinds), maxKinds)]
	return v, true
}

// Told says that a report has v.
func (b *Burst) Told(v Verdict) { b.told = v.Files }
