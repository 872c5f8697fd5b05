package entry

import (
	"bytes"
	"slices"
)

// Parts are some paths of a tree with what lies below them. A question costs the
// depth of a path, however many parts there are. Nil holds the whole tree.
type Parts struct {
	own   map[Path]struct{}
	names map[Path][][]byte // of each directory above a part: what leads to one, sorted
}

// NewParts returns the parts at and below paths; nil where there are none.
func NewParts(paths []Path) *Parts {
	if len(paths) == 0 {
		return nil
	}
	s := &Parts{make(map[Path]struct{}, len(paths)), map[Path][][]byte{}}
	met := make(map[Path]struct{}, len(paths))
	for _, p := range paths {
		s.own[p] = struct{}{}
		for ; p != "/"; p = p.Dir() {
			if _, ok := met[p]; ok {
				break
			}
			met[p] = struct{}{}
			s.names[p.Dir()] = append(s.names[p.Dir()], []byte(p.Base()))
		}
	}
	for _, names := range s.names {
		slices.SortFunc(names, bytes.Compare)
	}
	return s
}

// Is reports whether p is one of the paths themselves.
func (s *Parts) Is(p Path) bool {
	if s == nil {
		return false
	}
	_, ok := s.own[p]
	return ok
}

// Hold reports whether p is in a part: one of the paths, or below one.
func (s *Parts) Hold(p Path) bool {
	for s != nil && !s.Is(p) {
		if p == "/" {
			return false
		}
		p = p.Dir()
	}
	return true
}

// Lead reports whether p is one of the paths, or lies above one.
func (s *Parts) Lead(p Path) bool { return s == nil || s.Is(p) || s.names[p] != nil }

// Names returns the names in dir that Lead, in their order. They are not the
// caller's to change.
func (s *Parts) Names(dir Path) [][]byte {
	if s == nil {
		return nil
	}
	return s.names[dir]
}
