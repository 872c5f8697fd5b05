package baseline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// RequestSink takes what ReadRequest reads, in order; fields may be nil. Head
// comes first, and what it is given has no counts yet. What the others get is
// valid during the call.
type RequestSink struct {
	Head   func(*Request) error
	Row    func(diff.RowChange) error
	Change func(*diff.Change) error // neither paired nor folded
}

// ReadRequest reads a request strictly and holds it against itself: the old
// values must give the root in force, the new ones the proposed root, and the
// proposed statement must follow the one in force and say what the values do.
// Whatever differs between the two was then given to the sink: entries that
// differ in what is not compared, and lost coverage, are refused. Nothing that
// the sink got may be acted on before ReadRequest returned without error, and
// who signed the statement in force the caller must judge. Errors of the text
// wrap ErrRequest.
func ReadRequest(ctx context.Context, r io.Reader, to RequestSink) (*Request, error) {
	q := requestReader{to: to, in: bufio.NewReaderSize(r, 256<<10), old: newRooter(), now: newRooter(), out: &Request{}}
	if err := q.read(ctx); err != nil {
		return nil, err
	}
	return q.out, nil
}

type requestReader struct {
	to       RequestSink
	in       *bufio.Reader
	buf      []byte
	old, now *rooter
	out      *Request
	bucket   int    // index into bucketOrder
	last     []byte // key in it
	dirs     dirPairs
}

// next reads one frame. The body is valid until the next one.
func (q *requestReader) next() (kind byte, body []byte, err error) {
	n, err := readUvarint(q.in)
	if err != nil || n == 0 || n > maxRequestFrame {
		return 0, nil, refused("cut short or malformed")
	}
	if n <= plainFrame {
		q.buf = append(q.buf[:0], make([]byte, n)...)
		_, err = io.ReadFull(q.in, q.buf)
	} else {
		var b bytes.Buffer // grown as it is read: the length alone must not cost memory
		_, err = io.CopyN(&b, q.in, int64(n))
		q.buf = b.Bytes()
	}
	if err != nil {
		return 0, nil, refused("cut short")
	}
	return q.buf[0], q.buf[1:], nil
}

// readUvarint reads a number in its one spelling.
func readUvarint(in io.ByteReader) (uint64, error) {
	var b [binary.MaxVarintLen64]byte
	for i := range b {
		c, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if b[i] = c; c < 0x80 {
			r := reader{b: b[:i+1]}
			v := r.uint()
			return v, r.err
		}
	}
	return 0, errEncoding
}

func (q *requestReader) read(ctx context.Context) error {
	magic := make([]byte, len(requestMagic))
	if _, err := io.ReadFull(q.in, magic); err != nil || string(magic) != requestMagic {
		return refused("it is no request of a version that is known here")
	}
	if err := q.head(); err != nil {
		return err
	}
	if err := q.meta(); err != nil {
		return err
	}
	if q.to.Head != nil {
		if err := q.to.Head(q.out); err != nil {
			return err
		}
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		kind, body, err := q.next()
		if err != nil {
			return err
		}
		if kind == frameEnd {
			return q.end(body)
		}
		if err := q.pair(kind, body); err != nil {
			return err
		}
	}
}

// head reads the statements, which must stand in one chain.
func (q *requestReader) head() error {
	kind, body, err := q.next()
	if err != nil {
		return err
	}
	r := reader{b: body}
	present, armor, proposed := r.bytes(), r.bytes(), r.bytes()
	if kind != frameHead || r.err != nil || len(r.b) > 0 || len(armor) > maxSignature {
		return refused("malformed head")
	}
	if q.out.Present, err = statement.Parse(present); err != nil {
		return refused("statement in force: %w", err)
	}
	if q.out.Proposed, err = statement.Parse(proposed); err != nil {
		return refused("proposed statement: %w", err)
	}
	if len(armor) > 0 {
		q.out.Signature = bytes.Clone(armor)
	}
	old, now := q.out.Present, q.out.Proposed
	if err := now.Follows(old); err != nil {
		return refused("proposed statement: %w", err)
	}
	switch {
	case now.Restart:
		return refused("the proposed statement starts over")
	case now.Policy != old.Policy:
		return refused("the proposed statement has another policy")
	case now.Authority != statement.Operator || now.Approver != "" || now.Signer != "" || now.Delegation != digest.Digest{}:
		return refused("the proposed statement says who approves it")
	case now.File == digest.Digest{} || now.FileSize == 0:
		return refused("the proposed statement names no file")
	}
	for _, n := range now.Pruned {
		if n >= old.Generation {
			return refused("the proposed statement prunes generation %d", n)
		}
	}
	return nil
}

