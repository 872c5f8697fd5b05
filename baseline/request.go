package baseline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"intact/baseline/statement"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// A request is what a host asks an operator elsewhere to approve. Whoever has
// it can compute the root that is in force and the one that is proposed, and
// see all that lies between them, without the host and without trust in it:
//
//	intact.request/1 NL
//	frame…              uvarint length ‖ kind byte ‖ body
//
//	h  head       statement in force, its signature, proposed statement
//	m  whole      key, value: the pairs of the bucket m, which blocks are decoded by
//	u  unchanged  key, BLAKE3 of the value
//	c  changed    key, old value or none, new value or none, all of it
//	e  end        the numbers of u and of c
//
// A key is that of the root's computation: the bucket's byte and the key in it.
// Keys ascend, by bucket m, r, d and then by bytes. Strings have their length
// before them; old and new have their length plus one, and 0 if there is none.
// Numbers are canonical uvarints.
const (
	requestMagic   = "intact.request/1\n"
	frameHead      = 'h'
	frameWhole     = 'm'
	frameUnchanged = 'u'
	framePair      = 'c'

	maxRequestFrame = 256 << 20
)

// ErrRequest is wrapped by what is wrong with a request: nothing of it may be
// signed.
var ErrRequest = errors.New("the request is not to be trusted")

func refused(format string, a ...any) error {
	return fmt.Errorf("%w: %w", ErrRequest, fmt.Errorf(format, a...))
}

// Request is what a request says besides the changes.
type Request struct {
	Present   *statement.Statement // in force, as the host says; its root is that of the old pairs
	Signature []byte               // of Present, nil if there is none; not verified
	Proposed  *statement.Statement // approver, signer and reason are for the operator to say
	Policy    []byte
	Sets      entry.Sets
	Unchanged uint64 // pairs
	Changed   uint64
}

// requestWriter writes frames; the first error sticks.
type requestWriter struct {
	w                  *bufio.Writer
	buf                []byte
	unchanged, changed uint64
	err                error
}

func (q *requestWriter) frame(kind byte, body []byte) {
	switch {
	case q.err != nil:
		return
	case len(body) >= maxRequestFrame:
		q.err = fmt.Errorf("a record of %d bytes", len(body))
		return
	}
	var head [binary.MaxVarintLen64 + 1]byte
	q.w.Write(append(binary.AppendUvarint(head[:0], uint64(len(body)+1)), kind))
	_, q.err = q.w.Write(body)
}

// key begins a body.
func (q *requestWriter) key(bucket byte, key []byte) {
	q.buf = binary.AppendUvarint(q.buf[:0], uint64(len(key)+1))
	q.buf = append(append(q.buf, bucket), key...)
}

// pair writes one pair; old or now is nil where there is none.
func (q *requestWriter) pair(bucket byte, key, old, now []byte) {
	q.key(bucket, key)
	switch {
	case old == nil || now == nil || !bytes.Equal(old, now):
		q.changed++
		q.buf = appendOptional(appendOptional(q.buf, old), now)
		q.frame(framePair, q.buf)
	case bucket == bucketMeta:
		q.buf = appendBytes(q.buf, now)
		q.frame(frameWhole, q.buf)
	default:
		q.unchanged++
		sum := digest.Sum(now)
		q.buf = append(q.buf, sum[:]...)
		q.frame(frameUnchanged, q.buf)
	}
}

// writeRequest writes the request to let next follow g. Its memory does not grow
// with either.
func writeRequest(ctx context.Context, w io.Writer, g, next *Generation) error {
	q := requestWriter{w: bufio.NewWriterSize(w, 256<<10)}
	if _, err := q.w.WriteString(requestMagic); err != nil {
		return err
	}
	head := appendBytes(nil, g.st.Text())
	head = appendBytes(head, g.armor)
	q.frame(frameHead, appendBytes(head, next.st.Text()))
	for _, bucket := range bucketOrder {
		if err := q.bucket(ctx, bucket, g, next); err != nil {
			return err
		}
	}
	q.frame(frameEnd, binary.AppendUvarint(binary.AppendUvarint(nil, q.unchanged), q.changed))
	if q.err != nil {
		return q.err
	}
	return q.w.Flush()
}

func (q *requestWriter) bucket(ctx context.Context, bucket byte, g, next *Generation) error {
	old, err := g.cursor(bucket)
	if err != nil {
		return err
	}
	now, err := next.cursor(bucket)
	if err != nil {
		return errors.Join(err, old.close())
	}
	q.merge(ctx, bucket, old, now)
	return errors.Join(q.err, old.close(), now.close())
}

func (q *requestWriter) merge(ctx context.Context, bucket byte, old, now *cursor) {
	haveOld, haveNow := old.next(), now.next()
	for (haveOld || haveNow) && q.err == nil {
		if q.err = context.Cause(ctx); q.err != nil {
			return
		}
		order := 0
		switch {
		case !haveNow:
			order = -1
		case !haveOld:
			order = 1
		default:
			order = bytes.Compare(old.key, now.key)
		}
		switch {
		case order < 0:
			q.pair(bucket, old.key, present(old.value), nil)
		case order > 0:
			q.pair(bucket, now.key, nil, present(now.value))
		default:
			q.pair(bucket, now.key, present(old.value), present(now.value))
		}
		if order <= 0 {
			haveOld = old.next()
		}
		if order >= 0 {
			haveNow = now.next()
		}
	}
}

// present is v, never nil.
func present(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}
