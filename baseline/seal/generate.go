package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// maxComment bounds the comment of a key, in bytes.
const maxComment = 1024

// Generate makes an ed25519 key: the private one at path, mode 0400, not
// encrypted, and path with ".pub" behind it, mode 0644, as ssh-keygen writes
// them. It replaces nothing: the error wraps fs.ErrExist. Each file is
// complete and on the disk before it has its name; the private one is first.
func Generate(path, comment string) (Key, error) {
	if err := checkComment(comment); err != nil {
		return Key{}, err
	}
	public := path + ".pub"
	for _, name := range []string{path, public} {
		if _, err := os.Lstat(name); err == nil {
			return Key{}, fmt.Errorf("make key: %q: %w", name, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return Key{}, fmt.Errorf("make key: %w", quotePath(err))
		}
	}
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	defer clear(private)
	p, err := ssh.NewPublicKey(pub)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	key, text := plainKey(p), pem.EncodeToMemory(block)
	defer clear(block.Bytes)
	defer clear(text)
	if err := writeNew(path, text, 0o400); err != nil {
		return Key{}, err
	}
	line := key.Line
	if comment != "" {
		line += " " + comment
	}
	if err := writeNew(public, []byte(line+"\n"), 0o644); err != nil {
		return Key{}, errors.Join(err, quotePath(os.Remove(path)))
	}
	return key, nil
}

// checkComment refuses what would not stay one line of text.
func checkComment(comment string) error {
	if len(comment) > maxComment {
		return fmt.Errorf("%w: comment longer than %d bytes", ErrKeyFile, maxComment)
	}
	for _, r := range comment {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return fmt.Errorf("%w: comment %q is not one line of text", ErrKeyFile, comment)
		}
	}
	return nil
}

// writeNew gives data the name path if nothing has it: a temporary file beside
// it, fsync, rename without replacing, fsync of the directory.
func writeNew(path string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("make key: %w", quotePath(err))
	}
	temp := f.Name()
	defer func() {
		if err != nil {
			err = fmt.Errorf("make key: %w", quotePath(err))
			_ = f.Close()
			_ = os.Remove(temp)
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = renameNew(temp, path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// renameNew renames without replacing. Where the file system cannot do that
// at once (NFS), a link fails as well if the name is taken.
func renameNew(old, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err = os.Link(old, path); err == nil {
			return os.Remove(old)
		}
	}
	if err != nil {
		return &fs.PathError{Op: "rename to", Path: path, Err: err}
	}
	return nil
}
