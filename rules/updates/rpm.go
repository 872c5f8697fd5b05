package updates

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"time"

	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/rpm"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// RPM is an installed package of rpm as an Update has it, without Old and Gone.
type RPM struct {
	Update
	Why string // Level is not signed, or Source is nil; unescaped
}

// RPMs returns the installed packages of rpm that want says yes to, with what
// their headers say of their files. Headers that no pinned key of trust signed,
// or whose digests of files are weak, are at level local.
func RPMs(ctx context.Context, root pkgdb.Root, trust pkgdb.Trust, want func(pkgdb.Package) bool) ([]RPM, error) {
	found, err := trust.RPMs(ctx, root, want)
	if err != nil {
		return nil, err
	}
	out := make([]RPM, 0, len(found))
	for i := range found {
		p := &found[i]
		u := RPM{Update{New: p.Package, Level: rules.Local, ID: p.ID}, p.Why}
		if p.Level == pkgdb.Signed {
			u.Level, u.Key = rules.Signed, p.By.Fingerprint
			if u.By = p.By.UID; u.By == "" {
				u.By = p.By.Fingerprint
			}
		}
		if !p.Time.IsZero() {
			u.When = p.Time.Format(time.RFC3339)
		}
		if p.Files != nil {
			u.Source = header{files: p.Files, digests: p.Digests}
		}
		out = append(out, u)
	}
	return out, nil
}

// FormerRPM returns what a package of rpm held that had this header in the
// baseline, by what pkgdb.Trust.Formers gave of it; nil where no pinned key vouches
// for that.
func FormerRPM(trust pkgdb.Trust, former []byte, stanza digest.Digest) (Source, error) {
	p, contents, err := trust.Former(former, stanza)
	if err != nil || p.Level != pkgdb.Signed {
		return nil, err
	}
	return header{p.Files, p.Digests, contents}, nil
}

// header is the Source of a package of rpm.
type header struct {
	files   *rpm.Index
	digests rpm.Algorithm
	known   map[[sha256.Size]byte]digest.Digest // contents that were seen, by what headers have of them
}

// Lookup implements Source. Of a file without a SHA-256, and of one that was not
// installed or that another package replaced, the package only claims the name.
func (h header) Lookup(p entry.Path) (Said, bool, error) {
	f, ok, err := h.files.Lookup(p)
	if !ok || err != nil {
		return Said{}, false, err
	}
	s := Said{Kind: f.Kind(), Mode: uint16(f.Mode & 0o7777), User: f.User, Group: f.Group, Target: f.Target, Caps: f.Caps, HasCaps: true,
		Conffile: f.Flags&rpm.Config != 0, Ghost: f.Flags&rpm.Ghost != 0 || f.State > rpm.StateNormal}
	if s.Kind != entry.File {
		return s, true, nil
	}
	s.Size = int64(f.Size)
	if n, err := hex.Decode(s.SHA256[:], sha256Of(h.digests, f.Digest)); err != nil || n != len(s.SHA256) {
		s.Ghost = true
	}
	s.BLAKE3, s.Known = h.known[s.SHA256]
	return s, true, nil
}

// sha256Of returns the digest in hex, nothing where it is another one.
func sha256Of(a rpm.Algorithm, digest string) []byte {
	if a != rpm.SHA256 {
		return nil
	}
	return []byte(digest)
}

// Paths implements Source.
func (h header) Paths() iter.Seq2[entry.Path, error] { return h.files.Paths() }

// Control implements Source: rpm keeps all of a package in its database.
func (h header) Control(string) (Said, bool) { return Said{}, false }
