package baseline

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
)

// bbolt trusts its file: a page that points back at a page above it makes it
// recurse until the process dies, which nothing can catch. checkPages walks
// the page tree by plain reads before bbolt sees the file, and refuses
// whatever bbolt itself would not have written: see the constants for what of
// its format is read. Numbers are in the byte order of the machine.
const (
	pageHead   = 16 // id uint64, flags uint16, count uint16, overflow uint32
	branchPage = 1
	leafPage   = 2
	elemSize   = 16 // branch: pos, ksize uint32, child uint64; leaf: flags, pos, ksize, vsize uint32
	subBucket  = 1  // flag of a leaf element: its value is a bucket
	bucketHead = 16 // root uint64, sequence uint64; an inline page follows if root is 0

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64 // magic, version, pageSize, flags uint32; root, sequence, freelist, pages, txid, checksum uint64

	maxDepth = 24
)

var native = binary.NativeEndian

type pageWalk struct {
	ctx   context.Context
	f     *os.File
	page  uint64 // size
	pages uint64 // number
	seen  []uint64
}

func damagedPage(id uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", ErrDamaged, id, what)
}

func checkPages(ctx context.Context, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return cause(err)
	}
	w := &pageWalk{ctx: ctx, f: f}
	root, err := w.meta(info.Size())
	if err != nil {
		return err
	}
	w.seen = make([]uint64, w.pages/64+1)
	return w.tree(root, 0, true)
}

// meta reads both meta pages and returns the root page of the newer one. Both
// must be sound: a finished file has two.
func (w *pageWalk) meta(size int64) (root uint64, err error) {
	var newest uint64
	for i := range uint64(2) {
		var b [pageHead + metaSize]byte
		if _, err := w.f.ReadAt(b[:], int64(i*w.page)); err != nil {
			return 0, fmt.Errorf("%w: meta page %d: %w", ErrDamaged, i, err)
		}
		m := b[pageHead:]
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		if native.Uint32(m) != metaMagic || native.Uint32(m[4:]) != metaVersion || native.Uint64(m[56:]) != sum.Sum64() {
			return 0, damagedPage(i, "not a meta page")
		}
		page := uint64(native.Uint32(m[8:]))
		if page < smallPage || page > largePage || page&(page-1) != 0 || i > 0 && page != w.page {
			return 0, damagedPage(i, "page size")
		}
		w.page = page
		if id := native.Uint64(m[48:]); i == 0 || id > newest {
			newest, root, w.pages = id, native.Uint64(m[16:]), native.Uint64(m[40:])
		}
	}
	if size < 0 || w.pages > uint64(size)/w.page {
		return 0, fmt.Errorf("%w: shorter than its pages", ErrDamaged)
	}
	return root, nil
}

// tree walks the pages from id down. Only the top tree holds buckets.
func (w *pageWalk) tree(id uint64, depth int, top bool) error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	if depth > maxDepth || id < 2 || id >= w.pages {
		return damagedPage(id, "out of range")
	}
	var head [pageHead]byte
	if _, err := w.f.ReadAt(head[:], int64(id*w.page)); err != nil {
		return fmt.Errorf("%w: page %d: %w", ErrDamaged, id, err)
	}
	flags, count, overflow := native.Uint16(head[8:]), int(native.Uint16(head[10:])), uint64(native.Uint32(head[12:]))
	if native.Uint64(head[:]) != id || overflow >= w.pages-id {
		return damagedPage(id, "header")
	}
	for i := id; i <= id+overflow; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return damagedPage(i, "used twice")
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	length := (overflow + 1) * w.page
	if uint64(pageHead+count*elemSize) > length {
		return damagedPage(id, "count")
	}
	elems := make([]byte, count*elemSize)
	if _, err := w.f.ReadAt(elems, int64(id*w.page+pageHead)); err != nil && count > 0 {
		return fmt.Errorf("%w: page %d: %w", ErrDamaged, id, err)
	}
	switch {
	case flags == branchPage && count > 0:
		return w.branch(id, elems, length, depth, top)
	case flags == leafPage:
		return w.leaf(id, elems, length, depth, top)
	}
	return damagedPage(id, "type")
}

func (w *pageWalk) branch(id uint64, elems []byte, length uint64, depth int, top bool) error {
	for i := 0; i < len(elems); i += elemSize {
		e := elems[i:]
		if end := uint64(pageHead+i) + uint64(native.Uint32(e)) + uint64(native.Uint32(e[4:])); end > length {
			return damagedPage(id, "key")
		}
		if err := w.tree(native.Uint64(e[8:]), depth+1, top); err != nil {
			return err
		}
	}
	return nil
}

func (w *pageWalk) leaf(id uint64, elems []byte, length uint64, depth int, top bool) error {
	for i := 0; i < len(elems); i += elemSize {
		e := elems[i:]
		pos := uint64(pageHead+i) + uint64(native.Uint32(e[4:]))
		ksize, vsize := uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		if pos+ksize+vsize > length {
			return damagedPage(id, "value")
		}
		switch flags := native.Uint32(e); {
		case flags == 0 && !top:
		case flags == subBucket && top:
			if err := w.bucket(id, int64(id*w.page+pos+ksize), vsize, depth); err != nil {
				return err
			}
		default:
			return damagedPage(id, "element")
		}
	}
	return nil
}

// bucket checks the value of size bytes at off, which holds a bucket: a
// reference to its root page, or a leaf page inline.
func (w *pageWalk) bucket(id uint64, off int64, size uint64, depth int) error {
	if size < bucketHead || size > w.page {
		return damagedPage(id, "bucket")
	}
	b := make([]byte, size)
	if _, err := w.f.ReadAt(b, off); err != nil {
		return fmt.Errorf("%w: page %d: %w", ErrDamaged, id, err)
	}
	if root := native.Uint64(b); root != 0 {
		return w.tree(root, depth+1, false)
	}
	b = b[bucketHead:]
	if len(b) < pageHead || native.Uint16(b[8:]) != leafPage {
		return damagedPage(id, "inline bucket")
	}
	n := int(native.Uint16(b[10:])) * elemSize
	if pageHead+n > len(b) {
		return damagedPage(id, "inline bucket")
	}
	return w.leaf(id, b[pageHead:pageHead+n], uint64(len(b)), depth, false)
}
