package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"intact/rules"
)

// maxSources bounds the sources of explanations that a text tells apart. What
// is beyond counts as one.
const maxSources = 10_000

// stands reports whether an explanation stands for a finding of severity s in
// the text, which then shows its source in place of it. What a signature vouches
// for is info by then; high and critical ones are always shown.
func stands(x *rules.Explanation, s rules.Severity) bool {
	return x != nil && s < rules.High && (x.Level == rules.Signed || x.Level == rules.Attributed)
}

// stood is stands for the line of a finding that was read before. Inside a JSON
// string every quote has a backslash before it, so that this can only be the
// level of an explanation.
func stood(line string, s rules.Severity) bool {
	return s < rules.High && (strings.Contains(line, `,"level":"`+rules.Signed+`"`) || strings.Contains(line, `,"level":"`+rules.Attributed+`"`))
}

// source is one source of explanations.
type source struct {
	x     rules.Explanation
	count int64
	worst rules.Severity // raw, of those that it explains
}

// attribute counts a finding for its source. It reports whether the source
// stands for it.
func (t *text) attribute(f *rules.Finding) bool {
	if f.Explained == nil {
		return false
	}
	if t.sources == nil {
		t.sources = map[rules.Explanation]*source{}
	}
	x := *f.Explained
	s := t.sources[x]
	if s == nil {
		if len(t.sources) >= maxSources {
			x = rules.Explanation{Source: "other sources", Level: x.Level}
		} else {
			// Copies: what was read is a part of its whole line.
			x = x.Clone()
		}
		if s = t.sources[x]; s == nil {
			s = &source{x: x}
			t.sources[x] = s
		}
	}
	s.count++
	s.worst = max(s.worst, f.RawSeverity)
	if x.Level == rules.Signed {
		t.signed++
	}
	return stands(f.Explained, f.Severity)
}

// explained prints one line for each source, those that say most first, and
// below it what is said of the same source more weakly, or of another kind.
func (t *text) explained() {
	if len(t.sources) == 0 {
		return
	}
	type total struct {
		rank  int
		count int64
	}
	all := map[string]total{}
	for _, s := range t.sources {
		sum := all[s.x.Source]
		all[s.x.Source] = total{max(sum.rank, s.x.Rank()), sum.count + s.count}
	}
	list := slices.SortedFunc(maps.Values(t.sources), func(a, b *source) int {
		of, than := all[a.x.Source], all[b.x.Source]
		return cmp.Or(than.rank-of.rank, cmp.Compare(than.count, of.count), cmp.Compare(a.x.Source, b.x.Source),
			b.x.Rank()-a.x.Rank(), cmp.Compare(b.count, a.count),
			cmp.Compare(a.x.ID, b.x.ID), cmp.Compare(a.x.Kind, b.x.Kind), cmp.Compare(a.x.By, b.x.By), cmp.Compare(a.x.When, b.x.When), cmp.Compare(a.x.Key, b.x.Key), cmp.Compare(a.x.Verified, b.x.Verified))
	})
	end := ""
	if !t.Verbose {
		end = ", one by one with --verbose"
	}
	t.heading("Explained, %s%s:", plural(t.t.Counts.Explained, "change"), end)
	line := t.list(int64(len(list)), listLimit)
	for i, s := range list {
		by := "explained by " + sourceText(&s.x)
		if i > 0 && s.x.Source == list[i-1].x.Source && s.x.ID == list[i-1].x.ID {
			by = "  with it, " + Escape(or(s.x.Kind, "source")) + " (" + Escape(s.x.Level) + ")"
		}
		came := ""
		if at, err := time.Parse(time.RFC3339, s.x.When); err == nil {
			came = ", " + t.when(at, false)
		}
		line(by + ": " + plural(s.count, "change") + ", else " + s.worst.String() + " at most" + came)
	}
}

// sourceText is an explanation in one line.
func sourceText(x *rules.Explanation) string {
	s := Escape(x.Source)
	if x.ID != "" {
		s += ", " + Escape(or(x.Kind, "source")) + " " + short(x.ID)
	}
	s += " (" + Escape(x.Level)
	if x.By != "" {
		s += " by " + Escape(x.By)
	}
	if x.Claim != "" {
		s += "; " + Escape(x.Claim)
		if x.Verified != "" {
			s += ": verified on this host at " + Escape(x.Verified)
		}
	}
	return s + ")"
}
