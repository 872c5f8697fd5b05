// Package journal reads files of the systemd journal as logs. Such a file is
// written in place, in its header, its hash tables and the links between its
// objects, but its objects are only ever appended. Read makes of it a stream of
// what never changes again, which grows at its end alone, and checks that the
// links lead to all of it. Nothing is unpacked and nothing interpreted: an entry
// is its bytes.
//
//	header: ids ─┐
//	object, object, … up to the last entry ─┴→ stream ──► digest of the first bytes, as for any log
//	hash tables, chains, arrays ────────────→ index ────► an error where they lead past an object
//
// The format is that of https://systemd.io/JOURNAL_FILE_FORMAT. Every field is
// taken to be written by an attacker: memory is bounded whatever they say, and
// time by the size of the file.
package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxSize bounds the file, in bytes: what the compact form can address.
const MaxSize = 4 << 30

// ErrMalformed is wrapped by errors about what no writer of a journal leaves.
var ErrMalformed = errors.New("not a journal")

// ID is a 128-bit id of systemd.
type ID [16]byte

func (d ID) String() string { return hex.EncodeToString(d[:]) }

// ParseID reads what String writes.
func ParseID(s string) (d ID, err error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(d) && strings.ToLower(s) == s {
		return ID(b), nil
	}
	return d, fmt.Errorf("%w: %.64q is no id", ErrMalformed, s)
}

// State says whether somebody writes to a file.
type State uint8

// The states. A file that is archived is never written again.
const (
	Offline State = iota
	Online
	Archived
)

// Facts are what the header says of a file, as far as it tells files and their
// entries apart. Times are in microseconds since 1970.
type Facts struct {
	File, Machine, Seqnum ID
	State                 State
	Entries               uint64
	Head, Tail            uint64 // sequence numbers of the first entry and the last
	First, Last           uint64 // when these were written
}

// Named reports whether a file of that name is read as a journal.
func Named(name string) bool { return strings.HasSuffix(name, ".journal") || Unclean(name) }

// Unclean reports whether a name is that of a file that its writer did not close
// and the next one put aside. It is never written again, and may end anywhere.
func Unclean(name string) bool { return strings.HasSuffix(name, ".journal~") }

// Base returns the name of the file that the one of that name was while it was
// written to: system.journal for system@….journal.
func Base(name string) string {
	b := strings.TrimSuffix(strings.TrimSuffix(name, "~"), ".journal")
	b, _, _ = strings.Cut(b, "@")
	return b + ".journal"
}

// Incompatible flags of the header. Data need not be unpacked here.
const (
	flagKeyed   = 1 << 2
	flagCompact = 1 << 4
	flagsKnown  = 1<<0 | 1<<1 | flagKeyed | 1<<3 | flagCompact
)

// headerLeast is the size of the header of the first version that counts: all
// that is needed here stands in it.
const headerLeast = 208

var signature = []byte("LPKSHHRH")

// header is the header, as far as it is used.
type header struct {
	Facts
	incompatible           uint32
	start, end             uint64 // of the objects
	dataHash, fieldHash    table
	last                   uint64 // offset of the last object
	objects, firstOfArrays uint64
}

// table is a hash table: where its buckets begin, and their bytes.
type table struct{ off, size uint64 }

func (h *header) compact() bool { return h.incompatible&flagCompact != 0 }

// item is how many bytes an offset takes in an array of entries, and what an
// entry has of each datum.
func (h *header) item() uint64 {
	if h.compact() {
		return 4
	}
	return 8
}

// ReadFacts reads the header alone.
func ReadFacts(r io.ReaderAt, size int64) (Facts, error) {
	h, err := readHeader(r, size)
	return h.Facts, err
}

func readHeader(r io.ReaderAt, size int64) (h header, err error) {
	var b [headerLeast]byte
	if size > MaxSize {
		return h, fmt.Errorf("%w: larger than %d bytes", ErrMalformed, int64(MaxSize))
	}
	if n, err := r.ReadAt(b[:], 0); n < len(b) {
		if err == io.EOF || err == nil {
			return h, fmt.Errorf("%w: it ends within the header", ErrMalformed)
		}
		return h, err
	}
	if !bytes.Equal(b[:8], signature) {
		return h, fmt.Errorf("%w: another signature", ErrMalformed)
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	h.incompatible = binary.LittleEndian.Uint32(b[12:])
	h.State = State(b[16])
	h.File, h.Machine, h.Seqnum = ID(b[24:40]), ID(b[40:56]), ID(b[72:88])
	h.start = word(88)
	arena := word(96)
	h.dataHash, h.fieldHash = table{word(104), word(112)}, table{word(120), word(128)}
	h.last, h.objects, h.Entries = word(136), word(144), word(152)
	h.Tail, h.Head = word(160), word(168)
	h.firstOfArrays, h.First, h.Last = word(176), word(184), word(192)
	switch {
	case h.incompatible&^flagsKnown != 0:
		err = fmt.Errorf("%w: incompatible flags %#x are not known", ErrMalformed, h.incompatible&^flagsKnown)
	case h.State > Archived:
		err = fmt.Errorf("%w: state %d", ErrMalformed, h.State)
	case h.start < headerLeast || h.start > 64<<10 || h.start%8 != 0 || arena > MaxSize || h.start+arena > uint64(size):
		err = fmt.Errorf("%w: a header of %d bytes and %d bytes of objects in a file of %d", ErrMalformed, h.start, arena, size)
	case h.Entries > arena/entryLeast || h.Entries > 0 && (h.Head == 0 || h.Tail < h.Head || h.Tail-h.Head < h.Entries-1):
		err = fmt.Errorf("%w: %d entries, numbered %d to %d", ErrMalformed, h.Entries, h.Head, h.Tail)
	}
	h.end = h.start + arena
	return h, err
}
