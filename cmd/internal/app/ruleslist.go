package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules/posture"
	"intact/scanner/strict"
)

// configured reads the configuration alone: neither root nor state folder.
func configured(e *Env) (*session, error) {
	s := &session{env: e}
	s.cfg, s.cfgErr = config.Load(config.Options{File: e.Config, State: e.State, UID: os.Geteuid()})
	if s.cfgErr != nil {
		return nil, &codeError{ExitUsage, s.cfgErr}
	}
	return s, nil
}

// RulesList prints a line for each rule.
func RulesList(e *Env) (Outcome, error) {
	s, err := configured(e)
	if err != nil {
		return Outcome{}, err
	}
	b, _, err := s.book()
	if err != nil {
		return Outcome{}, err
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tSEVERITY\tPROFILE\tENABLED\tFROM\tTITLE")
	for _, r := range b.Rules {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", report.Escape(r.ID), r.Severity, r.Profile, s.enabled(r), report.Escape(origin(r)), report.Prose(r.Title))
	}
	for _, x := range posture.ElsewhereRules() {
		fmt.Fprintf(w, "%s\t%s\t-\tyes\t%s of intact check\t%s\n", x.ID, x.Severity, x.By, x.Title)
	}
	return Done(), w.Flush()
}

func (s *session) enabled(r *posture.Rule) string {
	if r.Active(s.cfg.Posture.Profile) {
		return "yes"
	}
	return "no"
}

// origin says which files a rule is of.
func origin(r *posture.Rule) string {
	switch {
	case r.Builtin && r.Changed != "":
		return "built-in, changed at " + r.Changed
	case r.Builtin:
		return "built-in"
	}
	return r.Place
}

// RulesShow prints all of one rule, as it is in force.
func RulesShow(e *Env, id string) (Outcome, error) {
	s, err := configured(e)
	if err != nil {
		return Outcome{}, err
	}
	b, _, err := s.book()
	if err != nil {
		return Outcome{}, err
	}
	w := bufio.NewWriter(e.Stdout)
	if x := posture.FindElsewhere(id); x != nil {
		fmt.Fprintf(w, "%s  %s\n", x.ID, x.Title)
		for _, p := range [][2]string{{"severity", x.Severity.String()}, {"from", x.By + " of intact check and intact init"}, {"why", x.Why}, {"fix", x.Fix}, {"see", x.Refs.String()}} {
			field(w, p[0], p[1])
		}
		return Done(), w.Flush()
	}
	r, err := findRule(b, id)
	if err != nil {
		return Outcome{}, err
	}
	fmt.Fprintf(w, "%s  %s\n", report.Escape(r.ID), report.Prose(r.Title))
	severity := r.Severity.String()
	for _, c := range r.Cases {
		severity += fmt.Sprintf("; %s if %s", c.Severity, strings.Join(strings.Fields(c.If), " "))
	}
	on := fmt.Sprintf("%s under the profile %s", s.enabled(r), s.cfg.Posture.Profile)
	if r.Forced {
		on += ", as a file of the site says"
	}
	from := r.Place
	if r.Builtin {
		from = "built-in, " + r.Place
	}
	if r.Changed != "" {
		from += ", changed at " + r.Changed
	}
	for _, p := range []struct{ word, text string }{
		{"severity", severity}, {"profile", r.Profile}, {"enabled", on}, {"from", from}, {"facts", strings.Join(b.NeedsOf(r), ", ")},
		{"live", map[bool]string{true: "judges the running host only"}[r.NeedsLive]},
		{"absent", map[bool]string{true: "not-applicable where the host has no such thing"}[r.AbsentOK] + map[bool]string{true: "of what the host does not have there is none"}[r.AbsentEmpty]},
		{"why", r.Why}, {"fix", r.Fix}, {"see", r.Refs.String()},
		{"when", r.When}, {"each", r.Each}, {"known", r.Known}, {"expect", r.Expect}, {"subject", r.Subject}, {"message", r.Message}, {"evidence", r.Evidence},
	} {
		field(w, p.word, p.text)
	}
	for _, p := range r.Params {
		text := p.Name + ": " + p.Text()
		if def := (posture.Param{Value: p.Default}).Text(); def != p.Text() {
			text += "  (built in: " + def + ")"
		}
		field(w, "param", text)
	}
	return Done(), w.Flush()
}

// field writes a word and a text of several lines beside it.
func field(w io.Writer, word, text string) {
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if l != "" {
			fmt.Fprintf(w, "  %-8s  %s\n", word, report.Prose(l))
			word = ""
		}
	}
}

// RulesTest runs the tests of the rules that the files hold. It looks at nothing
// else: neither at the configuration nor at the host. The outcome has 1 where a
// test fails; a file with a mistake is an error.
func RulesTest(ctx context.Context, e *Env, names []string) (Outcome, error) {
	if len(names) == 0 {
		return Outcome{}, usageError("rules test needs a file")
	}
	src := posture.Sources{Kinds: factKinds(), Builtin: posture.Builtin(), Tests: true}
	var wrong error
	for _, name := range names {
		text, err := readRuleFile(name)
		if err != nil {
			wrong = errors.Join(wrong, err)
			continue
		}
		src.Site = append(src.Site, posture.File{Name: name, Text: text})
	}
	b, problems, err := posture.Load(src)
	if err != nil {
		return Outcome{}, err
	}
	s := &session{env: e}
	if wrong = errors.Join(wrong, s.wrong(problems)); wrong != nil {
		return Outcome{}, &codeError{ExitUsage, wrong}
	}
	out, run, failed := Done(), 0, 0
	own := func(r *posture.Rule) bool { return !r.Builtin }
	err = b.Test(ctx, own, func(t posture.TestRun) {
		if run++; t.Failure != "" {
			failed++
			out.Add(ExitFindings)
			e.print("FAIL  %s: %s %s: %s\n", report.Escape(t.Place), report.Escape(t.Rule), named(t.Name), report.Prose(t.Failure))
		} else if e.Verbose {
			e.print("ok    %s: %s %s\n", report.Escape(t.Place), report.Escape(t.Rule), named(t.Name))
		}
	})
	if err != nil {
		return Outcome{}, err
	}
	count := len(slices.DeleteFunc(slices.Clone(b.Rules), func(r *posture.Rule) bool { return r.Builtin }))
	if !e.Quiet || failed > 0 {
		e.print("%s of %s: %d passed, %d failed\n", counted(run, "test"), counted(count, "rule"), run-failed, failed)
	}
	return out, nil
}

// named is the name of a test, which need not have one.
func named(name string) string {
	if name == "" {
		return "(a test without a name)"
	}
	return report.Escape(name)
}

// readRuleFile reads a file that the user named; whose it is does not matter,
// for nothing goes by what it says. A FIFO is not waited for.
func readRuleFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read rules %q: not a regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, strict.MaxSize+1)) // one more than allowed: the reader says so
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return text, nil
}
