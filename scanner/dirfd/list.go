package dirfd

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// Names is a reusable list of directory entries. The names stand
// NUL-terminated in blocks: a list that grows is not copied.
type Names struct {
	blocks [][]byte
	bytes  int // of names with their terminators
	items  []item
	buf    []byte

	limit int          // size from which fill calls spill
	spill func() error // empties the list; nil: it grows
}

type item struct {
	at   uint32 // block and place in it, see blockBits
	len  uint16 // with the terminator
	kind entry.Kind
}

// A block holds 64 KiB of names; the low blockBits of a place tell where in
// its block.
const (
	blockBits = 16
	blockSize = 1 << blockBits
)

// keepBlocks and keepItems are what Reset keeps for the next list.
const (
	keepBlocks = 16
	keepItems  = 16 << 10
)

// Len returns the number of names.
func (l *Names) Len() int { return len(l.items) }

// Name returns the i-th name, valid until the list is reset.
func (l *Names) Name(i int) Name {
	it := l.items[i]
	from := it.at & (blockSize - 1)
	to := from + uint32(it.len)
	return Name(l.blocks[it.at>>blockBits][from:to:to])
}

// Kind returns the type that the listing gave, KindUnknown if it gave none.
func (l *Names) Kind(i int) entry.Kind { return l.items[i].kind }

// Size returns the memory that the names take.
func (l *Names) Size() int { return l.bytes + 8*len(l.items) }

// Reset empties the list.
func (l *Names) Reset() {
	if len(l.blocks) > keepBlocks {
		clear(l.blocks[keepBlocks:])
		l.blocks = l.blocks[:keepBlocks]
	}
	for i := range l.blocks {
		l.blocks[i] = l.blocks[i][:0]
	}
	if cap(l.items) > keepItems {
		l.items = nil
	}
	l.items, l.bytes = l.items[:0], 0
}

// Detach returns the names as a list of their own and leaves l empty.
func (l *Names) Detach() *Names {
	d := &Names{blocks: l.blocks, bytes: l.bytes, items: l.items}
	l.blocks, l.bytes, l.items = nil, 0, nil
	return d
}

// Add appends a name with an unknown kind.
func (l *Names) Add(name string) {
	l.add([]byte(name), entry.KindUnknown)
}

func (l *Names) add(name []byte, k entry.Kind) {
	b := l.room(len(name) + 1)
	at := len(l.blocks[b])
	l.blocks[b] = append(append(l.blocks[b], name...), 0)
	l.bytes += len(name) + 1
	l.items = append(l.items, item{uint32(b<<blockBits | at), uint16(len(name) + 1), k})
}

// room returns the number of the block that n more bytes fit in. Blocks are
// filled in their order; those behind the last name are empty.
func (l *Names) room(n int) int {
	b := 0
	if len(l.items) > 0 {
		b = int(l.items[len(l.items)-1].at >> blockBits)
	}
	for ; b < len(l.blocks); b++ {
		if len(l.blocks[b])+n <= blockSize {
			return b
		}
	}
	size := blockSize
	if b == 0 {
		size = 4 << 10 // most directories are small
	}
	l.blocks = append(l.blocks, make([]byte, 0, max(size, n)))
	return b
}

// Sort orders the names by their bytes.
func (l *Names) Sort() {
	slices.SortFunc(l.items, func(a, b item) int { return bytes.Compare(l.text(a), l.text(b)) })
}

// Unique removes repeated names from a sorted list: a directory that changes
// while it is read can list a name twice.
func (l *Names) Unique() {
	l.items = slices.CompactFunc(l.items, func(a, b item) bool { return bytes.Equal(l.text(a), l.text(b)) })
}

// text returns the name of an item without the terminator.
func (l *Names) text(it item) []byte {
	from := it.at & (blockSize - 1)
	return l.blocks[it.at>>blockBits][from : from+uint32(it.len)-1]
}

// direntName is the offset of d_name in struct linux_dirent64 (getdents64(2)).
const direntName = 19

// maxArena and maxNames bound one directory, in bytes of names and in names:
// a hostile file system can make one that never ends.
const (
	maxArena = 1 << 30
	maxNames = 64 << 20
)

// List appends all names of d except "." and "..", in the directory's order.
// A name that is empty or holds a slash, as a hostile file system may give, is
// reported by bad. A directory with over 1 GiB of names or over 64 Mi names is
// unix.EFBIG; those up to there are in the list.
func (d *Dir) List(l *Names) (bad int, err error) {
	return l.fill(func(b []byte) (int, error) { return unix.Getdents(d.fd, b) }, maxArena, maxNames)
}

// fill appends what read gives, records of getdents64, until it gives none.
// What it passes over counts as a name too.
func (l *Names) fill(read func([]byte) (int, error), maxBytes, maxNames int) (bad int, err error) {
	if l.buf == nil {
		l.buf = make([]byte, 64<<10)
	}
	seen, listed := 0, 0
	for {
		n, err := read(l.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return bad, err
		}
		for b := l.buf[:n]; len(b) > direntName; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size <= direntName || size > len(b) {
				return bad + 1, nil
			}
			name := b[direntName:size]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			kind := entry.Kind(0)
			if t := b[18]; t != unix.DT_UNKNOWN {
				kind = kindOf(uint32(t) << 12)
			}
			b = b[size:]
			if seen++; seen > maxNames || listed+len(name)+1 > maxBytes {
				return bad, unix.EFBIG
			}
			switch {
			case string(name) == "." || string(name) == "..":
			case len(name) == 0 || bytes.IndexByte(name, '/') >= 0 || len(name) > 4095:
				bad++
			default:
				l.add(name, kind)
				listed += len(name) + 1
				if l.spill != nil && l.Size() > l.limit {
					if err := l.spill(); err != nil {
						return bad, err
					}
				}
			}
		}
	}
}
