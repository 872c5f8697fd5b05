package deb

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"intact/rules/pkgdb/deb822"
	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/unpack"
)

// Limits of an archive.
const (
	maxControl   = 4 << 20   // bytes of the control file, and of the list of conffiles
	maxControls  = 256 << 20 // bytes of all control files
	maxConffiles = 1 << 16
	versionLine  = 64 // bytes of debian-binary at most
)

// Archive is what a package's file says of itself.
type Archive struct {
	Identity
	SHA256   manifest.SHA256 // of the whole file
	Size     int64
	Controls []manifest.Control
	Removes  []entry.Path // configuration that it takes away, sorted
}

// reading is one pass through an archive.
type reading struct {
	ctx       context.Context
	ar        *unpack.Ar
	a         Archive
	conffiles map[entry.Path]bool
	out       *manifest.Builder
	sum       hash.Hash
	blake     *digest.Hasher
	buf       []byte
}

func read(ctx context.Context, r io.Reader, out *manifest.Builder) (*reading, error) {
	ar, err := unpack.NewAr(r)
	if err != nil {
		return nil, err
	}
	d := &reading{ctx: ctx, ar: ar, out: out, sum: sha256.New(), blake: digest.New(), buf: make([]byte, 128<<10)}
	return d, d.version()
}

// Identify reads an archive, which errors call name, as far as it says which
// package it is.
func Identify(ctx context.Context, name string, r io.Reader) (Identity, error) {
	d, err := read(ctx, bufio.NewReaderSize(r, 64<<10), nil)
	if err == nil {
		err = d.control()
	}
	if err != nil {
		return Identity{}, fmt.Errorf("read %q: %w", name, err)
	}
	return d.a.Identity, nil
}

