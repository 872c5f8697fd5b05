package osupdates

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"intact/rules/pkgdb/deb822"
	"intact/scanner/unpack"
)

// Limits of one list of packages. That of Debian's main has 50 MB.
const (
	maxIndex   = 2 << 30 // bytes that come out
	scanBuffer = 256 << 10
)

// eachStanza calls do for every stanza whose package is wanted, as it stands in
// the list, with the line that it begins at. The others are not looked into:
// a list has a hundred of them for each that is wanted.
func eachStanza(ctx context.Context, name string, src io.Reader, wanted func(name []byte) bool, do func(raw []byte, line int) error) error {
	head := bufio.NewReaderSize(src, 64<<10)
	magic, err := head.Peek(unpack.MagicSize)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if len(magic) == 0 {
		return nil // an archive without packages has an empty list
	}
	z, err := unpack.NewReader(head, unpack.Detect(magic), unpack.Limits{Output: maxIndex})
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	defer z.Close()
	err = cutStanzas(ctx, z, wanted, do)
	if at := (*deb822.LineError)(nil); err != nil && !errors.As(err, &at) {
		err = fmt.Errorf("read %q: %w", name, err)
	}
	return err
}

// cutStanzas holds one stanza at a time, or as many as its buffer has room for.
func cutStanzas(ctx context.Context, in io.Reader, wanted func(name []byte) bool, do func(raw []byte, line int) error) error {
	buf := make([]byte, 0, scanBuffer)
	line, from := 1, 0 // from is where no end was found before
	for end := false; !end; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if len(buf) == cap(buf) {
			if cap(buf) >= deb822.MaxStanza {
				return fmt.Errorf("line %d: %w: over %d bytes", line, deb822.ErrTooLarge, deb822.MaxStanza)
			}
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if end = err == io.EOF; err != nil && !end {
			return err
		}
		rest := buf
		for len(rest) > 0 {
			i := bytes.Index(rest[from:], []byte("\n\n"))
			raw := rest
			switch {
			case i >= 0:
				raw = rest[:from+i+1]
			case !end:
				from = max(len(rest)-1, 0)
			}
			if i < 0 && !end {
				break
			}
			from = 0
			if name, ok := packageName(raw); ok && wanted(name) {
				skip := len(raw) - len(bytes.TrimLeft(raw, "\n"))
				if err := do(raw[skip:], line+skip); err != nil {
					return err
				}
			}
			line += bytes.Count(raw, []byte("\n"))
			rest = rest[len(raw):]
		}
		buf = buf[:copy(buf, rest)]
	}
	return nil
}

// packageName returns the value of the field Package of a stanza. It stands
// first in what the archives write.
func packageName(raw []byte) ([]byte, bool) {
	const field = "package:"
	for raw = bytes.TrimLeft(raw, "\n"); len(raw) > 0; {
		var l []byte
		l, raw, _ = bytes.Cut(raw, []byte("\n"))
		if len(l) > len(field) && bytes.EqualFold(l[:len(field)], []byte(field)) {
			return bytes.TrimSpace(l[len(field):]), true
		}
	}
	return nil, false
}
