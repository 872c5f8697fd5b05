package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// tailSize is how much of the end of a report is read at first.
const tailSize = 4 << 10

// Ends reads the first and the last record alone, whatever the size of the
// report. They are canonical, and the last one is a trailer: the report was not
// cut off. What lies between is not looked at, so neither are the figures that
// the trailer has of it; who acts on those reads all with a Reader.
func (s Stored) Ends() (h Header, t Trailer, err error) {
	f, err := s.Open()
	if err != nil {
		return h, t, err
	}
	defer f.Close()
	h, t, err = ends(f)
	if err != nil {
		err = fmt.Errorf("report %d: %w", s.Seq, err)
	}
	return h, t, err
}

func ends(f *os.File) (h Header, t Trailer, err error) {
	rec, err := NewReader(f).Next()
	if err != nil {
		return h, t, err
	}
	h = *rec.Header
	fi, err := f.Stat()
	if err != nil {
		return h, t, err
	}
	line, err := lastLine(f, fi.Size())
	if err != nil {
		return h, t, fmt.Errorf("read report: last line: %w", err)
	}
	rec, rank, err := decode(line, nil)
	if err == nil && rank != rankTrailer {
		err = ErrTruncated
	}
	if err != nil {
		return h, t, fmt.Errorf("read report: last line: %w", err)
	}
	return h, *rec.Trailer, nil
}

// lastLine returns the last line of size bytes without its newline. It holds
// as much memory as the line is long, within the bound of a line.
func lastLine(r io.ReaderAt, size int64) ([]byte, error) {
	for n := min(size, tailSize); ; n = min(size, 2*n) {
		b := make([]byte, n)
		if _, err := r.ReadAt(b, size-n); err != nil {
			return nil, err
		}
		if n == 0 || b[n-1] != '\n' {
			return nil, ErrTruncated
		}
		start := bytes.LastIndexByte(b[:n-1], '\n') + 1
		switch whole := start > 0 || n == size; {
		case n-int64(start) > MaxLine:
			return nil, ErrTooLong
		case whole:
			return b[start : n-1], nil
		}
	}
}
