package scanner

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"

	"golang.org/x/sys/unix"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Look is one object as an Examiner found it, by one descriptor.
type Look struct {
	Path  entry.Path  // without links above it; "" for what was given open
	Entry entry.Entry // with every attribute that could be read; Have 0: none
	// Of the same bytes as Entry.Digest, where Entry has Content. MD5 is for
	// databases that know no better: it proves nothing against an attacker.
	SHA256 [sha256.Size]byte
	MD5    [md5.Size]byte
	// Prefix is the digest of the first bytes, as many as were asked for;
	// nil where the content is shorter or was not read.
	Prefix *digest.Digest
	Gaps   []Gap // what of it could not be read
}

// Examiner looks at single objects and digests their content three ways in one
// pass, in constant memory. It is not safe for concurrent use.
type Examiner struct {
	root   *dirfd.Root
	blake  *digest.Hasher
	sha    hash.Hash
	md5    hash.Hash
	buf    []byte
	xattrs dirfd.Xattrs
	rate   *limiter
}

// NewExaminer returns an Examiner of r that reads at most maxRate bytes of
// content a second; 0: unlimited.
func NewExaminer(r *dirfd.Root, maxRate int64) *Examiner {
	return &Examiner{root: r, blake: digest.New(), sha: sha256.New(), md5: md5.New(), buf: make([]byte, bufferSize), rate: newLimiter(maxRate, nil)}
}

// Path looks at p: links above it are followed inside the root, p itself is
// not. FIFOs and devices are not opened. prefix, which may be nil, is told the
// path without links and answers how many bytes Look.Prefix is to cover, below
// 0 for none. An object that is not there is an error that wraps unix.ENOENT;
// what else fails is a gap of the look.
func (x *Examiner) Path(ctx context.Context, p entry.Path, prefix func(entry.Path) int64) (*Look, error) {
	at, n, free, err := x.root.Reach(p)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("examine %q: %w", p, unix.ENOENT)
	}
	l := &Look{Path: free}
	if err != nil {
		l.gap(err, 0)
		return l, nil
	}
	defer at.Release()
	want := int64(-1)
	if prefix != nil {
		want = prefix(free)
	}
	var st dirfd.Stat
	if n == nil {
		err = at.StatSelf(&st)
	} else if err = at.Stat(n, false, &st); err == unix.ENOENT {
		return nil, fmt.Errorf("examine %q: %w", p, err)
	}
	if err != nil {
		l.gap(err, 0)
		return l, nil
	}
	l.Entry.Name = []byte(p.Base())
	st.Fill(&l.Entry)
	switch {
	case st.Kind == entry.File:
		x.named(ctx, l, at, n, want)
	case st.Kind == entry.Dir:
		x.dir(l, at, n, &st)
	default:
		x.unopened(l, at, n)
	}
	return l, ctx.Err()
}

// gap notes what could not be read, and why.
func (l *Look) gap(err error, missing entry.Attr) {
	l.Gaps = append(l.Gaps, Gap{Path: l.Path, Reason: reasonOf(err), Detail: detailOf(err), Attrs: missing})
}

// named opens a name that was a regular file. What counts from then on is what
// was opened.
func (x *Examiner) named(ctx context.Context, l *Look, at *dirfd.Dir, n dirfd.Name, prefix int64) {
	f, err := at.OpenFile(n)
	if err != nil {
		err2 := x.xattrs.OfName(at, n, func(name, value []byte) { addXattr(&l.Entry, name, value) })
		x.attrsRead(l, err2)
		l.gap(err, openAttrs&^l.Entry.Have)
		return
	}
	defer f.Close()
	x.open(ctx, l, f, prefix)
}

// File looks at a regular file that is open; anything else is a gap. The caller
// closes it.
func (x *Examiner) File(ctx context.Context, f dirfd.File) (*Look, error) {
	l := &Look{}
	x.open(ctx, l, f, -1)
	return l, ctx.Err()
}

func (x *Examiner) open(ctx context.Context, l *Look, f dirfd.File, prefix int64) {
	var st dirfd.Stat
	if err := f.Stat(&st); err != nil {
		l.gap(err, openAttrs)
		return
	}
	st.Fill(&l.Entry)
	if st.Kind != entry.File {
		l.gap(errReplaced, openAttrs)
		return
	}
	err := x.xattrs.OfFD(f.FD(), func(name, value []byte) { addXattr(&l.Entry, name, value) })
	x.attrsRead(l, err)
	x.flags(l, f.FD())
	if m := x.root.Mounts().ByID(st.Mount); m != nil && pseudoFS(m.FSType) {
		l.gap(fmt.Errorf("the content of a file of %s is not read: %w", m.FSType, unix.EOPNOTSUPP), entry.Content)
		return
	}
	x.content(ctx, l, f, &st, prefix)
}

