package digest

import (
	"math/bits"

	"lukechampine.com/blake3/guts"
)

// group is the input that one call of the wide kernel compresses: 16 chunks,
// one per lane of an AVX-512 vector.
const group = guts.MaxSIMD * guts.ChunkSize

// wide hashes a stream 16 chunks at a time. It gives the digests of the plain
// hasher, faster on some processors from one group on: see wideWins.
type wide struct {
	buf    [group]byte // the end of the input so far: it may be the last group
	n      int
	base   uint64        // groups of the whole input before this one's
	groups uint64        // compressed before buf
	stack  [64][8]uint32 // chaining values of complete subtrees, the largest first
}

func (w *wide) reset() { w.resetAt(0) }

// resetAt begins a subtree that has base groups before it. base must be a
// multiple of the groups of a complete subtree of that size.
func (w *wide) resetAt(base uint64) { w.n, w.base, w.groups = 0, base, 0 }

func (w *wide) write(p []byte) {
	if w.n > 0 {
		k := copy(w.buf[w.n:], p)
		w.n += k
		p = p[k:]
		if len(p) == 0 {
			return
		}
		w.push(&w.buf)
		w.n = 0
	}
	// What is compressed here is not the end of the input: more follows.
	for len(p) > group {
		w.push((*[group]byte)(p))
		p = p[group:]
	}
	w.n = copy(w.buf[:], p)
}

// push compresses a full group and merges the subtrees that it completes.
func (w *wide) push(b *[group]byte) {
	cv := guts.ChainingValue(guts.CompressBuffer(b, group, &guts.IV, (w.base+w.groups)*guts.MaxSIMD, 0))
	top := bits.OnesCount64(w.groups)
	for range bits.TrailingZeros64(^w.groups) {
		top--
		cv = guts.ChainingValue(guts.ParentNode(w.stack[top], cv, &guts.IV, 0))
	}
	w.stack[top] = cv
	w.groups++
}

// node returns the top of the tree over what was written.
func (w *wide) node() guts.Node {
	node := guts.CompressBuffer(&w.buf, w.n, &guts.IV, (w.base+w.groups)*guts.MaxSIMD, 0)
	for top := bits.OnesCount64(w.groups); top > 0; top-- {
		node = guts.ParentNode(w.stack[top-1], guts.ChainingValue(node), &guts.IV, 0)
	}
	return node
}

func (w *wide) sum() (d Digest) {
	node := w.node()
	node.Flags |= guts.FlagRoot
	out := guts.WordsToBytes(guts.CompressNode(node))
	copy(d[:], out[:])
	return d
}
