package journal

import (
	"encoding/binary"
	"hash/maphash"
	"io"
)

// What bounds the memory that checking links takes: buckets of a hash table, and
// chains of arrays that go on at a time. What is beyond is not checked.
const (
	maxBuckets = 1 << 21
	maxChains  = 1 << 18
	maxHops    = 4096 // arrays from the first to the one that has the last entry
)

// chain is one bucket of a hash table: the object that must come next in it.
type chain struct{ next, tail, last uint64 }

// index checks that the links of a journal lead to each object, in one pass over
// the objects. An entry that no link leads to is one that no reader of the
// journal shows.
//
// Links point to objects that stand behind them or before; so two sums are kept
// of each kind, over what is there and over what is pointed to, under a random
// key, and compared at the end.
type index struct {
	h       *header
	settled bool // nobody writes: all links count
	off     bool // its writer was stopped: no link counts
	limit   uint64
	seed    maphash.Seed

	byData, byField []chain // nil: not checked

	main       uint64 // the next array that lists all entries
	entries    sum    // that are there
	listed     sum    // that main lists
	chains     map[uint64]owner
	some       bool // chains are too many
	refer      uint64
	referred   uint64
	counted    uint64
	count      uint64
	data       uint64
	dataListed uint64
}

// sum is over a list, in its order.
type sum struct{ n, of uint64 }

// owner is a datum whose array stands at a place.
type owner struct{ data, tail, items uint64 }

func newIndex(k *reader, settled, unclean bool) (*index, error) {
	x := &index{h: &k.h, settled: settled, off: unclean, seed: maphash.MakeSeed(), main: k.h.firstOfArrays, chains: map[uint64]owner{}}
	if unclean {
		return x, nil
	}
	for _, t := range []struct {
		table
		into *[]chain
	}{{k.h.dataHash, &x.byData}, {k.h.fieldHash, &x.byField}} {
		if n := t.size / 16; n > 0 && n <= maxBuckets && t.size <= k.h.end {
			*t.into = make([]chain, n)
		}
	}
	var err error
	x.limit, err = x.last(k.in.r)
	return x, err
}

// pair is a number for two offsets that nobody can foretell.
func (x *index) pair(a, b uint64) uint64 { return maphash.Comparable(x.seed, [2]uint64{a, b}) }

// weight is odd, so that no two counts of a datum weigh the same.
func (x *index) weight(data uint64) uint64 { return x.pair(data, 2) | 1 }

func (x *index) add(s *sum, at uint64) {
	s.n++
	s.of = x.pair(s.of, at)
}

// last returns the offset up to which entries are linked for certain: that of the
// last one, or of the one before it where somebody writes.
func (x *index) last(r io.ReaderAt) (uint64, error) {
	n := x.h.Entries
	if !x.settled && n > 0 {
		n-- // its links may be on their way
	}
	if n == 0 {
		return 0, nil
	}
	item := x.h.item()
	at := x.h.firstOfArrays
	for range maxHops {
		var b [24]byte
		if at < x.h.start || at%8 != 0 || at > x.h.end-24 {
			return 0, malformed(at, "an array that lists entries %d and on", x.h.Entries-n)
		}
		if _, err := r.ReadAt(b[:], int64(at)); err != nil {
			return 0, err
		}
		size := binary.LittleEndian.Uint64(b[8:])
		if b[0] != typeArray || size <= 24 || size > x.h.end-at {
			return 0, malformed(at, "no array, where one lists all entries")
		}
		if held := (size - 24) / item; n > held {
			n -= held
			next := binary.LittleEndian.Uint64(b[16:])
			if next <= at {
				return 0, malformed(at, "an array that lists entries goes on at %d", next)
			}
			at = next
			continue
		}
		var v [8]byte
		if _, err := r.ReadAt(v[:item], int64(at+24+(n-1)*item)); err != nil {
			return 0, err
		}
		return binary.LittleEndian.Uint64(v[:]), nil
	}
	return 0, malformed(at, "more than %d arrays list the entries", maxHops)
}

// follow takes an object at its place in its bucket.
func (x *index) follow(buckets []chain, at, hash, next uint64) error {
	if buckets == nil {
		return nil
	}
	c := &buckets[hash%uint64(len(buckets))]
	if c.next != at {
		return malformed(at, "no hash table leads here")
	}
	c.next, c.last = next, at
	return nil
}

