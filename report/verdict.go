package report

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"intact/rules"
)

// maxReason bounds the reason in a verdict line, in runes: the line is also
// the subject of a mail.
const maxReason = 160

// Summary returns the verdict of a report in one line without newline, safe to
// show, to log and to use as the subject of a mail.
func Summary(h Header, t Trailer) string {
	s := "intact: "
	if h.Host.Name != "" {
		s += Escape(h.Host.Name) + ": "
	}
	return s + scopeWords(h) + verdictWords(h, t)
}

// scopeWords says what was done, where that is not a full check of "/".
func scopeWords(h Header) string {
	var w []string
	if h.Scope == ScopePartial {
		w = append(w, "partial")
	}
	if h.Kind != KindCheck || len(w) > 0 {
		w = append(w, string(h.Kind))
	}
	if h.Root != "/" {
		if len(w) == 0 {
			w = append(w, string(h.Kind))
		}
		w = append(w, "of "+Escape(h.Root))
	}
	if len(w) == 0 {
		return ""
	}
	return strings.Join(w, " ") + ": "
}

func verdictWords(h Header, t Trailer) string {
	c := t.Counts
	var b strings.Builder
	found := c.Total() > 0
	switch t.Verdict {
	case Clean:
		if h.Kind == KindAccept {
			fmt.Fprintf(&b, "generation %d", t.Published.Generation)
			because(&b, ": ", t.Reason)
			return b.String()
		}
		b.WriteString("clean, ")
		if t.Quick != nil {
			b.WriteString(t.Quick.words() + "; ")
		}
		fmt.Fprintf(&b, "%s %s", plural(c.Verified+addedAtInit(h, c), "path"), cleanVerb(h))
		because(&b, ": ", t.Reason)
		switch {
		case found && h.Kind == KindInit:
			if files := t.Posture.without(c); files.Total() > 0 {
				fmt.Fprintf(&b, "; %s that no package vouches for (%s)", plural(files.Total(), "file"), bySeverity(files))
			}
		case found:
			b.WriteString("; " + findingWords(h, c) + " below the threshold")
		}
		if c.KnownGaps > 0 {
			b.WriteString(", " + plural(c.KnownGaps, "known gap"))
		}
		if n := t.Posture.stands(); n > 0 {
			b.WriteString("; " + plural(n, "finding") + " standing")
		}
		if t.Second != nil {
			b.WriteString("; " + t.Second.words())
		}
		return b.String()
	case Findings:
		b.WriteString(findingWords(h, c))
		because(&b, ": ", t.Reason)
		found = false
	case Untrusted:
		b.WriteString("UNTRUSTED")
		because(&b, ": ", t.Reason)
	case Incomplete:
		b.WriteString("incomplete")
		because(&b, ": ", t.Reason)
	case Interrupted:
		fmt.Fprintf(&b, "interrupted after %s", plural(c.Selected, "path"))
		because(&b, ": ", t.Reason)
	default:
		b.WriteString("ERROR")
		because(&b, ": ", t.Reason)
	}
	if found {
		b.WriteString("; " + findingWords(h, c))
	}
	if c.Unverified > 0 {
		b.WriteString("; " + plural(c.Unverified, "path") + " not verified")
	} else if !t.Complete && t.Verdict == Findings {
		b.WriteString("; incomplete")
	}
	if c.KnownGaps > 0 {
		b.WriteString("; " + plural(c.KnownGaps, "known gap"))
	}
	if t.Quick != nil {
		b.WriteString("; " + t.Quick.words())
	}
	if t.Second != nil {
		b.WriteString("; " + t.Second.words())
	}
	if n := t.Posture.stands(); n > 0 {
		b.WriteString("; " + plural(n, "finding") + " standing")
	}
	return b.String()
}

// words say of a quick check that it was one, and what that means here.
func (q *Quick) words() string {
	if q.Trusted == 0 {
		return "quick, but the content of all " + plural(q.Files, "file") + " was read"
	}
	s := fmt.Sprintf("quick: the content of %s of %s was not read", group(q.Trusted), plural(q.Files, "file"))
	if !q.Oldest.IsZero() {
		s += ", the oldest was read on " + q.Oldest.UTC().Format(time.DateOnly)
	}
	return s
}

// addedAtInit counts what a first baseline records: nothing there was verified
// against anything.
func addedAtInit(h Header, c Counts) int64 {
	if h.Kind == KindInit {
		return c.Added
	}
	return 0
}

func cleanVerb(h Header) string {
	switch h.Kind {
	case KindInit:
		return "recorded"
	case KindDiff:
		return "equal"
	}
	return "verified"
}

func because(b *strings.Builder, sep, reason string) {
	if reason == "" {
		return
	}
	reason = Prose(reason)
	if utf8.RuneCountInString(reason) > maxReason {
		reason = string([]rune(reason)[:maxReason-1]) + "…"
	}
	b.WriteString(sep + reason)
}

// findingWords is "3 findings (1 high, 2 low), 2 new, 1 pending since 3 Nov".
func findingWords(h Header, c Counts) string {
	n := c.Total()
	if n == 0 {
		return "no findings"
	}
	s := plural(n, "finding") + " (" + bySeverity(c) + ")"
	if h.Kind == KindDiff {
		return s // neither side is now
	}
	s += ", " + group(c.New) + " new"
	if c.Pending > 0 {
		s += ", " + group(c.Pending) + " pending" + sinceWords(h, c.PendingSince)
	}
	if c.Explained > 0 {
		s += ", " + group(c.Explained) + " explained"
	}
	return s
}

// bySeverity is "1 high, 2 low".
func bySeverity(c Counts) string {
	var by []string
	for s := int(rules.Critical); s >= 0; s-- {
		if k := c.Findings[s]; k > 0 {
			by = append(by, group(k)+" "+rules.Severity(s).String())
		}
	}
	return strings.Join(by, ", ")
}

// sinceWords is " since 3 Nov", with the year where it is another than that of
// the report.
func sinceWords(h Header, t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.UTC().Year() != h.Started.UTC().Year():
		return " since " + t.UTC().Format("2 Jan 2006")
	}
	return " since " + t.UTC().Format("2 Jan")
}

// plural is "1 path" or "1,234 paths".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "y") {
		return group(n) + " " + strings.TrimSuffix(noun, "y") + "ies"
	}
	return group(n) + " " + noun + "s"
}

// group writes n with a comma between thousands.
func group(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
