package unpack

// The model of LZMA, as the specification of the LZMA SDK gives it: which
// probability belongs to which bit. Two limits of it are left out, because
// LZMA2 has neither end markers nor properties beyond lc + lp = 4.

// rangeDecoder turns bytes into bits of known probability. Behind the end of a
// chunk it goes on with bytes of no meaning: pos tells. It is handed on by value
// and stays in registers.
//
// Bits that nobody can guess are decoded without a branch: mask has all bits set
// where the bit is 0, and none where it is 1. Half of such branches would be
// guessed wrong, and that costs more than the arithmetic.
type rangeDecoder struct {
	in          *[maxPacked]byte
	pos         uint32
	width, code uint32
}

const (
	topValue  = 1 << 24
	probBits  = 11
	probOne   = 1 << probBits
	probStart = 1 << (probBits - 1)
	probShift = 5
)

func (rc rangeDecoder) normalize() rangeDecoder {
	if rc.width < topValue {
		rc.width <<= 8
		rc.code = rc.code<<8 | uint32(rc.in[rc.pos&(maxPacked-1)])
		rc.pos++
	}
	return rc
}

// bit decodes one bit, as a branch.
func (rc rangeDecoder) bit(p *uint16) (rangeDecoder, bool) {
	rc = rc.normalize()
	v := uint32(*p)
	bound := rc.width >> probBits * v
	if rc.code < bound {
		rc.width = bound
		*p = uint16(v + (probOne-v)>>probShift)
		return rc, false
	}
	rc.width -= bound
	rc.code -= bound
	*p = uint16(v - v>>probShift)
	return rc, true
}

// even decodes one bit of probability v without a branch. rc is normalized.
func (rc rangeDecoder) even(v uint32) (_ rangeDecoder, mask uint32) {
	bound := rc.width >> probBits * v
	t := uint64(rc.code) - uint64(bound)
	mask = uint32(t >> 32)
	rest := rc.width - bound
	rc.code = uint32(t) + bound&mask
	rc.width = rest ^ (rest^bound)&mask
	return rc, mask
}

// adapted is the probability v behind the bit that mask tells.
func adapted(v, mask uint32) uint16 {
	return uint16(v - uint32(int32(v-mask&(probOne-1<<probShift+1))>>probShift))
}

// tree decodes a number of as many bits as probs has values, the highest one
// first.
func (rc rangeDecoder) tree(probs []uint16) (rangeDecoder, uint32) {
	m := uint32(1)
	for m < uint32(len(probs)) {
		p := &probs[m]
		v, mask := uint32(*p), uint32(0)
		rc, mask = rc.normalize().even(v)
		m = m<<1 + 1 + mask
		*p = adapted(v, mask)
	}
	return rc, m - uint32(len(probs))
}

// reverse decodes a number of bits bits, the lowest one first.
func (rc rangeDecoder) reverse(probs []uint16, bits int) (_ rangeDecoder, n uint32) {
	m := uint32(1)
	for i := range bits {
		p := &probs[m]
		v, mask := uint32(*p), uint32(0)
		rc, mask = rc.normalize().even(v)
		*p = adapted(v, mask)
		m = m<<1 + 1 + mask
		n |= (1 + mask) << i
	}
	return rc, n
}

// direct decodes bits that are as likely as not.
func (rc rangeDecoder) direct(bits int) (_ rangeDecoder, n uint32) {
	for range bits {
		rc = rc.normalize()
		rc.width >>= 1
		t := uint64(rc.code) - uint64(rc.width)
		mask := uint32(t >> 32)
		rc.code = uint32(t) + rc.width&mask
		n = n<<1 + 1 + mask
	}
	return rc, n
}

// lengths are the probabilities of lengths.
type lengths struct {
	choice, choice2 uint16
	low, mid        [16][8]uint16
	high            [256]uint16
}

