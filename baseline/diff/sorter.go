package diff

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
)

// Sorter is an external merge sort of byte records: sorted runs go to an
// unlinked file when the records in memory pass the limit. It is not safe for
// concurrent use.
type Sorter struct {
	dir     string
	limit   int // bytes of records and index in memory
	compare func(a, b []byte) int

	arena []byte
	index []record
	file  *os.File
	size  int64 // of file
	runs  []run
}

// record is the place of a record in the arena.
type record struct{ start, end int }

const recordSize = 16 // bytes of a record in the index

// run is the place of a sorted run in the file.
type run struct{ start, end int64 }

// maxRecord bounds what is read back at once. A change holds two entries of at
// most a few hundred KiB.
const maxRecord = 1 << 28

// NewSorter sorts by compare and keeps limit bytes in memory. Files are made in
// dir, "" for the system's folder for such.
func NewSorter(dir string, limit int, compare func(a, b []byte) int) *Sorter {
	return &Sorter{dir: dir, limit: limit, compare: compare}
}

// Add puts in the record that fill appends to its argument.
func (s *Sorter) Add(fill func(dst []byte) []byte) error {
	if len(s.index) > 0 && len(s.arena)+recordSize*len(s.index) >= s.limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	n := len(s.arena)
	s.arena = fill(s.arena)
	if len(s.arena)-n > maxRecord {
		return fmt.Errorf("spool a change: %d bytes", len(s.arena)-n)
	}
	s.index = append(s.index, record{n, len(s.arena)})
	return nil
}

func (s *Sorter) sort() {
	slices.SortFunc(s.index, func(a, b record) int {
		return s.compare(s.arena[a.start:a.end], s.arena[b.start:b.end])
	})
}

// spill writes what is in memory to the file as one sorted run.
func (s *Sorter) spill() error {
	if s.file == nil {
		f, err := unlinked(s.dir)
		if err != nil {
			return err
		}
		s.file = f
	}
	s.sort()
	start := s.size
	w := bufio.NewWriterSize(io.NewOffsetWriter(s.file, start), 1<<16)
	var head [binary.MaxVarintLen64]byte
	for _, r := range s.index {
		h := head[:binary.PutUvarint(head[:], uint64(r.end-r.start))]
		w.Write(h) // the error sticks in w
		w.Write(s.arena[r.start:r.end])
		s.size += int64(len(h) + r.end - r.start)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	s.runs = append(s.runs, run{start, s.size})
	s.arena, s.index = s.arena[:0], s.index[:0]
	return nil
}

// unlinked makes a temporary file that has no name any more.
func unlinked(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "intact-spool-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink spool: %w", err), f.Close())
	}
	return f, nil
}

// Close removes the file.
func (s *Sorter) Close() error {
	s.arena, s.index, s.runs = nil, nil, nil
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}

// source delivers the records of one run in order. cur is valid until next.
type source struct {
	cur  []byte
	next func() error // io.EOF at the end
	rank int
}

func (s *Sorter) memory() *source {
	s.sort()
	i, src := 0, &source{}
	src.next = func() error {
		if i == len(s.index) {
			return io.EOF
		}
		r := s.index[i]
		i++
		src.cur = s.arena[r.start:r.end]
		return nil
	}
	return src
}

func (s *Sorter) stored(r run, buffer int) *source {
	in := bufio.NewReaderSize(io.NewSectionReader(s.file, r.start, r.end-r.start), buffer)
	src := &source{}
	src.next = func() error {
		n, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return io.EOF
		}
		if err == nil && n > maxRecord {
			err = ErrEncoding
		}
		if err == nil {
			src.cur = slices.Grow(src.cur[:0], int(n))[:n]
			_, err = io.ReadFull(in, src.cur)
		}
		if err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
		return nil
	}
	return src
}

// sources is a heap ordered by the current record.
type sources struct {
	list    []*source
	compare func(a, b []byte) int
}

func (h *sources) Len() int      { return len(h.list) }
func (h *sources) Swap(i, j int) { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *sources) Push(x any)    { h.list = append(h.list, x.(*source)) }

func (h *sources) Less(i, j int) bool {
	a, b := h.list[i], h.list[j]
	return cmp.Or(h.compare(a.cur, b.cur), a.rank-b.rank) < 0
}

func (h *sources) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}

// settle frees the memory of a sorter that has runs on disk anyway, before
// they are merged.
func (s *Sorter) settle() error {
	if len(s.runs) == 0 {
		return nil
	}
	err := s.spill()
	s.arena, s.index = nil, nil
	return err
}

// Merge returns the records of all sorters in order; they share one compare
// function. A record is valid until the next one is asked for.
func Merge(sorters ...*Sorter) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		h := &sources{compare: sorters[0].compare}
		start := func(s *source) error {
			s.rank = len(h.list)
			switch err := s.next(); err {
			case nil:
				h.list = append(h.list, s)
				return nil
			case io.EOF:
				return nil
			default:
				return err
			}
		}
		runs, limit := 1, 0
		for _, s := range sorters {
			if err := s.settle(); err != nil {
				yield(nil, err)
				return
			}
			runs += len(s.runs)
			limit += s.limit
		}
		buffer := max(4<<10, min(limit/2/runs, 256<<10))
		for _, s := range sorters {
			err := start(s.memory())
			for _, r := range s.runs {
				if err == nil {
					err = start(s.stored(r, buffer))
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
		heap.Init(h)
		for h.Len() > 0 {
			top := h.list[0]
			if !yield(top.cur, nil) {
				return
			}
			switch err := top.next(); err {
			case nil:
				heap.Fix(h, 0)
			case io.EOF:
				heap.Pop(h)
			default:
				yield(nil, err)
				return
			}
		}
	}
}
