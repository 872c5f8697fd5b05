package digest

import "lukechampine.com/blake3/guts"

// Large input can be hashed by several goroutines: it is cut into segments,
// each of which is a subtree of the BLAKE3 tree, and Fold makes the digest of
// all from theirs. Only the wide kernel gives the values of subtrees.

// minSegment and maxSegments bound how a large input is cut.
const (
	minSegment  = 16 << 20 // long enough for a disk to read ahead
	maxSegments = 4096
)

// SegmentLength returns the length of the segments that size bytes are cut
// into, the last one being what is left. It is a power of two.
func SegmentLength(size int64) int64 {
	n := int64(minSegment)
	for size/maxSegments >= n {
		n *= 2
	}
	return n
}

// Segment is the value of one segment of an input.
type Segment struct{ cv [8]uint32 }

// ResetSegment begins segment i of an input that is cut into segments of
// length bytes, which must be what SegmentLength gave. It ends with Segment.
func (h *Hasher) ResetSegment(i, length int64) {
	h.large = true
	h.wideKernel().resetAt(uint64(i) * uint64(length/group))
}

// Segment returns the value of what was written since ResetSegment: length
// bytes, or what is left of the input, at least one.
func (h *Hasher) Segment() Segment { return Segment{guts.ChainingValue(h.wide.node())} }

// Fold returns the digest of an input of at least two segments from their
// values in order.
func Fold(s []Segment) (d Digest) {
	n := left(len(s))
	root := guts.ParentNode(subtree(s[:n]), subtree(s[n:]), &guts.IV, guts.FlagRoot)
	out := guts.WordsToBytes(guts.CompressNode(root))
	copy(d[:], out[:])
	return d
}

// left is how many of n segments stand on the left side of the tree: the
// largest power of two below n.
func left(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func subtree(s []Segment) [8]uint32 {
	if len(s) == 1 {
		return s[0].cv
	}
	n := left(len(s))
	return guts.ChainingValue(guts.ParentNode(subtree(s[:n]), subtree(s[n:]), &guts.IV, 0))
}
