// Package posture judges facts about a host by rules that people read and
// write: YAML files with expressions in CEL over typed facts. It does no I/O:
// facts, files and the time are given to it, and no rule can run anything.
//
// # Rule files
//
// A file is `intact: rules/v1` with the name of a set and a list of rules. The
// built-in ones are in the program; files of a site add rules and may change
// params, severity and enabled of a built-in one, nothing else. Everything
// wrong with all files is told at once, each with its place in the file.
//
// # What is judged
//
// A rule with `each` judges every element of a list, and each is a subject of
// its own; one without judges the host. `when` false: not-applicable. `expect`
// false: fail. A fact that could not be read is unknown, and what depends on it
// is unknown, never a pass: unknown || true is true, unknown && false is false.
//
// A Kind tells the engine of a fact; the packages that collect facts do not
// know the engine. Only cel.go knows CEL.
package posture

import (
	"context"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/strict"
)

// Format is what the key intact of a rule file says.
const Format = "rules/v1"

// Verdict is what a rule says of the host, or of one subject.
type Verdict string

// The verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	NotApplicable Verdict = "not-applicable"
	Unknown       Verdict = "unknown" // depends on a fact that could not be read
	Error         Verdict = "error"   // the rule itself went wrong, or was cancelled
	Waived        Verdict = "waived"  // fails, and a waiver in force says why
)

// Fact is what is known of one kind. Rows are those that were read; with a
// Status other than rules.OK they are not all. Rules see them then only where
// they judge each row by itself: one unreadable file hides no finding about
// another. Such a rule fails or is unknown, it does not pass.
type Fact struct {
	Rows   any // []Row, Row being the type of the kind
	Status rules.Status
	Reason string // why Status is not rules.OK; may hold bytes from the disk
	Via    string
}

// FactOf makes a fact of a collector's answer.
func FactOf[T any](a facts.Answer[T]) Fact {
	return Fact{Rows: a.Rows, Status: a.Status, Reason: a.Reason, Via: a.Via}
}

// Facts gives facts on demand. A kind that it does not have is a Fact that is
// not rules.OK. It is asked once for each kind and rule: it should remember.
type Facts interface {
	Fact(ctx context.Context, kind string) Fact
}

// Fixed are facts that are known already.
type Fixed map[string]Fact

// Fact returns the fact, and for a kind that is not there one that failed.
func (f Fixed) Fact(_ context.Context, kind string) Fact {
	if x, ok := f[kind]; ok {
		return x
	}
	return Fact{Status: rules.Failed, Reason: "nobody collects it"}
}

// Problem is something wrong with a file of rules or waivers. A warning does
// not keep the file from being used.
type Problem struct {
	strict.Error
	Warning bool
}

// File is a rule file or waiver file that was read.
type File struct {
	Name string // for messages
	Text []byte

	ready []byte // what was made ready of it, nil: nothing
}

// Subject is one thing that a rule judged.
type Subject struct {
	Name     string // any bytes
	Verdict  Verdict
	Reason   string        // why it is not pass or fail
	Finding  rules.Finding // of fail and waived
	Evidence string        // what the verdict rests on, one spelling for one state
	Digest   string        // of Evidence: "blake3:" and 64 hex digits
	Waiver   *Waiver       // that covers it
	Lapsed   *Waiver       // that covered it until the evidence changed, or its time was over
	Standing time.Time     // of a fail that stands: since when; zero: it is new
	Named    bool          // it stands and is to be named again
}

// Result is what a rule said.
type Result struct {
	Rule     *Rule // nil for results about waivers and attestations
	Set, ID  string
	Verdict  Verdict   // the gravest of its subjects: fail, error, unknown, waived, pass
	Reason   string    // of unknown, error, not-applicable; no control characters
	Subjects []Subject // those that do not pass
	Partial  string    // why there may be more subjects: a fact was read in part, or the rule was cancelled; "" if these are all
	Judged   int       // how many there are, those that pass included
	Cost     uint64    // steps that it took

	rest Verdict // of the subjects that Partial is about: Unknown or Error
}

// gravest are the verdicts of subjects, the one that speaks for the rule first.
var gravest = [...]Verdict{Fail, Error, Unknown, Waived, Pass, NotApplicable}

// settle fills verdict and reason from the subjects.
func (r *Result) settle() {
	for _, v := range gravest {
		if v == Waived && r.Partial != "" {
			r.Verdict, r.Reason = r.rest, r.Partial // what is not known may not be waived
			return
		}
		for i := range r.Subjects {
			if r.Subjects[i].Verdict == v {
				r.Verdict, r.Reason = v, r.Subjects[i].Reason
				return
			}
		}
	}
}

// Profiles are the named choices of rules; one takes in those before it.
var profiles = [...]string{"server", "seed-strict"}

// Profiles returns their names, the default first.
func Profiles() []string { return profiles[:] }

// includes reports whether a rule of profile p is in force under the profile
// chosen.
func includes(chosen, p string) bool {
	for _, name := range profiles {
		if name == p {
			return true
		}
		if name == chosen {
			return false
		}
	}
	return false
}

// setOf is the part of a rule's id that names its set.
func setOf(id string) string {
	set, _, _ := strings.Cut(id, ".")
	return set
}
