// Package accounts reads who there is on a host, and who may log in: passwd(5),
// shadow(5), group(5), and the authorized keys of sshd(8). Passwords are never
// kept: their scheme is, and a digest under a key of the host.
package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// User is a line of /etc/passwd with what /etc/shadow says about it. Users of
// directories as LDAP are not among them: see Source.
type User struct {
	Name     string `cel:"name"` // any bytes but newline and colon
	Nth      int64  `cel:"nth"`  // 1, or which of the lines with this name it is
	UID      int64  `cel:"uid"`  // as the C library reads it: 00 is 0
	UIDText  string `cel:"uid_text"`
	GID      int64  `cel:"gid"`
	Home     string `cel:"home"`
	Shell    string `cel:"shell"`
	At       string `cel:"at"`       // file:line
	Password string `cel:"password"` // shadow, empty, locked, or the scheme of a hash that stands in passwd itself

	ShadowKnown bool   `cel:"shadow_known"` // shadow could be read
	Shadowed    bool   `cel:"shadowed"`     // it has a line of this name
	Hash        string `cel:"hash"`         // scheme: none, empty, locked, des, md5, sha256, sha512, bcrypt, scrypt, yescrypt, …, other
	HashDigest  string `cel:"-"`            // HMAC-SHA-256 of the field under the host's key, hex; "" without a key
	LastChange  int64  `cel:"last_change"`  // days since 1970, -1 unset
	MinDays     int64  `cel:"min_days"`     // -1 unset, as the next ones
	MaxDays     int64  `cel:"max_days"`
	WarnDays    int64  `cel:"warn_days"`
	Inactive    int64  `cel:"inactive"` // days
	Expires     int64  `cel:"expires"`  // days since 1970

	CanLogin bool `cel:"can_login"` // its shell is none that refuses
}

// Key tells users apart.
func (u User) Key() string { return nth(fmt.Sprintf("%q", u.Name), u.Nth) }

// Compared spells what is compared of a user.
func (u User) Compared() string {
	hash, sum := strconv.Quote(u.Hash), strconv.Quote(u.HashDigest)
	if !u.ShadowKnown {
		hash, sum = "unknown", "unknown"
	}
	return fmt.Sprintf("uid=%q gid=%q home=%q shell=%q password=%q hash=%s digest=%s expires=%q", strconv.FormatInt(u.UID, 10), strconv.FormatInt(u.GID, 10),
		u.Home, u.Shell, u.Password, hash, sum, strconv.FormatInt(u.Expires, 10))
}

// Group is a line of /etc/group.
type Group struct {
	Name     string   `cel:"name"`
	Nth      int64    `cel:"nth"`
	GID      int64    `cel:"gid"`
	GIDText  string   `cel:"gid_text"`
	Password string   `cel:"password"` // as of User
	Members  []string `cel:"members"`  // that the line names, not those whose first group it is
	At       string   `cel:"at"`
}

// Key tells groups apart.
func (g Group) Key() string { return nth(fmt.Sprintf("%q", g.Name), g.Nth) }

// Compared spells what is compared of a group.
func (g Group) Compared() string {
	return fmt.Sprintf("gid=%q password=%q", strconv.FormatInt(g.GID, 10), g.Password)
}

// Member says that a user is in a group.
type Member struct {
	Group   string `cel:"group"`
	User    string `cel:"user"`
	Primary bool   `cel:"primary"` // by the group id of the user
	At      string `cel:"at"`
}

// Key tells memberships apart.
func (m Member) Key() string { return fmt.Sprintf("%q %q", m.Group, m.User) }

// Compared is empty: there is nothing about a membership but that it is there.
func (m Member) Compared() string { return "" }

// Source is where a database of nsswitch.conf(5) comes from.
type Source struct {
	Database string   `cel:"database"` // passwd, group, shadow
	Sources  []string `cel:"sources"`  // files, systemd, sss, ldap, compat, …
	At       string   `cel:"at"`
}

