package manifest

import (
	"fmt"
	"strings"
	"time"
)

// headField is a line of the head: one description serves writing and reading.
type headField struct {
	name string
	get  func(h *Head) string // "" leaves the line out
	set  func(h *Head, value string) bool
}

// headFields are the lines that come once, in their order.
var headFields = [...]headField{
	textField("format", func(h *Head) *string { return &h.Format }),
	textField("package", func(h *Head) *string { return &h.Package }),
	textField("version", func(h *Head) *string { return &h.Version }),
	textField("architecture", func(h *Head) *string { return &h.Architecture }),
	{"level", func(h *Head) string { return string(h.Level) }, func(h *Head, v string) bool {
		h.Level = Level(v)
		return h.Level == Signed || h.Level == Local || h.Level == None
	}},
	textField("reason", func(h *Head) *string { return &h.Reason }),
	sumField("archive", func(h *Head) (*SHA256, *int64) { return &h.Archive, &h.ArchiveSize }),
	sumField("release", func(h *Head) (*SHA256, *int64) { return &h.Chain.Release, &h.Chain.ReleaseSize }),
	textField("origin", func(h *Head) *string { return &h.Chain.Origin }),
	textField("suite", func(h *Head) *string { return &h.Chain.Suite }),
	textField("codename", func(h *Head) *string { return &h.Chain.Codename }),
	timeField("date", func(h *Head) *time.Time { return &h.Chain.Date }),
	timeField("valid-until", func(h *Head) *time.Time { return &h.Chain.ValidUntil }),
	textField("key", func(h *Head) *string { return &h.Chain.Key }),
	textField("subkey", func(h *Head) *string { return &h.Chain.Subkey }),
	textField("uid", func(h *Head) *string { return &h.Chain.UID }),
	timeField("signed-at", func(h *Head) *time.Time { return &h.Chain.SignedAt }),
	sumField("index", func(h *Head) (*SHA256, *int64) { return &h.Chain.Index, &h.Chain.IndexSize }),
	textField("index-name", func(h *Head) *string { return &h.Chain.IndexName }),
	textField("filename", func(h *Head) *string { return &h.Chain.Filename }),
	timeField("verified", func(h *Head) *time.Time { return &h.Chain.Verified }),
}

func textField(name string, at func(*Head) *string) headField {
	return headField{name,
		func(h *Head) string { return *at(h) },
		func(h *Head, v string) bool { *at(h) = v; return true },
	}
}

func timeField(name string, at func(*Head) *time.Time) headField {
	return headField{name,
		func(h *Head) string { return formatTime(*at(h)) },
		func(h *Head, v string) (ok bool) { *at(h), ok = parseTime(v); return ok },
	}
}

// sumField is a digest and a size. It is left out where both are zero.
func sumField(name string, at func(*Head) (*SHA256, *int64)) headField {
	return headField{name,
		func(h *Head) string {
			sum, size := at(h)
			if *sum == (SHA256{}) && *size == 0 {
				return ""
			}
			return fmt.Sprintf("%v %d", *sum, *size)
		},
		func(h *Head, v string) bool {
			sum, size := at(h)
			a, b, _ := strings.Cut(v, " ")
			n, ok := number(b, 63)
			*size = int64(n)
			var ok2 bool
			*sum, ok2 = parseNamedSHA256(a)
			return ok && ok2
		},
	}
}

// appendHead appends the head with the empty line behind it.
func appendHead(dst []byte, h *Head) []byte {
	dst = append(dst, Format+"\n"...)
	for _, f := range headFields {
		if v := f.get(h); v != "" {
			dst = append(dst, f.name+" "...)
			dst = append(appendEscaped(dst, v, true), '\n')
		}
	}
	for _, c := range h.Controls {
		dst = fmt.Appendf(dst, "control %04o %d %v %s ", c.Mode, c.Size, c.SHA256, c.BLAKE3.Named())
		dst = append(appendEscaped(dst, c.Name, false), '\n')
	}
	for _, p := range h.Removes {
		dst = append(dst, "removes "...)
		dst = append(appendEscaped(dst, string(p), false), '\n')
	}
	return append(dst, '\n')
}

// parseHead reads the lines of a head, without the first and the empty one.
// That the spelling is the only one is for the caller to see.
func parseHead(lines []string) (h Head, ok bool) {
	i := 0
	for _, f := range headFields {
		if i == len(lines) {
			break
		}
		v, mine := strings.CutPrefix(lines[i], f.name+" ")
		if !mine {
			continue
		}
		v, ok := unescape(v, true)
		if !ok || !f.set(&h, v) {
			return h, false
		}
		i++
	}
	for ; i < len(lines); i++ {
		word, v, _ := strings.Cut(lines[i], " ")
		switch word {
		case "control":
			c, ok := parseControl(v)
			if !ok || len(h.Controls) == MaxControls {
				return h, false
			}
			h.Controls = append(h.Controls, c)
		case "removes":
			p, ok := parsePath(v)
			if !ok || len(h.Removes) == MaxRemoves {
				return h, false
			}
			h.Removes = append(h.Removes, p)
		default:
			return h, false
		}
	}
	return h, h.check() == nil
}

// parseControl reads a control line behind its word: mode, size and digests are
// those of an entry.
func parseControl(v string) (Control, bool) {
	i := strings.LastIndexByte(v, ' ') + 1
	name, named := unescape(v[i:], false)
	mode, rest, _ := strings.Cut(v[:i], " ")
	e, ok := parseEntry("file " + mode + " 0 0 - - " + rest + "/" + v[i:])
	return Control{name, e.Mode, e.Size, e.SHA256, e.BLAKE3}, ok && named && isControl(name)
}

// isControl reports whether name can be one of a control file.
func isControl(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) < 256 && !strings.ContainsAny(name, "/\x00")
}

// check says what a head cannot be.
func (h *Head) check() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }
	switch {
	case h.Format == "" || h.Package == "" || h.Version == "" || h.Architecture == "":
		return bad("package is not named")
	case h.ArchiveSize <= 0:
		return bad("archive is not named")
	case h.Level == Signed && (h.Reason != "" || h.Chain.Key == "" || h.Chain.Release == SHA256{} || h.Chain.Index == SHA256{} || h.Chain.Verified.IsZero()):
		return bad("signed without evidence")
	case h.Level != Signed && (h.Reason == "" || h.Chain != Chain{}):
		return bad("not signed, and either no reason or evidence")
	case len(h.Controls) > MaxControls || len(h.Removes) > MaxRemoves:
		return bad("too many control files")
	}
	for i, c := range h.Controls {
		if !isControl(c.Name) || i > 0 && h.Controls[i-1].Name >= c.Name {
			return bad("control files are not in order")
		}
	}
	for i := range h.Removes {
		if i > 0 && h.Removes[i-1] >= h.Removes[i] {
			return bad("removed files are not in order")
		}
	}
	return nil
}
