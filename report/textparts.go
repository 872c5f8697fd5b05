package report

import (
	"fmt"
	"strings"
	"time"

	"intact/rules"
	"intact/scanner/entry"
)

// facts prints what was done and what came of it in figures.
func (t *text) facts() {
	h, c := t.h, t.t.Counts
	where := ""
	if h.Host.Name != "" {
		where = " on " + Escape(h.Host.Name)
	}
	if h.Host.ID != "" {
		where += " (host " + Escape(h.Host.ID) + ")"
	}
	took := ""
	if d := t.t.Finished.Sub(h.Started); !h.Started.IsZero() && !t.t.Finished.IsZero() && d >= 0 {
		took = ", took " + d.Round(100*time.Millisecond).String()
	}
	at := ""
	if !h.Started.IsZero() {
		at = ", " + t.when(h.Started, false)
	}
	t.line("%s of %s%s%s%s", h.Kind, Escape(h.Root), where, at, took)
	if h.Scope == ScopePartial {
		t.fact("scope", "partial: only a part of the policy was looked at")
	}
	t.baseline("baseline", h.Baseline)
	t.baseline("published", t.t.Published)
	if h.Policy != "" {
		t.fact("policy", short(h.Policy))
	}
	t.fact("report", fmt.Sprintf("%d (%s), %s", h.Seq, Escape(h.ID), toolText(h.Tool)))
	t.fact("paths", group(c.Selected)+" selected: "+countWords(h.Kind, c))
	read := human(c.Bytes) + " of content read"
	if c.Skipped > 0 {
		read += ", " + plural(c.Skipped, "mount") + " passed over"
	}
	if h.Kind != KindDiff {
		t.fact("extent", read)
	}
	if p := t.t.Posture; p != nil && p.Rules > 0 {
		t.posture(p)
	}
	if l := t.t.Second; l != nil {
		t.fact("second", l.words())
	}
	if l := t.t.Logs; l != nil {
		t.fact("logs", l.words())
	}
	if v := t.t.Coverage; v != nil {
		t.fact("coverage", t.coverage(v))
	}
	if q := t.t.Quick; q != nil {
		t.fact("quick", fmt.Sprintf("%s of %s trusted unread: size, times, inode and device as in the baseline", group(q.Trusted), plural(q.Files, "file")))
		age := ""
		if !q.Oldest.IsZero() {
			age = ", the oldest was read " + t.when(q.Oldest, false)
		}
		t.fact("", fmt.Sprintf("read at random %d %%, and all of it every %d days%s", q.Share, q.Every, age))
	}
}

func (t *text) fact(name, s string) { t.line("  %-10s %s", name, s) }

func (t *text) baseline(name string, b Baseline) {
	if b.Generation == 0 {
		return
	}
	s := fmt.Sprintf("generation %d", b.Generation)
	if b.Root != "" {
		s += ", root " + short(b.Root)
	}
	if b.Signer != "" {
		s += ", signed by " + Escape(b.Signer)
	} else {
		s += ", not signed"
	}
	t.fact(name, s)
}

func toolText(x Tool) string {
	s := "made by intact " + Escape(x.Version)
	if x.Digest != "" {
		s += " " + short(x.Digest)
	}
	return s
}

// countWords leaves out what is zero, but never what is in order.
func countWords(k Kind, c Counts) string {
	s := group(c.Verified) + " verified"
	switch k {
	case KindInit:
		s = group(c.Verified+c.Added) + " recorded"
		c.Added = 0
	case KindDiff:
		s = group(c.Verified) + " equal"
	}
	for _, p := range []struct {
		n    int64
		word string
	}{{c.Changed, "changed"}, {c.Added, "added"}, {c.Removed, "removed"}, {c.Renamed, "renamed"},
		{c.Unverified, "not verified"}, {c.KnownGaps, "in known gaps"}} {
		if p.n > 0 {
			s += ", " + group(p.n) + " " + p.word
		}
	}
	return s
}

func subjectText(s rules.Subject) string {
	switch {
	case s.Path != "" && s.Name != "":
		return Escape(s.Path) + " " + Escape(s.Name)
	case s.Path != "":
		return Escape(s.Path)
	case strings.HasPrefix(s.Name, `"`):
		return Escape(s.Kind) + " " + Prose(s.Name) // quoted words
	case s.Name != "":
		return Escape(s.Kind) + " " + Escape(s.Name)
	}
	return Escape(s.Kind)
}

// finding prints one finding: a line, and what is known of it indented below.
func (t *text) finding(f *rules.Finding) {
	if t.another(f) {
		return
	}
	title := subjectText(f.Subject)
	if f.From != "" {
		title = Escape(f.From) + " → " + title
	}
	if k := f.Subject.Kind; f.Subject.Path != "" && k != "" && k != "file" {
		title += " (" + Escape(k) + ")"
	}
	if f.Count > 0 {
		title += ", with " + plural(f.Count, "entry") + " more"
	}
	t.line("%s  %-8s  %s", t.severity(f.Severity), Escape(or(f.Change, f.Rule)), title)
	t.attributes(f)
	for _, l := range f.Links {
		t.detail("same file", Escape(l))
	}
	if len(f.Reasons) > 0 {
		var s []string
		for _, r := range f.Reasons {
			s = append(s, Prose(r))
		}
		t.detail("why", strings.Join(s, "; "))
	}
	if f.SHA256 != "" && t.Verbose {
		t.detail("sha256", f.SHA256)
	}
	if f.Explained != nil {
		t.detail("explained", sourceText(f.Explained)+", else "+f.RawSeverity.String())
	}
	t.actors(f)
	if f.Window != "" {
		t.detail("during", t.window(f.Window))
	}
	if !f.New {
		s := "reported before"
		if !f.FirstSeen.IsZero() {
			s = "since " + t.when(f.FirstSeen, false)
		}
		t.detail("pending", s)
	}
	// One line is enough for the small fry: there may be very many of them.
	if f.Severity <= rules.Low && len(f.Attack) == 0 && f.Change != "" && !t.Verbose {
		return
	}
	rule := Escape(f.Rule)
	if len(f.Attack) > 0 {
		var ids []string
		for _, a := range f.Attack {
			ids = append(ids, Escape(a))
		}
		rule += ", ATT&CK " + strings.Join(ids, " ")
	}
	t.detail("rule", rule)
}

