package app

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"intact/report"
	"intact/rules/expect"
)

// ExpectAdd verifies manifests, each with the signature beside it, and stores
// them all or none: from then on they explain changes.
func ExpectAdd(e *Env, files []string) (Outcome, error) {
	return hosting(e, "expect", func(s *session) error {
		s.sweepManifests()
		var list []*sealed
		for _, file := range files {
			text, err := readOpened(file, expect.MaxSize, nil)
			if err != nil {
				return usageError("expect: %w", err)
			}
			armor, err := readOpened(file+".sig", maxManifestSeal, nil)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return usageError("expect: %w", err)
			}
			m, err := s.sealedManifest(file, text, armor)
			if err != nil {
				return manifestError(err)
			}
			list = append(list, m)
		}
		if err := s.room(list); err != nil {
			return err
		}
		for _, m := range list {
			if err := s.storeManifest(m); err != nil {
				return fmt.Errorf("expect: %w", err)
			}
			e.print("%s\n", m.words())
		}
		return nil
	})
}

// manifestError sorts what can be wrong with a manifest: whom to trust, or what
// the user must edit.
func manifestError(err error) error {
	if errors.Is(err, errManifest) {
		return usageErrorAs(ExitTrust, "expect: %w", err)
	}
	return usageError("expect: %w", err)
}

// room refuses more manifests than a check can hold. What does not count takes
// no place.
func (s *session) room(more []*sealed) error {
	sizes := map[string]int64{}
	kept, _ := s.manifests() // of the others, a check and --list tell
	for _, m := range append(kept, more...) {
		sizes[m.name] = m.size
	}
	bytes := int64(0)
	for _, n := range sizes {
		bytes += n
	}
	if len(sizes) > maxManifests || bytes > maxManifestBytes {
		return usageError("expect: that would be %d manifests and %d bytes, at most %d and %d count: intact expect --forget one", len(sizes), bytes, maxManifests, maxManifestBytes)
	}
	return nil
}

const unprovedTime = "time unproved: the signer's certificate is not valid now, and that it was then only the manifest says"

// words is one line about a manifest.
func (m *sealed) words() string {
	made := ""
	if !m.Created.IsZero() {
		made = ", made " + m.Created.Format("2006-01-02 15:04 UTC")
	}
	if m.unproved {
		made += " (" + unprovedTime + ")"
	}
	return fmt.Sprintf("%s  %s, %s, signed by %s%s", m.ID, report.Escape(m.Label), counted(m.Len(), "path"), report.Escape(m.Signer), made)
}

// ExpectList lists the manifests in the state folder. One that does not count is
// listed with the reason, and the exit code is 4.
func ExpectList(e *Env) (Outcome, error) {
	bad := false
	out, err := reading(e, func(s *session) error {
		names, err := s.manifestNames()
		if err != nil {
			return err
		}
		for _, name := range names {
			m, err := s.storedManifest(name, expect.MaxSize)
			if err != nil {
				bad = true
				e.print("sha256:%s  NOT TRUSTED: %s\n", name, report.Prose(err.Error()))
				continue
			}
			e.print("%s\n", m.words())
		}
		return nil
	})
	if err == nil && bad {
		out.Add(ExitTrust)
	}
	return out, err
}

// minPrefix is how much of a digest must be given to name a manifest.
const minPrefix = 8

// ExpectForget removes the manifest with that SHA-256, or with the one that
// begins so. It need not count any more.
func ExpectForget(e *Env, digest string) (Outcome, error) {
	return hosting(e, "expect", func(s *session) error {
		s.sweepManifests()
		prefix := strings.TrimPrefix(digest, "sha256:")
		if len(prefix) < minPrefix || strings.Trim(prefix, "0123456789abcdef") != "" {
			return usageError("expect --forget: want a SHA-256, or its first %d digits or more, not %q", minPrefix, digest)
		}
		names, err := s.manifestNames()
		if err != nil {
			return err
		}
		var found []string
		for _, name := range names {
			if strings.HasPrefix(name, prefix) {
				found = append(found, name)
			}
		}
		if len(found) != 1 {
			return usageError("expect --forget: %s begin with %s: see intact expect --list", counted(len(found), "manifest"), prefix)
		}
		if err := s.forgetManifest(found[0]); err != nil {
			return err
		}
		e.print("sha256:%s is forgotten: for good when a check and an accept have seen it gone\n", found[0])
		return nil
	})
}
