package app

import (
	"context"
	"errors"
	"hash/maphash"

	"intact/rules/pkgdb"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxOwned bounds the paths that packages list and that are remembered.
const maxOwned = 8 << 20

var errListed = errors.New("the packages list too many paths")

// ownerIndex knows which package lists a path now, by the local database. It keeps
// a digest of each path, twelve bytes, and is read when it is first asked. That
// database is nobody's word: what it says may only make an explanation weaker, or
// name the owner of a file that is verified otherwise. It is for one goroutine.
type ownerIndex struct {
	c     *check
	place func(p entry.Path, pkg string) entry.Path // where on the host it is

	read  bool
	known bool // the lists could be read, all of them
	seed  maphash.Seed
	sums  map[uint64]uint32 // place in names
	names []string
}

// owner returns the package that lists p, "" where none does. It is not known where
// the lists cannot be read.
func (x *ownerIndex) owner(ctx context.Context, p entry.Path) (pkg string, known bool) {
	if !x.read {
		x.read = true
		x.seed, x.sums = maphash.MakeSeed(), map[uint64]uint32{}
		x.known = x.dpkg(ctx) == nil && x.rpm() == nil
	}
	if i, ok := x.sums[maphash.String(x.seed, string(p))]; ok {
		return x.names[i], x.known
	}
	return "", x.known
}

func (x *ownerIndex) add(pkg string, p entry.Path) error {
	if len(x.sums) == maxOwned {
		return errListed
	}
	if n := len(x.names); n == 0 || x.names[n-1] != pkg {
		x.names = append(x.names, pkg)
	}
	x.sums[maphash.String(x.seed, string(x.place(p, pkg)))] = uint32(len(x.names) - 1)
	return nil
}

func (x *ownerIndex) dpkg(ctx context.Context) error {
	return pkgdb.Listed(ctx, packageRoot{x.c.root}, x.add)
}

// rpm takes the packages that are as the baseline has them: their lists were kept
// by an earlier run. Of those that moved their headers speak.
func (x *ownerIndex) rpm() error {
	stands := map[pkgdb.Package]bool{}
	for _, p := range x.c.before {
		stands[p] = true
	}
	for i := range x.c.installed {
		p := &x.c.installed[i]
		if p.Kind != "rpm" || !stands[*p] || p.List == (digest.Digest{}) {
			continue
		}
		held := x.c.heldBy(*p)
		if held == nil {
			return errors.New("a list of files was not kept")
		}
		for at := range held {
			if err := x.add(p.Name, at); err != nil {
				return err
			}
		}
	}
	return nil
}
