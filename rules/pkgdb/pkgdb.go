// Package pkgdb says which package owns a path, by the package database of the
// root that is looked at, of dpkg or of rpm. It reads through Root alone.
//
// A local database is weak evidence: who can replace a file can replace what the
// database says of it. That of dpkg is not signed; that of rpm holds what the
// builder of a package signed, which counts where Trust has the key. Both are
// read as what they are, bytes that an intruder may have written, in bounded memory.
package pkgdb

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"intact/rules/pkgdb/pgp"
	"intact/scanner/entry"
)

// Root is where the database is read from. Links are followed inside the root.
type Root interface {
	// Open opens a regular file; fs.ErrNotExist if there is none. The database
	// of rpm is read only where what it returns is an rpm.Source too.
	Open(p entry.Path) (io.ReadCloser, error)
	// List calls each for every name in a directory, in any order.
	List(dir entry.Path, each func(name string, k entry.Kind) error) error
	// Real returns what p leads to, and whether that exists. An error says
	// that it cannot be known.
	Real(p entry.Path) (to entry.Path, exists bool, err error)
}

// State says what the database could be asked.
type State string

// The states.
const (
	NotAsked   State = "not asked" // what was found is no file of this root
	Owned      State = "owned"
	NoOwner    State = "no package"
	Unknown    State = "unknown"     // the reason says why
	Absent     State = "no database" // this root has none that is known here
	Weakness         = "local database, unsigned"
	Vouched          = "signed"
	Unverified       = "local database, not verified"
	Broken           = "local database, damaged"
)

// Answer is what is known of one path.
type Answer struct {
	State  State
	Reason string // of Unknown; unescaped
	Owners []Owner
	More   int // owners beyond maxOwners
}

// Owner is one package that lists the path.
type Owner struct {
	Package  string     // with ":arch" where the database has it
	Arch     string     // likewise
	Version  string     // "" where the status does not know the package
	Status   string     // as "install ok installed"
	Listed   entry.Path // the path as the database spells it
	Conffile bool       // the administrator may edit it
	Diverted bool       // the package's own path was diverted to the one asked for
	MD5      string     // of the content, lower-case hex; "" where the database has none
	SHA256   string     // likewise

	Level     Level     // who says so
	Why       string    // it is no higher; unescaped
	Key       string    // fingerprint of the pinned key that signed; "" if none
	Vendor    string    // as the package says
	Installed time.Time // zero where it is not known
	Ghost     bool      // made on the host: the package only claims the name
	Loose     bool      // the package does not hold it to its digest
	Displaced bool      // not installed, or another package put its own there
	File      *File     // nil where the database does not say
}

// File is what a package has at a path, besides its content.
type File struct {
	Mode        *uint16 // with the type, as in st_mode; nil: any
	User, Group string  // names
	Target      string  // of a symbolic link
	Caps        string  // as cap_to_text(3) writes them
	NoCaps      bool    // what it says of capabilities is not known
}

// HasDigest reports whether the package says what the content is.
func (o *Owner) HasDigest() bool { return o.SHA256 != "" || o.MD5 != "" }

// Holds reports whether content with these digests is the package's.
func (o *Owner) Holds(md5 [16]byte, sha256 [32]byte) bool {
	if o.SHA256 != "" {
		return o.SHA256 == hex.EncodeToString(sha256[:])
	}
	return o.MD5 == hex.EncodeToString(md5[:])
}

// Level says how far what is said of a package can be trusted.
type Level string

// The levels.
const (
	Signed Level = "signed" // by a pinned key, with digests of its files
	Local  Level = "local"  // the database alone says so
	None   Level = "none"   // the database contradicts itself
)

// Bounds of what is kept and of what is read, in entries and in bytes.
const (
	maxOwners   = 8
	maxAliases  = 64 // of one path
	maxDiverted = 64 << 10
	maxLine     = 256 << 10
)

const (
	dpkgInfo       = entry.Path("/var/lib/dpkg/info")
	dpkgStatus     = entry.Path("/var/lib/dpkg/status")
	dpkgDiversions = entry.Path("/var/lib/dpkg/diversions")
)

// Trust is what signatures of packages are held against. The zero value trusts
// nobody: every level is local at most.
type Trust struct {
	RPM *pgp.Keyring // of those who build packages of rpm
	At  time.Time    // the present, by which keys are valid
}

// Owners answers without trust in anybody's signature.
func Owners(ctx context.Context, r Root, paths []entry.Path) ([]Answer, error) {
	return Trust{}.Owners(ctx, r, paths)
}

