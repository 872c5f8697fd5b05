package app

import (
	"fmt"
	"strings"

	"intact/report"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// Explain prints for each path the line of the policy that decides about it.
// The paths need not exist.
func Explain(e *Env, args []string) (Outcome, error) {
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	paths, err := s.paths(args)
	if err != nil {
		return Outcome{}, err
	}
	pol := s.cfg.Policy.ExpandHomes(s.users.homes)
	for _, p := range paths {
		if to, links, exists, err := s.root.Resolve(p); err == nil && exists && len(links) > 0 && to != p {
			e.print("%s leads to %s; both are decided separately\n", report.Escape(string(p)), report.Escape(string(to)))
			e.explain(pol, p)
			p = to
		}
		e.explain(pol, p)
	}
	return Done(), nil
}

func (e *Env) print(format string, args ...any) { fmt.Fprintf(e.Stdout, format, args...) }

func (e *Env) explain(pol *policy.Policy, p entry.Path) {
	x := pol.Explain(p)
	name := report.Escape(string(p))
	switch {
	case x.Exclude != nil:
		e.print("%s: not checked\n  hidden by %s, matched at %s\n", name, x.Exclude, report.Escape(string(x.At)))
	case x.Rule == nil:
		e.print("%s: not checked\n  no path of the policy covers it\n", name)
	default:
		e.print("%s: checked\n  by %s, matched at %s\n", name, x.Rule, report.Escape(string(x.At)))
		e.print("  attributes: %s\n", x.Rule.Set.Mask.String())
		if x.Rule.Set.DirMask != x.Rule.Set.Mask {
			e.print("  of directories: %s\n", x.Rule.Set.DirMask.String())
		}
		var also []string
		if x.Rule.Set.Log {
			also = append(also, "content may grow, what was there must stay")
		}
		if x.Rule.Set.Sweep {
			also = append(also, "only setuid, setgid, capabilities, devices and executables are kept")
		}
		if x.Rule.Hot {
			also = append(also, "hot")
		}
		if x.Rule.Severity != "" {
			also = append(also, "severity at least "+x.Rule.Severity)
		}
		if len(also) > 0 {
			e.print("  %s\n", strings.Join(also, "; "))
		}
	}
	for _, l := range x.Lost {
		if l.Rule != nil {
			e.print("  less deep: %s\n", l.Rule)
		} else {
			e.print("  less deep: %s\n", l.Exclude)
		}
	}
}

// PolicyCheck reads the configuration and says what in it cannot work.
func PolicyCheck(e *Env) (Outcome, error) {
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	pol := s.cfg.Policy
	sc, err := s.scope(pol, pol, nil, true)
	if err != nil {
		return Outcome{}, err
	}
	e.print("%s: %d paths, %d excludes\n", report.Escape(pol.Name), len(pol.Rules), len(pol.Excludes))
	for _, w := range pol.Warnings() {
		e.print("warning: %s\n", report.Prose(w))
	}
	for _, p := range sc.missing {
		e.print("does not exist here: %s\n", report.Escape(string(p)))
	}
	for _, a := range sc.aliases {
		e.print("leads elsewhere: %s to %s\n", report.Escape(string(a.From)), report.Escape(string(a.To)))
	}
	if len(sc.missing) == len(sc.eff.Expected()) && len(sc.missing) == len(pol.Rules) {
		return Outcome{}, usageError("the policy selects nothing that exists under %q", s.root.HostPath())
	}
	return Done(), nil
}

// PolicyShow prints the configured policy with every attribute spelled out.
func PolicyShow(e *Env) (Outcome, error) {
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	e.print("# %s, digest %s\n%s", report.Escape(s.cfg.Policy.Name), s.cfg.Policy.Digest().Named(), s.cfg.Policy.Canonical())
	return Done(), nil
}
