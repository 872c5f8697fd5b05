package dirfd

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// Names is a reusable list of directory entries. The names stand
// NUL-terminated in one arena.
type Names struct {
	arena []byte
	items []item
	buf   []byte
}

type item struct {
	off  uint32
	len  uint16 // with the terminator
	kind entry.Kind
}

// keepArena is the arena size above which Reset gives memory back.
const keepArena = 1 << 20

// Len returns the number of names.
func (l *Names) Len() int { return len(l.items) }

// Name returns the i-th name, valid until the list is reset.
func (l *Names) Name(i int) Name {
	it := l.items[i]
	return Name(l.arena[it.off : it.off+uint32(it.len) : it.off+uint32(it.len)])
}

// Kind returns the type that the listing gave, KindUnknown if it gave none.
func (l *Names) Kind(i int) entry.Kind { return l.items[i].kind }

// Reset empties the list.
func (l *Names) Reset() {
	if cap(l.arena) > keepArena {
		l.arena, l.items = nil, nil
	}
	l.arena, l.items = l.arena[:0], l.items[:0]
}

// Add appends a name with an unknown kind.
func (l *Names) Add(name string) {
	l.add([]byte(name), entry.KindUnknown)
}

func (l *Names) add(name []byte, k entry.Kind) {
	l.items = append(l.items, item{uint32(len(l.arena)), uint16(len(name) + 1), k})
	l.arena = append(append(l.arena, name...), 0)
}

// Sort orders the names by their bytes.
func (l *Names) Sort() {
	slices.SortFunc(l.items, func(a, b item) int {
		return bytes.Compare(l.arena[a.off:a.off+uint32(a.len)-1], l.arena[b.off:b.off+uint32(b.len)-1])
	})
}

// Unique removes repeated names from a sorted list: a directory that changes
// while it is read can list a name twice.
func (l *Names) Unique() {
	l.items = slices.CompactFunc(l.items, func(a, b item) bool {
		return bytes.Equal(l.arena[a.off:a.off+uint32(a.len)], l.arena[b.off:b.off+uint32(b.len)])
	})
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
	seen := 0
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
			if seen++; seen > maxNames || len(l.arena)+len(name)+1 > maxBytes {
				return bad, unix.EFBIG
			}
			switch {
			case string(name) == "." || string(name) == "..":
			case len(name) == 0 || bytes.IndexByte(name, '/') >= 0 || len(name) > 4095:
				bad++
			default:
				l.add(name, kind)
			}
		}
	}
}
