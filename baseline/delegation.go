package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/scanner/digest"
)

// A delegation is a text in which an operator says which upgrades of packages
// hosts may accept by themselves, with its signature behind it, an armored
// SSHSIG in DelegationNamespace:
//
//	format: intact.delegation/1
//	created: 2026-11-27T08:30:00Z
//	until: 2027-02-25T08:30:00Z   at most MaxDelegation after that
//	hosts: 0f… 1e…                ids, ascending, like the two lists below
//	packages: lib* openssl        patterns of names, as in path.Match
//	suites: stable-security       suites or codenames of signed releases
//	operator: "ann"               who made it, quoted as Go quotes strings
//	signer: SHA256:…
//	reason: "…"
//
// A statement that a host signed under it has the digest of the text, and the
// whole of it stands before the statement's own signature, wherever that goes:
// who knows the operator needs nothing else to judge it. There is one spelling.
const delegationFormat = "intact.delegation/1"

// DelegationNamespace is what a delegation is signed for. It is none of those
// that approvals have: who may look at a generation and approve it need not be
// allowed to approve ahead what nobody looked at, and no signature that was given
// for the one can be taken for the other.
const DelegationNamespace = "intact-delegate@v1"

// What bounds a delegation.
const (
	MaxDelegation     = 366 * 24 * time.Hour
	maxDelegationText = 64 << 10
	MaxDelegationFile = maxDelegationText + seal.MaxArmor
	maxDelegated      = 1000 // hosts, packages or suites, each
	delegationFile    = "delegation"
	delegationTime    = "2006-01-02T15:04:05Z"
)

// ErrDelegation is wrapped by what is wrong with a delegation.
var ErrDelegation = errors.New("the delegation does not count")

// Delegation is an operator's word for what a host may accept by itself.
type Delegation struct {
	Created, Until time.Time // whole seconds
	Hosts          []string  // ids
	Packages       []string  // patterns
	Suites         []string
	Operator       string // who made it, by its own word
	Signer         string // fingerprint
	Reason         string

	Armor []byte // the signature of Text
}

// Text is the one spelling of the delegation, which is signed.
func (d *Delegation) Text() []byte {
	at := func(t time.Time) string { return t.UTC().Format(delegationTime) }
	return fmt.Appendf(nil, "format: %s\ncreated: %s\nuntil: %s\nhosts: %s\npackages: %s\nsuites: %s\noperator: %s\nsigner: %s\nreason: %s\n",
		delegationFormat, at(d.Created), at(d.Until), strings.Join(d.Hosts, " "), strings.Join(d.Packages, " "), strings.Join(d.Suites, " "),
		strconv.QuoteToASCII(d.Operator), d.Signer, strconv.QuoteToASCII(d.Reason))
}

// Bytes is the text with its signature.
func (d *Delegation) Bytes() []byte { return slices.Concat(d.Text(), d.Armor) }

// Digest names the delegation in statements.
func (d *Delegation) Digest() digest.Digest { return digest.Sum(d.Text()) }

var delegationLines = [...]string{"format", "created", "until", "hosts", "packages", "suites", "operator", "signer", "reason"}

// ParseDelegation reads exactly what Bytes returns of a delegation that holds
// together. Who signed is not judged. Errors wrap ErrDelegation.
func ParseDelegation(file []byte) (*Delegation, error) {
	text, armor, rest, ok := cutSigned(file)
	if !ok || len(rest) > 0 || len(armor) > seal.MaxArmor {
		return nil, fmt.Errorf("%w: it is no text with one signature behind it", ErrDelegation)
	}
	d, err := parseDelegation(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDelegation, err)
	}
	d.Armor = bytes.Clone(armor)
	return d, nil
}

