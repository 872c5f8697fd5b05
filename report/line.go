package report

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Line returns v as one line of JSON with a newline. Characters that Escape
// would not show stand as \uNNNN. It is for commands whose output is no report;
// a byte string of a disk goes through Coded before.
func Line(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write a line of JSON: %w", err)
	}
	out := make([]byte, 0, len(b)+1)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b) // above ASCII only inside of strings
		switch {
		case !hidden(r):
			out = append(out, b[:n]...)
		case r < 0x10000:
			out = appendUnit(out, r)
		default:
			out = appendUnit(out, 0xd800+(r-0x10000)>>10)
			out = appendUnit(out, 0xdc00+(r-0x10000)&0x3ff)
		}
		b = b[n:]
	}
	return append(out, '\n'), nil
}

// Coded splits a byte string for JSON: what is shown, which is s itself where
// that is UTF-8 and else escaped, and then the bytes for the field that is
// named with _b64, nil where s is UTF-8.
func Coded(s string) (shown string, raw []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return Escape(s), []byte(s)
}
