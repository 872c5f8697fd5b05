package app

import (
	"os"
	"slices"
	"strings"

	"intact/baseline/diff"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// scope is what one scan covers: the policies in force with their links and
// mounts resolved in the root.
type scope struct {
	eff     *policy.Effective
	base    *policy.Policy
	present *policy.Policy                         // nil where the configuration could not be read
	aliases []policy.Alias                         // of today
	all     []policy.Alias                         // with those of the baseline
	own     func(dir entry.Path, name []byte) bool // see ownFiles
	mounts  []diff.Row
	missing []entry.Path // policy paths that do not exist
}

// scope puts base and present in force. A policy path that the baseline knows as
// a link (known) is followed to where it led and to where it leads today. Other
// links are followed only where there is nothing to compare with (fresh): a path
// that became a link must not put its rule in force elsewhere.
func (s *session) scope(base, present *policy.Policy, known []policy.Alias, fresh bool) (*scope, error) {
	state, err := stateExclude(s)
	if err != nil {
		return nil, err
	}
	c := &scope{base: base, present: present, own: ownFiles(state)}
	b := base.ExpandHomes(s.users.homes)
	p := b
	if present != nil && present != base {
		p = present.ExpandHomes(s.users.homes)
	}
	first, err := policy.Union(b, p, nil)
	if err != nil {
		return nil, &codeError{ExitUsage, err}
	}
	for _, a := range s.aliases(first.LiteralRoots(), b, p) {
		if !lowers(first, a) {
			c.aliases = append(c.aliases, a)
		}
	}
	c.all = slices.Clone(known)
	for _, a := range c.aliases {
		if fresh || slices.ContainsFunc(known, func(k policy.Alias) bool { return k.From == a.From && k.To != a.To }) {
			c.all = append(c.all, a)
		}
	}
	if c.eff, err = policy.Union(b, p, c.all); err != nil {
		return nil, &codeError{ExitUsage, err}
	}
	for _, r := range c.eff.Expected() {
		if _, _, exists, err := s.root.Resolve(r); err == nil && !exists {
			c.missing = append(c.missing, r)
		}
	}
	c.mounts = mountRows(s.root, c.eff)
	return c, nil
}

// aliases resolves the literal beginnings of policy lines. An exclude hides a
// link itself, wherever it leads, so only the directories above it are followed.
func (s *session) aliases(roots []entry.Path, pols ...*policy.Policy) (out []policy.Alias) {
	hidden := map[string]bool{}
	for _, p := range pols {
		for _, x := range p.Excludes {
			hidden[x.Pattern] = true
		}
	}
	for _, p := range pols {
		for _, r := range p.Rules {
			delete(hidden, r.Pattern)
		}
	}
	for _, r := range roots {
		if hidden[policy.Literal(r)] {
			r = r.Dir()
		}
		to, links, exists, err := s.root.Resolve(r)
		// What leads through /proc is another place at every look.
		if err == nil && exists && len(links) > 0 && to != r && !to.Under("/proc") && !s.astray(links, to) {
			out = append(out, policy.Alias{From: r, To: to})
		}
	}
	slices.SortFunc(out, func(a, b policy.Alias) int { return strings.Compare(string(a.From), string(b.From)) })
	return slices.Compact(out)
}

// lowers reports whether following a would compare less of the place that it
// leads to than the policy does anyway.
func lowers(eff *policy.Effective, a policy.Alias) bool {
	to, from := eff.Decide(a.To), eff.Decide(a.From)
	if !to.Select || !from.Select {
		return false
	}
	t, f := eff.Sets()[to.Set], eff.Sets()[from.Set]
	return !t.Sweep && (t.Mask&^f.Mask != 0 || t.DirMask&^f.DirMask != 0 || f.Log && !t.Log || f.Sweep)
}

// astray reports whether an ordinary user's link leads out of the directory it
// stands in: users do not decide where the policy's rules apply. The link
// itself is compared all the same.
func (s *session) astray(links []entry.Path, to entry.Path) bool {
	for _, l := range links {
		uid, err := s.root.Owner(l)
		if err != nil || uid != 0 && uid != uint32(os.Geteuid()) && !to.Under(l.Dir()) {
			return true
		}
	}
	return false
}
