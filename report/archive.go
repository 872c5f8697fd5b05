package report

import (
	"cmp"
	"context"
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

	// watchShare is how many reports of a watcher are kept for each other one: it
	// writes one every few minutes.
	watchShare = 10
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

// Numbers above farSeq are believed where the report is signed alone: runs do
// not come that far, and somebody who makes files up should not end the numbers.
// Above maxSeq there are no reports.
const (
	farSeq = 1 << 40
	maxSeq = 1 << 62
)

// maxReport is more bytes than a report has.
const maxReport = 16 << 30

func fileName(seq uint64, k Kind) string { return fmt.Sprintf("%010d-%s%s", seq, k, suffix) }

func parseName(name string) (seq uint64, k Kind, ok bool) {
	num, rest, _ := strings.Cut(name, "-")
	kind, ok := strings.CutSuffix(rest, suffix)
	seq, err := strconv.ParseUint(num, 10, 63)
	return seq, Kind(kind), ok && err == nil && seq > 0 && seq <= maxSeq && Kind(kind).known() && fileName(seq, Kind(kind)) == name
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
	Prev       string     // "sha256:…" of the bytes of the report before, "" if there is none that can be one
	Checkpoint Checkpoint // the reports up to there are deleted when this one is stored
	Pruned     int        // how many are deleted then that were not before
	Kept       error      // why none is, although there are too many
	Unfinished []uint64   // numbers of reports that a process began and did not end
}

// Next returns the place of the next report, as of now. Only what judge finds
// signed as it should be has a say in what is deleted; nil takes everything.
func (a *Archive) Next(ctx context.Context, now time.Time, judge Judge) (p Place, err error) {
	list, err := a.List()
	if err != nil {
		return p, err
	}
	p.Unfinished = a.unfinished()
	p.Seq = 1
	for n := len(list); n > 0 && list[n-1].Seq > farSeq; n-- {
		if _, _, err := list[n-1].sealed(ctx, judge); err == nil {
			break
		}
		list = list[:n-1] // a name that somebody made up: there is no number behind the last
	}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	if len(list) == 0 {
		return p, nil
	}
	last := list[len(list)-1]
	p.Seq = last.Seq + 1
	if p.Prev, err = last.digest(ctx); err != nil && !errors.Is(err, ErrEdited) {
		return p, err
	}
	return p, a.retain(ctx, &p, list, now, judge)
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

// Open opens the report for reading; a link, a special file and what is too
// large to be a report are refused.
func (s Stored) Open() (*os.File, error) {
	f, err := os.OpenFile(s.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open report %d: %w", s.Seq, err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a regular file", s.Path)
	} else if err == nil && fi.Size() > maxReport {
		err = fmt.Errorf("%w: it has %d bytes, more than a report can have", ErrEdited, fi.Size())
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