func (t *text) detail(name, s string) { t.line("          %-12s  %s", name, s) }

func (t *text) attributes(f *rules.Finding) {
	if f.Subject.Path == "" {
		t.plain(f)
		return
	}
	if f.Change == "added" || f.Change == "removed" {
		t.record(f)
		return
	}
	for _, v := range f.Attributes {
		old, now, ok := listed(v.Name, v.Old, v.New)
		if !ok {
			t.detail(label(v.Name), t.arrow(v.Name, v.Old, v.New, v.OldKnown, v.NewKnown))
			continue
		}
		name := label(v.Name)
		for _, l := range missing(old, now) {
			t.detail(name, "- "+Escape(l))
			name = ""
		}
		for _, l := range missing(now, old) {
			t.detail(name, "+ "+Escape(l))
			name = ""
		}
	}
}

// missing returns the lines of a that b has not.
func missing(a, b []string) (m []string) {
	has := make(map[string]bool, len(b))
	for _, l := range b {
		has[l] = true
	}
	for _, l := range a {
		if !has[l] {
			m = append(m, l)
		}
	}
	return m
}

// record prints what is known of an object that came or went, in one line.
func (t *text) record(f *rules.Finding) {
	const rarely = entry.Ctime | entry.Inode | entry.Nlink | entry.Device | entry.Type
	var s []string
	for _, v := range f.Attributes {
		val, known := v.New, v.NewKnown
		if f.Change == "removed" {
			val, known = v.Old, v.OldKnown
		}
		bit, _ := entry.ParseAttr(v.Name)
		if !known || val == "" && !t.Verbose || bit&rarely != 0 && !t.Verbose {
			continue
		}
		s = append(s, label(v.Name)+" "+t.value(v.Name, val, true))
	}
	if len(s) > 0 {
		name := "is"
		if f.Change == "removed" {
			name = "was"
		}
		t.detail(name, strings.Join(s, ", "))
	}
}

// next prints how to go on.
func (t *text) next() {
	if t.h.Kind == KindDiff {
		return // there is nothing to do about what was
	}
	type step struct{ words, what string }
	var steps []step
	add := func(what string, words ...string) {
		var q []string
		for _, w := range append(append([]string{}, t.Program...), words...) {
			q = append(q, ShellQuote(w))
		}
		steps = append(steps, step{strings.Join(q, " "), what})
	}
	if t.explain.path != "" {
		add("why this path is checked", "explain", t.explain.path)
	}
	switch {
	case t.t.Verdict == Untrusted:
		add("what is wrong with the baseline", "baseline", "verify")
	case t.h.Kind == KindInit: // there is nothing pending
	default:
		if t.signed > 0 {
			add("make what signatures explain part of the baseline, and nothing else", "accept", "--explained", "--reason", "…")
		}
		if t.accept.path != "" {
			add("make this change part of the baseline", "accept", "--path", globLiteral(t.accept.path), "--reason", "…")
		}
		if t.row.path != "" {
			add("make this one part of it", "accept", "--fact", globLiteral(t.row.path), "--reason", "…")
		}
		if (t.accept.path != "" || t.row.path != "") && t.t.Counts.Total() > 1 {
			add("make all of them part of it, except critical ones", "accept", "--all", "--reason", "…")
		}
		if t.failing.path != "" {
			add("why this rule fails, and how to mend it", "posture", "--explain", t.failing.path)
			add("or let what fails by it stand, without another word in checks", "accept", "--rule", t.failing.path, "--reason", "…")
		}
	}
	if t.h.Kind == KindInit && t.t.Published.Generation > 0 {
		add("what has changed since", "check")
	}
	if len(steps) == 0 {
		return
	}
	t.heading("How to go on:")
	for _, s := range steps {
		t.line("  %s", s.words)
		t.line("      %s", s.what)
	}
}

// globLiteral returns the pattern, in the language of policies, that matches s
// alone.
func globLiteral(s string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `\`, `\\`).Replace(s)
}

func (t *text) exit() {
	s := fmt.Sprintf("Exit %d: %s", t.t.Exit, exitText(t.t.Exit))
	for _, e := range t.t.Exits {
		if e != t.t.Exit {
			s += fmt.Sprintf("; and %d: %s", e, exitText(e))
		}
	}
	t.heading("%s", s)
}

func exitText(code int) string {
	switch code {
	case 0:
		return "clean"
	case 1:
		return "findings at or above the threshold"
	case 2:
		return "the configuration must be corrected"
	case 3:
		return "could not be completed"
	case 4:
		return "the baseline cannot be trusted"
	case 130:
		return "interrupted"
	}
	return "unknown"
}
