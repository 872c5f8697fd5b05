package baseline

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"intact/baseline/diff"
	"intact/baseline/statement"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxLine bounds one line of an export: 1,024 entries with every attribute.
const maxLine = 64 << 20

// maxHint bounds what is mapped for a generation file before it is written; it
// grows by itself.
const maxHint = 1 << 30

// Export is what an export says besides its rows and directories.
type Export struct {
	Statement *statement.Statement
	Signature []byte // of the statement, nil if there is none; not verified
	Sets      entry.Sets
	Policy    []byte
	Root      digest.Digest // recomputed from what was read
}

// ExportSink takes what ReadExport reads, in order; fields may be nil. Head
// comes first, and what it is given has no Root yet.
type ExportSink struct {
	Head func(*Export) error
	Row  func(diff.Row) error
	// Part gets one part of a directory under its key. It is valid during the call.
	Part func(key []byte, p entry.Packed) error
}

// ReadExport reads an export strictly, in lines, and packs it again: the root
// must be the one in its statement. Nothing that the sink got may be used
// before ReadExport returned without error. Errors of the text wrap ErrDamaged
// and name the line.
func ReadExport(ctx context.Context, r io.Reader, to ExportSink) (*Export, error) {
	x := importer{to: to, in: bufio.NewReaderSize(r, 256<<10), root: newRooter(), out: &Export{}}
	if err := x.read(ctx); err != nil {
		return nil, fmt.Errorf("read export: %w", err)
	}
	return x.out, nil
}

type importer struct {
	to      ExportSink
	in      *bufio.Reader
	line    int
	buf     []byte
	again   bytes.Buffer
	root    *rooter
	out     *Export
	last    []byte // key
	lastRow []byte
	pack    packer
	chain   chainCheck
	entries int64
	dirs    int64
}

func (x *importer) bad(format string, a ...any) error {
	return fmt.Errorf("line %d: %w: %w", x.line, ErrDamaged, fmt.Errorf(format, a...))
}

