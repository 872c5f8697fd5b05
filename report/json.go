package report

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrFormat is wrapped by every error about bytes that are not a report.
var ErrFormat = errors.New("not a canonical " + Format + " record")

// timeLayout has a fixed width: nine digits, always UTC.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// coder writes or reads the one spelling of a record. A record describes its
// fields once, in order, for both directions; so whatever is read was written
// in exactly the form that writing it again would give.
//
// What is read are parts of the line: a record costs one string.
type coder struct {
	b       []byte // writing: what was written
	in      string // reading: what is left
	reading bool
	inner   bool      // a field or element went before: a comma comes next
	last    *lastTime // nil: times are not remembered
	err     error
}

// lastTime is a time and its spelling. Findings that were first seen by the
// same run follow each other.
type lastTime struct {
	t    time.Time
	text string
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
		if c.reading {
			c.in = ""
		}
	}
}

// lit writes s, or demands it.
func (c *coder) lit(s string) {
	if !c.reading {
		c.b = append(c.b, s...)
		return
	}
	if c.err == nil && !c.skip(s) {
		c.fail("want %s, have %.40q", s, c.in)
	}
}

// skip consumes s if it is next; reading only.
func (c *coder) skip(s string) bool {
	if !strings.HasPrefix(c.in, s) {
		return false
	}
	c.in = c.in[len(s):]
	return true
}

func (c *coder) comma() {
	if c.inner {
		c.lit(",")
	}
	c.inner = true
}

func (c *coder) key(name string) { c.keyed(name, "") }

// keyed is key for a name in two parts: most of the time of a report goes into
// its keys, and joining them would double it.
func (c *coder) keyed(name, tail string) {
	c.comma()
	if !c.reading {
		c.b = append(append(append(append(c.b, '"'), name...), tail...), `":`...)
		return
	}
	n := keyLen(c.in, name, tail)
	if n == 0 {
		c.fail("want %s%s, have %.40q", name, tail, c.in)
		return
	}
	c.in = c.in[n:]
}

// keyLen returns the length of the key at the start of b, 0 if it is not that.
func keyLen(b, name, tail string) int {
	n := 1 + len(name)
	end := n + len(tail) + 2
	if len(b) < end || b[0] != '"' || b[1:n] != name || b[n:end-2] != tail || b[end-2] != '"' || b[end-1] != ':' {
		return 0
	}
	return end
}

// has reports whether an optional field is there: when writing if want is
// set, when reading if its key is next.
func (c *coder) has(name string, want bool) bool { return c.hasTail(name, "", want) }

func (c *coder) hasTail(name, tail string, want bool) bool {
	if !c.reading {
		return want
	}
	b := c.in
	if c.inner {
		if len(b) == 0 || b[0] != ',' {
			return false
		}
		b = b[1:]
	}
	return keyLen(b, name, tail) > 0
}

func (c *coder) open()  { c.lit("{"); c.inner = false }
func (c *coder) close() { c.lit("}"); c.inner = true }

func (c *coder) object(name string, fields func()) {
	c.key(name)
	c.open()
	fields()
	c.close()
}

// null writes null if want is not set and reports whether a value follows.
func (c *coder) null(want bool) bool {
	if c.reading {
		return !c.skip("null") && c.err == nil
	}
	if !want {
		c.lit("null")
	}
	return want
}

func (c *coder) string(s *string) {
	if c.reading {
		*s = c.unquote()
		return
	}
	c.b = appendQuoted(c.b, *s)
}

// text is a field that holds any bytes.
func (c *coder) text(name string, s *string) {
	c.key(name)
	c.value(name, s)
}

func (c *coder) value(name string, s *string) {
	raw := !c.reading && !utf8.ValidString(*s)
	shown := *s
	if raw {
		shown = escape(*s, true)
	}
	c.string(&shown)
	if !c.hasTail(name, "_b64", raw) {
		if c.reading {
			*s = shown
		}
		return
	}
	c.keyed(name, "_b64")
	c.base64(s)
	if c.reading && (utf8.ValidString(*s) || escape(*s, true) != shown) {
		c.fail("%s_b64 does not belong to %s", name, name)
	}
}

func (c *coder) base64(s *string) {
	if !c.reading {
		c.b = append(c.b, '"')
		c.b = base64.StdEncoding.AppendEncode(c.b, []byte(*s))
		c.b = append(c.b, '"')
		return
	}
	d, err := base64.StdEncoding.Strict().DecodeString(c.unquote())
	if err != nil {
		c.fail("base64: %v", err)
	}
	*s = string(d)
}

// optional is a text that is left out where it is empty.
func (c *coder) optional(name string, s *string) {
	if c.has(name, *s != "") {
		c.text(name, s)
		c.demand(*s != "", name)
	}
}

