package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Explanation attributes a change to something known: a package, a manifest.
type Explanation struct {
	Source string // what brought it, for people: a package and its version, a label; any bytes
	Level  string
	Kind   string // which kind of source, one word; "" where it was not said
	ID     string // what vouches, as "sha256:…" of a manifest; "" where nothing has a name
	By     string // who signed that; "" where nobody did
	When   string // it came, RFC 3339; "" where it was not said

	Key      string // fingerprints of the pinned keys that signed, with blanks between; "" where it was not said
	Verified string // RFC 3339: when this host verified what nothing here shows any more; "" where nothing is missing
	Claim    string // HostClaimed where Verified is set
}

// HostClaimed is the Claim of what was verified on this host once and cannot be
// verified again from what is here: who was root then can have made it up.
const HostClaimed = "host-claimed"

// Levels of an Explanation, the strongest first.
const (
	Signed     = "signed"     // the source's own signature vouches for exactly these values
	Attributed = "attributed" // the source is known, and not all of the values are vouched for
	Local      = "local"      // only records on the host itself say so: root can write them
)

// Rank orders levels: 0 for no explanation, more for a stronger one.
func (x *Explanation) Rank() int {
	if x == nil {
		return 0
	}
	switch x.Level {
	case Signed:
		return 3
	case Attributed:
		return 2
	}
	return 1
}

// Explain puts x, which may be nil, beside the finding. What a signature
// vouches for becomes info, with its severity kept in RawSeverity; everything
// weaker lowers nothing.
func (f *Finding) Explain(x *Explanation) {
	if f.Explained = x; x.Rank() == (&Explanation{Level: Signed}).Rank() {
		f.Severity = Info
	}
}

// ErrExplanation is wrapped by every error of DecodeExplanation.
var ErrExplanation = errors.New("malformed explanation")

// maxExplanation bounds an encoded explanation, in bytes.
const maxExplanation = 64 << 10

// oldFields is how many fields an encoded explanation has at least.
const oldFields = 5

// fields are those of x in the order in which they are encoded.
func (x *Explanation) fields() [9]*string {
	return [...]*string{&x.Source, &x.Level, &x.Kind, &x.ID, &x.By, &x.When, &x.Key, &x.Verified, &x.Claim}
}

// Clone returns a copy that shares no bytes with x.
func (x Explanation) Clone() Explanation {
	for _, s := range x.fields() {
		*s = strings.Clone(*s)
	}
	return x
}

// Append appends x to dst as it is kept beside the change that it explains: the
// fields in order, each behind its length as a canonical uvarint. Behind By those
// at the end that are empty are left out.
func (x *Explanation) Append(dst []byte) []byte {
	fields := x.fields()
	n := len(fields)
	for n > oldFields && *fields[n-1] == "" {
		n--
	}
	for _, s := range fields[:n] {
		dst = binary.AppendUvarint(dst, uint64(len(*s)))
		dst = append(dst, *s...)
	}
	return dst
}

// DecodeExplanation reads what Append wrote; b must hold nothing else.
func DecodeExplanation(b []byte) (*Explanation, error) {
	size := len(b)
	bad := fmt.Errorf("%w: %d bytes", ErrExplanation, size)
	if size > maxExplanation {
		return nil, bad
	}
	x := &Explanation{}
	for i, s := range x.fields() {
		if i >= oldFields && len(b) == 0 {
			break
		}
		n, w := binary.Uvarint(b)
		if w <= 0 || w > 1 && b[w-1] == 0 || n > uint64(len(b)-w) {
			return nil, bad
		}
		if i >= oldFields && n == 0 && len(b) == w {
			return nil, bad // it would have been left out
		}
		*s, b = string(b[w:w+int(n)]), b[w+int(n):]
	}
	if len(b) > 0 || x.Level != Signed && x.Level != Attributed && x.Level != Local {
		return nil, bad
	}
	return x, nil
}
