package statement

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"intact/scanner/digest"
)

// Parse reads the text of a statement and verifies its digest. It accepts
// exactly what Text writes; errors wrap ErrMalformed or ErrDigest and name the
// line.
func Parse(text []byte) (*Statement, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxSize)
	}
	if bytes.HasPrefix(text, []byte("format: "+firstFormat+"\n")) {
		return nil, ErrFormat
	}
	p := parser{rest: string(text)}
	s := &Statement{}
	p.want("format", Format)
	s.HostID = p.hostID()
	s.HostName = p.quoted("host-name")
	s.Generation = uint64(p.number("generation", 1))
	s.Previous = p.digest("previous")
	s.Restart = p.yesNo("restart")
	s.Created = p.time("created")
	s.File = p.digest("file")
	s.FileSize = p.number("file-size", 0)
	s.Root = p.digest("root")
	s.Policy = p.digest("policy")
	s.Directories = p.number("directories", 0)
	s.Entries = p.number("entries", 0)
	s.ToolVersion = p.quoted("tool-version")
	s.ToolDigest = p.digest("tool-digest")
	s.Report = p.quoted("report")
	s.Approver = p.quoted("approver")
	s.Authority = p.authority()
	s.Signer = p.quoted("signer")
	if strings.HasPrefix(p.rest, delegation+": ") {
		s.Delegation = p.digest(delegation)
	}
	s.Reason = p.quoted("reason")
	s.Pruned = p.numbers("pruned")
	body := text[:len(text)-len(p.rest)]
	sum := p.digest("digest")
	switch {
	case p.err != nil:
		return nil, p.err
	case p.rest != "":
		return nil, fmt.Errorf("%w: line %d: text behind the digest", ErrMalformed, p.line+1)
	case digest.Sum(body) != sum:
		return nil, ErrDigest
	case !bytes.Equal(s.Text(), text):
		return nil, fmt.Errorf("%w: not in its one spelling", ErrMalformed)
	}
	return s, nil
}

// parser takes one line after the other; the first error sticks.
type parser struct {
	rest string
	line int
	err  error
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: line %d: %s", ErrMalformed, p.line, what)
	}
}

// value takes the line of key and returns what stands behind it.
func (p *parser) value(key string) string {
	if p.err != nil {
		return ""
	}
	p.line++
	l, rest, ok := strings.Cut(p.rest, "\n")
	v, found := strings.CutPrefix(l, key+": ")
	if !ok || !found {
		p.fail("want " + key)
		return ""
	}
	p.rest = rest
	return v
}

func (p *parser) want(key, value string) {
	if v := p.value(key); v != value {
		p.fail(fmt.Sprintf("%s is %q, want %q", key, v, value))
	}
}

func (p *parser) hostID() string {
	v := p.value("host-id")
	if !ValidHostID(v) {
		p.fail("host-id is not 32 lower-case hex digits")
	}
	return v
}

// ValidHostID reports whether v is 32 lower-case hex digits.
func ValidHostID(v string) bool {
	return len(v) == 32 && strings.Trim(v, "0123456789abcdef") == ""
}

func (p *parser) quoted(key string) string {
	v := p.value(key)
	s, err := strconv.Unquote(v)
	if err != nil || len(s) > MaxText {
		p.fail(key + " is not a quoted text")
	}
	return s
}

func (p *parser) authority() Authority {
	a := Authority(p.value("authority"))
	if a != None && a != Host && a != Operator {
		p.fail("authority is not none, host or operator")
	}
	return a
}

func (p *parser) yesNo(key string) bool {
	v := p.value(key)
	if v != "yes" && v != "no" {
		p.fail(key + " is not yes or no")
	}
	return v == "yes"
}

func (p *parser) number(key string, least int64) int64 {
	n, err := strconv.ParseInt(p.value(key), 10, 64)
	if err != nil || n < least {
		p.fail(key + " is not a number")
	}
	return n
}

func (p *parser) numbers(key string) []uint64 {
	v := p.value(key)
	if v == "none" {
		return nil
	}
	var out []uint64
	for f := range strings.SplitSeq(v, " ") {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil || len(out) > 0 && out[len(out)-1] >= n {
			p.fail(key + " is not an ascending list of numbers")
			return nil
		}
		out = append(out, n)
	}
	return out
}

func (p *parser) digest(key string) (d digest.Digest) {
	v := p.value(key)
	if v == "none" {
		return d
	}
	d, err := digest.Parse(v)
	if err != nil || !strings.HasPrefix(v, "blake3:") {
		p.fail(key + " is not a digest")
	}
	return d
}

func (p *parser) time(key string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, p.value(key))
	if err != nil {
		p.fail(key + " is not a time")
	}
	return t.UTC()
}
