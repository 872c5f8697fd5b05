package baseline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"sync"

	"intact/baseline/diff"
)

// Sizes of a spool.
const (
	spoolBuffer = 256 << 10 // of values per worker, written in one piece
	keyMemory   = 8 << 20   // of keys and places, some 100,000 directories; more are sorted on disk
)

// spool takes (key, value) pairs from many workers in any order and gives them
// back sorted. Values lie in a file that has no name any more; keys and the
// places of their values are sorted in runs on disk where they are many.
type spool struct {
	f       *os.File
	workers []spoolWorker

	mu   sync.Mutex
	size int64        // of the file; guarded by mu
	keys *diff.Sorter // guarded by mu
}

type spoolWorker struct {
	buf  []byte
	keys []byte
	refs []ref // what is in buf; their keys are cut from keys
	_    [64]byte
}

type ref struct {
	key []byte
	off int64
	len uint32
}

// placeSize is what follows the key in a record of spool.keys: offset and
// length of the value.
const placeSize = 8 + 4

func compareKeys(a, b []byte) int { return bytes.Compare(a[:len(a)-placeSize], b[:len(b)-placeSize]) }

// newSpool makes an unlinked temporary file in dir. memory bounds the keys, 0
// for keyMemory.
func newSpool(dir string, workers, memory int) (*spool, error) {
	f, err := os.CreateTemp(dir, "spool.*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("create spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("create spool: %w", err)
	}
	if memory == 0 {
		memory = keyMemory
	}
	return &spool{f: f, workers: make([]spoolWorker, max(workers, 1)), keys: diff.NewSorter(dir, memory, compareKeys)}, nil
}

// add copies key and value. Calls with one w must not overlap.
func (s *spool) add(w int, key, value []byte) error {
	k := &s.workers[w]
	if len(k.buf)+len(value) > spoolBuffer || len(k.keys)+len(key) > spoolBuffer {
		if err := s.flush(k); err != nil {
			return err
		}
	}
	n := len(k.keys)
	k.keys = append(k.keys, key...) // refs keep an older array, if it moved
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range k.refs {
		err := s.keys.Add(func(dst []byte) []byte {
			dst = append(dst, r.key...)
			dst = binary.BigEndian.AppendUint64(dst, uint64(r.off+off))
			return binary.BigEndian.AppendUint32(dst, r.len)
		})
		if err != nil {
			return fmt.Errorf("write spool: %w", cause(err))
		}
	}
	k.buf, k.keys, k.refs = k.buf[:0], k.keys[:0], k.refs[:0]
	return nil
}

// sorted ends the adding and returns the references in key order. A key is
// valid until the next one is asked for.
func (s *spool) sorted() (iter.Seq2[ref, error], error) {
	for i := range s.workers {
		if err := s.flush(&s.workers[i]); err != nil {
			return nil, err
		}
		s.workers[i] = spoolWorker{}
	}
	return func(yield func(ref, error) bool) {
		for b, err := range diff.Merge(s.keys) {
			if err != nil {
				yield(ref{}, fmt.Errorf("read spool: %w", cause(err)))
				return
			}
			n := len(b) - placeSize
			if !yield(ref{b[:n], int64(binary.BigEndian.Uint64(b[n:])), binary.BigEndian.Uint32(b[n+8:])}, nil) {
				return
			}
		}
	}, nil
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
		s.keys.Close()
		s.f = nil
	}
}

var errSpoolClosed = errors.New("spool is closed")
