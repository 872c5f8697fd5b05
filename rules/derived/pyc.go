package derived

import (
	"context"
	"encoding/binary"
	"math/bits"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// Bounds of compiled and of source code, in bytes.
const (
	maxBytecode = 32 << 20
	maxSource   = 32 << 20
	pycHeader   = 16
)

// header is how a .pyc begins (PEP 552): magic, flags, then the time and size of
// the source, or a hash of it.
type header struct {
	magic       uint32
	hashed      bool
	mtime, size uint32
	hash        uint64
}

// parseHeader reads the header of a .pyc. Code follows it, as marshal writes it.
func parseHeader(b []byte) (header, bool) {
	if len(b) <= pycHeader || b[2] != '\r' || b[3] != '\n' || b[pycHeader]&0x7f != 'c' {
		return header{}, false
	}
	h := header{magic: binary.LittleEndian.Uint32(b)}
	switch binary.LittleEndian.Uint32(b[4:]) {
	case 0:
		h.mtime, h.size = binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	case 1, 3: // unchecked, checked when it is loaded
		h.hashed, h.hash = true, binary.LittleEndian.Uint64(b[8:])
	default:
		return header{}, false
	}
	return h, true
}

// sourceOf gives the source of …/__pycache__/NAME.TAG[.opt-N].pyc.
func sourceOf(p entry.Path) (entry.Path, bool) {
	dir := p.Dir()
	parts := strings.Split(p.Base(), ".")
	n := len(parts)
	if dir.Base() != "__pycache__" || n < 3 || parts[n-1] != "pyc" {
		return "", false
	}
	parts = parts[:n-1]
	if last := parts[len(parts)-1]; last == "opt-1" || last == "opt-2" {
		parts = parts[:len(parts)-1]
	}
	n = len(parts)
	if n < 2 || !strings.HasPrefix(parts[n-1], "cpython-") || parts[0] == "" {
		return "", false
	}
	return dir.Dir() + "/" + entry.Path(strings.Join(parts[:n-1], ".")) + ".py", true
}

// bytecode: the header is that of the verified source beside the folder. What
// stands behind the header nobody has compared with it.
func (x *explainer) bytecode(ctx context.Context, c *diff.Change) answer {
	source, ok := sourceOf(c.Path)
	if !ok || !x.owned(ctx, source) {
		return nothing
	}
	b, ok := x.read(ctx, c, maxBytecode)
	if !ok {
		return nothing
	}
	h, ok := parseHeader(b)
	if !ok {
		return nothing
	}
	if h.hashed {
		text, ok := x.world.Reference(ctx, source, maxSource)
		if !ok || h.hash != sipHash(uint64(h.magic), text, 1) && h.hash != sipHash(uint64(h.magic), text, 2) {
			return nothing
		}
	} else {
		e, ok := x.look(ctx, source)
		if !ok || e.Kind != entry.File || e.Have&(entry.Mtime|entry.Size) != entry.Mtime|entry.Size ||
			uint32(e.Mtime.Sec) != h.mtime || uint32(e.Size) != h.size {
			return nothing
		}
	}
	return answer{level: rules.Attributed, sources: []entry.Path{source}}
}

// sipHash is SipHash-1-3 (rounds 1, Python from 3.11) or SipHash-2-4 (rounds 2)
// with a key of 64 bits, as _imp.source_hash uses it.
func sipHash(key uint64, b []byte, rounds int) uint64 {
	v0, v1, v2, v3 := key^0x736f6d6570736575, uint64(0x646f72616e646f6d), key^0x6c7967656e657261, uint64(0x7465646279746573)
	mix := func(n int) {
		for range n {
			v0 += v1
			v1 = bits.RotateLeft64(v1, 13) ^ v0
			v0 = bits.RotateLeft64(v0, 32)
			v2 += v3
			v3 = bits.RotateLeft64(v3, 16) ^ v2
			v0 += v3
			v3 = bits.RotateLeft64(v3, 21) ^ v0
			v2 += v1
			v1 = bits.RotateLeft64(v1, 17) ^ v2
			v2 = bits.RotateLeft64(v2, 32)
		}
	}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		m := binary.LittleEndian.Uint64(b)
		v3 ^= m
		mix(rounds)
		v0 ^= m
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	mix(rounds)
	v0 ^= last
	v2 ^= 0xff
	mix(rounds + 2)
	return v0 ^ v1 ^ v2 ^ v3
}
