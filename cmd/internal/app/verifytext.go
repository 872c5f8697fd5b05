package app

import (
	"fmt"
	"strconv"
	"strings"

	"intact/report"
	"intact/rules/pkgdb"
	"intact/scanner"
	"intact/scanner/entry"
)

// tell prints a subject.
func (v *verify) tell(s *subject) error {
	if v.env.Quiet && len(s.codes()) == 0 {
		return nil
	}
	if v.o.Format == "json" {
		return v.tellJSON(s)
	}
	_, err := v.w.WriteString(v.text(s))
	return err
}

// text is the line of a subject and, indented below it, what needs more words.
func (v *verify) text(s *subject) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-15s  %s", s.verdict, s.name())
	for _, w := range v.words(s) {
		b.WriteString("  " + w)
	}
	b.WriteByte('\n')
	for _, d := range v.details(s) {
		b.WriteString("  " + d + "\n")
	}
	return b.String()
}

func (s *subject) name() string {
	switch {
	case s.path != "":
		return report.Escape(string(s.path))
	case s.run != nil && s.run.role == "module":
		return "module " + report.Escape(s.run.procs[0].name)
	}
	return "without a name"
}

// words are the parts of a subject's line.
func (v *verify) words(s *subject) (w []string) {
	if s.look != nil && s.look.Entry.Have != 0 {
		e := &s.look.Entry
		if e.Kind != entry.File {
			w = append(w, e.Kind.String())
		}
		if t, ok := entry.Text(entry.Target, e); ok {
			w = append(w, "→ "+report.Escape(t))
		}
		w = append(w, fmt.Sprintf("%04o %s:%s", e.Mode, report.Escape(v.users.User(e.UID)), report.Escape(v.users.Group(e.GID))))
		if e.Kind == entry.File {
			w = append(w, strconv.FormatInt(e.Size, 10)+" bytes")
		}
		if e.Have&entry.Content != 0 {
			w = append(w, e.Digest.Named(), fmt.Sprintf("sha256:%x", s.look.SHA256))
		}
		w = append(w, powers(e)...)
	}
	if p := s.packageWords(); p != "" {
		w = append(w, p)
	}
	return w
}

// powers says what running a file gives.
func powers(e *entry.Entry) (w []string) {
	if e.Kind == entry.File && e.Mode&0o4000 != 0 {
		w = append(w, "setuid")
	}
	if e.Kind == entry.File && e.Mode&0o2000 != 0 {
		w = append(w, "setgid")
	}
	if t, ok := entry.Text(entry.Caps, e); ok {
		w = append(w, "capabilities "+report.Escape(t))
	}
	return w
}

func (s *subject) packageWords() string {
	switch s.pkg.State {
	case pkgdb.NoOwner:
		return "no package"
	case pkgdb.Unknown:
		return "package unknown (" + report.Prose(s.pkg.Reason) + ")"
	case pkgdb.Owned:
	default:
		return ""
	}
	if n := len(s.pkg.Owners) + s.pkg.More; n > 1 && s.look != nil && s.look.Entry.Kind != entry.File {
		return fmt.Sprintf("%d packages list it (%s)", n, levelWords(&s.pkg.Owners[0]))
	}
	var list []string
	for i := range s.pkg.Owners {
		o := &s.pkg.Owners[i]
		w := report.Escape(o.Package)
		if o.Version != "" {
			w += " " + report.Escape(o.Version)
		}
		c := s.content(o)
		if s.look != nil && s.look.Entry.Kind != entry.File && c == contentUnknown {
			c = "lists it"
		}
		if o.Conffile {
			c += ", conffile"
		}
		if o.Diverted {
			c += ", diverted"
		}
		if o.Ghost {
			c += ", made on the host"
		}
		if o.Displaced {
			c += ", not installed from it"
		}
		if i < len(s.beside) {
			for _, b := range s.beside[i] {
				c += ", " + b.Name + " differs"
			}
		}
		list = append(list, w+" ("+levelWords(o)+": "+c+")")
	}
	if s.pkg.More > 0 {
		list = append(list, fmt.Sprintf("%d more", s.pkg.More))
	}
	return "package " + strings.Join(list, ", ")
}

