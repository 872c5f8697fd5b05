package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/report"
)

// DelegateOptions of PackagesDelegate.
type DelegateOptions struct {
	Packages []string // patterns of names
	Suites   []string
	Hosts    []string // ids
	Until    string
	Reason   string
	SignWith string // the operator's key, see session.signer
	Output   string // file
}

// PackagesDelegate signs which upgrades of packages hosts may accept by
// themselves. It runs where the operator's key is, and needs nothing else there.
func PackagesDelegate(e *Env, o DelegateOptions) (Outcome, error) {
	switch {
	case len(o.Packages) == 0 || len(o.Suites) == 0 || len(o.Hosts) == 0:
		return Outcome{}, usageError("packages delegate: say for what: --packages GLOB, --suites SUITE and --host ID, each as often as needed")
	case o.Until == "":
		return Outcome{}, usageError("packages delegate: --until T is needed: a time, or how long from now as 90d")
	case o.SignWith == "" || o.Output == "":
		return Outcome{}, usageError("packages delegate: --sign-with KEY and --output FILE are needed")
	}
	now := e.Now().UTC().Truncate(time.Second)
	until, err := parseUntil(o.Until, now, time.Local)
	if err != nil {
		return Outcome{}, usageError("packages delegate: --until: %w", err)
	}
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	k, err := s.signer(o.SignWith)
	if err != nil {
		return Outcome{}, fmt.Errorf("--sign-with: %w", err)
	}
	by := s.approver()
	d := &baseline.Delegation{Created: now, Until: until.UTC().Truncate(time.Second), Hosts: sortedSet(o.Hosts), Packages: sortedSet(o.Packages), Suites: sortedSet(o.Suites),
		Operator: by[:min(len(by), baseline.MaxReason)], Signer: k.Key().Fingerprint, Reason: o.Reason}
	if err := d.Sound(); err != nil {
		return Outcome{}, usageError("packages delegate: %w", err)
	}
	if d.Armor, err = k.Sign(baseline.DelegationNamespace, bytes.NewReader(d.Text())); err != nil {
		return Outcome{}, fmt.Errorf("sign: %w", err)
	}
	// What hosts would make of it, as far as the list here says.
	if t := s.store.Trust; t.Operators != nil {
		if _, err := t.Delegated(d, d.Hosts[0], now); err != nil {
			return Outcome{}, fmt.Errorf("packages delegate: %w", err)
		}
	}
	if err := replaceFile(o.Output, func(w io.Writer) error { _, err := w.Write(d.Bytes()); return err }); err != nil {
		return Outcome{}, err
	}
	e.print("%s", delegationText(d, ""))
	e.print("on each of these hosts: intact packages delegate --apply %s\n", report.ShellQuote(o.Output))
	return Done(), nil
}

// sortedSet sorts words, each once. What is given as a list with commas is that.
func sortedSet(list []string) (out []string) {
	for _, l := range list {
		out = append(out, strings.Split(l, ",")...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// delegationText tells a delegation to people; by is who signed it, "" where
// nobody asked.
func delegationText(d *baseline.Delegation, by string) string {
	var b strings.Builder
	line := func(name, text string) { fmt.Fprintf(&b, "  %-9s %s\n", name, text) }
	fmt.Fprintf(&b, "delegation %s\n", d.Digest().Named())
	line("packages", report.Escape(strings.Join(d.Packages, " ")))
	line("suites", report.Escape(strings.Join(d.Suites, " ")))
	line("hosts", report.Escape(strings.Join(d.Hosts, " ")))
	line("until", when(d.Until)+" UTC")
	line("by", report.Escape(d.Operator)+" on "+when(d.Created)+" UTC, with "+report.Escape(d.Signer))
	if by != "" {
		line("signed by", report.Escape(by))
	}
	if d.Reason != "" {
		line("reason", report.Prose(d.Reason))
	}
	return b.String()
}

// DelegationApply puts a delegation in force on the host that it is for, in the
// place of the one before.
func DelegationApply(e *Env, file string) (Outcome, error) {
	return hosting(e, "packages delegate", func(s *session) error {
		text, err := readOpened(file, baseline.MaxDelegationFile, nil)
		if err != nil {
			return usageError("packages delegate --apply: %w", err)
		}
		d, err := baseline.ParseDelegation(text)
		if err != nil {
			return usageErrorAs(ExitTrust, "packages delegate --apply %q: %w", file, err)
		}
		by, err := s.delegated(d)
		if err != nil {
			return usageErrorAs(ExitTrust, "packages delegate --apply %q: %w", file, err)
		}
		if err := s.store.PutDelegation(d); err != nil {
			return err
		}
		e.print("%s", delegationText(d, by))
		if s.cfg.Accept == "" {
			e.print("accept: signed is not configured: nothing is accepted under it yet\n")
		}
		return nil
	})
}

// DelegationShow prints the delegation of the host, and whether it counts.
func DelegationShow(e *Env) (Outcome, error) {
	bad := false
	out, err := reading(e, func(s *session) error {
		d, err := s.store.Delegation()
		if errors.Is(err, fs.ErrNotExist) {
			e.print("nothing is delegated to this host\n")
			return nil
		}
		if err != nil {
			return usageErrorAs(ExitTrust, "%w", err)
		}
		by, err := s.delegated(d)
		if bad = err != nil; bad {
			by = "NOT TRUSTED: " + report.Prose(err.Error())
		}
		e.print("%s", delegationText(d, by))
		return nil
	})
	if err == nil && bad {
		out.Add(ExitTrust)
	}
	return out, err
}

// delegated says which operator lets this host accept under d now.
func (s *session) delegated(d *baseline.Delegation) (string, error) {
	host, err := s.store.HostID()
	if err != nil {
		return "", err
	}
	return s.store.Trust.Delegated(d, host, s.env.Now())
}

// delegation returns what this host may accept by itself, nil where nobody
// governs it.
func (s *session) delegation() (*baseline.Delegation, error) {
	if !s.store.Trust.Governed() {
		return nil, nil
	}
	d, err := s.store.Delegation()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("an operator governs this host, and delegated nothing: she approves, see intact accept --export, or intact packages delegate")
	}
	if err == nil {
		_, err = s.delegated(d)
	}
	if err != nil {
		if errors.Is(err, seal.ErrSigner) {
			err = fmt.Errorf("%w: no operator who is named here signed it", err)
		}
		return nil, fmt.Errorf("%w: nothing was accepted", err)
	}
	return d, nil
}
