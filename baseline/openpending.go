package baseline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"time"

	"intact/baseline/diff"
	"intact/scanner/digest"
)

// Pending is an opened pending set whose bytes matched its digest.
type Pending struct {
	Header PendingHeader
	f      *os.File
	size   int64
	sum    digest.Digest
}

// OpenPending opens the set named d and verifies all its bytes and its host
// before anything of it is used. Errors wrap ErrNoPending, ErrDamaged or
// ErrForeign.
func (s *Store) OpenPending(d digest.Digest) (*Pending, error) {
	host, err := s.HostID()
	if err != nil {
		return nil, fmt.Errorf("open pending set: %w", err)
	}
	f, err := openRegular(s.path(pendingDir, d.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open pending set %s: %w", d, ErrNoPending)
	}
	if err != nil {
		return nil, fmt.Errorf("open pending set %s: %w", d, cause(err))
	}
	p, err := newPending(f, d)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open pending set %s: %w", d, err)
	}
	if p.Header.HostID != host {
		f.Close()
		return nil, fmt.Errorf("open pending set %s: %w: it is of %q", d, ErrForeign, p.Header.HostID)
	}
	return p, nil
}

// PendingSets names the sets there are, of whichever report, in no order. None is
// looked into.
func (s *Store) PendingSets() (sums []digest.Digest, err error) {
	list, err := os.ReadDir(s.path(pendingDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pending sets: %w", cause(err))
	}
	for _, e := range list {
		if d, err := digest.Parse(e.Name()); err == nil && d.String() == e.Name() {
			sums = append(sums, d)
		}
	}
	return sums, nil
}

func newPending(f *os.File, d digest.Digest) (*Pending, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, cause(err)
	}
	p := &Pending{f: f, size: info.Size(), sum: d}
	sum, err := hashFile(context.Background(), f, p.size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, cause(err))
	}
	if sum != d {
		return nil, fmt.Errorf("%w: its bytes do not have that digest", ErrDamaged)
	}
	for kind, body := range p.frames(&err) {
		if kind == frameHeader {
			p.Header, err = decodeHeader(body)
		}
		break
	}
	if err == nil && p.Header.HostID == "" {
		err = fmt.Errorf("%w: no header", ErrDamaged)
	}
	return p, err
}

func decodeHeader(body []byte) (h PendingHeader, err error) {
	r := reader{b: body}
	h.HostID = string(r.bytes())
	h.Generation = r.uint()
	if len(r.b) < digest.Size {
		r.fail()
	}
	r.b = r.b[copy(h.Root[:], r.b):]
	h.Report = string(r.bytes())
	created := string(r.bytes())
	h.Created, err = time.Parse(time.RFC3339Nano, created)
	if err != nil || r.err != nil || len(r.b) > 0 || h.Created.Format(time.RFC3339Nano) != created {
		return h, fmt.Errorf("%w: header of a pending set", ErrDamaged)
	}
	return h, nil
}

// Close releases the file.
func (p *Pending) Close() error { return p.f.Close() }

// frames yields the frames in order, the end frame last. What is wrong is put
// in errp; at the end that includes a digest over the bytes of this very
// reading, so that a file changed after it was opened is not taken over. A body
// is valid until the next one.
func (p *Pending) frames(errp *error) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		h := digest.New()
		in := bufio.NewReaderSize(io.TeeReader(io.NewSectionReader(p.f, 0, p.size), h), 256<<10)
		magic := make([]byte, len(pendingMagic))
		if _, err := io.ReadFull(in, magic); err != nil || string(magic) != pendingMagic && string(magic) != pendingOlder {
			*errp = fmt.Errorf("%w: not a pending set", ErrDamaged)
			return
		}
		var buf []byte
		for {
			var kind byte
			var err error
			if kind, buf, err = readFrame(in, buf); err != nil {
				*errp = err
				return
			}
			body := buf[1:]
			if kind == frameEnd {
				if _, err := in.ReadByte(); err != io.EOF || h.Sum() != p.sum {
					*errp = fmt.Errorf("%w: pending set changed while it was read", ErrDamaged)
					return
				}
			}
			if !yield(kind, body) || kind == frameEnd {
				return
			}
		}
	}
}

