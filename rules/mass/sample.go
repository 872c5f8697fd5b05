package mass

import (
	"encoding/binary"
	"math/bits"

	"intact/scanner/digest"
)

// What is read of a file, and how it is judged.
const (
	// MinBytes is the size from which bytes can be told to be random: below it
	// text and random bytes begin to look alike, and keys and nonces live there.
	MinBytes = 256
	// window is the run of bytes that is judged by itself: the smallest that a
	// piecewise encryption of disk blocks leaves whole.
	window = 1024
	// piece is one read; the first is the beginning of the file.
	piece = 4096
	// pieces bound what is read of a text: 64 KiB. A text up to that size is read
	// whole, so that its encrypted blocks are seen wherever they are. Of a longer
	// one each piece is drawn from its own sixteenth: every sixteenth block is
	// hit in two files of three.
	pieces = 16
	// chiLow and chiHigh are eight standard deviations, √510, from the 255 that
	// random bytes give on average. English text gives 16 a byte, base64 3 a byte.
	chiLow, chiHigh = 75, 435
)

// BufferSize is what Candidate.Encrypted needs to read into.
const BufferSize = pieces * piece

// encrypted reports whether a file of size bytes whose name promises k holds
// random bytes where it should not: a text anywhere, another in its beginning.
// Where magic counts, one that begins as a known format does is none. read fills
// b from off. draw decides where a long text is read.
func encrypted(buf []byte, k Kind, magic bool, size int64, draw digest.Digest, read func(b []byte, off int64) error) (bool, error) {
	if size < MinBytes {
		return false, nil
	}
	head := buf[:min(piece, size)]
	if err := read(head, 0); err != nil || magic && known(head) {
		return false, err
	}
	if random := anyRandom(head); random || !k.Text || size <= piece {
		return random, nil
	}
	if size <= BufferSize {
		rest := buf[:size-piece]
		err := read(rest, piece)
		return err == nil && anyRandom(rest), err
	}
	for i := 1; i < pieces; i++ {
		b := buf[:piece]
		if err := read(b, place(i, size, draw)); err != nil || anyRandom(b) {
			return err == nil, err
		}
	}
	return false, nil
}

// place is where piece i, not the first, of a file longer than BufferSize is read.
func place(i int, size int64, draw digest.Digest) int64 {
	// Sixteen parts of whole blocks; what remains of the last is left out.
	part := size / piece / pieces
	at := uint64(binary.LittleEndian.Uint16(draw[2*i:])) // 0 ≤ at < 2^16
	at, _ = bits.Mul64(at<<48, uint64(part))
	return (int64(i)*part + int64(at)) * piece
}

// anyRandom reports whether one window of b is random.
func anyRandom(b []byte) bool {
	for len(b) > 0 {
		w := b[:min(len(b), window)]
		if Random(w) {
			return true
		}
		b = b[len(w):]
	}
	return false
}

// Random reports whether b, of MinBytes at least, could have been drawn by lot: the
// statistic of Pearson against equal shares of all 256 values.
func Random(b []byte) bool {
	if len(b) < MinBytes || ascii(b) {
		return false
	}
	var n [256]uint32
	for _, c := range b {
		n[c]++
	}
	sum := uint64(0)
	for _, c := range n {
		sum += uint64(c) * uint64(c)
	}
	chi := float64(sum)*256/float64(len(b)) - float64(len(b))
	return chi > chiLow && chi < chiHigh
}

// ascii reports whether no byte of b has its highest bit set: most text, told
// cheaply.
func ascii(b []byte) bool {
	var or uint64
	for ; len(b) >= 8; b = b[8:] {
		or |= binary.LittleEndian.Uint64(b)
	}
	for _, c := range b {
		or |= uint64(c)
	}
	return or&0x8080808080808080 == 0
}
