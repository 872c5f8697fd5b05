package baseline

import (
	"bufio"
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

// A pending set holds what one check found, complete, so that accepting it
// never looks at the disk again. Its file is named by the BLAKE3 of all its
// bytes:
//
//	intact.pending/3 NL
//	frame…              uvarint length ‖ kind byte ‖ body
//
// The frames are one header, changes, rows, and an end frame with the numbers
// of both. What explains a change or a row, in bytes that mean nothing here, is a
// frame before it. In intact.pending/2, which is read too, no row has one. Numbers
// are canonical uvarints.
const (
	pendingMagic = "intact.pending/3\n"
	pendingOlder = "intact.pending/2\n"
	frameHeader  = 'h'
	frameChange  = 'c'
	frameRow     = 'r'
	frameEnd     = 'e'
	frameExplain = 'x'

	maxFrame    = 16 << 20
	plainFrame  = 64 << 10 // up to here memory is had for a frame as its length says
	keepPending = 10
	maxPending  = 1 << 30 // bytes of all sets
)

// ErrNoPending means that there is no pending set of that name.
var ErrNoPending = errors.New("no such pending set")

// PendingHeader says what a pending set was found against.
type PendingHeader struct {
	HostID     string // filled in by the store
	Generation uint64
	Root       digest.Digest
	Report     string // id of the report
	Created    time.Time
}

// PendingChange is a change that waits, and when a check first saw it.
type PendingChange struct {
	*diff.Change
	FirstSeen time.Time
	Explained []byte // what was given to PendingWriter.Explain; nil: nothing
}

// PendingRow is a difference of rows that waits.
type PendingRow struct {
	diff.RowChange
	FirstSeen time.Time
	Explained []byte // as in PendingChange
}

// PendingWriter writes one pending set: Add and AddRow, changes first, then
// Commit or Abort.
type PendingWriter struct {
	s       *Store
	f       *os.File
	w       *bufio.Writer
	h       *digest.Hasher
	buf     []byte
	enc     []byte
	changes uint64
	rows    uint64
	err     error
}

// NewPending starts a pending set. The state folder must have been made.
func (s *Store) NewPending(h PendingHeader) (*PendingWriter, error) {
	host, err := s.HostID()
	if err != nil {
		return nil, fmt.Errorf("write pending set: %w", err)
	}
	f, err := os.CreateTemp(s.path(pendingDir), "pending.*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("write pending set: %w", cause(err))
	}
	p := &PendingWriter{s: s, f: f, h: digest.New()}
	p.w = bufio.NewWriterSize(io.MultiWriter(f, p.h), 256<<10)
	p.w.WriteString(pendingMagic)
	b := appendBytes(nil, []byte(host))
	b = binary.AppendUvarint(b, h.Generation)
	b = append(b, h.Root[:]...)
	b = appendBytes(b, []byte(h.Report))
	b = appendBytes(b, []byte(h.Created.UTC().Format(time.RFC3339Nano)))
	if err := p.frame(frameHeader, b); err != nil {
		p.Abort()
		return nil, err
	}
	return p, nil
}

func (p *PendingWriter) frame(kind byte, body []byte) error {
	if p.err != nil {
		return p.err
	}
	if len(body) >= maxFrame {
		p.err = fmt.Errorf("write pending set: a record of %d bytes", len(body))
		return p.err
	}
	var head [binary.MaxVarintLen64 + 1]byte
	p.w.Write(append(binary.AppendUvarint(head[:0], uint64(len(body)+1)), kind))
	if _, err := p.w.Write(body); err != nil {
		p.err = fmt.Errorf("write pending set: %w", cause(err))
	}
	return p.err
}

// Add writes one change.
func (p *PendingWriter) Add(c *diff.Change, firstSeen time.Time) error {
	p.enc = diff.AppendChange(p.enc[:0], c)
	return p.AddEncoded(p.enc, firstSeen)
}

// AddEncoded writes one change that diff.AppendChange has encoded.
func (p *PendingWriter) AddEncoded(encoded []byte, firstSeen time.Time) error {
	p.changes++
	p.buf = append(appendTime(p.buf[:0], firstSeen), encoded...)
	return p.frame(frameChange, p.buf)
}

// Explain writes what explains the change or row that is added next, as the caller
// spells it.
func (p *PendingWriter) Explain(b []byte) error { return p.frame(frameExplain, b) }

// AddRow writes one difference of rows.
func (p *PendingWriter) AddRow(r diff.RowChange, firstSeen time.Time) error {
	p.rows++
	b := appendTime(p.buf[:0], firstSeen)
	b = appendBytes(b, []byte(r.Kind))
	b = appendBytes(b, r.Key)
	b = appendOptional(b, r.Old)
	p.buf = appendOptional(b, r.New)
	return p.frame(frameRow, p.buf)
}

// Commit makes the set durable and returns its digest, which is its name. Old
// sets beyond the newest ten, or beyond 1 GiB in all, are deleted.
func (p *PendingWriter) Commit(ctx context.Context) (digest.Digest, error) {
	p.frame(frameEnd, binary.AppendUvarint(binary.AppendUvarint(nil, p.changes), p.rows))
	err := p.err
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = p.w.Flush()
	}
	if err != nil {
		p.Abort()
		return digest.Digest{}, fmt.Errorf("write pending set: %w", cause(err))
	}
	d := p.h.Sum()
	f := p.f
	p.f = nil
	if err := finish(f, p.s.path(pendingDir, d.String()), 0o600); err != nil {
		os.Remove(f.Name())
		return digest.Digest{}, fmt.Errorf("write pending set: %w", cause(err))
	}
	p.s.prunePending(d)
	return d, nil
}

