package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

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
	line  []byte
	n     int
	order order
	last  lastTime
}

// NewReader returns a Reader of r. It reads ahead.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next record, io.EOF behind the trailer. Errors name the
// line. The record shares no memory with the Reader.
func (r *Reader) Next() (Record, error) { return r.next(nil) }

// next is Next; a finding is read into scratch, if there is one.
func (r *Reader) next(scratch *rules.Finding) (Record, error) {
	line, err := r.readLine()
	if err != nil {
		return Record{}, err
	}
	rec := Record{}
	if scratch != nil && bytes.HasPrefix(line, []byte(`{"type":"finding"`)) {
		// Cleared: each text holds its whole line.
		clear(scratch.Attributes)
		clear(scratch.Reasons)
		clear(scratch.Attack)
		*scratch = rules.Finding{Attributes: scratch.Attributes[:0], Reasons: scratch.Reasons[:0], Attack: scratch.Attack[:0]}
		rec.Finding = scratch
	}
	rank, err := decodeInto(&rec, line, &r.last)
	if err == nil {
		err = r.order.accept(rank, &rec)
	}
	if err == nil && rec.Trailer != nil && !rec.Trailer.Counts.sameTally(r.order.tally) {
		err = ErrTally
	}
	if err != nil {
		return Record{}, r.errorf(err)
	}
	return rec, nil
}

func (r *Reader) errorf(err error) error { return fmt.Errorf("read report: line %d: %w", r.n, err) }

// readLine returns the next line without its newline, valid until the next
// call.
func (r *Reader) readLine() ([]byte, error) {
	r.n++
	done := r.order.begun && r.order.last == rankTrailer
	r.line = r.line[:0]
	for {
		part, err := r.r.ReadSlice('\n')
		if len(r.line)+len(part) > MaxLine {
			return nil, r.errorf(ErrTooLong)
		}
		if err == nil && len(r.line) == 0 {
			return part[:len(part)-1], nil
		}
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return r.line[:len(r.line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && done && len(r.line) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF) && !done:
			return nil, r.errorf(ErrTruncated)
		case errors.Is(err, io.EOF):
			return nil, r.errorf(ErrOrder)
		default:
			return nil, r.errorf(err)
		}
	}
}

// decode reads one line; rank is its position in kinds.
func decode(line []byte, last *lastTime) (rec Record, rank int, err error) {
	rank, err = decodeInto(&rec, line, last)
	return rec, rank, err
}

// decodeInto is decode into the records that rec has, or new ones. Their lists
// must be empty; what room they have is used.
func decodeInto(rec *Record, line []byte, last *lastTime) (rank int, err error) {
	const start = `{"type":"`
	if !bytes.HasPrefix(line, []byte(start)) {
		return 0, fmt.Errorf("%w: want %s, have %.40q", ErrFormat, start, line)
	}
	word, _, _ := bytes.Cut(line[len(start):], []byte{'"'})
	for rank = range kinds {
		if string(word) == kinds[rank] {
			c := coder{in: string(line), reading: true, last: last}
			c.record(rec, kinds[rank])
			if c.err == nil && len(c.in) > 0 {
				c.fail("%.40q behind the record", c.in)
			}
			return rank, c.err
		}
	}
	return 0, fmt.Errorf("%w: type %.40q", ErrFormat, word)
}

// decodeHead reads of a finding what findingHead has. It is for lines that
// decode has accepted before.
func decodeHead(line []byte) (f rules.Finding, err error) {
	if i := bytes.Index(line, []byte(`,"attributes":`)); i > 0 {
		line = line[:i] // behind the head, and no part of a text: a quote there has a backslash before it
	}
	c := coder{in: string(line), reading: true}
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
