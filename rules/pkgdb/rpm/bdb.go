package rpm

import (
	"context"
	"encoding/binary"
)

// A hash table of Berkeley DB, as rpm before 4.16 has it: pages in the byte
// order of the machine. Page 0 says what it is: its number at 8, magic 12,
// version 16, size of a page 20, encryption 24, type 25, flags 26, last page 32.
// Every other page begins with 26 bytes: log position, its number at 8, the next
// one's at 16, entries 20, bytes 22, level 24, type 25. A page of the table has
// places of items behind that, two bytes each, a key's and its value's in turn;
// the items fill the page from its end. What does not fit into one is a chain of
// pages. Which bucket a page belongs to does not matter here: all are read.
const (
	bdbMeta     = 512 // the smallest page
	bdbHead     = 26
	bdbMagic    = 0x061561
	bdbHashMeta = 8
	bdbChecksum = 1 // the flag: heads are longer

	bdbHash     = 13
	bdbHashOld  = 2 // of before 4.6, items in no order
	bdbOverflow = 7
	bdbFree     = 0

	bdbHere      = 1 // kinds of items
	bdbElsewhere = 3
	bdbOff       = 12 // bytes of one that stands elsewhere
)

// bdb is a table that is read. A page of the table is visited once, and one that
// a value goes on in belongs to one value: work is bounded by the file's size.
type bdb struct {
	ctx     context.Context
	file    Source
	order   binary.ByteOrder
	size    int    // of a page
	last    uint32 // page
	visited []uint64
	blob    []byte
	seen    map[uint32]bool // numbers of packages
}

func readBerkeley(ctx context.Context, f Source, _ Folder, do row) error {
	var meta [bdbMeta]byte
	if err := readFull(f, meta[:], 0); err != nil {
		return err
	}
	d := &bdb{ctx: ctx, file: f, order: binary.LittleEndian, seen: map[uint32]bool{}}
	if err := d.meta(meta[:]); err != nil {
		return err
	}
	page, chain := make([]byte, d.size), make([]byte, d.size)
	for n := uint32(1); n <= d.last; n++ {
		if err := d.page(n, page); err != nil {
			return err
		}
		switch kind := page[25]; kind {
		case bdbHash, bdbHashOld:
			if err := d.table(n, page, chain, do); err != nil {
				return err
			}
		case bdbFree, bdbOverflow:
		default:
			return broken("page %d is of type %d", n, kind)
		}
		if n == d.last { // 32 bits may be all taken
			break
		}
	}
	return nil
}

// meta takes what page 0 says.
func (d *bdb) meta(b []byte) error {
	if d.order.Uint32(b[12:]) != bdbMagic {
		d.order = binary.BigEndian
	}
	version, size := d.order.Uint32(b[16:]), d.order.Uint32(b[20:])
	switch {
	case d.order.Uint32(b[12:]) != bdbMagic || b[25] != bdbHashMeta:
		return broken("no hash table of Berkeley DB")
	case version < 8 || version > 10:
		return broken("version %d of hash tables", version)
	case b[24] != 0 || b[26]&bdbChecksum != 0:
		return broken("encrypted, or with checksums, which rpm does not make")
	case size < bdbMeta || size > 64<<10 || size&(size-1) != 0:
		return broken("pages of %d bytes", size)
	}
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	d.size, d.last = int(size), d.order.Uint32(b[32:])
	if pages := info.Size() / int64(size); int64(d.last) >= pages {
		return broken("%d pages of %d", pages, int64(d.last)+1)
	}
	d.visited = make([]uint64, d.last/64+1)
	return nil
}

// page reads page n.
func (d *bdb) page(n uint32, b []byte) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if n == 0 || n > d.last {
		return broken("page %d of %d", n, d.last)
	}
	if err := readFull(d.file, b, int64(n)*int64(d.size)); err != nil {
		return err
	}
	if at := d.order.Uint32(b[8:]); at != n && (at != 0 || b[25] != bdbFree) { // one that was never used is all zero
		return broken("page %d calls itself %d", n, at)
	}
	return nil
}

// table reads the items of page n, a package's number and its header in turn.
func (d *bdb) table(n uint32, page, chain []byte, do row) error {
	count := int(d.order.Uint16(page[20:]))
	if count%2 != 0 || bdbHead+2*count > d.size {
		return broken("page %d has %d items", n, count)
	}
	end := d.size
	item := func(i int) ([]byte, error) {
		at := int(d.order.Uint16(page[bdbHead+2*i:]))
		if at < bdbHead+2*count || at >= end {
			return nil, broken("page %d: item %d at %d", n, i, at)
		}
		b := page[at:end]
		end = at
		return b, nil
	}
	for i := 0; i < count; i += 2 {
		key, err := item(i)
		if err != nil {
			return err
		}
		value, err := item(i + 1)
		if err != nil {
			return err
		}
		if key[0] != bdbHere || len(key) != 5 {
			return broken("page %d: item %d is no number of a package", n, i)
		}
		number := d.order.Uint32(key[1:])
		if number == 0 {
			continue // the last number that was given
		}
		if d.seen[number] {
			return broken("package %d stands twice", number)
		}
		if len(d.seen) == maxPackages {
			return broken("over %d packages", maxPackages)
		}
		d.seen[number] = true
		blob, err := d.value(value, chain)
		if err != nil {
			return err
		}
		if err := do(uint64(number), blob); err != nil {
			return err
		}
	}
	return nil
}

// value returns what an item holds, here or in a chain of pages.
func (d *bdb) value(b, page []byte) ([]byte, error) {
	switch {
	case b[0] == bdbHere:
		return b[1:], nil
	case b[0] != bdbElsewhere || len(b) != bdbOff:
		return nil, broken("an item of kind %d with %d bytes", b[0], len(b))
	}
	next, size := d.order.Uint32(b[4:]), d.order.Uint32(b[8:])
	if size > MaxHeader {
		return nil, broken("a package of %d bytes", size)
	}
	d.blob = d.blob[:0]
	for next != 0 {
		if next <= d.last && d.visited[next/64]&(1<<(next%64)) != 0 {
			return nil, broken("page %d is used twice", next)
		}
		if err := d.page(next, page); err != nil {
			return nil, err
		}
		d.visited[next/64] |= 1 << (next % 64)
		n := int(d.order.Uint16(page[22:]))
		if page[25] != bdbOverflow || n == 0 || n > d.size-bdbHead || len(d.blob)+n > int(size) {
			return nil, broken("page %d: not what a package goes on in", next)
		}
		d.blob = append(d.blob, page[bdbHead:bdbHead+n]...)
		next = d.order.Uint32(page[16:])
	}
	if len(d.blob) != int(size) {
		return nil, broken("a package of %d bytes ends after %d", size, len(d.blob))
	}
	return d.blob, nil
}
