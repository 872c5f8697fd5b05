package integrity

import (
	"fmt"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/mass"
	"intact/scanner/entry"
)

// RuleMass is the id of MassEncryption.
const RuleMass = ruleMass

// MassEncryption is the finding about many files that became random bytes. Each of
// them is a change with a finding of its own; there is nothing in this one to
// accept, and the policy cannot make it less than critical. watched says that it
// came while somebody watched.
func MassEncryption(v *mass.Verdict, watched bool) rules.Finding {
	row := table[order(ruleMass)]
	kinds := make([]string, 0, len(v.Kinds)+1)
	for _, k := range v.Kinds {
		kinds = append(kinds, fmt.Sprintf("%s %d", k.Kind, k.Files))
	}
	if more := v.NumKinds - len(v.Kinds); more > 0 {
		kinds = append(kinds, fmt.Sprintf("%d more", more))
	}
	examples := make([]string, 0, len(v.Examples))
	for _, p := range v.Examples {
		examples = append(examples, fmt.Sprintf("%q", string(p)))
	}
	when := "since the baseline"
	if watched {
		when = "since " + v.Since.UTC().Format(time.RFC3339)
	}
	return rules.Finding{
		Set: "integrity", Rule: row.ID, Severity: row.Default, RawSeverity: row.Default, Count: int64(v.Files),
		Subject: rules.Subject{Kind: entry.Dir.String(), Path: string(v.Common)},
		Reasons: []string{
			fmt.Sprintf("%d files that should be text or of a known format look like random bytes %s", v.Files, when),
			fmt.Sprintf("by the names they had: %s, in %d directories", strings.Join(kinds, ", "), v.Dirs),
			"for example " + strings.Join(examples, ", "),
		},
		Attack: row.Attack,
	}
}
