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

// cut says where the pieces of a list end.
type cut struct {
	end  string // what stands between two pieces
	keep int    // how many bytes of it belong to the piece before
}

// The pieces of a list of packages of deb, and of those of rpm.
var (
	stanzas    = cut{"\n\n", 1}
	packages   = cut{"</package>", len("</package>")}
	advisories = cut{"</update>", len("</update>")}
)

// eachStanza calls do for every stanza whose package is wanted, as it stands in
// the list, with the line that it begins at. The others are not looked into:
// a list has a hundred of them for each that is wanted.
func eachStanza(ctx context.Context, name string, src io.Reader, wanted func(name []byte) bool, do func(raw []byte, line int) error) error {
	return stanzas.each(ctx, name, src, func(raw []byte, line int) error {
		pkg, ok := packageName(raw)
		if !ok || !wanted(pkg) {
			return nil
		}
		skip := len(raw) - len(bytes.TrimLeft(raw, "\n"))
		return do(raw[skip:], line+skip)
	})
}

// each unpacks a list, which errors call name, and calls do for each piece with
// the line that it begins at.
func (c cut) each(ctx context.Context, name string, src io.Reader, do func(raw []byte, line int) error) error {
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
	err = c.pieces(ctx, z, do)
	if at := (*deb822.LineError)(nil); err != nil && !errors.As(err, &at) {
		err = fmt.Errorf("read %q: %w", name, err)
	}
	return err
}

// pieces holds one piece at a time, or as many as its buffer has room for.
func (c cut) pieces(ctx context.Context, in io.Reader, do func(raw []byte, line int) error) error {
	buf := make([]byte, 0, scanBuffer)
	line, from := 1, 0 // from is how far no end was found before
	for end := false; !end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
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
			raw := rest
			if i := bytes.Index(rest[from:], []byte(c.end)); i >= 0 {
				raw = rest[:from+i+c.keep]
			} else if !end {
				from = max(len(rest)-len(c.end)+1, 0)
				break
			}
			from = 0
			if err := do(raw, line); err != nil {
				return err
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
