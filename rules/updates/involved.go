package updates

import (
	"cmp"
	"slices"

	"intact/scanner/entry"
)

// Involved calls do for each update that brings what is at p, a folder excepted,
// or had it before: held says that only the old version did. It may be the same
// update twice.
func (x *Explainer) Involved(p entry.Path, do func(u *Update, held bool)) {
	x.Holder(p, func(u *Update, s *Said) bool {
		if s.Kind != entry.Dir {
			do(u, false)
		}
		return true
	})
	from, _ := slices.BinarySearchFunc(x.held, p, func(h held, p entry.Path) int { return cmp.Compare(h.path, p) })
	for ; from < len(x.held) && x.held[from].path == p; from++ {
		do(&x.updates[x.held[from].update], true)
	}
}
