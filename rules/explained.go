package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Explanation attributes a change to something known: a package, a manifest.
type Explanation struct {
	Source string // what brought it, for people: a package and its version, a label; any bytes
	Level  string
	Kind   string // which kind of source, one word; "" where it was not said
	ID     string // what vouches, as "sha256:…" of a manifest; "" where nothing has a name
	By     string // who signed that; "" where nobody did
	When   string // it came, RFC 3339; "" where it was not said
}

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

// Append appends x to dst as it is kept beside the change that it explains: the
// fields in order, each behind its length as a canonical uvarint. When is left
// out where it was not said, as it always was once.
func (x *Explanation) Append(dst []byte) []byte {
	fields := []string{x.Source, x.Level, x.Kind, x.ID, x.By, x.When}
	if x.When == "" {
		fields = fields[:5]
	}
	for _, s := range fields {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
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
	for i, s := range [...]*string{&x.Source, &x.Level, &x.Kind, &x.ID, &x.By, &x.When} {
		if i == 5 && len(b) == 0 {
			break
		}
		n, w := binary.Uvarint(b)
		if w <= 0 || w > 1 && b[w-1] == 0 || n > uint64(len(b)-w) {
			return nil, bad
		}
		if i == 5 && n == 0 {
			return nil, bad
		}
		*s, b = string(b[w:w+int(n)]), b[w+int(n):]
	}
	if len(b) > 0 || x.Level != Signed && x.Level != Attributed && x.Level != Local {
		return nil, bad
	}
	return x, nil
}
