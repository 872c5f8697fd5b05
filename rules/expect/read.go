package expect

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"sort"
	"strconv"
	"strings"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// ErrFormat is wrapped by every error of Parse.
var ErrFormat = errors.New("not a manifest in its one spelling")

// Manifest is one that was read. It keeps the text that it was read from, and
// four bytes a line besides; who has a Manifest must not change the text.
type Manifest struct {
	Header
	text   []byte
	starts []uint32 // of the lines about paths
}

// Parse reads a whole manifest; errors name file and line.
func Parse(file string, text []byte) (*Manifest, error) {
	m := &Manifest{text: text}
	no := 0
	fail := func(format string, args ...any) (*Manifest, error) {
		return nil, fmt.Errorf("%s:%d: %w: %s", file, no, ErrFormat, fmt.Sprintf(format, args...))
	}
	if len(text) > MaxSize {
		return fail("%d bytes, %d at most", len(text), MaxSize)
	}
	if err := m.header(); err != nil {
		no = 1
		return fail("%v", err)
	}
	at := len(m.Header.append(nil))
	no = bytes.Count(text[:at], []byte{'\n'})
	var last, key, again []byte
	for at < len(text) {
		no++
		n := bytes.IndexByte(text[at:], '\n')
		if n < 0 || n > maxLine {
			return fail("a line without an end, or of more than %d bytes", maxLine)
		}
		l, err := parseLine(string(text[at : at+n]))
		if err == nil {
			err = l.check()
		}
		if err != nil {
			return fail("%v", err)
		}
		if again = l.append(again[:0]); !bytes.Equal(again, text[at:at+n+1]) {
			return fail("%.80q is not how it is written", text[at:at+n])
		}
		if key = l.Path.AppendKey(key[:0]); last != nil && bytes.Compare(last, key) >= 0 {
			return fail("%q: %v", l.Path, ErrOrder)
		}
		last, key = key, last
		m.starts = append(m.starts, uint32(at))
		at += n + 1
	}
	return m, nil
}

// Created returns the time that the text of a manifest gives itself, zero where
// it gives none or is no manifest. It serves those who have yet to verify it.
func Created(text []byte) time.Time {
	m := Manifest{text: text}
	if m.header() != nil {
		return time.Time{}
	}
	return m.Header.Created
}

// header reads what stands before the lines.
func (m *Manifest) header() error {
	rest, ok := bytes.CutPrefix(m.text, []byte(Format+"\nlabel "))
	if !ok {
		return fmt.Errorf("it does not begin with %s and a label", Format)
	}
	label, rest, ok := bytes.Cut(rest[:min(len(rest), 5*maxLabel)], []byte{'\n'})
	if ok {
		m.Label, ok = name(string(label))
	}
	if !ok {
		return errors.New("the label")
	}
	if created, found := bytes.CutPrefix(rest, []byte("created ")); found {
		line, _, _ := bytes.Cut(created, []byte{'\n'})
		var err error
		if m.Created, err = time.Parse(time.RFC3339, string(line)); err != nil || m.Created.IsZero() {
			return errors.New("the time")
		}
	}
	if err := m.Header.check(); err != nil {
		return err
	}
	if !bytes.HasPrefix(m.text, m.Header.append(nil)) {
		return errors.New("the header is not how it is written")
	}
	return nil
}

// parseLine reads a line without its newline. What is lenient here is refused
// by whoever writes it again.
func parseLine(s string) (l Line, err error) {
	f := strings.Split(s, " ")
	bad := fmt.Errorf("%.80q", s)
	path := func(s string) {
		p, ok := name(s)
		if l.Path = entry.Path(p); !ok {
			err = bad
		}
	}
	owner := func(s string) {
		u, g, ok := strings.Cut(s, ":")
		uid, err1 := strconv.ParseUint(u, 10, 32)
		gid, err2 := strconv.ParseUint(g, 10, 32)
		if l.UID, l.GID = uint32(uid), uint32(gid); !ok || err1 != nil || err2 != nil {
			err = bad
		}
	}
	mode := func(s string) {
		v, e := strconv.ParseUint(s, 8, 16)
		if l.Mode = uint16(v); e != nil {
			err = bad
		}
	}
	switch {
	case f[0] == "removed" && len(f) == 2:
		l.Removed = true
		path(f[1])
	case f[0] == "dir" && len(f) == 4:
		l.Kind = entry.Dir
		mode(f[1])
		owner(f[2])
		path(f[3])
	case f[0] == "file" && len(f) == 7:
		l.Kind = entry.File
		mode(f[1])
		owner(f[2])
		path(f[6])
		if l.content(f[3], f[4], f[5]) != nil {
			err = bad
		}
	case f[0] == "link" && len(f) == 4:
		l.Kind = entry.Symlink
		owner(f[1])
		path(f[2])
		to, ok := name(f[3])
		if l.Target = []byte(to); !ok {
			err = bad
		}
	default:
		err = bad
	}
	return l, err
}

func (l *Line) content(size, sha, blake string) (err error) {
	if l.Size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return err
	}
	b, err := hex.DecodeString(sha)
	if err != nil || copy(l.SHA256[:], b) != len(l.SHA256) || len(b) != len(l.SHA256) {
		return ErrFormat
	}
	if blake == "-" {
		return nil
	}
	l.Known = true
	l.BLAKE3, err = digest.Parse(blake)
	return err
}

// Len is the number of paths that the manifest speaks of.
func (m *Manifest) Len() int { return len(m.starts) }

// line reads the i-th line, which Parse has read before.
func (m *Manifest) line(i int) Line {
	at := int(m.starts[i])
	l, _ := parseLine(string(m.text[at : at+bytes.IndexByte(m.text[at:], '\n')])) // Parse saw to it
	return l
}

// Lines yields all lines in order.
func (m *Manifest) Lines() iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for i := range m.starts {
			if !yield(m.line(i)) {
				return
			}
		}
	}
}

// Lookup returns what the manifest says of p.
func (m *Manifest) Lookup(p entry.Path) (l Line, ok bool) {
	key := p.Key()
	i := sort.Search(len(m.starts), func(i int) bool { l := m.line(i); return bytes.Compare(l.Path.Key(), key) >= 0 })
	if i == len(m.starts) {
		return l, false
	}
	l = m.line(i)
	return l, l.Path == p
}
