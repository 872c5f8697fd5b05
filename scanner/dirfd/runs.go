package dirfd

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// Runs are the names of one directory, sorted in runs in an unlinked file and
// merged as they are asked for.
type Runs struct {
	file *os.File
	ends []int64 // of the runs in the file
	heap runHeap
	last []byte // name given last
	have bool
}

// nameHead is what stands before a name in a run: its length and kind.
const nameHead = 3

// ListSorted appends all names of d like List, sorted and each once. Where they
// take more than limit bytes and tmp is not empty, they go to runs in a file in
// tmp instead, and l is left empty. An error that is not about the file comes
// with the names up to there. The caller closes r.
func (d *Dir) ListSorted(l *Names, tmp string, limit int) (r *Runs, bad int, err error) {
	return l.sorted(func(b []byte) (int, error) { return unix.Getdents(d.fd, b) }, tmp, limit)
}

func (l *Names) sorted(read func([]byte) (int, error), tmp string, limit int) (r *Runs, bad int, err error) {
	if tmp != "" {
		l.limit = limit
		l.spill = func() (err error) {
			if r == nil {
				if r, err = newRuns(tmp); err != nil {
					l.limit = math.MaxInt // in memory, then: fill has a bound too
					return nil
				}
			}
			return r.write(l)
		}
	}
	bad, err = l.fill(read, maxArena, maxNames)
	spill := l.spill
	l.spill = nil
	if r == nil {
		l.Sort()
		l.Unique()
		return nil, bad, err
	}
	if serr := errors.Join(spill(), r.start()); serr != nil {
		err = serr
	}
	return r, bad, err
}

func newRuns(dir string) (*Runs, error) {
	f, err := os.CreateTemp(dir, "intact-names-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("sort names: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("sort names: %w", err), f.Close())
	}
	return &Runs{file: f}, nil
}

// write moves the names of l to a run of their own.
func (r *Runs) write(l *Names) error {
	l.Sort()
	end := r.end()
	w := bufio.NewWriterSize(io.NewOffsetWriter(r.file, end), 64<<10)
	for _, it := range l.items {
		name := l.text(it)
		var head [nameHead]byte
		binary.BigEndian.PutUint16(head[:], uint16(len(name)))
		head[2] = byte(it.kind)
		w.Write(head[:]) // the error sticks in w
		w.Write(name)
		end += int64(nameHead + len(name))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("sort names: %w", err)
	}
	l.Reset()
	r.ends = append(r.ends, end)
	return nil
}

func (r *Runs) end() int64 {
	if len(r.ends) == 0 {
		return 0
	}
	return r.ends[len(r.ends)-1]
}

// start begins to merge.
func (r *Runs) start() error {
	at := int64(0)
	buffer := max(4<<10, min(64<<10, (1<<20)/max(len(r.ends), 1)))
	for _, end := range r.ends {
		s := &runSource{in: bufio.NewReaderSize(io.NewSectionReader(r.file, at, end-at), buffer)}
		at = end
		switch err := s.next(); err {
		case nil:
			r.heap = append(r.heap, s)
		case io.EOF:
		default:
			return err
		}
	}
	heap.Init(&r.heap)
	return nil
}

// Next appends the next n names to l, fewer at the end.
func (r *Runs) Next(l *Names, n int) error {
	for n > 0 && len(r.heap) > 0 {
		top := r.heap[0]
		if !r.have || !bytes.Equal(r.last, top.name) {
			l.add(top.name, top.kind)
			r.last, r.have = append(r.last[:0], top.name...), true
			n--
		}
		switch err := top.next(); err {
		case nil:
			heap.Fix(&r.heap, 0)
		case io.EOF:
			heap.Pop(&r.heap)
		default:
			return err
		}
	}
	return nil
}

// Done reports whether all names were given.
func (r *Runs) Done() bool { return len(r.heap) == 0 }

// Close removes the file.
func (r *Runs) Close() { r.file.Close() }

// runSource reads one run.
type runSource struct {
	in   *bufio.Reader
	name []byte
	kind entry.Kind
}

func (s *runSource) next() error {
	var head [nameHead]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		if err == io.EOF {
			return io.EOF
		}
		return fmt.Errorf("read sorted names: %w", err)
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	s.kind = entry.Kind(head[2])
	if cap(s.name) < n {
		s.name = make([]byte, n, max(n, 256))
	}
	s.name = s.name[:n]
	if _, err := io.ReadFull(s.in, s.name); err != nil {
		return fmt.Errorf("read sorted names: %w", err)
	}
	return nil
}

type runHeap []*runSource

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].name, h[j].name) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*runSource)) }
func (h *runHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	*h = old[:len(old)-1]
	return s
}
