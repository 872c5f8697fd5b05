package policy

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"intact/scanner/entry"
)

// The reference knows nothing of automata: it turns a pattern into a regular
// expression and tries it at every directory on the way.

type refLine struct {
	re      *regexp.Regexp
	below   bool
	rule    bool
	class   int
	home    bool
	lits    int
	pattern string
}

func newRef(pattern string, rule bool, home string) refLine {
	l := refLine{rule: rule, class: 2, pattern: norm(pattern)}
	p, isHome := strings.CutPrefix(pattern, "~")
	l.home = isHome
	if strings.HasPrefix(p, "**") {
		p = "/" + p
	}
	for strings.HasSuffix(p, "/**") {
		p, l.below = strings.TrimSuffix(p, "/**"), true
	}
	p = strings.TrimSuffix(p, "/")
	re := "^"
	if isHome {
		re += regexp.QuoteMeta(home)
	}
	for _, c := range strings.Split(p, "/")[1:] {
		switch {
		case c == "**":
			re += "(?:/[^/]+)*"
			l.class = 0
			continue
		case strings.ContainsAny(c, "*?["):
			l.class = min(l.class, 1)
		}
		re += "/"
		for i := 0; i < len(c); i++ {
			switch c[i] {
			case '*':
				re += "[^/]*"
			case '?':
				re += "[^/]"
			case '[': // the tests use [ab] and [!ab]
				end := i + strings.IndexByte(c[i:], ']')
				re += "[" + strings.ReplaceAll(c[i+1:end], "!", "^") + "]"
				i = end
			default:
				re += regexp.QuoteMeta(c[i : i+1])
				l.lits++
			}
		}
	}
	l.re = regexp.MustCompile(re + "$")
	return l
}

// decide returns the pattern that governs path, "!" before an exclude, "" for none.
func refDecide(lines []refLine, path string) string {
	names := strings.Split(path, "/")[1:]
	for depth := len(names); depth >= 0; depth-- {
		at := ""
		for _, n := range names[:depth] {
			at += "/" + n
		}
		var best *refLine
		for i := range lines {
			l := &lines[i]
			if l.below && depth == len(names) || !l.re.MatchString(at) {
				continue
			}
			if best == nil || refBeats(l, best) {
				best = l
			}
		}
		if best != nil {
			if best.rule {
				return best.pattern
			}
			return "!" + best.pattern
		}
	}
	return ""
}

func refBeats(a, b *refLine) bool {
	key := func(l *refLine) string {
		x, h := 0, 0
		if !l.rule {
			x = 1
		}
		if l.home == (l.class < 2) {
			h = 1
		}
		return fmt.Sprintf("%d %d %05d %d %s", l.class, h, l.lits, x, l.pattern)
	}
	return key(a) > key(b)
}

func word(d Decision) string {
	switch {
	case d.Rule != nil:
		return norm(d.Rule.Pattern)
	case d.Exclude != nil:
		return "!" + norm(d.Exclude.Pattern)
	}
	return ""
}

// random returns a policy over a tiny alphabet, so that lines meet often.
func random(r *rand.Rand) *Policy {
	comps := []string{"a", "b", "ab", "h", "*", "a*", "?", "[ab]", "[!a]", "**", "**", "*b", "a*b", "*a*", "*[ab]b"}
	pattern := func() string {
		s := []string{"", "", "", "~"}[r.IntN(4)]
		n := r.IntN(4) + 1
		for range n {
			s += "/" + comps[r.IntN(len(comps))]
		}
		if r.IntN(4) == 0 {
			s += "/**"
		}
		return s
	}
	p := &Policy{Skip: []string{}}
	sets := groups()
	for range r.IntN(5) + 1 {
		p.Rules = append(p.Rules, Rule{Pattern: pattern(), Set: sets[r.IntN(len(sets))].set})
	}
	if r.IntN(6) == 0 {
		p.Rules = append(p.Rules, Rule{Pattern: "/", Set: sets[0].set})
	}
	for range r.IntN(5) {
		p.Excludes = append(p.Excludes, Exclude{Pattern: pattern()})
	}
	seen := map[string]bool{}
	p.Rules = slices.DeleteFunc(p.Rules, func(x Rule) bool { n := norm(x.Pattern); was := seen[n]; seen[n] = true; return was })
	clear(seen)
	p.Excludes = slices.DeleteFunc(p.Excludes, func(x Exclude) bool { n := norm(x.Pattern); was := seen[n]; seen[n] = true; return was })
	return p
}

