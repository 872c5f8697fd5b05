package manifest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"sort"
	"strings"
	"sync/atomic"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// pieceSize is how long a piece is at least, in bytes, all but the last one. A
// look-up reads one piece.
const pieceSize = 64 << 10

// MaxSize bounds a manifest, in bytes.
const MaxSize = 1 << 30

// Manifest is a manifest that was read to its end once and is read again where
// it is asked. It holds a small index of it, and the digests of its pieces: that
// the file is changed meanwhile is noticed.
type Manifest struct {
	Head   Head
	Len    int // entries
	r      io.ReaderAt
	pieces []piece
	last   atomic.Pointer[loaded] // questions mostly come in the order of the tree
}

// loaded is a piece that was read again.
type loaded struct {
	off   int64
	lines []string
}

// piece is a run of whole lines.
type piece struct {
	first entry.Path // of its first line
	off   int64
	size  int
	sum   digest.Digest
}

// Open reads the manifest that is called name, size bytes of r, and checks
// every byte of it.
func Open(name digest.Digest, r io.ReaderAt, size int64) (*Manifest, error) {
	if size > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooMany, size)
	}
	sum := digest.New()
	sum.Reset(size)
	in := &lineReader{src: bufio.NewReaderSize(io.TeeReader(io.NewSectionReader(r, 0, size), sum), maxLine)}
	m := &Manifest{r: r}
	err := m.read(in)
	if _, rest := io.Copy(io.Discard, in.src); rest != nil {
		return nil, fmt.Errorf("read manifest: %w", rest)
	}
	if sum.Sum() != name {
		return nil, ErrDigest
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// lineReader gives lines without their newline, and counts bytes and lines.
type lineReader struct {
	src *bufio.Reader
	off int64
	n   int
}

func (l *lineReader) next() (string, error) {
	b, err := l.src.ReadSlice('\n')
	if err != nil {
		if err == io.EOF || err == bufio.ErrBufferFull {
			err = fmt.Errorf("%w: line %d has no end", ErrMalformed, l.n+1)
		}
		return "", err
	}
	l.off += int64(len(b))
	l.n++
	return string(b[:len(b)-1]), nil
}

func (l *lineReader) malformed() error { return fmt.Errorf("%w: line %d", ErrMalformed, l.n) }

func (m *Manifest) read(in *lineReader) error {
	first, err := in.next()
	if err != nil || first != Format {
		return ErrFormat
	}
	var lines []string
	for {
		line, err := in.next()
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		if in.off > maxHead {
			return fmt.Errorf("%w: head over %d bytes", ErrMalformed, maxHead)
		}
		lines = append(lines, line)
	}
	h, ok := parseHead(lines)
	if !ok || string(appendHead(nil, &h)) != first+"\n"+strings.Join(append(lines, "\n"), "\n") {
		return in.malformed()
	}
	m.Head = h
	if err := m.entries(in); err != nil {
		return err
	}
	if _, err := in.src.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: something behind its end", ErrMalformed)
	}
	return nil
}

// entries reads the entries up to the line that ends them, and cuts them into
// pieces.
func (m *Manifest) entries(in *lineReader) error {
	var o order
	var p piece
	sum := digest.New()
	finish := func() {
		if p.size > 0 {
			p.sum = sum.Sum()
			m.pieces = append(m.pieces, p)
		}
		p = piece{}
		sum.Reset(pieceSize)
	}
	finish()
	for {
		off := in.off
		line, err := in.next()
		if err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(line, "end "); ok {
			n, ok := number(rest, 32)
			if !ok || n != uint64(o.n) {
				return in.malformed()
			}
			finish()
			m.Len = o.n
			return nil
		}
		e, ok := parseEntry(line)
		if !ok || o.n == MaxEntries {
			return in.malformed()
		}
		if err := o.next(&e); err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrMalformed, in.n, err)
		}
		if p.size >= pieceSize {
			finish()
		}
		if p.size == 0 {
			p.first, p.off = e.Path, off
		}
		p.size += len(line) + 1
		sum.Write([]byte(line))
		sum.Write([]byte{'\n'})
	}
}

// Body is a digest of all that the archive says: the entries, what the package
// manager keeps beside, and what is taken away, without the evidence. Two manifests
// of one archive have the same, or one of them is a lie.
func (m *Manifest) Body() digest.Digest {
	sum := digest.New()
	sum.Reset(int64(len(m.pieces)) * 32)
	sum.Write(appendHead(nil, &Head{Package: m.Head.Package, Version: m.Head.Version, Architecture: m.Head.Architecture,
		ArchiveSize: m.Head.ArchiveSize, Controls: m.Head.Controls, Removes: m.Head.Removes}))
	for _, p := range m.pieces { // which are cut by the entries alone
		sum.Write(p.sum[:])
	}
	return sum.Sum()
}

// load reads a piece again.
func (m *Manifest) load(p piece) ([]string, error) {
	if l := m.last.Load(); l != nil && l.off == p.off {
		return l.lines, nil
	}
	b := make([]byte, p.size)
	if n, err := m.r.ReadAt(b, p.off); n < len(b) {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if digest.Sum(b) != p.sum {
		return nil, fmt.Errorf("%w: it was changed meanwhile", ErrDigest)
	}
	lines := strings.Split(string(b[:len(b)-1]), "\n")
	m.last.Store(&loaded{p.off, lines})
	return lines, nil
}

func less(a, b entry.Path) bool { return bytes.Compare(a.Key(), b.Key()) < 0 }

// Lookup returns the entry of a path and whether there is one.
func (m *Manifest) Lookup(path entry.Path) (Entry, bool, error) {
	i := sort.Search(len(m.pieces), func(i int) bool { return less(path, m.pieces[i].first) }) - 1
	if i < 0 {
		return Entry{}, false, nil
	}
	lines, err := m.load(m.pieces[i])
	if err != nil {
		return Entry{}, false, err
	}
	j := sort.Search(len(lines), func(j int) bool {
		p, _ := parsePath(lines[j][strings.LastIndexByte(lines[j], ' ')+1:])
		return !less(p, path)
	})
	if j == len(lines) {
		return Entry{}, false, nil
	}
	e, _ := parseEntry(lines[j])
	return e, e.Path == path, nil
}

// Content returns the entry that says what a file of the package holds: of a
// hard link, that of the path whose other name it is.
func (m *Manifest) Content(e Entry) (Entry, error) {
	if e.Hard == "" {
		return e, nil
	}
	to, ok, err := m.Lookup(e.Hard)
	if err == nil && (!ok || to.Kind != entry.File || to.Hard != "") {
		err = fmt.Errorf("%w: %q", ErrHard, e.Hard)
	}
	return to, err
}

// All returns the entries in tree order.
func (m *Manifest) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, p := range m.pieces {
			lines, err := m.load(p)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, l := range lines {
				if e, _ := parseEntry(l); !yield(e, nil) {
					return
				}
			}
		}
	}
}
