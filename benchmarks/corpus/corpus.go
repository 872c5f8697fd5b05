// Package corpus writes synthetic file trees for benchmarks: the same Spec
// gives the same names, sizes and bytes on every machine. Times and inode
// numbers are not part of that promise.
//
// A tree carries a marker file in its top directory. Ensure uses it to know a
// tree it made, to reuse a finished one, and to leave every other folder alone.
package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Marker is the name of the file that says a folder belongs to this package.
const Marker = ".intact-corpus"

// Revision changes whenever a Spec would give other bytes than before, so that
// kept trees are not mistaken for what the present code writes.
const Revision = 1

// DefaultSeed is the seed of all published figures.
const DefaultSeed = 20240607

// ErrForeign is wrapped by Ensure for a folder that is not empty and not ours.
var ErrForeign = errors.New("folder is not empty and not a corpus")

// Kind names a shape of tree.
type Kind string

// The shapes. Sizes are bytes per file.
const (
	Small Kind = "small" // like a root file system: 2 % empty, log-normal, median 3,000, at most 8 MiB, about 9 a directory
	Tiny  Kind = "tiny"  // 0 to 400, about 30 a directory
	Huge  Kind = "huge"  // as tiny, ten times as many
	Big   Kind = "big"   // Spec.FileSize each, all in one directory
	One   Kind = "one"   // a single file of Spec.FileSize
	Wide  Kind = "wide"  // 0 to 400, all in one directory
	Deep  Kind = "deep"  // one file a directory, each directory inside the one before
)

// Kinds returns all shapes.
func Kinds() []Kind { return []Kind{Small, Tiny, Huge, Big, One, Wide, Deep} }

// sized reports whether Spec.FileSize is the size of every file.
func (k Kind) sized() bool { return k == Big || k == One }

// Spec says what to write.
type Spec struct {
	Revision int    `json:"revision"`
	Kind     Kind   `json:"kind"`
	Count    int    `json:"count"`     // files; of Deep, directories too
	FileSize int64  `json:"file_size"` // bytes, for Big and One only
	Seed     uint64 `json:"seed"`
}

// Default returns the full-size Spec of a shape.
func Default(k Kind) (Spec, error) {
	s := Spec{Revision: Revision, Kind: k, Seed: DefaultSeed}
	switch k {
	case Small:
		s.Count = 200_000
	case Tiny, Wide:
		s.Count = 1_000_000
	case Huge:
		s.Count = 10_000_000
	case Big:
		s.Count, s.FileSize = 8, 1<<30
	case One:
		s.Count, s.FileSize = 1, 8<<30
	case Deep:
		s.Count = 1_000
	default:
		return Spec{}, fmt.Errorf("corpus kind %q: want one of %v", k, Kinds())
	}
	return s, nil
}

// Scaled returns s with 1/n of its files, or of its bytes a file for Big and One.
func (s Spec) Scaled(n int) Spec {
	if n <= 1 {
		return s
	}
	if s.Kind.sized() {
		s.FileSize = max(1, s.FileSize/int64(n))
		return s
	}
	s.Count = max(1, s.Count/n)
	return s
}

func (s Spec) valid() error {
	if !slices.Contains(Kinds(), s.Kind) {
		return fmt.Errorf("corpus kind %q: want one of %v", s.Kind, Kinds())
	}
	if s.Revision != Revision {
		return fmt.Errorf("corpus revision %d: this code writes %d", s.Revision, Revision)
	}
	if s.Count < 1 || s.FileSize < 0 {
		return fmt.Errorf("corpus %s: count %d, file size %d", s.Kind, s.Count, s.FileSize)
	}
	return nil
}

// Totals counts what a tree holds, without the marker and the top directory.
type Totals struct {
	Files int   `json:"files"`
	Dirs  int   `json:"dirs"`
	Bytes int64 `json:"bytes"`
}

// String is the one-line summary that the commands print.
func (t Totals) String() string {
	return fmt.Sprintf("%d files, %d directories, %d bytes", t.Files, t.Dirs, t.Bytes)
}

func (t *Totals) add(o Totals) {
	t.Files += o.Files
	t.Dirs += o.Dirs
	t.Bytes += o.Bytes
}

// record is the content of the marker file.
type record struct {
	Spec     Spec   `json:"spec"`
	Complete bool   `json:"complete"`
	Totals   Totals `json:"totals"`
}

// Ensure makes dir hold the tree s and returns its totals; reused says that it
// was there already. A corpus of another Spec, or one that was interrupted, is
// removed and written anew. Any other non-empty folder is refused with
// ErrForeign and left as it is.
func Ensure(ctx context.Context, dir string, s Spec) (t Totals, reused bool, err error) {
	if err := s.valid(); err != nil {
		return t, false, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return t, false, fmt.Errorf("make corpus folder: %w", err)
	}
	old, err := readMarker(dir)
	if err != nil {
		return t, false, err
	}
	if old != nil && old.Complete && old.Spec == s {
		return old.Totals, true, nil
	}
	if err := empty(dir); err != nil {
		return t, false, err
	}
	if err := writeMarker(dir, record{Spec: s}); err != nil {
		return t, false, err
	}
	if t, err = write(ctx, dir, s); err != nil {
		return t, false, fmt.Errorf("write %s corpus in %q: %w", s.Kind, dir, err)
	}
	return t, false, writeMarker(dir, record{Spec: s, Complete: true, Totals: t})
}

// readMarker returns nil for an empty folder and ErrForeign for one that holds
// anything but a corpus.
func readMarker(dir string) (*record, error) {
	b, err := os.ReadFile(filepath.Join(dir, Marker))
	if errors.Is(err, fs.ErrNotExist) {
		names, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("read corpus folder: %w", err)
		}
		if len(names) > 0 {
			return nil, fmt.Errorf("%w: %q", ErrForeign, dir)
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read corpus marker: %w", err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil || r.Spec.Kind == "" {
		return nil, fmt.Errorf("%w: %q has a marker that cannot be read", ErrForeign, dir)
	}
	return &r, nil
}

// writeMarker replaces the marker as a whole: a torn one would lock us out of
// our own folder.
func writeMarker(dir string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode corpus marker: %w", err)
	}
	tmp := filepath.Join(dir, Marker+".new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write corpus marker: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, Marker)); err != nil {
		return fmt.Errorf("write corpus marker: %w", err)
	}
	return nil
}

// empty removes all but the marker, so that an interruption still leaves a folder that is known as ours.
func empty(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("clear corpus: %w", err)
	}
	for _, e := range list {
		if e.Name() == Marker {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("clear corpus: %w", err)
		}
	}
	return nil
}
