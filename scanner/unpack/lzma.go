package unpack

// The model of LZMA, as the specification of the LZMA SDK gives it: which
// probability belongs to which bit. Two limits of it are left out, because
// LZMA2 has neither end markers nor properties beyond lc + lp = 4.

// rangeDecoder turns bytes into bits of known probability. Behind the end of a
// chunk it goes on with bytes of no meaning: pos tells.
type rangeDecoder struct {
	in          *[maxPacked]byte
	pos         uint32
	width, code uint32
}

const (
	topValue  = 1 << 24
	probBits  = 11
	probStart = 1 << (probBits - 1)
	probShift = 5
)

func (rc *rangeDecoder) normalize() {
	if rc.width < topValue {
		rc.width <<= 8
		rc.code = rc.code<<8 | uint32(rc.in[rc.pos&(maxPacked-1)])
		rc.pos++
	}
}

// bit decodes one bit.
func (rc *rangeDecoder) bit(p *uint16) uint32 {
	width, code := rc.width, rc.code
	if width < topValue {
		width <<= 8
		code = code<<8 | uint32(rc.in[rc.pos&(maxPacked-1)])
		rc.pos++
	}
	v := uint32(*p)
	bound := width >> probBits * v
	if code < bound {
		rc.width, rc.code = bound, code
		*p = uint16(v + (1<<probBits-v)>>probShift)
		return 0
	}
	rc.width, rc.code = width-bound, code-bound
	*p = uint16(v - v>>probShift)
	return 1
}

// tree decodes a number of bits bits, the highest one first. probs has 1<<bits
// values.
func (rc *rangeDecoder) tree(probs []uint16, bits int) uint32 {
	width, code, pos := rc.width, rc.code, rc.pos
	m := uint32(1)
	for range bits {
		if width < topValue {
			width <<= 8
			code = code<<8 | uint32(rc.in[pos&(maxPacked-1)])
			pos++
		}
		v := uint32(probs[m])
		bound := width >> probBits * v
		if code < bound {
			width = bound
			probs[m] = uint16(v + (1<<probBits-v)>>probShift)
			m <<= 1
		} else {
			width -= bound
			code -= bound
			probs[m] = uint16(v - v>>probShift)
			m = m<<1 | 1
		}
	}
	rc.width, rc.code, rc.pos = width, code, pos
	return m - 1<<bits
}

// reverse decodes a number of bits bits, the lowest one first.
func (rc *rangeDecoder) reverse(probs []uint16, bits int) (n uint32) {
	m := uint32(1)
	for i := range bits {
		b := rc.bit(&probs[m])
		m = m<<1 | b
		n |= b << i
	}
	return n
}

// direct decodes bits that are as likely as not.
func (rc *rangeDecoder) direct(bits int) (n uint32) {
	for range bits {
		rc.normalize()
		rc.width >>= 1
		n <<= 1
		if rc.code >= rc.width {
			rc.code -= rc.width
			n |= 1
		}
	}
	return n
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
func (l *lengths) decode(rc *rangeDecoder, at uint32) int {
	switch {
	case rc.bit(&l.choice) == 0:
		return 2 + int(rc.tree(l.low[at][:], 3))
	case rc.bit(&l.choice2) == 0:
		return 10 + int(rc.tree(l.mid[at][:], 3))
	}
	return 18 + int(rc.tree(l.high[:], 8))
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
func (m *lzma) literal(rc *rangeDecoder, total uint32, prev, matched byte) byte {
	probs := &m.literals[(total&m.lpMask<<m.lc|uint32(prev)>>(8-m.lc))&15]
	if m.state < 7 {
		m.state -= min(m.state, 3)
		return byte(rc.tree(probs[:], 8))
	}
	if m.state < 10 {
		m.state -= 3
	} else {
		m.state -= 6
	}
	n, match, offset := uint32(1), uint32(matched), uint32(0x100)
	for n < 0x100 {
		match <<= 1
		b := rc.bit(&probs[offset+match&offset+n])
		n = n<<1 | b
		if b == 0 {
			offset &= ^match
		} else {
			offset &= match
		}
	}
	return byte(n)
}

// match decodes a match or a repeated one: its length, its distance in rep[0].
func (m *lzma) match(rc *rangeDecoder, at uint32) int {
	behind := uint32(0) // what came before was a match
	if m.state >= 7 {
		behind = 3
	}
	s := m.state
	if rc.bit(&m.isRep[s]) == 0 {
		m.state = 7 + behind
		m.rep[3], m.rep[2], m.rep[1] = m.rep[2], m.rep[1], m.rep[0]
		n := m.length.decode(rc, at)
		m.rep[0] = m.distance(rc, n)
		return n
	}
	if rc.bit(&m.isRepG0[s]) == 0 {
		if rc.bit(&m.isRep0Long[s][at]) == 0 {
			m.state = min(9+behind, 11)
			return 1
		}
	} else {
		i := 1
		if rc.bit(&m.isRepG1[s]) == 1 {
			i = 2 + int(rc.bit(&m.isRepG2[s]))
		}
		last := m.rep[i]
		copy(m.rep[1:i+1], m.rep[:i])
		m.rep[0] = last
	}
	m.state = 8 + behind
	return m.repLength.decode(rc, at)
}

// distance decodes how far a match of length n leads back, less one.
func (m *lzma) distance(rc *rangeDecoder, n int) uint32 {
	slot := rc.tree(m.slots[min(n-2, 3)][:], 6)
	if slot < 4 {
		return slot
	}
	bits := int(slot>>1) - 1
	d := (2 | slot&1) << bits
	if slot < 14 {
		return d + rc.reverse(m.special[d-slot:], bits)
	}
	d += rc.direct(bits-4) << 4
	return d + rc.reverse(m.align[:], 4)
}
