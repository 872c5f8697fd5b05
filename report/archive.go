package report

import (
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
)

// What an archive keeps: the newest report always, of the others as many of
// the newest as fit in both bounds.
const (
	keepReports = 1000
	keepBytes   = 1 << 30
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
}

// Stored is one report of an archive.
type Stored struct {
	Seq  uint64
	Kind Kind
	Path string // of the file
	Size int64
}

// OpenArchive returns the archive in dir, which need not exist yet: it is made,
// with mode 0700, when the first report is.
func OpenArchive(dir string) *Archive {
	return &Archive{dir: dir, count: keepReports, bytes: keepBytes}
}

const suffix = ".jsonl"

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
		list = append(list, Stored{seq, kind, filepath.Join(a.dir, de.Name()), fi.Size()})
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

// Next returns the number of the next report and the digest, "sha256:…", of
// the bytes of the one before, "" if there is none.
func (a *Archive) Next() (seq uint64, prev string, err error) {
	last, err := a.Last()
	if errors.Is(err, ErrNoReport) {
		return 1, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	f, err := last.Open()
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return 0, "", fmt.Errorf("read report %d: %w", last.Seq, err)
	}
	return last.Seq + 1, "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

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

// Draft is a report that is being written. It can be read back, for the text
// view, before and after Commit.
type Draft struct {
	*os.File
	archive *Archive
	stored  Stored
	done    bool
}

// Create begins the report with the given number. Until Commit it is no part
// of the archive; drafts that a killed process left behind are removed.
func (a *Archive) Create(seq uint64, k Kind) (*Draft, error) {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create report: %w", err)
	}
	name := fileName(seq, k)
	if _, _, ok := parseName(name); !ok || strings.ContainsAny(string(k), "/\x00") {
		return nil, fmt.Errorf("create report: bad number or kind: %d, %q", seq, string(k))
	}
	a.sweep(seq)
	f, err := os.OpenFile(filepath.Join(a.dir, draftName(name)), os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create report: %w", err)
	}
	return &Draft{File: f, archive: a, stored: Stored{Seq: seq, Kind: k, Path: filepath.Join(a.dir, name)}}, nil
}

func draftName(name string) string { return "." + name + ".tmp" }

// sweep removes drafts up to seq: whoever holds that number now knows that
// their writers are gone.
func (a *Archive) sweep(seq uint64) {
	des, _ := os.ReadDir(a.dir)
	for _, de := range des {
		name, ok := strings.CutSuffix(strings.TrimPrefix(de.Name(), "."), ".tmp")
		if n, _, known := parseName(name); ok && known && n <= seq && draftName(name) == de.Name() {
			// What cannot be removed is found again by O_EXCL or does no harm.
			_ = os.Remove(filepath.Join(a.dir, de.Name()))
		}
	}
}

// Commit makes the draft the report of its number, durably, and then removes
// the oldest reports beyond the bounds. The file stays open for reading. If
// err is not nil and wraps ErrPrune, the report itself is safely stored.
func (d *Draft) Commit() (Stored, error) {
	s := d.stored
	fail := func(err error) (Stored, error) { return Stored{}, fmt.Errorf("store report %d: %w", s.Seq, err) }
	if d.done {
		return fail(fs.ErrClosed)
	}
	if err := d.Sync(); err != nil {
		return fail(err)
	}
	fi, err := d.Stat()
	if err != nil {
		return fail(err)
	}
	s.Size = fi.Size()
	list, err := d.archive.List()
	if err != nil {
		return fail(err)
	}
	for _, o := range list {
		if o.Seq == s.Seq {
			return fail(ErrSeqTaken)
		}
	}
	if err := os.Rename(d.Name(), s.Path); err != nil {
		return fail(err)
	}
	d.done = true
	if err := syncDir(d.archive.dir); err != nil {
		return fail(err)
	}
	return s, d.archive.prune()
}

// Abort removes a draft that was not committed and closes the file. After
// Commit it only closes: it can be deferred.
func (d *Draft) Abort() error {
	if !d.done {
		d.done = true
		return errors.Join(d.Close(), os.Remove(d.Name()))
	}
	return d.Close()
}

// ErrPrune is wrapped by the error of Commit where only the removal of old
// reports failed.
var ErrPrune = errors.New("remove old reports")

func (a *Archive) prune() error {
	list, err := a.List()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPrune, err)
	}
	var total int64
	for i, s := range slices.Backward(list) {
		total += s.Size
		n := len(list) - i
		if n == 1 || n <= a.count && total <= a.bytes {
			continue
		}
		if e := os.Remove(s.Path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPrune, err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
