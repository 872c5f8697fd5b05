package report

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Draft is a report that is being written. It can be read back, for the text
// view, before and after Commit.
type Draft struct {
	*os.File
	archive *Archive
	stored  Stored
	place   Place
	done    bool
}

// Create begins the report of a place. Until Commit it is no part of the
// archive; drafts that a killed process left behind are removed.
func (a *Archive) Create(at Place, k Kind) (*Draft, error) {
	seq := at.Seq
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
	return &Draft{File: f, archive: a, place: at, stored: Stored{Seq: seq, Kind: k, Path: filepath.Join(a.dir, name)}}, nil
}

func draftName(name string) string { return "." + name + ".tmp" }

// drafts yields the names and numbers of reports that are not finished.
func (a *Archive) drafts() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		des, _ := os.ReadDir(a.dir) // where there is no folder there are none
		for _, de := range des {
			name, ok := strings.CutSuffix(strings.TrimPrefix(de.Name(), "."), ".tmp")
			if n, _, known := parseName(strings.TrimSuffix(name, sigSuffix)); ok && known && draftName(name) == de.Name() && !yield(de.Name(), n) {
				return
			}
		}
	}
}

func (a *Archive) unfinished() (list []uint64) {
	for _, n := range a.drafts() {
		list = append(list, n)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// sweep removes drafts up to seq: whoever holds that number now knows that
// their writers are gone.
func (a *Archive) sweep(seq uint64) {
	for name, n := range a.drafts() {
		if n <= seq {
			// What cannot be removed is found again by O_EXCL or does no harm.
			_ = os.Remove(filepath.Join(a.dir, name))
		}
	}
}

// Commit makes the draft the report of its number, durably, together with its
// armored signature, nil where it has none, and then removes the reports up to
// its checkpoint. The file stays open for reading. If err is not nil and wraps
// ErrPrune, the report itself is safely stored.
func (d *Draft) Commit(armor []byte) (Stored, error) {
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
	s.Size, s.Time = fi.Size(), fi.ModTime()
	list, err := d.archive.List()
	if err != nil {
		return fail(err)
	}
	for _, o := range list {
		if o.Seq == s.Seq {
			return fail(ErrSeqTaken)
		}
	}
	if err := d.putSignature(armor); err != nil {
		return fail(err)
	}
	if err := os.Rename(d.Name(), s.Path); err != nil {
		return fail(err)
	}
	d.done = true
	if err := syncDir(d.archive.dir); err != nil {
		return fail(err)
	}
	return s, d.archive.prune(list, d.place.Checkpoint.Seq)
}

// putSignature gives the signature its final name. Without its report it says
// nothing.
func (d *Draft) putSignature(armor []byte) error {
	name := d.stored.Path + sigSuffix
	if armor == nil {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	tmp := filepath.Join(d.archive.dir, draftName(filepath.Base(name)))
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(armor)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
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

func (a *Archive) prune(list []Stored, upTo uint64) (err error) {
	for _, s := range list {
		if s.Seq > upTo {
			break
		}
		for _, name := range []string{s.Path, s.Path + sigSuffix} {
			if e := os.Remove(name); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPrune, err)
	}
	return nil
}
