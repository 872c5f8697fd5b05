package accounts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// AuthorizedKey is a line of an authorized_keys file of sshd(8).
type AuthorizedKey struct {
	User        string   `cel:"user"`
	UID         int64    `cel:"uid"`
	File        string   `cel:"file"` // as sshd is told to look for it
	At          string   `cel:"at"`   // file:line
	Type        string   `cel:"type"` // as ssh-ed25519; "" of a line that is none
	Bits        int64    `cel:"bits"` // of RSA, DSA and ECDSA keys, 0 where the type says it
	Fingerprint string   `cel:"fingerprint"`
	Options     []string `cel:"options"` // as they are written, with their values
	Comment     string   `cel:"comment"`
	Authority   bool     `cel:"authority"`  // signs certificates of users: cert-authority
	Restricted  bool     `cel:"restricted"` // a command is forced, or addresses are named, or all is off by restrict
	Malformed   bool     `cel:"malformed"`  // sshd of a newer version may still take it
	Exposed     string   `cel:"exposed"`    // what others than the user and root may write: the file or a folder above it; "" if nothing
}

// Key tells the keys of users apart.
func (k AuthorizedKey) Key() string { return fmt.Sprintf("%q %q %s", k.User, k.File, k.Fingerprint) }

// Compared spells what is compared of a key.
func (k AuthorizedKey) Compared() string {
	return fmt.Sprintf("type=%q options=%q", k.Type, strings.Join(k.Options, ","))
}

// defaultKeyFiles is where sshd looks without AuthorizedKeysFile.
var defaultKeyFiles = []string{".ssh/authorized_keys", ".ssh/authorized_keys2"}

// maxKeyFile bounds the bytes of a file of keys.
const maxKeyFile = 8 << 20

// Keys reads the authorized keys of users. patterns are values of
// AuthorizedKeysFile, nil for the default.
func Keys(ctx context.Context, h facts.Host, users []User, patterns []string) facts.Answer[AuthorizedKey] {
	a := facts.Answer[AuthorizedKey]{Status: rules.OK, Via: "authorized_keys"}
	if patterns == nil {
		patterns = defaultKeyFiles
	}
	fail := func(s rules.Status, err error) {
		if a.Status == rules.OK {
			a.Status, a.Reason = s, err.Error()
		}
	}
	done := map[string]bool{}
	for i := range users {
		if ctx.Err() != nil {
			fail(rules.Timeout, ctx.Err())
			break
		}
		u := &users[i]
		for _, pattern := range patterns {
			file, ok := expand(pattern, u)
			id := u.Name + "\x00" + string(file)
			if !ok || done[id] {
				continue
			}
			done[id] = true
			rows, err := keysOf(h.Root, u, file)
			a.Rows = append(a.Rows, rows...)
			if err != nil && facts.AnswerStatus(err) != rules.Absent {
				fail(facts.AnswerStatus(err), fmt.Errorf("keys of %q: %w", u.Name, err))
			}
		}
	}
	return a
}

// expand fills in the tokens of sshd_config(5).
func expand(pattern string, u *User) (entry.Path, bool) {
	if pattern == "none" {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' || i+1 == len(pattern) {
			b.WriteByte(pattern[i])
			continue
		}
		switch i++; pattern[i] {
		case '%':
			b.WriteByte('%')
		case 'h':
			b.WriteString(u.Home)
		case 'u':
			b.WriteString(u.Name)
		case 'U':
			fmt.Fprint(&b, u.UID)
		default:
			return "", false
		}
	}
	s := b.String()
	if !strings.HasPrefix(s, "/") {
		s = u.Home + "/" + s
	}
	p, err := entry.NewPath(s)
	return p, err == nil
}

