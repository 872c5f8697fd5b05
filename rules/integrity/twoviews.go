package integrity

import (
	"intact/rules"
	"intact/scanner/entry"
)

// TwoViews is the finding about a file of which the page cache shows one
// content, that of the baseline, and the disk holds another: both as BLAKE3 in hex.
// The policy cannot make it less than critical, and there is nothing in it to
// accept.
func TwoViews(path entry.Path, cached, disk string) rules.Finding {
	row := table[order(ruleTwoViews)]
	return rules.Finding{
		Set: "integrity", Rule: row.ID, Severity: row.Default, RawSeverity: row.Default,
		Subject:    rules.Subject{Kind: entry.File.String(), Path: string(path)},
		Attributes: []rules.Value{{Name: "content", Old: cached, New: disk, OldKnown: true, NewKnown: true}},
		Reasons:    []string{"the old content is what the page cache shows, the new one what the disk holds: it was written past the file system"},
		Attack:     row.Attack,
	}
}
