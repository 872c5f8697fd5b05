// Package policy decides, without any I/O, which paths matter and which of
// their attributes are compared.
//
// A policy is a list of rules and a list of excludes, each a pattern of whole
// path components. The deepest directory (or file) at which any pattern
// matches governs what lies below it. At equal depth a pattern without
// wildcards beats one with wildcards, one without ** beats one with it, more
// literal bytes beat fewer, an exclude beats a rule, and at last the pattern
// that sorts later wins: the order of the lines never matters. See pattern.go
// for the pattern language and Effective for what is in force.
package policy

import (
	_ "embed" // the built-in policy is data
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/strict"
)

// Policy is what somebody asked to be checked.
type Policy struct {
	Rules    []Rule
	Excludes []Exclude
	// Skip lists file-system types, with wildcards, whose mounts below a root
	// are passed over. Nil means that nobody said: the list of the built-in
	// policy applies.
	Skip []string
	Name string

	homes []entry.Path // where lines that begin with ~/ stand; see ExpandHomes
}

// Rule selects a path and what lies below it.
type Rule struct {
	Pattern  string // as written; any bytes but NUL
	Set      entry.Set
	Group    string // name of the attribute group, "" for a list of attributes
	Hot      bool   // also watched in real time
	Severity string // least severity of a finding; "" or info … critical
	OneFS    bool   // mounts below are not crossed
	Budget   Budget
	Pos      Pos
}

// Budget limits what one root may cost. Zero means no limit.
type Budget struct {
	Entries int64
	Time    time.Duration
}

// Exclude hides a path and what lies below it.
type Exclude struct {
	Pattern string // as written; any bytes but NUL
	Pos     Pos
}

// Pos is where a line of a policy stands. Line and Col count from 1.
type Pos struct {
	File string
	Line int
	Col  int
}

// String returns "file:line:col".
func (p Pos) String() string {
	return fmt.Sprintf("%s:%d:%d", strict.Printable(p.File), p.Line, p.Col)
}

// ErrSelectsNothing is returned for a policy without rules: it would call
// every host clean.
var ErrSelectsNothing = errors.New("the policy selects nothing: it has no paths")

// defaultName is the Name of the built-in policy; its number changes with the
// text.
const defaultName = "built-in default policy v1"

//go:embed default.yaml
var defaultText []byte

// builtin parses the embedded text once; callers get copies.
var builtin = sync.OnceValue(func() *Policy {
	p, err := Parse("default.yaml", defaultText)
	if err != nil {
		panic("the embedded policy is broken: " + err.Error()) // impossible: tested
	}
	p.Name = defaultName
	return p
})

// Default returns the built-in policy for Debian- and RHEL-like servers.
func Default() *Policy { return builtin().clone() }

// DefaultText returns the YAML text of the built-in policy.
func DefaultText() []byte { return slices.Clone(defaultText) }

func (p *Policy) clone() *Policy {
	return &Policy{slices.Clone(p.Rules), slices.Clone(p.Excludes), slices.Clone(p.Skip), p.Name, slices.Clone(p.homes)}
}

// skip returns the file-system types that are passed over.
func (p *Policy) skip() []string {
	if p.Skip != nil {
		return p.Skip
	}
	return builtin().Skip
}

// AdHoc returns a policy that compares each path and what lies below it with
// the attributes of the group config, for paths named on a command line. The
// file-system types of the built-in policy are passed over.
func AdHoc(paths []entry.Path) *Policy {
	paths = slices.Clone(paths)
	slices.Sort(paths)
	set, _ := groupSet("config")
	p := &Policy{Name: "paths on the command line", Skip: slices.Clone(builtin().Skip)}
	for i, path := range slices.Compact(paths) {
		p.Rules = append(p.Rules, Rule{
			Pattern: escape(string(path)), Set: set, Group: "config",
			Pos: Pos{"command line", i + 1, 1},
		})
	}
	return p
}

// Merge appends q, a further file of the same configuration. A pattern that
// both have is an error that names both places; p is then unchanged.
func (p *Policy) Merge(q *Policy) error {
	m := p.clone()
	m.Rules = append(m.Rules, q.Rules...)
	m.Excludes = append(m.Excludes, q.Excludes...)
	if q.Skip != nil {
		m.Skip = append(m.Skip, q.Skip...)
		slices.Sort(m.Skip)
		m.Skip = slices.Compact(m.Skip)
	}
	if err := m.duplicates(); err != nil {
		return err
	}
	*p = *m
	return nil
}

// duplicates returns strict.Errors for patterns that stand twice among the
// rules or twice among the excludes.
func (p *Policy) duplicates() error {
	var errs strict.Errors
	check := func(seen map[string]Pos, pattern string, pos Pos) {
		c, err := compile(pattern)
		if err != nil {
			errs = append(errs, strict.Error{File: pos.File, Line: pos.Line, Col: pos.Col, Msg: err.Error()})
			return
		}
		if at, twice := seen[c.norm]; twice {
			errs = append(errs, strict.Error{File: pos.File, Line: pos.Line, Col: pos.Col,
				Msg: fmt.Sprintf("path %s stands twice, first at %s", show(pattern), at)})
			return
		}
		seen[c.norm] = pos
	}
	rules, excludes := map[string]Pos{}, map[string]Pos{}
	for i := range p.Rules {
		check(rules, p.Rules[i].Pattern, p.Rules[i].Pos)
	}
	for i := range p.Excludes {
		check(excludes, p.Excludes[i].Pattern, p.Excludes[i].Pos)
	}
	if errs != nil {
		return errs
	}
	return nil
}

// Check returns ErrSelectsNothing for a policy without rules.
func (p *Policy) Check() error {
	if len(p.Rules) == 0 {
		return ErrSelectsNothing
	}
	return nil
}

// Digest identifies what p asks for: it is the digest of Canonical.
func (p *Policy) Digest() digest.Digest { return digest.Sum(p.Canonical()) }

// String describes the rule for people, on one line without control bytes.
func (r *Rule) String() string {
	return fmt.Sprintf("path %s (%s)", show(r.Pattern), r.Pos)
}

// String describes the exclude for people, on one line without control bytes.
func (x *Exclude) String() string {
	return fmt.Sprintf("exclude %s (%s)", show(x.Pattern), x.Pos)
}

// show makes a pattern printable.
func show(pattern string) string { return strict.Printable(pattern) }
