package app

import (
	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/scanner"
	"intact/scanner/entry"
)

// verdict is what verify says of one subject, in one or two words.
type verdict string

// The verdicts from the worst to the best. Those from verdictKnownGood on exit
// with 0, the others with 1; unverified with 3.
const (
	verdictKnownBad   verdict = "known bad"       // a list says so
	verdictMemfd      verdict = "memfd"           // runs from memory that never was a file
	verdictDeleted    verdict = "deleted"         // runs, and its name is gone
	verdictReplaced   verdict = "replaced"        // runs, and another file has its name
	verdictNoFile     verdict = "no file"         // a kernel module that no file is known of
	verdictRemoved    verdict = "removed"         // in the baseline, not on the disk
	verdictDiffers    verdict = "differs"         // not as in the baseline; without one: not as its package has it
	verdictUnverified verdict = "unverified"      // could not be read
	verdictMetadata   verdict = "same metadata"   // as in the baseline, which does not know the content
	verdictAbsent     verdict = "not in baseline" // though the policy selects it
	verdictUnselected verdict = "not selected"    // by the baseline's policy
	verdictNone       verdict = "no baseline"
	verdictUntrusted  verdict = "untrusted" // the baseline is not to be trusted
	verdictKnownGood  verdict = "known good"
	verdictSame       verdict = "same"
)

// baseState is what the baseline says of a path.
type baseState string

const (
	baseNone       baseState = "no baseline"
	baseUntrusted  baseState = "untrusted"
	baseAbsent     baseState = "not in the baseline"
	baseUnselected baseState = "not selected by the policy"
	baseRemoved    baseState = "removed"
	baseDiffers    baseState = "differs"
	baseSame       baseState = "same"
	baseElsewhere  baseState = "not asked" // it is about other files than this one
)

// subject is one object and all that was found out about it.
type subject struct {
	path entry.Path    // as it was asked for; of what runs, as the kernel has it
	real entry.Path    // without links above the last name
	look *scanner.Look // nil: nothing is there

	base     baseState
	old      *entry.Entry // of the baseline
	set      entry.Set
	diff     entry.Attr // what differs
	lost     entry.Attr // what the baseline has and could not be read now
	unknown  entry.Attr // what the policy compares and the baseline could not read
	astray   bool       // the baseline has path itself, which links lead away from now
	leads    entry.Path // of a link: where it leads, "" if nowhere
	uncovers bool       // the policy does not compare the content of this file

	pkg       pkgdb.Answer
	beside    [][]packages.Beside // of each owner: what besides the content is not as it has it
	good, bad []listed
	run       *running // nil: not looked at because it runs
	runBy     []process
	runMore   int // processes beyond those

	verdict verdict
}

// compare holds what was looked at against the baseline.
func (v *verify) compare(s *subject) {
	if s.look.Entry.Kind == entry.Symlink {
		if to, _, exists, err := v.root.Resolve(s.real); err == nil && exists {
			s.leads = to
		}
	}
	switch {
	case v.bad:
		s.base = baseUntrusted
		return
	case v.gen == nil:
		s.base = baseNone
		return
	}
	var known bool
	if s.real != s.path {
		// What is accepted at the very path, when links lead away from it now.
		if s.old, s.set, known = v.gen.Lookup(s.path); known {
			s.base, s.astray = baseDiffers, true
			return
		}
	}
	if s.old, s.set, known = v.gen.Lookup(s.real); !known {
		s.base = baseAbsent
		if !v.selects(s.real, &s.look.Entry) {
			s.base = baseUnselected
		}
		return
	}
	s.base = baseSame
	if s.look.Entry.Have == 0 {
		s.lost = s.set.For(s.old.Kind) & s.old.Have
		return
	}
	now := s.look.Entry
	if s.set.Log && s.look.Prefix != nil && *s.look.Prefix == s.old.Digest {
		now.Digest, now.Hashed = s.old.Digest, s.old.Hashed // it has grown at most
	}
	mask := s.set.For(now.Kind) & entry.Applicable(now.Kind)
	s.diff = entry.Differ(s.old, &now, s.set.For(s.old.Kind)|s.set.For(now.Kind))
	s.lost = entry.Lost(s.old, &now, mask)
	s.unknown = mask &^ s.old.Have
	s.uncovers = now.Kind == entry.File && s.old.Have&mask&entry.Content == 0
	if s.diff != 0 {
		s.base = baseDiffers
	}
}

