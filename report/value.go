package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"intact/scanner/entry"
)

// Attribute values in human terms. They come as the report spells them: mode
// in octal, owner, group and size in decimal, times in RFC 3339, a digest in
// hex, access lists and extended attributes with newlines between their lines.
// What does not parse is shown as it is, escaped.

// label returns the heading of an attribute in the text view.
func label(name string) string {
	for _, row := range entry.Table() {
		if row.Name == name {
			return row.Label
		}
	}
	return Escape(name)
}

const none = "none"

// value renders one side of an attribute.
func (t *text) value(name, s string, known bool) string {
	if !known && name == "content" {
		return "not known"
	}
	if !known {
		return none
	}
	switch name {
	case "mode":
		if v, err := strconv.ParseUint(s, 8, 16); err == nil {
			return fmt.Sprintf("%s (%04o)", rwx(uint16(v)), v&07777)
		}
	case "uid":
		return owner(s, t.User)
	case "gid":
		return owner(s, t.Group)
	case "size":
		if v, err := strconv.ParseInt(s, 10, 64); err == nil {
			return size(v)
		}
	case "mtime", "ctime", "btime":
		if v, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.when(v, false)
		}
	case "content":
		return short(s)
	case "flags":
		if s == "" {
			return none
		}
	}
	return Escape(s)
}

// arrow renders a value before and after.
func (t *text) arrow(name, old, now string, oldKnown, nowKnown bool) string {
	a, b := t.value(name, old, oldKnown), t.value(name, now, nowKnown)
	if !oldKnown || !nowKnown {
		return a + " → " + b
	}
	switch name {
	case "size":
		x, err1 := strconv.ParseInt(old, 10, 64)
		y, err2 := strconv.ParseInt(now, 10, 64)
		if err1 == nil && err2 == nil && x >= 0 && y >= 0 {
			return a + " → " + b + ", " + signed(y-x)
		}
	case "mtime", "ctime", "btime":
		x, err1 := time.Parse(time.RFC3339Nano, old)
		y, err2 := time.Parse(time.RFC3339Nano, now)
		if err1 == nil && err2 == nil && x.Truncate(time.Second).Equal(y.Truncate(time.Second)) {
			return t.when(x, true) + " → " + t.when(y, true)
		}
	case "content":
		if a == b && old != now {
			return Escape(old) + " → " + Escape(now)
		}
	}
	return a + " → " + b
}

func signed(n int64) string {
	if n > 0 {
		return "+" + group(n)
	}
	return group(n)
}

// lines splits a value that is a list: an access list, extended attributes.
// ok tells that the attribute is of that kind and one side has several lines.
func listed(name, old, now string) (a, b []string, ok bool) {
	sep := func(r rune) bool { return r == '\n' }
	switch name {
	case "acl":
		sep = func(r rune) bool { return r == '\n' || r == ',' }
	case "xattr", "caps":
	default:
		return nil, nil, false
	}
	a, b = strings.FieldsFunc(old, sep), strings.FieldsFunc(now, sep)
	return a, b, len(a) > 1 || len(b) > 1
}

// rwx is the form of ls(1), without the type letter.
func rwx(m uint16) string {
	b := []byte("rwxrwxrwx")
	for i := range b {
		if m&(1<<(8-i)) == 0 {
			b[i] = '-'
		}
	}
	special := func(bit uint16, i int, set, unset byte) {
		if m&bit == 0 {
			return
		}
		if b[i] == 'x' {
			b[i] = set
		} else {
			b[i] = unset
		}
	}
	special(04000, 2, 's', 'S')
	special(02000, 5, 's', 'S')
	special(01000, 8, 't', 'T')
	return string(b)
}

func owner(s string, name func(uint32) string) string {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil || name == nil {
		return Escape(s)
	}
	n := name(uint32(id))
	if n == "" {
		return s
	}
	return Escape(n) + " (" + s + ")"
}

// size is "123 B" or "12.3 KiB (12,600)".
func size(n int64) string {
	h := human(n)
	if n < 1024 {
		return h
	}
	return h + " (" + group(n) + ")"
}

func human(n int64) string {
	if n < 1024 {
		return group(n) + " B"
	}
	v := float64(n)
	unit := ""
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		v, unit = v/1024, u
		if v < 1023.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// short cuts a digest to 16 digits.
func short(s string) string {
	s = s[strings.IndexByte(s, ':')+1:]
	if len(s) >= 40 && strings.Trim(s, hexDigits) == "" {
		return s[:16]
	}
	return Escape(s)
}

// when is a local time and its distance from now.
func (t *text) when(v time.Time, nanos bool) string {
	layout := "2006-01-02 15:04:05 MST"
	if nanos {
		layout = "2006-01-02 15:04:05.000000000 MST"
	}
	s := v.In(t.Location).Format(layout)
	if t.Now.IsZero() {
		return s
	}
	return s + " (" + relative(t.Now.Sub(v)) + ")"
}

// relative says how long ago something was.
func relative(d time.Duration) string {
	past := d >= 0
	// The most negative duration has no positive counterpart.
	if !past {
		d = -max(d, -1<<63+1)
	}
	var s string
	switch {
	case d < time.Second:
		return "just now"
	case d < 2*time.Minute:
		s = fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		s = fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		s = fmt.Sprintf("%d h", d/time.Hour)
	case d < 2*365*24*time.Hour:
		s = fmt.Sprintf("%d days", d/(24*time.Hour))
	default:
		s = fmt.Sprintf("%d years", d/(365*24*time.Hour))
	}
	if past {
		return s + " ago"
	}
	return "in " + s
}
