package seal

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"intact/scanner/strict"
)

// MaxSigners bounds the text of a file of signers, in bytes.
const MaxSigners = 1 << 20

// maxSignerErrors bounds what one file can print.
const maxSignerErrors = 100

// Signers is who may sign what: a file in the form of OpenSSH's
// allowed_signers, and the keys that are revoked. It is safe for concurrent
// use once the last call of Revoke has returned.
type Signers struct {
	lines   []signerLine
	revoked []*Revoked
}

// signerLine is one line of a file of signers.
type signerLine struct {
	no         int      // from 1
	principals []string // patterns, some with "!" before them
	key        Key      // zero for a type that is not accepted: it never matches
	ca         bool     // the key signs certificates, not messages
	namespaces []string // patterns; nil: all
	after      int64    // seconds since 1970, 0: from ever
	before     int64    // seconds since 1970, the last that is valid; 0: for ever
}

// ParseSigners reads the text of a file in the form of OpenSSH's
// allowed_signers (ssh-keygen(1), ALLOWED SIGNERS). A line is
//
//	principals [options] keytype base64 [comment]
//
// principals are patterns with "*" and "?", separated by commas; one with "!"
// before it excludes what the others allow. A field in double quotes may hold
// blanks. The options, separated by commas:
//
//	cert-authority            the key signs certificates of those who sign
//	namespaces="patterns"     what they may sign; without it, everything
//	valid-after="time"        YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, local
//	valid-before="time"       time unless Z or UTC stands behind it
//
// Values must stand in quotes. Blank lines, lines that begin with "#", and
// CRLF are passed over. A key of a type that is not accepted here, as RSA, is
// no error, since such files serve other programs too, but it never matches.
//
// The error is a strict.Errors with everything that is wrong; name is what it
// calls the file. It is stricter than ssh-keygen in this: a certificate is no
// signer (its authority is), no pattern may be empty, and quotes stand around
// all of the principals.
func ParseSigners(name string, data []byte) (*Signers, error) {
	p := signersParser{name: name}
	if len(data) > MaxSigners {
		p.fail(1, 1, "longer than %d bytes", MaxSigners)
		return nil, p.errs
	}
	out := &Signers{}
	no := 0
	for text := range bytes.Lines(data) {
		no++
		text, _ = bytes.CutSuffix(text, []byte("\n"))
		text, _ = bytes.CutSuffix(text, []byte("\r"))
		l := &lineParser{file: &p, no: no, text: string(text)}
		if line, ok := l.line(); ok {
			out.lines = append(out.lines, line)
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return out, nil
}

// Principals returns the patterns, as they are written, of who may sign in
// namespace, each once, in the order of the file; nil if no line allows it.
// Those that exclude have their "!". What is revoked or out of its time is
// among them, and so are keys of a type that is not accepted: who had a signer
// keeps having one.
func (s *Signers) Principals(namespace string) []string {
	var out []string
	for _, l := range s.lines {
		if !l.allows(namespace) || !l.allowsAnyone() {
			continue
		}
		for _, p := range l.principals {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// Revoke adds keys and certificates that are not trusted any more, whatever
// the time of a signature.
func (s *Signers) Revoke(r *Revoked) {
	if r != nil {
		s.revoked = append(s.revoked, r)
	}
}

func (l *signerLine) allows(namespace string) bool {
	return l.namespaces == nil || matchList(l.namespaces, namespace)
}

// allowsAnyone reports whether not all patterns exclude.
func (l *signerLine) allowsAnyone() bool {
	return slices.ContainsFunc(l.principals, func(p string) bool { return !strings.HasPrefix(p, "!") })
}

// signersParser collects the errors of a file.
type signersParser struct {
	name string
	errs strict.Errors
	more int
}

func (p *signersParser) fail(line, col int, format string, args ...any) {
	if len(p.errs) >= maxSignerErrors {
		p.more++
		return
	}
	p.errs = append(p.errs, strict.Error{File: p.name, Line: line, Col: col, Msg: fmt.Sprintf(format, args...)})
}

// err returns all errors as a strict.Errors, or nil.
func (p *signersParser) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	if p.more > 0 {
		last := p.errs[len(p.errs)-1]
		last.Msg = fmt.Sprintf("%d more errors not shown", p.more)
		p.errs, p.more = append(p.errs, last), 0
	}
	return p.errs
}

// lineParser reads one line. Its methods leave pos behind what they took.
type lineParser struct {
	file *signersParser
	no   int
	text string
	pos  int
	bad  bool
}

func (l *lineParser) fail(at int, format string, args ...any) {
	l.bad = true
	l.file.fail(l.no, utf8.RuneCountInString(l.text[:at])+1, format, args...)
}

func (l *lineParser) skipBlanks() {
	for l.pos < len(l.text) && isBlank(l.text[l.pos]) {
		l.pos++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// word takes what stands before the next blank.
func (l *lineParser) word() string {
	w := l.peek()
	l.pos += len(w)
	return w
}

// peek returns the next word without taking it.
func (l *lineParser) peek() string { return l.text[l.pos:l.untilAny(" \t")] }

// line reads all of it; false where it holds no signer.
func (l *lineParser) line() (out signerLine, ok bool) {
	for i := range len(l.text) {
		if c := l.text[i]; c < ' ' && c != '\t' || c == 0x7f {
			l.fail(i, "control character %#02x", c)
			return out, false
		}
	}
	l.skipBlanks()
	if l.pos == len(l.text) || l.text[l.pos] == '#' {
		return out, false
	}
	out.no = l.no
	if out.principals, ok = l.principals(); !ok {
		return out, false
	}
	l.skipBlanks()
	if isKeyType(l.peek()) {
		l.key(&out)
		return out, !l.bad
	}
	before := l.bad
	l.bad = false
	l.options(&out)
	l.skipBlanks()
	// Behind broken options anything may stand.
	if !l.bad || isKeyType(l.peek()) {
		l.key(&out)
	}
	return out, !l.bad && !before
}

// isKeyType reports whether a word is the type of a key or certificate.
func isKeyType(w string) bool { return accepted(w) || acceptedCert(w) || refused(w) }

// principals takes the first field; false if it is not clear where that ends.
func (l *lineParser) principals() (list []string, ok bool) {
	start, field := l.pos, ""
	if l.text[l.pos] == '"' {
		end := strings.IndexByte(l.text[l.pos+1:], '"')
		if end < 0 {
			l.fail(start, "a quote that is not closed")
			return nil, false
		}
		field = l.text[l.pos+1 : l.pos+1+end]
		l.pos += end + 2
		start++
		if l.pos < len(l.text) && !isBlank(l.text[l.pos]) {
			l.fail(l.pos, "want a blank behind the quoted principals")
			return nil, false
		}
	} else if field = l.word(); strings.Contains(field, `"`) {
		l.fail(start+strings.IndexByte(field, '"'), "a quote inside of the principals")
	}
	return l.patterns(start, field), true
}

// patterns splits a list of patterns that begins at the byte at.
func (l *lineParser) patterns(at int, list string) []string {
	out := strings.Split(list, ",")
	for _, p := range out {
		if strings.TrimPrefix(p, "!") == "" {
			l.fail(min(at, len(l.text)), "an empty pattern")
		}
		at += len(p) + 1
	}
	return out
}

// key takes the type and the base64; the rest of the line is a comment.
func (l *lineParser) key(out *signerLine) {
	start := l.pos
	t := l.word()
	if t == "" {
		l.fail(start, "no key")
		return
	}
	if !isKeyType(t) {
		l.fail(start, "%+q is not a type of keys", t)
		return
	}
	l.skipBlanks()
	at := l.pos
	blob, err := keyBlob(t, l.word())
	if err != nil {
		l.fail(at, "%v", err)
		return
	}
	if refused(t) {
		return
	}
	k, err := parseKey(blob)
	switch {
	case err != nil:
		l.fail(at, "%v", err)
	case k.Cert != nil:
		l.fail(start, "a certificate is no signer: give the key of its authority, with cert-authority")
	default:
		out.key = k
	}
}