func (l *lengths) reset() {
	l.choice, l.choice2 = probStart, probStart
	for i := range l.low {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

func fill(p []uint16) {
	for i := range p {
		p[i] = probStart
	}
}

// decode returns a length.
func (l *lengths) decode(rc rangeDecoder, at uint32) (rangeDecoder, int) {
	rc, more := rc.bit(&l.choice)
	if !more {
		rc, n := rc.tree(l.low[at][:])
		return rc, 2 + int(n)
	}
	if rc, more = rc.bit(&l.choice2); !more {
		rc, n := rc.tree(l.mid[at][:])
		return rc, 10 + int(n)
	}
	rc, n := rc.tree(l.high[:])
	return rc, 18 + int(n)
}

// lzma is the model.
type lzma struct {
	lc             uint32
	lpMask, pbMask uint32
	state          uint32
	rep            [4]uint32 // the last distances, less one

	isMatch, isRep0Long              [12][16]uint16
	isRep, isRepG0, isRepG1, isRepG2 [12]uint16
	slots                            [4][64]uint16
	special                          [115]uint16
	align                            [16]uint16
	length, repLength                lengths
	literals                         [16][0x300]uint16
}

// setProperties takes the byte of lc, lp and pb.
func (m *lzma) setProperties(b byte) bool {
	lc, rest := uint32(b%9), b/9
	lp, pb := rest%5, rest/5
	if b >= 9*5*5 || lc+uint32(lp) > 4 {
		return false
	}
	m.lc, m.lpMask, m.pbMask = lc, 1<<lp-1, 1<<pb-1
	return true
}

func (m *lzma) reset() {
	m.state, m.rep = 0, [4]uint32{}
	for i := range m.isMatch {
		fill(m.isMatch[i][:])
		fill(m.isRep0Long[i][:])
	}
	for _, p := range [...][]uint16{m.isRep[:], m.isRepG0[:], m.isRepG1[:], m.isRepG2[:], m.special[:], m.align[:]} {
		fill(p)
	}
	for i := range m.slots {
		fill(m.slots[i][:])
	}
	for i := range m.literals {
		fill(m.literals[i][:])
	}
	m.length.reset()
	m.repLength.reset()
}

// literal decodes a byte. matched is the byte at the last distance, which
// matters behind a match.
func (m *lzma) literal(rc rangeDecoder, total uint32, prev, matched byte) (rangeDecoder, byte) {
	probs := &m.literals[(total&m.lpMask<<m.lc|uint32(prev)>>(8-m.lc))&15]
	n := uint32(1)
	if m.state < 7 {
		m.state -= min(m.state, 3)
		for n < 0x100 {
			p := &probs[n]
			v, mask := uint32(*p), uint32(0)
			rc, mask = rc.normalize().even(v)
			*p = adapted(v, mask)
			n = n<<1 + 1 + mask
		}
		return rc, byte(n)
	}
	if m.state < 10 {
		m.state -= 3
	} else {
		m.state -= 6
	}
	match, offset := uint32(matched), uint32(0x100)
	for n < 0x100 {
		match <<= 1
		p := &probs[offset+match&offset+n]
		v, mask := uint32(*p), uint32(0)
		rc, mask = rc.normalize().even(v)
		*p = adapted(v, mask)
		n = n<<1 + 1 + mask
		offset &= match ^ mask
	}
	return rc, byte(n)
}

// match decodes a match or a repeated one: its length, its distance in rep[0].
func (m *lzma) match(rc rangeDecoder, at uint32) (rangeDecoder, int) {
	behind := uint32(0) // what came before was a match
	if m.state >= 7 {
		behind = 3
	}
	s := m.state
	rc, again := rc.bit(&m.isRep[s])
	if !again {
		m.state = 7 + behind
		m.rep[3], m.rep[2], m.rep[1] = m.rep[2], m.rep[1], m.rep[0]
		rc, n := m.length.decode(rc, at)
		rc, m.rep[0] = m.distance(rc, n)
		return rc, n
	}
	var older bool
	if rc, older = rc.bit(&m.isRepG0[s]); !older {
		var long bool
		if rc, long = rc.bit(&m.isRep0Long[s][at]); !long {
			m.state = min(9+behind, 11)
			return rc, 1
		}
	} else {
		i := 1
		if rc, older = rc.bit(&m.isRepG1[s]); older {
			if rc, older = rc.bit(&m.isRepG2[s]); older {
				i = 3
			} else {
				i = 2
			}
		}
		last := m.rep[i]
		copy(m.rep[1:i+1], m.rep[:i])
		m.rep[0] = last
	}
	m.state = 8 + behind
	return m.repLength.decode(rc, at)
}

// distance decodes how far a match of length n leads back, less one.
func (m *lzma) distance(rc rangeDecoder, n int) (rangeDecoder, uint32) {
	rc, slot := rc.tree(m.slots[min(n-2, 3)][:])
	if slot < 4 {
		return rc, slot
	}
	bits := int(slot>>1) - 1
	d := (2 | slot&1) << bits
	if slot < 14 {
		rc, low := rc.reverse(m.special[d-slot:], bits)
		return rc, d + low
	}
	rc, high := rc.direct(bits - 4)
	rc, low := rc.reverse(m.align[:], 4)
	return rc, d + high<<4 + low
}
