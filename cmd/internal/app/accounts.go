package app

import (
	"bytes"
	"slices"
	"strconv"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// idNames are the users and groups of the scanned root, never of the
// scanning host.
type idNames struct {
	users  map[uint32]string
	groups map[uint32]string
	homes  []entry.Path // sorted, without "/"
}

// maxAccounts bounds the bytes read of passwd and group.
const maxAccounts = 16 << 20

func readAccounts(r *dirfd.Root) *idNames {
	a := &idNames{users: map[uint32]string{}, groups: map[uint32]string{}}
	// A file that is not there or not readable leaves numbers for names.
	if b, err := r.ReadFile("/etc/passwd", maxAccounts); err == nil {
		for f := range fields(b, 7) {
			addName(a.users, f[0], f[2])
			if h, err := entry.NewPath(string(f[5])); err == nil && h != "/" && h != "/nonexistent" {
				a.homes = append(a.homes, h)
			}
		}
	}
	if b, err := r.ReadFile("/etc/group", maxAccounts); err == nil {
		for f := range fields(b, 4) {
			addName(a.groups, f[0], f[2])
		}
	}
	slices.Sort(a.homes)
	a.homes = slices.Compact(a.homes)
	return a
}

// fields yields the lines of a passwd(5)-like file that have n fields.
func fields(b []byte, n int) func(func([][]byte) bool) {
	return func(yield func([][]byte) bool) {
		for line := range bytes.Lines(b) {
			f := bytes.Split(bytes.TrimRight(line, "\n"), []byte(":"))
			if len(f) == n && len(f[0]) > 0 && !yield(f) {
				return
			}
		}
	}
}

func addName(m map[uint32]string, name, id []byte) {
	n, err := strconv.ParseUint(string(id), 10, 32)
	if _, known := m[uint32(n)]; err == nil && !known {
		m[uint32(n)] = string(name)
	}
}

// User returns the name of uid, or its number.
func (a *idNames) User(uid uint32) string { return nameOr(a.users, uid) }

// Group returns the name of gid, or its number.
func (a *idNames) Group(gid uint32) string { return nameOr(a.groups, gid) }

func nameOr(m map[uint32]string, id uint32) string {
	if n := m[id]; n != "" {
		return n
	}
	return strconv.FormatUint(uint64(id), 10)
}
