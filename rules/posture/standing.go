package posture

import (
	"time"

	"intact/rules"
)

// renamed is after how long a grave finding that stands is named again.
const renamed = 30 * 24 * time.Hour

// Shown is a finding that people have seen: at init, or named in an accept. The
// baseline keeps them.
type Shown struct {
	Rule, Subject, Digest string
	Severity              rules.Severity // it stands while it is no graver
	Since                 time.Time
}

// Standing tells new findings from those that people have seen.
type Standing struct {
	shown map[[3]string]Shown
	last  time.Time
}

// NewStanding is made of what the baseline keeps, and of the time of the check
// before this one: zero where there was none, which names all again.
func NewStanding(shown []Shown, last time.Time) *Standing {
	s := &Standing{shown: map[[3]string]Shown{}, last: last}
	for _, x := range shown {
		k := [3]string{x.Rule, x.Subject, x.Digest}
		if old, ok := s.shown[k]; !ok || x.Since.Before(old.Since) {
			s.shown[k] = x
		}
	}
	return s
}

// Of says since when a finding stands. Another rule, subject or evidence makes
// it a new one, and so does a higher severity.
func (s *Standing) Of(rule, subject, digest string, sev rules.Severity) (since time.Time, ok bool) {
	if s == nil || digest == "" {
		return time.Time{}, false
	}
	x, ok := s.shown[[3]string{rule, subject, digest}]
	if !ok || sev > x.Severity {
		return time.Time{}, false
	}
	return x.Since, true
}

// Due reports whether one that stands is to be named again now: it is high or
// critical, and a whole number of 30 days since it was first shown have passed
// after the last check. A clock that was set back names it.
func (s *Standing) Due(sev rules.Severity, since, now time.Time) bool {
	if sev < rules.High {
		return false
	}
	if s.last.IsZero() || now.Before(s.last) || now.Before(since) {
		return true
	}
	return now.Sub(since)/renamed != max(s.last.Sub(since), 0)/renamed
}

func (s *Standing) apply(r *Result, now time.Time) {
	for i := range r.Subjects {
		x := &r.Subjects[i]
		if x.Verdict != Fail {
			continue
		}
		since, ok := s.Of(r.ID, x.Name, x.Digest, x.Finding.Severity)
		x.Finding.New = !ok
		if ok {
			x.Standing, x.Named = since, s.Due(x.Finding.Severity, since, now)
			x.Finding.FirstSeen = since
		}
	}
}

// Stands reports whether the subject fails and people have seen it.
func (s *Subject) Stands() bool { return s.Verdict == Fail && !s.Finding.New }

// Tally counts what a judgement gave.
type Tally struct {
	Rules    map[Verdict]int // rules by their verdict
	New      int             // failing subjects that are new
	Standing int             // failing subjects that stand
	Waived   int
	Oldest   time.Time // since when the oldest of those that stand does; zero: none
}

// Add counts one result.
func (t *Tally) Add(r Result) {
	if t.Rules == nil {
		t.Rules = map[Verdict]int{}
	}
	t.Rules[r.Verdict]++
	for i := range r.Subjects {
		s := &r.Subjects[i]
		switch {
		case s.Verdict == Waived:
			t.Waived++
		case s.Stands():
			t.Standing++
			if t.Oldest.IsZero() || s.Standing.Before(t.Oldest) {
				t.Oldest = s.Standing
			}
		case s.Verdict == Fail:
			t.New++
		}
	}
}

// Known returns how many rules have a verdict, and how many there are that
// apply: "110 of 118".
func (t *Tally) Known() (known, all int) {
	for v, n := range t.Rules {
		if v == NotApplicable {
			continue
		}
		all += n
		if v != Unknown && v != Error {
			known += n
		}
	}
	return known, all
}
