package pkgdb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"intact/rules/pkgdb/deb822"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Package is one that the database has, in one version. The database is a
// claim: who can replace a file can replace what it says.
type Package struct {
	Kind                string // "dpkg" or "rpm"
	Name, Arch, Version string
	Status              string        // of dpkg: the third word of its Status, as "installed", or Held; of rpm "installed"
	Stanza              digest.Digest // of its stanza in the status of dpkg, of its header in the database of rpm
	Body                digest.Digest // of its stanza without what says how far dpkg got with it; zero of rpm
	List                digest.Digest // of the sorted list of its paths, each with a NUL behind it; zero where it has none
}

// Held is the Status of a package of dpkg that is installed and that no upgrade is to
// touch.
const Held = "hold"

// ConfigFiles is the Status of a package of dpkg of which only what an
// administrator may have edited is left.
const ConfigFiles = "config-files"

// Bounds of what Installed takes in.
const (
	maxPackages = 100_000
	maxList     = 64 << 20 // bytes of one list
	maxLists    = 1 << 30  // bytes of all of them

	maxListPaths = 1 << 20 // of one list
)

// Errors of Installed.
var (
	ErrNoDatabase = errors.New("no package database that is known here")
	errTooMany    = fmt.Errorf("over %d packages", maxPackages)
)

// Installed returns what the database has, sorted by kind, name, architecture
// and version: those of dpkg too that are not fully installed, but not those of
// which it says "not-installed". Whatever is wrong with the database is an error,
// and no list. A root without a database gives ErrNoDatabase.
func Installed(ctx context.Context, r Root) (list []Package, err error) {
	return installed(ctx, r, true)
}

// Versions is Installed without reading the lists of paths of dpkg: List is zero.
func Versions(ctx context.Context, r Root) (list []Package, err error) {
	return installed(ctx, r, false)
}

func installed(ctx context.Context, r Root, lists bool) (list []Package, err error) {
	switch kind, a := which(r); {
	case kind == kindDpkg:
		list, err = dpkgInstalled(ctx, r, lists)
	case kind == kindRPM:
		list, err = rpmInstalled(ctx, r, nil)
	case a.State == Unknown:
		return nil, errors.New(a.Reason)
	default:
		return nil, ErrNoDatabase
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Version, b.Version))
	})
	for i := range list[min(1, len(list)):] {
		a, b := &list[i], &list[i+1]
		if a.Name == b.Name && a.Arch == b.Arch && (a.Kind == kindDpkg || a.Version == b.Version) {
			return nil, fmt.Errorf("the %s database has package %q of architecture %q twice", a.Kind, a.Name, a.Arch)
		}
	}
	return list, nil
}

// dpkgInstalled reads the status with its journal, and the lists of the packages in
// it.
func dpkgInstalled(ctx context.Context, r Root, withLists bool) (list []Package, err error) {
	lists := map[string]bool{}
	if withLists {
		err = r.List(dpkgInfo, func(name string, _ entry.Kind) error {
			if pkg, ok := packageOf(name, ".list"); ok {
				lists[pkg] = true
			}
			return nil
		})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %q: %w", dpkgInfo, err)
	}
	records, err := dpkgRecords(ctx, r)
	if err != nil {
		return nil, err
	}
	left := int64(maxLists)
	for i := range records {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		p := records[i].Package
		for _, name := range []string{p.Name + ":" + p.Arch, p.Name} {
			if lists[name] {
				if p.List, err = listDigest(r, dpkgInfo.Join([]byte(name+".list")), &left); err != nil {
					return nil, err
				}
				break
			}
		}
		list = append(list, p)
	}
	return list, nil
}

// dpkgPackage reads one stanza of the status.
func dpkgPackage(s *deb822.Stanza) (p record, err error) {
	p.Package = Package{Kind: kindDpkg, Name: s.Get("Package"), Arch: s.Get("Architecture"), Version: s.Get("Version")}
	if !plainWord(p.Name) {
		return p, s.Errorf("Package", "%q is no name of a package", p.Name)
	}
	words := strings.Fields(s.Get("Status"))
	if len(words) != 3 || !slices.Contains(dpkgStates[:], words[2]) {
		return p, s.Errorf("Status", "package %q: %q is no state", p.Name, s.Get("Status"))
	}
	p.want, p.same = words[0], s.Get("Multi-Arch") == "same"
	if p.Status = words[2]; p.Status == "not-installed" {
		return p, nil
	}
	if p.Arch != "" && !plainWord(p.Arch) {
		return p, s.Errorf("Architecture", "package %q: %q is no architecture", p.Name, p.Arch)
	}
	if !plainWord(p.Version) {
		return p, s.Errorf("Version", "package %q: %q is no version", p.Name, p.Version)
	}
	if words[0] == "hold" && p.Status == "installed" {
		p.Status = Held
	}
	p.Stanza, p.Body = digest.Sum(s.Raw()), digest.Sum(body(s.Raw()))
	return p, nil
}

// stateFields are what dpkg changes in a stanza while it works, dpkg(1).
var stateFields = [...]string{"Status:", "Config-Version:", "Triggers-Pending:", "Triggers-Awaited:"}

// body returns a stanza without its stateFields, as long as they are lines that
// dpkg may have written.
func body(raw []byte) []byte {
	var out []byte
	for line := range bytes.Lines(raw) {
		state := slices.ContainsFunc(stateFields[:], func(f string) bool { return bytes.HasPrefix(line, []byte(f)) })
		if !state || len(line) > 4096 || bytes.ContainsFunc(bytes.TrimSuffix(line, []byte("\n")), func(r rune) bool { return r < ' ' || r > '~' }) {
			out = append(out, line...)
		}
	}
	return out
}

// dpkgStates are the states of a package, dpkg(1).
var dpkgStates = [...]string{"not-installed", "config-files", "half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending", "installed"}

// plainWord reports whether s can be a name, an architecture or a version: none
// has anything but these characters.
func plainWord(s string) bool {
	if s == "" || len(s) > 1024 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("+-.:~_", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// listDigest is the digest of the sorted paths of a list. left is what may still
// be read of lists.
func listDigest(r Root, p entry.Path, left *int64) (d digest.Digest, err error) {
	f, err := r.Open(p)
	if err != nil {
		return d, fmt.Errorf("read %q: %w", p, err)
	}
	defer f.Close()
	most := min(int64(maxList), *left)
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return d, fmt.Errorf("read %q: %w", p, err)
	case int64(len(b)) > most:
		return d, fmt.Errorf("read %q: over %d bytes of paths", p, most)
	}
	if bytes.Count(b, []byte("\n")) > maxListPaths {
		return d, fmt.Errorf("read %q: over %d paths", p, maxListPaths)
	}
	*left -= int64(len(b))
	var paths [][]byte
	if len(b) > 0 {
		paths = bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
	}
	for i, line := range paths {
		if !listLine(line) || bytes.IndexByte(line, 0) >= 0 {
			return d, fmt.Errorf("%q:%d: %w", p, i+1, errLine)
		}
	}
	return pathsDigest(paths), nil
}

// pathsDigest sorts paths and sums them up.
func pathsDigest(paths [][]byte) digest.Digest {
	if !slices.IsSortedFunc(paths, bytes.Compare) {
		slices.SortFunc(paths, bytes.Compare)
	}
	n := 0
	for _, p := range paths {
		n += len(p) + 1
	}
	b := make([]byte, 0, n)
	for _, p := range paths {
		b = append(append(b, p...), 0)
	}
	return digest.Sum(b)
}
