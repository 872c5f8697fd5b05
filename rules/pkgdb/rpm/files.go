package rpm

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"iter"
	"path"
	"strings"
	"time"

	"intact/scanner/entry"
)

// Package is what a header says of the package itself.
type Package struct {
	Name    string
	EVR     EVR
	Arch    string // "" of a package that has none, such as a public key
	Vendor  string
	Time    time.Time // of the installation, zero if unknown
	Digests Algorithm // of the files
	Count   int       // of the files

	// Obsoletes are the names of packages that this one takes the place of.
	Obsoletes []string
}

// Algorithm is a digest's, by its number in OpenPGP (RFC 9580, 9.5).
type Algorithm uint32

// Those that packages have.
const (
	MD5    Algorithm = 1
	SHA1   Algorithm = 2
	SHA256 Algorithm = 8
	SHA384 Algorithm = 9
	SHA512 Algorithm = 10
	SHA224 Algorithm = 11
)

var algorithms = map[Algorithm]struct {
	name string
	size int
}{MD5: {"md5", 16}, SHA1: {"sha1", 20}, SHA224: {"sha224", 28}, SHA256: {"sha256", 32}, SHA384: {"sha384", 48}, SHA512: {"sha512", 64}}

func (a Algorithm) String() string {
	if known, ok := algorithms[a]; ok {
		return known.name
	}
	return fmt.Sprintf("digest %d", uint32(a))
}

// Weak reports whether files can be made to have a digest that was chosen.
func (a Algorithm) Weak() bool { return a == MD5 || a == SHA1 }

// File is one that a package lists.
type File struct {
	Path   entry.Path
	Mode   uint32 // with the type, as in st_mode
	Size   uint64
	Digest string // lower-case hex of Package.Digests; "" of what is no regular file
	Target string // of a symbolic link
	User   string
	Group  string
	Caps   string // as cap_to_text(3) writes them
	Flags  Flags
	Verify uint32 // RPMVERIFY_ bits of what must be as listed
	State  State
}

// Flags of a file.
type Flags uint32

// The flags that are used here; rpm knows more.
const (
	Config    Flags = 1 << 0
	Doc       Flags = 1 << 1
	MissingOK Flags = 1 << 3
	NoReplace Flags = 1 << 4
	Ghost     Flags = 1 << 6
	License   Flags = 1 << 7
)

// Bits of File.Verify.
const (
	VerifyDigest = 1 << 0
	VerifyMode   = 1 << 6
)

// State is what became of a file at installation.
type State int8

// The states.
const (
	StateMissing      State = -1 // the database does not say
	StateNormal       State = 0
	StateReplaced     State = 1 // another package put its own there
	StateNotInstalled State = 2
	StateNetShared    State = 3
	StateWrongColor   State = 4 // of an architecture that another package served
)

// Info returns what the header says of the package.
func (h *Header) Info() (p Package, err error) {
	text := func(tag uint32, to *string) {
		if err == nil {
			*to, err = h.text(tag)
		}
	}
	text(tagName, &p.Name)
	text(tagVersion, &p.EVR.Version)
	text(tagRelease, &p.EVR.Release)
	text(tagArch, &p.Arch)
	text(tagVendor, &p.Vendor)
	if err != nil {
		return p, err
	}
	if p.Name == "" {
		return p, malformed("package without a name")
	}
	number := func(tag uint32) (n uint64, ok bool) {
		if err == nil {
			n, ok, err = h.number(tag)
		}
		return n, ok
	}
	if n, ok := number(tagEpoch); ok {
		p.EVR.Epoch, p.EVR.HasEpoch = uint32(n), true
	}
	if n, ok := number(tagInstallTime); ok {
		p.Time = time.Unix(int64(uint32(n)), 0).UTC()
	}
	p.Digests = MD5 // what packages of before rpm 4.6 have, which do not say
	if n, ok := number(tagDigestAlgo); ok {
		p.Digests = Algorithm(n)
	}
	if v, ok := h.find(tagObsoletes); ok && v.kind == typeStrings {
		for rest := v.data; len(rest) > 0 && len(p.Obsoletes) < maxEntries; {
			p.Obsoletes = append(p.Obsoletes, cut(&rest))
		}
	}
	for _, tag := range []uint32{tagBaseNames, tagOldFilenames} {
		if v, ok := h.find(tag); ok && err == nil {
			p.Count = int(v.count)
			break
		}
	}
	return p, err
}

