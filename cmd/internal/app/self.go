package app

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/scanner"
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

// unitDirs are where systemd.unit(5) says that system units are read from, but
// for most generators', which write what is in files of other kinds.
var unitDirs = [...]string{
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
	"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
}

// unitNames are units of intact, their drop-ins, those for all units of a type
// that intact has, and what pulls them in.
var unitNames = [...]string{"intact*", "intact*.d/*", "service.d/*", "timer.d/*", "*.wants/intact*", "*.requires/intact*"}

var hookGlobs = [...]string{
	"/etc/cron.d/*intact*", "/etc/cron.hourly/*intact*", "/etc/cron.daily/*intact*", "/etc/cron.weekly/*intact*", "/etc/cron.monthly/*intact*",
	"/etc/apt/apt.conf.d/*intact*", "/etc/dpkg/dpkg.cfg.d/*intact*", "/etc/dnf/plugins/*intact*", "/etc/dnf/libdnf5-plugins/actions.d/*intact*", "/etc/yum/pluginconf.d/*intact*", "/etc/default/intact*",
}

// selfGlobs are where packages and administrators put what starts intact.
func selfGlobs() (globs []string) {
	for _, d := range unitDirs {
		for _, n := range unitNames {
			globs = append(globs, d+"/"+n)
		}
	}
	return append(globs, hookGlobs[:]...)
}

// crontabs hold lines of many; those that name intact count.
var crontabs = [...]string{"/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/root", "/var/spool/cron/root", "/etc/anacrontab"}

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
	add(partConfig, s.cfg.Posture.Files()...)
	add(partTrust, s.cfg.Signing.TrustedSigners, s.cfg.Signing.RevokedKeys, s.keyFile(ownSigners))
	add(partTrust, s.cfg.Packages.RPMKeys...)
	for _, r := range roles {
		if src := s.source(r); filepath.IsAbs(src) {
			add(partKey, src)
		}
	}
	hooks, tabs := s.env.Hooks, s.env.Crontabs
	if hooks == nil {
		hooks = selfGlobs()
	}
	if tabs == nil {
		tabs = crontabs[:]
	}
	for _, g := range hooks {
		names, _ := filepath.Glob(g) // the patterns are well-formed
		add(partUnit, slices.DeleteFunc(names, dropIns)...)
	}
	for _, g := range tabs {
		names, _ := filepath.Glob(g)
		add(partCron, names...)
	}
	return m
}

// dropIns reports whether name is a folder of drop-ins or links, which have
// patterns of their own.
func dropIns(name string) bool {
	if !slices.Contains([]string{".d", ".wants", ".requires"}, filepath.Ext(name)) {
		return false
	}
	info, err := os.Lstat(name)
	return err == nil && info.IsDir()
}

// selfRows describes the installation for a baseline of the live host.
func (s *session) selfRows(ctx context.Context) (rows []diff.Row, err error) {
	if !s.root.Live() {
		return nil, nil
	}
	for p, part := range s.selfParts() {
		if r, err := s.selfRow(ctx, p, part); err == nil && r.Value != nil {
			rows = append(rows, r)
		}
	}
	return rows, ctx.Err()
}

// selfMoved holds the installation against the baseline: what it has, and on
// the live host what there is now.
func (c *check) selfMoved(ctx context.Context) error {
	rows, err := c.gen.Rows(rowSelf)
	if err != nil || len(rows) == 0 {
		return err // made of an image, where nothing of intact runs
	}
	was := byKey(rows)
	parts := c.partsSince(was, c.o.Baseline == "")
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		old := was[string(p)]
		r, err := c.selfRow(ctx, p, parts[p])
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			if old != nil {
				c.selfUnknown(p, parts[p], err)
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

// partsSince lists what a baseline has of the installation, and if it is one of
// this host what the live host has now.
func (s *session) partsSince(was map[string][]byte, own bool) map[entry.Path]string {
	parts := map[entry.Path]string{}
	if own && s.root.Live() {
		parts = s.selfParts()
	}
	for key, value := range was {
		parts[entry.Path(key)] = partOf(value)
	}
	return parts
}

func partOf(value []byte) string {
	part, _, _ := strings.Cut(strings.TrimPrefix(string(value), "part="), " ")
	return part
}

func (c *check) selfUnknown(p entry.Path, part string, err error) {
	g := scanner.Gap{Path: p, Reason: scanner.ReasonIO, Detail: "a part of intact itself: " + err.Error(), Attrs: entry.Content}
	if errors.Is(err, fs.ErrPermission) {
		g.Reason, g.Detail = scanner.ReasonPermission, "a part of intact itself"
	}
	c.gaps.add(g)
	if part != partConfig {
		c.unheld = append(c.unheld, p)
	}
}

func selfFinding(p entry.Path, part string, old, now []byte) rules.Finding {
	f := rules.Finding{Set: "trust", Rule: "trust.self", Severity: rules.Critical, RawSeverity: rules.Critical, Change: "changed",
		Subject: rules.Subject{Kind: "file", Path: string(p)}, Reasons: []string{"belongs to intact itself: " + strings.ReplaceAll(part, "-", " ")}, Attack: []string{"T1685"}}
	switch {
	case old == nil:
		f.Change = "added"
	case now == nil:
		f.Change = "removed"
	}
	was, is := words(old), words(now)
	for _, name := range []string{"kind", "target", "mode", "uid", "gid", "size", "content", "at"} {
		o, had := was[name]
		n, has := is[name]
		if o != n {
			f.Attributes = append(f.Attributes, rules.Value{Name: name, Old: o, OldKnown: had, New: n, NewKnown: has})
		}
	}
	return f
}

// words splits the value of a row. Only a quoted value has spaces.
func words(value []byte) map[string]string {
	m := map[string]string{}
	rest := string(value)
	for rest != "" {
		name, v, _ := strings.Cut(rest, "=")
		if quoted, err := strconv.QuotedPrefix(v); err == nil {
			v, rest = quoted, strings.TrimPrefix(v[len(quoted):], " ")
		} else {
			v, rest, _ = strings.Cut(v, " ")
		}
		m[name] = v
	}
	return m
}

// selfAcceptable refuses to adopt a policy while anything of intact itself but
// its configuration is another, or nobody can tell: it would be dropped from the
// baseline, or blessed.
func (c *check) selfAcceptable() error {
	for _, f := range c.trusts {
		if f.Rule == "trust.self" && !strings.HasSuffix(f.Reasons[0], ": "+partConfig) {
			return notAccepted(1, entry.Path(f.Subject.Path))
		}
	}
	if len(c.unheld) > 0 {
		return usageErrorAs(ExitIncomplete, "policy adopt: %s belongs to intact itself and cannot be read: it would be dropped from the baseline", report.Escape(string(c.unheld[0])))
	}
	return nil
}