// DropPending deletes a set that nothing will ask for any more.
func (s *Store) DropPending(d digest.Digest) error {
	if err := os.Remove(s.path(pendingDir, d.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete pending set: %w", cause(err))
	}
	return nil
}

// Abort drops the set. After Commit it does nothing.
func (p *PendingWriter) Abort() {
	if p.f != nil {
		p.f.Close()
		os.Remove(p.f.Name())
		p.f = nil
	}
}

// SavePending writes changes and rows as one pending set.
func (s *Store) SavePending(ctx context.Context, h PendingHeader, changes iter.Seq2[PendingChange, error], rows []PendingRow) (digest.Digest, error) {
	p, err := s.NewPending(h)
	if err != nil {
		return digest.Digest{}, err
	}
	defer p.Abort()
	for c, err := range changes {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && c.Explained != nil {
			err = p.Explain(c.Explained)
		}
		if err == nil {
			err = p.Add(c.Change, c.FirstSeen)
		}
		if err != nil {
			return digest.Digest{}, err
		}
	}
	for _, r := range rows {
		if r.Explained != nil {
			if err := p.Explain(r.Explained); err != nil {
				return digest.Digest{}, err
			}
		}
		if err := p.AddRow(r.RowChange, r.FirstSeen); err != nil {
			return digest.Digest{}, err
		}
	}
	return p.Commit(ctx)
}

// prunePending keeps keep, and of the others the newest by the time of their
// files, as many as fit. A set that cannot be deleted is only one too many.
func (s *Store) prunePending(keep digest.Digest) {
	list, _ := os.ReadDir(s.path(pendingDir))
	var sets []fs.FileInfo
	var size int64
	for _, e := range list {
		if _, err := digest.Parse(e.Name()); err != nil {
			continue
		}
		switch fi, err := e.Info(); {
		case err != nil:
		case e.Name() == keep.String():
			size = fi.Size()
		default:
			sets = append(sets, fi)
		}
	}
	slices.SortFunc(sets, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for i, fi := range sets {
		if size += fi.Size(); i >= keepPending-1 || size > maxPending {
			os.Remove(s.path(pendingDir, fi.Name()))
		}
	}
}

// appendTime writes nanoseconds since 1970, 0 for the zero time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendUvarint(b, 0)
	}
	return binary.AppendUvarint(b, uint64(max(t.UnixNano(), 1)))
}

func (r *reader) time() time.Time {
	n := r.uint()
	if n == 0 || n>>63 != 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)).UTC()
}

// appendOptional tells nil from empty.
func appendOptional(b, v []byte) []byte {
	if v == nil {
		return binary.AppendUvarint(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(v))+1)
	return append(b, v...)
}

func (r *reader) optional() []byte {
	n := r.uint()
	if n == 0 {
		return nil
	}
	if n-1 > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[: n-1 : n-1]
	r.b = r.b[n-1:]
	return v
}
