// Package expect explains changes by manifests that somebody else has signed:
// what a build made, and what it must be once it is installed. It verifies no
// signatures and reads no files: that is done before a manifest comes here.
//
// # The format
//
// A manifest is text, one line for each path:
//
//	intact.expect/1
//	label NAME
//	created TIME
//	dir MODE UID:GID PATH
//	file MODE UID:GID SIZE SHA256 BLAKE3 PATH
//	link UID:GID PATH TARGET
//	removed PATH
//
// The line of the time, RFC 3339 in UTC with whole seconds, may be missing.
// MODE is four octal digits, UID, GID and SIZE are decimal, digests are lower-case
// hex; BLAKE3 is "-" where whoever made the manifest did not know it. Names are
// any bytes but NUL: what is not visible ASCII, and the backslash, is written as
// \xHH, so that a blank only separates and a newline only ends. Paths are
// absolute, without empty, "." and ".." components, each once, in the order of the
// tree: a directory stands before what is in it. There is one spelling for each
// manifest, so equal manifests are equal bytes.
package expect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Format is the first line of a manifest.
const Format = "intact.expect/1"

// Namespace is what a signature of a manifest is made for: an SSHSIG over all
// its bytes.
const Namespace = "intact-expect@v1"

// Bounds of a manifest.
const (
	MaxSize   = 64 << 20 // bytes of all of it
	maxLine   = 160 << 10
	maxName   = 255  // bytes of a component, NAME_MAX
	maxTarget = 4095 // bytes of where a link leads, PATH_MAX
	maxLabel  = 200  // bytes
)

// Line is what a manifest says of one path.
type Line struct {
	Path    entry.Path
	Removed bool       // nothing is there: all below is zero
	Kind    entry.Kind // File, Dir or Symlink
	Mode    uint16     // 07777; of a link 0
	UID     uint32
	GID     uint32
	Size    int64 // of a file
	SHA256  [sha256.Size]byte
	BLAKE3  digest.Digest
	Known   bool   // BLAKE3 is known
	Target  []byte // of a link
}

// append appends the line with its newline to dst.
func (l *Line) append(dst []byte) []byte {
	owner := func() {
		dst = strconv.AppendUint(append(dst, ' '), uint64(l.UID), 10)
		dst = strconv.AppendUint(append(dst, ':'), uint64(l.GID), 10)
	}
	mode := func() { dst = fmt.Appendf(dst, " %04o", l.Mode) }
	switch {
	case l.Removed:
		dst = append(dst, "removed"...)
	case l.Kind == entry.Dir:
		dst = append(dst, "dir"...)
		mode()
		owner()
	case l.Kind == entry.File:
		dst = append(dst, "file"...)
		mode()
		owner()
		dst = strconv.AppendInt(append(dst, ' '), l.Size, 10)
		dst = hex.AppendEncode(append(dst, ' '), l.SHA256[:])
		if dst = append(dst, ' '); l.Known {
			dst = hex.AppendEncode(dst, l.BLAKE3[:])
		} else {
			dst = append(dst, '-')
		}
	case l.Kind == entry.Symlink:
		dst = append(dst, "link"...)
		owner()
	}
	dst = appendName(append(dst, ' '), string(l.Path))
	if l.Kind == entry.Symlink {
		dst = appendName(append(dst, ' '), string(l.Target))
	}
	return append(dst, '\n')
}

// check says what is wrong with a line.
func (l *Line) check() error {
	if clean, err := entry.NewPath(string(l.Path)); err != nil || clean != l.Path || len(l.Path) > entry.MaxKey {
		return fmt.Errorf("%q is no clean absolute path", l.Path)
	}
	for _, c := range l.Path.Components() {
		if len(c) > maxName {
			return fmt.Errorf("%q has a name of more than %d bytes", l.Path, maxName)
		}
	}
	switch {
	case l.Removed:
		return nil
	case l.Kind != entry.File && l.Kind != entry.Dir && l.Kind != entry.Symlink:
		return fmt.Errorf("%q is a %s: a manifest knows files, directories and links", l.Path, l.Kind)
	case l.Mode > 0o7777 || l.Kind == entry.Symlink && l.Mode != 0:
		return fmt.Errorf("%q has the mode %o", l.Path, l.Mode)
	case l.Size < 0:
		return fmt.Errorf("%q has the size %d", l.Path, l.Size)
	case l.Kind != entry.Symlink:
		return nil
	}
	if n := len(l.Target); n == 0 || n > maxTarget {
		return fmt.Errorf("%q leads to a name of %d bytes", l.Path, n)
	}
	for _, c := range l.Target {
		if c == 0 {
			return fmt.Errorf("%q leads to a name with a NUL byte", l.Path)
		}
	}
	return nil
}

// plain reports whether a byte of a name is written as it is.
func plain(c byte) bool { return c > ' ' && c <= '~' && c != '\\' }

func appendName(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i := range len(s) {
		if c := s[i]; plain(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '\\', 'x', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// name undoes appendName. Other spellings are told by writing it again.
func name(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			b = append(b, c)
			continue
		}
		if len(s)-i < 4 || s[i+1] != 'x' {
			return "", false
		}
		v, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(v))
		i += 3
	}
	return string(b), true
}

// Header is what stands before the lines.
type Header struct {
	Label   string    // what people call it, any bytes but NUL
	Created time.Time // by whoever made it; zero: it was not said
}

func (h *Header) append(dst []byte) []byte {
	dst = append(dst, Format+"\nlabel "...)
	dst = append(appendName(dst, h.Label), '\n')
	if !h.Created.IsZero() {
		dst = append(dst, "created "...)
		dst = append(h.Created.UTC().AppendFormat(dst, time.RFC3339), '\n')
	}
	return dst
}

func (h *Header) check() error {
	if n := len(h.Label); n == 0 || n > maxLabel {
		return fmt.Errorf("a label of %d bytes: want 1 to %d", n, maxLabel)
	}
	if h.Created.Nanosecond() != 0 || !h.Created.IsZero() && (h.Created.Year() < 1970 || h.Created.Year() > 9999) {
		return fmt.Errorf("the time %v", h.Created)
	}
	return nil
}