// meta reads the pairs that the others are decoded by. No approval changes them.
func (q *requestReader) meta() error {
	for _, want := range [...]string{metaFormat, metaPolicy, metaSets} {
		kind, body, err := q.next()
		if err != nil {
			return err
		}
		r := reader{b: body}
		key, value := r.bytes(), r.bytes()
		if kind != frameWhole || r.err != nil || len(r.b) > 0 || string(key) != string(byte(bucketMeta))+want {
			return refused("want the whole value of %s", want)
		}
		switch want {
		case metaFormat:
			if string(value) != fileFormat {
				return refused("format %q, want %q", value, fileFormat)
			}
		case metaPolicy:
			if digest.Sum(value) != q.out.Present.Policy {
				return refused("its policy is not the one in the statement in force")
			}
			q.out.Policy = bytes.Clone(value)
		case metaSets:
			if q.out.Sets, err = decodeSets(value); err != nil || !bytes.Equal(encodeSets(q.out.Sets), value) {
				return refused("malformed table of attribute sets")
			}
		}
		q.old.add(bucketMeta, key[1:], value)
		q.now.add(bucketMeta, key[1:], value)
	}
	q.bucket = 1
	q.dirs = dirPairs{sets: q.out.Sets, emit: q.change}
	return nil
}

func (q *requestReader) change(c *diff.Change) error {
	if c.Kind == diff.Unverified || c.Lost != 0 {
		return refused("%q: %w", string(c.Path), ErrNotAcceptable)
	}
	if q.to.Change == nil {
		return nil
	}
	return q.to.Change(c)
}

// pair takes one pair of the buckets r and d.
func (q *requestReader) pair(kind byte, body []byte) error {
	r := reader{b: body}
	full := r.bytes()
	if r.err != nil || len(full) < 2 || len(full) > maxKey+1 {
		return refused("malformed key")
	}
	key := full[1:]
	if full[0] != bucketOrder[q.bucket] {
		if q.bucket++; q.bucket == len(bucketOrder) || full[0] != bucketOrder[q.bucket] {
			return refused("key %q is out of order", full)
		}
		q.last = q.last[:0]
	}
	if bytes.Compare(q.last, key) >= 0 {
		return refused("key %q is there twice or out of order", full)
	}
	q.last = append(q.last[:0], key...)
	switch kind {
	case frameUnchanged:
		if len(r.b) != digest.Size {
			return refused("key %q: malformed digest", full)
		}
		q.out.Unchanged++
		q.old.addSum(full[0], key, digest.Digest(r.b))
		q.now.addSum(full[0], key, digest.Digest(r.b))
		return q.unchanged(full[0], key)
	case framePair:
		old, now := r.optional(), r.optional()
		if r.err != nil || len(r.b) > 0 {
			return refused("key %q: malformed values", full)
		}
		if old == nil && now == nil || old != nil && now != nil && bytes.Equal(old, now) {
			return refused("key %q is said to change and does not", full)
		}
		q.out.Changed++
		if old != nil {
			q.old.add(full[0], key, old)
		}
		if now != nil {
			q.now.add(full[0], key, now)
		}
		return q.changed(full[0], key, old, now)
	}
	return refused("unknown record %q", kind)
}

func (q *requestReader) unchanged(bucket byte, key []byte) error {
	if bucket == bucketDirs {
		return q.dirs.unchanged(key)
	}
	if _, err := splitRow(key, nil); err != nil {
		return refused("%q: %w", key, err)
	}
	return nil
}

func (q *requestReader) changed(bucket byte, key, old, now []byte) error {
	if bucket == bucketDirs {
		return q.dirs.changed(key, old, now)
	}
	row, err := splitRow(key, nil)
	if err != nil {
		return refused("%q: %w", key, err)
	}
	if q.to.Row == nil {
		return nil
	}
	return q.to.Row(diff.RowChange{Kind: row.Kind, Key: row.Key, Old: bytes.Clone(old), New: bytes.Clone(now)})
}

// end holds all that was read against the statements.
func (q *requestReader) end(body []byte) error {
	r := reader{b: body}
	if r.uint() != q.out.Unchanged || r.uint() != q.out.Changed || r.err != nil || len(r.b) > 0 {
		return refused("its end says other numbers")
	}
	if _, err := q.in.ReadByte(); err != io.EOF {
		if err == nil {
			err = refused("bytes behind its end")
		}
		return err
	}
	if err := q.dirs.end(); err != nil {
		return err
	}
	old, now := q.out.Present, q.out.Proposed
	switch root := q.old.sum(); {
	case root != old.Root:
		return refused("the old values have root %s, and the one in force is %s", root.Named(), old.Root.Named())
	case q.out.Changed == 0:
		return refused("it changes nothing")
	}
	if root := q.now.sum(); root != now.Root {
		return refused("the new values have root %s, and the proposed one is %s", root.Named(), now.Root.Named())
	}
	if entries, dirs := old.Entries+q.dirs.entries, old.Directories+q.dirs.dirs; entries != now.Entries || dirs != now.Directories {
		return refused("the new values make %d entries in %d directories, the proposed statement says %d in %d", entries, dirs, now.Entries, now.Directories)
	}
	return nil
}

// entriesOf decodes one shown part.
func entriesOf(dir entry.Path, part uint32, value []byte, sets entry.Sets) (*entry.Block, error) {
	p := entry.Packed(value)
	if err := p.Verify(); err != nil {
		return nil, refused("directory %q: %w", string(dir), err)
	}
	b, err := p.Unpack(dir, part, sets)
	if err != nil {
		return nil, refused("directory %q: %w", string(dir), err)
	}
	if len(b.Entries) == 0 {
		return nil, refused("directory %q has an empty part", string(dir))
	}
	return b, nil
}