// list walks a value in step with the files; absent, it gives nothing.
type list struct {
	value
	rest []byte
	n    int
}

func (l *list) there() bool { return l.count > 0 }

// next returns the following string.
func (l *list) next() string {
	if !l.there() {
		return ""
	}
	return cut(&l.rest)
}

// integer returns the following number.
func (l *list) integer() uint64 {
	if !l.there() {
		return 0
	}
	l.n++
	return l.at(l.n - 1)
}

// cut takes the string before the first NUL off b, which has one.
func cut(b *[]byte) string {
	i := bytes.IndexByte(*b, 0)
	s := string((*b)[:i])
	*b = (*b)[i+1:]
	return s
}

// lists are what a header says of its files, each in the files' order.
type lists struct {
	old, base, index                  list
	digest, target, user, group, caps list
	mode, size, flags, verify, state  list
	dirs                              [][]byte
	count                             int
	algo                              int // bytes of a digest
}

// lists makes sure that all of them are equally long.
func (h *Header) lists(p *Package) (*lists, error) {
	l := &lists{count: p.Count, algo: algorithms[p.Digests].size}
	for _, f := range []struct {
		to      *list
		tag     uint32
		strings bool
	}{
		{&l.old, tagOldFilenames, true}, {&l.base, tagBaseNames, true}, {&l.index, tagDirIndexes, false}, {&l.digest, tagFileDigests, true},
		{&l.target, tagFileLinks, true}, {&l.user, tagFileUsers, true}, {&l.group, tagFileGroups, true}, {&l.caps, tagFileCaps, true},
		{&l.mode, tagFileModes, false}, {&l.size, tagFileSizes, false}, {&l.flags, tagFileFlags, false}, {&l.verify, tagFileVerify, false},
		{&l.state, tagFileStates, false}, {&l.size, tagLongFileSizes, false},
	} {
		v, ok := h.find(f.tag)
		if !ok {
			continue
		}
		if int(v.count) != l.count || f.strings && v.kind != typeStrings || !f.strings && !v.integers() {
			return nil, malformed("tag %d: %d values for %d files", f.tag, v.count, l.count)
		}
		*f.to = list{value: v, rest: v.data}
	}
	if !l.base.there() {
		return l, nil
	}
	dirs, ok := h.find(tagDirNames)
	if !ok || !l.index.there() || dirs.kind != typeStrings || int(dirs.count) > l.count {
		return nil, malformed("files without their folders")
	}
	for rest := dirs.data; len(rest) > 0; {
		i := bytes.IndexByte(rest, 0)
		l.dirs = append(l.dirs, rest[:i])
		rest = rest[i+1:]
	}
	return l, nil
}

// name returns the path of the next file.
func (l *lists) name() (entry.Path, error) {
	var full string
	if l.base.there() {
		i := l.index.integer()
		if i >= uint64(len(l.dirs)) {
			return "", malformed("a file in folder %d of %d", i, len(l.dirs))
		}
		full = string(l.dirs[i]) + l.base.next()
	} else {
		full = l.old.next()
	}
	if !strings.HasPrefix(full, "/") || len(full) > maxPath {
		return "", malformed("a file %.100q", full)
	}
	return entry.Path(path.Clean(full)), nil
}

// Files yields the files of the package that Info returned, in the header's
// order. An error ends it.
func (h *Header) Files(p *Package) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		l, err := h.lists(p)
		if err != nil {
			yield(File{}, err)
			return
		}
		for range l.count {
			f, err := l.file()
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

func (l *lists) file() (f File, err error) {
	if f.Path, err = l.name(); err != nil {
		return f, err
	}
	f.Digest = strings.ToLower(l.digest.next())
	f.Target, f.User, f.Group, f.Caps = l.target.next(), l.user.next(), l.group.next(), l.caps.next()
	f.Mode, f.Size = uint32(l.mode.integer()), l.size.integer()
	f.Flags, f.Verify, f.State = Flags(l.flags.integer()), ^uint32(0), StateMissing
	if l.verify.there() {
		f.Verify = uint32(l.verify.integer())
	}
	if l.state.there() {
		f.State = State(l.state.integer())
	}
	if l.algo == 0 {
		return f, nil
	}
	if b, err := hex.DecodeString(f.Digest); f.Digest != "" && (err != nil || len(b) != l.algo) {
		return f, malformed("digest %q", f.Digest)
	}
	return f, nil
}