func parseDelegation(text []byte) (*Delegation, error) {
	lines := strings.Split(string(text), "\n")
	if len(text) > maxDelegationText || len(lines) != len(delegationLines)+1 {
		return nil, errors.New("it is none of a version that is known here")
	}
	var v [len(delegationLines)]string
	for i, key := range delegationLines {
		v[i], _ = strings.CutPrefix(lines[i], key+": ")
	}
	d := &Delegation{Hosts: strings.Split(v[3], " "), Packages: strings.Split(v[4], " "), Suites: strings.Split(v[5], " "), Signer: v[7]}
	var errs [4]error
	d.Created, errs[0] = time.Parse(delegationTime, v[1])
	d.Until, errs[1] = time.Parse(delegationTime, v[2])
	d.Operator, errs[2] = strconv.Unquote(v[6])
	d.Reason, errs[3] = strconv.Unquote(v[8])
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if !bytes.Equal(d.Text(), text) {
		return nil, errors.New("it is not in its one spelling")
	}
	return d, d.Sound()
}

// Patterns are of names of Debian packages (policy, 5.6.1), suites of what stands
// in Suite and Codename of a release.
var (
	packagePattern = regexp.MustCompile(`^[a-z0-9+.*?\[\]^-]{1,128}$`)
	suiteName      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+/~:-]{0,127}$`)
)

// Sound refuses a delegation that is none, or says more than one may. The lists
// must be in order, each word once.
func (d *Delegation) Sound() error {
	for _, l := range []struct {
		name string
		list []string
		good func(string) bool
	}{
		{"host", d.Hosts, statement.ValidHostID},
		{"pattern of packages", d.Packages, func(s string) bool { _, err := path.Match(s, ""); return err == nil && packagePattern.MatchString(s) }},
		{"suite", d.Suites, suiteName.MatchString},
	} {
		if len(l.list) == 0 || len(l.list) > maxDelegated {
			return fmt.Errorf("it names %d of %s, want 1 to %d", len(l.list), l.name, maxDelegated)
		}
		for i, s := range l.list {
			if !l.good(s) {
				return fmt.Errorf("%q is no %s", s, l.name)
			}
			if i > 0 && l.list[i-1] >= s {
				return fmt.Errorf("%q of %s is not in order", s, l.name)
			}
		}
	}
	switch {
	case !d.Created.Before(d.Until) || d.Until.Sub(d.Created) > MaxDelegation:
		return fmt.Errorf("%s to %s is not a span of at most %d days", d.Created.Format(delegationTime), d.Until.Format(delegationTime), MaxDelegation/(24*time.Hour))
	case !windowSign.MatchString(d.Signer):
		return errors.New("it names no signer")
	case max(len(d.Operator), len(d.Reason)) > MaxReason:
		return errors.New("a text of it is too long")
	case len(d.Text()) > maxDelegationText:
		return fmt.Errorf("it is longer than %d bytes", maxDelegationText)
	}
	return nil
}

// Covers reports whether a package of one of the suites is one that it speaks of.
func (d *Delegation) Covers(name string, suites ...string) bool {
	return d.CoversPackage(name) && d.CoversSuite(suites...)
}

// CoversPackage reports whether a pattern matches the name.
func (d *Delegation) CoversPackage(name string) bool {
	return slices.ContainsFunc(d.Packages, func(g string) bool { ok, err := path.Match(g, name); return ok && err == nil })
}

// CoversSuite reports whether it names one of the suites.
func (d *Delegation) CoversSuite(suites ...string) bool {
	return slices.ContainsFunc(suites, func(s string) bool { return s != "" && slices.Contains(d.Suites, s) })
}

// at reports as an error that a host may not sign under d at a time.
func (d *Delegation) at(host string, t time.Time) error {
	switch {
	case !slices.Contains(d.Hosts, host):
		return fmt.Errorf("%w: it is not for host %s", ErrDelegation, host)
	case t.Before(d.Created):
		return fmt.Errorf("%w: it is of %s, which is later", ErrDelegation, d.Created.Format(delegationTime))
	case t.After(d.Until):
		return fmt.Errorf("%w: it ended on %s", ErrDelegation, d.Until.Format(delegationTime))
	}
	return nil
}

// delegator says which operator signed d. line is when the line of the list must
// be valid too.
func (t *Trust) delegator(d *Delegation, line time.Time) (string, error) {
	if t.Operators == nil {
		return "", fmt.Errorf("%w: no operator is named here", ErrDelegation)
	}
	id, err := t.Operators.Verify(bytes.NewReader(d.Text()), d.Armor, seal.Want{Namespace: DelegationNamespace, At: d.Created, Line: line})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrDelegation, err)
	}
	if id.Key.Fingerprint != d.Signer {
		return "", fmt.Errorf("%w: %s signed it, and it names %s", ErrDelegation, id.Key.Fingerprint, d.Signer)
	}
	if i := slices.IndexFunc(id.Principals, IsOperator); i >= 0 {
		return id.Principals[i], nil
	}
	return "", fmt.Errorf("%w: %w: the key is of %q", ErrDelegation, seal.ErrPrincipal, id.Principals)
}

// Delegated returns the operator under whose word a host may accept now.
func (t *Trust) Delegated(d *Delegation, host string, now time.Time) (string, error) {
	if err := d.at(host, now); err != nil {
		return "", err
	}
	return t.delegator(d, now)
}

// underDelegation says which operator allowed the host to sign st, if d is what
// stands beside it. A delegation allows to go on, not to begin.
func (t *Trust) underDelegation(st *statement.Statement, d *Delegation) (string, error) {
	if err := d.at(st.HostID, st.Created); err != nil {
		return "", err
	}
	switch {
	case st.Restart || st.Generation == 1:
		return "", fmt.Errorf("%w: generation %d is a beginning", ErrDelegation, st.Generation)
	case st.Signer == d.Signer:
		return "", fmt.Errorf("%w: the key that signed the statement signed it too", ErrDelegation)
	}
	return t.delegator(d, time.Time{})
}

// cutDelegation takes the delegation off the signature beside a statement, nil
// where the statement names none. Errors wrap ErrUntrusted.
func cutDelegation(st *statement.Statement, signature []byte) (*Delegation, []byte, error) {
	has := bytes.HasPrefix(signature, []byte("format: "+delegationFormat+"\n"))
	named := st.Delegation != digest.Digest{}
	switch {
	case !has && !named:
		return nil, signature, nil
	case has != named:
		return nil, nil, fmt.Errorf("%w: the statement names a delegation that is not beside it, or the other way round", ErrUntrusted)
	case st.Authority != statement.Host:
		return nil, nil, fmt.Errorf("%w: only a host signs under a delegation, and it says authority %s", ErrUntrusted, st.Authority)
	}
	text, armor, rest, ok := cutSigned(signature)
	if !ok || len(rest) == 0 {
		return nil, nil, fmt.Errorf("%w: the delegation beside the statement is cut short", ErrUntrusted)
	}
	d, err := ParseDelegation(signature[:len(text)+len(armor)])
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if d.Digest() != st.Delegation {
		return nil, nil, fmt.Errorf("%w: the delegation beside the statement is not the one that it names", ErrUntrusted)
	}
	return d, rest, nil
}

// DelegationPath is the name of the file of the delegation.
func (s *Store) DelegationPath() string { return s.path(delegationFile) }

// Delegation reads the delegation of the host. Nothing is said of its signature.
// The error wraps fs.ErrNotExist where there is none, and ErrDelegation where the
// file is not one.
func (s *Store) Delegation() (*Delegation, error) {
	b, err := readSmall(s.DelegationPath(), MaxDelegationFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDelegation, cause(err))
	}
	return ParseDelegation(b)
}

// PutDelegation replaces the delegation of the host. The caller holds Lock.
func (s *Store) PutDelegation(d *Delegation) error {
	_, err := ParseDelegation(d.Bytes()) // as a reader will
	if err == nil {
		err = s.writeFile(s.DelegationPath(), d.Bytes(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the delegation: %w", cause(err))
	}
	return nil
}