// Odd is a line that is none: what reads it otherwise than the C library does is
// misled.
type Odd struct {
	At  string `cel:"at"`
	Why string `cel:"why"`
}

func nth(key string, n int64) string {
	if n > 1 {
		return key + "#" + strconv.FormatInt(n, 10)
	}
	return key
}

// Accounts is all that the files say.
type Accounts struct {
	Users   facts.Answer[User]
	Groups  facts.Answer[Group]
	Members facts.Answer[Member]
	Sources facts.Answer[Source]
	Odd     facts.Answer[Odd]
}

// Bounds: bytes of a file, bytes of a line.
const (
	maxFile = 64 << 20
	maxLine = 1 << 20
)

// Collect reads the accounts of a host. key makes the digests of passwords, nil
// leaves them out.
func Collect(ctx context.Context, h facts.Host, key []byte) Accounts {
	var a Accounts
	a.Odd.Status = rules.OK
	a.Users = read(ctx, h.Root, "/etc/passwd", 7, &a.Odd.Rows, parseUser)
	a.Groups = read(ctx, h.Root, "/etc/group", 4, &a.Odd.Rows, parseGroup)
	count(a.Users.Rows, func(u *User) (string, *int64) { return u.Name, &u.Nth })
	count(a.Groups.Rows, func(g *Group) (string, *int64) { return g.Name, &g.Nth })
	shadow(ctx, h.Root, &a, key)
	a.Members = members(&a)
	a.Sources = sources(h.Root)
	return a
}

// count numbers the rows of one name.
func count[T any](rows []T, of func(*T) (string, *int64)) {
	seen := map[string]int64{}
	for i := range rows {
		name, n := of(&rows[i])
		seen[name]++
		*n = seen[name]
	}
}

// read reads a file of lines with n fields between colons.
func read[T any](ctx context.Context, r *dirfd.Root, p entry.Path, n int, odd *[]Odd, parse func([]string) (T, string)) facts.Answer[T] {
	a := facts.Answer[T]{Status: rules.OK, Via: string(p)}
	b, err := r.ReadFile(p, maxFile)
	if err != nil {
		a.Status, a.Reason = facts.AnswerStatus(err), err.Error()
		return a
	}
	line := 0
	for text := range bytes.Lines(b) {
		if line++; line&1023 == 0 && ctx.Err() != nil {
			a.Status, a.Reason = rules.Timeout, ctx.Err().Error()
			return a
		}
		s := strings.TrimSuffix(string(text), "\n")
		// As the files backend of the C library does it.
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == '#' {
			continue
		}
		at := fmt.Sprintf("%s:%d", p, line)
		say := func(why string) { *odd = append(*odd, Odd{At: at, Why: why}) }
		f := strings.Split(s, ":")
		switch {
		case len(s) > maxLine:
			say("longer than 1 MiB")
			continue
		case strings.IndexByte(s, 0) >= 0:
			say("has a NUL in it")
			continue
		case s[0] == '+' || s[0] == '-':
			say("takes accounts in from another directory (NIS) where nsswitch.conf says compat")
			continue
		case len(f) != n:
			say(fmt.Sprintf("has %d fields, not %d", len(f), n))
			if len(f) < n {
				continue
			}
			f = append(f[:n-1:n-1], strings.Join(f[n-1:], ":"))
		}
		row, why := parse(f)
		if why != "" {
			say(why)
			continue
		}
		setAt(any(&row), at)
		a.Rows = append(a.Rows, row)
	}
	return a
}

func setAt(row any, at string) {
	switch r := row.(type) {
	case *User:
		r.At = at
	case *Group:
		r.At = at
	case *shadowLine:
		r.at = at
	}
}

