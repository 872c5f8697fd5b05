// Package report is the model of one run's outcome and its two views: JSON
// Lines, whose bytes are what is signed, and a text for people that is
// rendered from those bytes. It decides nothing and judges nothing.
//
// The format it owns is [Format]: one JSON object a line, in the order header,
// findings, gaps, rules, skips, notes, trailer; one spelling for each record,
// so that equal reports are equal bytes. A field X whose value is not valid
// UTF-8 holds escaped text, and a field X_b64 behind it holds the bytes.
package report

import (
	"errors"
	"fmt"
	"time"

	"intact/rules"
)

// Format names the format and its version in the header.
const Format = "intact.report/1"

// Namespace is what a signature of a report is made for: an SSHSIG over all its
// bytes.
const Namespace = "intact-report@v1"

// Kind says which kind of run a report tells of.
type Kind string

// The kinds of run.
const (
	KindCheck Kind = "check"
	KindInit  Kind = "init"
	KindWatch Kind = "watch"
	KindImage Kind = "image"

	KindUpdate Kind = "update" // of what a package manager changed: a proposal, always partial
	KindAccept Kind = "accept" // nothing was looked at: it says what became part of the baseline
	KindDiff   Kind = "diff"   // of two baselines; never kept
)

// known reports whether reports of this kind are kept.
func (k Kind) known() bool {
	return k == KindCheck || k == KindInit || k == KindWatch || k == KindImage || k == KindUpdate || k == KindAccept
}

// Scope says whether the whole policy was looked at.
type Scope string

// The scopes.
const (
	ScopeFull    Scope = "full"
	ScopePartial Scope = "partial"
)

// Verdict is the outcome of a run as one word.
type Verdict string

// The verdicts.
const (
	Clean       Verdict = "clean"
	Findings    Verdict = "findings"
	Incomplete  Verdict = "incomplete"
	Untrusted   Verdict = "untrusted"
	Failed      Verdict = "error"
	Interrupted Verdict = "interrupted"
)

// Header is the first record of a report.
type Header struct {
	ID       string // unique; what `accept --report` takes
	Kind     Kind
	Scope    Scope
	Host     Host
	Root     string // the directory treated as "/", any bytes
	Started  time.Time
	Seq      uint64   // position in the chain of this host's reports, from 1
	Prev     string   // "sha256:…" of the bytes of the report before, "" where none can be one
	Baseline Baseline // what was compared with; generation 0: none
	Policy   string   // "blake3:…" of the policy in force, "" where none could be had
	Tool     Tool
	Command  []string // the command line, optional

	Boot       Boot       // when it was, by a clock that nobody sets
	Signer     string     // fingerprint of the key that signs it, "" if it is not signed
	Checkpoint Checkpoint // what was deleted before it
	Known      Known      // the newest baseline that it or a report before it saw
}

// Host is the machine that a report is about.
type Host struct {
	ID, Name string
	Epoch    uint64 // goes up when the host was restored from a backup; 0: not said
}

// Boot is a boot of the machine that made a report, and how long ago it was.
type Boot struct {
	ID    string // boot id of the kernel, random(4); "" if unknown
	Clock int64  // nanoseconds since then, CLOCK_BOOTTIME
}

// Checkpoint says up to where reports were deleted because they were old: the
// chain of those that are kept begins behind it.
type Checkpoint struct {
	Seq    uint64 // 0: none was deleted
	Digest string // "sha256:…" of the report with that number
}

// Known names a baseline that a signed report saw: it does not go away.
type Known struct {
	Generation uint64 // 0: none
	Root       string // "blake3:…"
}

// Tool is the program that made a report.
type Tool struct{ Version, Digest string }

// Baseline names one accepted state.
type Baseline struct {
	Generation uint64
	Root       string // "blake3:…"
	Signer     string // "" where the baseline is not signed
}

// Gap is a record of something selected that could not be verified.
type Gap struct {
	Subject    rules.Subject
	Attributes []string // attribute names that are unknown; none: the whole object
	Reason     string
	Detail     string // the error text, "" if the reason says it all
	Known      bool   // it was there when the baseline was accepted
	Count      int64  // entries that lie below and were not seen either, 0 if only the subject
}

