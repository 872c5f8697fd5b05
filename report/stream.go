package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"intact/rules"
)

// MaxLine is the length in bytes, newline included, of the longest record.
const MaxLine = 16 << 20

// Errors of a report as a whole, wrapped by those of Writer and Reader.
var (
	ErrTruncated = errors.New("report ends before its trailer")
	ErrOrder     = errors.New("record out of order")
	ErrTooLong   = errors.New("record too long")
	ErrTally     = errors.New("trailer does not count what the report holds")
)

// kinds are the type words in the order in which they may come.
var kinds = [...]string{"header", "finding", "gap", "rule", "skip", "note", "trailer"}

// The positions in kinds that are treated specially.
const (
	rankHeader  = 0
	rankFinding = 1
	rankRule    = 3
	rankTrailer = len(kinds) - 1
)

// order checks the sequence of records; the zero value waits for a header.
type order struct {
	begun bool
	last  int
	tally Counts
}

func (o *order) accept(rank int, r *Record) error {
	switch {
	case !o.begun && rank != rankHeader,
		o.begun && (rank == rankHeader || rank < o.last || o.last == rankTrailer):
		return fmt.Errorf("%w: %s", ErrOrder, kinds[rank])
	}
	o.begun, o.last = true, rank
	if r.Finding != nil {
		o.tally.add(r.Finding)
	}
	return nil
}

// next is accept for a record that was read: a trailer must count what came.
func (o *order) next(rank int, r *Record) error {
	err := o.accept(rank, r)
	if err == nil && r.Trailer != nil && !r.Trailer.Counts.sameTally(o.tally) {
		err = ErrTally
	}
	return err
}

// ended returns what the end of the lines, as Reader.line gives it, says of the
// report: io.EOF if it is complete.
func (o *order) ended(err error) error {
	done := o.begun && o.last == rankTrailer
	switch cut := errors.Is(err, io.ErrUnexpectedEOF); {
	case !done && (cut || errors.Is(err, io.EOF)):
		return ErrTruncated
	case cut:
		return ErrOrder
	}
	return err
}

// Writer writes a report as JSON Lines, one record at a time, in constant
// memory. Records come in the order of the format, findings in the order of
// (set, key): it is the caller who sorts. The first error sticks. It is not
// safe for concurrent use.
type Writer struct {
	w     *bufio.Writer
	line  []byte
	order order
	last  lastTime
	err   error
}

// NewWriter returns a Writer to w. What was written is complete in w when
// Trailer returns without error.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

func (w *Writer) write(rank int, r Record) error {
	if w.err != nil {
		return w.err
	}
	if w.err = w.order.accept(rank, &r); w.err != nil {
		return w.err
	}
	c := coder{b: w.line[:0], last: &w.last}
	c.record(&r, kinds[rank])
	c.b = append(c.b, '\n')
	w.line = c.b
	switch {
	case c.err != nil:
		w.err = fmt.Errorf("write report %s: %w", kinds[rank], c.err)
	case len(c.b) > MaxLine:
		w.err = fmt.Errorf("write report %s: %w: %d bytes", kinds[rank], ErrTooLong, len(c.b))
	default:
		if _, err := w.w.Write(c.b); err != nil {
			w.err = fmt.Errorf("write report: %w", err)
		}
	}
	return w.err
}

// Header writes the first record.
func (w *Writer) Header(h Header) error { return w.write(0, Record{Header: &h}) }

// Finding writes one finding. Its Diff is not part of the report.
func (w *Writer) Finding(f rules.Finding) error { return w.write(1, Record{Finding: &f}) }

// Gap writes one gap; all gaps come behind the findings.
func (w *Writer) Gap(g Gap) error { return w.write(2, Record{Gap: &g}) }

// Rule writes the verdict of a rule that gave no finding; behind the gaps.
func (w *Writer) Rule(r Rule) error { return w.write(3, Record{Rule: &r}) }

// Skip writes one mount that was passed over; behind the rules.
func (w *Writer) Skip(s Skip) error { return w.write(4, Record{Skip: &s}) }

// Note writes a remark; behind the skips.
func (w *Writer) Note(n Note) error { return w.write(5, Record{Note: &n}) }

