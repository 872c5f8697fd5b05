package posture

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"intact/rules"
	"intact/scanner/digest"
	"intact/scanner/strict"
)

// WaiverFormat is what the key intact of a waiver file says.
const WaiverFormat = "waivers/v1"

// Limits of a waiver.
const (
	maxWaived = 366 * 24 * time.Hour // from when the file is read
	minReason = 10                   // characters
)

// Waiver says that findings of a rule are known and borne for a time. It covers
// what people have seen and nothing else: a finding whose evidence is the one
// that it names, or one of those that it was bound to when it was accepted into
// the baseline.
type Waiver struct {
	Rule    string
	Subject string    // a glob over the name or path of the subject
	Until   time.Time // first moment at which it is not in force any more: the end of the day that the file names
	Reason  string
	By      string
	// Evidence is the digest of the one finding that it covers; "" where it
	// covers those in Bound.
	Evidence string
	// Bound are what an unbound waiver covered when it was accepted. Nil: it was
	// not accepted yet, and covers whatever its subject matches.
	Bound []Binding
	Place string // file:line

	exact string // the one subject, where it is no glob
	glob  bool
}

// Binding is a finding that a waiver was accepted for.
type Binding struct{ Subject, Digest string }

// Attestation is a person's word for what a host cannot see.
type Attestation struct {
	ID       string    `cel:"id"`
	Subject  string    `cel:"subject"`
	Until    time.Time `cel:"until"` // first moment at which it does not count any more
	By       string    `cel:"by"`
	Document string    `cel:"document"` // digest of what was signed or written, with its algorithm
	Place    string    `cel:"-"`        // file:line
}

// NotVerified is said of each attestation.
const NotVerified = "not verified by this host"

// Waivers is a waiver file.
type Waivers struct {
	List         []*Waiver
	Attestations []Attestation
}

// exactOnly reports rules that only a waiver of one exact subject can cover:
// those that guard the program itself, its coverage, and who is believed.
func exactOnly(rule string) bool {
	switch setOf(rule) {
	case "policy", "baseline", "trust", "self":
		return true
	}
	return rule == "fim.self" || rule == "coverage.lost"
}

// integrity reports the rules about files, whose evidence is the new content.
func integrity(rule string) bool { return setOf(rule) == "fim" && rule != "fim.self" }

// accepted reports the rules whose findings are accepted into the baseline, as what
// was found, and so need no waiver.
func accepted(rule string) bool {
	switch setOf(rule) {
	case "mount", "root", "state", "pkg", "drift":
		return true
	}
	return false
}

// OfBaseline reports whether the waiver is about what a check finds besides
// rules: changes of files, and what guards the program itself. It holds for one
// exact subject, a change of a file for one content.
func (w *Waiver) OfBaseline() bool {
	return integrity(w.Rule) || exactOnly(w.Rule) && w.Rule != "fim.self"
}

var (
	digestWord   = regexp.MustCompile(`^blake3:[0-9a-f]{64}$`)
	documentWord = regexp.MustCompile(`^(blake3|sha256):[0-9a-f]{64}$`)
)

// ParseWaivers reads a waiver file. known tells which ids of rules there are.
func ParseWaivers(f File, now time.Time, known func(rule string) bool) (*Waivers, []Problem) {
	w := &Waivers{}
	root, err := strict.Parse(f.Name, f.Text)
	if root != nil {
		if root.IsMap() {
			w.parse(root, now, known)
		}
		err = root.Err()
	}
	if es, ok := errors.AsType[strict.Errors](err); ok {
		var out []Problem
		for _, e := range es {
			out = append(out, Problem{Error: e})
		}
		return nil, out
	}
	return w, nil
}

func (w *Waivers) parse(root *strict.Node, now time.Time, known func(rule string) bool) {
	if v := root.Need("intact"); v != nil {
		v.Word(WaiverFormat)
	}
	for _, n := range root.Get("waivers").Items() {
		if n.IsMap() {
			w.List = append(w.List, parseWaiver(n, now, known))
		}
	}
	seen := map[string]bool{}
	for _, n := range root.Get("attestations").Items() {
		if !n.IsMap() {
			continue
		}
		a := parseAttestation(n, now)
		if seen[a.ID] {
			n.Get("id").Errorf("attestation %s is there twice", prose(a.ID))
		}
		seen[a.ID] = true
		w.Attestations = append(w.Attestations, a)
	}
	root.Unknown("intact", "waivers", "attestations")
}

func parseWaiver(n *strict.Node, now time.Time, known func(rule string) bool) *Waiver {
	w := &Waiver{Place: place(n)}
	rule := n.Need("rule")
	if w.Rule = rule.Text(); rule.IsText() {
		switch {
		case setOf(w.Rule) == "waiver":
			rule.Errorf("rule %s is about waivers: it cannot be waived", prose(w.Rule))
		case accepted(w.Rule):
			rule.Errorf("what rule %s finds is accepted, not waived", prose(w.Rule))
		case !known(w.Rule):
			rule.Errorf("there is no rule %s", strict.Printable(w.Rule))
		}
	}
	w.subject(n)
	w.Until = until(n.Need("until"), now)
	reason := n.Need("reason")
	w.Reason = line(reason)
	if reason.IsText() && utf8.RuneCountInString(strings.TrimSpace(w.Reason)) < minReason {
		reason.Errorf("a reason has %d characters or more", minReason)
	}
	w.By = line(n.Need("by"))
	if e := n.Get("evidence"); e != nil {
		if w.Evidence = e.Text(); e.IsText() && !digestWord.MatchString(w.Evidence) {
			e.Errorf("want a digest as reports show it: blake3: and 64 hex digits")
		}
	}
	switch {
	case w.glob && exactOnly(w.Rule):
		n.Get("subject").Errorf("rule %s is waived for one exact subject only, not for %s", w.Rule, strict.Printable(w.Subject))
	case w.glob && integrity(w.Rule):
		n.Get("subject").Errorf("a change of files is waived for one exact path only, not for %s", strict.Printable(w.Subject))
	case integrity(w.Rule) && w.Evidence == "":
		n.Errorf("a change of files is waived for one content only: key \"evidence\", the digest of the new content, is missing")
	}
	n.Unknown("rule", "subject", "subject_b64", "until", "reason", "by", "evidence")
	return w
}

