package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// body is all of one stored report, read through one descriptor. It keeps the
// digest of what was read since the beginning, so that two passes can be held
// against each other, and ends with its context.
type body struct {
	ctx  context.Context
	file *os.File
	hash hash.Hash
}

func (s Stored) body(ctx context.Context) (*body, error) {
	f, err := s.Open()
	if err != nil {
		return nil, err
	}
	return &body{ctx, f, sha256.New()}, nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.file.Read(p)
	b.hash.Write(p[:n])
	return n, err
}

// Seek implements io.Seeker for going back to the beginning.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	b.hash.Reset()
	return b.file.Seek(0, io.SeekStart)
}

// digest reads what is left and returns "sha256:…" of all bytes since the
// beginning.
func (b *body) digest() (string, error) {
	if _, err := io.Copy(io.Discard, b); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(b.hash.Sum(nil)), nil
}

// judge verifies the signature, and returns the digest of what was judged.
func (b *body) judge(s Stored, h Header, judge Judge) (sum string, err error) {
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	if judge != nil {
		armor, err := s.Signature()
		if err == nil {
			err = judge(h, b, armor)
		}
		if err != nil {
			return "", err
		}
	}
	return b.digest()
}

func (s Stored) digest(ctx context.Context) (string, error) {
	b, err := s.body(ctx)
	if err != nil {
		return "", err
	}
	defer b.file.Close()
	sum, err := b.digest()
	if err != nil {
		err = fmt.Errorf("read report %d: %w", s.Seq, err)
	}
	return sum, err
}

// sealed returns the header and the digest of a report that is signed as it
// should be and stands where it belongs. Its ends are looked at first: what was
// made longer need not be read.
func (s Stored) sealed(ctx context.Context, judge Judge) (h Header, sum string, err error) {
	h, _, sum, err = s.endsJudged(ctx, judge)
	return h, sum, err
}

// EndsJudged is Ends of a report that is signed as it should be and stands
// where it belongs.
func (s Stored) EndsJudged(ctx context.Context, judge Judge) (Header, Trailer, error) {
	h, t, _, err := s.endsJudged(ctx, judge)
	return h, t, err
}

func (s Stored) endsJudged(ctx context.Context, judge Judge) (h Header, t Trailer, sum string, err error) {
	b, err := s.body(ctx)
	if err != nil {
		return h, t, "", err
	}
	defer b.file.Close()
	if h, t, err = ends(b.file); err != nil {
		return h, t, "", fmt.Errorf("report %d: %w", s.Seq, err)
	}
	if h.Seq != s.Seq || h.Kind != s.Kind {
		return h, t, "", fmt.Errorf("%w: it is report %d, a %s", ErrEdited, h.Seq, h.Kind)
	}
	sum, err = b.judge(s, h, judge)
	return h, t, sum, err
}

// Inspect reads a report whole, tells each of its records, and then verifies
// its signature through the same descriptor: where err is nil, what each was
// told is what was signed. The digest is "" if it could not be read to its end,
// the header empty if that could not be.
func (s Stored) Inspect(ctx context.Context, judge Judge, each func(Record) error) (h Header, sum string, err error) {
	b, err := s.body(ctx)
	if err != nil {
		return h, "", err
	}
	defer b.file.Close()
	for rec, e := range Read(b) {
		if rec.Header != nil {
			h = *rec.Header
		}
		if e == nil && each != nil {
			e = each(rec)
		}
		if err = e; err != nil {
			err = fmt.Errorf("%w: %w", ErrEdited, err)
			break
		}
	}
	// The rest, where reading it ended early.
	sum, e := b.digest()
	if e != nil {
		return h, "", errors.Join(err, e)
	}
	if err != nil {
		return h, sum, err
	}
	judged, err := b.judge(s, h, judge)
	if err == nil && judged != sum {
		err = fmt.Errorf("%w while it was read", ErrEdited)
	}
	return h, sum, err
}
