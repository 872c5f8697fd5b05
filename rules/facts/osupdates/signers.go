package osupdates

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/entry"
)

const armorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

// SigningKey is a key whose signatures the package manager takes.
type SigningKey struct {
	Fingerprint      string   `cel:"fingerprint"` // of the primary key, upper-case hex; "" where it is not known
	FingerprintKnown bool     `cel:"fingerprint_known"`
	UID              string   `cel:"uid"`    // its user id, any bytes
	Scope            string   `cel:"scope"`  // "all": of every repository without keys of its own; "repository"; "packages": of rpm
	Files            []string `cel:"files"`  // that hold it, absolute inside the root, sorted
	SHA256           string   `cel:"sha256"` // of what holds a key that is not understood; "" else
}

// Key is the identity of a key across checks. One that is not understood is known
// by what its file holds.
func (k SigningKey) Key() string {
	if !k.FingerprintKnown {
		return attributes("sha256", k.SHA256, "scope", k.Scope)
	}
	return attributes("fingerprint", k.Fingerprint, "scope", k.Scope)
}

// Compared is what of it is compared.
func (k SigningKey) Compared() string { return attributes("files", strings.Join(k.Files, " ")) }

// keyFiles gathers the files that hold keys.
type keyFiles struct {
	*host
	rows []SigningKey
	seen map[string]bool
}

// SigningKeys lists the keys that repositories may be signed with: those that
// count for all, those that a repository names, and those that rpm packages are
// held against as far as a .repo file names them.
func SigningKeys(_ context.Context, on facts.Host) facts.Answer[SigningKey] {
	h := &host{Host: on}
	k := &keyFiles{host: h, seen: map[string]bool{}}
	for _, p := range append([]entry.Path{"/etc/apt/trusted.gpg"}, h.parts("/etc/apt/trusted.gpg.d", false, "gpg", "asc")...) {
		k.file(p, "all")
	}
	for _, s := range h.sources() {
		v, _ := s.get("signed-by")
		if i := strings.Index(v, armorBegin); i >= 0 {
			k.keys(s.file, "repository", unfolded(v[i:]))
			continue
		}
		for _, w := range signedBy(v) {
			if strings.HasPrefix(w, "/") {
				k.file(entry.Path(w), "repository")
			}
		}
	}
	for _, r := range h.rpmRepositories() {
		for _, w := range r.SignedBy {
			if p, ok := strings.CutPrefix(w, "file://"); ok && strings.HasPrefix(p, "/") && !strings.Contains(p, "$") {
				k.file(entry.Path(p), "packages")
			}
		}
	}
	if len(k.rows) == 0 && h.status == "" {
		return facts.Answer[SigningKey]{Status: rules.Absent, Reason: "no keys where apt looks for them, and no repository names any"}
	}
	rows := k.merged()
	return answer(&h.problems, rows, "/etc/apt/trusted.gpg.d and what repositories name")
}

// merged gives each key one row, in the order of their identities.
func (k *keyFiles) merged() (out []SigningKey) {
	slices.SortStableFunc(k.rows, func(a, b SigningKey) int { return cmp.Compare(a.Key(), b.Key()) })
	for _, r := range k.rows {
		if n := len(out); n > 0 && out[n-1].Key() == r.Key() {
			out[n-1].Files = append(out[n-1].Files, r.Files...)
			continue
		}
		out = append(out, r)
	}
	for i := range out {
		slices.Sort(out[i].Files)
		out[i].Files = slices.Compact(out[i].Files)
	}
	return out
}

func (k *keyFiles) file(p entry.Path, scope string) {
	if k.seen[scope+string(p)] {
		return
	}
	k.seen[scope+string(p)] = true
	b, ok := k.read(p, pgp.MaxKeyring)
	if ok && len(b) > 0 {
		k.keys(string(p), scope, b)
	}
}

// keys lists what a file holds. What is not understood is a key that is not
// known: nobody shall hide one that way.
func (k *keyFiles) keys(file, scope string, b []byte) {
	var ring pgp.Keyring
	if err := ring.Add(b); err != nil {
		sum := sha256.Sum256(b)
		k.rows = append(k.rows, SigningKey{Scope: scope, Files: []string{file}, SHA256: hex.EncodeToString(sum[:])})
		return
	}
	for _, key := range ring.Keys() {
		k.rows = append(k.rows, SigningKey{Fingerprint: key.Fingerprint, FingerprintKnown: true, UID: key.UID, Scope: scope, Files: []string{file}})
	}
}

// unfolded writes a key as it was before it became the value of a field: without
// the blank before each line, and without the dot of an empty one.
func unfolded(v string) []byte {
	lines := bytes.Split([]byte(v), []byte("\n"))
	for i, l := range lines {
		if l = bytes.TrimSpace(l); bytes.Equal(l, []byte(".")) {
			l = nil
		}
		lines[i] = l
	}
	return append(bytes.Join(lines, []byte("\n")), '\n')
}
