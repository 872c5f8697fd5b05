package app

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"intact/baseline/diff"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules"
	"intact/rules/posture"
)

// Keys of the rows of rowRulebook about what the configuration says to rules.
// Values: the name of the profile, "yes", a line a service or a rule.
const (
	bookProfile  = "profile"
	bookStrict   = "strict"
	bookProbe    = "probe_ssh"
	bookServices = "services"
	bookRequire  = "require"
)

// serviceLine spells a declared service.
func serviceLine(v config.Service) string {
	return fmt.Sprintf("%q %d/%s %s %q", v.Name, v.Port, v.Proto, v.Class, v.Role)
}

// serviceOf reads serviceLine.
func serviceOf(line string) (v config.Service, ok bool) {
	q, err := strconv.QuotedPrefix(line)
	if err != nil {
		return v, false
	}
	v.Name, _ = strconv.Unquote(q)
	f := strings.SplitN(strings.TrimPrefix(line[len(q):], " "), " ", 3)
	if len(f) != 3 {
		return v, false
	}
	port, proto, is := strings.Cut(f[0], "/")
	if v.Port, err = strconv.ParseInt(port, 10, 32); err != nil || !is {
		return v, false
	}
	v.Proto, v.Class = proto, f[1]
	v.Role, err = strconv.Unquote(f[2])
	return v, err == nil
}

// configRows are the rows about what the configuration says to rules.
func configRows(cfg *config.Config) (rows []diff.Row) {
	add := func(key, value string) {
		rows = append(rows, diff.Row{Kind: rowRulebook, Key: []byte(key), Value: []byte(value)})
	}
	p := cfg.Posture
	add(bookProfile, p.Profile)
	if p.Strict {
		add(bookStrict, "yes")
	}
	if p.ProbeSSH {
		add(bookProbe, "yes")
	}
	if cfg.Services != nil {
		lines := []string{"declared"} // that none is declared is a word too
		for _, v := range cfg.Services {
			lines = append(lines, serviceLine(v))
		}
		slices.Sort(lines[1:])
		add(bookServices, strings.Join(slices.Compact(lines), "\n"))
	}
	if len(cfg.Require) > 0 {
		var lines []string
		for _, r := range cfg.Require {
			lines = append(lines, r.Rule)
		}
		slices.Sort(lines)
		add(bookRequire, strings.Join(slices.Compact(lines), "\n"))
	}
	return rows
}

// configInForce makes what the baseline says to rules count, and tells where the
// configuration of today takes something away. What that adds counts at once, but
// services: each that is declared lets something pass.
func (c *check) configInForce() error {
	rows, err := c.gen.Rows(rowRulebook)
	if err != nil {
		return err
	}
	was := byKey(rows)
	profile, known := was[bookProfile]
	if !known {
		return nil // an older baseline, or one of named paths: it says nothing
	}
	tell := func(rule, line string) {
		if c.cfgErr != nil {
			return // that there is no configuration is told
		}
		c.ruled.told = append(c.ruled.told, rules.Finding{Set: "policy", Rule: rule, Severity: rules.High, RawSeverity: rules.High, Change: "changed",
			Subject: rules.Subject{Kind: "policy", Name: line}, Reasons: []string{"the configuration takes away from what the baseline was made with; without effect until intact policy adopt"}})
	}
	cfg := *c.cfg
	c.cfg = &cfg
	p := &cfg.Posture
	if now := p.Profile; slices.Index(config.Profiles, now) < slices.Index(config.Profiles, string(profile)) { // one takes in those before it
		p.Profile = string(profile)
		tell("policy.rules", fmt.Sprintf("posture: profile %s → %s", report.Escape(string(profile)), now))
	}
	if was[bookStrict] != nil && !p.Strict {
		p.Strict = true
		tell("policy.rules", "posture: strict is gone")
	}
	if was[bookProbe] != nil && !p.ProbeSSH {
		p.ProbeSSH = true
		tell("policy.rules", "posture: probe_ssh is gone")
	}
	for _, id := range strings.Fields(string(was[bookRequire])) {
		if !slices.ContainsFunc(cfg.Require, func(r config.Required) bool { return r.Rule == id }) {
			cfg.Require = append(slices.Clone(cfg.Require), config.Required{Rule: id})
			tell("policy.rules", "require: "+report.Escape(id)+" is gone")
		}
	}
	c.servicesInForce(was[bookServices], func(line string) { tell("policy.services", line) })
	return nil
}

