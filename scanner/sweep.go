package scanner

import (
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// SweepKeeps reports whether a sweep keeps an object: a file that could be run
// or gives rights, a device.
func SweepKeeps(k entry.Kind, mode uint16) bool {
	switch k {
	case entry.File:
		return mode&0o6111 != 0
	case entry.CharDevice, entry.BlockDevice:
		return true
	}
	return false
}

// swept keeps a file of a sweep only if it could be run or gives rights.
func (l *listing) swept(n dirfd.Name, d policy.Decision, set entry.Set) {
	var st dirfd.Stat
	if err := l.t.dir.Stat(n, false, &st); err != nil {
		l.lost(n, d, err)
		return
	}
	if mountOf(&st) != l.t.mount {
		l.crossing(n, d, nil, &st)
		return
	}
	if !SweepKeeps(st.Kind, st.Mode) {
		return
	}
	e := l.slot(n.Bytes(), d)
	st.Fill(e)
	l.w.namedMeta(e, set, l.t.dir, n, l.t.path)
	l.keep(e, d)
}
