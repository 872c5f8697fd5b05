package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// rowSelf is the kind of the rows about what belongs to intact itself, whatever
// the policy says. Key: path; value: words NAME=VALUE, the first one part=.
const rowSelf = "self"

// Parts of the installation.
const (
	partBinary = "program"
	partConfig = "configuration"
	partTrust  = "list-of-signers"
	partKey    = "key"
	partUnit   = "unit-or-hook"
	partCron   = "crontab-lines"
)

// selfGlobs are where packages and administrators put what starts intact.
var selfGlobs = [...]string{
	"/etc/systemd/system/intact*", "/etc/systemd/system/intact*.d/*", "/etc/systemd/system/*.wants/intact*", "/etc/systemd/system/*.requires/intact*",
	"/usr/lib/systemd/system/intact*", "/usr/lib/systemd/system/intact*.d/*", "/lib/systemd/system/intact*", "/run/systemd/system/intact*",
	"/etc/cron.d/*intact*", "/etc/cron.hourly/*intact*", "/etc/cron.daily/*intact*", "/etc/cron.weekly/*intact*", "/etc/cron.monthly/*intact*",
	"/etc/apt/apt.conf.d/*intact*", "/etc/dnf/plugins/*intact*", "/etc/dnf/libdnf5-plugins/actions.d/*intact*", "/etc/yum/pluginconf.d/*intact*", "/etc/default/intact*",
}

// crontabs hold lines of many; those that name intact count.
var crontabs = [...]string{"/etc/crontab", "/var/spool/cron/crontabs/root", "/var/spool/cron/root", "/etc/anacrontab"}

// selfParts lists what belongs to this installation on the live host.
func (s *session) selfParts() map[entry.Path]string {
	m := map[entry.Path]string{}
	add := func(part string, names ...string) {
		for _, n := range names {
			if abs, err := filepath.Abs(n); err == nil && n != "" {
				if p, err := entry.NewPath(abs); err == nil && m[p] == "" {
					m[p] = part
				}
			}
		}
	}
	if exe, err := os.Readlink("/proc/self/exe"); err == nil {
		add(partBinary, strings.TrimSuffix(exe, " (deleted)"))
	}
	add(partConfig, s.cfg.Sources...)
	add(partTrust, s.cfg.Signing.TrustedSigners, s.cfg.Signing.RevokedKeys, s.keyFile(ownSigners))
	for _, r := range roles {
		if src := s.source(r); filepath.IsAbs(src) {
			add(partKey, src)
		}
	}
	hooks := s.env.Hooks
	if hooks == nil {
		hooks = selfGlobs[:]
	}
	for _, g := range hooks {
		names, _ := filepath.Glob(g) // the patterns are well-formed
		add(partUnit, names...)
	}
	add(partCron, crontabs[:]...)
	return m
}

// selfRow describes one part as it is in the root. known is false where that
// could not be found out; a row without a value stands for what is not there.
func (s *session) selfRow(p entry.Path, part string) (r diff.Row, known bool) {
	r = diff.Row{Kind: rowSelf, Key: []byte(p)}
	f, err := s.root.OpenFile(p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return r, true
	}
	if err != nil {
		return r, false
	}
	defer f.Close()
	if part == partCron {
		return s.cronRow(r, f)
	}
	var st unix.Stat_t
	h := digest.New()
	_, err = f.WriteTo(h)
	if err := errors.Join(err, unix.Fstat(int(f.Fd()), &st)); err != nil {
		return r, false
	}
	r.Value = fmt.Appendf(nil, "part=%s mode=%04o uid=%d gid=%d size=%d content=%s", part, st.Mode&0o7777, st.Uid, st.Gid, st.Size, h.Sum())
	if at, _, exists, err := s.root.Resolve(p); err == nil && exists && at != p {
		r.Value = fmt.Appendf(r.Value, " at=%q", string(at))
	}
	return r, true
}

// maxCrontab bounds a crontab, in bytes.
const maxCrontab = 1 << 20

