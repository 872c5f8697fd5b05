package diff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"intact/scanner/entry"
)

// ErrEncoding is wrapped by every error of DecodeChange.
var ErrEncoding = errors.New("malformed change")

const (
	hasOld = 1 << iota
	hasNew
	isFolded
)

const (
	setLog = 1 << iota
	setSweep
)

// AppendChange appends c to dst, complete and by itself. It starts with the
// length of the path and the path, so that encodings can be ordered without
// being decoded.
func AppendChange(dst []byte, c *Change) []byte {
	dst = appendString(dst, string(c.Path))
	var flags byte
	if c.Old != nil {
		flags |= hasOld
	}
	if c.New != nil {
		flags |= hasNew
	}
	if c.Folded {
		flags |= isFolded
	}
	dst = append(dst, byte(c.Kind), flags)
	dst = appendString(dst, string(c.From))
	for _, a := range [...]entry.Attr{c.Attrs, c.Lost, c.Gained} {
		dst = binary.AppendUvarint(dst, uint64(a))
	}
	dst = appendString(dst, c.Reason)
	dst = binary.AppendUvarint(dst, uint64(c.Count))
	dst = appendString(dst, string(c.LinkOf))
	dst = binary.AppendUvarint(dst, uint64(len(c.Links)))
	for _, l := range c.Links {
		dst = appendString(dst, string(l))
	}
	if c.Old != nil {
		dst = appendSet(dst, c.OldSet)
		dst = entry.AppendEntry(dst, c.Old)
	}
	if c.New != nil {
		dst = appendSet(dst, c.NewSet)
		dst = entry.AppendEntry(dst, c.New)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendSet(dst []byte, s entry.Set) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Mask))
	dst = binary.AppendUvarint(dst, uint64(s.DirMask))
	var flags byte
	if s.Log {
		flags |= setLog
	}
	if s.Sweep {
		flags |= setSweep
	}
	return append(dst, flags)
}

// DecodeChange reads what AppendChange wrote; b must hold nothing else. The
// entries' slices point into b. Errors wrap ErrEncoding.
func DecodeChange(b []byte) (*Change, error) {
	d := decoder{b: b}
	c, flags := d.head()
	if flags&hasOld != 0 {
		c.Old, c.OldSet = d.entry()
	}
	if flags&hasNew != 0 {
		c.New, c.NewSet = d.entry()
	}
	if d.bad || len(d.b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrEncoding, len(b))
	}
	return c, nil
}

// DecodeHead reads all but the entries, which are nil. It keeps nothing of b.
func DecodeHead(b []byte) (*Change, error) {
	d := decoder{b: b}
	c, _ := d.head()
	if d.bad {
		return nil, fmt.Errorf("%w: %d bytes", ErrEncoding, len(b))
	}
	return c, nil
}

// Tied returns the other paths that an encoded change speaks of: the old one of a
// rename, and the name that stands for it; where there is none, path is empty too. What
// changes at one of them concerns the change. Errors wrap ErrEncoding.
func Tied(b []byte) (path entry.Path, others []entry.Path, err error) {
	d := decoder{b: b}
	own := d.take(d.uint())
	d.take(2)
	from := d.take(d.uint())
	for range 3 {
		d.uint()
	}
	d.take(d.uint())
	d.uint()
	link := d.take(d.uint())
	if d.bad {
		return "", nil, fmt.Errorf("%w: %d bytes", ErrEncoding, len(b))
	}
	for _, p := range [...][]byte{from, link} {
		if len(p) > 0 {
			path, others = entry.Path(own), append(others, entry.Path(p))
		}
	}
	return path, others, nil
}

// head reads what stands before the entries.
func (d *decoder) head() (c *Change, flags byte) {
	c = &Change{Path: entry.Path(d.string())}
	if h := d.take(2); !d.bad {
		c.Kind, flags = Kind(h[0]), h[1]
	}
	c.Folded = flags&isFolded != 0
	c.From = entry.Path(d.string())
	c.Attrs, c.Lost, c.Gained = d.attr(), d.attr(), d.attr()
	c.Reason = d.string()
	count := d.uint()
	c.Count = int64(count)
	c.LinkOf = entry.Path(d.string())
	links := d.uint()
	if links > MaxLinks || count>>63 != 0 || c.Kind == 0 || int(c.Kind) >= len(kindNames) || flags&^(hasOld|hasNew|isFolded) != 0 {
		d.bad = true
	}
	for i := uint64(0); i < links && !d.bad; i++ {
		c.Links = append(c.Links, entry.Path(d.string()))
	}
	return c, flags
}

// decoder consumes an encoding; bad sticks.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.take(d.uint())) }

func (d *decoder) attr() entry.Attr {
	v := d.uint()
	if v>>32 != 0 {
		d.bad = true
	}
	return entry.Attr(v)
}

func (d *decoder) entry() (*entry.Entry, entry.Set) {
	s := entry.Set{Mask: d.attr(), DirMask: d.attr()}
	f := d.take(1)
	if d.bad || f[0]&^(setLog|setSweep) != 0 {
		d.bad = true
		return nil, s
	}
	s.Log, s.Sweep = f[0]&setLog != 0, f[0]&setSweep != 0
	e, rest, err := entry.DecodeEntry(d.b)
	if err != nil {
		d.bad, d.b = true, nil
		return nil, s
	}
	d.b = rest
	return e, s
}

// pathOf returns the path at the start of an encoding, nil if there is none.
func pathOf(b []byte) []byte {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil
	}
	return b[k : k+int(n)]
}

// compareEncodings orders encodings by the tree order of their paths; equal
// paths by all bytes, so that the order does not depend on who came first.
func compareEncodings(a, b []byte) int {
	if n := comparePaths(pathOf(a), pathOf(b)); n != 0 {
		return n
	}
	return bytes.Compare(a, b)
}

// comparePaths orders paths as their keys do, '/' before all else.
func comparePaths[T string | []byte | entry.Path](a, b T) int {
	const stride = 16 // neighbours begin alike, and equal pieces are compared fast
	n, i := min(len(a), len(b)), 0
	for i+stride <= n && string(a[i:i+stride]) == string(b[i:i+stride]) {
		i += stride
	}
	for ; i < n; i++ {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}