// nullable is a text that is null where it is empty.
func (c *coder) nullable(name string, s *string) {
	c.key(name)
	if c.null(*s != "") {
		c.value(name, s)
		c.demand(*s != "", name)
	}
}

func (c *coder) demand(ok bool, name string) {
	if c.reading && !ok {
		c.fail("empty %s", name)
	}
}

// texts is a list of texts, left out where it is empty unless always is set.
// If one of them is not UTF-8, all come again in base64.
func (c *coder) texts(name string, list *[]string, always bool) {
	if !c.has(name, len(*list) > 0 || always) {
		if always {
			c.key(name) // fails
		}
		return
	}
	raw := false
	shown := *list
	if !c.reading {
		for _, s := range *list {
			raw = raw || !utf8.ValidString(s)
		}
		if raw {
			shown = make([]string, len(*list))
			for i, s := range *list {
				shown[i] = escape(s, true)
			}
		}
	}
	elements(c, name, &shown, func(s *string) { c.string(s) })
	c.demand(len(shown) > 0 || always, name)
	if c.hasTail(name, "_b64", raw) {
		bytes := *list
		if c.reading {
			bytes = nil // not in the room that shown is in
		}
		elements(c, name+"_b64", &bytes, c.base64)
		if c.reading {
			c.sameTexts(name, shown, bytes)
		}
		shown = bytes
	}
	if c.reading {
		*list = shown
	}
}

func (c *coder) sameTexts(name string, shown, bytes []string) {
	raw := len(shown) == len(bytes)
	valid := true
	for i := 0; raw && i < len(bytes); i++ {
		raw = escape(bytes[i], true) == shown[i]
		valid = valid && utf8.ValidString(bytes[i])
	}
	if !raw || valid {
		c.fail("%s_b64 does not belong to %s", name, name)
	}
}

// elements writes or reads a list. It is read behind what the list has, which
// is nothing; an empty one leaves nil as it is.
func elements[T any](c *coder, name string, list *[]T, item func(*T)) {
	c.key(name)
	c.lit("[")
	c.inner = false
	if c.reading {
		for c.err == nil && (len(c.in) == 0 || c.in[0] != ']') {
			if *list == nil {
				*list = make([]T, 0, 4)
			}
			var v T
			*list = append(*list, v)
			c.comma()
			item(&(*list)[len(*list)-1])
		}
	} else {
		for i := range *list {
			c.comma()
			item(&(*list)[i])
		}
	}
	c.lit("]")
	c.inner = true
}

func (c *coder) word(name string, s *string, allowed ...string) {
	c.key(name)
	c.string(s)
	for _, a := range allowed {
		if *s == a {
			return
		}
	}
	c.fail("%s %.40q", name, *s)
}

// number is a field that is never negative.
func (c *coder) number(name string, v *int64) {
	c.key(name)
	c.integer(v)
}

func (c *coder) integer(v *int64) {
	if !c.reading {
		if *v < 0 {
			c.fail("negative number %d", *v)
		}
		c.b = strconv.AppendInt(c.b, *v, 10)
		return
	}
	n := 0
	for n < len(c.in) && c.in[n] >= '0' && c.in[n] <= '9' {
		n++
	}
	s := c.in[:n]
	x, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > 1 && s[0] == '0' {
		c.fail("number %.40q", s)
		return
	}
	*v = x
	c.in = c.in[n:]
}

func (c *coder) unsigned(name string, v *uint64) {
	x := int64(*v)
	c.number(name, &x)
	*v = uint64(x)
}

func (c *coder) boolean(name string, v *bool) {
	c.key(name)
	if c.reading {
		if *v = c.skip("true"); !*v {
			c.lit("false")
		}
		return
	}
	c.b = strconv.AppendBool(c.b, *v)
}

// time is RFC 3339 in UTC with nine digits, null for the zero time.
func (c *coder) time(name string, t *time.Time) {
	c.key(name)
	if !c.null(!t.IsZero()) {
		return
	}
	if !c.reading {
		c.b = append(append(append(c.b, '"'), c.spell(name, *t)...), '"')
		return
	}
	s := c.unquote()
	if c.last != nil && c.last.text == s && s != "" {
		*t = c.last.t
		return
	}
	u, err := time.Parse(timeLayout, s)
	if err != nil || u.Format(timeLayout) != s || u.IsZero() {
		c.fail("%s: time %.40q", name, s)
	} else if c.last != nil {
		*c.last = lastTime{u, strings.Clone(s)}
	}
	*t = u
}

func (c *coder) spell(name string, t time.Time) string {
	if c.last != nil && c.last.t == t {
		return c.last.text
	}
	u := t.UTC()
	if u.Year() < 0 || u.Year() > 9999 {
		c.fail("%s: year %d", name, u.Year())
	}
	s := u.Format(timeLayout)
	if c.last != nil {
		*c.last = lastTime{t, s}
	}
	return s
}