func (s *session) cronRow(r diff.Row, f *os.File) (diff.Row, bool) {
	b := make([]byte, maxCrontab)
	n, err := f.ReadAt(b, 0)
	if err == nil {
		return r, false // longer
	}
	var lines []byte
	for l := range bytes.Lines(b[:n]) {
		if bytes.Contains(l, []byte("intact")) {
			lines = append(lines, l...)
		}
	}
	if lines != nil {
		r.Value = fmt.Appendf(nil, "part=%s content=%s", partCron, digest.Sum(lines))
	}
	return r, true
}

// selfRows describes the installation for a baseline of the live host.
func (s *session) selfRows() (rows []diff.Row) {
	if !s.root.Live() {
		return nil
	}
	for p, part := range s.selfParts() {
		if r, known := s.selfRow(p, part); known && r.Value != nil {
			rows = append(rows, r)
		}
	}
	return rows
}

// selfMoved holds the installation against the baseline: what it has, and on
// the live host what there is now.
func (c *check) selfMoved() error {
	rows, err := c.gen.Rows(rowSelf)
	if err != nil || len(rows) == 0 {
		return err // made of an image, where nothing of intact runs
	}
	was := byKey(rows)
	parts := map[entry.Path]string{}
	if c.root.Live() && c.o.Baseline == "" {
		parts = c.selfParts()
	}
	for key, value := range was {
		part, _, _ := strings.Cut(strings.TrimPrefix(string(value), "part="), " ")
		parts[entry.Path(key)] = part
	}
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		old := was[string(p)]
		r, known := c.selfRow(p, parts[p])
		if !known {
			if old != nil {
				c.gaps.add(scanner.Gap{Path: p, Reason: scanner.ReasonPermission, Detail: "a part of intact itself", Attrs: entry.Content})
			}
			continue
		}
		if bytes.Equal(old, r.Value) {
			continue
		}
		f := selfFinding(p, parts[p], old, r.Value)
		c.trusts = append(c.trusts, f)
		c.rows = append(c.rows, diff.RowChange{Kind: rowSelf, Key: r.Key, Old: old, New: r.Value})
	}
	return nil
}

func selfFinding(p entry.Path, part string, old, now []byte) rules.Finding {
	f := rules.Finding{Set: "trust", Rule: "trust.self", Severity: rules.Critical, RawSeverity: rules.Critical, Change: "changed",
		Subject: rules.Subject{Kind: "file", Path: string(p)}, Reasons: []string{"belongs to intact itself: " + strings.ReplaceAll(part, "-", " ")}, Attack: []string{"T1562.001"}}
	switch {
	case old == nil:
		f.Change = "added"
	case now == nil:
		f.Change = "removed"
	}
	was, is := words(old), words(now)
	for _, name := range []string{"mode", "uid", "gid", "size", "content", "at"} {
		o, had := was[name]
		n, has := is[name]
		if o != n {
			f.Attributes = append(f.Attributes, rules.Value{Name: name, Old: o, OldKnown: had, New: n, NewKnown: has})
		}
	}
	return f
}

// words splits the value of a row.
func words(value []byte) map[string]string {
	m := map[string]string{}
	rest := string(value)
	for rest != "" {
		var word string
		if i := strings.Index(rest, ` at="`); strings.HasPrefix(rest, `at="`) || i == 0 {
			word, rest = strings.TrimSpace(rest), ""
		} else {
			word, rest, _ = strings.Cut(rest, " ")
		}
		name, v, _ := strings.Cut(word, "=")
		m[name] = v
	}
	return m
}

// selfAcceptable refuses to adopt a policy while anything of intact itself but
// its configuration is another.
func (c *check) selfAcceptable() error {
	for _, f := range c.trusts {
		if f.Rule == "trust.self" && !strings.HasSuffix(f.Reasons[0], ": "+partConfig) {
			return notAccepted(1, entry.Path(f.Subject.Path))
		}
	}
	return nil
}
