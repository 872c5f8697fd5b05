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
// reading, so that a file changed after it was opened is not taken over.
func (p *Pending) frames(errp *error) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		h := digest.New()
		in := bufio.NewReaderSize(io.TeeReader(io.NewSectionReader(p.f, 0, p.size), h), 256<<10)
		magic := make([]byte, len(pendingMagic))
		if _, err := io.ReadFull(in, magic); err != nil || string(magic) != pendingMagic {
			*errp = fmt.Errorf("%w: not a pending set", ErrDamaged)
			return
		}
		for {
			kind, body, err := readFrame(in)
			if err != nil {
				*errp = err
				return
			}
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

func readFrame(in *bufio.Reader) (byte, []byte, error) {
	bad := fmt.Errorf("%w: pending set is cut short or malformed", ErrDamaged)
	n, err := binary.ReadUvarint(in)
	if err != nil || n == 0 || n > maxFrame {
		return 0, nil, bad
	}
	// Grown as it is read: the length alone must not cost memory.
	var b bytes.Buffer
	if m, err := io.CopyN(&b, in, int64(n)); err != nil || m != int64(n) {
		return 0, nil, bad
	}
	return b.Bytes()[0], b.Bytes()[1:], nil
}

// Changes yields all changes in the order in which they were written. Each may
// be kept. An error ends the sequence; before its end nothing may be acted on.
func (p *Pending) Changes() iter.Seq2[PendingChange, error] {
	return func(yield func(PendingChange, error) bool) {
		var err error
		changes, rows := uint64(0), uint64(0)
		for kind, body := range p.frames(&err) {
			r := reader{b: body}
			switch kind {
			case frameChange:
				c := PendingChange{FirstSeen: r.time()}
				changes++
				if c.Change, err = diff.DecodeChange(r.b); err == nil {
					err = r.err
				}
				if err == nil && !yield(c, nil) {
					return
				}
			case frameRow:
				rows++
			case frameEnd:
				if r.uint() != changes || r.uint() != rows || r.err != nil || len(r.b) > 0 {
					err = errors.New("its end says other numbers")
				}
			}
			if err != nil {
				err = fmt.Errorf("read pending set: %w: %w", ErrDamaged, err)
				break
			}
		}
		if err != nil {
			yield(PendingChange{}, err)
		}
	}
}

// Rows returns the differences of rows.
func (p *Pending) Rows() ([]PendingRow, error) {
	var out []PendingRow
	var err error
	for kind, body := range p.frames(&err) {
		if kind != frameRow {
			continue
		}
		r := reader{b: body}
		row := PendingRow{FirstSeen: r.time()}
		row.Kind, row.Key = string(r.bytes()), r.bytes()
		row.Old, row.New = r.optional(), r.optional()
		if r.err != nil || len(r.b) > 0 {
			return nil, fmt.Errorf("read pending set: %w: row", ErrDamaged)
		}
		out = append(out, row)
	}
	return out, err
}
