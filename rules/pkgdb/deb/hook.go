package deb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of what apt writes to a hook.
const (
	MaxHook     = 16 << 20 // bytes
	MaxActions  = 1 << 16
	MaxSettings = 1 << 16
	hookVersion = "VERSION 3"
)

// ErrHook is returned for what apt does not write.
var ErrHook = errors.New("not what apt writes to a hook of version 3")

// Do says what apt is about to do with a package.
type Do string

// What apt does.
const (
	Unpack    Do = "unpack"
	Configure Do = "configure"
	Remove    Do = "remove"
)

// Action is one line of a hook: what is about to happen to a package. Old or
// New are zero where there is no such version; Multi-Arch is left out.
type Action struct {
	Package          string
	Old, New         string // versions
	OldArch, NewArch string
	Do               Do
	File             string // the archive, of Unpack alone; unescaped
}

// Hook is what apt tells a DPkg::Pre-Install-Pkgs hook.
type Hook struct {
	Settings map[string]string // apt's configuration; names in lower case, the last value of a list
	Actions  []Action
}

// On reports whether a setting is switched on; def where it is not set.
func (h *Hook) On(name string, def bool) bool {
	switch strings.ToLower(h.Settings[strings.ToLower(name)]) {
	case "yes", "true", "with", "on", "enable", "1":
		return true
	case "no", "false", "without", "off", "disable", "0":
		return false
	}
	return def
}

// Unchecked lists the settings with which this run of apt may have taken
// packages or releases that nobody vouches for.
func (h *Hook) Unchecked() (out []string) {
	for _, s := range []struct {
		name string
		bad  bool
	}{
		{"APT::Get::AllowUnauthenticated", true}, {"Acquire::AllowInsecureRepositories", true},
		{"Acquire::AllowWeakRepositories", true}, {"Acquire::AllowDowngradeToInsecureRepositories", true},
		{"Acquire::Check-Valid-Until", false}, {"Acquire::Check-Date", false},
	} {
		if h.On(s.name, !s.bad) == s.bad {
			out = append(out, s.name)
		}
	}
	return out
}

// ReadHook reads what apt writes with DPkg::Tools::Options::…::Version "3": that
// line, its configuration, an empty line, a line for each package.
func ReadHook(r io.Reader) (*Hook, error) {
	in := bufio.NewScanner(io.LimitReader(r, MaxHook+1))
	in.Buffer(make([]byte, 4096), MaxHook+1)
	in.Split(wholeLines)
	h := &Hook{Settings: map[string]string{}}
	n, size, settings := 0, 0, true
	for in.Scan() {
		line := in.Text()
		size += len(line) + 1
		n++
		var err error
		switch {
		case size > MaxHook:
			err = ErrTooMany
		case n == 1 && line != hookVersion:
			err = ErrHook
		case n == 1:
		case settings && line == "":
			settings = false
		case settings:
			err = h.setting(line)
		default:
			err = h.action(line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	if n == 0 || settings {
		return nil, fmt.Errorf("%w: it ends after line %d", ErrHook, n)
	}
	return h, nil
}

// wholeLines is bufio.ScanLines for lines that all end, and keep their returns.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, fmt.Errorf("%w: it ends amid a line", ErrHook)
	}
	return 0, nil, nil
}

// setting reads name=value; both have %xx for what is not printable.
func (h *Hook) setting(line string) error {
	name, value, ok := strings.Cut(line, "=")
	name, ok1 := unquote(name)
	value, ok2 := unquote(value)
	if !ok || !ok1 || !ok2 || name == "" {
		return ErrHook
	}
	if len(h.Settings) == MaxSettings {
		return ErrTooMany
	}
	h.Settings[strings.ToLower(name)] = value
	return nil
}

// unquote undoes %xx.
func unquote(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, strings.IndexByte(s, 0) < 0
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if len(s)-i < 3 {
			return "", false
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		out = append(out, byte(hi<<4|lo))
		i += 2
	}
	return string(out), bytes.IndexByte(out, 0) < 0
}

func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// action reads the line of a package: name, old version, its architecture and
// Multi-Arch, direction, the same of the new version, and what is done. The
// last column is a path as it is and may hold blanks.
func (h *Hook) action(line string) error {
	col := strings.SplitN(line, " ", 9)
	if len(col) < 9 || !isPackage(col[0]) || strings.IndexByte(line, 0) >= 0 {
		return ErrHook
	}
	if len(h.Actions) == MaxActions {
		return ErrTooMany
	}
	a := Action{Package: col[0]}
	var ok1, ok2 bool
	a.Old, a.OldArch, ok1 = side(col[1:4])
	a.New, a.NewArch, ok2 = side(col[5:8])
	if !ok1 || !ok2 || !directionFits(col[4], a.Old, a.New) {
		return ErrHook
	}
	switch col[8] {
	case "**CONFIGURE**":
		a.Do = Configure
	case "**REMOVE**":
		a.Do = Remove
	default:
		if a.Do, a.File = Unpack, col[8]; !strings.HasPrefix(a.File, "/") {
			return ErrHook
		}
	}
	if a.Do != Remove && a.New == "" || a.Do == Remove && a.Old == "" {
		return ErrHook
	}
	h.Actions = append(h.Actions, a)
	return nil
}

// side reads version, architecture and Multi-Arch of one side of a line; "-"
// stands for a version that there is not.
func side(col []string) (version, arch string, ok bool) {
	switch col[2] {
	case "none", "same", "foreign", "allowed":
	default:
		return "", "", false
	}
	if col[0] == "-" {
		return "", "", col[1] == "-"
	}
	return col[0], col[1], ValidVersion(col[0]) && isPackage(col[1])
}

// directionFits reports whether the sign between two versions is what they are.
func directionFits(sign, old, new string) bool {
	c := -1
	switch {
	case old == "" || new == "":
		return sign == "<" || sign == ">"
	default:
		c = Compare(old, new)
	}
	return sign == "<" && c < 0 || sign == "=" && c == 0 || sign == ">" && c > 0
}
