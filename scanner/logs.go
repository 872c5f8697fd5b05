package scanner

import (
	"context"
	"io"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// follows returns where a log that Options.Logs wants is noted, nil for any
// other file.
func (w *worker) follows(set entry.Set, t *task) *LogLook {
	if !set.Log || w.opt.Logs == nil || t.pseudo {
		return nil
	}
	return &LogLook{}
}

// hollowFrom is the size from which a log that is more than half holes is not read:
// its zeros take as long as bytes. What a baseline has of such a log already is
// held against it all the same.
const hollowFrom = 1 << 30

func hollow(st *dirfd.Stat, old *prefix) bool {
	return st.Size > hollowFrom && int64(st.Blocks)*512 < st.Size/2 && (old == nil || old.hashed <= hollowFrom)
}

// readAs is read, or readLog where l is not nil; journals have a way of their own.
func (w *worker) readAs(o *opening, t *task, set entry.Set, name []byte, old *prefix, l *LogLook) (digest.Digest, int64, error) {
	if t.journaled(set, name) {
		return w.readJournal(o, t, name, old, l)
	}
	if l == nil {
		return w.read(o, t, old)
	}
	return w.readLog(o, t, name, old, l)
}

// readLog is read for a log that is followed: all of it is digested, in one
// pass, with the digests of the first bytes that somebody knows on the way.
func (w *worker) readLog(o *opening, t *task, name []byte, old *prefix, l *LogLook) (sum digest.Digest, hashed int64, err error) {
	st := &o.st
	known, ok := w.opt.Logs.Known(t.path, name)
	if !ok {
		known = -1
	}
	prior := int64(-1)
	if old != nil {
		prior = old.hashed
	}
	l.Size, l.Known = st.Size, nil
	w.prepare()
	w.hash.Reset(st.Size)
	r := reading{w: w, f: o.File, size: st.Size, budget: t.budget, sparse: sparse(st), probed: o.probed, cold: o.cold}
	defer r.done()
	holds := false
	for _, at := range [...]int64{min(prior, known), max(prior, known), st.Size} {
		if at < 0 || at > st.Size {
			continue
		}
		if err := r.to(at); err == io.ErrUnexpectedEOF {
			return sum, -1, nil
		} else if err != nil {
			return sum, 0, err
		}
		sum = w.hash.Sum()
		if at == prior && sum == old.sum {
			holds = true
		}
		if at == known {
			s := sum
			l.Known = &s
		}
	}
	if l.Whole = sum; holds {
		return old.sum, old.hashed, nil
	}
	return sum, st.Size, nil
}

// Stream reads p once more, by descriptor, and gives do the bytes that the scan
// has read of it: as many as seen.Size, with the digest seen.Digest, else the
// error wraps ErrMoved and what do made of them is worth nothing. A log may have
// grown behind them. do need not read to the end. ErrOneView is wrapped where p
// is on a file system that can hang.
func (t *Twice) Stream(ctx context.Context, p entry.Path, seen *entry.Entry, do func(io.Reader) error) error {
	f, err := t.open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	cold := seen.Size > 0 && !f.Cached(0, seen.Size)
	f.Sequential()
	s := &streaming{ctx: ctx, rate: t.rate, read: f.ReadAt, size: seen.Size, hash: digest.New()}
	s.hash.Reset(seen.Size)
	failed := do(s)
	_, err = io.Copy(io.Discard, s)
	if cold {
		f.Drop(0, seen.Size)
	}
	if err == nil && (s.off != seen.Size || s.hash.Sum() != seen.Digest) {
		err = ErrMoved
	}
	if err != nil {
		return err
	}
	return failed
}

// streaming digests what is read of it, up to size.
type streaming struct {
	ctx  context.Context
	rate *limiter
	read func([]byte, int64) (int, error)
	off  int64
	size int64
	hash *digest.Hasher
}

func (s *streaming) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	b = b[:min(int64(len(b)), s.size-s.off, bufferSize)]
	if s.off == s.size {
		return 0, io.EOF
	}
	n, err := s.read(b, s.off)
	if err != nil {
		return n, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	_, _ = s.hash.Write(b[:n]) // never fails, hash.Hash
	s.off += int64(n)
	s.rate.wait(s.ctx, n)
	return n, nil
}
