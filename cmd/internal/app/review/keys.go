package review

import (
	"bytes"
	"unicode/utf8"
)

// decoder turns what a terminal sends into keys. It holds what is not complete
// yet.
type decoder struct {
	rest    []byte
	pasting bool
}

// stroke is a key, or a character that was pasted.
type stroke struct {
	key    Key
	pasted bool
}

// A terminal puts these around what is pasted, if it was asked to.
var (
	pasteBegin = []byte("\x1b[200~")
	pasteEnd   = []byte("\x1b[201~")
)

// maxSequence is the longest sequence that is waited for.
const maxSequence = 32

// sequences are the keys behind an escape. It is never changed.
var sequences = map[string]Key{
	"[A": Up, "[B": Down, "OA": Up, "OB": Down, "[5~": PageUp, "[6~": PageDown,
	"[H": Home, "[F": End, "OH": Home, "OF": End, "[1~": Home, "[4~": End, "[7~": Home, "[8~": End,
}

// decode returns the keys in b. An escape that nothing follows is the key: a
// terminal sends a sequence in one piece.
func (d *decoder) decode(b []byte) (out []stroke) {
	b = append(d.rest, b...)
	d.rest = nil
	for len(b) > 0 {
		switch {
		case bytes.HasPrefix(b, pasteBegin):
			d.pasting, b = true, b[len(pasteBegin):]
		case bytes.HasPrefix(b, pasteEnd):
			d.pasting, b = false, b[len(pasteEnd):]
		case d.pasting && len(b) < len(pasteEnd) && bytes.HasPrefix(pasteEnd, b):
			d.rest = bytes.Clone(b)
			return out
		case b[0] == 0x1b && !d.pasting:
			n, k := sequence(b)
			if k != 0 {
				out = append(out, stroke{key: k})
			}
			b = b[n:]
		default:
			if !utf8.FullRune(b) {
				d.rest = bytes.Clone(b)
				return out
			}
			r, n := utf8.DecodeRune(b)
			out = append(out, stroke{Key(r), d.pasting})
			b = b[n:]
		}
	}
	return out
}

// sequence returns the length of the escape sequence that b begins with, and
// its key, 0 if it has none here.
func sequence(b []byte) (n int, k Key) {
	if len(b) == 1 || b[1] != '[' && b[1] != 'O' {
		return 1, Escape
	}
	for n = 2; n < len(b) && n < maxSequence; n++ {
		if c := b[n]; c >= 0x40 && c <= 0x7e {
			return n + 1, sequences[string(b[1:n+1])]
		}
	}
	return n, 0
}
