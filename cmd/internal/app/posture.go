package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"intact/cmd/internal/config"
	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/firewall"
	"intact/rules/posture"
	"intact/scanner/strict"
)

// PostureOptions of Posture.
type PostureOptions struct {
	Sets    []string // only these sets of rules; none: all
	Explain string   // all about one rule
	Profile string   // in the place of the configured one
	Format  string   // text or json
}

// Posture judges the root by the rules, without a baseline. It writes nothing
// and takes no lock. The outcome has 1 where something fails that is not waived,
// and 3 where a required rule has no verdict.
func Posture(ctx context.Context, e *Env, o PostureOptions) (Outcome, error) {
	if err := o.check(); err != nil {
		return Outcome{}, err
	}
	s, err := openPosture(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	j := &judged{session: s, o: o, out: Done()}
	var waivers *posture.Waivers
	if j.book, waivers, err = s.book(); err != nil {
		return Outcome{}, err
	}
	if err := j.choose(); err != nil {
		return Outcome{}, err
	}
	s.lower()
	j.facts = s.hostFacts(waivers)
	j.cover = posture.NewCover(waivers, s.env.Now())
	if err := j.judge(ctx); err != nil {
		return Outcome{}, err
	}
	for _, r := range s.remarked {
		e.warn("%s", r)
	}
	j.settle()
	if e.Quiet && j.out.Exit() == ExitClean {
		return j.out, nil
	}
	w := bufio.NewWriterSize(e.Stdout, 64<<10)
	if o.Format == "json" {
		err = j.json(w)
	} else {
		j.text(w)
	}
	return j.out, errors.Join(err, w.Flush())
}

func (o *PostureOptions) check() error {
	if f := o.Format; f != "" && f != "text" && f != "json" {
		return usageError("--format: want text or json, not %q", f)
	}
	if o.Profile != "" && !slices.Contains(config.Profiles, o.Profile) {
		return usageError("--profile: want %s, not %q", strings.Join(config.Profiles, " or "), o.Profile)
	}
	return nil
}

// openPosture opens a session that needs neither a baseline nor a state folder.
// Where it cannot be told whose signatures count, only the rule about that is
// unknown.
func openPosture(e *Env) (*session, error) {
	s, trustErr, err := openLoosely(e)
	if err != nil {
		return nil, err
	}
	if s.cfgErr != nil {
		s.close()
		return nil, &codeError{ExitUsage, s.cfgErr}
	}
	if trustErr != nil {
		if e.TrustedSigners+e.RevokedKeys != "" {
			s.close()
			return nil, trustErr
		}
		e.warn("%v: %v", errNoTrust, trustErr)
	}
	return s, nil
}

// judged is a host that was judged.
type judged struct {
	*session
	o       PostureOptions
	book    *posture.Book
	facts   *hostFacts
	cover   *posture.Cover
	results []posture.Result
	tally   posture.Tally // of the rules; what is said about waivers and attestations is not in it
	out     Outcome

	filter facts.Answer[firewall.Chain] // of services alone
}

// The sets of results that no rule file has.
var ownSets = []string{"waiver", "attest"}

// choose settles profile and sets.
func (j *judged) choose() error {
	if j.o.Profile == "" {
		j.o.Profile = j.cfg.Posture.Profile
	}
	known := append(j.book.Sets(), ownSets...)
	for _, set := range j.o.Sets {
		if !slices.Contains(known, set) {
			return usageError("--set: there is no set %q: want %s", set, strings.Join(known, ", "))
		}
	}
	if id := j.o.Explain; id != "" {
		if len(j.o.Sets) > 0 {
			return usageError("--set and --explain exclude each other")
		}
		r, err := findRule(j.book, id)
		if err != nil {
			return err
		}
		j.o.Sets = []string{r.Set}
	}
	return nil
}

// findRule returns the rule with an id; the error names the nearest one.
func findRule(b *posture.Book, id string) (*posture.Rule, error) {
	r := b.Rule(id)
	if r != nil {
		return r, nil
	}
	if x := posture.FindElsewhere(id); x != nil {
		return nil, usageError("%s is judged by intact check, as %s: see intact rules show %s", id, x.By, id)
	}
	var ids []string
	for _, r := range b.Rules {
		ids = append(ids, r.ID)
	}
	if near := strict.Nearest(id, ids); near != "" {
		return nil, usageError("there is no rule %q: did you mean %q?", id, near)
	}
	return nil, usageError("there is no rule %q: see intact rules list", id)
}

// wanted reports whether a rule is among those that were asked for.
func (j *judged) wanted(set, id string) bool {
	return (len(j.o.Sets) == 0 || slices.Contains(j.o.Sets, set)) && (j.o.Explain == "" || j.o.Explain == id)
}

func (j *judged) judge(ctx context.Context) error {
	in := posture.Input{Facts: j.facts, Live: j.factsHost().Live, Profile: j.o.Profile, Sets: j.o.Sets, Now: j.env.Now(), Waivers: j.cover}
	if len(in.Sets) == 0 {
		in.Sets = nil
	}
	return j.book.Judge(ctx, in, func(r posture.Result) error {
		if j.wanted(r.Set, r.ID) {
			j.results = append(j.results, r)
			if r.Rule != nil {
				j.tally.Add(r)
			}
		}
		return nil
	})
}

// settle gathers exit codes.
func (j *judged) settle() {
	verdicts := map[string]posture.Verdict{}
	for i := range j.results {
		r := &j.results[i]
		verdicts[r.ID] = r.Verdict
		if slices.ContainsFunc(r.Subjects, func(s posture.Subject) bool { return s.Verdict == posture.Fail }) {
			j.out.Add(ExitFindings)
		}
	}
	for _, q := range j.cfg.Require {
		set, _, _ := strings.Cut(q.Rule, ".")
		rule := j.book.Rule(q.Rule)
		if rule == nil || !j.wanted(set, q.Rule) {
			continue // another part of a check, or not asked for
		}
		switch v := verdicts[q.Rule]; v {
		case posture.Unknown, posture.Error:
			j.env.warn("required rule %s has no verdict: %s", q.Rule, v)
			j.out.Add(ExitIncomplete)
		case "":
			j.env.warn("required rule %s has no verdict: it is not in force under the profile %s", q.Rule, j.o.Profile)
			j.out.Add(ExitIncomplete)
		}
	}
}

// counts are the figures of a run.
type postureCounts struct {
	Rules         int `json:"rules"`
	Known         int `json:"known"` // pass, fail or waived
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	Waived        int `json:"waived"`
	Unknown       int `json:"unknown"`
	Error         int `json:"error"`
	NotApplicable int `json:"not_applicable"`

	Findings       map[string]int `json:"findings"`        // failing subjects by severity
	WaivedSubjects int            `json:"waived_subjects"` // that fail and are waived
}

func (j *judged) count() (c postureCounts) {
	n := j.tally.Rules
	c = postureCounts{Pass: n[posture.Pass], Fail: n[posture.Fail], Waived: n[posture.Waived], Unknown: n[posture.Unknown],
		Error: n[posture.Error], NotApplicable: n[posture.NotApplicable], Findings: map[string]int{}, WaivedSubjects: j.tally.Waived}
	c.Known = c.Pass + c.Fail + c.Waived
	c.Rules = c.Known + c.Unknown + c.Error + c.NotApplicable
	for s := rules.Info; s <= rules.Critical; s++ {
		c.Findings[s.String()] = 0
	}
	for i := range j.results {
		for k := range j.results[i].Subjects {
			if s := &j.results[i].Subjects[k]; s.Verdict == posture.Fail {
				c.Findings[s.Finding.Severity.String()]++
			}
		}
	}
	return c
}

// lacking says why rules have no verdict: how many for each state of the facts
// that they need, as "3 denied, 2 offline".
func (j *judged) lacking() string {
	n := map[rules.Status]int{}
	for i := range j.results {
		r := &j.results[i]
		if r.Rule == nil || r.Verdict != posture.Unknown {
			continue
		}
		n[j.state(r.Rule)]++
	}
	var parts []string
	for _, s := range []rules.Status{rules.Denied, rules.Absent, rules.Offline, rules.Failed, rules.Timeout, rules.OK} {
		if n[s] > 0 {
			word := string(s)
			if s == rules.OK {
				word = "not known of every subject"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n[s], word))
		}
	}
	return strings.Join(parts, ", ")
}

// state is that of the first fact that a rule lacks; rules.OK where it lacks none.
func (j *judged) state(r *posture.Rule) rules.Status {
	if r.NeedsLive && !j.factsHost().Live {
		return rules.Offline
	}
	for _, kind := range j.book.NeedsOf(r) {
		if f, ok := j.facts.kept[kind]; ok && f.Status != rules.OK {
			return f.Status
		}
	}
	return rules.OK
}
