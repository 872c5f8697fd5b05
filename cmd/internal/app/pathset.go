package app

import (
	"hash/maphash"

	"intact/scanner/entry"
)

// pathSet is a set of paths that takes some 16 bytes a path, however long it
// is: it keeps hashes of 64 bits under a seed that nobody can know.
type pathSet struct {
	seed maphash.Seed
	has  map[uint64]struct{}
}

func newPathSet() *pathSet {
	return &pathSet{maphash.MakeSeed(), map[uint64]struct{}{}}
}

func (s *pathSet) add(p entry.Path) { s.has[maphash.String(s.seed, string(p))] = struct{}{} }

func (s *pathSet) holds(p entry.Path) bool {
	if s == nil {
		return false
	}
	_, ok := s.has[maphash.String(s.seed, string(p))]
	return ok
}

func (s *pathSet) size() int { return len(s.has) }
