// Package journaltest writes files of the systemd journal for tests: small, and
// as journald lays them out. Hashes are others than its; nothing here reads them.
package journaltest

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"strings"

	"intact/scanner/journal"
)

const (
	buckets   = 7
	dataLeast = 64
	firstSize = 272
)

// File is a journal that is written.
type File struct {
	B       []byte // all of it
	compact bool
	data    map[string]uint64
	fields  map[string]uint64
	tables  [2]uint64         // where the buckets of data and of fields are
	tails   map[uint64][2]int // by the place of a link to arrays: the last array, items in it
	last    uint64            // object
	Seq     uint64            // the number of the next entry
	Time    uint64            // its time
}

// New begins a file. id tells files apart, seqnum those of one sequence; seq is the
// number of the first entry.
func New(id, seqnum byte, seq uint64, compact bool) *File {
	f := &File{B: make([]byte, firstSize), compact: compact, data: map[string]uint64{}, fields: map[string]uint64{}, tails: map[uint64][2]int{},
		Seq: seq, Time: 1_700_000_000_000_000 + seq*1_000_000}
	copy(f.B, "LPKSHHRH")
	if compact {
		f.B[12] = 1<<4 | 1<<2
	}
	copy(f.B[24:40], bytes.Repeat([]byte{id}, 16))
	copy(f.B[40:56], bytes.Repeat([]byte{0xaa}, 16))
	copy(f.B[72:88], bytes.Repeat([]byte{seqnum}, 16))
	f.put(88, firstSize)
	for i, kind := range []byte{5, 4} { // fields first, as journald
		at := f.object(kind, make([]byte, buckets*16))
		f.tables[1-i] = at + 16
		f.put(uint64(120-16*i), at+16)
		f.put(uint64(128-16*i), buckets*16)
	}
	return f
}

func (f *File) put(at, v uint64)        { binary.LittleEndian.PutUint64(f.B[at:], v) }
func (f *File) word(at uint64) uint64   { return binary.LittleEndian.Uint64(f.B[at:]) }
func (f *File) add(at uint64, n uint64) { f.put(at, f.word(at)+n) }

// SetState says whether somebody writes.
func (f *File) SetState(s journal.State) *File { f.B[16] = byte(s); return f }

// Entries is how many there are.
func (f *File) Entries() uint64 { return f.word(152) }

func (f *File) object(kind byte, body []byte) uint64 {
	at := uint64(len(f.B))
	head := make([]byte, 16)
	head[0] = kind
	binary.LittleEndian.PutUint64(head[8:], uint64(16+len(body)))
	f.B = append(append(f.B, head...), body...)
	f.B = append(f.B, make([]byte, -len(f.B)&7)...)
	f.last = at
	f.put(96, uint64(len(f.B))-firstSize)
	f.put(136, at)
	f.add(144, 1)
	return at
}

func sum(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// chain puts an object into its bucket; next is where its link is.
func (f *File) chain(table, hash, at uint64) {
	b := table + hash%buckets*16
	if f.word(b) == 0 {
		f.put(b, at)
	} else {
		f.put(f.word(b+8)+24, at)
	}
	f.put(b+8, at)
}

func (f *File) datum(text string) uint64 {
	if at, ok := f.data[text]; ok {
		return at
	}
	n := 48
	if f.compact {
		n += 8
	}
	b := make([]byte, n, n+len(text))
	binary.LittleEndian.PutUint64(b, sum(text))
	at := f.object(1, append(b, text...))
	f.chain(f.tables[0], sum(text), at)
	name, _, _ := strings.Cut(text, "=")
	field, ok := f.fields[name]
	if !ok {
		b := make([]byte, 24, 24+len(name))
		binary.LittleEndian.PutUint64(b, sum(name))
		field = f.object(2, append(b, name...))
		f.chain(f.tables[1], sum(name), field)
		f.fields[name] = field
	}
	f.put(at+32, f.word(field+32))
	f.put(field+32, at)
	f.data[text] = at
	return at
}

// link appends an entry to the arrays that begin at the link.
func (f *File) link(link, entry uint64) (array uint64, items int) {
	item := 8
	if f.compact {
		item = 4
	}
	t, ok := f.tails[link]
	size := 0
	if ok {
		size = (int(f.word(uint64(t[0])+8)) - 24) / item
	}
	if !ok || t[1] == size {
		at := f.object(6, make([]byte, 8+max(4, 2*size)*item))
		if ok {
			f.put(uint64(t[0])+16, at)
		} else {
			f.put(link, at)
		}
		t = [2]int{int(at), 0}
	}
	at := t[0] + 24 + t[1]*item
	if f.compact {
		binary.LittleEndian.PutUint32(f.B[at:], uint32(entry))
	} else {
		f.put(uint64(at), entry)
	}
	t[1]++
	f.tails[link] = t
	return uint64(t[0]), t[1]
}

// Append writes an entry with these fields, each NAME=VALUE.
func (f *File) Append(fields ...string) *File {
	var of []uint64
	for _, s := range fields {
		of = append(of, f.datum(s))
	}
	b := make([]byte, 48)
	binary.LittleEndian.PutUint64(b, f.Seq)
	binary.LittleEndian.PutUint64(b[8:], f.Time)
	for i, at := range of {
		if f.compact {
			b = binary.LittleEndian.AppendUint32(b, uint32(at))
		} else {
			b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, at), sum(fields[i]))
		}
	}
	at := f.object(3, b)
	f.link(176, at)
	if f.Entries() == 0 {
		f.put(168, f.Seq)
		f.put(184, f.Time)
	}
	f.add(152, 1)
	f.put(160, f.Seq)
	f.put(192, f.Time)
	for _, d := range of {
		if f.word(d+40) == 0 {
			f.put(d+40, at)
		} else if a, n := f.link(d+48, at); f.compact {
			binary.LittleEndian.PutUint32(f.B[d+64:], uint32(a))
			binary.LittleEndian.PutUint32(f.B[d+68:], uint32(n))
		}
		f.add(d+56, 1)
	}
	f.Seq++
	f.Time += 1_000_000
	return f
}

// Unlist takes the first entry out of the list of all: no reader shows it.
func (f *File) Unlist() {
	at := f.word(176) + 24
	item := uint64(8)
	if f.compact {
		item = 4
	}
	copy(f.B[at:at+item], f.B[at+item:at+2*item])
}
