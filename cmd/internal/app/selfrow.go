package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"

	"intact/baseline/diff"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// What a part may have at most, in bytes, to be read.
const (
	maxProgram = 1 << 30
	maxPart    = 16 << 20
)

// tooLarge stands for the content of what is larger.
const tooLarge = "too-large"

// selfRow describes one part as it is in the root. A row without a value stands
// for what is not there. What is no regular file has a value too: it is not
// what it should be. An error means that nobody can tell.
func (s *session) selfRow(ctx context.Context, p entry.Path, part string) (r diff.Row, err error) {
	r = diff.Row{Kind: rowSelf, Key: []byte(p)}
	at, kind, target, err := s.lookAt(p)
	final := kind
	if err == nil && kind == entry.Symlink {
		at, final, err = s.leadsTo(p)
	}
	switch {
	case absent(err):
		return r, nil
	case errors.Is(err, dirfd.ErrMayHang):
		final = entry.File // it is opened all the same: intact runs from there
	case err != nil:
		return r, err
	}
	if final != entry.File {
		r.Value = oddPart(part, kind, target)
		return r, nil
	}
	f, err := s.root.OpenFile(p)
	switch {
	case errors.Is(err, syscall.ELOOP): // through a magic link of /proc
		r.Value = oddPart(part, kind, target)
		return r, nil
	case absent(err):
		return r, nil
	case err != nil:
		return r, err
	}
	defer f.Close()
	r.Value, err = describe(ctx, f, part)
	if at != p && r.Value != nil {
		r.Value = fmt.Appendf(r.Value, " at=%q", string(at))
	}
	return r, err
}

func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, dirfd.ErrTooManyLinks)
}

// lookAt says where p is, links above it followed, what it is itself, and where
// a link says that it leads.
func (s *session) lookAt(p entry.Path) (at entry.Path, kind entry.Kind, target []byte, err error) {
	dir, n, at, err := s.root.Reach(p)
	if err != nil {
		return p, 0, nil, err
	}
	defer dir.Release()
	var st dirfd.Stat
	if n == nil {
		return at, entry.Dir, nil, nil
	}
	if err := dir.Stat(n, false, &st); err != nil {
		return p, 0, nil, err
	}
	if st.Kind == entry.Symlink {
		target, err = dir.Readlink(n)
	}
	return at, st.Kind, target, err
}

// leadsTo follows the link p. One that leads nowhere, or in a circle, stays
// what it is.
func (s *session) leadsTo(p entry.Path) (at entry.Path, kind entry.Kind, err error) {
	at, _, exists, err := s.root.Resolve(p)
	if errors.Is(err, dirfd.ErrTooManyLinks) || err == nil && !exists {
		return p, entry.Symlink, nil
	}
	if err == nil {
		_, kind, _, err = s.lookAt(at)
	}
	return at, kind, err
}

// oddPart is the value of a part that is no regular file; a crontab that is none
// has no line for intact.
func oddPart(part string, kind entry.Kind, target []byte) []byte {
	if part == partCron {
		return nil
	}
	name := bytes.ReplaceAll([]byte(kind.String()), []byte(" "), []byte("-"))
	v := fmt.Appendf(nil, "part=%s kind=%s", part, name)
	if kind == entry.Symlink {
		v = fmt.Appendf(v, " target=%q", string(target))
	}
	return v
}

func describe(ctx context.Context, f *os.File, part string) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	limit := int64(maxPart)
	if part == partBinary {
		limit = maxProgram
	}
	content, size := tooLarge, st.Size
	if size <= limit {
		h := digest.New()
		var lines bytes.Buffer
		w := io.Writer(h)
		if part == partCron {
			w = &lines
		}
		whole, err := copyBounded(ctx, w, f, limit)
		switch {
		case err != nil:
			return nil, err
		case !whole: // it grew
		case part == partCron:
			kept := cronLines(lines.Bytes())
			if kept == nil {
				return nil, nil
			}
			content, size = digest.Sum(kept).String(), int64(len(kept))
		default:
			content = h.Sum().String()
		}
	}
	return fmt.Appendf(nil, "part=%s mode=%04o uid=%d gid=%d size=%d content=%s", part, st.Mode&0o7777, st.Uid, st.Gid, size, content), nil
}

// copyBounded copies up to limit bytes. whole is false where there are more.
func copyBounded(ctx context.Context, w io.Writer, f *os.File, limit int64) (whole bool, err error) {
	buf := make([]byte, 256<<10)
	for got := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := f.Read(buf)
		if got += int64(n); got > limit {
			return false, nil
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return false, err
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

var setting = regexp.MustCompile(`^[ \t]*["']?[A-Za-z_][A-Za-z0-9_]*["']?[ \t]*=`)

// cronLines returns the lines of a crontab that name intact, with the settings
// (PATH, SHELL and so on) that hold for them; nil where there are none.
func cronLines(b []byte) []byte {
	var kept []byte
	named := false
	for l := range bytes.Lines(b) {
		switch {
		case bytes.Contains(l, []byte("intact")):
			named = true
			fallthrough
		case setting.Match(l):
			kept = append(kept, l...)
		}
	}
	if !named {
		return nil
	}
	return kept
}