// datum takes a datum, b is what stands behind its object header.
func (x *index) datum(at uint64, b []byte) error {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	if err := x.follow(x.byData, at, word(0), word(8)); err != nil {
		return err
	}
	x.data += x.pair(at, 1)
	if p := word(16); p != 0 {
		x.dataListed += x.pair(p, 1)
	}
	if e := word(24); e != 0 && e <= x.limit {
		x.referred += x.pair(at, e)
	}
	o := owner{data: at}
	if len(b) >= 56 {
		o.tail, o.items = uint64(binary.LittleEndian.Uint32(b[48:])), uint64(binary.LittleEndian.Uint32(b[52:]))
	}
	if a := word(32); a != 0 {
		x.goesOn(a, o)
	} else if x.settled && o.tail|o.items != 0 {
		return malformed(at, "a last array, and no first")
	}
	x.counted += word(40) * x.weight(at)
	return nil
}

func (x *index) goesOn(at uint64, o owner) {
	if x.off {
		return
	}
	if len(x.chains) == maxChains {
		x.some = true
		return
	}
	x.chains[at] = o
}

func (x *index) field(at uint64, b []byte) error {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	if p := word(16); p != 0 {
		x.dataListed += x.pair(p, 1)
	}
	return x.follow(x.byField, at, word(0), word(8))
}

func (x *index) entry(at uint64) {
	if at <= x.limit {
		x.add(&x.entries, at)
	}
}

// refers takes that the entry at a place has a datum.
func (x *index) refers(at, data uint64) {
	if at <= x.limit {
		x.refer += x.pair(data, at)
	}
	x.count += x.weight(data)
}

// listing is an array that is being read.
type listing struct {
	x     *index
	at    uint64
	next  uint64
	all   bool // it lists all entries
	of    owner
	known bool
	items uint64
	ended bool // behind the last item
	hole  bool
}

func (x *index) array(at, next uint64) *listing {
	l := &listing{x: x, at: at, next: next, all: at == x.main}
	if l.all {
		x.main = next
		return l
	}
	if l.of, l.known = x.chains[at]; l.known {
		delete(x.chains, at)
		if next != 0 {
			x.goesOn(next, l.of)
		}
	}
	return l
}

func (l *listing) holds(entry uint64) {
	if entry == 0 {
		l.ended = true
		return
	}
	l.hole = l.hole || l.ended
	l.items++
	switch x := l.x; {
	case l.all && (x.settled || entry <= x.limit):
		x.add(&x.listed, entry)
	case l.known && (x.settled || entry <= x.limit):
		x.referred += x.pair(l.of.data, entry)
	}
}

func (l *listing) close() error {
	x := l.x
	switch {
	case x.off:
	case l.hole && (l.all || l.known):
		return malformed(l.at, "an array of entries with a hole")
	case l.known && l.next == 0 && x.settled && l.of.tail != 0 && (l.of.tail != l.at || l.of.items != l.items):
		return malformed(l.of.data, "another array is said to be the last")
	case l.next != 0 && l.next <= l.at && (l.all || l.known):
		return malformed(l.at, "an array that goes on at %d", l.next)
	}
	return nil
}

// close compares what is there with what the links lead to.
func (x *index) close() error {
	if x.off {
		return nil
	}
	for _, buckets := range [][]chain{x.byData, x.byField} {
		for i := range buckets {
			c := &buckets[i]
			if x.settled && (c.next != 0 || c.tail != c.last) {
				return malformed(c.next, "bucket %d of a hash table leads to what is no such object", i)
			}
		}
	}
	switch {
	case x.entries != x.listed:
		return malformed(x.h.firstOfArrays, "the list of all entries has %d, and %d are there", x.listed.n, x.entries.n)
	case x.some:
		return nil
	case x.refer != x.referred:
		return malformed(x.h.start, "data are not listed with the entries that have them")
	case !x.settled:
		return nil
	case x.main != 0 || len(x.chains) > 0:
		return malformed(x.main, "a list of entries goes on where nothing is")
	case x.count != x.counted:
		return malformed(x.h.start, "data are counted as of other entries than have them")
	case x.data != x.dataListed:
		return malformed(x.h.start, "fields are not linked with their data")
	}
	return nil
}
