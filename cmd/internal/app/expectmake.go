package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/baseline/seal"
	"intact/rules/expect"
	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// ExpectMakeOptions of ExpectMake.
type ExpectMakeOptions struct {
	Dir      string // the folder that is described
	Prefix   string // where it will stand; "": where it stands
	Label    string // "": the last component of the prefix
	Owner    string // UID:GID of everything; "": as in Dir
	Created  string // RFC 3339; "": not said
	Replaces string // an older manifest: what it has and Dir has not is removed
	Output   string // "": stdout
	SignWith string // a key; "": not signed here
}

// ExpectMake writes a manifest of a folder. It needs no state folder and no
// configuration, only what is in the folder.
func ExpectMake(ctx context.Context, e *Env, o ExpectMakeOptions) (Outcome, error) {
	m := &maker{ctx: ctx, env: e, stop: func() {}}
	head, err := m.options(o)
	if err != nil {
		return Outcome{}, usageError("expect --make: %w", err)
	}
	defer m.root.Close()
	defer func() { m.stop() }()
	s := &session{env: e}
	var key seal.Signer
	if o.SignWith != "" {
		if key, err = s.signer(o.SignWith); err != nil {
			return Outcome{}, fmt.Errorf("--sign-with: %w", err)
		}
	}
	var text bytes.Buffer // 64 MiB at most
	if m.w, err = expect.NewWriter(&text, head); err != nil {
		return Outcome{}, usageError("expect --make: %w", err)
	}
	if err = m.walk("/"); err == nil {
		err = m.gone(nil)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("expect --make: %w", err)
	}
	if m.more > 0 {
		e.warn("expect --make: %s an ACL, capabilities, extended attributes or flags, of which a manifest says nothing: a change of them stays unexplained", have(m.more))
	}
	if key != nil {
		armor, err := key.Sign(expect.Namespace, bytes.NewReader(text.Bytes()))
		if err != nil {
			return Outcome{}, fmt.Errorf("expect --make: sign: %w", err)
		}
		if err := exportTo(o.Output+".sig", bytes.NewReader(armor)); err != nil {
			return Outcome{}, err
		}
	}
	if o.Output == "" {
		_, err = e.Stdout.Write(text.Bytes())
		return Done(), err
	}
	return Done(), exportTo(o.Output, &text)
}

func have(n int) string {
	if n == 1 {
		return "1 path has"
	}
	return fmt.Sprintf("%d paths have", n)
}

// maker writes down a folder in the order of the tree.
type maker struct {
	ctx    context.Context
	env    *Env
	root   *dirfd.Root
	look   *scanner.Examiner
	w      *expect.Writer
	prefix entry.Path
	owner  *[2]uint32
	more   int // objects with what a manifest does not speak of

	next func() (expect.Line, bool) // of the older manifest, nil: none
	stop func()
	old  *expect.Line // not dealt with yet
}

// options reads what was asked for and opens the folder.
func (m *maker) options(o ExpectMakeOptions) (h expect.Header, err error) {
	abs, err := filepath.Abs(o.Dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return h, err
	}
	if m.prefix, err = entry.NewPath(abs); err == nil && o.Prefix != "" {
		if m.prefix, err = entry.NewPath(o.Prefix); err != nil {
			err = fmt.Errorf("--prefix %q: %w", o.Prefix, err)
		}
	}
	if err != nil {
		return h, err
	}
	if o.SignWith != "" && o.Output == "" {
		return h, errors.New("--sign-with wants --output FILE: the signature goes into FILE.sig")
	}
	if out, err := filepath.Abs(o.Output); o.Output != "" && err == nil {
		if dir, err := filepath.EvalSymlinks(filepath.Dir(out)); err == nil && entry.Path(dir).Under(entry.Path(abs)) {
			return h, fmt.Errorf("--output %q lies in the folder that is described", o.Output)
		}
	}
	h.Label = o.Label
	if h.Label == "" {
		h.Label = m.prefix.Base()
	}
	if h.Label == "" {
		h.Label = "/"
	}
	if o.Created != "" {
		if h.Created, err = time.Parse(time.RFC3339, o.Created); err != nil {
			return h, fmt.Errorf("--created: want a time as 2026-11-01T02:03:04Z, not %q", o.Created)
		}
		h.Created = h.Created.UTC()
	}
	if o.Owner != "" {
		u, g, ok := strings.Cut(o.Owner, ":")
		uid, err1 := strconv.ParseUint(u, 10, 32)
		gid, err2 := strconv.ParseUint(g, 10, 32)
		if !ok || err1 != nil || err2 != nil {
			return h, fmt.Errorf("--owner: want two numbers as 0:0, not %q", o.Owner)
		}
		m.owner = &[2]uint32{uint32(uid), uint32(gid)}
	}
	if o.Replaces != "" {
		text, err := readOpened(o.Replaces, expect.MaxSize, nil)
		if err != nil {
			return h, fmt.Errorf("--replaces: %w", err)
		}
		older, err := expect.Parse(o.Replaces, text)
		if err != nil {
			return h, fmt.Errorf("--replaces: %w", err)
		}
		m.next, m.stop = iter.Pull(older.Lines())
	}
	if m.root, err = dirfd.Open(abs); err == nil {
		m.look = scanner.NewExaminer(m.root, m.env.MaxRate)
	}
	return h, err
}

