package seal

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// MaxRevoked bounds a list of what is revoked, in bytes.
const MaxRevoked = 32 << 20

// Revoked is what is not trusted any more: keys, and certificates by serial
// number or key id. It does not change once it is read.
type Revoked struct {
	keys   map[string]bool // wire forms of plain keys
	sha1   map[[sha1.Size]byte]bool
	sha256 map[[sha256.Size]byte]bool
	certs  map[string]*revokedCerts // wire form of the authority, "" for all
}

// revokedCerts are certificates of one authority.
type revokedCerts struct {
	serials []span // sorted, apart from each other
	bitmaps []bitmap
	ids     map[string]bool
}

// span is a range of serial numbers, both ends included.
type span struct{ low, high uint64 }

// bitmap is a set of serial numbers: bit 0, the lowest of the last byte, is
// low.
type bitmap struct {
	low  uint64
	bits []byte
}

// ParseRevoked reads a key revocation list (PROTOCOL.krl of OpenSSH, what
// "ssh-keygen -k" writes) or a text with one public key on a line, as
// "ssh-keygen -Y verify -r" takes. Keys that are not accepted here are read
// too. A signature inside of a list is not verified: the list is trusted as
// the file that it is. Errors wrap ErrRevocations, or are a strict.Errors for
// a text; name is what they call the file.
func ParseRevoked(name string, data []byte) (*Revoked, error) {
	if len(data) > MaxRevoked {
		return nil, fmt.Errorf("%w: %q is longer than %d bytes", ErrRevocations, name, MaxRevoked)
	}
	r := &Revoked{
		keys: map[string]bool{}, sha1: map[[sha1.Size]byte]bool{}, sha256: map[[sha256.Size]byte]bool{},
		certs: map[string]*revokedCerts{},
	}
	if !bytes.HasPrefix(data, []byte(krlMagic)) {
		if err := r.parseText(name, data); err != nil {
			return nil, err
		}
		return r, nil
	}
	if err := r.parseKRL(data); err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	for _, c := range r.certs {
		c.serials = join(c.serials)
	}
	return r, nil
}

// Check says why a key is revoked: it is listed, its certificate is, or the
// authority that signed that. Errors wrap ErrRevoked.
func (r *Revoked) Check(k Key) error {
	if r.hasKey(k.public) {
		return fmt.Errorf("%w: key %s", ErrRevoked, k.Fingerprint)
	}
	c := k.Cert
	if c == nil {
		return nil
	}
	if r.hasKey(c.CA.public) {
		return fmt.Errorf("%w: %s, the authority of certificate %q", ErrRevoked, c.CA.Fingerprint, c.ID)
	}
	for _, ca := range []string{string(c.CA.blob), ""} {
		switch list := r.certs[ca]; {
		case list == nil:
		case list.ids[c.ID]:
			return fmt.Errorf("%w: certificates with key id %q", ErrRevoked, c.ID)
		case list.hasSerial(c.Serial):
			return fmt.Errorf("%w: certificate %q with serial %d", ErrRevoked, c.ID, c.Serial)
		}
	}
	return nil
}

func (r *Revoked) hasKey(p ssh.PublicKey) bool {
	if p == nil {
		return false
	}
	blob := p.Marshal()
	return r.keys[string(blob)] || r.sha256[sha256.Sum256(blob)] || r.sha1[sha1.Sum(blob)]
}

// hasSerial is never true of 0, the number of certificates without one: no
// list that was read holds it.
func (c *revokedCerts) hasSerial(n uint64) bool {
	_, found := slices.BinarySearchFunc(c.serials, n, func(s span, n uint64) int {
		switch {
		case s.high < n:
			return -1
		case s.low > n:
			return 1
		}
		return 0
	})
	return found || slices.ContainsFunc(c.bitmaps, func(b bitmap) bool { return b.has(n) })
}

func (b bitmap) has(n uint64) bool {
	if n < b.low {
		return false
	}
	bit := n - b.low
	if bit/8 >= uint64(len(b.bits)) {
		return false
	}
	return b.bits[uint64(len(b.bits))-1-bit/8]>>(bit%8)&1 == 1
}

// join sorts ranges and joins those that touch.
func join(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		switch {
		case a.low < b.low:
			return -1
		case a.low > b.low:
			return 1
		}
		return 0
	})
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.low <= out[n-1].high {
			out[n-1].high = max(out[n-1].high, s.high)
			continue
		}
		out = append(out, s)
	}
	return out
}

// parseText reads public keys, one on a line. Of a certificate its key is
// revoked.
func (r *Revoked) parseText(name string, data []byte) error {
	p := signersParser{name: name}
	no := 0
	for text := range bytes.Lines(data) {
		no++
		line := strings.TrimRight(string(text), "\r\n")
		l := &lineParser{file: &p, no: no, text: line}
		l.skipBlanks()
		if l.pos == len(line) || line[l.pos] == '#' {
			continue
		}
		r.textKey(l)
	}
	return p.err()
}

func (r *Revoked) textKey(l *lineParser) {
	start := l.pos
	t := l.word()
	if !isKeyType(t) {
		l.fail(start, "%+q is not a type of keys, and the file no key revocation list", clip(t))
		return
	}
	l.skipBlanks()
	at := l.pos
	blob, err := keyBlob(t, l.word())
	if err != nil {
		l.fail(at, "%v", err)
		return
	}
	if t == "ssh-dss" {
		r.keys[string(blob)] = true
		return
	}
	p, err := ssh.ParsePublicKey(blob)
	if err != nil {
		l.fail(at, "%v", err)
		return
	}
	if c, ok := p.(*ssh.Certificate); ok {
		p = c.Key
	}
	r.keys[string(p.Marshal())] = true
}

// clip shortens a word of a file that may be none.
func clip(s string) string { return s[:min(len(s), 40)] }