// subject reads subject or, for names that are not UTF-8, subject_b64, which is
// exact.
func (w *Waiver) subject(n *strict.Node) {
	s, raw := n.Get("subject"), n.Get("subject_b64")
	switch {
	case raw != nil && s != nil:
		raw.Errorf("subject and subject_b64 exclude one another")
	case raw != nil:
		b, err := base64.StdEncoding.Strict().DecodeString(raw.Text())
		if raw.IsText() && err != nil {
			raw.Errorf("no base64")
		}
		w.exact = string(b)
		w.Subject = prose(w.exact)
		return
	case s == nil:
		n.Errorf("key \"subject\" is missing")
		return
	}
	w.Subject = s.Text()
	if s.IsText() && w.Subject == "" {
		s.Errorf("an empty subject")
	}
	if what := pattern(w.Subject).valid(); what != "" {
		s.Errorf("%s is no glob: %s", strict.Printable(w.Subject), what)
		return
	}
	var one bool
	w.exact, one = pattern(w.Subject).exact()
	w.glob = !one
}

// until reads the last day of something that ends within a year.
func until(n *strict.Node, now time.Time) time.Time {
	day := n.Date()
	if !day.IsZero() && day.After(now.Add(maxWaived)) {
		n.Errorf("%s is more than 366 days ahead", day.Format(time.DateOnly))
	}
	return day.AddDate(0, 0, 1)
}

func parseAttestation(n *strict.Node, now time.Time) Attestation {
	a := Attestation{Place: place(n)}
	id := n.Need("id")
	if a.ID = id.Text(); id.IsText() && !ruleID.MatchString("attest."+a.ID) {
		id.Errorf("%s is no id: want lower case letters, digits and -", strict.Printable(a.ID))
	}
	a.Subject = line(n.Need("subject"))
	a.Until = until(n.Need("until"), now)
	a.By = line(n.Need("by"))
	if d := n.Get("document"); d != nil {
		if a.Document = d.Text(); d.IsText() && !documentWord.MatchString(a.Document) {
			d.Errorf("want the digest of a document: blake3: or sha256:, and 64 hex digits")
		}
	}
	n.Unknown("id", "subject", "until", "by", "document")
	return a
}

// matches reports whether the waiver is about a finding, whatever its evidence.
func (w *Waiver) matches(rule, subject string) bool {
	if w.Rule != rule {
		return false
	}
	if w.glob {
		return pattern(w.Subject).match(subject)
	}
	return w.exact == subject
}

// seen reports whether the waiver was given for this evidence.
func (w *Waiver) seen(subject, digest string) bool {
	switch {
	case w.Evidence != "":
		return w.Evidence == digest
	case w.Bound == nil:
		return true
	}
	return slices.Contains(w.Bound, Binding{subject, digest})
}

// Text is the waiver in one spelling, as the baseline keeps it. What it is
// bound to is not part of it.
func (w *Waiver) Text() string {
	return string(appendPairs(nil, "rule", w.Rule, "subject", w.Subject, "exact", w.exact, "until", w.lastDay(), "reason", w.Reason, "by", w.By, "evidence", w.Evidence))
}

// WaiverOf reads from Text the rule and the exact subject, "" if that is a glob.
func WaiverOf(text string) (rule, subject string, ok bool) {
	var v [3]string
	for i, name := range [...]string{"rule=", "subject=", "exact="} {
		rest, is := strings.CutPrefix(text, name)
		q, err := strconv.QuotedPrefix(rest)
		if !is || err != nil {
			return "", "", false
		}
		v[i], _ = strconv.Unquote(q)
		text = strings.TrimPrefix(rest[len(q):], " ")
	}
	return v[0], v[2], true
}

// Text is the attestation in one spelling, likewise.
func (a *Attestation) Text() string {
	return string(appendPairs(nil, "id", a.ID, "subject", a.Subject, "until", a.Until.Format(time.DateOnly), "by", a.By, "document", a.Document))
}

func (w *Waiver) lastDay() string { return w.Until.AddDate(0, 0, -1).Format(time.DateOnly) }

// Says is until when, by whom and why something is waived.
func (w *Waiver) Says() string {
	return fmt.Sprintf("waived until %s by %s: %s (%s)", w.lastDay(), w.By, w.Reason, w.Place)
}

// Fact is the attestations as a fact for rules.
func (w *Waivers) Fact() Fact {
	f := Fact{Rows: []Attestation{}, Status: rules.OK, Via: "waivers"}
	if w != nil {
		f.Rows = append([]Attestation{}, w.Attestations...)
	}
	return f
}

func digestOf(text string) string { return digest.Sum([]byte(text)).Named() }
