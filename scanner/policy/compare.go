package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"intact/scanner/entry"
)

// Drift is one way in which the present configuration differs in effect from
// the baseline's policy.
type Drift struct {
	// Kind is dropped, excluded, reduced, lowered, filesystem-skipped,
	// one-filesystem, hot-removed or budget, which take something away, or
	// widened.
	Kind string
	Line string // what changed, for people, with positions; no control bytes
}

// Compare compares the lines of two policies, as written, without a host: each
// line that only one of them has is held against what the other says of the same
// path. What takes something away comes first, widened last.
func Compare(basePolicy, presentPolicy *Policy) []Drift {
	home := []entry.Path{sampleHome}
	c := comparison{
		base:    newSide(basePolicy.ExpandHomes(home)),
		present: newSide(presentPolicy.ExpandHomes(home)),
	}
	for _, l := range c.base.lines {
		if l.rule != nil {
			c.baseRule(l)
		} else if c.present.excludes[l.norm] == nil && c.present.governs(l) != nil {
			c.add("widened", "%s is gone", l.exclude)
		}
	}
	for _, l := range c.present.lines {
		if l.rule != nil {
			c.presentRule(l)
		} else if c.base.excludes[l.norm] == nil && c.hides(l) {
			c.add("excluded", "%s is new", l.exclude)
		}
	}
	c.filesystems(basePolicy.skip(), presentPolicy.skip())
	slices.SortStableFunc(c.drift, func(a, b Drift) int {
		return cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind))
	})
	return slices.Compact(c.drift)
}

func kindOrder(kind string) int {
	return slices.Index([]string{"dropped", "excluded", "reduced", "filesystem-skipped", "one-filesystem",
		"budget", "lowered", "hot-removed", "widened"}, kind)
}

type comparison struct {
	base, present *side
	drift         []Drift
}

// side is one policy by itself.
type side struct {
	*Policy
	lines           []*line
	rules, excludes map[string]*line // by canonical pattern
}

func newSide(p *Policy) *side {
	s := &side{p, p.lines(), map[string]*line{}, map[string]*line{}}
	for _, l := range s.lines {
		if l.rule != nil {
			s.rules[l.norm] = l
		} else {
			s.excludes[l.norm] = l
		}
	}
	return s
}

// governs returns the rule that governs where l applies, nil if none does. For a
// pattern with wildcards that is some path it could match.
func (s *side) governs(l *line) *Rule {
	path := l.at(sampleHome)
	if !l.literal() || l.pattern.below {
		path = path.Join([]byte("\x01"))
	}
	return s.Explain(path).Rule
}

func (c *comparison) add(kind, format string, args ...any) {
	c.drift = append(c.drift, Drift{kind, fmt.Sprintf(format, args...)})
}

func (c *comparison) baseRule(l *line) {
	if now := c.present.rules[l.norm]; now != nil {
		c.rules(l.rule, now.rule)
		return
	}
	if now := c.present.governs(l); now != nil {
		c.rules(l.rule, now)
		return
	}
	c.add("dropped", "%s is gone", l.rule)
}

func (c *comparison) presentRule(l *line) {
	if c.base.rules[l.norm] != nil {
		return
	}
	if was := c.base.governs(l); was != nil {
		c.rules(was, l.rule)
		return
	}
	c.add("widened", "%s is new", l.rule)
}

// hides reports whether an exclude can hide what the baseline's policy selects.
func (c *comparison) hides(l *line) bool {
	return !l.literal() || c.base.governs(l) != nil ||
		slices.ContainsFunc(c.base.lines, func(r *line) bool { return r.rule != nil && r.at(sampleHome).Under(l.at(sampleHome)) })
}

// rules compares two rules that govern the same path.
func (c *comparison) rules(was, now *Rule) {
	if less(was.Set, now.Set) {
		c.add("reduced", "%s compared by %s, now by %s: %s", was, describe(was.Set), describe(now.Set), now)
	}
	if less(now.Set, was.Set) {
		c.add("widened", "%s compared by %s, now by %s: %s", was, describe(was.Set), describe(now.Set), now)
	}
	if rank(now.Severity) < rank(was.Severity) {
		c.add("lowered", "%s had severity %s, now %s: %s", was, was.Severity, cmp.Or(now.Severity, "none of its own"), now)
	}
	if was.Hot && !now.Hot {
		c.add("hot-removed", "%s was watched in real time, now not: %s", was, now)
	}
	if !was.OneFS && now.OneFS {
		c.add("one-filesystem", "%s crossed mounts, now not: %s", was, now)
	}
	if tighter(was.Budget.Entries, now.Budget.Entries) {
		c.add("budget", "%s had a budget of %s, now %d entries: %s", was, entries(was.Budget.Entries), now.Budget.Entries, now)
	}
	if tighter(was.Budget.Time, now.Budget.Time) {
		c.add("budget", "%s had a budget of %s, now %s: %s", was, span(was.Budget.Time), now.Budget.Time, now)
	}
}

// tighter compares budgets; zero is no limit.
func tighter[T ~int64](was, now T) bool { return now != 0 && (was == 0 || now < was) }

func entries(n int64) string {
	if n == 0 {
		return "any number of entries"
	}
	return fmt.Sprintf("%d entries", n)
}

func span(d time.Duration) string {
	if d == 0 {
		return "any time"
	}
	return d.String()
}

func (c *comparison) filesystems(was, now []string) {
	covered := func(list []string, t string) bool {
		return slices.ContainsFunc(list, func(l string) bool { return l == t || matchType(l, t) })
	}
	for _, t := range now {
		if !covered(was, t) {
			c.add("filesystem-skipped", "file systems of type %s are now skipped", show(t))
		}
	}
	for _, t := range was {
		if !covered(now, t) {
			c.add("widened", "file systems of type %s are no longer skipped", show(t))
		}
	}
}
