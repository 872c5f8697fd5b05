// Package hashlist looks digests up in lists of known files: plain lines of
// sha256sum(1) and b3sum(1), hashdeep(1), and CSV with a header as NSRL gives
// it. A list is read once from its beginning to its end and never held: memory
// depends on how many digests are asked for, not on the list.
//
// Only SHA-256 and BLAKE3 count. Whoever wants a file to pass for another can
// make two with one MD5 or SHA-1.
package hashlist

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Size of a digest, in bytes.
const Size = 32

// Algorithm says which digest of a file a list knows.
type Algorithm string

// The algorithms. A plain line does not say which it means: it is held against
// both.
const (
	SHA256 Algorithm = "sha256"
	BLAKE3 Algorithm = "blake3"
)

// Hit is a line of a list that has one of the digests asked for.
type Hit struct {
	Digest    [Size]byte
	Algorithm Algorithm // "" where the list does not say
	Line      int       // from 1
}

// Errors of Search. A list with any of them is not used at all.
var (
	ErrWeak      = errors.New("MD5 and SHA-1 are not accepted: two files can be made to have the same; give SHA-256 or BLAKE3")
	ErrMalformed = errors.New("not a digest in hex, with or without a file name")
	ErrEmpty     = errors.New("the list has no digest in it")
)

// LineError says where a list is wrong.
type LineError struct {
	Name string
	Line int
	Err  error
}

// Error returns file:line and the reason.
func (e *LineError) Error() string { return fmt.Sprintf("%q:%d: %v", e.Name, e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// maxLine bounds a line, in bytes: a digest, a few more columns and a path.
const maxLine = 64 << 10

// Search reads all of r, a list called name, and calls each for every line
// whose digest wanted knows, in the order of the list. A line that is wrong
// ends it with a LineError.
func Search(r io.Reader, name string, wanted func([Size]byte) bool, each func(Hit)) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	var f format
	n, digests := 0, 0
	for s.Scan() {
		n++
		line := bytes.TrimSuffix(s.Bytes(), []byte("\r"))
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // as Windows writes it
		}
		d, algorithm, ok, err := f.line(line)
		if err != nil {
			return &LineError{name, n, err}
		}
		if !ok {
			continue
		}
		digests++
		if wanted(d) {
			each(Hit{d, algorithm, n})
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return &LineError{name, n + 1, fmt.Errorf("longer than %d bytes", maxLine)}
		}
		return fmt.Errorf("read list %q: %w", name, err)
	}
	if digests == 0 && !f.headed() {
		return &LineError{name, max(n, 1), ErrEmpty}
	}
	return nil
}

// format is what the lines so far say of the list.
type format struct {
	kind    kind
	columns int // of hashdeep
	at      int // the column of SHA-256
}

type kind uint8

const (
	unknown kind = iota
	plain
	hashdeep // its first line was read
	columns  // of hashdeep: and the second
	csv      // its header was read
)

func (f *format) headed() bool { return f.kind == columns || f.kind == csv }

// line reads one line; ok is false where it holds no digest and need not.
func (f *format) line(l []byte) (d [Size]byte, a Algorithm, ok bool, err error) {
	if f.kind == unknown {
		if len(bytes.TrimSpace(l)) == 0 {
			return d, "", false, nil
		}
		if is, err := f.head(l); is || err != nil {
			return d, "", false, err
		}
	}
	switch f.kind {
	case hashdeep:
		return d, "", false, f.hashdeepColumns(l)
	case columns:
		if len(l) == 0 || bytes.HasPrefix(l, []byte("#")) {
			return d, "", false, nil
		}
		parts := bytes.SplitN(l, []byte(","), f.columns)
		if len(parts) != f.columns {
			return d, "", false, ErrMalformed
		}
		d, err = parse(parts[f.at])
		return d, SHA256, err == nil, err
	case csv:
		if len(l) == 0 {
			return d, "", false, nil
		}
		v, found := column(l, f.at)
		if !found {
			return d, "", false, ErrMalformed
		}
		d, err = parse(v)
		return d, SHA256, err == nil, err
	}
	return plainLine(l)
}

// head looks whether l is the header of a list that has one.
func (f *format) head(l []byte) (is bool, err error) {
	if bytes.HasPrefix(l, []byte("%%%% HASHDEEP-")) {
		f.kind = hashdeep
		return true, nil
	}
	names := header(l)
	if len(names) < 2 {
		f.kind = plain
		return false, nil
	}
	f.kind = csv
	f.at, err = strong(names)
	return true, err
}

