package facts

import (
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Exposed looks for what others than root and the owner may change: p itself or a
// folder above it, up to top. p is free of links. "" is nothing. A folder of the
// sticky bit counts: new names can be made in it.
func Exposed(r *dirfd.Root, p entry.Path, owner int64, top entry.Path) (string, error) {
	for ; ; p = p.Dir() {
		st, err := StatOf(r, p)
		if err != nil {
			return "", err
		}
		if st.UID != 0 && int64(st.UID) != owner || st.Mode&0o022 != 0 {
			return string(p), nil
		}
		if p == top || p == "/" {
			return "", nil
		}
	}
}

// StatOf looks at p, which may be a link; links above it are followed inside the
// root.
func StatOf(r *dirfd.Root, p entry.Path) (st dirfd.Stat, err error) {
	dir, name, _, err := r.Reach(p)
	if err != nil {
		return st, err
	}
	defer dir.Release()
	if name == nil {
		return st, dir.StatSelf(&st)
	}
	return st, dir.Stat(name, false, &st)
}
