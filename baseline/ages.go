package baseline

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"intact/baseline/statement"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// The ages are a text beside the generations, one line each: the format, the
// host id, the number of the generation that was compared with when they were
// written and the digest of its statement, the salt, the times of the buckets
// 00 to ff, those of the directories, and the BLAKE3 of all lines before:
//
//	format: intact.ages/2
//	host-id: 32 hex digits
//	generation: 3
//	statement: blake3:…
//	salt: 64 hex digits
//	00: 2026-03-01T02:00:00.000000005Z
//	01: never
//	…
//	dirs: base64 of DirBuckets times, big-endian uint32 of Unix seconds, 0: never
//	digest: blake3:…
//
// intact.ages/1 has no line dirs.
const (
	agesFormat = "intact.ages/2"
	agesFirst  = "intact.ages/1"
	agesName   = "ages"
	agesTime   = "2006-01-02T15:04:05.000000000Z"
	agesNever  = "never"
	maxAges    = 64 << 10
)

// AgeBuckets is into how many buckets the files of a baseline fall.
const AgeBuckets = 256

// ErrAges means that the ages cannot be used: damaged, of another host or of
// another baseline. It is no reason not to check: everything is read then.
var ErrAges = errors.New("the ages of what was read cannot be used")

// Ages say when the content of files was last read. A file belongs to one of
// AgeBuckets buckets by a digest that nobody can foretell without the salt;
// what was read is known of buckets, not of files, so that the ages stay small
// and the baseline stays as it is.
type Ages struct {
	Salt [digest.Size]byte
	// Read is, for each bucket, the start of the last scan that read every
	// file of it, zero if there is none that counts.
	Read [AgeBuckets]time.Time
	dirs dirAges // see DirBucket, Verified
}

// NewAges returns ages with a salt of their own: nothing was read yet.
func NewAges() *Ages {
	a := &Ages{}
	rand.Read(a.Salt[:]) // never fails, crypto/rand
	return a
}

// Mark returns the digest of a path under the salt; its first byte is the
// number of the path's bucket.
func (a *Ages) Mark(p entry.Path) digest.Digest {
	var room [512]byte
	b := append(room[:0], a.Salt[:]...)
	return digest.Sum(append(b, p...))
}

// Span returns the least and the greatest time of all buckets. A bucket that
// was never read makes the least one zero.
func (a *Ages) Span() (oldest, newest time.Time) {
	oldest = a.Read[0]
	for _, t := range a.Read {
		if t.Before(oldest) {
			oldest = t
		}
		if t.After(newest) {
			newest = t
		}
	}
	return oldest, newest
}

// text is the one spelling of the ages.
func (a *Ages) text(host string, generation uint64, st digest.Digest) []byte {
	return a.spelled(agesFormat, host, generation, st)
}

func (a *Ages) spelled(format, host string, generation uint64, st digest.Digest) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "format: %s\nhost-id: %s\ngeneration: %d\nstatement: %s\nsalt: %x\n", format, host, generation, st.Named(), a.Salt)
	for i, t := range a.Read {
		when := agesNever
		if !t.IsZero() {
			when = t.UTC().Format(agesTime)
		}
		fmt.Fprintf(&b, "%02x: %s\n", i, when)
	}
	if format != agesFirst {
		fmt.Fprintf(&b, "dirs: %s\n", a.dirs.text())
	}
	fmt.Fprintf(&b, "digest: %s\n", digest.Sum(b.Bytes()).Named())
	return b.Bytes()
}

// parseAges reads what text wrote and nothing else. Errors wrap ErrAges.
func parseAges(text []byte) (a *Ages, host string, generation uint64, st digest.Digest, err error) {
	bad := func(why string) (*Ages, string, uint64, digest.Digest, error) {
		return nil, "", 0, digest.Digest{}, fmt.Errorf("%w: %s", ErrAges, why)
	}
	lines := strings.Split(string(text), "\n")
	format, want := agesFormat, 5+AgeBuckets+3
	if lines[0] == "format: "+agesFirst {
		format, want = agesFirst, want-1
	}
	if len(text) > maxAges || len(lines) != want {
		return bad("they are cut or no ages at all")
	}
	value := func(i int, key string) string {
		v, _ := strings.CutPrefix(lines[i], key+": ")
		return v
	}
	a, host = &Ages{}, value(1, "host-id")
	if !statement.ValidHostID(host) {
		return bad("no host id")
	}
	if _, err := fmt.Sscanf(value(2, "generation"), "%d", &generation); err != nil {
		return bad("no generation")
	}
	if st, err = digest.Parse(value(3, "statement")); err != nil {
		return bad("no statement")
	}
	salt, err := hex.DecodeString(value(4, "salt"))
	if err != nil || len(salt) != len(a.Salt) {
		return bad("no salt")
	}
	copy(a.Salt[:], salt)
	for i := range a.Read {
		v := value(5+i, fmt.Sprintf("%02x", i))
		if v == agesNever {
			continue
		}
		if a.Read[i], err = time.Parse(agesTime, v); err != nil {
			return bad(fmt.Sprintf("no time of bucket %02x", i))
		}
	}
	if format != agesFirst {
		if err := a.dirs.parse(value(5+AgeBuckets, "dirs")); err != nil {
			return bad("no times of directories")
		}
	}
	// The digest of all lines is part of that spelling.
	if !bytes.Equal(a.spelled(format, host, generation, st), text) {
		return bad("they are damaged")
	}
	return a, host, generation, st, nil
}

// Ages returns what is known of earlier reads, for a check against the
// generation of st. The error wraps fs.ErrNotExist where nothing is known yet,
// and ErrAges where what stands there must not be used; both mean that
// everything has to be read.
//
// Ages that were written with a later generation, or with one that is not in
// this baseline's chain, tell of other digests than those to compare with.
func (s *Store) Ages(st *statement.Statement) (*Ages, error) {
	b, err := readSmall(s.agesPath(), maxAges)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAges, cause(err))
	}
	a, host, generation, sum, err := parseAges(b)
	if err != nil {
		return nil, err
	}
	if host != st.HostID {
		return nil, fmt.Errorf("%w: they belong to host %s", ErrAges, host)
	}
	if generation > st.Generation {
		return nil, fmt.Errorf("%w: they are of generation %d, the baseline is at %d", ErrAges, generation, st.Generation)
	}
	of := st
	if generation < st.Generation {
		if of, err = s.readStatement(generation, host); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrAges, err) // not wrapped: absent ages are another thing
		}
	}
	if of.Digest() != sum {
		return nil, fmt.Errorf("%w: they are of another generation %d", ErrAges, generation)
	}
	return a, nil
}

// PutAges replaces the ages by a, found against the generation of st. The
// caller holds Lock. An error leaves the old ages.
func (s *Store) PutAges(a *Ages, st *statement.Statement) error {
	if err := s.writeFile(s.agesPath(), a.text(st.HostID, st.Generation, st.Digest()), 0o600); err != nil {
		return fmt.Errorf("write ages: %w", cause(err))
	}
	return nil
}

// DropAges makes sure that there are no ages that a check against the
// generation of st could use. The caller holds Lock.
func (s *Store) DropAges(st *statement.Statement) error {
	err := os.Remove(s.agesPath())
	if err == nil {
		return syncDir(s.path(baselineDir))
	}
	if _, unusable := s.Ages(st); unusable != nil {
		return nil
	}
	return fmt.Errorf("remove ages: %w", cause(err))
}

func (s *Store) agesPath() string { return s.path(baselineDir, agesName) }
