package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"intact/scanner/entry"
)

// TarLimits bound a tar archive. A limit of zero is its default. The extended
// headers of one member are bounded by the standard library, 1 MiB each.
type TarLimits struct {
	Members int   // DefaultMembers
	Name    int   // bytes of a name and of a link's target, DefaultName
	Size    int64 // bytes of all contents, DefaultOutput
}

// The defaults. Linux resolves no path over 4,095 bytes, so that nothing
// longer can be unpacked.
const (
	DefaultMembers = 1 << 20
	DefaultName    = 4095
)

// Errors of a tar archive.
var (
	ErrTar     = errors.New("not a tar archive that can be read")
	ErrTarName = errors.New("a name that leads out of the archive")
	ErrTarKind = errors.New("a kind of member that no package holds")
	ErrTarSize = errors.New("larger than is allowed")
)

// Member is one member of a tar archive. Nothing in it is to be trusted.
type Member struct {
	Path         entry.Path // the name, made absolute inside the root
	Kind         entry.Kind // of a hard link File
	Hard         entry.Path // where a hard link leads, "" if it is none
	Target       string     // of a symbolic link, as it stands
	Mode         uint16     // permission bits with setuid, setgid, sticky
	UID, GID     uint32
	Owner, Group string // names, "" where the archive has none
	Major, Minor uint32 // of a device
	Size         int64  // bytes of the content
}

// Tar reads a tar archive from its beginning to its end.
type Tar struct {
	r      *tar.Reader
	limits TarLimits
	n      int
	size   int64
	err    error // sticks
}

// NewTar begins to read an archive.
func NewTar(r io.Reader, l TarLimits) *Tar {
	l.Members = int(orDefault(int64(l.Members), DefaultMembers))
	l.Name = int(orDefault(int64(l.Name), DefaultName))
	l.Size = orDefault(l.Size, DefaultOutput)
	return &Tar{r: tar.NewReader(r), limits: l}
}

// Next goes to the next member. io.EOF says that there is none. A name may come
// more than once, and below one that is no directory: whoever unpacks in their
// order finds out what that does.
func (t *Tar) Next() (m Member, err error) {
	if t.err != nil {
		return Member{}, t.err
	}
	m, t.err = t.next()
	if t.err != nil && t.err != io.EOF && t.n > 0 {
		t.err = fmt.Errorf("member %d: %w", t.n, t.err)
	}
	return m, t.err
}

func (t *Tar) next() (Member, error) {
	h, err := t.r.Next()
	switch {
	case err == io.EOF:
		return Member{}, io.EOF
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return Member{}, fmt.Errorf("%w: header after member %d", ErrTar, t.n)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Member{}, ErrTruncated
	case err != nil:
		return Member{}, err
	}
	if t.n++; t.n > t.limits.Members {
		return Member{}, fmt.Errorf("%w: over %d members", ErrTarSize, t.limits.Members)
	}
	return t.member(h)
}

func (t *Tar) member(h *tar.Header) (m Member, err error) {
	if m.Path, err = t.inside(h.Name); err != nil {
		return m, err
	}
	if err := t.kind(&m, h); err != nil {
		return m, err
	}
	if h.Mode < 0 || h.Uid < 0 || h.Gid < 0 || h.Uid > math.MaxUint32 || h.Gid > math.MaxUint32 || h.Size < 0 {
		return m, fmt.Errorf("%w: a number in the header of %q", ErrTar, m.Path)
	}
	if len(h.Uname) > t.limits.Name || len(h.Gname) > t.limits.Name {
		return m, fmt.Errorf("%w: an owner's name at %q", ErrTarSize, m.Path)
	}
	m.Mode, m.UID, m.GID = uint16(h.Mode&0o7777), uint32(h.Uid), uint32(h.Gid)
	m.Owner, m.Group = h.Uname, h.Gname
	if m.Kind == entry.File && m.Hard == "" {
		m.Size = h.Size
		if t.size += m.Size; t.size > t.limits.Size || t.size < 0 {
			return m, fmt.Errorf("%w: contents over %d bytes", ErrTarSize, t.limits.Size)
		}
	}
	return m, nil
}

// kind fills in what a member is. Sparse files are refused: their content is
// not what stands in the archive.
func (t *Tar) kind(m *Member, h *tar.Header) (err error) {
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return fmt.Errorf("%w: sparse file %q", ErrTarKind, m.Path)
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		m.Kind = entry.File
	case tar.TypeLink:
		m.Kind = entry.File
		m.Hard, err = t.inside(h.Linkname)
	case tar.TypeSymlink:
		m.Kind, m.Target = entry.Symlink, h.Linkname
		if n := len(h.Linkname); n == 0 || n > t.limits.Name || strings.IndexByte(h.Linkname, 0) >= 0 {
			err = fmt.Errorf("%w: target of the link %q", ErrTar, m.Path)
		}
	case tar.TypeDir:
		m.Kind = entry.Dir
	case tar.TypeFifo:
		m.Kind = entry.FIFO
	case tar.TypeChar, tar.TypeBlock:
		m.Kind = entry.CharDevice
		if h.Typeflag == tar.TypeBlock {
			m.Kind = entry.BlockDevice
		}
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor > math.MaxUint32 {
			return fmt.Errorf("%w: numbers of the device %q", ErrTar, m.Path)
		}
		m.Major, m.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	default:
		err = fmt.Errorf("%w: type %q of %q", ErrTarKind, h.Typeflag, m.Path)
	}
	return err
}

// inside makes a name of the archive absolute: "./usr/bin" is "/usr/bin". A
// name with ".." in it is refused, wherever it would lead.
func (t *Tar) inside(name string) (entry.Path, error) {
	switch {
	case len(name) > t.limits.Name:
		return "", fmt.Errorf("%w: a name of %d bytes", ErrTarSize, len(name))
	case name == "" || strings.IndexByte(name, 0) >= 0:
		return "", fmt.Errorf("%w: %q", ErrTarName, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: %q", ErrTarName, name)
		}
	}
	return entry.Path(path.Clean("/" + name)), nil
}

// Read reads the content of the member.
func (t *Tar) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return n, err
}