// details are the lines below a subject's own.
func (v *verify) details(s *subject) (d []string) {
	add := func(format string, args ...any) { d = append(d, fmt.Sprintf(format, args...)) }
	for _, l := range s.bad {
		add("known bad: %s:%d", report.Escape(l.file), l.line)
	}
	for _, l := range s.good {
		add("known good: %s:%d", report.Escape(l.file), l.line)
	}
	if s.real != "" && s.real != s.path {
		add("stands at %s", report.Escape(string(s.real)))
	}
	if s.astray {
		add("a folder above it has become a link: the baseline knows it at %s", report.Escape(string(s.path)))
	}
	if s.leads != "" {
		add("leads to %s", report.Escape(string(s.leads)))
	}
	if s.base != baseElsewhere && s.verdict != byBase[s.base] {
		add("baseline: %s", s.base)
	}
	for _, c := range s.changes() {
		add("%s  %s → %s", c.label, v.side(c.Name, c.old), v.side(c.Name, c.new))
	}
	if s.uncovers {
		add("the baseline does not know its content")
	}
	if u := s.unknown &^ entry.Content; u != 0 {
		add("not read when the baseline was made: %s", u)
	}
	d = append(d, s.packageLines()...)
	d = append(d, runningLines(s)...)
	if s.look != nil {
		for i := range s.look.Gaps {
			add("not read: %s", gapWords(&s.look.Gaps[i]))
		}
	}
	return d
}

// side is one side of a change.
func (v *verify) side(name string, text *string) string {
	if text == nil {
		return "none"
	}
	if id, err := strconv.ParseUint(*text, 10, 32); err == nil {
		switch name {
		case "uid":
			return report.Escape(v.users.User(uint32(id))) + " (" + *text + ")"
		case "gid":
			return report.Escape(v.users.Group(uint32(id))) + " (" + *text + ")"
		}
	}
	return report.Escape(*text)
}

func gapWords(g *scanner.Gap) string {
	w := string(g.Reason)
	if g.Detail != "" {
		w = report.Prose(g.Detail)
	}
	if g.Attrs != 0 {
		w = g.Attrs.String() + ": " + w
	}
	return w
}

func runningLines(s *subject) (d []string) {
	if len(s.runBy) > 0 {
		d = append(d, "run by "+processWords(s.runBy, s.runMore))
	}
	if s.run == nil {
		return d
	}
	switch s.run.role {
	case "module":
		d = append(d, "kernel module "+report.Escape(s.run.procs[0].name)+" is loaded: what is in the kernel cannot be read back")
	case "executable":
		d = append(d, "executable of "+processWords(s.run.procs, s.run.more))
	default:
		d = append(d, "mapped by "+processWords(s.run.procs, s.run.more))
	}
	switch s.run.verdict {
	case verdictDeleted:
		d = append(d, "what runs is not on the disk any more")
	case verdictMemfd:
		d = append(d, "what runs was never a file on a disk")
	case verdictReplaced:
		line := "differs from the file on disk"
		if o := &s.run.other.Entry; o.Have&entry.Content != 0 {
			line = fmt.Sprintf("another file is on disk: %s  sha256:%x", o.Digest.Named(), s.run.other.SHA256)
			if s.look.Entry.Have&entry.Content != 0 && o.Digest == s.look.Entry.Digest {
				line = "another file is on disk, with the same content"
			} else {
				line = "differs from the file on disk: " + strings.TrimPrefix(line, "another file is on disk: ")
			}
		}
		d = append(d, line)
	}
	return d
}

func processWords(list []process, more int) string {
	var w []string
	for _, p := range list {
		w = append(w, fmt.Sprintf("%d (%s)", p.pid, report.Escape(p.name)))
	}
	if more > 0 {
		w = append(w, fmt.Sprintf("%d more", more))
	}
	return strings.Join(w, ", ")
}

// order is the order in which verdicts are counted up.
var order = [...]verdict{verdictKnownBad, verdictMemfd, verdictDeleted, verdictReplaced, verdictNoFile, verdictRemoved, verdictDiffers, verdictUnverified,
	verdictMetadata, verdictAbsent, verdictUnselected, verdictNone, verdictUntrusted, verdictKnownGood, verdictSame}

// tellEnd prints the sum.
func (v *verify) tellEnd() error {
	if v.env.Quiet && v.out.Exit() == ExitClean {
		return nil
	}
	if v.o.Format == "json" {
		return v.tellTrailer()
	}
	for _, f := range v.running.without {
		fmt.Fprintf(v.w, "process %d (%s) has executable memory without a file, mappings: %d\n", f.pid, report.Escape(f.name), f.mappings)
	}
	var w []string
	for _, k := range order {
		if n := v.counts[k]; n > 0 {
			w = append(w, fmt.Sprintf("%d %s", n, k))
		}
	}
	if len(w) == 0 {
		w = []string{"nothing was verified"}
	}
	c := &v.running
	for _, x := range []struct {
		n    int64
		text string
	}{
		{c.processes, "processes looked into"},
		{c.anonymous, "executable mappings without a file"},
		{c.special, "of devices"},
		{c.denied, "processes not looked into"},
		{c.failed, "mappings not looked into"},
		{c.unasked, "processes not asked what they run"},
	} {
		if x.n > 0 {
			w = append(w, fmt.Sprintf("%s: %d", x.text, x.n))
		}
	}
	_, err := fmt.Fprintf(v.w, "intact: %s: verify: %s\n", report.Escape(hostName()), strings.Join(w, ", "))
	return err
}