// walk writes down p, a path inside the folder, and what is below it.
func (m *maker) walk(p entry.Path) error {
	look, err := m.look.Path(m.ctx, p, nil)
	if err != nil {
		return err
	}
	if look.Path != p {
		return fmt.Errorf("%q changed while it was read", p)
	}
	l, err := m.line(look)
	if err != nil {
		return err
	}
	if err := m.gone(&l); err != nil {
		return err
	}
	if err := m.w.Add(&l); err != nil {
		return usageError("%w", err)
	}
	if l.Kind != entry.Dir {
		return nil
	}
	var names []string
	err = m.root.List(p, func(name string, _ entry.Kind) error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		if err := m.walk(p.Join([]byte(n))); err != nil {
			return err
		}
	}
	return nil
}

// line is what a manifest says of an object. What could not be read whole is an
// error: half a manifest explains the wrong things.
func (m *maker) line(look *scanner.Look) (expect.Line, error) {
	e := &look.Entry
	l := expect.Line{Path: m.at(look.Path), Kind: e.Kind, UID: e.UID, GID: e.GID}
	need := entry.Mode | entry.UID | entry.GID
	switch e.Kind {
	case entry.File:
		l.Mode, l.Size, l.SHA256, l.BLAKE3, l.Known = e.Mode, e.Size, look.SHA256, e.Digest, true
		need |= entry.Size | entry.Content
	case entry.Dir:
		l.Mode = e.Mode
	case entry.Symlink:
		l.Target = e.Target
		need |= entry.Target
	}
	if missing := need &^ e.Have; missing != 0 {
		why := missing.String() + " could not be read"
		for _, g := range look.Gaps {
			if g.Attrs == 0 || g.Attrs&missing != 0 {
				why = string(g.Reason) + " " + g.Detail
			}
		}
		return l, fmt.Errorf("%q: %s", look.Path, strings.TrimSpace(why))
	}
	if m.owner != nil {
		l.UID, l.GID = m.owner[0], m.owner[1]
	}
	if len(e.Xattr) > 0 || e.ACL != nil || e.DefACL != nil || e.Caps != nil || e.Flags != 0 {
		m.more++
	}
	return l, nil
}

// at is where a path of the folder will stand.
func (m *maker) at(p entry.Path) entry.Path {
	switch {
	case p == "/":
		return m.prefix
	case m.prefix == "/":
		return p
	}
	return m.prefix + p
}

// gone writes down what the older manifest has before l, or with nil to its end,
// and the folder has not.
func (m *maker) gone(l *expect.Line) error {
	for m.next != nil {
		if m.old == nil {
			old, ok := m.next()
			if !ok {
				m.next = nil
				return nil
			}
			m.old = &old
		}
		if l != nil {
			if n := expect.Compare(m.old.Path, l.Path); n > 0 {
				return nil
			} else if n == 0 {
				m.old = nil
				return nil
			}
		}
		if err := m.w.Add(&expect.Line{Path: m.old.Path, Removed: true}); err != nil {
			return err
		}
		m.old = nil
	}
	return nil
}