// servicesInForce leaves those services declared that are so in the baseline and
// today. value is nil where the baseline has none.
func (c *check) servicesInForce(value []byte, tell func(line string)) {
	old := map[string]bool{}
	var kept []config.Service
	if value != nil {
		kept = []config.Service{}
		for line := range strings.Lines(string(value)) {
			old[strings.TrimSuffix(line, "\n")] = true
		}
	}
	if c.cfg.Services == nil {
		for line := range old {
			if v, ok := serviceOf(line); ok {
				kept = append(kept, v)
			}
		}
		if value != nil {
			tell("services: is gone")
		}
	}
	for _, v := range c.cfg.Services {
		if old[serviceLine(v)] {
			kept = append(kept, v)
		} else {
			tell(fmt.Sprintf("service %s %d/%s %s", report.Escape(v.Name), v.Port, v.Proto, v.Class))
		}
	}
	c.cfg.Services = kept
}

// waived reports whether a waiver of the baseline covers what was found of a file,
// or of what guards intact itself, and keeps a record of it. One that did so once
// is told with the finding.
func (c *check) waived(f *rules.Finding) bool {
	if f.Set == "waiver" || f.Set == "attest" || c.ruled.book != nil && c.ruled.book.Rule(f.Rule) != nil {
		return false // those were asked where they were judged
	}
	subject, evidence := f.Subject.Path, ""
	if subject == "" {
		subject = f.Subject.Name
	}
	for _, v := range f.Attributes {
		if v.Name == "content" && v.NewKnown {
			evidence = "blake3:" + v.New
		}
	}
	in, lapsed, why := c.ruled.cover.Find(f.Rule, subject, evidence)
	switch {
	case in != nil:
		c.ruled.records = append(c.ruled.records, report.Rule{Set: f.Set, Rule: f.Rule, Verdict: string(posture.Waived), Reason: report.Escape(subject) + ": " + report.Prose(in.Says())})
		c.ruled.tally.Waived++
		c.ruled.borne++
		return true
	case lapsed != nil:
		f.Reasons = append(slices.Clone(f.Reasons), report.Prose(fmt.Sprintf("the waiver at %s does not cover it any more: %s", lapsed.Place, why)))
	}
	return false
}

// adopted says, a line each, what another policy brings into force or takes out of
// it for rules: now are the rows of the new baseline, old those of the one before.
func adopted(old, now []diff.Row, w *posture.Waivers) (out []string) {
	was, is := byKey(old), byKey(now)
	say := func(format string, args ...any) { out = append(out, "adopted: "+fmt.Sprintf(format, args...)) }
	keys := maps.Clone(was)
	maps.Copy(keys, is)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, b := was[key], is[key]
		if id, ok := strings.CutPrefix(key, "rule\x00"); ok {
			switch {
			case b == nil:
				say("rule %s is as the program has it, or gone", report.Escape(id))
			case !bytes.Equal(a, b):
				say("rule %s of the site, severity %s", report.Escape(id), report.Escape(words(b)["severity"]))
			}
			continue
		}
		if strings.ContainsRune(key, 0) || bytes.Equal(a, b) {
			continue
		}
		before := slices.Collect(strings.Lines(string(a)))
		after := slices.Collect(strings.Lines(string(b)))
		for i, list := range [][]string{after, before} {
			sign := [...]string{"", " without"}[i]
			for _, l := range list {
				l = strings.TrimSuffix(l, "\n")
				if other := [][]string{before, after}[i]; !slices.ContainsFunc(other, func(o string) bool { return strings.TrimSuffix(o, "\n") == l }) {
					say("%s%s %s", key, sign, report.Prose(l))
				}
			}
		}
	}
	if w == nil {
		return out
	}
	for _, v := range w.List {
		if was["waiver\x00"+v.Text()] == nil {
			say("waiver of %s for %s, by %s: %s", v.Rule, report.Escape(v.Subject), report.Escape(v.By), report.Escape(v.Reason))
		}
	}
	for _, v := range w.Attestations {
		if was["attestation\x00"+v.Text()] == nil {
			say("attestation %s: %s, by %s", v.ID, report.Escape(v.Subject), report.Escape(v.By))
		}
	}
	return out
}