// header splits a line into the names of columns, nil if that is not what it
// holds.
func header(l []byte) (names []string) {
	known := false
	for i := 0; ; i++ {
		v, ok := column(l, i)
		if !ok {
			break
		}
		n := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(string(v)), "-", ""))
		switch n {
		case "md5", "sha1", "sha256", "crc32":
			known = true
		}
		if names = append(names, n); len(names) > 64 {
			return nil
		}
	}
	if !known {
		return nil
	}
	return names
}

// strong returns the place of the SHA-256 among names of columns.
func strong(names []string) (int, error) {
	for i, n := range names {
		if n == "sha256" {
			return i, nil
		}
	}
	return 0, fmt.Errorf("it has no column of SHA-256, only %s: %w", strings.Join(names, ", "), ErrWeak)
}

// hashdeepColumns reads "%%%% size,md5,sha256,filename".
func (f *format) hashdeepColumns(l []byte) (err error) {
	rest, ok := bytes.CutPrefix(l, []byte("%%%% "))
	if !ok {
		return errors.New("want the line of hashdeep that names the columns")
	}
	names := strings.Split(string(rest), ",")
	f.kind, f.columns = columns, len(names)
	f.at, err = strong(names)
	return err
}

// column returns column i of a CSV line (RFC 4180): a field may stand in
// double quotes, doubled inside. What stands behind it is not looked at.
func column(l []byte, i int) (v []byte, ok bool) {
	for {
		quoted := len(l) > 0 && l[0] == '"'
		end := bytes.IndexByte(l, ',')
		if quoted {
			end = closing(l)
			if end < 0 {
				return nil, false
			}
			v, l = l[1:end], l[end+1:]
			if len(l) > 0 && l[0] != ',' {
				return nil, false
			}
			end = bytes.IndexByte(l, ',')
		} else if end < 0 {
			v = l
		} else {
			v = l[:end]
		}
		if i == 0 {
			return v, true
		}
		if end < 0 {
			return nil, false
		}
		l = l[end+1:]
		i--
	}
}

// closing returns where the quote at the start of l ends, -1 if nowhere.
func closing(l []byte) int {
	for i := 1; i < len(l); i++ {
		if l[i] != '"' {
			continue
		}
		if i+1 < len(l) && l[i+1] == '"' {
			i++
			continue
		}
		return i
	}
	return -1
}

// plainLine reads "digest", "digest  name", "digest *name", each with sha256:
// or blake3: before it, and "SHA256 (name) = digest". A backslash at the start
// says that the name is escaped, as sha256sum and b3sum write it.
func plainLine(l []byte) (d [Size]byte, a Algorithm, ok bool, err error) {
	l = bytes.TrimSpace(l)
	if len(l) == 0 || l[0] == '#' {
		return d, "", false, nil
	}
	l = bytes.TrimPrefix(l, []byte(`\`))
	for tag, alg := range map[string]Algorithm{"SHA256 (": SHA256, "BLAKE3 (": BLAKE3, "MD5 (": "", "SHA1 (": ""} {
		if bytes.HasPrefix(l, []byte(tag)) {
			if alg == "" {
				return d, "", false, ErrWeak
			}
			i := bytes.LastIndex(l, []byte(") = "))
			if i < 0 {
				return d, "", false, ErrMalformed
			}
			d, err = parse(l[i+4:])
			return d, alg, err == nil, err
		}
	}
	for _, alg := range []Algorithm{SHA256, BLAKE3} {
		if rest, cut := bytes.CutPrefix(l, []byte(alg+":")); cut {
			l, a = rest, alg
			break
		}
	}
	word := l
	if i := bytes.IndexAny(l, " \t"); i >= 0 {
		word = l[:i]
	}
	d, err = parse(word)
	return d, a, err == nil, err
}

// parse reads a digest in hex, upper or lower case.
func parse(b []byte) (d [Size]byte, err error) {
	b = bytes.TrimSpace(b)
	switch len(b) {
	case hex.EncodedLen(Size):
		if _, err := hex.Decode(d[:], b); err == nil {
			return d, nil
		}
	case 32, 40:
		var weak [20]byte
		if _, err := hex.Decode(weak[:], b); err == nil {
			return d, ErrWeak
		}
	}
	return d, ErrMalformed
}
