// Package deb822 reads the control files of Debian, deb822(5): the control file
// of a package, the status of dpkg, the indexes and releases of an archive. A
// file is read stanza by stanza, in memory that is bounded by a stanza.
//
// It reads what dpkg and the archives write, no more: no comments, no field
// twice. Whatever else is found is an error with file and line. Of files that
// people write, NewHandWritten passes over comments and lines of blanks too.
package deb822

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a file. The longest stanza of an archive of Debian is a release, of
// some 300 KB.
const (
	MaxStanza = 16 << 20 // bytes
	MaxFields = 256      // of a stanza
	maxName   = 128      // bytes of a field's name
)

// Errors of a file.
var (
	ErrSyntax    = errors.New("neither a field, nor the next line of one, nor an empty line")
	ErrDuplicate = errors.New("field given twice")
	ErrBlank     = errors.New("line of blanks")
	ErrTooLarge  = errors.New("stanza too large")
)

// LineError says where a file is wrong.
type LineError struct {
	Name string // of the file
	Line int    // from 1
	Err  error
}

// Error returns file:line and the reason.
func (e *LineError) Error() string { return fmt.Sprintf("%q:%d: %v", e.Name, e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// Stanza is one block of fields. It is valid until the next one is read.
type Stanza struct {
	file   string
	line   int // of its first field
	buf    []byte
	fields []field
}

// field is one field, its name and value being parts of the stanza's buffer.
type field struct{ start, colon, end, line int }

// Line is the line of its first field, from 1.
func (s *Stanza) Line() int { return s.line }

// Raw returns the stanza as it stands in the file, without the empty line behind
// it. It is valid until the next one is read.
func (s *Stanza) Raw() []byte { return s.buf }

// Len returns the number of fields.
func (s *Stanza) Len() int { return len(s.fields) }

// Names lists the names of the fields as they are written, in order.
func (s *Stanza) Names() []string {
	out := make([]string, len(s.fields))
	for i, f := range s.fields {
		out[i] = string(s.name(f))
	}
	return out
}

func (s *Stanza) name(f field) []byte { return s.buf[f.start:f.colon] }

func (s *Stanza) find(name string) (field, bool) {
	for _, f := range s.fields {
		if n := s.name(f); len(n) == len(name) && strings.EqualFold(string(n), name) {
			return f, true
		}
	}
	return field{}, false
}

// Bytes returns the value of a field, without the blanks around it, and whether
// there is such a field. Its later lines begin with a blank, as in the file.
// Names are the same in any case.
func (s *Stanza) Bytes(name string) ([]byte, bool) {
	f, ok := s.find(name)
	if !ok {
		return nil, false
	}
	return bytes.TrimSpace(s.buf[f.colon+1 : f.end]), true
}

// Get returns the value of a field, "" where there is none.
func (s *Stanza) Get(name string) string {
	b, _ := s.Bytes(name)
	return string(b)
}

// Lines calls do for each line of a field's value behind the first one, without
// the blanks around it, and with its number in the file.
func (s *Stanza) Lines(name string, do func(line int, text []byte) error) error {
	f, ok := s.find(name)
	if !ok {
		return nil
	}
	_, rest, _ := bytes.Cut(s.buf[f.colon+1:f.end], []byte("\n"))
	for n := f.line + 1; len(rest) > 0; n++ {
		var text []byte
		text, rest, _ = bytes.Cut(rest, []byte("\n"))
		if err := do(n, bytes.TrimSpace(text)); err != nil {
			return &LineError{s.file, n, err}
		}
	}
	return nil
}

// Errorf makes an error at a field, at the stanza where it has no such field.
func (s *Stanza) Errorf(name, format string, args ...any) error {
	line := s.line
	if f, ok := s.find(name); ok {
		line = f.line
	}
	return &LineError{s.file, line, fmt.Errorf(format, args...)}
}

// Reader reads a file.
type Reader struct {
	src    *bufio.Reader
	line   int
	stanza Stanza
	hand   bool  // people wrote it
	err    error // sticks
}

// NewReader reads r, which errors call name.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{src: bufio.NewReaderSize(r, 64<<10), stanza: Stanza{file: name}}
}

// NewHandWritten reads r as apt reads what people write: lines that begin with
// "#" and lines of blanks are passed over.
func NewHandWritten(r io.Reader, name string) *Reader {
	in := NewReader(r, name)
	in.hand = true
	return in
}

// Parse reads the only stanza of raw, whose first line is the given one of the
// file that errors call name.
func Parse(raw []byte, name string, line int) (*Stanza, error) {
	in := &Reader{src: bufio.NewReaderSize(bytes.NewReader(raw), len(raw)+1), line: line - 1, stanza: Stanza{file: name}}
	return in.Next()
}

// Next reads the next stanza. io.EOF says that there is none.
func (r *Reader) Next() (*Stanza, error) {
	if r.err != nil {
		return nil, r.err
	}
	s := &r.stanza
	s.buf, s.fields = s.buf[:0], s.fields[:0]
	for {
		more, err := r.readLine()
		if err != nil {
			r.err = err
			if err != io.EOF || len(s.fields) == 0 {
				return nil, err
			}
			return s, nil
		}
		if !more && len(s.fields) > 0 {
			return s, nil
		}
	}
}

// readLine reads one line into the stanza. An empty one is the end of it.
func (r *Reader) readLine() (more bool, err error) {
	s := &r.stanza
	start := len(s.buf)
	for {
		part, err := r.src.ReadSlice('\n')
		s.buf = append(s.buf, part...)
		if len(s.buf) > MaxStanza {
			return false, r.fail(fmt.Errorf("%w: over %d bytes", ErrTooLarge, MaxStanza))
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF && len(s.buf) > start {
			s.buf = append(s.buf, '\n')
			err = nil
		}
		if err != nil {
			return false, err
		}
		break
	}
	r.line++
	line := s.buf[start : len(s.buf)-1]
	if len(line) == 0 {
		s.buf = s.buf[:start]
		return false, nil
	}
	if r.hand && (line[0] == '#' || len(bytes.TrimSpace(line)) == 0) {
		s.buf = s.buf[:start]
		return true, nil
	}
	if err := r.take(start, line); err != nil {
		return false, r.fail(err)
	}
	return true, nil
}

// take makes a line part of the stanza.
func (r *Reader) take(start int, line []byte) error {
	s := &r.stanza
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return ErrSyntax
	case line[0] == ' ' || line[0] == '\t':
		if len(bytes.TrimSpace(line)) == 0 {
			return ErrBlank
		}
		if len(s.fields) == 0 {
			return ErrSyntax
		}
		s.fields[len(s.fields)-1].end = len(s.buf) - 1
		return nil
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || colon > maxName || !isName(line[:colon]) {
		return ErrSyntax
	}
	if _, twice := s.find(string(line[:colon])); twice {
		return fmt.Errorf("%w: %s", ErrDuplicate, line[:colon])
	}
	if len(s.fields) == MaxFields {
		return fmt.Errorf("%w: over %d fields", ErrTooLarge, MaxFields)
	}
	if len(s.fields) == 0 {
		s.line = r.line
	}
	s.fields = append(s.fields, field{start, start + colon, len(s.buf) - 1, r.line})
	return nil
}

func (r *Reader) fail(err error) error { return &LineError{r.stanza.file, r.line, err} }

// isName reports whether b is the name of a field: printable ASCII that does
// not begin like a comment or a signature.
func isName(b []byte) bool {
	for _, c := range b {
		if c < 33 || c > 126 {
			return false
		}
	}
	return b[0] != '#' && b[0] != '-'
}