// Owners answers for each of paths, which are free of links above their last
// name: one pass over the database for all of them. An error is ctx's;
// what cannot be read is Unknown with its reason.
func (t Trust) Owners(ctx context.Context, r Root, paths []entry.Path) ([]Answer, error) {
	switch kind, a := which(r); kind {
	case kindRPM:
		return t.rpmOwners(ctx, r, paths)
	case "":
		out := make([]Answer, len(paths))
		for i := range out {
			out[i] = a
		}
		return out, nil
	}
	q := &query{root: r, out: make([]Answer, len(paths)), wanted: map[string][]spelling{}}
	err := q.run(ctx, paths)
	return concluded(ctx, q.out, len(paths), err)
}

// The kinds of databases.
const (
	kindDpkg = "dpkg"
	kindRPM  = "rpm"
)

// which looks for a database. Where there is none, the answer is that for every
// path.
func which(r Root) (kind string, a Answer) {
	for i, p := range append([]entry.Path{dpkgStatus}, rpmFolders[:]...) {
		switch _, ok, err := r.Real(p); {
		case err != nil:
			return "", Answer{State: Unknown, Reason: fmt.Sprintf("look for %q: %v", p, err)}
		case ok && i == 0:
			return kindDpkg, Answer{}
		case ok:
			return kindRPM, Answer{}
		}
	}
	return "", Answer{State: Absent}
}

// spelling is one way in which the database may name a path that was asked for.
type spelling struct {
	index    int    // of the path
	by       string // the package that diverts this path, "" if none
	diverted bool   // the file that packages other than by list here is the one asked for
}

// query is one run of Owners over a dpkg database.
type query struct {
	root   Root
	out    []Answer
	wanted map[string][]spelling // by what a list may say
	owned  map[string][]claim    // by package with its architecture
}

// claim is an owner that was found and what it owns.
type claim struct{ index, owner int }

func (q *query) run(ctx context.Context, paths []entry.Path) error {
	links, err := linksIn(q.root, "/")
	if err != nil {
		return err
	}
	for i, p := range paths {
		q.want(string(p), spelling{index: i})
		for link, to := range links {
			if p.Under(to) && to != "/" {
				q.want(string(link)+string(p[len(to):]), spelling{index: i})
			}
		}
	}
	if err := q.diversions(ctx); err != nil {
		return err
	}
	q.owned = map[string][]claim{}
	if err := q.lists(ctx); err != nil {
		return err
	}
	if err := q.sums(ctx); err != nil {
		return err
	}
	return q.status(ctx)
}

// want adds a spelling, unless there are too many of it or it is known.
func (q *query) want(path string, s spelling) {
	if have := q.wanted[path]; len(have) < maxAliases && !slices.Contains(have, s) {
		q.wanted[path] = append(have, s)
	}
}

// Links returns the links in "/" and "/usr" that lead to folders, through which
// packages may list paths.
func Links(r Root) (map[entry.Path]entry.Path, error) {
	links, err := linksIn(r, "/")
	if err != nil {
		return nil, err
	}
	usr, err := linksIn(r, "/usr")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for p, to := range usr {
		links[p] = to
	}
	return links, nil
}

// linksIn returns the links in a folder that lead to folders, /bin to /usr/bin on
// a merged-usr system: packages may list paths through them.
func linksIn(r Root, dir entry.Path) (map[entry.Path]entry.Path, error) {
	links := map[entry.Path]entry.Path{}
	err := r.List(dir, func(name string, k entry.Kind) error {
		p := dir.Join([]byte(name))
		if k != entry.Symlink && k != entry.KindUnknown || len(links) == maxAliases {
			return nil
		}
		if to, ok, err := r.Real(p); err == nil && ok && to != p { // one that leads astray leads nowhere
			links[p] = to
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find links in %q: %w", dir, err)
	}
	return links, nil
}

// each reads a text file line by line. A file that is not there has no lines.
func (q *query) each(ctx context.Context, p entry.Path, do func(line []byte) error) error {
	f, err := q.root.Open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %q: %w", p, err)
	}
	defer f.Close()
	if err := eachLine(ctx, f, do); err != nil {
		return fmt.Errorf("read %q: %w", p, err)
	}
	return nil
}

// Listed calls do for every path that a list of dpkg names, as it spells it, with
// the package's name. A root that dpkg does not manage lists none.
func Listed(ctx context.Context, r Root, do func(pkg string, p entry.Path) error) error {
	if kind, a := which(r); kind != kindDpkg {
		if a.State == Unknown {
			return errors.New(a.Reason)
		}
		return nil
	}
	q := &query{root: r}
	return q.eachListed(ctx, func(pkg, path string) error {
		p, err := entry.NewPath(path)
		if err != nil {
			return errLine
		}
		pkg, _, _ = strings.Cut(pkg, ":")
		return do(pkg, p)
	})
}

// packageOf returns what a file below info is about: "libc6:amd64.list" is the
// list of libc6:amd64.
func packageOf(name, suffix string) (string, bool) {
	pkg, ok := strings.CutSuffix(name, suffix)
	return pkg, ok && pkg != "" && !strings.ContainsAny(pkg, "/\x00")
}
