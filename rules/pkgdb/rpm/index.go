package rpm

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"slices"

	"intact/scanner/entry"
)

// Bounds of what is made of the files of one header, in bytes and in files.
const (
	maxPath = 4095 // what a system call takes
	maxList = 256 << 20
	stride  = 64
)

// Index finds the files of a header by their paths. It keeps copies of what the
// header says of files, sixteen bytes for each of them and every 64th place in
// the lists; nothing else of the header. It is for any number of goroutines.
type Index struct {
	seed  maphash.Seed // so that nobody can make paths that collide
	keys  []key        // by hash
	marks []lists      // before every file whose number stride divides
	count int
}

type key struct {
	hash uint64
	file uint32
}

// Index makes an index of the files of the package that Info returned.
func (h *Header) Index(p *Package) (*Index, error) {
	l, err := h.lists(p)
	if err != nil {
		return nil, err
	}
	l.own()
	x := &Index{seed: maphash.MakeSeed(), count: l.count, keys: make([]key, 0, l.count)}
	for i := range l.count {
		if i%stride == 0 {
			x.marks = append(x.marks, *l)
		}
		f, err := l.file()
		if err != nil {
			return nil, err
		}
		x.keys = append(x.keys, key{maphash.String(x.seed, string(f.Path)), uint32(i)})
	}
	slices.SortFunc(x.keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.file, b.file)) })
	return x, nil
}

// own makes the lists independent of the header that they were cut from.
func (l *lists) own() {
	for _, v := range []*list{&l.old, &l.base, &l.index, &l.digest, &l.target, &l.user, &l.group, &l.caps, &l.mode, &l.size, &l.flags, &l.verify, &l.state} {
		v.data = bytes.Clone(v.data)
		v.rest = v.data
	}
	for i, d := range l.dirs {
		l.dirs[i] = bytes.Clone(d)
	}
}

// Lookup returns what the package lists under the path. A package that lists a
// path twice says nothing of it: the error wraps ErrHeader.
func (x *Index) Lookup(p entry.Path) (found File, ok bool, err error) {
	want := maphash.String(x.seed, string(p))
	i, _ := slices.BinarySearchFunc(x.keys, want, func(k key, h uint64) int { return cmp.Compare(k.hash, h) })
	for ; i < len(x.keys) && x.keys[i].hash == want; i++ {
		f, err := x.at(x.keys[i].file)
		if err != nil {
			return File{}, false, err
		}
		if f.Path != p {
			continue
		}
		if ok {
			return File{}, false, malformed("file %q stands twice", p)
		}
		found, ok = f, true
	}
	return found, ok, nil
}

// Paths yields the paths in the header's order. An error ends it.
func (x *Index) Paths() iter.Seq2[entry.Path, error] {
	return func(yield func(entry.Path, error) bool) {
		if x.count == 0 {
			return
		}
		l := x.marks[0]
		for range x.count {
			if p, err := l.name(); !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// at walks from the mark before a file to it.
func (x *Index) at(n uint32) (f File, err error) {
	l := x.marks[n/stride]
	for range n%stride + 1 {
		if f, err = l.file(); err != nil {
			return f, err
		}
	}
	return f, nil
}

// List returns the sorted paths of the package that Info returned, each with a
// NUL behind it.
func (h *Header) List(p *Package) ([]byte, error) {
	l, err := h.lists(p)
	if err != nil {
		return nil, err
	}
	var paths []string
	size := 0
	for range l.count {
		name, err := l.name()
		if err != nil {
			return nil, err
		}
		if size += len(name) + 1; size > maxList {
			return nil, malformed("paths of over %d bytes", maxList)
		}
		paths = append(paths, string(name))
	}
	slices.Sort(paths)
	out := make([]byte, 0, size)
	for _, s := range paths {
		out = append(append(out, s...), 0)
	}
	return out, nil
}

// ID is the SHA-256 of what signatures of the header are of, which rpm calls
// SHA256HEADER, as "sha256:…"; "" of a header that cannot be signed.
func (h *Header) ID() string {
	if h.nsig == 0 {
		return ""
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, h.signed()); err != nil {
		return ""
	}
	return fmt.Sprintf("sha256:%s", hex.EncodeToString(sum.Sum(nil)))
}

// The bits of st_mode that say what type a file is of, and its types.
var types = map[uint32]entry.Kind{0o100000: entry.File, 0o040000: entry.Dir, 0o120000: entry.Symlink,
	0o020000: entry.CharDevice, 0o060000: entry.BlockDevice, 0o010000: entry.FIFO, 0o140000: entry.Socket}

// Kind is the type of the file, entry.KindUnknown of none that is known.
func (f *File) Kind() entry.Kind { return types[f.Mode&0o170000] }
