package unpack

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// An ar archive as dpkg-deb(1) writes it: short names, sizes in decimal.
const (
	arMagic  = "!<arch>\n"
	arHeader = 60
	arEnd    = "`\n"
)

// MaxArMembers bounds the members of an ar archive. A package has three, and
// what others add to it.
const MaxArMembers = 64

// ErrAr is returned for what is no ar archive, or one of another kind.
var ErrAr = errors.New("not an ar archive as dpkg writes it")

// Ar reads an ar archive from its beginning to its end.
type Ar struct {
	r    io.Reader
	left int64 // of the member
	pad  int64 // behind it
	n    int
	err  error // sticks
}

// NewAr begins to read an archive.
func NewAr(r io.Reader) (*Ar, error) {
	var b [len(arMagic)]byte
	if _, err := io.ReadFull(r, b[:]); err != nil || string(b[:]) != arMagic {
		if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrAr
		}
		return nil, err
	}
	return &Ar{r: r}, nil
}

// Next goes to the next member and returns its name and its size in bytes.
// io.EOF says that there is none.
func (a *Ar) Next() (name string, size int64, err error) {
	if a.err == nil {
		name, size, a.err = a.next()
	}
	return name, size, a.err
}

func (a *Ar) next() (string, int64, error) {
	if n, err := io.CopyN(io.Discard, a.r, a.left); err != nil {
		return "", 0, fmt.Errorf("member of an ar archive: %w after %d bytes", arTruncated(err), n)
	}
	a.left = 0
	if a.pad > 0 {
		var b [1]byte
		if _, err := io.ReadFull(a.r, b[:]); err != nil {
			return "", 0, fmt.Errorf("ar archive: %w", arTruncated(err))
		}
		if b[0] != '\n' {
			return "", 0, fmt.Errorf("%w: something between two members", ErrAr)
		}
		a.pad = 0
	}
	var h [arHeader]byte
	if n, err := io.ReadFull(a.r, h[:]); n == 0 && err == io.EOF {
		return "", 0, io.EOF
	} else if err != nil {
		return "", 0, fmt.Errorf("ar archive: %w", arTruncated(err))
	}
	if a.n++; a.n > MaxArMembers {
		return "", 0, fmt.Errorf("%w: over %d members", ErrAr, MaxArMembers)
	}
	name := strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
	digits := strings.TrimRight(string(h[48:58]), " ")
	size, err := strconv.ParseUint(digits, 10, 40)
	if err != nil || string(h[58:]) != arEnd || name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, "#1") {
		return "", 0, fmt.Errorf("%w: header of member %d", ErrAr, a.n)
	}
	a.left, a.pad = int64(size), int64(size&1)
	return name, a.left, nil
}

func arTruncated(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrTruncated
	}
	return err
}

// Read reads the member.
func (a *Ar) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	if a.left == 0 {
		return 0, io.EOF
	}
	n, err := a.r.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	if err == io.EOF {
		if err = nil; a.left > 0 {
			err = fmt.Errorf("member of an ar archive: %w", ErrTruncated)
		}
	}
	return n, err
}
