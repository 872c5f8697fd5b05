package expect

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"intact/scanner/entry"
)

// Errors of a Writer.
var (
	ErrOrder   = errors.New("paths are not in the order of the tree, each once")
	ErrTooLong = fmt.Errorf("a manifest of more than %d bytes", MaxSize)
)

// Writer writes a manifest line by line. The first error sticks.
type Writer struct {
	w    io.Writer
	buf  []byte
	last []byte // key of the last path
	n    int64
	err  error
}

// NewWriter writes the header of a manifest to w.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	x := &Writer{w: w}
	if err := h.check(); err != nil {
		return nil, err
	}
	x.put(h.append(nil))
	return x, x.err
}

// Add writes one line; paths come in the order of their keys.
func (w *Writer) Add(l *Line) error {
	if w.err != nil {
		return w.err
	}
	if w.err = l.check(); w.err != nil {
		return w.err
	}
	key := l.Path.Key()
	if w.last != nil && bytes.Compare(w.last, key) >= 0 {
		w.err = fmt.Errorf("%w: %q", ErrOrder, l.Path)
		return w.err
	}
	w.last = key
	w.buf = l.append(w.buf[:0])
	w.put(w.buf)
	return w.err
}

func (w *Writer) put(b []byte) {
	if w.n += int64(len(b)); w.n > MaxSize {
		w.err = ErrTooLong
		return
	}
	_, w.err = w.w.Write(b)
}

// Compare orders paths as a manifest does.
func Compare(a, b entry.Path) int { return bytes.Compare(a.Key(), b.Key()) }
