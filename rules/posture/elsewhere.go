package posture

import "intact/rules"

// Elsewhere is what the guides ask for as a rule and another part of a check
// judges: no rule file has it, so that nothing is looked at twice.
type Elsewhere struct {
	ID       string
	By       string // the rule in reports that it is
	Title    string
	Severity rules.Severity
	Why, Fix string
	Refs     Refs
}

var elsewhere = [...]Elsewhere{{
	ID: "upd.pkg-verify", By: "pkg.differs", Title: "packaged files are as their packages brought them", Severity: rules.High,
	Why: `A program that is not what its package brought was changed by somebody, by a fault
of the disk, or by a tool that should not. To know it, files must be read: each
"intact check" does so with those that the policy selects, and judges what changed;
"intact init" judges all of them. "intact posture" reads no file for it. Where a
signed manifest is stored, it counts; else the local database, which whoever is
root can change. Files of configuration are told apart: pkg.conffile.`,
	Fix: `See who says what: "intact verify FILE". Save it before you replace it ("intact
evidence save"), then install the package anew: "apt-get install --reinstall NAME",
or "dnf reinstall NAME". What was changed on purpose: "dpkg-divert", or a package
of your own.`,
	Refs: Refs{NIST: []string{"SI-7"}, Attack: []string{"T1554"}, Lynis: []string{"PKGS-7370"}, CaC: []string{"rpm_verify_hashes"},
		Guides: []string{"file auditing and intrusion detection"}},
}}

// ElsewhereRules returns the rules of the guides that other parts of a check judge.
func ElsewhereRules() []Elsewhere { return elsewhere[:] }

// FindElsewhere returns the one with an id, nil if there is none.
func FindElsewhere(id string) *Elsewhere {
	for i := range elsewhere {
		if elsewhere[i].ID == id {
			return &elsewhere[i]
		}
	}
	return nil
}
