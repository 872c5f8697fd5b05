// Package baseline keeps what was accepted: one immutable bbolt file for each
// generation with a statement beside it, and the pending sets that wait for a
// person. It never knows why a change matters.
//
// A state folder (0700, files 0600, generation files 0400) holds
//
//	host                      the host's identity: see host.go
//	windows                   maintenance windows: see windows.go
//	delegation                what an operator lets the host accept: see delegation.go
//	lock                      held by init, check and accept
//	commit.lock               held while a generation is published
//	baseline/0000000001.db    a generation: see file.go
//	baseline/0000000001.statement
//	baseline/0000000001.statement.sig
//	baseline/proposed.db      a generation that waits for an operator: see propose.go
//	baseline/ages             when content was last read: see ages.go
//	expect/                   manifests of what is expected, and their signatures
//	keys/                     the host's keys
//	pending/<digest>          a pending set: see pending.go
//
// Files are written under names that end in ".tmp" and renamed when complete;
// the statement's rename is the moment from which a generation exists.
package baseline

import (
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

	"intact/baseline/seal"
	"intact/baseline/statement"
)

// Errors when a baseline is opened. All mean: there is nothing to trust.
var (
	ErrNoBaseline = errors.New("no baseline: run intact init")
	ErrDamaged    = errors.New("baseline is damaged")
	ErrForeign    = errors.New("baseline belongs to another host")
)

// ErrFormat is an ErrForeign as well: nothing is wrong with such a baseline,
// but it is none of this program's.
var ErrFormat error = formatError{}

type formatError struct{}

func (formatError) Error() string {
	return "baseline of a development version before the first release: move the state folder away and run intact init"
}

func (formatError) Is(target error) bool { return target == ErrForeign }

// Errors when changes are accepted. Nothing was written.
var (
	ErrConflict      = errors.New("the baseline no longer holds the old value")
	ErrNotAcceptable = errors.New("lost coverage cannot be accepted")
	ErrStale         = errors.New("another generation was published meanwhile")
)

// PackagesDir is the folder of the state folder that has manifests of packages.
// The store makes it and leaves it to others.
const PackagesDir = "packages"

// IndexesDir is the folder of the state folder that has the signed indexes which
// manifests of packages refer to. The store makes it and leaves it to others.
const IndexesDir = "indexes"

// KeysDir is the folder of the state folder that has the host's keys. The store
// only removes what was left unfinished there.
const KeysDir = "keys"

// ExpectDir is the folder of the state folder that has manifests of what is
// expected. The store itself knows nothing of them.
const ExpectDir = "expect"

// InboxDir is the folder of the state folder into which hooks write, without a
// lock. The store makes it and leaves it to others.
const InboxDir = "inbox"

// OwnSigners is the list of the host's own keys in KeysDir.
const OwnSigners = "allowed_signers"

const (
	hostFile       = "host"
	lockFile       = "lock"
	commitLockFile = "commit.lock"
	watchLockFile  = "watch.lock"
	baselineDir    = "baseline"
	pendingDir     = "pending"
	fileSuffix     = ".db"
	proposedFile   = "proposed" + fileSuffix
	stmtSuffix     = ".statement"
	sigSuffix      = ".sig"
	tempSuffix     = ".tmp"
	maxHostFile    = 16 << 10
	generationFmt  = "%010d"
)

// Store is a state folder. Its methods may be used concurrently; what writes
// expects the caller to hold Lock.
type Store struct {
	// Signer signs the generations that are written, Trust judges those that are
	// read. nil: not signed, not judged. Both are set before anything else is done.
	Signer seal.Signer
	Trust  *Trust

	// Under is the delegation that Signer, the host's own key, signs under; nil:
	// none.
	Under *Delegation

	// Restart lets Builder.Commit start over where the newest generation cannot be
	// trusted: see statement.Statement.
	Restart bool

	dir string
}

// OpenStore names the state folder dir. It creates nothing: a folder that does
// not exist is a store without a baseline.
func OpenStore(dir string) (*Store, error) {
	if dir == "" {
		return nil, errors.New("open state folder: no name given")
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open state folder %q: %w", dir, cause(err))
	case !info.IsDir():
		return nil, fmt.Errorf("open state folder %q: not a directory", dir)
	}
	return &Store{dir: dir}, nil
}

// Dir returns the state folder's name.
func (s *Store) Dir() string { return s.dir }

// cause drops the path that an os error carries, where the message has it
// quoted already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Latest returns the number of the newest generation, 0 if there is none.
func (s *Store) Latest() (uint64, error) {
	gens, err := s.generations(stmtSuffix)
	if err != nil || len(gens) == 0 {
		return 0, err
	}
	return gens[len(gens)-1], nil
}

// generations returns the numbers of the baseline files with a suffix,
// ascending.
func (s *Store) generations(suffix string) ([]uint64, error) {
	list, err := os.ReadDir(s.path(baselineDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list baseline folder %q: %w", s.path(baselineDir), cause(err))
	}
	var out []uint64
	for _, e := range list {
		num, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(num, 10, 64)
		if err == nil && n > 0 && fmt.Sprintf(generationFmt, n) == num {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *Store) dbPath(gen uint64) string {
	return s.path(baselineDir, fmt.Sprintf(generationFmt, gen)+fileSuffix)
}

func (s *Store) statementPath(gen uint64) string {
	return s.path(baselineDir, fmt.Sprintf(generationFmt, gen)+stmtSuffix)
}

// proposedPath is the file of a generation that is not in force.
func (s *Store) proposedPath() string { return s.path(baselineDir, proposedFile) }

func (s *Store) signaturePath(gen uint64) string { return s.statementPath(gen) + sigSuffix }

// Statement reads the statement of a generation without judging it.
func (s *Store) Statement(gen uint64) (*statement.Statement, error) {
	host, err := s.HostID()
	if err != nil {
		return nil, err
	}
	return s.readStatement(gen, host)
}

// readStatement reads and verifies the text of one generation by itself: not
// its chain. A statement of another host or number is refused.
func (s *Store) readStatement(gen uint64, hostID string) (*statement.Statement, error) {
	name := s.statementPath(gen)
	text, err := readSmall(name, statement.MaxSize+1)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("read statement %q: %w", name, cause(err))
	}
	if err != nil {
		return nil, fmt.Errorf("read statement %q: %w: %w", name, ErrDamaged, cause(err))
	}
	st, err := statement.Parse(text)
	if errors.Is(err, statement.ErrFormat) {
		return nil, fmt.Errorf("read statement %q: %w", name, ErrFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("read statement %q: %w: %w", name, ErrDamaged, err)
	}
	if st.Generation != gen {
		return nil, fmt.Errorf("read statement %q: %w: it is of generation %d", name, ErrDamaged, st.Generation)
	}
	if st.HostID != hostID {
		return nil, fmt.Errorf("read statement %q: %w: %s, this is %s", name, ErrForeign, st.HostID, hostID)
	}
	return st, nil
}

// readSmall reads a regular file of at most limit bytes. The final component
// must not be a link.
func readSmall(name string, limit int64) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	return b, err
}

// openRegular opens for reading, without following a final link and without
// blocking on a FIFO.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%q is not a regular file", name))
	}
	return f, nil
}

// writeFile replaces name in one step: temporary file, fsync, rename, fsync of
// the folder.
func (s *Store) writeFile(name string, text []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*"+tempSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	return finish(f, name, mode)
}

// finish makes a written temporary file durable under its final name. It
// closes f.
func finish(f *os.File, name string, mode fs.FileMode) error {
	err := errors.Join(f.Chmod(mode), f.Sync())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
