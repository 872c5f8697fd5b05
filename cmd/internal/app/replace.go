package app

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// putFile replaces a small file in one step.
func putFile(name string, b []byte, mode fs.FileMode) error {
	f, err := beside(name)
	if err != nil {
		return err
	}
	return replace(f, name, mode, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// replaceFile makes a file that was asked for of what write writes, in one step.
// A place where none can be made is for the user to mend.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := beside(name)
	if err != nil {
		return usageError("write %q: %w", name, err)
	}
	return replace(f, name, 0o600, write)
}

// beside makes a file that can take the place of name.
func beside(name string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
}

// replace writes f, closes it and gives it its name; what fails leaves nothing.
func replace(f *os.File, name string, mode fs.FileMode, write func(io.Writer) error) error {
	err := write(f)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncFolder(filepath.Dir(name))
}

// syncFolder makes the names in a folder last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
