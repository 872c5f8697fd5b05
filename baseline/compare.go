package baseline

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"intact/baseline/diff"
	"intact/scanner"
	"intact/scanner/entry"
)

// Spool takes changes from worker w. It must keep nothing of c.
type Spool interface {
	Add(w int, c *diff.Change) error
}

// Counts is what a comparison counted besides the changes it gave away. Each
// delivered entry is in Verified, in KnownGaps or has a change; each gap
// without an entry is in KnownGaps, in NewGaps or has a change of kind
// Unverified.
type Counts struct {
	Verified  int64 // entries that are as they were, with everything read
	KnownGaps int64 // entries that are as they were, as far as they could ever be read; and gaps without an entry that the baseline has
	NewGaps   int64 // gaps without an entry that the baseline has not, and that hide nothing of it
	Twice     int64 // changes of kind Unverified about what is below a directory whose own entry was delivered by the same gap and is counted as such
	Unseen    int64 // entries of the baseline that gaps hide: the sum of Change.Count
	Unvisited int64 // stored directories that were neither listed nor hidden: removed
}

// Comparer compares a scan with a generation, directory by directory in any
// order. Its changes go to the spool. Dir and Gap may be called concurrently
// as scanner.Sink says; then Finish, once.
type Comparer struct {
	g       *Generation
	spool   Spool
	seed    maphash.Seed
	workers []compareWorker
	gaps    *gapSet
	err     error
	listed  []uint64 // hashes of the listed directories, sorted; set by Finish
	limit   *entry.Parts
}

var _ scanner.Sink = (*Comparer)(nil)

type compareWorker struct {
	packer
	visited []uint64 // hashes of the keys of the listed directories
	wide    []span
	held    []heldPart
	absent  []entry.Path // see Absent
	old     partRoom
	counts  Counts
	_       [64]byte
}

// span is one delivered part of a directory of several parts.
type span struct {
	dir         entry.Path
	part        uint32
	first, next []byte
}

// heldPart names entries of a stored part that are no longer there. Whether
// they were removed or could not be seen is known when all gaps are.
type heldPart struct {
	dir   entry.Path
	part  uint32
	index []uint16
}

// Compare starts a comparison with a scan of that many workers. Blocks must be
// made under g's attribute sets.
func (g *Generation) Compare(spool Spool, workers int) *Comparer {
	c := &Comparer{g: g, spool: spool, seed: maphash.MakeSeed(), workers: make([]compareWorker, max(workers, 1))}
	rows, err := g.Rows(KindGap)
	c.gaps, c.err = newGapSet(rows), err
	return c
}

// Limit says that only these paths and what lies below them are scanned.
// Nothing is concluded about the rest. It comes before the first Dir.
func (c *Comparer) Limit(paths []entry.Path) { c.limit = entry.NewParts(paths) }

// Absent says that a scan of some paths asked for p, which the baseline has, and
// that no block holds it. In Finish it is gone, or a gap says why it was not seen.
func (c *Comparer) Absent(w int, p entry.Path) {
	c.workers[w].absent = append(c.workers[w].absent, p)
}

// Lose gives a change that was made elsewhere the reason of what it lost.
func (c *Comparer) Lose(ch *diff.Change) {
	if ch.Lost == 0 {
		return
	}
	if ch.Reason = c.gaps.lose(ch.Path); ch.Reason == "" {
		ch.Reason = string(scanner.ReasonUnsupported)
	}
}

// Gap remembers g.
func (c *Comparer) Gap(_ int, g scanner.Gap) error { return c.gaps.add(g) }

