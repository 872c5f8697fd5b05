package statement

import (
	"errors"
	"strings"

	"intact/scanner/digest"
)

// Pin is a root that somebody wrote down: the whole digest, or its beginning.
type Pin string // lower-case hex, from shortDigits to all digits

// shortDigits is the length of the short form: 80 bits.
const shortDigits = 20

// ErrPin is returned by ParsePin.
var ErrPin = errors.New("neither a digest of a root nor the short form of one (20 hex digits or more)")

// ParsePin reads a digest with or without "blake3:", or the form that Short
// writes; blanks do not count.
func ParsePin(s string) (Pin, error) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "blake3:")
	s = strings.ToLower(strings.Join(strings.Fields(s), ""))
	if len(s) < shortDigits || len(s) > 2*digest.Size || strings.Trim(s, "0123456789abcdef") != "" {
		return "", ErrPin
	}
	return Pin(s), nil
}

// Matches reports whether d is the pinned root.
func (p Pin) Matches(d digest.Digest) bool {
	return len(p) >= shortDigits && strings.HasPrefix(d.String(), string(p))
}
