package rpm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// What is wrong with a database.
var (
	ErrDatabase = errors.New("malformed database")
	ErrChanging = errors.New("the database changed while it was read")
	ErrAmid     = errors.New("the database is amid a transaction")
)

// The files of a database, in the order in which they are looked for.
const (
	sqliteName = "rpmdb.sqlite"
	ndbName    = "Packages.db"
	bdbName    = "Packages"
)

// Bounds of a database.
const (
	maxDatabase = 8 << 30 // bytes
	maxPackages = 1 << 17
)

// Source is a file of the database, read by descriptor.
type Source interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// Folder opens a file of the folder of the database by its name; the error
// wraps fs.ErrNotExist where there is none.
type Folder func(name string) (Source, error)

// row is called for each header of a database, by its number. The bytes are
// good until it returns.
type row func(number uint64, blob []byte) error

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDatabase, fmt.Sprintf(format, args...))
}

// Each calls do for every package of the database, in no order. A header is
// good until do returns. ErrChanging means that what do saw does not belong
// together: begin again. Where no database is there the error wraps
// fs.ErrNotExist. Errors of do and ctx end it and are returned.
func Each(ctx context.Context, open Folder, do func(*Header) error) error {
	packages := 0
	each := func(number uint64, blob []byte) error {
		if packages++; packages > maxPackages {
			return broken("over %d packages", maxPackages)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := Parse(blob)
		if err != nil {
			return fmt.Errorf("package number %d: %w", number, err)
		}
		return do(h)
	}
	for _, kind := range []struct {
		name string
		read func(ctx context.Context, f Source, open Folder, do row) error
	}{{sqliteName, readSQLite}, {ndbName, readNDB}, {bdbName, readBerkeley}} {
		f, err := open(kind.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %q: %w", kind.name, err)
		}
		defer f.Close()
		err = steady(f, func() error { return kind.read(ctx, f, open, each) })
		if err != nil {
			return fmt.Errorf("read %q: %w", kind.name, err)
		}
		return nil
	}
	return fmt.Errorf("no rpm database: %w", fs.ErrNotExist)
}

// There reports whether the folder holds a database, or what cannot be opened in
// the place of one.
func There(open Folder) bool {
	for _, name := range [...]string{sqliteName, ndbName, bdbName} {
		f, err := open(name)
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// steady runs read and makes sure that nobody wrote to f meanwhile. A file that
// changed explains whatever read found wrong.
func steady(f Source, read func() error) error {
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if before.Size() > maxDatabase {
		return broken("larger than %d bytes", int64(maxDatabase))
	}
	err = read()
	after, statErr := f.Stat()
	if statErr != nil {
		return errors.Join(err, statErr)
	}
	if before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return ErrChanging
	}
	return err
}

// readFull reads all of b at off; a file that ends before is ErrDatabase.
func readFull(f io.ReaderAt, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF || err == nil {
		return broken("it ends before byte %d", off+int64(len(b)))
	}
	return err
}
