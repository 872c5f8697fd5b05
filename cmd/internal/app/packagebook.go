package app

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxBooks bounds the manifests that are known by name.
const maxBooks = 100_000

// books are the stored manifests of packages, by what they are about. What is
// damaged vouches for nothing.
type books struct {
	dir   string
	names map[bookKey][]string // of those that say that they are signed
	weak  map[bookKey][]string // of all others
	ring  func() *pgp.Keyring  // whose signatures count now
	lost  int                  // manifests that cannot be used
	why   error                // one of them

	indexes  string                   // the folder of what shows that they are signed
	lists    fs.FS                    // apt's lists, for what has none there; nil without
	now      time.Time                // by which signatures are judged
	refers   map[manifest.SHA256]bool // what there must be of evidence
	proven   map[string]*deb.Proof    // by the names of manifests: what shows it, nil where nothing does
	unproven error                    // why not, of one of them
	forged   []forgery
}

// bookKey names a package as the database does.
type bookKey struct{ name, arch, version string }

// library returns the stored manifests, read once in a run.
func (s *session) library(ctx context.Context) (*books, error) {
	if s.books == nil {
		b := &books{dir: filepath.Join(s.store.Dir(), baseline.PackagesDir), ring: s.pinnedRing, indexes: filepath.Join(s.store.Dir(), baseline.IndexesDir), now: s.env.Now(),
			names: map[bookKey][]string{}, weak: map[bookKey][]string{}, refers: map[manifest.SHA256]bool{}, proven: map[string]*deb.Proof{}}
		if lists, err := openAptLists(filepath.Join(s.root.HostPath(), AptLists)); err == nil {
			b.lists = lists
		}
		if err := b.open(ctx); err != nil {
			return nil, err
		}
		b.split()
		s.books = b
	}
	return s.books, nil
}

// open reads what the manifests say of themselves. A folder that is not there
// holds none.
func (b *books) open(ctx context.Context) error {
	d, err := openFolder(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		b.damaged(err)
		return nil
	}
	defer d.Close()
	for n := 0; ; {
		list, err := d.Readdirnames(1024)
		for _, name := range list {
			if !stateFile.MatchString(baseline.PackagesDir+"/"+name) || strings.HasSuffix(name, ".tmp") {
				continue
			}
			if n++; n > maxBooks {
				b.damaged(fmt.Errorf("over %d manifests", maxBooks))
				return nil
			}
			b.peek(name)
		}
		if err != nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (b *books) damaged(err error) {
	b.lost++
	b.why = err
}

// openStored opens a stored manifest; a FIFO is not waited for.
func openStored(name string) (*os.File, int64, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// readStored opens a stored manifest and checks it against its name. The caller
// closes the file when it asks the manifest no more.
func readStored(name string) (m *manifest.Manifest, f *os.File, err error) {
	f, size, err := openStored(name)
	if err != nil {
		return nil, nil, err
	}
	sum, err := digest.Parse(name[strings.LastIndexByte(name, '-')+1:])
	if err == nil {
		m, err = manifest.Open(sum, f, size)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return m, f, nil
}

// peek files a manifest under what it says it is about, and believes nothing yet.
func (b *books) peek(name string) {
	h, err := b.head(name)
	if err != nil {
		b.damaged(fmt.Errorf("manifest %q: %w", name, err))
		return
	}
	if h.Level == manifest.Signed {
		b.refers[h.Chain.Release], b.refers[h.Chain.Index] = true, true
	}
	k := bookKey{h.Package, h.Architecture, h.Version}
	if h.Level == manifest.Signed {
		b.names[k] = append(b.names[k], name)
	} else {
		b.weak[k] = append(b.weak[k], name)
	}
}

// key is how a package of the database is called here.
func (b *books) key(o *pkgdb.Owner) bookKey {
	name, arch, _ := strings.Cut(o.Package, ":")
	if arch == "" {
		arch = o.Arch
	}
	return bookKey{name, arch, o.Version}
}

// verify opens a manifest and makes sure that it is what its name and its head
// said. The caller closes the file when it asks the manifest no more.
func (b *books) verify(name string, k bookKey) (m *manifest.Manifest, f *os.File, err error) {
	if m, f, err = readStored(filepath.Join(b.dir, name)); err != nil {
		return nil, nil, fmt.Errorf("manifest %q: %w", name, err)
	}
	archive := hex.EncodeToString(m.Head.Archive[:])
	if h := &m.Head; h.Level == manifest.Signed && !b.pinned(h.Chain.Key) {
		err = fmt.Errorf("it was signed by %q, which is no pinned key now", h.Chain.Key)
	} else if (bookKey{h.Package, h.Architecture, h.Version}) != k || !strings.HasPrefix(name, archive+"-") {
		err = errors.New("it is about another package than its name or its head says")
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("manifest %q: %w", name, err)
	}
	return m, f, nil
}

// pinned reports whether a key is one of those that count now.
func (b *books) pinned(fingerprint string) bool {
	return slices.ContainsFunc(b.ring().Keys(), func(k pgp.Key) bool { return k.Fingerprint == fingerprint })
}

var errNoEvidence = errors.New("nothing of it was found")

// read lets use look into a manifest that is signed, and that prove was asked about.
// One that is damaged is as if it were not there.
func (b *books) read(name string, k bookKey, use func(*manifest.Manifest) error) {
	m, f, err := b.verify(name, k)
	if err == nil {
		defer f.Close()
		if b.proven[name] == nil {
			err = fmt.Errorf("manifest %q: no signed index is kept that lists its package: %w", name, cmp.Or(b.unproven, errNoEvidence))
		} else if m.Head.Level != manifest.Signed {
			err = fmt.Errorf("manifest %q: its head said that it is signed", name)
		} else {
			err = use(m)
		}
	}
	if err != nil {
		b.damaged(err)
	}
}

// note says what could not be used, "" where all could.
func (b *books) note() string {
	if b == nil || b.lost == 0 {
		return ""
	}
	return fmt.Sprintf("%s of packages cannot be used, and what they say does not count: %v", counted(b.lost, "manifest"), b.why)
}

// bitsOf are the types of files in the bits of st_mode.
var bitsOf = map[entry.Kind]uint16{entry.File: unix.S_IFREG, entry.Dir: unix.S_IFDIR, entry.Symlink: unix.S_IFLNK,
	entry.CharDevice: unix.S_IFCHR, entry.BlockDevice: unix.S_IFBLK, entry.FIFO: unix.S_IFIFO}

// fileOf is what a manifest says of a path besides its content. An archive of
// Debian says nothing of capabilities.
func fileOf(e *manifest.Entry, users *idNames) *pkgdb.File {
	mode := bitsOf[e.Kind] | e.Mode
	f := &pkgdb.File{Mode: &mode, User: e.Owner, Group: e.Group, Target: e.Target, NoCaps: true}
	if f.User == "" {
		f.User = users.User(e.UID)
	}
	if f.Group == "" {
		f.Group = users.Group(e.GID)
	}
	return f
}
