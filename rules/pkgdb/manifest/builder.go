package manifest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"

	"intact/baseline/diff"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// sortMemory is what a builder holds of its entries, in bytes: some 30,000.
// More are sorted in an unlinked file.
const sortMemory = 8 << 20

// Builder takes the entries of a package in any order and writes its manifest.
type Builder struct {
	sorter *diff.Sorter
	n      int
	links  map[entry.Path]bool // where hard links lead
}

// NewBuilder makes temporary files in dir where there is much to sort, "" for
// the system's folder for such.
func NewBuilder(dir string) *Builder {
	return &Builder{sorter: diff.NewSorter(dir, sortMemory, bytes.Compare), links: map[entry.Path]bool{}}
}

// Close frees what the builder holds.
func (b *Builder) Close() error { return b.sorter.Close() }

// Add takes an entry. A record is its key and its line: a key has no two zeros
// in a row, and a line none.
func (b *Builder) Add(e *Entry) error {
	if b.n++; b.n > MaxEntries {
		return fmt.Errorf("%w: over %d paths", ErrTooMany, MaxEntries)
	}
	line := appendEntry(nil, e)
	if got, ok := parseEntry(string(line)); !ok || got != *e || len(line) > maxLine {
		return fmt.Errorf("%w: %q", ErrEntry, e.Path)
	}
	if e.Hard != "" {
		if len(b.links) == maxLinks {
			return fmt.Errorf("%w: over %d hard links", ErrTooMany, maxLinks)
		}
		b.links[e.Hard] = true
	}
	return b.sorter.Add(func(dst []byte) []byte {
		dst = e.Path.AppendKey(dst)
		return append(append(dst, 0, 0), line...)
	})
}

// Write writes the manifest and returns its name. It ends the builder's work.
func (b *Builder) Write(w io.Writer, h *Head) (digest.Digest, error) {
	if err := h.check(); err != nil {
		return digest.Digest{}, err
	}
	head := appendHead(nil, h)
	if len(head) > maxHead {
		return digest.Digest{}, fmt.Errorf("%w: head of %d bytes", ErrTooMany, len(head))
	}
	sum := digest.New()
	sum.Reset(math.MaxInt64)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	out.Write(head) // the error sticks in out
	var o order
	var last []byte
	for rec, err := range diff.Merge(b.sorter) {
		if err != nil {
			return digest.Digest{}, err
		}
		line := rec[bytes.LastIndexByte(rec, 0)+1:]
		if bytes.Equal(line, last) && bytes.HasPrefix(line, []byte("dir ")) {
			continue // some tools write a directory once for each file in it
		}
		last = append(last[:0], line...)
		e, _ := parseEntry(string(line))
		if err := o.next(&e); err != nil {
			return digest.Digest{}, err
		}
		if e.Kind == entry.File && e.Hard == "" {
			delete(b.links, e.Path)
		}
		out.Write(line)
		out.WriteByte('\n')
	}
	for p := range b.links {
		return digest.Digest{}, fmt.Errorf("%w: %q", ErrHard, p)
	}
	fmt.Fprintf(out, "end %d\n", o.n)
	if err := out.Flush(); err != nil {
		return digest.Digest{}, fmt.Errorf("write manifest: %w", err)
	}
	return sum.Sum(), nil
}

// order holds entries to tree order, each path once and nothing below what is
// no directory.
type order struct {
	n    int
	key  []byte
	leaf entry.Path // the last path that is no directory, "" at first
}

func (o *order) next(e *Entry) error {
	key := e.Path.AppendKey(nil)
	switch c := bytes.Compare(key, o.key); {
	case o.n > 0 && c == 0:
		return fmt.Errorf("%w: %q", ErrDuplicate, e.Path)
	case o.n > 0 && c < 0:
		return fmt.Errorf("%w: not in order at %q", ErrMalformed, e.Path)
	case o.leaf != "" && e.Path.Under(o.leaf):
		return fmt.Errorf("%w: %q is not one, %q lies below", ErrBelow, o.leaf, e.Path)
	}
	o.n++
	o.key = key
	if e.Kind != entry.Dir {
		o.leaf = e.Path
	}
	return nil
}
