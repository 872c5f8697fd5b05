package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"intact/rules/facts/netlink"
	"intact/scanner/digest"
)

// set is a set or a map that rules look things up in.
type set struct {
	place
	flags    uint32
	keySize  int // bytes
	dataSize int // bytes, of a map
	dataType uint32
	elements []element
	many     bool // it has more than maxElements: none is here
}

// element is one of a set. In a set of intervals end is the last key that
// belongs to it, else nil.
type element struct {
	key, end []byte
	flags    uint32
	data     []byte
	verdict  *verdict
	object   string
}

// Flags of sets and elements, nf_tables.h.
const (
	setAnonymous   = 0x1
	setInterval    = 0x4
	setMap         = 0x8
	setTimeout     = 0x10
	setEval        = 0x20
	elementEnd     = 0x1
	elementCatch   = 0x2
	maxSpelled     = 64 // elements that a rule spells one by one
	elementKeyEnd  = 10 // NFTA_SET_ELEM_KEY_END
	elementObjects = 9  // NFTA_SET_ELEM_OBJREF
)

var errSetFull = errors.New("a set with too many elements")

// dynamic reports whether a set fills and empties by itself, or by fail2ban.
func (s *set) dynamic() bool {
	return s.flags&(setTimeout|setEval) != 0 || s.flags&setAnonymous == 0 && banned(s.table, s.name)
}

func (r *ruleset) takeSet(family byte, body []byte) error {
	if len(r.sets) >= maxSets {
		return fmt.Errorf("%w: over %d sets", errMany, maxSets)
	}
	s := &set{place: place{family: family}}
	err := netlink.Attributes(body, func(k uint16, v []byte) error {
		switch k {
		case unix.NFTA_SET_TABLE:
			s.table = text(v)
		case unix.NFTA_SET_NAME:
			s.name = text(v)
		case unix.NFTA_SET_FLAGS:
			s.flags = number(v)
		case unix.NFTA_SET_KEY_LEN:
			s.keySize = int(min(number(v), 64))
		case unix.NFTA_SET_DATA_TYPE:
			s.dataType = number(v)
		case unix.NFTA_SET_DATA_LEN:
			s.dataSize = int(min(number(v), 64))
		}
		return nil
	})
	r.sets[s.place] = s
	return err
}

func (r *ruleset) takeElements(family byte, body []byte) error {
	at := place{family: family}
	var list []byte
	err := netlink.Attributes(body, func(k uint16, v []byte) error {
		switch k {
		case unix.NFTA_SET_ELEM_LIST_TABLE:
			at.table = text(v)
		case unix.NFTA_SET_ELEM_LIST_SET:
			at.name = text(v)
		case unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			list = v
		}
		return nil
	})
	s := r.sets[at]
	if err != nil || s == nil {
		return err
	}
	return netlink.Attributes(list, func(_ uint16, v []byte) error {
		if len(s.elements) >= maxElements || r.elements >= maxAll {
			return errSetFull
		}
		r.elements++
		var e element
		err := netlink.Attributes(v, func(k uint16, v []byte) error {
			switch k {
			case unix.NFTA_SET_ELEM_KEY:
				e.key, _ = value(v)
			case elementKeyEnd:
				e.end, _ = value(v)
			case unix.NFTA_SET_ELEM_DATA:
				e.data, e.verdict = value(v)
			case unix.NFTA_SET_ELEM_FLAGS:
				e.flags = number(v)
			case elementObjects:
				e.object = text(v)
			}
			return nil
		})
		s.elements = append(s.elements, e)
		return err
	})
}

// value reads NFTA_DATA_…: bytes or a verdict.
func value(b []byte) (data []byte, v *verdict) {
	netlink.Attributes(b, func(k uint16, b []byte) error {
		switch k {
		case unix.NFTA_DATA_VALUE:
			data = slices.Clone(b)
		case unix.NFTA_DATA_VERDICT:
			v = readVerdict(b)
		}
		return nil
	})
	return data, v
}

// intervals gives the elements in order, with the ends of intervals put to
// where they begin.
func (s *set) intervals() []element {
	list := slices.Clone(s.elements)
	slices.SortStableFunc(list, func(a, b element) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return int(b.flags&elementEnd) - int(a.flags&elementEnd) // one ends before the next begins
	})
	if s.flags&setInterval == 0 {
		return list
	}
	var out []element
	open := -1
	shut := func(last []byte) {
		if open >= 0 {
			out[open].end = last
		}
		open = -1
	}
	for _, e := range list {
		switch {
		case e.flags&elementCatch != 0 || e.end != nil: // with its end in it, as of concatenations
			out = append(out, e)
		case e.flags&elementEnd != 0:
			shut(before(e.key))
		default:
			shut(before(e.key)) // one that begins where another ends
			out = append(out, e)
			open = len(out) - 1
		}
	}
	if open >= 0 {
		shut(bytes.Repeat([]byte{0xff}, len(out[open].key)))
	}
	return out
}

// before is the number before one, of the same size.
func before(b []byte) []byte {
	out := slices.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]--; out[i] != 0xff {
			break
		}
	}
	return out
}

// choice is one element as a rule uses it: what the fields are to be, and what
// follows.
type choice struct {
	spans   []span // one for each field; nil takes everything
	data    []byte
	verdict *verdict
	object  string
	text    string
}

// choices reads the elements of a set by the fields that are looked up.
func (s *set) choices(fields []source) []choice {
	var out []choice
	for _, e := range s.intervals() {
		c := choice{data: e.data, verdict: e.verdict, object: e.object}
		if e.flags&elementCatch != 0 {
			c.text = "*"
		} else {
			c.spans = cut(fields, e.key, e.end)
			var words []string
			for i, sp := range c.spans {
				words = append(words, fields[i].spell(sp))
			}
			c.text = strings.Join(words, " . ")
		}
		out = append(out, c)
	}
	return out
}

// cut takes a key apart: each field of a concatenation fills whole registers.
func cut(fields []source, key, end []byte) []span {
	if end == nil {
		end = key
	}
	if len(fields) == 1 {
		return []span{{key, end}}
	}
	part := func(b []byte, at, size int) []byte { return b[min(at, len(b)):min(at+size, len(b))] }
	var out []span
	at := 0
	for _, f := range fields {
		out = append(out, span{part(key, at, f.size), part(end, at, f.size)})
		at += (f.size + 3) &^ 3
	}
	return out
}

// spell writes elements between braces; many of them as a number and a digest.
func spell(words []string) string {
	if len(words) > maxSpelled {
		return fmt.Sprintf("{ %d elements %s }", len(words), short([]byte(strings.Join(words, "\n"))))
	}
	if len(words) == 0 {
		return "{ }"
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

// short is the beginning of a digest: enough to see a change.
func short(b []byte) string { return "blake3:" + digest.Sum(b).String()[:32] }
