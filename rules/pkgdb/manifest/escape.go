package manifest

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"intact/scanner/digest"
)

const hexDigits = "0123456789abcdef"

// plainByte reports whether b is written as it is.
func plainByte(b byte, blanks bool) bool {
	return b > ' ' && b < 0x7f && b != '\\' || blanks && b == ' '
}

// appendEscaped appends s, its blanks only if they are allowed.
func appendEscaped(dst []byte, s string, blanks bool) []byte {
	for i := range len(s) {
		if plainByte(s[i], blanks) {
			dst = append(dst, s[i])
		} else {
			dst = append(dst, '\\', 'x', hexDigits[s[i]>>4], hexDigits[s[i]&15])
		}
	}
	return dst
}

// unescape is the inverse of appendEscaped; of other spellings it is not ok.
func unescape(s string, blanks bool) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 && !blanks {
		for i := range len(s) {
			if !plainByte(s[i], false) {
				return "", false
			}
		}
		return s, s != ""
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if plainByte(s[i], blanks) {
			out = append(out, s[i])
			continue
		}
		if len(s)-i < 4 || s[i] != '\\' || s[i+1] != 'x' {
			return "", false
		}
		hi, lo := strings.IndexByte(hexDigits, s[i+2]), strings.IndexByte(hexDigits, s[i+3])
		if hi < 0 || lo < 0 || plainByte(byte(hi<<4|lo), blanks) {
			return "", false
		}
		out = append(out, byte(hi<<4|lo))
		i += 3
	}
	return string(out), len(out) > 0
}

// String returns the digest with its algorithm, "sha256:" and lower-case hex.
func (d SHA256) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// ParseSHA256 reads 64 digits of lower-case hex.
func ParseSHA256(s string) (d SHA256, ok bool) {
	if len(s) != 2*len(d) || strings.ToLower(s) != s {
		return d, false
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err == nil
}

func parseNamedSHA256(s string) (SHA256, bool) {
	rest, ok := strings.CutPrefix(s, "sha256:")
	if !ok {
		return SHA256{}, false
	}
	return ParseSHA256(rest)
}

func parseBLAKE3(s string) (digest.Digest, bool) {
	if !strings.HasPrefix(s, "blake3:") {
		return digest.Digest{}, false
	}
	d, err := digest.Parse(s)
	return d, err == nil && d.Named() == s
}

// number reads a number of at most bits bits without a sign or zeros before it.
func number(s string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, bits)
	return n, err == nil && strconv.FormatUint(n, 10) == s
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err == nil && formatTime(t) == s
}
