package pkgdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"intact/scanner/entry"
)

const dpkgOverrides = entry.Path("/var/lib/dpkg/statoverride")

// maxOverrides bounds the lines of statoverride that are kept.
const maxOverrides = 64 << 10

// Override is the mode and the owner that the administrator asked dpkg for. It
// stands in an unsigned file: what it says is the word of whoever is root.
type Override struct {
	User, Group string // a name, or "#" and a number
	Mode        uint16 // without the type
}

// Overrides reads what dpkg-statoverride(1) keeps, by path as it spells it: lines
// "user group mode path". Of a line that dpkg would not write, or of too many, the
// error tells, and nothing is overridden.
func Overrides(ctx context.Context, r Root) (map[entry.Path]Override, error) {
	f, err := r.Open(dpkgOverrides)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", dpkgOverrides, err)
	}
	defer f.Close()
	out := map[entry.Path]Override{}
	err = eachLine(ctx, f, func(line []byte) error {
		p, o, ok := parseOverride(string(line))
		if !ok {
			return errLine
		}
		if len(out) == maxOverrides {
			return fmt.Errorf("over %d overrides", maxOverrides)
		}
		out[p] = o
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", dpkgOverrides, err)
	}
	return out, nil
}

// parseOverride reads one line. A path may hold spaces.
func parseOverride(line string) (p entry.Path, o Override, ok bool) {
	col := strings.SplitN(line, " ", 4)
	if len(col) != 4 || col[0] == "" || col[1] == "" {
		return "", o, false
	}
	mode, err := strconv.ParseUint(col[2], 8, 16)
	if err != nil || mode > 0o7777 {
		return "", o, false
	}
	p, err = entry.NewPath(col[3])
	return p, Override{col[0], col[1], uint16(mode)}, err == nil && string(p) == col[3]
}
