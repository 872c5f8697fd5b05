package scanner

import (
	"context"
	"errors"
	"io"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/journal"
)

// JournalLook is what a scan read of a file of the systemd journal.
type JournalLook struct {
	journal.Facts
	Invalid string // why it was read as any other file; Facts may say what its header does. "": it was not
}

// journaled reports whether a log is read as a journal.
func (t *task) journaled(set entry.Set, name []byte) bool {
	return set.Log && !t.pseudo && journal.Named(string(name))
}

// readJournal is readLog for a file of the systemd journal: what is digested, and
// counted in bytes, is the stream that journal.Read makes of it. l is nil where
// nobody follows logs. A file that cannot be read so is read as it is.
func (w *worker) readJournal(o *opening, t *task, name []byte, old *prefix, l *LogLook) (digest.Digest, int64, error) {
	size := o.st.Size
	cold := size > 0 && !o.Cached(0, size)
	w.prepare()
	r := &journalReader{w: w, o: o, t: t}
	var m *marks
	facts, err := journal.ReadSettled(r, size, string(name), func() io.Writer {
		m = &marks{hash: w.hash}
		w.hash.Reset(size)
		if old != nil {
			m.add(old.hashed)
		}
		if l != nil {
			l.known = -1
			// The header is read first, so that what is known goes by the file,
			// whatever its name is by now.
			if f, err := journal.ReadFacts(r, size); err == nil {
				if n, ok := w.opt.Logs.KnownJournal(t.path, f.File); ok {
					l.known = n
					m.add(n)
				}
			}
		}
		return m
	})
	if cold {
		defer o.Drop(0, size)
	}
	switch {
	case errors.Is(err, journal.ErrMalformed) || errors.Is(err, io.ErrUnexpectedEOF):
		if l == nil {
			return w.read(o, t, old)
		}
		l.Journal = &JournalLook{facts, err.Error()}
		return w.readLog(o, t, name, old, l)
	case err != nil:
		return digest.Digest{}, 0, err
	}
	sum := w.hash.Sum()
	if l != nil {
		l.Size, l.Whole, l.Known, l.Journal = m.n, sum, m.at(l.known), &JournalLook{Facts: facts}
	}
	if old != nil {
		if s := m.at(old.hashed); s != nil && *s == old.sum {
			return old.sum, old.hashed, nil
		}
		// Baselines of before journals were read so have the bytes of the file.
		if was, n, err := w.read(o, t, old); err == nil && was == old.sum && n == old.hashed {
			return was, n, nil
		}
	}
	return sum, m.n, nil
}

// marks digests a stream, and notes the digest of its first bytes at some places.
type marks struct {
	hash  *digest.Hasher
	n     int64
	wants []int64
	sums  []digest.Digest
}

func (m *marks) add(at int64) {
	if len(m.wants) == 1 && at < m.wants[0] {
		m.wants = []int64{at, m.wants[0]}
	} else {
		m.wants = append(m.wants, at)
	}
}

func (m *marks) Write(b []byte) (int, error) {
	whole := len(b)
	for {
		next := -1
		if i := len(m.sums); i < len(m.wants) && m.wants[i]-m.n <= int64(len(b)) {
			next = int(m.wants[i] - m.n)
		}
		if next < 0 {
			_, _ = m.hash.Write(b) // never fails, hash.Hash
			m.n += int64(len(b))
			return whole, nil
		}
		_, _ = m.hash.Write(b[:next])
		m.n += int64(next)
		m.sums = append(m.sums, m.hash.Sum())
		b = b[next:]
	}
}

// at returns the digest of the first n bytes, nil where the stream is shorter.
func (m *marks) at(n int64) *digest.Digest {
	for i := range m.sums {
		if m.wants[i] == n {
			return &m.sums[i]
		}
	}
	return nil
}

// journalReader reads an open file for a worker.
type journalReader struct {
	w *worker
	o *opening
	t *task
}

func (r *journalReader) ReadAt(b []byte, off int64) (int, error) {
	if err := r.w.ctx.Err(); err != nil {
		return 0, err
	}
	if r.t.budget.overtime() {
		return 0, errBudget
	}
	n, err := r.o.ReadAt(b, off)
	r.w.tally.bytes += int64(n)
	if r.w.tally.bytes >= bufferSize {
		r.w.count()
	}
	r.w.rate.wait(r.w.ctx, n)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// journalPrefix gives a look at a file of the systemd journal the digest of the
// first bytes of its stream. A file that is none keeps what it has.
func journalPrefix(l *Look, f io.ReaderAt, size, prefix int64) {
	if !journal.Named(l.Path.Base()) {
		return
	}
	var m *marks
	_, err := journal.ReadSettled(f, size, l.Path.Base(), func() io.Writer {
		m = &marks{hash: digest.New()}
		m.add(prefix)
		return m
	})
	if err == nil {
		l.Prefix = m.at(prefix)
	}
}

// JournalPrefix reads a journal once more, by descriptor, and returns the digest of
// the first n bytes of its stream, nil where that is shorter or it is no journal.
func (t *Twice) JournalPrefix(ctx context.Context, p entry.Path, n int64) (*digest.Digest, error) {
	f, err := t.open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st dirfd.Stat
	if err := f.Stat(&st); err != nil {
		return nil, err
	}
	cold := st.Size > 0 && !f.Cached(0, st.Size)
	if cold {
		defer f.Drop(0, st.Size)
	}
	l := &Look{Path: p}
	journalPrefix(l, limited{ctx, t.rate, f}, st.Size, n)
	return l.Prefix, ctx.Err()
}

// limited reads a file no faster than a limiter lets it.
type limited struct {
	ctx  context.Context
	rate *limiter
	io.ReaderAt
}

func (l limited) ReadAt(b []byte, off int64) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.ReaderAt.ReadAt(b, off)
	l.rate.wait(l.ctx, n)
	return n, err
}