// Record reads an archive, which errors call name, to its end and puts what it
// holds into out. After an error, out is of no use.
func Record(ctx context.Context, name string, r io.Reader, out *manifest.Builder) (*Archive, error) {
	whole := measure(r)
	d, err := read(ctx, bufio.NewReaderSize(whole, 256<<10), out)
	if err == nil {
		err = d.control()
	}
	if err == nil {
		err = d.data()
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	d.a.SHA256, d.a.Size = whole.digest(), whole.n
	return &d.a, nil
}

// version reads the first member, which says which format the rest has.
func (d *reading) version() error {
	name, size, err := d.ar.Next()
	if err == io.EOF || err == nil && (name != "debian-binary" || size > versionLine) {
		return fmt.Errorf("%w: debian-binary does not come first", ErrArchive)
	}
	if err != nil {
		return err
	}
	b, err := io.ReadAll(d.ar)
	if err != nil {
		return err
	}
	if line, _, ok := bytes.Cut(b, []byte("\n")); !ok || !bytes.HasPrefix(line, []byte("2.")) {
		return fmt.Errorf("%w: format %q is not known", ErrArchive, b)
	}
	return nil
}

// member goes to the next member, which must be called base with any ending of
// a compression, and opens it. Members that begin with an underscore are passed
// over, as deb(5) says.
func (d *reading) member(base string) (*unpack.Reader, error) {
	for {
		name, _, err := d.ar.Next()
		if err == io.EOF {
			return nil, fmt.Errorf("%w: no %s", ErrArchive, base)
		}
		if err != nil {
			return nil, err
		}
		if name[0] == '_' {
			continue
		}
		got, format := unpack.ByName(name)
		if got != base || format == unpack.LZ4 {
			return nil, fmt.Errorf("%w: %q where %s belongs", ErrArchive, name, base)
		}
		return unpack.NewReader(d.ar, format, unpack.Limits{})
	}
}

// each calls do for each member of a tar archive, and reads what is behind the
// last one.
func (d *reading) each(base string, l unpack.TarLimits, do func(*unpack.Tar, unpack.Member) error) error {
	z, err := d.member(base)
	if err != nil {
		return err
	}
	defer z.Close()
	t := unpack.NewTar(z, l)
	for {
		if d.ctx.Err() != nil {
			return context.Cause(d.ctx)
		}
		m, err := t.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = do(t, m)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
	}
	if _, err := io.CopyBuffer(io.Discard, z, d.buf); err != nil {
		return fmt.Errorf("%s: %w", base, err)
	}
	return nil
}

// control reads the files of dpkg's own.
func (d *reading) control() error {
	var control, conffiles []byte
	err := d.each("control.tar", unpack.TarLimits{Members: manifest.MaxControls, Size: maxControls}, func(t *unpack.Tar, m unpack.Member) error {
		if m.Path == "/" && m.Kind == entry.Dir {
			return nil
		}
		name := m.Path.Base()
		if m.Path.Dir() != "/" || m.Kind != entry.File || m.Hard != "" {
			return fmt.Errorf("%w: %q is no control file", ErrArchive, m.Path)
		}
		c := manifest.Control{Name: name, Mode: m.Mode, Size: m.Size}
		var keep *bytes.Buffer
		if name == "control" || name == "conffiles" {
			if keep = new(bytes.Buffer); m.Size > maxControl {
				return fmt.Errorf("%w: %s of %d bytes", ErrTooMany, name, m.Size)
			}
		}
		var err error
		if c.SHA256, c.BLAKE3, err = d.digests(t, m.Size, keep); err != nil {
			return err
		}
		switch name {
		case "control":
			control = keep.Bytes()
		case "conffiles":
			conffiles = keep.Bytes()
		}
		d.a.Controls = append(d.a.Controls, c)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(d.a.Controls, func(a, b manifest.Control) int { return strings.Compare(a.Name, b.Name) })
	for i := range d.a.Controls {
		if i > 0 && d.a.Controls[i].Name == d.a.Controls[i-1].Name {
			return fmt.Errorf("%w: control file %q twice", ErrArchive, d.a.Controls[i].Name)
		}
	}
	if err := d.identify(control); err != nil {
		return err
	}
	return d.conf(conffiles)
}

// identify reads the control file.
func (d *reading) identify(control []byte) error {
	s, err := deb822.NewReader(bytes.NewReader(control), "control").Next()
	if err == io.EOF {
		return fmt.Errorf("%w: no control file", ErrArchive)
	}
	if err != nil {
		return err
	}
	d.a.Identity = Identity{s.Get("Package"), s.Get("Version"), s.Get("Architecture")}
	if !d.a.valid() {
		return s.Errorf("Package", "%w: name, version or architecture: %q %q %q", ErrArchive, d.a.Package, d.a.Version, d.a.Architecture)
	}
	return nil
}

// conf reads the list of conffiles, deb-conffiles(5): paths, some with a flag
// before them.
func (d *reading) conf(list []byte) error {
	d.conffiles = map[entry.Path]bool{}
	n := 0
	for line := range bytes.Lines(list) {
		n++
		text := strings.TrimRight(string(line), " \t\r\n")
		flag, rest, _ := strings.Cut(text, " ")
		gone := flag == "remove-on-upgrade"
		if gone {
			text = strings.TrimLeft(rest, " ")
		}
		if text == "" {
			continue
		}
		p, err := entry.NewPath(text)
		if err != nil || len(d.conffiles) == maxConffiles || gone && len(d.a.Removes) == manifest.MaxRemoves {
			return fmt.Errorf("%w: conffiles:%d: not a path, or too many", ErrArchive, n)
		}
		if gone {
			d.a.Removes = append(d.a.Removes, p)
		} else {
			d.conffiles[p] = true
		}
	}
	slices.Sort(d.a.Removes)
	d.a.Removes = slices.Compact(d.a.Removes)
	return nil
}

// digests reads the content of a member and returns its digests. What it reads
// goes to keep too, if there is one.
func (d *reading) digests(t io.Reader, size int64, keep *bytes.Buffer) (sum manifest.SHA256, blake digest.Digest, err error) {
	d.sum.Reset()
	d.blake.Reset(size)
	for n := int64(0); ; {
		k, err := t.Read(d.buf)
		n += int64(k)
		d.sum.Write(d.buf[:k])
		d.blake.Write(d.buf[:k])
		if keep != nil {
			keep.Write(d.buf[:k])
		}
		if err == io.EOF && n == size {
			break
		}
		if err == io.EOF {
			err = unpack.ErrTruncated
		}
		if err == nil {
			err = context.Cause(d.ctx)
		}
		if err != nil {
			return sum, blake, err
		}
	}
	d.sum.Sum(sum[:0])
	return sum, d.blake.Sum(), nil
}

// data reads the files of the package.
func (d *reading) data() error {
	err := d.each("data.tar", unpack.TarLimits{}, func(t *unpack.Tar, m unpack.Member) error {
		e := manifest.Entry{
			Path: m.Path, Kind: m.Kind, Hard: m.Hard, Target: m.Target, Mode: m.Mode, UID: m.UID, GID: m.GID,
			Owner: m.Owner, Group: m.Group, Size: m.Size, Major: m.Major, Minor: m.Minor,
		}
		if m.Kind == entry.File && m.Hard == "" {
			e.Conffile = d.conffiles[m.Path]
			var err error
			if e.SHA256, e.BLAKE3, err = d.digests(t, m.Size, nil); err != nil {
				return err
			}
		}
		return d.out.Add(&e)
	})
	if err != nil {
		return err
	}
	return d.end()
}

// end sees that nothing comes behind the files.
func (d *reading) end() error {
	for {
		name, _, err := d.ar.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case name[0] != '_':
			return fmt.Errorf("%w: %q behind data.tar", ErrArchive, name)
		}
	}
}
