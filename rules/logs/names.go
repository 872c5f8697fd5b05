// Package logs says where what a log once said is now: where it was, where
// rotation put it, or nowhere. It does no I/O.
package logs

import (
	"regexp"
	"strconv"
	"strings"
)

// name is the name of a file, taken apart as logrotate and savelog put names
// together.
type name struct {
	stem string // the log that it is a generation of; its own name where it is none
	kind kind
	rank int64 // of a generation: the smaller, the newer
	pack bool  // compressed
}

type kind uint8

const (
	head kind = iota
	numbered
	dated
)

// How a generation is written behind a name, or before its extension: a number,
// or a date as dateformat makes it, with or without the time of day.
var (
	numberForm = regexp.MustCompile(`(?s)^(.+)\.([0-9]{1,6})(\.[A-Za-z]{1,8})?$`)
	dateForm   = regexp.MustCompile(`(?s)^(.+)[-.]((?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})(?:[-T_]?[0-9]{2}(?:[-:]?[0-9]{2}){0,2})?|[0-9]{10})(\.[A-Za-z]{1,8})?$`)
)

var packed = [...]string{".gz", ".xz", ".zst", ".bz2", ".lz4"}

// parse takes a name apart. Whether its stem is a log is not known here.
func parse(file string) name {
	base, pack := file, false
	for _, s := range packed {
		if b, ok := strings.CutSuffix(file, s); ok {
			base, pack = b, true
			break
		}
	}
	if b, ok := strings.CutSuffix(base, ".old"); ok && b != "" {
		return name{b, numbered, 1, pack}
	}
	if m := dateForm.FindStringSubmatch(base); m != nil {
		if n, ok := date(m[2]); ok {
			return name{m[1] + m[3], dated, -n, pack}
		}
	}
	if m := numberForm.FindStringSubmatch(base); m != nil && (m[2] == "0" || m[2][0] != '0') {
		n, _ := strconv.ParseInt(m[2], 10, 64) // six digits
		return name{m[1] + m[3], numbered, n, pack}
	}
	return name{stem: file}
}

// date makes a number of a date that has the order of time within one spelling.
func date(s string) (int64, bool) {
	var digits strings.Builder
	for _, c := range s {
		if c >= '0' && c <= '9' {
			digits.WriteRune(c)
		}
	}
	d := digits.String()
	if len(d) == 8 {
		if month, day := d[4:6], d[6:8]; month < "01" || month > "12" || day < "01" || day > "31" {
			return 0, false
		}
	}
	n, err := strconv.ParseInt((d + "000000")[:max(14, len(d))], 10, 64)
	return n, err == nil
}