// readFrame reads a frame into buf, its kind first, and returns the kind too.
func readFrame(in *bufio.Reader, buf []byte) (byte, []byte, error) {
	bad := func() (byte, []byte, error) {
		return 0, nil, fmt.Errorf("%w: pending set is cut short or malformed", ErrDamaged)
	}
	n, err := binary.ReadUvarint(in)
	if err != nil || n == 0 || n > maxFrame {
		return bad()
	}
	if n <= plainFrame {
		buf = slices.Grow(buf[:0], int(n))[:n]
		if _, err := io.ReadFull(in, buf); err != nil {
			return bad()
		}
		return buf[0], buf, nil
	}
	// Grown as it is read: the length alone must not cost memory.
	var b bytes.Buffer
	if m, err := io.CopyN(&b, in, int64(n)); err != nil || m != int64(n) {
		return bad()
	}
	return b.Bytes()[0], b.Bytes(), nil
}

// EncodedChange is a change that waits as it is stored, not decoded.
type EncodedChange struct {
	Bytes     []byte // what diff.AppendChange wrote, or pretends to be that; valid until the next
	FirstSeen time.Time
	Explained []byte // as in PendingChange
}

// Encoded yields all changes in the order in which they were written. An error
// ends the sequence; before its end nothing may be acted on.
func (p *Pending) Encoded() iter.Seq2[EncodedChange, error] {
	return func(yield func(EncodedChange, error) bool) {
		var err error
		changes, rows := uint64(0), uint64(0)
		var explained []byte // of the next change
		for kind, body := range p.frames(&err) {
			r := reader{b: body}
			if explained != nil && kind != frameChange && kind != frameRow {
				err = errors.New("an explanation of nothing")
			}
			switch kind {
			case frameExplain:
				explained = append([]byte{}, body...)
			case frameChange:
				c := EncodedChange{FirstSeen: r.time(), Explained: explained}
				c.Bytes, err = r.b, r.err
				explained = nil
				changes++
				if err == nil && !yield(c, nil) {
					return
				}
			case frameRow:
				explained = nil
				rows++
			case frameEnd:
				if err == nil && (r.uint() != changes || r.uint() != rows || r.err != nil || len(r.b) > 0) {
					err = errors.New("its end says other numbers")
				}
			}
			if err != nil {
				err = fmt.Errorf("read pending set: %w: %w", ErrDamaged, err)
				break
			}
		}
		if err != nil {
			yield(EncodedChange{}, err)
		}
	}
}

// Changes yields what Encoded does, decoded. Each may be kept.
func (p *Pending) Changes() iter.Seq2[PendingChange, error] {
	return func(yield func(PendingChange, error) bool) {
		for e, err := range p.Encoded() {
			c := PendingChange{FirstSeen: e.FirstSeen, Explained: e.Explained}
			if err == nil {
				if c.Change, err = diff.DecodeChange(bytes.Clone(e.Bytes)); err != nil {
					err = fmt.Errorf("read pending set: %w: %w", ErrDamaged, err)
				}
			}
			if err != nil {
				yield(PendingChange{}, err)
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Rows returns the differences of rows.
func (p *Pending) Rows() ([]PendingRow, error) {
	var out []PendingRow
	var err error
	var explained []byte // of the next row
	for kind, body := range p.frames(&err) {
		switch kind {
		case frameExplain:
			explained = append([]byte{}, body...)
			continue
		case frameRow:
		default:
			explained = nil
			continue
		}
		r := reader{b: bytes.Clone(body)}
		row := PendingRow{FirstSeen: r.time(), Explained: explained}
		explained = nil
		row.Kind, row.Key = string(r.bytes()), r.bytes()
		row.Old, row.New = r.optional(), r.optional()
		if r.err != nil || len(r.b) > 0 {
			return nil, fmt.Errorf("read pending set: %w: row", ErrDamaged)
		}
		out = append(out, row)
	}
	return out, err
}