// keysOf reads one file. Its keys are returned even where who may write it
// cannot be told.
func keysOf(r *dirfd.Root, u *User, file entry.Path) ([]AuthorizedKey, error) {
	b, err := r.ReadFile(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	exposed, err := exposed(r, u, file)
	var out []AuthorizedKey
	n := 0
	for line := range bytes.Lines(b) {
		n++
		k, ok := ParseKey(strings.TrimRight(string(line), "\r\n"))
		if !ok {
			continue
		}
		k.User, k.UID, k.File, k.At, k.Exposed = u.Name, u.UID, string(file), fmt.Sprintf("%s:%d", file, n), exposed
		out = append(out, k)
	}
	return out, err
}

// exposed looks for what sshd's StrictModes looks for: a file, or a folder above
// it up to the home or the root, that others than the user and root may change.
func exposed(r *dirfd.Root, u *User, file entry.Path) (string, error) {
	at, _, exists, err := r.Resolve(file)
	if err != nil || !exists {
		return "", err
	}
	home, _, _, err := r.Resolve(entry.Path(u.Home))
	if err != nil {
		home = "/"
	}
	return facts.Exposed(r, at, u.UID, home)
}

// ParseKey reads a line of an authorized_keys file: options, type, key in
// base64, comment. False for an empty line and a comment.
func ParseKey(line string) (k AuthorizedKey, ok bool) {
	line = strings.TrimLeft(line, " \t")
	if line == "" || line[0] == '#' {
		return k, false
	}
	text := line
	kind, rest := word(line)
	if !slices.Contains(keyTypes[:], kind) {
		var fine bool
		if k.Options, rest, fine = options(line); !fine {
			return malformed(k, text), true
		}
		kind, rest = word(rest)
	}
	blob64, comment := word(rest)
	blob, err := base64.StdEncoding.DecodeString(blob64)
	if err != nil || kind == "" {
		return malformed(k, text), true
	}
	size, err := keyBits(kind, blob)
	if err != nil {
		return malformed(k, text), true
	}
	sum := sha256.Sum256(blob)
	k.Type, k.Bits, k.Comment = kind, int64(size), comment
	k.Fingerprint = "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
	for _, o := range k.Options {
		name, _, _ := strings.Cut(strings.ToLower(o), "=")
		k.Authority = k.Authority || name == "cert-authority"
		k.Restricted = k.Restricted || name == "restrict" || name == "command" || name == "from" || name == "principals"
	}
	return k, true
}

func malformed(k AuthorizedKey, line string) AuthorizedKey {
	sum := sha256.Sum256([]byte(line))
	k.Malformed, k.Fingerprint = true, "line:"+base64.RawStdEncoding.EncodeToString(sum[:])
	return k
}

func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// options reads what stands before the key: names and values in quotes, with
// commas between them and no blanks outside of quotes.
func options(s string) (list []string, rest string, ok bool) {
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ',':
			list = append(list, s[from:i])
			from = i + 1
		case c == ' ' || c == '\t':
			return append(list, s[from:i]), s[i:], true
		}
	}
	return nil, "", false
}

// keyTypes are the public keys and certificates that OpenSSH knows.
var keyTypes = [...]string{"ssh-ed25519", "ssh-rsa", "ssh-dss", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-ed448", "ssh-xmss@openssh.com",
	"ssh-ed25519-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com", "ssh-dss-cert-v01@openssh.com",
	"ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com",
	"sk-ssh-ed25519-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com"}

var errKey = errors.New("not a public key")

// keyBits returns the size of a key in the form of RFC 4253, section 6.6.
func keyBits(kind string, blob []byte) (int, error) {
	next := func() ([]byte, error) {
		if len(blob) < 4 {
			return nil, errKey
		}
		n := binary.BigEndian.Uint32(blob)
		if int64(n) > int64(len(blob)-4) {
			return nil, errKey
		}
		s := blob[4 : 4+n]
		blob = blob[4+n:]
		return s, nil
	}
	name, err := next()
	if err != nil || string(name) != kind {
		return 0, errKey
	}
	skip := 0
	switch {
	case kind == "ssh-rsa":
		skip = 1 // the exponent; then the modulus
	case kind == "ssh-dss":
	case strings.HasPrefix(kind, "ecdsa-sha2-nistp"):
		var n int
		if _, err := fmt.Sscanf(kind, "ecdsa-sha2-nistp%d", &n); err != nil {
			return 0, errKey
		}
		return n, nil
	default:
		return 0, nil
	}
	for range skip {
		if _, err := next(); err != nil {
			return 0, err
		}
	}
	m, err := next()
	if err != nil {
		return 0, err
	}
	m = bytes.TrimLeft(m, "\x00")
	if len(m) == 0 {
		return 0, errKey
	}
	return (len(m)-1)*8 + bits.Len8(m[0]), nil
}