func parseUser(f []string) (u User, why string) {
	uid, ok1 := number(f[2])
	gid, ok2 := number(f[3])
	if f[0] == "" || !ok1 || !ok2 {
		return u, "has no name, or an id that is no number"
	}
	return User{Name: f[0], UID: uid, UIDText: f[2], GID: gid, Home: f[5], Shell: f[6], Password: passwordIn(f[1]), CanLogin: !refuses(f[6]),
		LastChange: -1, MinDays: -1, MaxDays: -1, WarnDays: -1, Inactive: -1, Expires: -1}, ""
}

func parseGroup(f []string) (g Group, why string) {
	gid, ok := number(f[2])
	if f[0] == "" || !ok {
		return g, "has no name, or an id that is no number"
	}
	g = Group{Name: f[0], GID: gid, GIDText: f[2], Password: passwordIn(f[1])}
	for m := range strings.SplitSeq(f[3], ",") {
		if m = strings.TrimSpace(m); m != "" {
			g.Members = append(g.Members, m)
		}
	}
	return g, ""
}

// number reads an id as strtoul(3) and the C library's files backend do: blanks
// and a sign before it, any number of zeros, what is too large is the largest.
func number(s string) (int64, bool) {
	s = strings.TrimLeft(s, " \t\v\f\r")
	minus := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if minus && err == nil {
		n = -n
	}
	return int64(min(n, 1<<32-1)), true
}

// refuses reports whether a shell lets nobody work.
func refuses(shell string) bool {
	switch shell[strings.LastIndexByte(shell, '/')+1:] {
	case "nologin", "false", "true", "sync", "halt", "shutdown":
		return true
	}
	return false
}

// passwordIn sorts the second field of passwd and group.
func passwordIn(s string) string {
	if s == "x" {
		return "shadow"
	}
	return scheme(s)
}

// members joins users and groups.
func members(a *Accounts) facts.Answer[Member] {
	out := facts.Answer[Member]{Status: a.Groups.Status, Reason: a.Groups.Reason, Via: a.Groups.Via}
	if out.Status == rules.OK && a.Users.Status != rules.OK {
		out.Status, out.Reason = a.Users.Status, a.Users.Reason
	}
	seen := map[[2]string]bool{}
	add := func(m Member) {
		if id := [2]string{m.Group, m.User}; !seen[id] {
			seen[id] = true
			out.Rows = append(out.Rows, m)
		}
	}
	byGID := map[int64][]*Group{}
	for i := range a.Groups.Rows {
		g := &a.Groups.Rows[i]
		byGID[g.GID] = append(byGID[g.GID], g)
		for _, m := range g.Members {
			add(Member{Group: g.Name, User: m, At: g.At})
		}
	}
	for _, u := range a.Users.Rows {
		for _, g := range byGID[u.GID] {
			add(Member{Group: g.Name, User: u.Name, Primary: true, At: u.At})
		}
	}
	return out
}

// sources reads which directories the C library asks.
func sources(r *dirfd.Root) facts.Answer[Source] {
	const p = "/etc/nsswitch.conf"
	a := facts.Answer[Source]{Status: rules.OK, Via: p}
	b, err := r.ReadFile(p, maxLine)
	if errors.Is(err, fs.ErrNotExist) { // the C library goes by its own default
		for _, d := range []string{"passwd", "group", "shadow"} {
			a.Rows = append(a.Rows, Source{Database: d, Sources: []string{"files"}, At: "built in"})
		}
		return a
	}
	if err != nil {
		a.Status, a.Reason = facts.AnswerStatus(err), err.Error()
		return a
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		name, rest, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || !slices.Contains([]string{"passwd", "group", "shadow"}, name) {
			continue
		}
		s := Source{Database: name, At: fmt.Sprintf("%s:%d", p, n)}
		depth := 0 // what to do after an answer stands in brackets
		for w := range strings.FieldsSeq(strings.NewReplacer("[", " [ ", "]", " ] ").Replace(rest)) {
			switch {
			case w == "[":
				depth++
			case w == "]":
				depth--
			case depth <= 0:
				s.Sources = append(s.Sources, w)
			}
		}
		a.Rows = append(a.Rows, s)
	}
	return a
}
