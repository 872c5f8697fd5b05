package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"intact/scanner/entry"
)

// kinds are the words that begin a line, in the order of the numbers of kinds.
var kinds = [...]string{"", "file", "dir", "link", "fifo", "", "char", "block"}

// kindOf returns the kind of a word, entry.KindUnknown of none.
func kindOf(word string) entry.Kind {
	if word == "" {
		return entry.KindUnknown
	}
	return entry.Kind(max(0, slices.Index(kinds[:], word)))
}

const (
	wordConffile = "conffile"
	wordHard     = "hard"
)

// appendEntry appends the line of an entry, without its newline.
func appendEntry(dst []byte, e *Entry) []byte {
	word := ""
	if int(e.Kind) < len(kinds) {
		word = kinds[e.Kind]
	}
	switch {
	case e.Kind == entry.File && e.Hard != "":
		word = wordHard
	case e.Kind == entry.File && e.Conffile:
		word = wordConffile
	}
	dst = fmt.Appendf(dst, "%s %04o %d %d ", word, e.Mode, e.UID, e.GID)
	dst = append(appendOwner(dst, e.Owner), ' ')
	dst = append(appendOwner(dst, e.Group), ' ')
	switch word {
	case "file", wordConffile:
		dst = strconv.AppendInt(dst, e.Size, 10)
		dst = append(dst, ' ')
		dst = append(dst, e.SHA256.String()...)
		dst = append(dst, ' ')
		dst = append(dst, e.BLAKE3.Named()...)
		dst = append(dst, ' ')
	case wordHard:
		dst = append(appendEscaped(dst, string(e.Hard), false), ' ')
	case "link":
		dst = append(appendEscaped(dst, e.Target, false), ' ')
	case "char", "block":
		dst = fmt.Appendf(dst, "%d %d ", e.Major, e.Minor)
	}
	return appendEscaped(dst, string(e.Path), false)
}

// appendOwner appends a name, "-" where there is none.
func appendOwner(dst []byte, name string) []byte {
	switch name {
	case "":
		return append(dst, '-')
	case "-":
		return append(dst, `\x2d`...)
	}
	return appendEscaped(dst, name, false)
}

func parseOwner(s string) (string, bool) {
	switch s {
	case "-":
		return "", true
	case `\x2d`:
		return "-", true
	}
	return unescape(s, false)
}

// parseEntry reads the line of an entry in its only spelling.
func parseEntry(line string) (e Entry, ok bool) {
	col := strings.Split(line, " ")
	const common = 6
	if len(col) < common+1 {
		return e, false
	}
	mode, err := strconv.ParseUint(col[1], 8, 12)
	uid, ok1 := number(col[2], 32)
	gid, ok2 := number(col[3], 32)
	owner, ok3 := parseOwner(col[4])
	group, ok4 := parseOwner(col[5])
	path, ok5 := parsePath(col[len(col)-1])
	if err != nil || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return e, false
	}
	e = Entry{Path: path, Mode: uint16(mode), UID: uint32(uid), GID: uint32(gid), Owner: owner, Group: group}
	if !e.parseKind(col[0], col[common:len(col)-1]) {
		return Entry{}, false
	}
	return e, string(appendEntry(nil, &e)) == line
}

// parseKind reads what a line says of its kind alone.
func (e *Entry) parseKind(word string, col []string) (ok bool) {
	e.Kind = kindOf(word)
	switch word {
	case "dir", "fifo":
		return len(col) == 0
	case "link":
		if len(col) == 1 {
			e.Target, ok = unescape(col[0], false)
		}
		return ok
	case wordHard:
		if e.Kind = entry.File; len(col) == 1 {
			e.Hard, ok = parsePath(col[0])
		}
		return ok
	case "file", wordConffile:
		e.Kind, e.Conffile = entry.File, word == wordConffile
		if len(col) != 3 {
			return false
		}
		size, ok1 := number(col[0], 63)
		sum, ok2 := parseNamedSHA256(col[1])
		e.BLAKE3, ok = parseBLAKE3(col[2])
		e.Size, e.SHA256 = int64(size), sum
		return ok && ok1 && ok2
	case "char", "block":
		if len(col) != 2 {
			return false
		}
		major, ok1 := number(col[0], 32)
		minor, ok2 := number(col[1], 32)
		e.Major, e.Minor = uint32(major), uint32(minor)
		return ok1 && ok2
	}
	return false
}

// parsePath reads an escaped path.
func parsePath(s string) (entry.Path, bool) {
	raw, ok := unescape(s, false)
	if !ok {
		return "", false
	}
	p, err := entry.NewPath(raw)
	return p, err == nil && string(p) == raw
}