// next reads one line; its terminator is part of it. At the end of the input it
// is an error: an export ends with its trailer.
func (x *importer) next() error {
	x.line++
	x.buf = x.buf[:0]
	for {
		piece, err := x.in.ReadSlice('\n')
		x.buf = append(x.buf, piece...)
		switch {
		case err == nil:
			return nil
		case len(x.buf) > maxLine:
			return x.bad("longer than %d bytes", maxLine)
		case err == io.EOF:
			return x.bad("cut short")
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// decode reads the line into v and checks that v is written just so.
func (x *importer) decode(v any) error {
	most := maxSets
	if _, ok := v.(*jsonDir); ok {
		most = entry.PartSize
	}
	if err := shape(x.buf, most); err != nil {
		return x.bad("%w", err)
	}
	if err := json.Unmarshal(x.buf, v); err != nil {
		return x.bad("%w", err)
	}
	x.again.Reset()
	enc := json.NewEncoder(&x.again)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return x.bad("%w", err)
	}
	if !bytes.Equal(x.again.Bytes(), x.buf) {
		return x.bad("not in its one spelling")
	}
	return nil
}

func (x *importer) read(ctx context.Context) error {
	if err := x.head(); err != nil {
		return err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := x.next(); err != nil {
			return err
		}
		var kind struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(x.buf, &kind); err != nil {
			return x.bad("%w", err)
		}
		var err error
		switch kind.Type {
		case lineRow:
			err = x.row()
		case lineDir:
			err = x.dir()
		case lineTrailer:
			return x.trailer()
		default:
			err = x.bad("unknown type %q", kind.Type)
		}
		if err != nil {
			return err
		}
	}
}

func (x *importer) head() error {
	var h jsonHeader
	var p jsonPolicy
	var s jsonSets
	for _, v := range []any{&h, &p, &s} {
		if err := x.next(); err != nil {
			return err
		}
		if err := x.decode(v); err != nil {
			return err
		}
	}
	if h.Type == lineHeader && h.Format == firstFormat {
		return fmt.Errorf("line 1: %w", ErrFormat)
	}
	if h.Type != lineHeader || h.Format != fileFormat || p.Type != linePolicy || s.Type != lineSets {
		return x.bad("want a header of %s, a policy and sets", fileFormat)
	}
	var err error
	if x.out.Statement, err = statement.Parse([]byte(h.Statement)); err != nil {
		return x.bad("%w", err)
	}
	if h.Signature != "" {
		x.out.Signature = []byte(h.Signature)
	}
	if x.out.Policy, err = bytesOf(p.Text, p.TextB64); err != nil {
		return x.bad("policy: %w", err)
	}
	if digest.Sum(x.out.Policy) != x.out.Statement.Policy {
		return x.bad("its policy is not the one in the statement")
	}
	for _, j := range s.Sets {
		mask, err1 := attrsOf(j.Attributes)
		dirMask, err2 := attrsOf(j.DirAttributes)
		if err := errors.Join(err1, err2); err != nil {
			return x.bad("%w", err)
		}
		x.out.Sets = append(x.out.Sets, entry.Set{Mask: mask, DirMask: dirMask, Log: j.Log, Sweep: j.Sweep})
	}
	if !equalJSON(jsonSetsOf(x.out.Sets), s) || len(x.out.Sets) > maxSets {
		return x.bad("sets not in their one spelling")
	}
	x.root.add(bucketMeta, []byte(metaFormat), []byte(fileFormat))
	x.root.add(bucketMeta, []byte(metaPolicy), x.out.Policy)
	x.root.add(bucketMeta, []byte(metaSets), encodeSets(x.out.Sets))
	if x.to.Head != nil {
		return x.to.Head(x.out)
	}
	return nil
}

func equalJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func (x *importer) row() error {
	var j jsonRow
	if err := x.decode(&j); err != nil {
		return err
	}
	kind, err1 := bytesOf(j.Kind, j.KindB64)
	key, err2 := bytesOf(j.Key, j.KeyB64)
	value, err3 := bytesOf(j.Value, j.ValueB64)
	r := diff.Row{Kind: string(kind), Key: key, Value: value}
	k, err4 := rowKey(r.Kind, r.Key)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return x.bad("%w", err)
	}
	if jsonRowOf(r) != j || x.dirs > 0 || bytes.Compare(x.lastRow, k) >= 0 {
		return x.bad("row out of order or not in its one spelling")
	}
	x.lastRow = k
	x.root.add(bucketRows, k, r.Value)
	if x.to.Row != nil {
		return x.to.Row(r)
	}
	return nil
}

func (x *importer) dir() error {
	var j jsonDir
	if err := x.decode(&j); err != nil {
		return err
	}
	path, err1 := bytesOf(j.Path, j.PathB64)
	next, err2 := bytesOf(j.Next, j.NextB64)
	if err := errors.Join(err1, err2); err != nil {
		return x.bad("%w", err)
	}
	dir, err := entry.NewPath(string(path))
	if err != nil || string(dir) != string(path) || len(dir) > entry.MaxKey || len(j.Entries) > entry.PartSize {
		return x.bad("directory %q", path)
	}
	b := entry.Block{Dir: dir, Part: j.Part, Entries: make([]entry.Entry, len(j.Entries))}
	if len(next) > 0 {
		b.Next = next
	}
	for i := range j.Entries {
		if b.Entries[i], err = j.Entries[i].entry(); err != nil {
			return x.bad("entry %d: %w", i, err)
		}
	}
	key, packed, err := x.pack.pack(&b, x.out.Sets)
	if err != nil {
		return x.bad("%w", err)
	}
	// What is stored must be all that the line says.
	if stored, err := packed.Unpack(dir, j.Part, x.out.Sets); err != nil {
		return x.bad("%w", err)
	} else if !equalJSON(jsonDirOf(stored), j) {
		return x.bad("not in its one spelling")
	}
	if bytes.Compare(x.last, key) >= 0 {
		return x.bad("directory %q out of order", path)
	}
	x.last = append(x.last[:0], key...)
	n, first, err := x.chain.add(key, packed)
	if err != nil {
		return x.bad("%w", err)
	}
	x.entries += int64(n)
	x.dirs += int64(first)
	x.root.add(bucketDirs, key, packed)
	if x.to.Part != nil {
		return x.to.Part(key, packed)
	}
	return nil
}

func (x *importer) trailer() error {
	var j jsonTrailer
	if err := x.decode(&j); err != nil {
		return err
	}
	if err := x.chain.end(); err != nil {
		return x.bad("%w", err)
	}
	if _, err := x.in.ReadByte(); err != io.EOF {
		return x.bad("text behind the trailer")
	}
	x.out.Root = x.root.sum()
	st := x.out.Statement
	if j != (jsonTrailer{lineTrailer, x.out.Root.Named(), x.dirs, x.entries}) {
		return x.bad("the trailer says another root or other numbers")
	}
	if st.Root != x.out.Root || st.Entries != x.entries || st.Directories != x.dirs {
		return x.bad("the statement says another root or other numbers")
	}
	return nil
}

// OpenExport reads the export in file into a temporary generation file in
// tmpdir ("" for the system's) and opens it. The file has no name any more when
// OpenExport returns. Whose host the export is of, and who signed its statement,
// the caller must judge. Errors wrap ErrDamaged where the export is to blame.
func OpenExport(ctx context.Context, tmpdir, file string) (*Generation, error) {
	in, err := openRegular(file)
	if err != nil {
		return nil, fmt.Errorf("open export %q: %w", file, cause(err))
	}
	defer in.Close()
	if tmpdir == "" {
		tmpdir = os.TempDir()
	}
	g, err := importTo(ctx, filepath.Join(tmpdir, "export-"+rand.Text()+fileSuffix+tempSuffix), in)
	if err != nil {
		return nil, fmt.Errorf("open export %q: %w", file, err)
	}
	return g, nil
}

func importTo(ctx context.Context, name string, in *os.File) (*Generation, error) {
	info, err := in.Stat()
	if err != nil {
		return nil, cause(err)
	}
	// Packed entries take about a sixth of their text.
	w, err := newFileWriter(name, min(info.Size()/6, maxHint))
	if err != nil {
		return nil, err
	}
	x, err := ReadExport(ctx, in, ExportSink{
		Head: func(x *Export) error { return putMeta(w, x.Policy, x.Sets) },
		Row:  func(r diff.Row) error { return putRows(w, []diff.Row{r}) },
		Part: func(key []byte, p entry.Packed) error { return w.put(bucketDirs, key, p) },
	})
	if err != nil {
		w.abort()
		return nil, err
	}
	if _, err := w.finish(ctx); err != nil {
		return nil, err
	}
	defer os.Remove(name)
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	g, err := openGeneration(ctx, f, x.Statement)
	if err == nil {
		g.armor, g.foreign = x.Signature, true
	}
	return g, err
}
