package rpm

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
)

// The format of SQLite ("Database File Format", 1 and 2), as far as the one
// table needs it that holds the headers: pages of a table's tree and pages that
// go on with what does not fit there.
const (
	sqliteMagic  = "SQLite format 3\x00"
	sqliteHeader = 100
	leafPage     = 0x0d
	innerPage    = 0x05
	maxDepth     = 20

	walSuffix     = "-wal"
	journalSuffix = "-journal"
	tableName     = "Packages"
)

// sqlite is a database that is read. A table visits every page once at most: work
// is bounded by the size of the file, whatever the pages say.
type sqlite struct {
	ctx      context.Context
	file     Source
	wal      *wal // nil: none
	pageSize int
	usable   int    // bytes of a page
	pages    uint32 // of the database
	stored   uint32 // in the file
	visited  []uint64
	payload  []byte
}

func readSQLite(ctx context.Context, f Source, open Folder, do row) error {
	return withSQLite(ctx, f, sqliteName, open, func(d *sqlite) error { return d.packages(do) })
}

// withSQLite calls do with the database of that name, whose file is f, and what
// its log adds.
func withSQLite(ctx context.Context, f Source, name string, open Folder, do func(d *sqlite) error) error {
	var head [sqliteHeader]byte
	if err := readFull(f, head[:], 0); err != nil {
		return err
	}
	d := &sqlite{ctx: ctx, file: f}
	if err := d.header(head[:]); err != nil {
		return err
	}
	if head[19] == 1 {
		if err := noJournal(name, open); err != nil {
			return err
		}
	}
	log, err := open(name + walSuffix) // SQLite goes by a log that is there, whatever the header says
	if errors.Is(err, fs.ErrNotExist) {
		return d.whole(do)
	}
	if err != nil {
		return err
	}
	defer log.Close()
	return steady(log, func() error {
		if d.wal, err = readWAL(ctx, log, d.pageSize); err != nil {
			return err
		}
		if d.wal.pages == 0 {
			return d.whole(do)
		}
		d.pages = d.wal.pages
		return do(d)
	})
}

// whole calls do unless the file was cut off: without a log it has all of its
// pages, also those that nobody asks for.
func (d *sqlite) whole(do func(d *sqlite) error) error {
	if d.pages > d.stored {
		return broken("%d pages of %d", d.stored, d.pages)
	}
	return do(d)
}

// header takes what page 1 begins with.
func (d *sqlite) header(h []byte) error {
	be := binary.BigEndian
	if string(h[:16]) != sqliteMagic {
		return broken("not of SQLite")
	}
	d.pageSize = int(be.Uint16(h[16:]))
	if d.pageSize == 1 {
		d.pageSize = 64 << 10
	}
	d.usable = d.pageSize - int(h[20])
	if d.pageSize < 512 || d.pageSize&(d.pageSize-1) != 0 || d.usable < 480 {
		return broken("pages of %d bytes, %d usable", d.pageSize, d.usable)
	}
	if h[19] != 1 && h[19] != 2 || h[21] != 64 || h[22] != 32 || h[23] != 32 {
		return broken("a version of SQLite's format that is not known")
	}
	if be.Uint32(h[56:]) > 1 {
		return broken("text is not UTF-8")
	}
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	d.pages = uint32(info.Size() / int64(d.pageSize)) // maxDatabase makes it fit
	d.stored = d.pages
	if n := be.Uint32(h[28:]); n != 0 && string(h[24:28]) == string(h[92:96]) {
		d.pages = n
	}
	return nil
}

