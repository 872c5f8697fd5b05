package deb

import (
	"strconv"
	"strings"
)

// maxVersion bounds a version, in bytes.
const maxVersion = 1024

// splitVersion cuts a version into its parts: epoch:upstream-revision.
func splitVersion(v string) (epoch, upstream, revision string) {
	epoch, upstream, ok := strings.Cut(v, ":")
	if !ok {
		epoch, upstream = "", v
	}
	if i := strings.LastIndexByte(upstream, '-'); i >= 0 {
		upstream, revision = upstream[:i], upstream[i+1:]
	}
	return epoch, upstream, revision
}

// ValidVersion reports whether v is a version as dpkg accepts it.
func ValidVersion(v string) bool {
	if len(v) > maxVersion {
		return false
	}
	epoch, upstream, revision := splitVersion(v)
	if strings.Contains(v, ":") {
		if n, err := strconv.ParseUint(epoch, 10, 31); err != nil || n > 1<<31-1 {
			return false
		}
	}
	only := func(s, more string) bool {
		return strings.IndexFunc(s, func(r rune) bool { return r > 127 || !isAlnum(byte(r)) && !strings.ContainsRune(more, r) }) < 0
	}
	return upstream != "" && isDigit(upstream[0]) && only(upstream, ".-+~:") && only(revision, ".+~") &&
		(revision != "" || !strings.HasSuffix(v, "-"))
}

// Compare orders two versions as section 5.6.12 of Debian's policy says:
// negative if a is the older one. Versions that are not valid have some order
// too.
func Compare(a, b string) int {
	ea, ua, ra := splitVersion(a)
	eb, ub, rb := splitVersion(b)
	if c := compareNumber(ea, eb); c != 0 {
		return c
	}
	if c := comparePart(ua, ub); c != 0 {
		return c
	}
	return comparePart(ra, rb)
}

// comparePart compares what is no number and numbers by turns.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		wa, resta := cutWhere(a, isDigit)
		wb, restb := cutWhere(b, isDigit)
		if c := compareWord(wa, wb); c != 0 {
			return c
		}
		notDigit := func(c byte) bool { return !isDigit(c) }
		na, nb := "", ""
		na, a = cutWhere(resta, notDigit)
		nb, b = cutWhere(restb, notDigit)
		if c := compareNumber(na, nb); c != 0 {
			return c
		}
	}
	return 0
}

// cutWhere cuts s before the first byte that is so.
func cutWhere(s string, is func(byte) bool) (before, rest string) {
	for i := range len(s) {
		if is(s[i]) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// compareWord compares by letters: the tilde before the end, the end before
// letters, letters before all else.
func compareWord(a, b string) int {
	rank := func(s string, i int) int {
		switch {
		case i >= len(s):
			return 0
		case s[i] == '~':
			return -1
		case isAlpha(s[i]):
			return int(s[i])
		}
		return int(s[i]) + 256
	}
	for i := range max(len(a), len(b)) {
		if c := rank(a, i) - rank(b, i); c != 0 {
			return c
		}
	}
	return 0
}

// compareNumber compares digits as a number, however many they are.
func compareNumber(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