// content digests the file and looks again: digests count only if nothing
// moved meanwhile. Where a prefix is asked for, the file may have grown.
func (x *Examiner) content(ctx context.Context, l *Look, f dirfd.File, st *dirfd.Stat, prefix int64) {
	cold := st.Size > 0 && !f.Cached(0, st.Size)
	f.Sequential()
	for range readTries {
		f.Settle()
		n, err := x.pass(ctx, l, f, st.Size, prefix)
		if ctx.Err() != nil {
			return
		}
		var after dirfd.Stat
		if err == nil {
			err = f.Stat(&after)
		}
		if err != nil {
			l.gap(err, entry.Content)
			return
		}
		grown := prefix >= 0 && after.Size >= st.Size
		if n == st.Size && (st.Same(&after) || grown) {
			l.Entry.Digest, l.Entry.Hashed = x.blake.Sum(), n
			if prefix >= 0 {
				journalPrefix(l, f, st.Size, prefix)
			}
			x.sha.Sum(l.SHA256[:0])
			x.md5.Sum(l.MD5[:0])
			l.Entry.Have |= entry.Content
			if cold {
				f.Drop(0, st.Size)
			}
			return
		}
		meta := l.Entry.Have & (xattrAttrs | entry.Flags)
		*st = after
		st.Fill(&l.Entry)
		l.Entry.Have |= meta
	}
	l.Prefix = nil
	l.Gaps = append(l.Gaps, Gap{Path: l.Path, Reason: ReasonBusy, Attrs: entry.Content})
}

// pass reads size bytes, less where the file is shorter, into all digests.
func (x *Examiner) pass(ctx context.Context, l *Look, f dirfd.File, size, prefix int64) (off int64, err error) {
	x.blake.Reset(size)
	x.sha.Reset()
	x.md5.Reset()
	l.Prefix = nil
	for {
		if off == prefix {
			sum := x.blake.Sum()
			l.Prefix = &sum
		}
		if off == size || ctx.Err() != nil {
			return off, ctx.Err()
		}
		want := min(int64(len(x.buf)), size-off)
		if off < prefix {
			want = min(want, prefix-off)
		}
		n, err := f.ReadAt(x.buf[:want], off)
		if err != nil || n == 0 {
			return off, err
		}
		for _, h := range []hash.Hash{x.sha, x.md5} {
			_, _ = h.Write(x.buf[:n]) // never fails, hash.Hash
		}
		_, _ = x.blake.Write(x.buf[:n])
		off += int64(n)
		x.rate.wait(ctx, n)
	}
}

// dir looks at a directory, open where that is allowed.
func (x *Examiner) dir(l *Look, at *dirfd.Dir, n dirfd.Name, st *dirfd.Stat) {
	name := n
	if n == nil {
		name = dirfd.Here()
	}
	d, err := at.OpenDir(name)
	if err != nil {
		x.unopened(l, at, name)
		l.gap(err, entry.Flags)
		return
	}
	defer d.Release()
	var now dirfd.Stat
	if err := d.StatSelf(&now); err != nil || now.Inode != st.Inode || now.Device != st.Device {
		l.gap(errReplaced, openAttrs&entry.Applicable(entry.Dir))
		return
	}
	now.Fill(&l.Entry)
	err = x.xattrs.OfFD(d.FD(), func(name, value []byte) { addXattr(&l.Entry, name, value) })
	x.attrsRead(l, err)
	x.flags(l, d.FD())
}

// unopened looks at a link, or at what must not be opened.
func (x *Examiner) unopened(l *Look, at *dirfd.Dir, n dirfd.Name) {
	if l.Entry.Kind == entry.Symlink {
		t, err := at.Readlink(n)
		if err != nil {
			l.gap(err, entry.Target)
		} else {
			l.Entry.Target = t
			l.Entry.Have |= entry.Target
		}
	}
	err := x.xattrs.OfName(at, n, func(name, value []byte) { addXattr(&l.Entry, name, value) })
	x.attrsRead(l, err)
}

func (x *Examiner) attrsRead(l *Look, err error) {
	e := &l.Entry
	if err == nil {
		slices.SortFunc(e.Xattr, func(a, b entry.Xattr) int { return bytes.Compare(a.Name, b.Name) })
		e.Have |= xattrAttrs & entry.Applicable(e.Kind)
		return
	}
	e.Xattr, e.ACL, e.DefACL, e.Caps, e.Label = nil, nil, nil, nil, nil
	l.gap(err, xattrAttrs&entry.Applicable(e.Kind))
}

func (x *Examiner) flags(l *Look, fd int) {
	v, err := dirfd.Flags(fd)
	if err != nil {
		l.gap(err, entry.Flags)
		return
	}
	l.Entry.Flags = v
	l.Entry.Have |= entry.Flags
}
