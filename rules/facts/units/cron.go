package units

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// CronEntry is a job of cron(8), anacron(8) or at(1).
type CronEntry struct {
	File     string `cel:"file"`
	At       string `cel:"at"` // file:line
	User     string `cel:"user"`
	Schedule string `cel:"schedule"` // five fields with one blank between them, @daily and the like, or the folder's name as daily
	Command  string `cel:"command"`  // of a script in a folder its path, of a job of at its digest
	Script   bool   `cel:"script"`   // a file of a folder as cron.daily
	Settings string `cel:"settings"` // lines above it that give its command a variable, as SHELL=/bin/sh; of very many their digest
}

// Key tells jobs apart.
func (c CronEntry) Key() string { return fmt.Sprintf("%q %q %q", c.File, c.User, c.Command) }

// Compared spells what is compared of a job.
func (c CronEntry) Compared() string {
	if c.Settings == "" {
		return fmt.Sprintf("schedule=%q", c.Schedule)
	}
	return fmt.Sprintf("schedule=%q settings=%q", c.Schedule, c.Settings)
}

// withSetting adds a line to the settings of the jobs below it, but those about mail.
func withSetting(to, line string) string {
	switch name, _, _ := strings.Cut(line, "="); strings.Trim(name, " \t\"'") {
	case "MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING":
		return to
	}
	if to != "" {
		to += "\n"
	}
	if to += line; len(to) > maxSettings {
		return digest.Sum([]byte(to)).Named()
	}
	return to
}

// maxSettings bounds what each job keeps of them, in bytes.
const maxSettings = 256

// Bounds of what is read: bytes of a file, and jobs. Every user has a crontab.
const (
	maxCrontab = 4 << 20
	maxJobs    = 100_000
)

// Cron reads the jobs of a host.
func Cron(ctx context.Context, h facts.Host) facts.Answer[CronEntry] {
	a := facts.Answer[CronEntry]{Status: rules.OK, Via: "crontabs"}
	fail := func(p entry.Path, err error) {
		if a.Status == rules.OK && !facts.Missing(err) {
			a.Status, a.Reason = facts.AnswerStatus(err), fmt.Sprintf("%s: %v", p, err)
		}
	}
	file := func(p entry.Path, user string, parse func(string, bool) (CronEntry, bool)) {
		if ctx.Err() != nil {
			fail(p, ctx.Err())
			return
		}
		b, err := h.Root.ReadFile(p, maxCrontab)
		if err != nil {
			fail(p, err)
			return
		}
		n, settings := 0, ""
		for line := range strings.Lines(string(b)) {
			n++
			line = strings.Trim(line, " \t\r\n")
			if line != "" && line[0] != '#' && isSetting(line) {
				settings = withSetting(settings, line)
			} else if e, ok := parse(line, user == ""); ok {
				if len(a.Rows) >= maxJobs {
					fail(p, fmt.Errorf("over %d jobs", maxJobs))
					return
				}
				e.Settings = settings
				e.File, e.At = string(p), fmt.Sprintf("%s:%d", p, n)
				if user != "" {
					e.User = user
				}
				a.Rows = append(a.Rows, e)
			}
		}
	}
	list := func(dir entry.Path, do func(name string, p entry.Path)) {
		n := 0
		err := h.Root.List(dir, func(name string, k entry.Kind) error {
			if n++; n > maxUnits {
				return errors.New("too many names")
			}
			if k == entry.File || k == entry.Symlink {
				do(name, dir.Join([]byte(name)))
			}
			return nil
		})
		if err != nil {
			fail(dir, err)
		}
	}
	file("/etc/crontab", "", parseCron)
	list("/etc/cron.d", func(name string, p entry.Path) {
		if runParts(name) {
			file(p, "", parseCron)
		}
	})
	for _, dir := range [...]entry.Path{"/var/spool/cron/crontabs", "/var/spool/cron", "/var/spool/cron/tabs"} {
		list(dir, func(name string, p entry.Path) { file(p, name, parseCron) })
	}
	file("/etc/anacrontab", "root", parseAnacron)
	for _, often := range [...]string{"hourly", "daily", "weekly", "monthly", "yearly"} {
		list(entry.Path("/etc/cron."+often), func(name string, p entry.Path) {
			if runParts(name) {
				a.Rows = append(a.Rows, CronEntry{File: string(p), At: string(p), User: "root", Schedule: often, Command: string(p), Script: true})
			}
		})
	}
	for _, dir := range [...]entry.Path{"/var/spool/cron/atjobs", "/var/spool/at"} {
		list(dir, func(name string, p entry.Path) {
			if strings.HasPrefix(name, ".") || name == "spool" {
				return
			}
			b, err := h.Root.ReadFile(p, maxCrontab)
			if err != nil {
				fail(p, err)
				return
			}
			uid, err := h.Root.Owner(p)
			if err != nil {
				fail(p, err)
				return
			}
			a.Rows = append(a.Rows, CronEntry{File: string(p), At: string(p), User: fmt.Sprint(uid), Schedule: "once", Command: "blake3:" + digest.Sum(b).String()})
		})
	}
	slices.SortStableFunc(a.Rows, func(x, y CronEntry) int { return strings.Compare(x.File, y.File) })
	return a
}

// runParts reports whether cron looks at a file of that name: of cron.d and the
// folders of scripts Debian's takes letters, digits, dash and underscore; that of
// others takes dots too, which is what counts here: better one row too many. It
// leaves out editors' copies and what package managers put aside.
func runParts(name string) bool {
	for _, s := range [...]string{"~", ".swp", ".rpmsave", ".rpmorig", ".rpmnew", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp"} {
		if strings.HasSuffix(name, s) {
			return false
		}
	}
	return name != "" && name[0] != '.' && name[0] != '#'
}

// parseCron reads a line of crontab(5), with a user where withUser says so.
func parseCron(line string, withUser bool) (e CronEntry, ok bool) {
	if line == "" || line[0] == '#' || isSetting(line) {
		return e, false
	}
	fields := 5
	if line[0] == '@' {
		fields = 1
	}
	var when []string
	for range fields {
		var w string
		if w, line = word(line); w == "" {
			return e, false
		}
		when = append(when, w)
	}
	e.Schedule = strings.Join(when, " ")
	if withUser {
		e.User, line = word(line)
	}
	e.Command = strings.Trim(line, " \t")
	return e, e.Command != "" && (!withUser || e.User != "")
}

// parseAnacron reads a line of anacrontab(5): period, delay, name, command.
func parseAnacron(line string, _ bool) (e CronEntry, ok bool) {
	if line == "" || line[0] == '#' || isSetting(line) {
		return e, false
	}
	period, line := word(line)
	_, line = word(line)
	_, line = word(line)
	e.Schedule, e.Command = "every "+period, strings.Trim(line, " \t")
	return e, e.Command != ""
}

func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// isSetting reports whether a line sets a variable: a name, also in quotes, blanks, =.
func isSetting(line string) bool {
	name, _, ok := strings.Cut(line, "=")
	name = strings.Trim(name, " \t")
	if !ok || name == "" {
		return false
	}
	if q := name[0]; (q == '"' || q == '\'') && len(name) > 1 && name[len(name)-1] == q {
		return true
	}
	return !strings.ContainsAny(name, " \t*/,@")
}
