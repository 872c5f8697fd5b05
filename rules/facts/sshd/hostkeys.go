package sshd

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// HostKey is one file that HostKey names, or a built-in one that is there.
type HostKey struct {
	Path        string `cel:"path"`
	At          string `cel:"at"` // file:line of HostKey, or "built in"
	Present     bool   `cel:"present"`
	Type        string `cel:"type"` // rsa, dsa, ecdsa, ed25519, or the name that it has in its file
	TypeKnown   bool   `cel:"type_known"`
	Bits        int64  `cel:"bits"`
	BitsKnown   bool   `cel:"bits_known"`
	Source      string `cel:"source"`      // private or public: the file that type and bits were read from
	Fingerprint string `cel:"fingerprint"` // SHA256:…; "" where it was not to be had
	Encrypted   bool   `cel:"encrypted"`   // a passphrase guards it; the daemon needs an agent then
	Mode        int64  `cel:"mode"`        // permission bits
	UID         int64  `cel:"uid"`
	GID         int64  `cel:"gid"`
}

// Key identifies the row.
func (k HostKey) Key() string { return k.Path }

// Compared is what drift compares.
func (k HostKey) Compared() string {
	return fmt.Sprintf("present=%t type=%s bits=%d fingerprint=%s mode=%o uid=%d gid=%d",
		k.Present, strconv.Quote(k.Type), k.Bits, strconv.Quote(k.Fingerprint), k.Mode, k.UID, k.GID)
}

// File is a file of the configuration, or a directory that it lies in.
type File struct {
	Path  string    `cel:"path"` // as it is named
	Real  string    `cel:"real"` // without links
	Dir   bool      `cel:"dir"`
	Mode  int64     `cel:"mode"` // permission bits
	UID   int64     `cel:"uid"`
	GID   int64     `cel:"gid"`
	MTime time.Time `cel:"mtime"`
}

// maxKey bounds a key file; RSA of 16,384 bits has 13 KB.
const maxKey = 64 << 10

// stat looks at what a path leads to, links followed inside the root.
func stat(root *dirfd.Root, name string) (s dirfd.Stat, real entry.Path, err error) {
	p, err := entry.NewPath(name)
	if err != nil {
		return s, "", err
	}
	real, _, exists, err := root.Resolve(p)
	if err == nil && !exists {
		err = fs.ErrNotExist
	}
	if err != nil {
		return s, "", err
	}
	at, n, _, err := root.Reach(real)
	if err != nil {
		return s, "", err
	}
	defer at.Release()
	if n == nil {
		return s, real, at.StatSelf(&s)
	}
	return s, real, at.Stat(n, true, &s)
}

// hostKeys reads the keys that HostKey names.
func hostKeys(root *dirfd.Root, v Value) facts.Answer[HostKey] {
	out := facts.Answer[HostKey]{Status: rules.OK, Via: "HostKey"}
	const enough = 100
	for i, name := range v.Lines {
		if i == enough {
			out.Status, out.Reason = rules.Failed, fmt.Sprintf("over %d host keys", enough)
			break
		}
		if name == "none" {
			continue
		}
		k := HostKey{Path: name, At: builtIn}
		if i < len(v.At) {
			k.At = placed(v.At[i])
		}
		s, _, err := stat(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			if k.At != builtIn {
				out.Rows = append(out.Rows, k)
			}
			continue
		}
		if err != nil {
			out.Status, out.Reason = statusOf(err), fmt.Sprintf("%s: %v", name, err)
			continue
		}
		k.Present = true
		k.Mode, k.UID, k.GID = int64(s.Mode&0o7777), int64(s.UID), int64(s.GID)
		if s.Kind == entry.File { // else the daemon has no key, whatever lies beside
			k.read(root)
		}
		out.Rows = append(out.Rows, k)
	}
	if !v.Known && out.Status == rules.OK {
		out.Status, out.Reason = rules.Failed, "HostKey: "+v.Unknown
	}
	return out
}

// read tells type and length from the private key, or from the public one beside
// it where that cannot be read.
func (k *HostKey) read(root *dirfd.Root) {
	for _, from := range []struct {
		source, path string
		parse        func([]byte) (key, error)
	}{{"private", k.Path, parsePrivate}, {"public", k.Path + ".pub", parsePublic}} {
		p, err := entry.NewPath(from.path)
		if err != nil {
			return
		}
		data, err := root.ReadFile(p, maxKey)
		if err != nil {
			continue
		}
		got, err := from.parse(data)
		clear(data)
		if err != nil {
			continue
		}
		k.Encrypted = k.Encrypted || got.encrypted
		if k.Fingerprint == "" {
			k.Fingerprint = got.fingerprint
		}
		if !k.BitsKnown {
			k.Type, k.TypeKnown, k.Source = got.kind, got.kind != "", from.source
			k.Bits, k.BitsKnown = int64(got.bits), got.bits > 0
		}
	}
}

// files reads modes and owners of the configuration and of its directories:
// who may write there says who may log in.
func (c *Config) files(root *dirfd.Root) facts.Answer[File] {
	out := facts.Answer[File]{Status: rules.OK, Via: "stat"}
	seen := map[string]bool{}
	add := func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		s, real, err := stat(root, name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				out.Status, out.Reason = statusOf(err), fmt.Sprintf("%s: %v", name, err)
			}
			return
		}
		out.Rows = append(out.Rows, File{
			Path: name, Real: string(real), Dir: s.Kind == entry.Dir, Mode: int64(s.Mode & 0o7777),
			UID: int64(s.UID), GID: int64(s.GID), MTime: time.Unix(s.Mtime.Sec, int64(s.Mtime.Nsec)),
		})
	}
	for _, f := range c.Files {
		add(string(f))
		add(string(f.Dir()))
	}
	for _, f := range c.unread {
		add(string(f))
		add(string(f.Dir()))
		if out.Status == rules.OK {
			out.Status, out.Reason = rules.Failed, fmt.Sprintf("%s: is there, and cannot be read", f)
		}
	}
	return out
}

// statusOf sorts an error of reading a file.
func statusOf(err error) rules.Status {
	if errors.Is(err, fs.ErrPermission) {
		return rules.Denied
	}
	return rules.Failed
}
