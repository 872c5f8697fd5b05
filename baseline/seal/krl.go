package seal

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// krlMagic begins a key revocation list.
const krlMagic = "SSHKRL\n\x00"

// Kinds of sections, and of those inside a section of certificates
// (PROTOCOL.krl §2, §3).
const (
	krlCertificates = 1
	krlKeys         = 2
	krlSHA1         = 3
	krlSignature    = 4
	krlSHA256       = 5
	krlExtension    = 255

	krlSerialList    = 0x20
	krlSerialRange   = 0x21
	krlSerialBitmap  = 0x22
	krlKeyID         = 0x23
	krlCertExtension = 0x39
)

// maxBitmap bounds one bitmap, in bytes: the largest number that OpenSSH
// reads, and its sign.
const maxBitmap = 16384/8 + 1

// krlReader takes fields of RFC 4251. Past an error it returns zero values. It
// never allocates by a length that the data claims.
type krlReader struct {
	rest []byte
	err  error
}

func (r *krlReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrRevocations}, args...)...)
	}
}

// take returns the next n bytes, or nil.
func (r *krlReader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.rest) {
		r.fail("it ends too early")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *krlReader) more() bool { return r.err == nil && len(r.rest) > 0 }

func (r *krlReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *krlReader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *krlReader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *krlReader) string() []byte {
	n := r.uint32()
	if n > MaxRevoked {
		r.fail("a field of %d bytes", n)
		return nil
	}
	return r.take(int(n))
}

// section runs read over the bytes of a string until they end.
func (r *krlReader) section(read func(*krlReader)) {
	in := krlReader{rest: r.string(), err: r.err}
	for in.more() {
		read(&in)
	}
	r.err = in.err
}

// parseKRL reads a binary list into r.
func (r *Revoked) parseKRL(data []byte) error {
	in := &krlReader{rest: data[len(krlMagic):]}
	if v := in.uint32(); in.err == nil && v != 1 {
		in.fail("format version %d, want 1", v)
	}
	in.uint64() // number of the list
	in.uint64() // when it was made
	in.uint64() // flags: none are defined
	in.string() // reserved
	in.string() // comment
	signed := false
	for in.more() {
		kind := in.byte()
		if signed && kind != krlSignature {
			in.fail("section %d behind a signature", kind)
		}
		switch kind {
		case krlCertificates:
			r.certificates(in)
		case krlKeys:
			in.section(r.explicitKey)
		case krlSHA1:
			in.section(func(in *krlReader) {
				if b := in.fixed(sha1.Size); b != nil {
					r.sha1[[sha1.Size]byte(b)] = true
				}
			})
		case krlSHA256:
			in.section(func(in *krlReader) {
				if b := in.fixed(sha256.Size); b != nil {
					r.sha256[[sha256.Size]byte(b)] = true
				}
			})
		case krlSignature:
			in.string() // the key
			in.string() // the signature of all that is before it
			signed = true
		case krlExtension:
			in.section((*krlReader).extension)
		default:
			in.fail("unknown section %d", kind)
		}
	}
	return in.err
}

// fixed takes a string that must be n bytes long.
func (r *krlReader) fixed(n int) []byte {
	b := r.string()
	if r.err == nil && len(b) != n {
		r.fail("a fingerprint of %d bytes, want %d", len(b), n)
		return nil
	}
	return b
}

// extension passes over one that is not critical.
func (r *krlReader) extension() {
	name, critical := r.string(), r.byte()
	r.string()
	if r.err == nil && critical != 0 {
		r.fail("unknown critical extension %q", name)
	}
}

// explicitKey takes one plain key of any type. Nothing matches a certificate
// there, so it is no way to revoke one and must not look as if it were.
func (r *Revoked) explicitKey(in *krlReader) {
	blob := in.string()
	if in.err != nil {
		return
	}
	t, err := blobType(blob)
	if err != nil || strings.Contains(t, "-cert-v0") {
		in.fail("an explicit key of type %q", t)
		return
	}
	r.keys[string(blob)] = true
}

// certificates takes the section of one authority; an empty one means all.
func (r *Revoked) certificates(in *krlReader) {
	body := &krlReader{rest: in.string(), err: in.err}
	ca := string(body.string())
	body.string() // reserved
	if ca != "" && body.err == nil {
		if t, err := blobType([]byte(ca)); err != nil || strings.Contains(t, "-cert-v0") {
			body.fail("an authority of type %q", t)
		}
	}
	list := r.certs[ca]
	if list == nil {
		list = &revokedCerts{ids: map[string]bool{}}
		r.certs[ca] = list
	}
	for body.more() {
		switch kind := body.byte(); kind {
		case krlSerialList:
			body.section(func(in *krlReader) { n := in.uint64(); list.add(in, n, n) })
		case krlSerialRange:
			body.section(func(in *krlReader) { low, high := in.uint64(), in.uint64(); list.add(in, low, high) })
		case krlSerialBitmap:
			body.section(list.bitmap)
		case krlKeyID:
			body.section(func(in *krlReader) {
				if id := in.string(); in.err == nil {
					list.ids[string(id)] = true
				}
			})
		case krlCertExtension:
			body.section((*krlReader).extension)
		default:
			body.fail("unknown section %#x of certificates", kind)
		}
	}
	in.err = body.err
}

// add takes a range of serial numbers. As OpenSSH it refuses 0, which stands
// for certificates without one.
func (c *revokedCerts) add(in *krlReader, low, high uint64) {
	switch {
	case in.err != nil:
	case low == 0 || low > high:
		in.fail("serial numbers %d to %d", low, high)
	default:
		c.serials = append(c.serials, span{low, high})
	}
}

// bitmap takes one set of serial numbers.
func (c *revokedCerts) bitmap(in *krlReader) {
	low, bits := in.uint64(), in.string()
	switch {
	case in.err != nil:
		return
	case len(bits) == 0:
		return
	case len(bits) > maxBitmap || bits[0]&0x80 != 0:
		in.fail("a bitmap of %d bytes", len(bits))
		return
	}
	last := bits[len(bits)-1]
	switch {
	case low == 0 && last&1 != 0:
		in.fail("serial number 0 in a bitmap")
	case low > math.MaxUint64-uint64(len(bits))*8:
		in.fail("a bitmap beyond the last serial number")
	default:
		c.bitmaps = append(c.bitmaps, bitmap{low, bytes.Clone(bits)})
	}
}