// Dir compares one part of a directory. An error wraps ErrDamaged where the
// baseline is to blame.
func (c *Comparer) Dir(w int, b *entry.Block) error {
	if c.err != nil {
		return c.err
	}
	k := &c.workers[w]
	key, packed, err := k.pack(b, c.g.sets)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	dirKey, _ := dirKeyOf(key)
	k.visited = append(k.visited, maphash.Bytes(c.seed, dirKey))
	if b.Part > 0 || b.Next != nil {
		if len(b.Entries) == 0 {
			return fmt.Errorf("compare: directory %q: part %d is empty", b.Dir, b.Part)
		}
		k.wide = append(k.wide, span{b.Dir, b.Part, bytes.Clone(b.Entries[0].Name), bytes.Clone(b.Next)})
	}
	same, err := c.g.same(dirKey, b.Part, packed)
	if err != nil {
		return err
	}
	if same {
		n := c.missing(b.Entries)
		k.counts.KnownGaps += n
		k.counts.Verified += int64(len(b.Entries)) - n
		return nil
	}
	return c.join(w, b, dirKey)
}

// incomplete reports whether something that set compares of e was not read.
func incomplete(e *entry.Entry, set entry.Set) bool { return set.For(e.Kind)&^e.Have != 0 }

func (c *Comparer) missing(list []entry.Entry) (n int64) {
	for i := range list {
		if incomplete(&list[i], c.g.sets[list[i].Set]) {
			n++
		}
	}
	return n
}

// join compares b with the stored entries in its range of names. Stored parts
// are cut elsewhere when names came or went, so each is taken by its range,
// one at a time: the directory may be long.
func (c *Comparer) join(w int, b *entry.Block, dirKey []byte) error {
	now := b.Entries
	var lo []byte
	if b.Part > 0 {
		lo = now[0].Name
	}
	i, err := c.g.partOf(dirKey, lo)
	if err != nil {
		return err
	}
	for {
		old, err := c.g.partIn(&c.workers[w].old, dirKey, i)
		if err != nil {
			return err
		}
		if old == nil {
			return c.joinPart(w, b.Dir, nil, 0, 0, now)
		}
		from, to := between(old.Entries, lo, b.Next)
		if old.Next == nil || b.Next != nil && bytes.Compare(old.Next, b.Next) >= 0 {
			return c.joinPart(w, b.Dir, old, from, to, now)
		}
		_, n := between(now, nil, old.Next)
		if err := c.joinPart(w, b.Dir, old, from, to, now[:n]); err != nil {
			return err
		}
		now = now[n:]
		i++
	}
}

// between returns the bounds of the names in [lo, hi); nil is unbounded.
func between(list []entry.Entry, lo, hi []byte) (from, to int) {
	to = len(list)
	if lo != nil {
		from, _ = search(list, lo)
	}
	if hi != nil {
		to, _ = search(list, hi)
	}
	return from, max(from, to)
}

// joinPart compares old.Entries[from:to] with now. Removed entries are held
// back until Finish.
func (c *Comparer) joinPart(w int, dir entry.Path, old *entry.Block, from, to int, now []entry.Entry) error {
	k := &c.workers[w]
	var was []entry.Entry
	held := heldPart{dir: dir}
	if old != nil {
		was, held.part = old.Entries[from:to], old.Part
	}
	total, missing := int64(len(now)), c.missing(now)
	err := diff.Join(dir, was, now, c.g.sets, c.g.sets, func(ch *diff.Change) error {
		if ch.New == nil {
			i, _ := search(was, ch.Old.Name)
			held.index = append(held.index, uint16(from+i))
			return nil
		}
		total--
		if incomplete(ch.New, ch.NewSet) {
			missing--
		}
		c.Lose(ch)
		return c.spool.Add(w, ch)
	})
	if err != nil {
		return err
	}
	if len(held.index) > 0 {
		k.held = append(k.held, held)
	}
	k.counts.KnownGaps += missing
	k.counts.Verified += total - missing
	return nil
}

// wasListed reports whether a directory was delivered. It is for Finish.
func (c *Comparer) wasListed(dirKey []byte) bool {
	_, ok := slices.BinarySearch(c.listed, maphash.Bytes(c.seed, dirKey))
	return ok
}

// spans returns all delivered parts of long directories in order.
func (c *Comparer) spans() []span {
	var all []span
	for i := range c.workers {
		all = append(all, c.workers[i].wide...)
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.part, b.part)) })
	return all
}
