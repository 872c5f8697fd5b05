package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"intact/rules"
	"intact/scanner/dirfd"
)

// scheme names how a password is hashed (crypt(5)).
func scheme(s string) string {
	if s == "" {
		return "empty"
	}
	if s[0] == '!' || s[0] == '*' {
		return "locked"
	}
	for _, p := range [...]struct{ prefix, name string }{{"$1$", "md5"}, {"$2a$", "bcrypt"}, {"$2b$", "bcrypt"}, {"$2x$", "bcrypt"}, {"$2y$", "bcrypt"},
		{"$3$", "nt"}, {"$5$", "sha256"}, {"$6$", "sha512"}, {"$7$", "scrypt"}, {"$y$", "yescrypt"}, {"$gy$", "gost-yescrypt"}, {"$sm3$", "sm3"},
		{"$md5", "sun-md5"}, {"$sha1", "sha1"}} {
		if strings.HasPrefix(s, p.prefix) {
			return p.name
		}
	}
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	switch {
	case len(s) == 13 && strings.Trim(s, alphabet) == "":
		return "des"
	case len(s) == 20 && s[0] == '_' && strings.Trim(s[1:], alphabet) == "":
		return "bsdi"
	}
	return "other" // nothing that anybody types hashes to it
}

// shadowLine is a line of shadow(5).
type shadowLine struct {
	name, hash, at string
	numbers        [6]int64
}

func parseShadow(f []string) (s shadowLine, why string) {
	if f[0] == "" {
		return s, "has no name"
	}
	s.name, s.hash = f[0], f[1]
	for i := range s.numbers {
		s.numbers[i] = -1
		if n, ok := number(f[2+i]); ok {
			s.numbers[i] = n
		}
	}
	return s, ""
}

// shadow adds what shadow says of the users. The first line of a name counts.
func shadow(ctx context.Context, r *dirfd.Root, a *Accounts, key []byte) {
	lines := read(ctx, r, "/etc/shadow", 9, &a.Odd.Rows, parseShadow)
	if lines.Status != rules.OK {
		if a.Odd.Status == rules.OK {
			a.Odd.Status, a.Odd.Reason = lines.Status, lines.Reason
		}
		for i := range a.Users.Rows {
			a.Users.Rows[i].Hash = "none"
		}
		return
	}
	by := map[string]*shadowLine{}
	for i := range lines.Rows {
		l := &lines.Rows[i]
		if by[l.name] != nil {
			a.Odd.Rows = append(a.Odd.Rows, Odd{At: l.at, Why: "names a user that stood above already"})
			continue
		}
		by[l.name] = l
	}
	for i := range a.Users.Rows {
		u := &a.Users.Rows[i]
		u.ShadowKnown, u.Hash = true, "none"
		l := by[u.Name]
		if l == nil {
			continue
		}
		u.Shadowed, u.Hash = true, scheme(l.hash)
		u.LastChange, u.MinDays, u.MaxDays, u.WarnDays, u.Inactive, u.Expires = l.numbers[0], l.numbers[1], l.numbers[2], l.numbers[3], l.numbers[4], l.numbers[5]
		if key != nil {
			h := hmac.New(sha256.New, key)
			fmt.Fprintf(h, "%d:%s%s", len(u.Name), u.Name, l.hash)
			u.HashDigest = hex.EncodeToString(h.Sum(nil))
		}
	}
}
