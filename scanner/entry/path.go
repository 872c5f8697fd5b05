package entry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path"
	"strings"
)

// Path names one object inside a root: absolute, no empty, "." or ".."
// components, "/" alone for the root itself. Any byte but NUL may occur in a
// component; a Path is bytes, never assumed to be UTF-8.
type Path string

// MaxKey is the longest directory path, in bytes, that a baseline can hold.
// Longer ones are reported as gaps (bbolt refuses keys over 32,768 bytes).
const MaxKey = 32000

// Errors of NewPath and ParseKey.
var (
	ErrNotAbsolute = errors.New("path is not absolute")
	ErrNUL         = errors.New("path contains a NUL byte")
	ErrBadKey      = errors.New("malformed directory key")
)

// NewPath cleans s lexically and returns it as a Path.
func NewPath(s string) (Path, error) {
	if !strings.HasPrefix(s, "/") {
		return "", ErrNotAbsolute
	}
	if strings.IndexByte(s, 0) >= 0 {
		return "", ErrNUL
	}
	return Path(path.Clean(s)), nil
}

// Join returns the path of the child called name.
func (p Path) Join(name []byte) Path {
	if len(name) == 0 {
		return p
	}
	if p == "/" {
		return Path("/" + string(name))
	}
	return p + "/" + Path(name)
}

// Dir returns the parent; the parent of "/" is "/".
func (p Path) Dir() Path {
	i := strings.LastIndexByte(string(p), '/')
	if i <= 0 {
		return "/"
	}
	return p[:i]
}

// Base returns the last component, empty for "/".
func (p Path) Base() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

// Under reports whether p is dir or lies below it, by whole components.
func (p Path) Under(dir Path) bool {
	if dir == "/" || p == dir {
		return true
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// Components returns the names on the way from the root, none for "/".
func (p Path) Components() []string {
	if p == "/" || p == "" {
		return nil
	}
	return strings.Split(string(p[1:]), "/")
}

// Key returns the stored form of p: every '/' becomes NUL, so that the byte
// order of keys is the depth-first order of the tree.
func (p Path) Key() []byte { return p.AppendKey(nil) }

// AppendKey appends the stored form of p to dst.
func (p Path) AppendKey(dst []byte) []byte {
	n := len(dst)
	dst = append(dst, p...)
	for i := n; i < len(dst); i++ {
		if dst[i] == '/' {
			dst[i] = 0
		}
	}
	return dst
}

// partTail is the length of what PartKey adds: NUL NUL and a big-endian uint32.
const partTail = 6

// PartKey returns the key of a continuation part of directory p. Part 0 is the
// plain key. No child directory has such a key, because no name is empty, and
// all parts sort directly behind the plain key.
func PartKey(p Path, part uint32) []byte {
	k := p.Key()
	if part == 0 {
		return k
	}
	if p == "/" {
		k = k[:0]
		k = append(k, 0)
	}
	k = append(k, 0, 0)
	return binary.BigEndian.AppendUint32(k, part)
}

// ParseKey is the inverse of PartKey. It refuses what PartKey cannot make.
func ParseKey(k []byte) (Path, uint32, error) {
	var part uint32
	dir := k
	if i := bytes.Index(k, []byte{0, 0}); i >= 0 {
		if len(k)-i != partTail && !(i == 0 && len(k) == 1+partTail) {
			return "", 0, ErrBadKey
		}
		part = binary.BigEndian.Uint32(k[len(k)-4:])
		dir = k[:len(k)-partTail]
		if part == 0 {
			return "", 0, ErrBadKey
		}
	}
	if len(dir) == 0 || dir[0] != 0 || (len(dir) > 1 && dir[len(dir)-1] == 0) || bytes.IndexByte(dir, '/') >= 0 {
		return "", 0, ErrBadKey
	}
	p := Path(bytes.ReplaceAll(dir, []byte{0}, []byte{'/'}))
	if Path(path.Clean(string(p))) != p || !bytes.Equal(PartKey(p, part), k) {
		return "", 0, ErrBadKey
	}
	return p, part, nil
}
