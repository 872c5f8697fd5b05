package rpm

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/adler32"
	"slices"
)

// rpm's own format, little-endian. Pages of slots come first, of which the
// first two slots are the header (magic, version, generation, pages of slots).
// A slot says which package lies where, in blocks of 16 bytes. There it stands
// between a head (magic, number, time, length) and, at the end of the last
// block, a tail (Adler-32, length, magic).
const (
	ndbPage     = 4096
	ndbBlock    = 16
	ndbSlot     = 16
	ndbHead     = 16
	ndbTail     = 12
	ndbMaxPages = 2048 // of slots: half a million packages

	ndbMagic     = 'R' | 'p'<<8 | 'm'<<16 | 'P'<<24
	ndbSlotMagic = 'S' | 'l'<<8 | 'o'<<16 | 't'<<24
	ndbHeadMagic = 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24
	ndbTailMagic = 'B' | 'l'<<8 | 'b'<<16 | 'E'<<24
)

// slot is a package's place, in blocks.
type slot struct{ number, at, blocks uint32 }

func le(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

func readNDB(ctx context.Context, f Source, _ Folder, do row) error {
	var buf [ndbPage]byte
	if err := readFull(f, buf[:], 0); err != nil {
		return err
	}
	if le(buf[:], 0) != ndbMagic || le(buf[:], 1) != 0 {
		return broken("no ndb of version 0")
	}
	pages := le(buf[:], 3)
	if pages == 0 || pages > ndbMaxPages {
		return broken("%d pages of slots", pages)
	}
	var slots []slot
	for p := range pages {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := readFull(f, buf[:], int64(p)*ndbPage); err != nil {
			return err
		}
		first := 0
		if p == 0 {
			first = 2 * ndbSlot
		}
		for b := buf[first:]; len(b) > 0; b = b[ndbSlot:] {
			s := slot{le(b, 1), le(b, 2), le(b, 3)}
			switch {
			case le(b, 0) != ndbSlotMagic:
				return broken("page %d holds what is no slot", p)
			case s == (slot{}):
				continue // free
			case s.at == 0, s.number == 0:
				return broken("a slot of no package")
			}
			slots = append(slots, s)
		}
	}
	return eachSlot(ctx, f, slots, int64(pages)*ndbPage/ndbBlock, do)
}

// eachSlot reads the packages in the order in which they lie. They do not
// overlap and none comes twice, so the file is read once at most.
func eachSlot(ctx context.Context, f Source, slots []slot, end int64, do row) error {
	slices.SortFunc(slots, func(a, b slot) int { return cmp.Compare(a.at, b.at) })
	seen := make(map[uint32]bool, len(slots))
	var buf []byte
	for _, s := range slots {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if seen[s.number] || int64(s.at) < end {
			return broken("package %d overlaps another or stands twice", s.number)
		}
		seen[s.number] = true
		end = int64(s.at) + int64(s.blocks)
		size := int64(s.blocks) * ndbBlock
		if size < ndbHead+ndbTail || size > MaxHeader+4*ndbBlock {
			return broken("package %d of %d bytes", s.number, size)
		}
		var head [ndbHead]byte
		if err := readFull(f, head[:], int64(s.at)*ndbBlock); err != nil {
			return err
		}
		length := int64(le(head[:], 3))
		if le(head[:], 0) != ndbHeadMagic || le(head[:], 1) != s.number || size != (ndbHead+length+ndbTail+ndbBlock-1)/ndbBlock*ndbBlock {
			return broken("package %d is not where its slot says", s.number)
		}
		var err error
		if buf, err = readGrowing(f, buf[:0], int64(s.at)*ndbBlock, size); err != nil {
			return err
		}
		tail := buf[size-ndbTail:]
		if le(tail, 2) != ndbTailMagic || int64(le(tail, 1)) != length || le(tail, 0) != adler32.Checksum(buf[:size-ndbTail]) {
			return broken("package %d does not have its checksum", s.number)
		}
		if err := do(uint64(s.number), buf[ndbHead:ndbHead+length]); err != nil {
			return err
		}
	}
	return nil
}

// readGrowing reads n bytes at off into buf, which grows with what is there,
// not with what was promised.
func readGrowing(f Source, buf []byte, off, n int64) ([]byte, error) {
	const step = 1 << 20
	for int64(len(buf)) < n {
		have := len(buf)
		buf = slices.Grow(buf, int(min(step, n-int64(have))))[:have+int(min(step, n-int64(have)))]
		if err := readFull(f, buf[have:], off+int64(have)); err != nil {
			return buf, err
		}
	}
	return buf, nil
}
