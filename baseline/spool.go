package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Sizes of a spool.
const (
	spoolBuffer = 256 << 10 // per worker, written in one piece
	keyChunk    = 64 << 10
)

// spool takes (key, value) pairs from many workers in any order and gives them
// back sorted. Values lie in a file that has no name any more; keys and a
// reference of 40 bytes for each stay in memory.
type spool struct {
	f       *os.File
	workers []spoolWorker
	mu      sync.Mutex
	size    int64 // of the file; guarded by mu
}

type spoolWorker struct {
	buf   []byte
	keys  []byte // chunk that new keys are cut from
	refs  []ref
	fixed int // refs before it know their place in the file
	_     [64]byte
}

type ref struct {
	key []byte
	off int64
	len uint32
}

// newSpool makes an unlinked temporary file in dir.
func newSpool(dir string, workers int) (*spool, error) {
	f, err := os.CreateTemp(dir, "spool.*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("create spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("create spool: %w", err)
	}
	return &spool{f: f, workers: make([]spoolWorker, max(workers, 1))}, nil
}

// add copies key and value. Calls with one w must not overlap.
func (s *spool) add(w int, key, value []byte) error {
	k := &s.workers[w]
	if len(k.buf)+len(value) > spoolBuffer {
		if err := s.flush(k); err != nil {
			return err
		}
	}
	if len(key) > cap(k.keys)-len(k.keys) {
		k.keys = make([]byte, 0, max(keyChunk, len(key)))
	}
	n := len(k.keys)
	k.keys = append(k.keys, key...)
	k.refs = append(k.refs, ref{k.keys[n:len(k.keys):len(k.keys)], int64(len(k.buf)), uint32(len(value))})
	k.buf = append(k.buf, value...)
	return nil
}

func (s *spool) flush(k *spoolWorker) error {
	s.mu.Lock()
	off := s.size
	s.size += int64(len(k.buf))
	s.mu.Unlock()
	if _, err := s.f.WriteAt(k.buf, off); err != nil {
		return fmt.Errorf("write spool: %w", cause(err))
	}
	for ; k.fixed < len(k.refs); k.fixed++ {
		k.refs[k.fixed].off += off
	}
	k.buf = k.buf[:0]
	return nil
}

// sorted ends the adding and returns the references in key order.
func (s *spool) sorted() ([]ref, error) {
	n := 0
	for i := range s.workers {
		if err := s.flush(&s.workers[i]); err != nil {
			return nil, err
		}
		n += len(s.workers[i].refs)
	}
	all := make([]ref, 0, n)
	for i := range s.workers {
		all = append(all, s.workers[i].refs...)
		s.workers[i] = spoolWorker{}
	}
	slices.SortFunc(all, func(a, b ref) int { return bytes.Compare(a.key, b.key) })
	return all, nil
}

// read returns the value of r in buf, grown if needed.
func (s *spool) read(r ref, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(r.len))[:r.len]
	if _, err := s.f.ReadAt(buf, r.off); err != nil {
		return nil, fmt.Errorf("read spool: %w", cause(err))
	}
	return buf, nil
}

func (s *spool) close() {
	if s.f != nil {
		s.f.Close()
		s.f = nil
	}
}

var errSpoolClosed = errors.New("spool is closed")
