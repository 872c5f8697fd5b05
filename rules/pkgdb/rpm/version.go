package rpm

import (
	"cmp"
	"strconv"
	"strings"
)

// EVR is the version of a package.
type EVR struct {
	Epoch    uint32
	HasEpoch bool // "0:1-1" and "1-1" are spelled apart and compare equal
	Version  string
	Release  string
}

// String spells it as rpm does, "epoch:version-release".
func (e EVR) String() string {
	s := e.Version
	if e.HasEpoch {
		s = strconv.FormatUint(uint64(e.Epoch), 10) + ":" + s
	}
	if e.Release != "" {
		s += "-" + e.Release
	}
	return s
}

// ParseEVR reads "epoch:version-release", of which only the version must be.
func ParseEVR(s string) (e EVR) {
	if epoch, rest, ok := strings.Cut(s, ":"); ok {
		if n, err := strconv.ParseUint(epoch, 10, 32); err == nil || epoch == "" {
			e.Epoch, e.HasEpoch, s = uint32(n), epoch != "", rest
		}
	}
	e.Version = s
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		e.Version, e.Release = s[:i], s[i+1:]
	}
	return e
}

// Compare orders versions: -1 if a is the older one, 0, or 1. An absent release
// equals every release, as in a dependency.
func (a EVR) Compare(b EVR) int {
	if c := cmp.Compare(a.Epoch, b.Epoch); c != 0 {
		return c
	}
	if c := Vercmp(a.Version, b.Version); c != 0 || a.Release == "" || b.Release == "" {
		return c
	}
	return Vercmp(a.Release, b.Release)
}

// Vercmp orders version strings as rpm does: runs of digits by their value,
// runs of letters by their bytes, a number above letters, "~" below the end of
// the string and "^" above it; whatever else stands between only separates.
// -1 if a is the older one, 0, or 1.
func Vercmp(a, b string) int {
	if a == b {
		return 0
	}
	for {
		a, b = skip(a), skip(b)
		if c, both := marks(a, b); both {
			a, b = a[1:], b[1:]
			continue
		} else if c != 0 {
			return c
		}
		if a == "" || b == "" {
			break
		}
		digits := digit(a[0])
		kind := letter
		if digits {
			kind = digit
		}
		x, y := run(a, kind), run(b, kind)
		if y == "" { // of different kinds: the number is the newer one
			if digits {
				return 1
			}
			return -1
		}
		a, b = a[len(x):], b[len(y):]
		if digits {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(min(len(a), 1), min(len(b), 1))
}

// marks orders strings of which one begins with "~" or "^". Both is set where
// they begin with the same one.
func marks(a, b string) (c int, both bool) {
	switch x, y := starts(a, '~'), starts(b, '~'); {
	case x && y:
		return 0, true
	case x:
		return -1, false
	case y:
		return 1, false
	}
	x, y := starts(a, '^'), starts(b, '^')
	switch {
	case x && y:
		return 0, true
	case x && b == "", y && a != "":
		return 1, false
	case x, y:
		return -1, false
	}
	return 0, false
}

func digit(c byte) bool  { return '0' <= c && c <= '9' }
func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func starts(s string, c byte) bool { return s != "" && s[0] == c }

// skip drops what only separates.
func skip(s string) string {
	for s != "" && !digit(s[0]) && !letter(s[0]) && s[0] != '~' && s[0] != '^' {
		s = s[1:]
	}
	return s
}

// run is the longest prefix of one kind.
func run(s string, kind func(byte) bool) string {
	i := 0
	for i < len(s) && kind(s[i]) {
		i++
	}
	return s[:i]
}