// noJournal makes sure that no transaction is to be rolled back.
func noJournal(name string, open Folder) error {
	j, err := open(name + journalSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer j.Close()
	var first [1]byte
	if n, _ := j.ReadAt(first[:], 0); n == 1 && first[0] != 0 {
		return ErrAmid
	}
	return nil
}

// packages reads the rows of the table that holds the headers.
func (d *sqlite) packages(do row) error {
	roots, err := d.tables(tableName)
	if err != nil {
		return err
	}
	return d.rows(roots[tableName], func(id int64, payload []byte) error {
		r, err := readRecord(payload)
		if err != nil {
			return err
		}
		if len(r) != 2 || r[1].integer || r[1].text || id <= 0 {
			return broken("row %d is no header", id)
		}
		return do(uint64(id), r[1].data)
	})
}

// tables finds on which pages the tables of those names begin.
func (d *sqlite) tables(names ...string) (map[string]uint32, error) {
	roots := map[string]uint32{}
	err := d.rows(1, func(_ int64, payload []byte) error {
		r, err := readRecord(payload)
		if err != nil || len(r) < 5 {
			return errors.Join(err, broken("row of %d columns in the schema", len(r)))
		}
		for _, n := range names {
			if !r[0].is("table") || !r[1].is(n) {
				continue
			}
			if roots[n] != 0 || !r[3].integer || r[3].number <= 0 || r[3].number > int64(d.pages) {
				return broken("table %q twice or nowhere", n)
			}
			roots[n] = uint32(r[3].number)
		}
		return nil
	})
	for _, n := range names {
		if err == nil && roots[n] == 0 {
			err = broken("no table %q", n)
		}
	}
	return roots, err
}

// rows reads the table that begins on a page, each page of it once.
func (d *sqlite) rows(root uint32, do func(id int64, payload []byte) error) error {
	if int64(d.pages)*int64(d.pageSize) > maxDatabase {
		return broken("%d pages", d.pages)
	}
	d.visited = make([]uint64, d.pages/64+1)
	return d.tree(root, 0, new(int64), do)
}

// page reads page n, which nobody asked for before.
func (d *sqlite) page(n uint32, buf []byte) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if n == 0 || n > d.pages {
		return broken("page %d of %d", n, d.pages)
	}
	if d.visited[n/64]&(1<<(n%64)) != 0 {
		return broken("page %d is used twice", n)
	}
	d.visited[n/64] |= 1 << (n % 64)
	if d.wal != nil {
		if off, ok := d.wal.at[n]; ok {
			return readFull(d.wal.file, buf, off)
		}
	}
	return readFull(d.file, buf, int64(n-1)*int64(d.pageSize))
}

// tree reads a table from page n down, in the order of its row numbers. last
// is the number that was seen last.
func (d *sqlite) tree(n uint32, depth int, last *int64, do func(id int64, payload []byte) error) error {
	if depth > maxDepth {
		return broken("a tree of over %d levels", maxDepth)
	}
	buf := make([]byte, d.pageSize)
	if err := d.page(n, buf); err != nil {
		return err
	}
	head := 0
	if n == 1 {
		head = sqliteHeader
	}
	kind, cells := buf[head], int(binary.BigEndian.Uint16(buf[head+3:]))
	begin := head + 8
	if kind == innerPage {
		begin += 4
	} else if kind != leafPage {
		return broken("page %d is not of a table", n)
	}
	if begin+2*cells > d.usable {
		return broken("page %d has %d cells", n, cells)
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(buf[begin+2*i:]))
		if at < begin+2*cells || at >= d.usable {
			return broken("page %d: a cell at %d", n, at)
		}
		cell := buf[at:d.usable]
		if kind == innerPage {
			if len(cell) < 4 {
				return broken("page %d: a cell at %d", n, at)
			}
			if err := d.tree(binary.BigEndian.Uint32(cell), depth+1, last, do); err != nil {
				return err
			}
			continue
		}
		if err := d.cell(n, cell, last, do); err != nil {
			return err
		}
	}
	if kind == innerPage {
		return d.tree(binary.BigEndian.Uint32(buf[head+8:]), depth+1, last, do)
	}
	return nil
}

// cell reads a row: its size, its number, as much of it as is kept in the page,
// and where it goes on.
func (d *sqlite) cell(page uint32, b []byte, last *int64, do func(int64, []byte) error) error {
	size, n := varint(b)
	id, m := varint(b[n:])
	if n == 0 || m == 0 || int64(id) <= *last && *last != 0 {
		return broken("page %d: a row that is out of order", page)
	}
	*last = int64(id)
	if size > MaxHeader+64 {
		return broken("row %d of %d bytes", id, size)
	}
	b = b[n+m:]
	local := d.local(int(size))
	if local == int(size) {
		if len(b) < local {
			return broken("row %d leaves its page", id)
		}
		return do(int64(id), b[:local])
	}
	if len(b) < local+4 {
		return broken("row %d leaves its page", id)
	}
	d.payload = append(d.payload[:0], b[:local]...)
	next := binary.BigEndian.Uint32(b[local:])
	buf := make([]byte, d.pageSize)
	for len(d.payload) < int(size) {
		if err := d.page(next, buf); err != nil {
			return err
		}
		next = binary.BigEndian.Uint32(buf)
		d.payload = append(d.payload, buf[4:min(d.usable, 4+int(size)-len(d.payload))]...)
	}
	if next != 0 {
		return broken("row %d goes on behind its end", id)
	}
	return do(int64(id), d.payload)
}

// local is how many bytes of a row of size bytes its page keeps.
func (d *sqlite) local(size int) int {
	most := d.usable - 35
	if size <= most {
		return size
	}
	least := (d.usable-12)*32/255 - 23
	if n := least + (size-least)%(d.usable-4); n <= most {
		return n
	}
	return least
}
