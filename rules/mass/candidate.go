package mass

import (
	"intact/baseline/diff"
	"intact/scanner/entry"
)

// Role is what a change can mean for a mass encryption.
type Role uint8

// The roles. One file lost is one of the first, or one gone and one new in the
// same directory.
const (
	Lost Role = iota // the same name, or another name of the same object, with other content
	Gone             // a file that promised something is not there any more, or empty
	New              // a file that was not there before
)

// Candidate is a change that counts, a lost or new one if its content is
// encrypted.
type Candidate struct {
	Role Role
	Of   entry.Path // whom it is about: the path in the baseline, of a new file its own
	At   entry.Path // what to read; "" where nothing is to be read
	Kind Kind       // of what was there; of a new file what the name beneath its own promises

	seen *entry.Entry // at At
}

// CandidateOf tells what a change can mean; false: nothing. Of the old content only
// the name, the mode and the size are known: that bytes are random now says that
// entropy rose only where the name promised something else.
func CandidateOf(c *diff.Change) (Candidate, bool) {
	old, now := plain(c.Old), plain(c.New)
	switch {
	case c.Kind == diff.Removed && old != nil:
		k := Promise(c.Path, old.Mode)
		return Candidate{Role: Gone, Of: c.Path, Kind: k}, k.Label != "" && old.Size >= MinBytes
	case c.Kind == diff.Added && now != nil:
		if noMagic[extension(c.Path.Base())] || !readable(now) {
			return Candidate{}, false
		}
		return Candidate{Role: New, Of: c.Path, At: c.Path, Kind: beneath(c.Path), seen: now}, true
	case (c.Kind == diff.Changed || c.Kind == diff.Renamed) && c.Attrs&entry.Content != 0 && old != nil && now != nil:
		of := c.Path
		if c.Kind == diff.Renamed {
			of = c.From
		}
		k := Promise(of, old.Mode)
		switch {
		case k.Label == "":
			return Candidate{}, false
		case now.Size < MinBytes:
			return Candidate{Role: Gone, Of: of, Kind: k}, now.Size == 0 && old.Size >= MinBytes
		}
		return Candidate{Role: Lost, Of: of, At: c.Path, Kind: k, seen: now}, readable(now)
	}
	return Candidate{}, false
}

// plain is e if it is a regular file.
func plain(e *entry.Entry) *entry.Entry {
	if e == nil || e.Kind != entry.File {
		return nil
	}
	return e
}

// readable reports whether the policy has the content of e read, and whether it is
// long enough to be judged.
func readable(e *entry.Entry) bool { return e.Have&entry.Content != 0 && e.Size >= MinBytes }

// Encrypted reports whether what is at At holds random bytes where it should not:
// a text anywhere, another file in its beginning, if that is of no known format. A
// new file that is packed is none either, whatever the name beneath its own
// promises. It reads into buf, of BufferSize; read fills b from off, and one that fails
// ends the judgement. Where
// a long text is read the digest of its content decides: the same content gives
// the same answer, and no pattern is missed in all files.
func (c *Candidate) Encrypted(buf []byte, read func(b []byte, off int64) error) (bool, error) {
	return encrypted(buf, c.Kind, c.Role == New || !c.Kind.Text, c.seen.Size, c.seen.Digest, read)
}