// walk descends as a scan does and returns the decision for path. It fails
// where Enter or Names would keep a scan from something selected.
func walk(t *testing.T, e *Effective, path entry.Path) (d Decision, reached bool) {
	names := path.Components()
	if len(names) == 0 {
		return e.Self(), true
	}
	start := e.Start()
	s := &start
	for i, n := range names {
		d = s.Match([]byte(n))
		only, list := s.Names()
		next := s.Enter([]byte(n))
		if !list && !slices.Contains(only, n) && (d.Rule != nil || next != nil) {
			t.Errorf("Names of %v leaves out %q", names[:i], n)
		}
		if i == len(names)-1 {
			return d, true
		}
		if s = next; s == nil {
			return Decision{}, false
		}
	}
	return d, true
}

// TestAgree: the walk of a scan, Decide, Explain and the reference agree on
// random policies and paths, for a policy alone and for two in union.
func TestAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "ab", "h", "c", "ba"}
	const home = "/h/a"
	for n := range 2000 {
		base, now := random(r), random(r)
		if n%3 == 0 {
			now = base
		}
		base, now = base.ExpandHomes([]entry.Path{home}), now.ExpandHomes([]entry.Path{home})
		e, err := Union(base, now, nil)
		if err != nil {
			t.Fatal(err)
		}
		refs := func(p *Policy) (l []refLine) {
			for _, x := range p.Rules {
				l = append(l, newRef(x.Pattern, true, home))
			}
			for _, x := range p.Excludes {
				l = append(l, newRef(x.Pattern, false, home))
			}
			return l
		}
		rb, rn := refs(base), refs(now)
		for range 40 {
			path := ""
			for range r.IntN(6) {
				path += "/" + names[r.IntN(len(names))]
			}
			p := entry.Path("/" + strings.TrimPrefix(path, "/"))
			agree(t, e, base, now, p, refDecide(rb, path), refDecide(rn, path))
			if t.Failed() {
				t.Fatalf("path %s\nbase %s\nnow %s", p, base.Canonical(), now.Canonical())
			}
		}
	}
}

func agree(t *testing.T, e *Effective, base, now *Policy, p entry.Path, wantBase, wantNow string) {
	for i, q := range []*Policy{base, now} {
		x := q.Explain(p)
		if got := word(Decision{Rule: x.Rule, Exclude: x.Exclude}); got != []string{wantBase, wantNow}[i] {
			t.Errorf("Explain says %q, reference %q", got, []string{wantBase, wantNow}[i])
		}
	}
	selBase := wantBase != "" && wantBase[0] != '!'
	selNow := wantNow != "" && wantNow[0] != '!'
	want := wantBase
	if !selBase && (selNow || wantBase == "") {
		want = wantNow
	}
	d := e.Decide(p)
	if got := word(d); got != want {
		t.Errorf("Decide says %q, reference %q", got, want)
	}
	if d.Select != selBase || d.Select && e.Sets()[d.Set] != d.Rule.Set {
		t.Errorf("selected %v, want %v", d.Select, selBase)
	}
	if !selBase && (d.Wider != "") != selNow {
		t.Errorf("wider %q, want %v", d.Wider, selNow)
	}
	if selBase && !selNow && d.Narrower == "" || base == now && d.Narrower+d.Wider != "" {
		t.Errorf("narrower %q", d.Narrower)
	}
	w, reached := walk(t, e, p)
	if reached && w != d || !reached && d.Rule != nil {
		t.Errorf("walk %v says %+v, Decide %+v", reached, w, d)
	}
}
