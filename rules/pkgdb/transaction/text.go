package transaction

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
)

// nameTime is how the name of a transaction begins: they sort by time.
const nameTime = "20060102T150405Z"

var (
	names     = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}$`)
	manifests = regexp.MustCompile(`^[0-9a-f]{64}-[0-9a-f]{64}$`)
)

// IsName reports whether a file of that name is a transaction.
func IsName(name string) bool { return names.MatchString(name) }

// NewName names a transaction by when it began and eight bytes that tell it from
// others.
func NewName(began time.Time, id [8]byte) string {
	return began.UTC().Format(nameTime) + "-" + hex.EncodeToString(id[:])
}

// Write writes the text of t. Nothing is written of what Parse would refuse.
func (t *Transaction) Write(w io.Writer) error {
	if err := t.check(); err != nil {
		return err
	}
	b := t.text()
	if len(b) > MaxSize {
		return fmt.Errorf("%w: over %d bytes", ErrMalformed, MaxSize)
	}
	_, err := w.Write(b)
	return err
}

func (t *Transaction) text() []byte {
	b := fmt.Appendf(nil, "%s\nbegan %s\n", Format, t.Began.UTC().Format(time.RFC3339))
	if !t.Ended.IsZero() {
		b = fmt.Appendf(b, "ended %s\n", t.Ended.UTC().Format(time.RFC3339))
	}
	b = fmt.Appendf(b, "manager %s\n", t.Manager)
	if t.Command != "" {
		b = fmt.Appendf(b, "command %+q\n", t.Command)
	}
	for _, s := range t.Unchecked {
		b = fmt.Appendf(b, "unchecked %+q\n", s)
	}
	for _, s := range t.Problems {
		b = fmt.Appendf(b, "problem %+q\n", s)
	}
	for _, p := range t.Packages {
		list, problem := "-", "-"
		if p.List != (digest.Digest{}) {
			list = p.List.String()
		}
		if p.Problem != "" {
			problem = strconv.QuoteToASCII(p.Problem)
		}
		b = fmt.Appendf(b, "package %s %s %s %s %s %s %s %s %s\n",
			p.Name, p.Arch, dash(p.Old), dash(p.New), p.Action, p.Level, dash(p.Manifest), list, problem)
	}
	return fmt.Appendf(b, "end %d\n", len(t.Packages))
}

// Parse reads the transaction that a file of that name holds.
func Parse(name string, b []byte) (*Transaction, error) {
	if !bytes.HasPrefix(b, []byte(Format+"\n")) {
		return nil, ErrFormat
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: over %d bytes", ErrMalformed, MaxSize)
	}
	t := &Transaction{Name: name}
	i := -1
	for line := range strings.SplitSeq(string(b[len(Format)+1:]), "\n") { // a file of newlines is no list of 32 million
		if i++; line == "" || strings.HasPrefix(line, "end ") {
			continue // that they stand where they should is seen below
		}
		if !t.line(line) {
			return nil, fmt.Errorf("%w: line %d", ErrMalformed, i+2)
		}
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	if !IsName(name) || !strings.HasPrefix(name, t.Began.Format(nameTime)) {
		return nil, fmt.Errorf("%w: it began %s and is called %q", ErrMalformed, t.Began.Format(time.RFC3339), name)
	}
	if !bytes.Equal(t.text(), b) {
		return nil, fmt.Errorf("%w: spelled in another way", ErrMalformed)
	}
	return t, nil
}

// line takes one line in any order. A line more than check allows is refused at
// once, to bound memory.
func (t *Transaction) line(line string) (ok bool) {
	word, v, _ := strings.Cut(line, " ")
	switch word {
	case "began":
		t.Began, ok = parseTime(v)
	case "ended":
		t.Ended, ok = parseTime(v)
	case "manager":
		t.Manager, ok = v, true
	case "command":
		t.Command, ok = unquote(v)
	case "unchecked":
		return more(&t.Unchecked, v)
	case "problem":
		return more(&t.Problems, v)
	case "package":
		if len(t.Packages) == MaxPackages {
			return false
		}
		var p Package
		p, ok = parsePackage(v)
		t.Packages = append(t.Packages, p)
	}
	return ok
}

func more(list *[]string, v string) bool {
	s, ok := unquote(v)
	*list = append(*list, s)
	return ok && len(*list) <= maxTexts
}

func unquote(v string) (string, bool) {
	s, err := strconv.Unquote(v)
	return s, err == nil
}

func parseTime(v string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, v)
	return t.UTC(), err == nil
}

func parsePackage(v string) (p Package, ok bool) {
	col := strings.SplitN(v, " ", 9)
	if len(col) < 9 {
		return p, false
	}
	p = Package{Name: col[0], Arch: col[1], Old: undash(col[2]), New: undash(col[3]), Action: Action(col[4]), Level: manifest.Level(col[5]), Manifest: undash(col[6])}
	if col[7] != "-" {
		var err error
		if p.List, err = digest.Parse(col[7]); err != nil {
			return p, false
		}
	}
	if col[8] == "-" {
		return p, true
	}
	p.Problem, ok = unquote(col[8])
	return p, ok
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func undash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// check says what a transaction cannot be.
func (t *Transaction) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	switch {
	case !whole(t.Began) || !t.Ended.IsZero() && !whole(t.Ended):
		return bad("times are whole seconds")
	case t.Manager != Apt && t.Manager != Dpkg:
		return bad("no manager %q", t.Manager)
	case len(t.Packages) > MaxPackages || len(t.Unchecked) > maxTexts || len(t.Problems) > maxTexts:
		return bad("too long")
	case len(t.Command) > maxText:
		return bad("command of %d bytes", len(t.Command))
	}
	for _, list := range [][]string{t.Unchecked, t.Problems} {
		for _, s := range list {
			if s == "" || len(s) > maxText {
				return bad("text of %d bytes", len(s))
			}
		}
	}
	for i := range t.Packages {
		if !t.Packages[i].Fits() {
			return bad("package %d: %q", i+1, t.Packages[i].Name)
		}
	}
	return nil
}

// whole reports whether t is written and read again as it is.
func whole(t time.Time) bool {
	y := t.UTC().Year()
	return t.Nanosecond() == 0 && 1970 <= y && y < 10000
}

// Fits reports whether a package can be written and makes sense.
func (p *Package) Fits() bool {
	if !isWord(p.Name) || !isWord(p.Arch) || p.Old != "" && !isWord(p.Old) || p.New != "" && !isWord(p.New) || len(p.Problem) > maxText {
		return false
	}
	if p.Manifest == "" && p.Level != manifest.None || p.Manifest != "" && !manifests.MatchString(p.Manifest) {
		return false
	}
	switch p.Level {
	case manifest.Signed, manifest.Local, manifest.None:
	default:
		return false
	}
	switch p.Action {
	case Unpack, Configure:
		return p.New != ""
	case Remove:
		return p.Old != ""
	}
	return false
}

// isWord reports whether s can stand in a column: printable ASCII without blanks,
// and not the dash that stands for nothing.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && s != "-" && len(s) <= maxWord
}
