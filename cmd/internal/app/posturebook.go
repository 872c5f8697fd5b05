package app

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/integrity"
	"intact/rules/posture"
	"intact/scanner/strict"
)

// otherSets are the families of rules that no rule file holds and that a waiver or require
// can name all the same: other parts of a check report in them.
var otherSets = []string{"policy", "baseline", "trust", "self", "mount", "root", "state", "pkg", "drift", "coverage"}

// book reads the rules, those of the program and of the site, and the waivers.
// All that is wrong with any of the files is one error, which exits 2; a file
// that others can write to is among it. Only commands that judge posture or show
// rules may call it: it sets CEL up.
func (s *session) book() (*posture.Book, *posture.Waivers, error) {
	p := s.cfg.Posture
	texts, err := p.ReadRules(os.Geteuid())
	var site []posture.File
	for _, t := range texts {
		site = append(site, posture.File{Name: t.Name, Text: t.Text})
	}
	b, problems, fault := posture.Load(posture.Sources{Kinds: factKinds(), Builtin: posture.Builtin(), Site: site})
	if fault != nil {
		return nil, nil, fault
	}
	known := func(string) bool { return true } // of rules that could not be read nothing can be said
	if err == nil && !posture.Fatal(problems) {
		known = func(id string) bool { return knownRule(b, id) }
	}
	waivers, waiverErr := p.ReadWaivers(os.Geteuid())
	var w *posture.Waivers
	if waivers != nil {
		var more []posture.Problem
		w, more = posture.ParseWaivers(posture.File{Name: waivers.Name, Text: waivers.Text}, s.env.Now(), known)
		problems = append(problems, more...)
	}
	err = errors.Join(err, s.wrong(problems), waiverErr)
	for _, r := range s.cfg.Require {
		if !known(r.Rule) {
			err = errors.Join(err, fmt.Errorf("%s: there is no rule %s", r.Place, strict.Printable(r.Rule)))
		}
	}
	if err != nil {
		return nil, nil, &codeError{ExitUsage, err}
	}
	return b, w, nil
}

// wrong joins problems to one error, and tells warnings.
func (s *session) wrong(problems []posture.Problem) (err error) {
	for _, p := range problems {
		if p.Warning {
			s.env.warn("%v", p.Error)
			continue
		}
		err = errors.Join(err, p.Error)
	}
	return err
}

// knownRule reports whether a rule of some part of a check has the id.
func knownRule(b *posture.Book, id string) bool {
	if b.Rule(id) != nil || slices.ContainsFunc(integrity.Rules(), func(r integrity.Rule) bool { return r.ID == id }) {
		return true
	}
	set, name, ok := strings.Cut(id, ".")
	return ok && name != "" && slices.Contains(otherSets, set)
}

// factsHost is the host that facts are about.
func (s *session) factsHost() facts.Host {
	if s.env.Facts != nil {
		return *s.env.Facts
	}
	return facts.Host{Root: s.root, Live: s.root.Live()}
}

// hostFacts are the facts of the root of this session, with what the
// configuration, the waivers (nil: none) and the state folder say. Nothing is read
// before a rule asks. Digests of passwords are left out.
func (s *session) hostFacts(w *posture.Waivers) *hostFacts {
	h := &hostFacts{host: s.factsHost(), now: s.env.Now(), ring: s.pinnedRing,
		probe: s.cfg.Posture.ProbeSSH, owners: s.owners}
	h.self = s.self(h)
	h.set("attestations", w.Fact())
	f := posture.Fact{Status: rules.OK, Via: "configuration"}
	rows := []posture.Service{}
	for _, v := range s.cfg.Services {
		rows = append(rows, posture.Service{Name: v.Name, Port: v.Port, Proto: v.Proto, Class: v.Class, Role: v.Role})
	}
	if s.cfg.Services == nil {
		f.Status, f.Reason = rules.Absent, "no services are declared: see intact services --propose"
	}
	f.Rows = rows
	h.set("services", f)
	h.set("declared", posture.Fact{Rows: rows, Status: rules.OK, Via: f.Via})
	return h
}
