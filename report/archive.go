package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What an archive keeps besides the newest report: as many of the newest others
// as fit in these bounds.
const (
	keepReports = 1000
	keepBytes   = 1 << 30
	keepDays    = 730
)

// Errors of an archive.
var (
	ErrNoReport  = errors.New("no such report")
	ErrAmbiguous = errors.New("more than one report has that id")
	ErrSeqTaken  = errors.New("a report with that number exists")
)

// Archive is a folder of reports, one file each, named by number and kind.
// It is the caller who sees to it that only one process writes at a time.
type Archive struct {
	dir   string
	count int
	bytes int64
	age   time.Duration
}

// Stored is one report of an archive.
type Stored struct {
	Seq  uint64
	Kind Kind
	Path string // of the file; its signature is in the file with .sig behind it
	Size int64
	Time time.Time // of the last change of the file
}

// OpenArchive returns the archive in dir, which need not exist yet: it is made,
// with mode 0700, when the first report is. It keeps count reports of at most
// so many days; 0 is a default.
func OpenArchive(dir string, count, days int) *Archive {
	return &Archive{dir: dir, count: cmp.Or(count, keepReports), bytes: keepBytes, age: time.Duration(cmp.Or(days, keepDays)) * 24 * time.Hour}
}

const (
	suffix    = ".jsonl"
	sigSuffix = ".sig"
)

func fileName(seq uint64, k Kind) string { return fmt.Sprintf("%010d-%s%s", seq, k, suffix) }

func parseName(name string) (seq uint64, k Kind, ok bool) {
	num, rest, _ := strings.Cut(name, "-")
	kind, ok := strings.CutSuffix(rest, suffix)
	seq, err := strconv.ParseUint(num, 10, 63)
	return seq, Kind(kind), ok && err == nil && seq > 0 && fileName(seq, Kind(kind)) == name
}

// List returns the reports in ascending order of their numbers, none where
// there is no folder. What is not named like a report is passed over.
func (a *Archive) List() ([]Stored, error) {
	des, err := os.ReadDir(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	var list []Stored
	for _, de := range des {
		seq, kind, ok := parseName(de.Name())
		if !ok || !de.Type().IsRegular() {
			continue
		}
		fi, err := de.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list reports: %w", err)
		}
		list = append(list, Stored{seq, kind, filepath.Join(a.dir, de.Name()), fi.Size(), fi.ModTime()})
	}
	slices.SortFunc(list, func(x, y Stored) int {
		if x.Seq < y.Seq {
			return -1
		} else if x.Seq > y.Seq {
			return 1
		}
		return strings.Compare(string(x.Kind), string(y.Kind))
	})
	return list, nil
}

// Last returns the report with the highest number; ErrNoReport if there is
// none.
func (a *Archive) Last() (Stored, error) {
	list, err := a.List()
	if err != nil {
		return Stored{}, err
	}
	if len(list) == 0 {
		return Stored{}, fmt.Errorf("last report: %w", ErrNoReport)
	}
	return list[len(list)-1], nil
}

// Place is where the next report stands in the chain.
type Place struct {
	Seq        uint64
	Prev       string     // "sha256:…" of the bytes of the report before, "" if there is none
	Checkpoint Checkpoint // the reports up to there are deleted when this one is stored
	Unfinished []uint64   // numbers of reports that a process began and did not end
}

// Next returns the place of the next report, as of now.
func (a *Archive) Next(now time.Time) (p Place, err error) {
	list, err := a.List()
	if err != nil {
		return p, err
	}
	p.Unfinished = a.unfinished()
	p.Seq = 1
	if len(list) == 0 {
		return p, nil
	}
	last := list[len(list)-1]
	p.Seq = last.Seq + 1
	if p.Prev, err = last.Digest(); err != nil {
		return p, err
	}
	p.Checkpoint, err = a.checkpoint(list, now)
	return p, err
}

// checkpoint decides what of list is deleted. A report that cannot be read is
// kept, and so are all behind it: the chain would not hold without it.
func (a *Archive) checkpoint(list []Stored, now time.Time) (c Checkpoint, err error) {
	if h, err := list[len(list)-1].Header(); err == nil {
		c = h.Checkpoint
	}
	var total int64
	first := len(list) - 1
	for i, s := range slices.Backward(list) {
		total += s.Size
		if len(list)-i >= a.count || i < len(list)-1 && (total > a.bytes || now.Sub(s.Time) > a.age) {
			break
		}
		first = i
	}
	if first == 0 {
		return c, nil
	}
	h, err := list[first].Header()
	if err != nil || h.Prev == "" {
		return c, nil
	}
	return Checkpoint{list[first].Seq - 1, h.Prev}, nil
}

// Digest returns "sha256:…" of all bytes of the report.
func (s Stored) Digest() (string, error) {
	f, err := s.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read report %d: %w", s.Seq, err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// Signature returns the armored signature of the report, nil if there is none.
func (s Stored) Signature() ([]byte, error) {
	f, err := Stored{Seq: s.Seq, Path: s.Path + sigSuffix}.Open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSignature+1))
	if err == nil && len(b) > maxSignature {
		err = ErrTooLong
	}
	if err != nil {
		return nil, fmt.Errorf("signature of report %d: %w", s.Seq, err)
	}
	return b, nil
}

// maxSignature bounds the file of a signature, in bytes.
const maxSignature = 64 << 10

// Get returns the report that ref names: a number, or an id or the beginning
// of one, at least four characters, as its header gives it. The empty ref is
// the last report.
func (a *Archive) Get(ref string) (Stored, error) {
	if ref == "" {
		return a.Last()
	}
	list, err := a.List()
	if err != nil {
		return Stored{}, err
	}
	var begin []Stored
	for _, s := range slices.Backward(list) {
		h, err := s.Header()
		switch {
		case err == nil && h.ID == ref:
			return s, nil
		case err == nil && len(ref) >= 4 && strings.HasPrefix(h.ID, ref):
			begin = append(begin, s)
		}
	}
	// Behind the ids, so that an id made of digits can be had at all.
	if n, err := strconv.ParseUint(ref, 10, 63); err == nil {
		for _, s := range slices.Backward(list) {
			if s.Seq == n {
				return s, nil
			}
		}
	}
	switch len(begin) {
	case 0:
		return Stored{}, fmt.Errorf("find report %q: %w", ref, ErrNoReport)
	case 1:
		return begin[0], nil
	}
	return Stored{}, fmt.Errorf("find report %q: %w", ref, ErrAmbiguous)
}

// Open opens the report for reading; a link or a special file is refused.
func (s Stored) Open() (*os.File, error) {
	f, err := os.OpenFile(s.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open report %d: %w", s.Seq, err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a regular file", s.Path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open report %d: %w", s.Seq, err)
	}
	return f, nil
}

// Header reads the first record alone.
func (s Stored) Header() (Header, error) {
	f, err := s.Open()
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	rec, err := NewReader(f).Next()
	if err != nil {
		return Header{}, fmt.Errorf("report %d: %w", s.Seq, err)
	}
	return *rec.Header, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