// Rule is a record of a rule that gave no finding and did not pass either.
type Rule struct{ Set, Rule, Verdict, Reason string }

// Skip is a record of a mount that was passed over.
type Skip struct{ Path, FSType string }

// Note is a record of something a reader should know that changes no verdict.
type Note struct {
	Text string
	Path string // what it is about, any bytes, may be empty

	Window *Window // that it is about; nil: none
}

// Counts are the figures of a trailer. Those from Findings on are counted by
// the Writer from what was written.
type Counts struct {
	Selected, Verified               int64
	Changed, Added, Removed, Renamed int64
	Unverified, KnownGaps            int64
	Skipped, Bytes                   int64

	Findings                [rules.Critical + 1]int64 // by severity
	New, Pending, Explained int64                     // of the findings: new, seen before, explained
	PendingSince            time.Time                 // first_seen of the oldest that was seen before; zero: none, or not said
}

// Total returns the number of findings of every severity.
func (c Counts) Total() (n int64) {
	for _, v := range c.Findings {
		n += v
	}
	return n
}

func (c *Counts) add(f *rules.Finding) {
	c.Findings[min(f.Severity, rules.Critical)]++
	if f.New {
		c.New++
	} else {
		c.Pending++
		if t := f.FirstSeen; !t.IsZero() && (c.PendingSince.IsZero() || t.Before(c.PendingSince)) {
			c.PendingSince = t
		}
	}
	if f.Explained != nil {
		c.Explained++
	}
}

// sameTally reports whether the figures that are counted from records, d, agree.
// Since when findings were pending, the first versions did not say.
func (c Counts) sameTally(d Counts) bool {
	return c.Findings == d.Findings && c.New == d.New && c.Pending == d.Pending && c.Explained == d.Explained &&
		(c.PendingSince.IsZero() || c.PendingSince.Equal(d.PendingSince))
}

// Trailer is the last record of a report. A report without one was cut off.
type Trailer struct {
	Verdict   Verdict
	Reason    string // why, where the counts do not say it: one sentence, no full stop
	Exit      int
	Exits     []int // every exit code that applies, in order of precedence
	Counts    Counts
	Pending   string      // "blake3:…" of the pending set, "" if there is none
	Published Baseline    // the generation that this run wrote; generation 0: none
	Complete  bool        // everything selected was looked at
	Quick     *Quick      // what a quick check did not read; nil: everything was read
	Second    *SecondLook // nil: nothing was looked at twice
	Logs      *Logs       // what was noted of logs; nil: nothing
	Posture   *Posture    // what rules said of the host; nil: none was asked
	Coverage  *Coverage   // how long ago what is covered was verified; nil: it is not known
	Finished  time.Time
	Clock     int64 // as Boot.Clock, at the end; 0: not said
}

// Quick says how much of what counts as verified was not read: files whose
// size, times, inode and device are those of the baseline.
type Quick struct {
	Trusted int64     // files whose content was not read
	Files   int64     // files whose content the policy compares, those among them
	Share   int64     // percent that were read all the same, at random
	Every   int64     // days after which all are read
	Oldest  time.Time // when the first of the trusted was read, at the latest; zero: none was trusted
}

// ErrEquation is wrapped by the error of Trailer.Equation.
var ErrEquation = errors.New("counts do not add up")

// Equation checks that every selected path ended in exactly one way.
func (t Trailer) Equation() error {
	c := t.Counts
	sum := c.Verified + c.Changed + c.Added + c.Removed + c.Renamed + c.Unverified + c.KnownGaps
	if sum != c.Selected {
		return fmt.Errorf("%w: selected %d, but verified %d + changed %d + added %d + removed %d + renamed %d + unverified %d + known gaps %d = %d",
			ErrEquation, c.Selected, c.Verified, c.Changed, c.Added, c.Removed, c.Renamed, c.Unverified, c.KnownGaps, sum)
	}
	return nil
}

// Record is one line of a report: exactly one field is set.
type Record struct {
	Header  *Header
	Finding *rules.Finding
	Gap     *Gap
	Rule    *Rule
	Skip    *Skip
	Note    *Note
	Trailer *Trailer
}