// selects reports whether the baseline's policy selects what was found at p: a
// mount of a type that the policy passes over hides what is below it.
func (v *verify) selects(p entry.Path, e *entry.Entry) bool {
	d := v.eff.Decide(p)
	if !d.Select || v.eff.Sets()[d.Set].Sweep && e.Have&entry.Mode != 0 && !scanner.SweepKeeps(e.Kind, e.Mode) {
		return false
	}
	if v.own != nil && scanner.Inert(e.Kind, e.Mode) && e.Have&entry.Mode != 0 && v.own(p.Dir(), []byte(p.Base())) {
		return false
	}
	for q := p; q != "/"; q = q.Dir() {
		if m := v.root.Mounts().At(q); m != nil {
			return v.eff.Named(m.Point) || !v.eff.SkipFS(m.FSType)
		}
	}
	return true
}

// judge sums up. The strongest evidence comes first; a package database alone
// never makes a subject good, because whoever changed a file can change it too.
func (s *subject) judge() verdict {
	switch {
	case len(s.bad) > 0:
		return verdictKnownBad
	case s.run != nil && s.run.verdict != "":
		return s.run.verdict
	case s.base == baseRemoved:
		return verdictRemoved
	case s.base == baseDiffers:
		return verdictDiffers
	case s.unread():
		return verdictUnverified
	case s.base == baseSame && !s.uncovers:
		return verdictSame
	case len(s.good) > 0:
		return verdictKnownGood
	case s.base == baseSame:
		return verdictMetadata
	case s.packageDiffers():
		return verdictDiffers
	}
	return byBase[s.base]
}

// byBase is the verdict where nothing but the baseline has a say. It is never
// changed.
var byBase = map[baseState]verdict{
	baseSame: verdictSame, baseDiffers: verdictDiffers, baseRemoved: verdictRemoved, baseAbsent: verdictAbsent, baseUnselected: verdictUnselected,
	baseNone: verdictNone, baseUntrusted: verdictUntrusted, baseElsewhere: verdictUnverified,
}

// unread reports whether something that the verdict needs could not be read.
func (s *subject) unread() bool {
	if s.look == nil {
		return false
	}
	e := &s.look.Entry
	return e.Have == 0 || s.lost != 0 || e.Kind == entry.File && e.Have&entry.Content == 0 && (s.base != baseSame || s.uncovers)
}

// codes are the exit codes that a subject asks for.
func (s *subject) codes() (codes []int) {
	switch s.verdict {
	case verdictSame, verdictKnownGood, verdictUnverified:
	default:
		codes = append(codes, ExitFindings)
	}
	if s.verdict == verdictUnverified || s.unread() {
		codes = append(codes, ExitIncomplete)
	}
	return codes
}

// The words about a package's own record of the content.
const (
	contentMatches = "matches"
	contentDiffers = "differs"
	contentUnknown = "no digest of it"
)

// content holds the content against what a package says of it.
func (s *subject) content(o *pkgdb.Owner) string {
	if !o.HasDigest() || s.look == nil || s.look.Entry.Have&entry.Content == 0 {
		return contentUnknown
	}
	if o.Holds(s.look.MD5, s.look.SHA256) {
		return contentMatches
	}
	return contentDiffers
}

// packageDiffers reports whether a package says that the content is another, or
// what else it says of the file. What the administrator may edit does not count.
func (s *subject) packageDiffers() bool {
	differs := false
	for i := range s.pkg.Owners {
		o := &s.pkg.Owners[i]
		other := i < len(s.beside) && len(s.beside[i]) > 0
		switch c := s.content(o); {
		case !other && (c == contentMatches || c == contentUnknown && o.File != nil):
			return false
		case (other || c == contentDiffers && !o.Loose) && !o.Conffile:
			differs = true
		}
	}
	return differs
}