// Trailer writes the last record and flushes. The figures in t.Counts from
// Findings on are replaced by those of Tally.
func (w *Writer) Trailer(t Trailer) error {
	n := w.Tally()
	t.Counts.Findings, t.Counts.New, t.Counts.Pending, t.Counts.Explained = n.Findings, n.New, n.Pending, n.Explained
	t.Counts.PendingSince = n.PendingSince
	if err := w.write(6, Record{Trailer: &t}); err != nil {
		return err
	}
	return w.Flush()
}

// Flush hands what is buffered to the underlying writer.
func (w *Writer) Flush() error {
	if w.err == nil {
		if err := w.w.Flush(); err != nil {
			w.err = fmt.Errorf("write report: %w", err)
		}
	}
	return w.err
}

// Tally returns the counts of the findings written so far; the other figures
// are zero.
func (w *Writer) Tally() Counts { return w.order.tally }

// Reader reads what Writer wrote and refuses everything else: other spellings,
// unknown fields, a wrong order, counts that do not agree, bytes behind the
// trailer.
type Reader struct {
	r     *bufio.Reader
	long  []byte // a line that is longer than the buffer
	n     int    // lines so far
	order order
	last  lastTime
}

// NewReader returns a Reader of r. It reads ahead.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next record, io.EOF behind the trailer. Errors name the
// line. The record shares no memory with the Reader.
func (r *Reader) Next() (Record, error) {
	line, err := r.line()
	if err != nil {
		if err = r.order.ended(err); err == io.EOF {
			return Record{}, err
		}
		return Record{}, lineError(r.n, err)
	}
	rec, rank, err := decode(line, &r.last)
	if err == nil {
		err = r.order.next(rank, &rec)
	}
	if err != nil {
		return Record{}, lineError(r.n, err)
	}
	return rec, nil
}

func lineError(n int, err error) error { return fmt.Errorf("read report: line %d: %w", n, err) }

// line returns the next line without its newline, valid until the next call:
// io.EOF if there is none, io.ErrUnexpectedEOF if it has no end.
func (r *Reader) line() ([]byte, error) {
	r.n++
	r.long = r.long[:0]
	for {
		part, err := r.r.ReadSlice('\n')
		if len(r.long)+len(part) > MaxLine {
			return nil, ErrTooLong
		}
		if err == nil && len(r.long) == 0 {
			return part[:len(part)-1], nil
		}
		r.long = append(r.long, part...)
		switch {
		case err == nil:
			return r.long[:len(r.long)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(r.long) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// decode reads one line; rank is its position in kinds.
func decode(line []byte, last *lastTime) (rec Record, rank int, err error) {
	rank, err = decodeInto(&rec, string(line), last)
	return rec, rank, err
}

// decodeInto is decode into the records that rec has, or new ones. Their lists
// must be empty; what room they have is used.
func decodeInto(rec *Record, line string, last *lastTime) (rank int, err error) {
	const start = `{"type":"`
	if !strings.HasPrefix(line, start) {
		return 0, fmt.Errorf("%w: want %s, have %.40q", ErrFormat, start, line)
	}
	word, _, _ := strings.Cut(line[len(start):], `"`)
	for rank = range kinds {
		if word == kinds[rank] {
			c := coder{in: line, reading: true, last: last}
			c.record(rec, kinds[rank])
			if c.err == nil && len(c.in) > 0 {
				c.fail("%.40q behind the record", c.in)
			}
			return rank, c.err
		}
	}
	return 0, fmt.Errorf("%w: type %.40q", ErrFormat, word)
}

// isFinding reports whether a canonical line is a finding.
func isFinding(line string) bool { return strings.HasPrefix(line, `{"type":"finding"`) }

// decodeHead reads of a finding what findingHead has. It is for lines that
// decode has accepted before.
func decodeHead(line string) (f rules.Finding, err error) {
	c := coder{in: line, reading: true}
	c.open()
	c.key("type")
	c.lit(`"finding"`)
	findingHead(&f, &c)
	return f, c.err
}

// Read returns the records of a report up to its trailer. It ends with the
// first error; a report that is cut off ends with ErrTruncated.
func Read(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for rd := NewReader(r); ; {
			rec, err := rd.Next()
			if errors.Is(err, io.EOF) || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}
